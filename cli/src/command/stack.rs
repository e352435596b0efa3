//! `trace-cmd stack`: the kernel's deepest stack.

use std::io::{self, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use tracefs::stack_tracer::StackTracer;

use super::record::kernel_error;
use super::{show, tracing};
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
The stack tracer keeps the deepest kernel stack that it saw since --start or --reset.

Examples:
  trace-cmd stack --start         begin to look
  trace-cmd stack                 print the deepest stack so far
  trace-cmd stack --stop";

/// Words and help of `stack`.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("stack")
        .about("Find and print the deepest kernel stack")
        .after_help(AFTER_HELP)
        .args([
            flag("start", "Start the stack tracer"),
            flag("stop", "Stop the stack tracer").conflicts_with("start"),
            flag("reset", "Forget the deepest stack"),
            tracing::dir_arg(),
        ])
}

/// Runs `stack`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = tracing::dir(matches)?;
    let tracer = StackTracer::new(&dir);
    let asked = |name| matches.get_flag(name);
    let is_on = tracer.is_on().map_err(failed)?;
    if asked("start") || asked("stop") {
        tracer.set_on(asked("start")).map_err(failed)?;
    }
    if asked("reset") {
        tracer.reset().map_err(failed)?;
    }
    if asked("start") || asked("stop") || asked("reset") {
        return Ok(Exit::Success);
    }
    writeln!(io::stdout(), "(stack tracer {}running)", if is_on { "" } else { "not " })?;
    show::print(&dir.file("stack_trace"))?;
    Ok(Exit::Success)
}

fn failed(error: tracefs::Error) -> Error {
    match error {
        tracefs::Error::NotSupported { .. } => {
            Error::failure("this kernel has no stack tracer").hint("it needs CONFIG_STACK_TRACER")
        }
        error => kernel_error(error),
    }
}
