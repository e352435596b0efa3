//! `trace-cmd list`: what this kernel can trace, and with what.

mod basic_regex;
mod events;
mod json;
mod prototypes;

use std::io::{self, BufRead, BufReader, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use regex_lite::Regex;
use tracedat::compress::Codec;
use tracefs::TracingDir;

use self::events::Wanted;
use self::prototypes::Prototypes;
use super::record::kernel_error;
use super::{options, tracing};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

const AFTER_HELP: &str = "\
Without options: systems, events, tracers, options and compression.
REGEX is a POSIX basic regular expression, matched anywhere, in any case. In that of an event
a colon stands between one for the system and one for the event; without a colon it may match
either. -F, -R and -l are for the events of -e.

--json prints one object. Without other options it has all but functions; with options, what
they name. Keys: \"systems\", \"events\", \"tracers\", \"options\" (name to state), \"functions\",
\"instances\", \"clocks\", \"clock\" (the one in use), \"compression\", \"plugin_options\".
With -F, -R or -l an event is an object with \"event\" and \"format\", \"triggers\" or \"filter\".

Examples:
  trace-cmd list -e                       all events
  trace-cmd list -e '^sched:switch$' -F   fields of an event
  trace-cmd list -e net -l                events of or about net, with their filters
  trace-cmd list -f '^tcp_.*send'         functions that can be traced
  trace-cmd list -f '^vfs_' --proto       the same with their parameters
  trace-cmd list --json -C                clocks, for a script";

/// Words and help of `list`.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).short(short).action(ArgAction::SetTrue).help(help)
    };
    let regex = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name)
            .short(short)
            .value_name("REGEX")
            .num_args(0..=1)
            .default_missing_value("")
            .action(ArgAction::Append)
            .help(help)
    };
    Command::new("list")
        .about("List events, tracers, options and more")
        .after_help(AFTER_HELP)
        .args([
            regex("events", 'e', "List events"),
            flag("format", 'F', "Print the fields of the events"),
            Arg::new("full")
                .long("full")
                .action(ArgAction::SetTrue)
                .requires("format")
                .help("With -F, print the print format too"),
            flag("triggers", 'R', "Print the triggers of the events"),
            flag("filters", 'l', "Print the filters of the events"),
            flag("systems", 's', "List systems that have events"),
            flag("tracers", 't', "List tracers").visible_short_alias('p'),
            regex("options", 'o', "List trace options"),
            regex("functions", 'f', "List functions that can be traced"),
            Arg::new("proto")
                .long("proto")
                .action(ArgAction::SetTrue)
                .requires("functions")
                .help("With -f, print the functions as C declares them, where the kernel knows"),
            flag("plugins", 'P', "List plugin files; there are none, all plugins are built in"),
            flag("plugin-options", 'O', "List options of plugins"),
            flag("instances", 'B', "List instances"),
            flag("clocks", 'C', "List clocks; the one in use is in brackets"),
            flag("compression", 'c', "List compressions for trace files"),
            Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, see below"),
            tracing::dir_arg(),
        ])
}

/// What is to be listed, and where.
struct List<'a> {
    matches: &'a ArgMatches,
    dir: TracingDir,
    /// Nothing was named.
    is_default: bool,
}

impl List<'_> {
    fn asked(&self, name: &str) -> bool {
        self.matches.get_flag(name)
    }

    /// The expressions of an option that has them, if it was given.
    fn regexes(&self, name: &str) -> Result<Option<Vec<Regex>>, Error> {
        let Some(texts) = self.matches.get_many::<String>(name) else { return Ok(None) };
        texts.map(|text| basic_regex::compile(text)).collect::<Result<_, _>>().map(Some)
    }
}

