//! `trace-cmd stack`: the kernel's deepest stack.

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tracefs::ControlFile;

use super::record::kernel_error;
use super::{show, tracing};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

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
        .about("Finds and prints the deepest kernel stack")
        .after_help(AFTER_HELP)
        .args([
            flag("start", "Start the stack tracer"),
            flag("stop", "Stop the stack tracer").conflicts_with("start"),
            flag("reset", "Forget the deepest stack"),
            tracing::dir_arg(),
        ])
}

/// The switch of the stack tracer: `0` or `1`. It is no part of the tracing directory.
pub(super) fn switch() -> ControlFile {
    ControlFile::at("/proc/sys/kernel/stack_tracer_enabled")
}

/// Runs `stack`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = tracing::dir(matches)?;
    let switch = switch();
    if !switch.exists() {
        let message = "this kernel has no stack tracer";
        return Err(Error::failure(message).hint("it needs CONFIG_STACK_TRACER"));
    }
    let asked = |name| matches.get_flag(name);
    if asked("start") || asked("stop") {
        switch.write(if asked("start") { "1" } else { "0" }).map_err(kernel_error)?;
    }
    if asked("reset") {
        dir.file("stack_max_size").write("0").map_err(kernel_error)?;
    }
    if asked("start") || asked("stop") || asked("reset") {
        return Ok(Exit::Success);
    }
    let running = switch.read_text().map_err(kernel_error)? != "0";
    let mut out = output::stdout();
    writeln!(out, "(stack tracer {}running)", if running { "" } else { "not " })?;
    out.flush()?;
    drop(out);
    show::print(&dir.file("stack_trace"))?;
    Ok(Exit::Success)
}
