//! The words of `export`: which files, which events, in which format, and where to.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};

use super::inputs;
use crate::command::report::selection::{self, Selection};
use crate::error::Error;

/// All that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExportArgs {
    pub(super) inputs: Vec<PathBuf>,
    pub(super) format: Format,
    /// A file or a directory; `None` for standard output.
    pub(super) output: Option<PathBuf>,
    pub(super) selection: Selection,
    /// The day of traces that do not tell theirs.
    pub(super) day: Option<String>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
    Parquet,
    Perfetto,
}

const AFTER_HELP: &str = "\
Files of a host and its guests are merged on the clock of the host. A machine is named as its host names the guest, \
else by the host name in the file, else by the name of the file.

--parquet, --csv and, into a directory, --json write one table for each event:
  DIR/SYSTEM/EVENT/machine=NAME/day=2026-11-26/TRACE-ID.parquet
so that traces of many machines can go into one DIR, and DIR/SYSTEM/EVENT reads as one table with the columns machine \
and day. The other columns are common_timestamp (nanoseconds), common_cpu, common_pid, common_comm, instance, and the \
event's fields by their names; pointers are text 0x..., in a second column FIELD_symbol what is known there; arrays and \
masks are lists in JSON. The day is known of traces that were recorded with --date, in UTC; of others it is that of \
--day, else none.

Examples:
  trace-cmd export --perfetto trace.dat trace-guest1.dat -o out.pftrace   for ui.perfetto.dev
  trace-cmd export --parquet trace.dat -o traces
  duckdb -c \"SELECT machine, next_comm, count(*) FROM read_parquet('traces/sched/sched_switch/**/*.parquet') GROUP BY ALL\"
  trace-cmd export --csv -F '^sched_switch$' trace.dat > switches.csv";

/// The options of `export`, for help and parsing.
pub(crate) fn command() -> Command {
    let format = |id, help| Arg::new(id).long(id).action(ArgAction::SetTrue).help(help);
    Command::new("export")
        .about("Write a trace for other programs: Perfetto, data engines, spreadsheets")
        .override_usage("trace-cmd export --perfetto|--parquet|--csv|--json [OPTIONS] [[-i] FILE]...")
        .after_help(AFTER_HELP)
        .args(inputs::args())
        .args(selection::args())
        .arg(format("perfetto", "A trace for Perfetto, with a machine for each file"))
        .arg(format("parquet", "A directory of Parquet files, a table for each event"))
        .arg(format("csv", "The same as CSV; without -o one table, to standard output"))
        .arg(format("json", "One JSON object a line, as report --json; tables where -o DIR/ is a directory"))
        .group(ArgGroup::new("format").args(["perfetto", "parquet", "csv", "json"]).required(true))
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("The file to write, - for standard output; the directory of tables, for --json with a / at its end"),
        )
        .arg(
            Arg::new("day")
                .long("day")
                .value_name("YYYY-MM-DD")
                .value_parser(day)
                .conflicts_with("perfetto")
                .help("The day of traces that do not tell theirs"),
        )
}

impl ExportArgs {
    /// Checks what the options say together.
    pub(super) fn from_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let format = if matches.get_flag("perfetto") {
            Format::Perfetto
        } else if matches.get_flag("parquet") {
            Format::Parquet
        } else if matches.get_flag("csv") {
            Format::Csv
        } else {
            Format::Json
        };
        let named = matches.get_one::<PathBuf>("output").cloned();
        let output = named.clone().filter(|path| path.as_os_str() != "-");
        match format {
            Format::Perfetto if named.is_none() => {
                return Err(Error::usage("no file was named for the trace for Perfetto")
                    .hint("name one with -o FILE, or - for standard output"));
            }
            Format::Parquet if output.is_none() => {
                return Err(Error::usage("no directory was named for the tables")
                    .hint("name one with -o DIR"));
            }
            _ => {}
        }
        let day = matches.get_one::<String>("day").cloned();
        Ok(Self {
            inputs: inputs::paths(matches),
            format,
            output,
            selection: Selection::from_matches(matches)?,
            day,
        })
    }
}

/// Takes what looks like a day.
fn day(text: &str) -> Result<String, String> {
    let is_day = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if is_day { Ok(text.to_owned()) } else { Err("not a day as 2026-11-26".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::Exit;

    fn parsed(words: &[&str]) -> Result<ExportArgs, Error> {
        let words = [&["export"], words].concat();
        let matches = command().try_get_matches_from(words);
        ExportArgs::from_matches(&matches.map_err(|error| Error::usage(error.to_string()))?)
    }

    #[test]
    fn files_come_in_order_and_dash_is_standard_output() {
        let args = parsed(&["--perfetto", "a.dat", "b.dat", "-o", "-"]).unwrap();
        assert_eq!(args.inputs, [PathBuf::from("a.dat"), PathBuf::from("b.dat")]);
        assert_eq!((args.format, args.output), (Format::Perfetto, None));
    }

    #[test]
    fn one_format_and_its_place_are_needed() {
        let wrong: [&[&str]; 5] = [
            &["a.dat"],
            &["--json", "--csv"],
            &["--perfetto"],
            &["--parquet", "-o", "-"],
            &["--csv", "--day", "26.11.2026"],
        ];
        for words in wrong {
            assert_eq!(parsed(words).unwrap_err().exit_code(), Exit::Usage, "{words:?}");
        }
    }
}
