//! `trace-cmd start`: sets tracing up and leaves it running.

use std::io::Write;

use clap::{ArgMatches, Command};

use super::record::dry_run;
use super::tracing_plan::setup_args::{
    PassedOver, Refused, SetupArgs, command_arg, command_of, flag, keep_arg, profile_args,
    setup_args, switch,
};
use super::tracing_plan::{Applied, Before, MachinePlan, options};
use super::workload::Workload;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

const AFTER_HELP: &str = "\
Tracing goes on after this command: 'trace-cmd stop' halts it, 'trace-cmd show' prints what the buffers hold, \
'trace-cmd extract' makes a file of it, 'trace-cmd reset' turns all off.

Options bind to what comes before them, as those of 'trace-cmd record': see there.

Examples:
  trace-cmd start -e sched -e irq
  trace-cmd start -p function -l 'vfs_*' -B files -e ext4
  trace-cmd start -e sched_switch -R 'traceoff if prev_prio < 100'
  trace-cmd start -F -c -e syscalls ls     traces ls, and waits for it";

/// Options of `record` without which something else would happen than was asked for.
const REFUSED: [Refused; 8] = [
    refused("o", "start makes no file; 'trace-cmd extract -o FILE' does"),
    refused("m", "start makes no file; the size of the buffers is -b"),
    refused("N", "start sends nothing; record does"),
    refused("V", "start sends nothing; record does"),
    refused("A", "start does not reach guests; record does, with --dom"),
    refused("compression", "start makes no file; give it to 'trace-cmd extract'"),
    refused("file-version", "start makes no file; give it to 'trace-cmd extract'"),
    refused("proc-map", "start makes no file; record does"),
];

/// Other options of `record` that are about its file, its recorder, or its guests.
const PASSED_OVER: [PassedOver; 16] = [
    PassedOver::flag("a", "start makes no file; 'trace-cmd extract' stores all formats"),
    PassedOver::flag("k", "start always leaves tracing as it sets it"),
    PassedOver::flag("t", "it belongs to -N of record"),
    PassedOver::flag("G", IN_A_PROFILE),
    PassedOver::flag("by-comm", IN_A_PROFILE),
    PassedOver::flag("stderr", IN_A_PROFILE),
    PassedOver::flag("date", "start makes no file; give it to 'trace-cmd extract'"),
    PassedOver::flag("poll", NO_RECORDER),
    PassedOver::flag("nosplice", NO_RECORDER),
    PassedOver::flag("no-filter", NO_RECORDER),
    PassedOver::flag("nofifos", "start does not reach guests"),
    PassedOver::with_value("s", NO_RECORDER),
    PassedOver::with_value("r", NO_RECORDER),
    PassedOver::with_value("ts-offset", "start makes no file"),
    PassedOver::with_value("temp", "start makes no file"),
    PassedOver::with_value("tsync-interval", "start does not reach guests"),
];

const NO_RECORDER: &str = "start has no recorder";
const IN_A_PROFILE: &str =
    "a profile is printed by 'trace-cmd profile' and 'trace-cmd report --profile'";

const fn refused(name: &'static str, why: &'static str) -> Refused {
    Refused { name, why }
}

/// Words and help of `start`.
pub(crate) fn command() -> Command {
    Command::new("start")
        .about("Set tracing up and leave it running")
        .override_usage("trace-cmd start [OPTIONS] [COMMAND [ARGUMENT]...]")
        .after_help(AFTER_HELP)
        .args(options::args())
        .args(setup_args())
        .arg(keep_arg("Do not turn off what is set before"))
        .args(profile_args())
        .arg(switch("fork", "Do not wait for the command"))
        .arg(flag("quiet", 'q', "Print errors only").long("quiet"))
        .args(REFUSED.iter().map(Refused::arg))
        .args(PASSED_OVER.iter().map(PassedOver::arg))
        .arg(command_arg("Run this command once tracing is on, and wait for it"))
}

/// Runs `start`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    REFUSED.iter().try_for_each(|option| option.check("start", matches))?;
    PASSED_OVER.iter().for_each(|option| option.note(matches));
    let setup = SetupArgs::from_matches(matches, Before::Reset)?;
    let plan = MachinePlan::new(&options::words(matches), &setup.profile)?;
    if let Some(name) = plan.deleted.first() {
        return Err(Error::usage(format!("-B {name} behind -v would delete it"))
            .hint("delete it with 'trace-cmd set -v -B NAME'"));
    }
    if !plan.traces_something() && plan.instances.is_empty() && setup.before == Before::Reset {
        return Err(Error::usage("no event was specified")
            .hint("name what to trace, for instance -e sched, or -p TRACER"));
    }
    apply(&plan, &setup, &command_of(matches), matches.get_flag("fork"))
}

/// Sets tracing up, then runs the command, if there is one.
pub(super) fn apply(
    plan: &MachinePlan,
    setup: &SetupArgs,
    command: &[String],
    fork: bool,
) -> Result<Exit, Error> {
    if command.is_empty() && plan.wants_command() {
        return Err(Error::usage("-F is about the command, and there is none")
            .hint("put a command at the end"));
    }
    if setup.dry_run {
        let mut out = output::stdout();
        dry_run::print_setup(plan, setup.choices(), &mut out)?;
        if !command.is_empty() {
            writeln!(out, "run: {}", command.join(" "))?;
        }
        out.flush()?;
        return Ok(Exit::Success);
    }
    Workload::check(command)?;
    let mut workload = Workload::hold(command, setup.user.as_deref())?;
    let pid = workload.as_ref().map(Workload::pid);
    let mut applied = Applied::new(plan, setup.choices(), pid)?;
    applied.begin()?;
    if let Some(workload) = &mut workload {
        workload.release()?;
    }
    applied.changes.keep();
    if let Some(workload) = workload.filter(|_| !fork) {
        workload.wait()?;
    }
    Ok(Exit::Success)
}
