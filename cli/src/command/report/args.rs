//! The words of `report`: which files, which lines, and what they look like.

use std::ffi::OsString;
use std::num::{NonZeroUsize, ParseIntError};
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tracedat::profile::{Hook, ProfileOptions};
use tracedat::report::{Compat, Json, Layout, TimeStyle};

use super::selection::{self, Selection};
use crate::error::Error;

/// All that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReportArgs {
    pub(crate) inputs: Vec<Input>,
    pub(crate) action: Action,
    pub(crate) json: Option<Json>,
    pub(crate) profile: ProfileOptions,
    pub(crate) compat: Compat,
    pub(crate) full_formats: bool,
    pub(crate) layout: Layout,
    pub(crate) time: TimeStyle,
    pub(crate) raw: bool,
    pub(crate) raw_events: Vec<String>,
    pub(crate) no_handlers: bool,
    pub(crate) no_handler_events: Vec<String>,
    pub(crate) handler_options: Vec<String>,
    pub(crate) raw_time: bool,
    pub(crate) no_date: bool,
    pub(crate) align_time: bool,
    pub(crate) time_differences: bool,
    pub(crate) check_time: bool,
    pub(crate) time_errors: bool,
    pub(crate) boundaries: bool,
    pub(crate) wakeups: bool,
    pub(crate) no_hard_irq: bool,
    pub(crate) no_soft_irq: bool,
    pub(crate) quiet: bool,
    /// Which formats are printed, all without one.
    pub(crate) format: Option<String>,
    pub(crate) kallsyms: Option<PathBuf>,
    pub(crate) selection: Selection,
    pub(crate) test_filters: bool,
    pub(crate) pids: Vec<i32>,
    pub(crate) comms: Vec<String>,
    pub(crate) threads: Option<NonZeroUsize>,
}

/// One file, and what is done to its time stamps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    /// Added to every time stamp.
    pub(crate) offset: i64,
    /// Ticks per second of its clock.
    pub(crate) frequency: Option<u64>,
}

/// A filter as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilterArg {
    pub(crate) text: String,
    /// Whether `-v` stood before it.
    pub(crate) hides: bool,
    /// The file before it, `None` for all.
    pub(crate) input: Option<usize>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The events.
    Events,
    /// Where the time of each task goes.
    Profile,
    /// What became of the time of guests' CPUs.
    Vcpu,
    /// Statistics of the ring buffers, and where the data is.
    Statistics,
    /// The traced machine, and the recorder's version.
    Uname,
    /// The recorder's version.
    Version,
    /// CPUs with data, with the time of the first or last event.
    Cpus { first: bool, last: bool },
    /// Names of the events that have a format in the file.
    EventNames,
    /// The formats themselves.
    Formats,
    /// The format strings of `trace_printk`.
    PrintkFormats,
    /// The kernel's functions.
    Functions,
    /// Byte orders of file and host.
    ByteOrder,
    /// Page sizes of file and host.
    PageSize,
    /// Whether every event format is understood.
    CheckEvents,
}

const AFTER_HELP: &str = "\
A filter is EVENT[,EVENT...][: CONDITION], such as 'sched_switch: prev_pid == 0 && next_prio < 120'. \
EVENT is a regular expression for the name of an event or a system, or for both as SYSTEM/EVENT. \
After -i FILE, -F holds for that file, before any for all; an event is shown when any filter matches.

--from and --to print what a trace with these events only would have: what only older ones tell, such as names of tasks in \
sched_switch, is not known. Little of the file is read besides. Six digits after the point stand for all that is \
printed so. A clock that counts something else than time has its ticks instead of seconds; +0.5 is half a second after \
the first event.

--ts-offset and --ts2secs belong to the last -i before them; --ts2secs before any -i holds for all files. \
The first file stays where it is, the others are moved against it: its --ts-offset counts for nothing.

HOOK is [SYSTEM:]EVENT,FIELD[,PIDFIELD]/[SYSTEM:]EVENT,FIELD[,FLAGS]: the event that starts something and the one \
that ends it, with the field that has the same value in both. It counts for the task that was running, or for that in \
PIDFIELD; with the flag g for the machine, with g and p for the CPU. The flag s means something when recording.

