//! `trace-cmd view`: traces of a host and its guests as one web page.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tracedat::clock::ClockOptions;
use tracedat::report::ReportOptions;
use tracedat::view::{View, ViewError};

use super::export::inputs;
use super::export::output::{Output, cannot_write};
use super::report::selection::{self, Selection};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

const AFTER_HELP: &str = "\
The page is one file that needs no network and no program but a browser. Guests recorded together with the host are on its clock.

Examples:
  trace-cmd view                                        trace.dat as trace.html
  trace-cmd view trace.dat trace-guest1.dat -o both.html   host and guest on one time axis
  trace-cmd view --from +1 --to +1.5 --cpu 0-3          half a second of four CPUs
  trace-cmd view --no-details -o small.html             a tenth of the size, without fields";

/// Words and help of `view`.
pub(crate) fn command() -> Command {
    Command::new("view")
        .about("Make a web page that shows CPUs and tasks of host and guests on one time axis")
        .after_help(AFTER_HELP)
        .args(inputs::args())
        .args(selection::args())
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .default_value("trace.html")
                .value_parser(value_parser!(PathBuf))
                .help("The page to write"),
        )
        .arg(
            Arg::new("max-events")
                .long("max-events")
                .value_name("N")
                .default_value("1000000")
                .value_parser(value_parser!(u64).range(1..=20_000_000))
                .help("Show the first N events"),
        )
        .arg(
            Arg::new("no-details")
                .long("no-details")
                .action(ArgAction::SetTrue)
                .help("Leave out the fields of events"),
        )
}

/// Runs `view`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let paths = inputs::paths(matches);
    let selection = Selection::from_matches(matches)?;
    let output = matches.get_one::<PathBuf>("output").cloned().unwrap_or_default();
    let max_events = matches.get_one::<u64>("max-events").copied().unwrap_or(u64::MAX);
    check(&paths, &output)?;

    let (files, stream) = inputs::open(&paths)?;
    let mut again = match matches.get_flag("no-details") {
        true => None,
        false => Some(inputs::open(&paths)?.1.into_records()),
    };
    let options = ReportOptions::default();
    stream.report("view", &files, &selection, options, |report, inputs, records| {
        let clocks = vec![ClockOptions::default(); inputs.len()];
        let view = View::collect(report, inputs, &clocks, records, max_events)
            .map_err(|cause| cannot_read_on(cause.into()))?;
        if view.events() == 0 {
            return Err(Error::failure("there are no events to show")
                .hint("name other files with -i, or ask for more of them"));
        }
        let mut out = BufWriter::new(Output::create(Some(&output))?);
        view.write(report, inputs, again.as_mut(), &mut out).map_err(|cause| match cause {
            ViewError::Write(cause) => cannot_write(&output, cause),
            cause => cannot_read_on(cause),
        })?;
        out.into_inner().map_err(|error| cannot_write(&output, error.into_error()))?.finish()?;
        if view.left_out() > 0 {
            let (shown, others) = (view.events(), view.left_out());
            tell(&format!(
                "{}: the first {shown} events; {others} are left out, --max-events takes more",
                output.display()
            ));
        }
        Ok(Exit::Success)
    })
}

fn cannot_read_on(cause: ViewError) -> Error {
    Error::new(Exit::BadData, "cannot read on").because(cause)
}

/// Files are read twice, and none is overwritten.
fn check(paths: &[PathBuf], output: &Path) -> Result<(), Error> {
    let same = fs::canonicalize(output).ok();
    for path in paths {
        if path.as_os_str() == "-" {
            return Err(Error::usage("a page cannot be made of standard input")
                .hint("name a file, it is read twice"));
        }
        if same.is_some() && fs::canonicalize(path).ok() == same {
            let message = format!("{} is input and output", path.display());
            return Err(Error::usage(message).hint("name another file with -o FILE"));
        }
    }
    Ok(())
}
