//! `trace-cmd reset`: tracing as it was after boot, or as it was before a recording that was killed.

mod plan;
mod stale;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tracefs::TracingDir;
use tracefs::reset::Reset;

use self::plan::Target;
use super::record::kernel_error;
use super::tracing;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

const AFTER_HELP: &str = "\
Without -B, -a and -t the top-level instance is reset: tracer, events, filters, triggers, clock,
CPU mask, lists of tasks and functions; its buffer is emptied, and takes events again at the
end. Dynamic events belong to all instances: they are removed only when the top-level one is
reset. trace-cmd 3.1.6 removes them always, and takes -a for the top-level one too.
-b and -d belong to the -B, -a or -t before them.

--stale puts back only what recordings had changed that were killed, from their journals.

Examples:
  trace-cmd reset                            the top-level instance
  trace-cmd reset -B foo -b 100 -d           shrink the instance foo and delete it
  trace-cmd reset -a -d -t                   delete all instances, reset the top-level one
  trace-cmd reset -k kprobe -k kretprobe     keep probes of the kernel
  trace-cmd reset --stale                    repair";

/// Words and help of `reset`.
pub(crate) fn command() -> Command {
    // A flag that appends keeps its place among the others.
    let placed = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name)
            .short(short)
            .num_args(0)
            .default_missing_value("")
            .action(ArgAction::Append)
            .help(help)
    };
    let others = ["instance", "all", "top", "buffer-kb", "delete", "keep"];
    Command::new("reset")
        .about("Turn tracing off and back to its defaults")
        .after_help(AFTER_HELP)
        .args([
            tracing::instance_arg("Reset this instance; may be repeated"),
            placed("all", 'a', "Reset all instances, the top-level one not counted").long("all"),
            placed("top", 't', "Reset the top-level one too"),
            Arg::new("buffer-kb")
                .short('b')
                .value_name("KB")
                .action(ArgAction::Append)
                .value_parser(value_parser!(u64).range(1..))
                .help("Set the buffer size of each CPU in KiB"),
            placed("delete", 'd', "Delete the instances"),
            Arg::new("keep").short('k').value_name("TYPE").action(ArgAction::Append).help(
                "Keep dynamic events: kprobe, kretprobe, uprobe, uretprobe, eprobe, synth or all",
            ),
            Arg::new("stale")
                .long("stale")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(others)
                .help("Repair what killed recordings left"),
            Arg::new("journals")
                .long("journals")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .default_value(stale::JOURNALS)
                .requires("stale")
                .help("Where recordings keep their journals"),
            tracing::dir_arg(),
        ])
}

/// Runs `reset`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = tracing::dir(matches)?;
    if matches.get_flag("stale") {
        let journals = matches.get_one::<PathBuf>("journals");
        return stale::repair(&dir, journals.map_or(Path::new(stale::JOURNALS), PathBuf::as_path));
    }
    let kept = plan::kept(matches)?;
    let targets = plan::targets(matches, &dir)?;
    let how = kept.into_iter().fold(Reset::new(), Reset::keep);
    for target in &targets {
        reset(&dir, target, how.clone())?;
    }
    Ok(Exit::Success)
}

fn reset(dir: &TracingDir, target: &Target, mut how: Reset) -> Result<(), Error> {
    let instance = match &target.name {
        Some(name) => tracing::instance(dir, name)?,
        None => dir.top(),
    };
    if let Some(size) = target.buffer_kb {
        how = how.buffer_size_kb(size);
    }
    let stopped = instance.set_tracing_on(false);
    let report = how.instance(&instance);
    // Nothing writes into it any more.
    let cleared = instance.clear();
    // All was tried by now.
    let mut refusals = [stopped, cleared].into_iter().filter_map(Result::err).chain(report.errors);
    if let Some(first) = refusals.next() {
        refusals.for_each(|error| output::tell(&kernel_error(error).to_string()));
        return Err(refused(first));
    }
    match &target.name {
        Some(name) if target.delete => dir.remove_instance(name).map_err(refused),
        _ => Ok(()),
    }
}

fn refused(error: tracefs::Error) -> Error {
    let busy = matches!(&error, tracefs::Error::Control { source, .. }
        if source.kind() == io::ErrorKind::ResourceBusy);
    let failed = kernel_error(error);
    if busy {
        failed.hint("end what records or reads it, or reset what uses it with -a -t")
    } else {
        failed
    }
}