/// Runs `list`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let flags =
        ["systems", "tracers", "plugins", "plugin-options", "instances", "clocks", "compression"];
    let lists = ["events", "options", "functions"];
    let is_default = !flags.iter().any(|name| matches.get_flag(name))
        && !lists.iter().any(|name| matches.contains_id(name));
    let list = List { matches, dir: tracing::dir(matches)?, is_default };
    let mut out = output::stdout();
    match (matches.get_flag("json"), is_default) {
        (true, _) => writeln!(out, "{}", json::object(&list)?)?,
        (false, true) => everything(&mut out, &list)?,
        (false, false) => named(&mut out, &list)?,
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// What there is to say without being asked for something.
fn everything(out: &mut impl Write, list: &List<'_>) -> Result<(), Error> {
    writeln!(out, "event systems:")?;
    systems(out, &list.dir)?;
    writeln!(out, "events:")?;
    events::print(out, &list.dir, &Wanted::names())?;
    writeln!(out, "\ntracers:")?;
    tracers(out, &list.dir)?;
    writeln!(out, "\noptions:")?;
    trace_options(out, &list.dir, &[])?;
    compression(out)?;
    Ok(())
}

/// What options name, in an order of its own.
fn named(out: &mut impl Write, list: &List<'_>) -> Result<(), Error> {
    if let Some(wanted) = Wanted::asked(list)? {
        events::print(out, &list.dir, &wanted)?;
    }
    if list.asked("tracers") {
        tracers(out, &list.dir)?;
    }
    if let Some(regexes) = list.regexes("options")? {
        trace_options(out, &list.dir, &regexes)?;
    }
    if let Some(regexes) = list.regexes("functions")? {
        let prototypes = Prototypes::asked(list)?;
        functions(&list.dir, &regexes, |name| Ok(writeln!(out, "{}", prototypes.of(name))?))?;
    }
    if list.asked("plugin-options") {
        options::print(out)?;
    }
    if list.asked("instances") {
        instances(out, &list.dir)?;
    }
    if list.asked("clocks") {
        writeln!(out, "{}", list.dir.file("trace_clock").read_text().map_err(kernel_error)?)?;
    }
    if list.asked("systems") {
        systems(out, &list.dir)?;
    }
    if list.asked("compression") {
        compression(out)?;
    }
    Ok(())
}

fn systems(out: &mut impl Write, dir: &TracingDir) -> Result<(), Error> {
    for system in dir.top().listed_systems().map_err(kernel_error)? {
        writeln!(out, "{system}")?;
    }
    Ok(writeln!(out)?)
}

fn tracers(out: &mut impl Write, dir: &TracingDir) -> Result<(), Error> {
    let text = dir.file("available_tracers").read_text().map_err(kernel_error)?;
    Ok(writeln!(out, "{text}")?)
}

fn trace_options(out: &mut impl Write, dir: &TracingDir, regexes: &[Regex]) -> Result<(), Error> {
    for (name, set) in dir.top().listed_options().map_err(kernel_error)? {
        if any_matches(regexes, &name) {
            writeln!(out, "{}{name}", if set { "" } else { "no" })?;
        }
    }
    Ok(())
}

/// Takes each function that can be traced, as soon as the kernel names it.
fn functions(
    dir: &TracingDir,
    regexes: &[Regex],
    mut take: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = dir.file("available_filter_functions");
    let failed = |error: io::Error| {
        Error::failure(format!("cannot read {}", file.path().display())).because(error)
    };
    let mut lines = BufReader::with_capacity(64 * 1024, file.open().map_err(kernel_error)?);
    let mut line = String::new();
    while lines.read_line(&mut line).map_err(failed)? > 0 {
        let name = line.trim_end_matches('\n');
        if any_matches(regexes, name) {
            take(name)?;
        }
        line.clear();
    }
    Ok(())
}

fn instances(out: &mut impl Write, dir: &TracingDir) -> Result<(), Error> {
    let names = dir.listed_instances().map_err(kernel_error)?;
    if names.is_empty() {
        writeln!(out, "No buffer instances defined")?;
    }
    Ok(names.iter().try_for_each(|name| writeln!(out, "{name}"))?)
}

fn compression(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Supported compression algorithms:")?;
    codecs().try_for_each(|codec| writeln!(out, "\t{}, {}", codec.name(), codec.version()))
}

fn codecs() -> impl Iterator<Item = Codec> {
    Codec::ALL.into_iter().filter(|codec| *codec != Codec::None && codec.is_available())
}

/// Whether one of them matches; nothing is asked of a name when there is none.
fn any_matches(regexes: &[Regex], name: &str) -> bool {
    regexes.is_empty() || regexes.iter().any(|regex| regex.is_match(name))
}