A line of --json has ts (nanoseconds; ticks where unit says so), ts_error with --ts-error, cpu, pid, comm, flags, system, event, fields, \
symbols (what is known at the addresses among the fields), text if asked for, file and instance where there are several. \
Integers are exact up to 64 bits; pointers are strings \"0x...\"; masks are lists of bits; a byte that is no UTF-8 is \
\\xNN. {\"lost\":17,\"cpu\":0} stands where records were lost, null for an unknown number; {\"losses\":{...},\"cpu\":0} \
at the end says what a CPU lost in the kernel and on the way to the file. The layout of the text does not matter to \
it: every record has its line.
--vcpu --json has an object for each CPU of a guest instead, with its times in nanoseconds.

Examples:
  trace-cmd report                                        all events of trace.dat
  trace-cmd report -t -l -i switch.dat                    nanoseconds, and what each CPU was doing
  trace-cmd report --from 8871.5 --to 8871.75             a quarter of a second
  trace-cmd report -F 'kvm: CPU == 1' -v -F kvm_entry     events of kvm on CPU 1 but kvm_entry
  trace-cmd report -i trace.dat -i trace-guest1.dat       host and guest as one, on one clock
  trace-cmd report --profile -H hrtimer_expire_entry,hrtimer/hrtimer_expire_exit,hrtimer   timers
  trace-cmd report --vcpu -i trace.dat -i trace-guest1.dat   times of virtual CPUs
  trace-cmd report --json | jq 'select(.event == \"sched_switch\") | .fields.next_comm'";

/// What changes lines of text, or prints something else, and so makes no sense with `--json`.
const TEXT_ONLY: [&str; 21] = [
    "formats",
    "format",
    "latency",
    "ts-diff",
    "wakeups",
    "boundary",
    "raw",
    "raw-event",
    "stat",
    "uname",
    "version",
    "cpus",
    "first-event",
    "last-event",
    "events",
    "printk",
    "functions",
    "byte-order",
    "page-size",
    "check-events",
    "profile",
];

fn flag(id: &'static str) -> Arg {
    Arg::new(id).action(ArgAction::SetTrue)
}

