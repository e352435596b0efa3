//! The words of `record`, in the order they were typed.
//!
//! Options bind to what comes before them: `-f` to the last `-e`, `-e` to the last `-B` or `--dom`.
//! So parsing gives an ordered list of [`Word`]s, and `plan` reads meaning into the order.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

/// One option with its value, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// `-e EVENT`
    Event(String),
    /// `-f FILTER`
    Filter(String),
    /// `-b KB`
    BufferKb(u64),
    /// `-C CLOCK`
    Clock(String),
    /// `-B NAME`
    Instance(String),
    /// `--dom NAME`
    Guest(String),
    /// `--exec COMMAND ARGUMENT… ;`
    Exec(Vec<String>),
}

/// Options that mean the same wherever they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) words: Vec<Word>,
    pub(crate) output: Option<String>,
    pub(crate) file_version: u8,
    pub(crate) compression: String,
    pub(crate) all_formats: bool,
    pub(crate) ignore_missing: bool,
    pub(crate) date: bool,
    pub(crate) no_splice: bool,
    pub(crate) quiet: bool,
    pub(crate) virt_dir: Option<String>,
    pub(crate) command: Vec<String>,
}

const AFTER_HELP: &str = "\
Options bind to what comes before them: -f to the last -e; -e, -b and -C to the last -B or --dom.

Examples:
  trace-cmd record -e sched -e irq sleep 1
  trace-cmd record -e sched_switch -f 'prev_pid != 0' -o switch.dat make
  trace-cmd record -e sched -B interrupts -e irq -b 8192
  trace-cmd record -e kvm --dom guest1 -e all --exec app \\; --dom guest2 -e sched \\; sleep 10

The guests' events go to OUTPUT-GUEST (trace.dat and trace-guest1.dat); print all on one clock with
  trace-cmd report -i trace.dat -i trace-guest1.dat";

/// The options of `record`, for help and parsing.
pub(crate) fn command() -> Command {
    Command::new("record")
        .about("Record events of this kernel, and of its guests, into a file")
        .override_usage("trace-cmd record [OPTIONS] [COMMAND [ARGUMENT]...]")
        .after_help(AFTER_HELP)
        .args([
            many(
                "event",
                'e',
                "EVENT",
                "Record events: SYSTEM, SYSTEM:EVENT, EVENT, with globs, or 'all'",
            ),
            many(
                "filter",
                'f',
                "FILTER",
                "Kernel filter for the events of the last -e; several are joined with &&",
            ),
            many("buffer-kb", 'b', "KB", "Ring buffer size of each CPU in KiB")
                .value_parser(clap::value_parser!(u64).range(1..)),
            many(
                "clock",
                'C',
                "CLOCK",
                "Trace clock; with guests: mono (default), mono_raw, boot, tai or x86-tsc",
            ),
            many("instance", 'B', "NAME", "Record what follows in the tracing instance NAME"),
            Arg::new("dom")
                .long("dom")
                .value_name("GUEST")
                .action(ArgAction::Append)
                .help("Record what follows in the guest GUEST, through virt-server"),
            Arg::new("exec")
                .long("exec")
                .value_name("COMMAND")
                .action(ArgAction::Append)
                .num_args(1..)
                .value_terminator(";")
                .allow_hyphen_values(true)
                .help("Run COMMAND in the guest; ends with a word ';'. The guest must allow it"),
            Arg::new("output")
                .short('o')
                .value_name("FILE")
                .help("Output file [default: trace.dat]"),
            Arg::new("file-version")
                .long("file-version")
                .value_name("N")
                .default_value("7")
                .value_parser(clap::value_parser!(u8).range(6..=7))
                .help("Version of trace.dat"),
            Arg::new("compression")
                .long("compression")
                .value_name("NAME")
                .default_value("any")
                .value_parser(["any", "none", "zlib", "zstd"])
                .help("Compression of a version 7 file"),
            flag("all-formats", 'a', "Store the formats of all events, not only of those recorded"),
            flag("ignore-missing", 'i', "Go on when an event of -e does not exist"),
            flag("quiet", 'q', "Print errors and losses only").long("quiet"),
            Arg::new("date")
                .long("date")
                .action(ArgAction::SetTrue)
                .help("Store the distance of the trace clock to wall time"),
            Arg::new("nosplice")
                .long("nosplice")
                .action(ArgAction::SetTrue)
                .help("Copy through memory instead of splicing"),
            virt_dir(),
            Arg::new("command")
                .value_name("COMMAND")
                .num_args(0..)
                .trailing_var_arg(true)
                .help("Record while this command runs; without it, until Ctrl-C"),
        ])
}

