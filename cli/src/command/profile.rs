//! `trace-cmd profile`: where the time of each task goes, while a command runs.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use tracedat::profile::{Hook, Profile, ProfileOptions};
use tracedat::read::LiveMerge;

use super::follow::{FollowArgs, FollowedMachine, Following, Offered, follow_args};
use super::tracing_plan::setup_args::{flag, profile_args, switch};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::{self, tell};

const PROFILE: Offered = Offered { name: "profile", does: "count events of", guests: false };

const AFTER_HELP: &str = "\
Counts, for each task: how long it waited, for what, and was woken by whom; how long its system calls, interrupts and \
page faults took; the kernel stacks where it was switched away or woken. Nothing is stored, so it may run for long.

Traced are switches and wake-ups with their stacks, interrupts, system calls, page faults, executed programs, and with \
the tracer function_graph how long calls into the kernel took, as far as the kernel has these. -S traces only what -e \
and -H name. Options bind to what comes before them, as those of 'trace-cmd record': see there.

Examples:
  trace-cmd profile make
  trace-cmd profile -F -c ls                   only ls and its children
  trace-cmd profile --by-comm -o profile.txt   until Ctrl-C
  trace-cmd profile -S -H hrtimer_expire_entry,hrtimer/hrtimer_expire_exit,hrtimer sleep 1
  trace-cmd profile -p nop make                without the tracer";

/// Words and help of `profile`.
pub(crate) fn command() -> Command {
    const PRINTED: &str = "What is printed";
    let printed = [
        flag("per-cpu", 'G', "Interrupts by CPU, not by task"),
        switch("by-comm", "Tasks of the same name as one"),
        switch(
            "stderr",
            "Print to standard error, where the output of the command does not mix in",
        ),
        Arg::new("output")
            .short('o')
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with("stderr")
            .help("Print into a file"),
    ];
    let profile = profile_args().map(|arg| match arg.get_id().as_str() {
        // What 'record' has to be asked for.
        "profile" => arg.default_value("true").hide(true),
        "only-selected" => arg.help("Trace only the events of -e and -H"),
        "hook" => arg.help(
            "Measure a pair too: [SYSTEM:]EVENT,FIELD[,PIDFIELD]/[SYSTEM:]EVENT,FIELD[,FLAGS]",
        ),
        _ => arg,
    });
    Command::new("profile")
        .about("Print where the time of each task goes")
        .override_usage("trace-cmd profile [OPTIONS] [COMMAND [ARGUMENT]...]")
        .after_help(AFTER_HELP)
        .args(follow_args(PROFILE))
        .args(profile)
        .args(printed.map(|arg| arg.help_heading(PRINTED)))
}

/// Runs `profile`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let args = FollowArgs::from_matches(matches, PROFILE)?;
    let plan = args.plan(PROFILE)?;
    let options = profile_options(matches, &args)?;
    if args.setup.dry_run {
        args.print(&plan, PROFILE)?;
        return Ok(Exit::Success);
    }
    let mut out = open_output(matches)?;
    let (mut following, machines) = Following::start(&args, &plan)?;
    let [FollowedMachine { metadata, .. }] = machines.as_slice() else {
        return Err(Error::failure("nothing is recorded here"));
    };
    let profile =
        |_| Profile::new(metadata, &options).map_err(|error| Error::usage("bad -H").because(error));
    let mut profiles: Vec<Profile<'_>> =
        metadata.buffers.iter().map(profile).collect::<Result<_, _>>()?;
    if args.command.is_empty() && !args.quiet {
        tell("Hit Ctrl^C to stop recording");
    }
    let records = count(&mut following, &machines, &mut profiles)?;
    let ended = following.end(&args, &records);
    let mut text = Vec::new();
    for (buffer, profile) in metadata.buffers.iter().zip(&mut profiles) {
        if !buffer.name.is_empty() {
            text.extend_from_slice(format!("\nbuffer: {}\n", buffer.name).as_bytes());
        }
        profile.print(&mut text);
    }
    out.write_all(&text)?;
    out.flush()?;
    ended
}

/// Counts all records, each in the profile of its buffer.
fn count(
    following: &mut Following,
    machines: &[FollowedMachine],
    profiles: &mut [Profile<'_>],
) -> Result<LiveMerge, Error> {
    let mut records = following.records(machines);
    loop {
        let goes_on = following.more(&mut records)?;
        if !goes_on {
            records.finish();
        }
        let broken = |error| Error::new(Exit::BadData, "cannot read on").because(error);
        while let Some((_, record)) = records.next().map_err(broken)? {
            if let Some(profile) = profiles.get_mut(record.buffer as usize) {
                profile.add(&record);
            }
        }
        if !goes_on {
            return Ok(records);
        }
    }
}

fn profile_options(matches: &ArgMatches, args: &FollowArgs) -> Result<ProfileOptions, Error> {
    let mut options = ProfileOptions::default();
    options.per_cpu = matches.get_flag("per-cpu");
    options.by_comm = matches.get_flag("by-comm");
    for text in &args.setup.profile.hooks {
        let hook = text.parse::<Hook>();
        options.hooks.push(hook.map_err(|error| Error::usage("bad -H").because(error))?);
    }
    Ok(options)
}

/// Where the profile goes, opened before anything is traced.
fn open_output(matches: &ArgMatches) -> Result<Box<dyn Write>, Error> {
    if matches.get_flag("stderr") {
        return Ok(Box::new(io::stderr()));
    }
    let Some(path) = matches.get_one::<PathBuf>("output") else {
        return Ok(Box::new(output::stdout()));
    };
    let file = File::create(path).map_err(|error| {
        Error::failure(format!("cannot write {}", path.display()))
            .because(error)
            .hint("choose another place with -o FILE")
    })?;
    Ok(Box::new(file))
}