/// The options of `report`, for help and parsing.
pub(crate) fn command() -> Command {
    let file = || value_parser!(PathBuf);
    Command::new("report")
        .about("Print recorded events")
        .override_usage("trace-cmd report [OPTIONS] [[-i] FILE]...")
        .after_help(AFTER_HELP)
        .disable_version_flag(true)
        .next_help_heading("Input")
        .arg(
            Arg::new("input")
                .short('i')
                .value_name("FILE")
                .action(ArgAction::Append)
                .value_parser(file())
                .help("A file to read, - for standard input, trace.dat without one; several are merged by time"),
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .action(ArgAction::Append)
                .value_parser(file())
                .help("The same as -i FILE"),
        )
        .arg(
            Arg::new("kallsyms")
                .long("kallsyms")
                .value_name("FILE")
                .value_parser(file())
                .help("More functions of the kernel, as in /proc/kallsyms"),
        )
        .next_help_heading("Selection")
        .args(selection::args())
        .mut_args(|arg| match arg.get_id().as_str() {
            "from" | "to" => arg.conflicts_with_all(["cpus", "first-event", "last-event"]),
            _ => arg,
        })
        .arg(flag("invert").short('v').help("Leave out what matches the filters after this"))
        .arg(
            flag("filter-test")
                .short('T')
                .long("filter-test")
                .help("Print what the filters mean for each event, and no events"),
        )
        .arg(
            Arg::new("pid")
                .long("pid")
                .value_name("LIST")
                .action(ArgAction::Append)
                .help("Only events of, or about, these processes"),
        )
        .arg(
            Arg::new("comm")
                .long("comm")
                .value_name("LIST")
                .action(ArgAction::Append)
                .help("The same for the processes of these names"),
        )
        .arg(flag("no-hard-irq").short('I').help("No events of hard interrupts"))
        .arg(flag("no-soft-irq").short('S').help("No events of soft interrupts"))
        .next_help_heading("Appearance")
        .arg(flag("nanoseconds").short('t').help("Time stamps with nanoseconds"))
        .arg(flag("latency").short('l').help("Short lines that show what each CPU was doing"))
        .arg(
            Arg::new("json")
                .long("json")
                .value_name("text")
                .num_args(0..=1)
                .require_equals(true)
                .value_parser(["text"])
                .conflicts_with_all(TEXT_ONLY)
                .help("One JSON object a line, with the event's own text too if =text"),
        )
        .arg(flag("raw").short('R').help("Fields and their values, not interpreted"))
        .arg(
            Arg::new("raw-event")
                .short('r')
                .value_name("REGEX")
                .action(ArgAction::Append)
                .help("As -R, for events, or systems, of this name"),
        )
        .arg(flag("no-plugins").short('N').help("Only the events' own print formats, no handlers"))
        .arg(
            flag("local-plugins")
                .short('L')
                .help("The same as -N: handlers of one's own cannot be loaded"),
        )
        .arg(
            Arg::new("no-handler")
                .short('n')
                .value_name("REGEX")
                .action(ArgAction::Append)
                .help("As -N, for events, or systems, of this name"),
        )
        .arg(
            Arg::new("plugin-option")
                .short('O')
                .value_name("[PLUGIN:]NAME[=VALUE]")
                .action(ArgAction::Append)
                .help("An option of a handler, such as fgraph:tailprint=1"),
        )
        .arg(
            flag("wakeups")
                .short('w')
                .help("How long woken tasks of the first file waited for a CPU"),
        )
        .arg(flag("boundary").long("boundary").help("Mark where sub-buffers start"))
        .arg(
            flag("full-formats").long("full-formats").help(
                "Read print formats as C, so that events that FAILED TO PARSE have their text",
            ),
        )
        .arg(
            Arg::new("compat")
                .long("compat")
                .value_name("VERSION")
                .value_parser(["3.4", "3.1.6"])
                .help("Text of this release [default: $TRACE_CMD_COMPAT, else 3.4]"),
        )
        .next_help_heading("Time")
        .arg(
            Arg::new("ts-offset")
                .long("ts-offset")
                .value_name("TICKS")
                .allow_negative_numbers(true)
                .action(ArgAction::Append)
                .help("Add this to the time stamps of the file before"),
        )
        .arg(
            Arg::new("ts2secs")
                .long("ts2secs")
                .value_name("HZ")
                .action(ArgAction::Append)
                .help("Ticks per second of the clock of the file before"),
        )
        .arg(flag("ts-diff").long("ts-diff").help("Time since the line before"))
        .arg(flag("ts-check").long("ts-check").help("Warn where time goes backwards"))
        .arg(
            flag("ts-error")
                .long("ts-error")
                .conflicts_with_all(["raw-ts", "align-ts"])
                .help("By how much the time of a guest's events may be wrong"),
        )
        .arg(flag("nodate").long("nodate").help("Ignore the recorded date"))
        .arg(flag("raw-ts").long("raw-ts").help("Time stamps as recorded, without any correction"))
        .arg(flag("align-ts").long("align-ts").help("Start at 0"))
        .next_help_heading("Instead of the events")
        .arg(flag("stat").long("stat").help("Statistics of the ring buffers"))
        .arg(flag("uname").long("uname").help("The traced machine"))
        .arg(flag("version").long("version").help("The recorder's version"))
        .arg(flag("cpus").long("cpus").help("CPUs that have data"))
        .arg(
            flag("first-event")
                .long("first-event")
                .help("CPUs that have data, with the time of their first event"),
        )
        .arg(
            flag("last-event")
                .long("last-event")
                .help("CPUs that have data, with the time of their last event"),
        )
        .arg(flag("events").short('E').help("Names of the events the file knows"))
        .arg(flag("formats").long("events").help("Formats of these events"))
        .arg(
            Arg::new("format")
                .long("event")
                .value_name("REGEX")
                .overrides_with("format")
                .help("Formats of the events whose name, system or SYSTEM:NAME has this"),
        )
        .arg(flag("printk").short('P').help("Format strings of trace_printk"))
        .arg(flag("functions").short('f').help("The kernel's functions"))
        .arg(flag("byte-order").short('e').help("Byte orders of file and host"))
        .arg(flag("page-size").short('p').help("Page sizes of file and host"))
        .arg(
            flag("check-events")
                .long("check-events")
                .help("Whether all event formats are understood; the exit code is 22 if not"),
        )
        .arg(
            flag("vcpu").long("vcpu").conflicts_with_all(TEXT_ONLY).help(
                "Why guests were not running: the time of each of their CPUs, from the events of their host",
            ),
        )
        .next_help_heading("Profile")
        .arg(
            flag("profile").long("profile").help(
                "Instead of the events, how long each task waited for what, and took for what",
            ),
        )
        .arg(flag("per-cpu").short('G').help("With --profile: interrupts by CPU, not by task"))
        .arg(
            Arg::new("hook")
                .short('H')
                .value_name("HOOK")
                .action(ArgAction::Append)
                .help("With --profile: time from one event to another"),
        )
        .arg(
            flag("by-comm")
                .long("by-comm")
                .help("With --profile: tasks of the same name as one"),
        )
        .next_help_heading("Other")
        .arg(flag("quiet").short('q').help("No warnings"))
        .arg(
            Arg::new("verbose")
                .short('V')
                .long("verbose")
                .value_name("LEVEL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("info")
                .action(ArgAction::Append)
                .help("What is told besides: none, crit, err, warn, info, debug or 0 to 5; no warnings below warn"),
        )
        .arg(
            Arg::new("threads")
                .long("threads")
                .value_name("N")
                .value_parser(value_parser!(NonZeroUsize))
                .help("Threads to use [default: as many as there are CPUs]"),
        )
}

/// Writes `-V2` as `-V=2`: a level that may be left out has to have its sign, or the next word would be taken for it.
pub(crate) fn attach_levels(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_some_and(|name| name == "report") {
        for word in words.iter_mut().skip(2).take_while(|word| *word != "--") {
            let level = word.to_str().and_then(|word| word.strip_prefix("-V"));
            if let Some(level) = level.filter(|level| !level.is_empty() && !level.starts_with('='))
            {
                *word = format!("-V={level}").into();
            }
        }
    }
    words
}

impl ReportArgs {
    /// Reads meaning into parsed words. `compat` is the value of `TRACE_CMD_COMPAT`.
    pub(crate) fn from_matches(matches: &ArgMatches, compat: Option<&str>) -> Result<Self, Error> {
        let texts = |id| matches.get_many::<String>(id).into_iter().flatten().cloned().collect();
        let compat = matches.get_one::<String>("compat").map(String::as_str).or(compat);
        let mut args = Self {
            inputs: inputs(matches)?,
            selection: Selection { filters: filters(matches), ..Selection::from_matches(matches)? },
            format: matches.get_one::<String>("format").cloned(),
            kallsyms: matches.get_one::<PathBuf>("kallsyms").cloned(),
            test_filters: matches.get_flag("filter-test"),
            pids: Vec::new(),
            comms: Vec::new(),
            action: action(matches),
            profile: profile(matches)?,
            json: matches
                .contains_id("json")
                .then(|| Json { text: matches.get_one::<String>("json").is_some() }),
            compat: release(compat)?,
            full_formats: matches.get_flag("full-formats"),
            layout: if matches.get_flag("latency") { Layout::Latency } else { Layout::Default },
            time: match matches.get_flag("nanoseconds") {
                true => TimeStyle::Nanoseconds,
                false => TimeStyle::Microseconds,
            },
            raw: matches.get_flag("raw"),
            raw_events: texts("raw-event"),
            no_handlers: matches.get_flag("no-plugins") || matches.get_flag("local-plugins"),
            no_handler_events: texts("no-handler"),
            handler_options: texts("plugin-option"),
            raw_time: matches.get_flag("raw-ts"),
            no_date: matches.get_flag("nodate"),
            align_time: matches.get_flag("align-ts"),
            time_differences: matches.get_flag("ts-diff"),
            check_time: matches.get_flag("ts-check"),
            time_errors: matches.get_flag("ts-error"),
            wakeups: matches.get_flag("wakeups"),
            no_hard_irq: matches.get_flag("no-hard-irq"),
            no_soft_irq: matches.get_flag("no-soft-irq"),
            boundaries: matches.get_flag("boundary"),
            quiet: matches.get_flag("quiet") || is_quiet(matches)?,
            threads: matches.get_one("threads").copied(),
        };
        for list in matches.get_many::<String>("pid").into_iter().flatten() {
            for pid in list.split(',') {
                let bad = || Error::usage(format!("--pid '{list}' is no list of process ids"));
                args.pids.push(pid.trim().parse().map_err(|_| bad())?);
            }
        }
        for list in matches.get_many::<String>("comm").into_iter().flatten() {
            args.comms.extend(list.split(',').map(str::to_owned));
        }
        Ok(args)
    }
}

/// The release whose text is printed, by `--compat` or `TRACE_CMD_COMPAT`.
pub(crate) fn release(name: Option<&str>) -> Result<Compat, Error> {
    match name {
        None | Some("" | "3.4") => Ok(Compat::V3_4),
        Some("3.1.6") => Ok(Compat::V3_1_6),
        Some(other) => {
            Err(Error::usage(format!("TRACE_CMD_COMPAT is '{other}', not 3.4 or 3.1.6")))
        }
    }
}

/// Files in the order they were named, with the time options that belong to each.
fn inputs(matches: &ArgMatches) -> Result<Vec<Input>, Error> {
    enum Word<'a> {
        File(&'a PathBuf),
        Offset(&'a String),
        Frequency(&'a String),
    }
    let mut words: Vec<(usize, Word<'_>)> = Vec::new();
    for id in ["input", "file"] {
        let indices = matches.indices_of(id).into_iter().flatten();
        words.extend(indices.zip(matches.get_many(id).into_iter().flatten().map(Word::File)));
    }
    let texts = |id| {
        let indices = matches.indices_of(id).into_iter().flatten();
        indices.zip(matches.get_many::<String>(id).into_iter().flatten())
    };
    words.extend(texts("ts-offset").map(|(at, text)| (at, Word::Offset(text))));
    words.extend(texts("ts2secs").map(|(at, text)| (at, Word::Frequency(text))));
    words.sort_by_key(|(at, _)| *at);

    let mut inputs: Vec<Input> = Vec::new();
    let mut default_frequency = None;
    let mut first_offset = None;
    for (_, word) in words {
        match word {
            Word::File(path) => {
                inputs.push(Input { path: path.clone(), offset: 0, frequency: default_frequency });
            }
            Word::Offset(text) => {
                let offset = number("--ts-offset", text)?;
                match inputs.last_mut() {
                    Some(input) => input.offset = offset,
                    None => first_offset = Some(offset),
                }
            }
            Word::Frequency(text) => {
                let frequency = u64::try_from(number("--ts2secs", text)?).ok().filter(|&hz| hz > 0);
                let Some(frequency) = frequency else {
                    return Err(Error::usage(format!(
                        "--ts2secs wants ticks per second, not '{text}'"
                    )));
                };
                match inputs.last_mut() {
                    Some(input) => input.frequency = Some(frequency),
                    None => default_frequency = Some(frequency),
                }
            }
        }
    }
    match (first_offset, inputs.is_empty()) {
        (None, false) => {}
        (Some(_), false) => {
            return Err(Error::usage("--ts-offset stands before the first file")
                .hint("put it after -i FILE"));
        }
        (offset, true) => inputs.push(Input {
            path: PathBuf::from("trace.dat"),
            offset: offset.unwrap_or(0),
            frequency: default_frequency,
        }),
    }
    Ok(inputs)
}

/// Filters with the file that each stands after.
fn filters(matches: &ArgMatches) -> Vec<FilterArg> {
    let files: Vec<usize> =
        ["input", "file"].iter().filter_map(|id| matches.indices_of(id)).flatten().collect();
    let hides_from = match matches.get_flag("invert") {
        true => matches.index_of("invert"),
        false => None,
    };
    let at = matches.indices_of("filter").into_iter().flatten();
    at.zip(matches.get_many::<String>("filter").into_iter().flatten())
        .map(|(at, text)| FilterArg {
            text: text.clone(),
            hides: hides_from.is_some_and(|from| from < at),
            input: files.iter().filter(|&&file| file < at).count().checked_sub(1),
        })
        .collect()
}

fn action(matches: &ArgMatches) -> Action {
    if matches.contains_id("format") {
        return Action::Formats;
    }
    let (first, last) = (matches.get_flag("first-event"), matches.get_flag("last-event"));
    let actions = [
        ("functions", Action::Functions),
        ("printk", Action::PrintkFormats),
        ("events", Action::EventNames),
        ("formats", Action::Formats),
        ("byte-order", Action::ByteOrder),
        ("page-size", Action::PageSize),
        ("check-events", Action::CheckEvents),
        ("stat", Action::Statistics),
        ("uname", Action::Uname),
        ("version", Action::Version),
        ("cpus", Action::Cpus { first, last }),
        ("first-event", Action::Cpus { first, last }),
        ("last-event", Action::Cpus { first, last }),
        ("profile", Action::Profile),
        ("vcpu", Action::Vcpu),
    ];
    actions
        .iter()
        .find(|(id, _)| matches.get_flag(id))
        .map_or(Action::Events, |(_, action)| *action)
}

/// Whether the last level asked for leaves out warnings.
fn is_quiet(matches: &ArgMatches) -> Result<bool, Error> {
    let Some(level) = matches.get_many::<String>("verbose").and_then(Iterator::last) else {
        return Ok(false);
    };
    match level.as_str() {
        "0" | "none" | "1" | "crit" | "2" | "err" => Ok(true),
        "3" | "warn" | "4" | "info" | "5" | "debug" | "6" | "all" => Ok(false),
        _ => Err(Error::usage(format!("'{level}' is no level of messages"))
            .hint("write none, crit, err, warn, info or debug")),
    }
}

fn profile(matches: &ArgMatches) -> Result<ProfileOptions, Error> {
    let mut options = ProfileOptions::default();
    options.per_cpu = matches.get_flag("per-cpu");
    options.by_comm = matches.get_flag("by-comm");
    for text in matches.get_many::<String>("hook").into_iter().flatten() {
        let hook = text.parse::<Hook>();
        options.hooks.push(hook.map_err(|error| Error::usage("bad -H").because(error))?);
    }
    Ok(options)
}

fn number(option: &str, text: &str) -> Result<i64, Error> {
    signed(text)
        .map_err(|cause| Error::usage(format!("{option} '{text}' is no number")).because(cause))
}

/// A decimal or `0x` number, with a sign if need be.
pub(crate) fn signed(text: &str) -> Result<i64, ParseIntError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value: i64 = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16)?,
        None => digits.parse()?,
    };
    Ok(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<ReportArgs, Error> {
        let words = std::iter::once("report").chain(words.split_whitespace());
        ReportArgs::from_matches(&command().try_get_matches_from(words).unwrap(), None)
    }

    #[test]
    fn time_options_belong_to_the_file_before_them() {
        let args =
            parse("--ts2secs 1000 -i a.dat --ts-offset -5 b.dat --ts-offset 0x10 --ts2secs 7")
                .unwrap();
        let expected = [("a.dat", -5, Some(1000)), ("b.dat", 16, Some(7))]
            .map(|(path, offset, frequency)| Input { path: path.into(), offset, frequency });
        assert_eq!(args.inputs, expected);
    }

    #[test]
    fn filters_belong_to_the_file_before_them() {
        let args = parse("-F a -i x.dat -F b -v -F c y.dat -F d --pid 1,2 --comm x,y").unwrap();
        let expected = [("a", false, None), ("b", false, Some(0)), ("c", true, Some(0))]
            .into_iter()
            .chain([("d", true, Some(1))])
            .map(|(text, hides, input)| FilterArg { text: text.to_owned(), hides, input });
        assert_eq!(args.selection.filters, expected.collect::<Vec<_>>());
        assert_eq!((args.pids, args.comms), (vec![1, 2], vec!["x".to_owned(), "y".to_owned()]));
        assert!(parse("--pid 1,x").is_err());
    }

    #[test]
    fn no_file_is_trace_dat() {
        assert_eq!(parse("-t").unwrap().inputs[0].path, PathBuf::from("trace.dat"));
        assert!(parse("--ts-offset 5 -i a.dat").is_err());
    }

    #[test]
    fn cpus_are_lists_and_ranges() {
        assert_eq!(parse("--cpu 0,3 --cpu 5-7").unwrap().selection.cpus, Some(vec![0, 3, 5, 6, 7]));
        assert!(parse("--cpu 1-").is_err());
        assert!(parse("--cpu 0-4294967295").is_err());
    }

    #[test]
    fn times_are_as_printed_or_after_the_start() {
        let args = parse("--from 8871.5 --to +0.25").unwrap().selection;
        assert_eq!((args.from, args.to), ("8871.5".parse().ok(), "+0.25".parse().ok()));
        for words in ["--from x", "--from 1 --first-event", "--to"] {
            let words = std::iter::once("report").chain(words.split(' '));
            command().try_get_matches_from(words).unwrap_err();
        }
    }

    #[test]
    fn json_may_have_text_and_goes_with_nothing_that_changes_lines() {
        assert_eq!(parse("a.dat").unwrap().json, None);
        let args = parse("--json a.dat").unwrap();
        assert_eq!(args.json, Some(Json { text: false }));
        assert_eq!(args.inputs[0].path, PathBuf::from("a.dat"));
        assert_eq!(parse("--json=text").unwrap().json, Some(Json { text: true }));
        for words in ["--json=more", "--json -l", "--json --stat", "-R --json"] {
            let words = std::iter::once("report").chain(words.split(' '));
            assert!(command().try_get_matches_from(words).is_err());
        }
    }

    #[test]
    fn print_formats_are_the_reference_s_unless_asked_for_in_full() {
        assert!(!parse("-t").unwrap().full_formats);
        assert!(parse("--full-formats --json=text").unwrap().full_formats);
    }

    #[test]
    fn hooks_are_read_in_their_order() {
        let args = parse("--profile -G --by-comm -H a,b/c,d -H e,f/g,h,p").unwrap();
        assert_eq!(args.action, Action::Profile);
        let hooks = ["a,b/c,d", "e,f/g,h,p"].map(|text| text.parse::<Hook>().unwrap());
        assert_eq!(args.profile.hooks, hooks);
        assert!(args.profile.per_cpu && args.profile.by_comm);
        assert!(parse("--profile -H a").is_err());
    }

    #[test]
    fn last_level_decides_whether_there_are_warnings() {
        assert!(!parse("-V").unwrap().quiet);
        assert!(parse("-V --verbose=err").unwrap().quiet);
        assert!(!parse("--verbose=0 -V=4").unwrap().quiet);
        assert!(parse("--verbose=loud").is_err());
    }

    #[test]
    fn levels_may_stand_behind_their_letter() {
        let written = |line: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            let words: Vec<_> =
                attach_levels(words).iter().map(|word| word.to_str().unwrap().to_owned()).collect();
            words.join(" ")
        };
        assert_eq!(
            written("trace-cmd report -V2 -V x -V=3 -Verr -- -V4"),
            "trace-cmd report -V=2 -V x -V=3 -V=err -- -V4"
        );
        assert_eq!(written("trace-cmd record -V2:823"), "trace-cmd record -V2:823");
    }

    #[test]
    fn help_and_options_are_consistent() {
        command().debug_assert();
    }
}