/// `--virt-dir`, the same on every command that talks of guests.
pub(crate) fn virt_dir() -> Arg {
    Arg::new("virt-dir").long("virt-dir").value_name("DIR").env_hint()
}

trait EnvHint {
    fn env_hint(self) -> Self;
}

impl EnvHint for Arg {
    fn env_hint(self) -> Self {
        self.help("Directory of the guests' control socket and FIFOs [default: $TRACE_CMD_VIRT_DIR, else /var/lib/trace-cmd/virt]")
    }
}

fn many(name: &'static str, short: char, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).short(short).value_name(value).action(ArgAction::Append).help(help)
}

fn flag(name: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(name).short(short).action(ArgAction::SetTrue).help(help)
}

impl Args {
    /// Reads what clap matched, restoring the order in which options stood.
    pub(crate) fn from_matches(matches: &ArgMatches) -> Self {
        let mut placed = Vec::new();
        let mut texts = |name: &str, word: fn(String) -> Word| {
            let values = matches.get_many::<String>(name).into_iter().flatten().cloned();
            placed.extend(matches.indices_of(name).into_iter().flatten().zip(values.map(word)));
        };
        texts("event", Word::Event);
        texts("filter", Word::Filter);
        texts("clock", Word::Clock);
        texts("instance", Word::Instance);
        texts("dom", Word::Guest);
        let sizes = matches.get_many::<u64>("buffer-kb").into_iter().flatten().copied();
        placed.extend(
            matches.indices_of("buffer-kb").into_iter().flatten().zip(sizes.map(Word::BufferKb)),
        );
        // An --exec has one index per word; its first one is its place.
        let mut indices = matches.indices_of("exec").into_iter().flatten();
        for words in matches.get_occurrences::<String>("exec").into_iter().flatten() {
            let words: Vec<String> = words.cloned().collect();
            let place = indices.by_ref().take(words.len()).min().unwrap_or(usize::MAX);
            placed.push((place, Word::Exec(words)));
        }
        placed.sort_by_key(|(place, _)| *place);

        let text = |name: &str| matches.get_one::<String>(name).cloned();
        Self {
            words: placed.into_iter().map(|(_, word)| word).collect(),
            output: text("output"),
            file_version: matches.get_one::<u8>("file-version").copied().unwrap_or(7),
            compression: text("compression").unwrap_or_default(),
            all_formats: matches.get_flag("all-formats"),
            ignore_missing: matches.get_flag("ignore-missing"),
            date: matches.get_flag("date"),
            no_splice: matches.get_flag("nosplice"),
            quiet: matches.get_flag("quiet"),
            virt_dir: text("virt-dir"),
            command: matches.get_many::<String>("command").into_iter().flatten().cloned().collect(),
        }
    }

    /// The file of this machine.
    pub(crate) fn output_path(&self) -> PathBuf {
        PathBuf::from(self.output.as_deref().unwrap_or("trace.dat"))
    }

    /// Parses words as they come from a host's request, without a command line around them.
    ///
    /// # Errors
    /// What clap says of them, in one line.
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let words = std::iter::once("record").chain(words.iter().map(String::as_str));
        match command().no_binary_name(false).try_get_matches_from(words) {
            Ok(matches) => Ok(Self::from_matches(&matches)),
            Err(error) => {
                let text = error.to_string();
                Err(text
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Args {
        Args::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn words_keep_the_order_they_were_typed_in() {
        let args = parse(&[
            "-e", "kvm", "--dom", "g1", "-e", "all", "-b", "64", "--exec", "app", "-x", "foo", ";",
            "--dom", "g2", "-e", "sched", "-f", "prio<3", "--exec", "app2", ";", "hostapp", "-e",
            "x",
        ]);
        assert_eq!(
            args.words,
            [
                Word::Event("kvm".into()),
                Word::Guest("g1".into()),
                Word::Event("all".into()),
                Word::BufferKb(64),
                Word::Exec(vec!["app".into(), "-x".into(), "foo".into()]),
                Word::Guest("g2".into()),
                Word::Event("sched".into()),
                Word::Filter("prio<3".into()),
                Word::Exec(vec!["app2".into()]),
            ]
        );
        assert_eq!(args.command, ["hostapp", "-e", "x"]);
    }

    #[test]
    fn refused_words_are_named_in_one_line() {
        let error = Args::parse(&["--frobnicate".to_owned()]).unwrap_err();
        assert!(error.contains("--frobnicate") && !error.contains('\n'), "{error}");
    }
}
