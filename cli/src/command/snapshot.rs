//! `trace-cmd snapshot`: takes, empties, frees or prints the snapshot buffer.

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};

use super::record::kernel_error;
use super::{show, tracing};
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
A snapshot swaps the ring buffer with a spare one; tracing goes on while it is read.
Without -s, -r and -f the snapshot is printed. Not every kernel takes one of a single CPU.
-B means the snapshot of that instance; trace-cmd 3.1.6 takes the top-level one all the same.

Examples:
  trace-cmd snapshot -s           take a snapshot
  trace-cmd snapshot              print it
  trace-cmd snapshot -c 1 -B foo  print that of CPU 1 of the instance foo
  trace-cmd snapshot -f           give its memory back";

/// Words and help of `snapshot`.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).short(short).action(ArgAction::SetTrue).help(help)
    };
    Command::new("snapshot")
        .about("Take or print a snapshot of the ring buffer")
        .after_help(AFTER_HELP)
        .args([
            flag("take", 's', "Take a snapshot"),
            flag("reset", 'r', "Empty the snapshot, and keep its memory"),
            flag("free", 'f', "Free the snapshot's memory"),
            Arg::new("cpu")
                .short('c')
                .value_name("CPU")
                .value_parser(value_parser!(u32))
                .help("Use the snapshot of this CPU only"),
            tracing::instance_arg("Use the snapshot of this instance"),
            tracing::dir_arg(),
        ])
        .group(ArgGroup::new("action").args(["take", "reset", "free"]))
}

/// Runs `snapshot`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = tracing::dir(matches)?;
    let instance = tracing::last_instance(matches, &dir)?;
    if !instance.file("snapshot").exists() {
        let message = "snapshots are not supported by this kernel";
        return Err(Error::failure(message).hint("it needs CONFIG_TRACER_SNAPSHOT"));
    }
    let cpu = matches.get_one::<u32>("cpu").copied();
    let snapshot = match cpu {
        Some(cpu) => {
            show::check_cpu(&instance, cpu)?;
            instance.cpu_snapshot(cpu)
        }
        None => instance.snapshot(),
    };
    let chosen = |name| matches.get_flag(name);
    let done = match () {
        () if chosen("take") => snapshot.take(),
        () if chosen("reset") => snapshot.reset(),
        () if chosen("free") => snapshot.free(),
        () => {
            show::copy(snapshot.open().map_err(kernel_error)?, "the snapshot")?;
            return Ok(Exit::Success);
        }
    };
    done.map_err(|error| match cpu {
        Some(_) => kernel_error(error).hint("without -c the snapshot of all CPUs is meant"),
        None => kernel_error(error),
    })?;
    Ok(Exit::Success)
}
