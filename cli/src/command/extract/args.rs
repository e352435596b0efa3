//! The words of `extract`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::command::record::args::{compression_arg, file_version_arg};
use crate::command::record::file::Format;
use crate::command::tracing_plan::setup_args::{PassedOver, flag, switch};
use crate::error::Error;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Args {
    pub(super) output: PathBuf,
    pub(super) format: Format,
    pub(super) instances: Vec<String>,
    pub(super) all: bool,
    pub(super) top: bool,
    pub(super) snapshot: bool,
    pub(super) date: bool,
    pub(super) tracer: Option<String>,
    pub(super) options: Vec<String>,
    pub(super) quiet: bool,
}

const AFTER_HELP: &str = "\
Without -B, -a and -t the top-level instance is extracted. What is extracted is taken out of the ring buffers; \
tracing rests meanwhile, and goes on afterwards if it was on. Formats of all events are stored, and types (BTF), \
modules, and what the kernel tells of the last boot, where it tells them.

Of a latency tracer (irqsoff, preemptoff, preemptirqsoff, wakeup, wakeup_rt, wakeup_dl) the text of 'trace' is stored.

Examples:
  trace-cmd start -e sched; sleep 1; trace-cmd stop; trace-cmd extract
  trace-cmd extract -B foo -t -o both.dat
  trace-cmd extract -s                     the snapshot";

/// Options of `record` that the C version takes and that change nothing here.
const PASSED_OVER: [PassedOver; 8] = [
    PassedOver::flag("i", "extract names no events"),
    PassedOver::flag("k", "extract leaves tracing as it is"),
    PassedOver::with_value("b", "extract takes the buffers as they are"),
    PassedOver::with_value("cmdlines-size", "extract takes the names that the kernel kept"),
    PassedOver::with_value("r", "extract has no recorder"),
    PassedOver::flag("no-filter", "extract has no recorder"),
    PassedOver::flag("poll", "extract has no recorder"),
    PassedOver::with_value("temp", "nothing is written but the file itself"),
];

/// The options of `extract`.
pub(crate) fn command() -> Command {
    Command::new("extract")
        .about("Make a file of what the ring buffers hold")
        .after_help(AFTER_HELP)
        .args([
            Arg::new("output")
                .short('o')
                .value_name("FILE")
                .default_value("trace.dat")
                .value_parser(value_parser!(PathBuf))
                .help("Output file"),
            Arg::new("instance")
                .short('B')
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("Extract this instance; may be repeated"),
            flag("all", 'a', "Extract all instances but the top-level one"),
            flag("top", 't', "Extract the top-level one too"),
            flag("snapshot", 's', "Extract the snapshots instead of the ring buffers"),
            Arg::new("tracer")
                .short('p')
                .value_name("TRACER")
                .help("The tracer that ran, if it is not the current one"),
            Arg::new("option")
                .short('O')
                .value_name("OPTION")
                .action(ArgAction::Append)
                .help("Set a trace option while the text of a latency tracer is read"),
            switch("date", "Store the distance of the trace clock to wall time"),
            file_version_arg(),
            compression_arg(),
            flag("quiet", 'q', "Print errors and losses only").long("quiet"),
        ])
        .args(PASSED_OVER.iter().map(PassedOver::arg))
}

impl Args {
    /// Reads what clap matched.
    pub(super) fn from_matches(matches: &ArgMatches) -> Result<Self, Error> {
        PASSED_OVER.iter().for_each(|option| option.note(matches));
        let texts = |name: &str| -> Vec<String> {
            matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
        };
        let compression = matches.get_one::<String>("compression").map(String::as_str);
        let version = match compression {
            Some("any" | "zlib" | "zstd") => 7,
            _ => matches.get_one::<u8>("file-version").copied().unwrap_or(7),
        };
        Ok(Self {
            output: matches.get_one::<PathBuf>("output").cloned().unwrap_or_default(),
            format: Format::of(version, compression)?,
            instances: texts("instance"),
            all: matches.get_flag("all"),
            top: matches.get_flag("top"),
            snapshot: matches.get_flag("snapshot"),
            date: matches.get_flag("date"),
            tracer: matches.get_one::<String>("tracer").cloned(),
            options: texts("option"),
            quiet: matches.get_flag("quiet"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let words = ["extract", "-B", "a", "-B", "b", "-ts", "-O", "latency-format", "-o", "x"];
        let args = Args::from_matches(&command().try_get_matches_from(words).unwrap()).unwrap();
        assert_eq!((args.instances.len(), args.options.len()), (2, 1));
        assert!(args.top && args.snapshot && !args.all);
        assert_eq!(args.output, PathBuf::from("x"));
        let passed_over = ["extract", "-ik", "-b", "9", "--temp", "/tmp", "-r", "5", "-a"];
        let args = command().try_get_matches_from(passed_over).unwrap();
        assert!(Args::from_matches(&args).unwrap().all);
        assert!(command().try_get_matches_from(["extract", "ls"]).is_err(), "runs no command");
    }
}
