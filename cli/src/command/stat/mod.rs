//! `trace-cmd stat`: what is set in the kernel's tracing, and not at its default.

mod json;
mod state;
mod text;

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tracefs::stack_tracer::StackTracer;
use tracefs::{Instance, TracingDir};

use self::state::State;
use super::record::kernel_error;
use super::tracing;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

const AFTER_HELP: &str = "\
What is at its default is not printed. Without -B and -t it is about the top-level instance.

--json prints one object per instance, a line each, with all items, at their default or not;
what this kernel lacks is null. Keys are names of control files where there is one, as
\"current_tracer\" or \"set_ftrace_filter\". Of a system in \"enabled_systems\" all events are
enabled, and with \"all_events\" those of all systems.

Examples:
  trace-cmd stat                  the top-level instance
  trace-cmd stat -B foo -t        that and the instance foo
  trace-cmd stat --json | python3 -m json.tool";

/// Words and help of `stat`.
pub(crate) fn command() -> Command {
    Command::new("stat")
        .about("Print what is set in the kernel's tracing")
        .after_help(AFTER_HELP)
        .args([
            tracing::instance_arg("Look at this instance; may be repeated"),
            tracing::top_arg("Look at the top-level one too"),
            Arg::new("options")
                .short('o')
                .action(ArgAction::SetTrue)
                .help("Print trace options too"),
            Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, see below"),
            tracing::dir_arg(),
        ])
}

/// Runs `stat`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = tracing::dir(matches)?;
    let json = matches.get_flag("json");
    let with_options = json || matches.get_flag("options");
    let mut out = output::stdout();
    let stack_tracer = StackTracer::new(&dir);
    let mut stack_traced = false;
    for (at, instance) in chosen(matches, &dir)?.iter().enumerate() {
        let state = State::read(instance, with_options, &stack_tracer).map_err(kernel_error)?;
        if json {
            writeln!(out, "{}", json::object(&state))?;
        } else {
            if at > 0 {
                writeln!(out, "---------------")?;
            }
            text::print(&mut out, &state)?;
        }
        stack_traced = state.stack_tracer == Some(true);
    }
    if stack_traced && !json {
        writeln!(out, "Stack tracing is enabled\n")?;
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// The top-level instance first, then those of `-B`, the last one first.
fn chosen(matches: &ArgMatches, dir: &TracingDir) -> Result<Vec<Instance>, Error> {
    let named: Vec<&String> = matches.get_many("instance").into_iter().flatten().collect();
    let mut chosen = Vec::new();
    if named.is_empty() || matches.get_flag("top") {
        chosen.push(dir.top());
    }
    for name in named.into_iter().rev() {
        let found = tracing::instance(dir, name)?;
        if !chosen.contains(&found) {
            chosen.push(found);
        }
    }
    Ok(chosen)
}
