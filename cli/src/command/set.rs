//! `trace-cmd set`: changes tracing as it is, without turning anything off first.

use clap::{ArgMatches, Command};

use super::start;
use super::tracing_plan::setup_args::{
    PassedOver, Refused, SetupArgs, command_arg, command_of, flag, setup_args,
};
use super::tracing_plan::{Before, MachinePlan, options};
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
What is set already stays, and tracing goes on or rests as before. Events of -e are turned on, those behind -v off; \
an instance of -B is made if it is missing, and deleted behind -v.

Examples:
  trace-cmd set -e irq                     irq too, beside what is traced
  trace-cmd set -v -e sched_waking         that one not any more
  trace-cmd set -e sched_switch -f 'prev_pid != 0'
  trace-cmd set -v -B old                  deletes the instance
  trace-cmd set -P 1234 -O stacktrace";

/// What is of no effect without a file or a recorder, or would turn things off.
const REFUSED: [Refused; 25] = [
    refused("a"),
    refused("G"),
    refused("o"),
    refused("H"),
    refused("s"),
    refused("S"),
    refused("r"),
    refused("N"),
    refused("V"),
    refused("t"),
    refused("k"),
    refused("m"),
    refused("A"),
    refused("proc-map"),
    refused("date"),
    refused("nosplice"),
    refused("nofifos"),
    refused("profile"),
    refused("by-comm"),
    refused("ts-offset"),
    refused("no-filter"),
    refused("tsync-interval"),
    refused("poll"),
    refused("compression"),
    refused("file-version"),
];

/// What is of no effect here, nor in the C version, which takes it.
const PASSED_OVER: [PassedOver; 2] = [
    PassedOver::with_value("temp", "set makes no file"),
    PassedOver::flag("stderr", "set prints no profile"),
];

const fn refused(name: &'static str) -> Refused {
    Refused { name, why: "it has no effect there; 'trace-cmd record' has it" }
}

/// Words and help of `set`.
pub(crate) fn command() -> Command {
    Command::new("set")
        .about("Change what is traced, and leave the rest as it is")
        .override_usage("trace-cmd set [OPTIONS] [COMMAND [ARGUMENT]...]")
        .after_help(AFTER_HELP)
        .args(options::args())
        .args(setup_args())
        .arg(flag("quiet", 'q', "Print errors only").long("quiet"))
        .args(REFUSED.iter().map(Refused::arg))
        .args(PASSED_OVER.iter().map(PassedOver::arg))
        .arg(command_arg("Run this command once all is set, and wait for it"))
}

/// Runs `set`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    REFUSED.iter().try_for_each(|option| option.check("set", matches))?;
    PASSED_OVER.iter().for_each(|option| option.note(matches));
    let words = options::words(matches);
    let setup = SetupArgs::from_matches(matches, Before::GoOn)?;
    let plan = MachinePlan::new(&words, &setup.profile)?;
    let command = command_of(matches);
    if words.is_empty() && command.is_empty() && !setup.no_function_trace && !setup.no_ftrace {
        return Err(Error::usage("nothing was named that shall change")
            .hint("for instance -e sched, -v -e irq, -O stacktrace"));
    }
    start::apply(&plan, &setup, &command, false)
}
