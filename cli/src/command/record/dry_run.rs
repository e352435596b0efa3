//! `--dry-run`: what would be written where, and what would be recorded into which file.

use std::io::Write;

use tracefs::TracingDir;

use super::args::Args;
use super::local::kernel_error;
use super::plan::{Plan, guest_output};
use crate::command::tracing_plan::{Choices, MachinePlan, Setup};
use crate::error::Error;
use crate::output;

/// Prints the plan; changes nothing.
pub(crate) fn print(args: &Args, plan: &Plan) -> Result<(), Error> {
    let mut out = output::stdout();
    let places = print_setup(&plan.host, args.setup.choices(), &mut out)?;
    let file = args.output_path();
    let from = places.join(", ");
    match &args.remote {
        Some(remote) => writeln!(out, "record {from} to the listener {}", remote.address)?,
        None => writeln!(out, "record {from} into {}", file.display())?,
    }
    for guest in &plan.guests {
        let file = guest_output(&file, guest.title());
        let words = guest.arguments.join(" ");
        let kind = if guest.is_proxy { "host" } else { "guest" };
        writeln!(out, "record {kind} {} with {words} into {}", guest.name, file.display())?;
        if let Some(command) = &guest.exec {
            writeln!(out, "run in guest {}: {}", guest.name, command.join(" "))?;
        }
    }
    if args.command.is_empty() {
        writeln!(out, "wait for Ctrl-C")?;
    } else {
        writeln!(out, "run: {}", args.command.join(" "))?;
    }
    if !args.keep_after {
        writeln!(out, "put back what was written")?;
    }
    Ok(out.flush()?)
}

/// Prints how tracing would be set up; returns the names of what would be traced.
pub(crate) fn print_setup(
    plan: &MachinePlan,
    choices: Choices,
    out: &mut dyn Write,
) -> Result<Vec<String>, Error> {
    let found = TracingDir::find().and_then(|dir| dir.ok_or(tracefs::Error::NoTracefs));
    let dir = found.map_err(kernel_error)?;
    let setup = Setup::new(plan, choices, &dir).map_err(kernel_error)?;
    for step in setup.steps.iter().chain(setup.begin()) {
        write!(out, "{step}")?;
    }
    Ok(setup.places.iter().map(ToString::to_string).collect())
}
