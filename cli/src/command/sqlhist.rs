//! `trace-cmd sqlhist`: histograms and synthetic events by SQL.

use std::fs;
use std::io::{self, Read, Write};

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use tracefs::sql::SqlJoin;
use tracefs::trigger::HistAction;
use tracefs::{SqlError, SqlPlan, SqlQuery};

use super::record::kernel_error;
use super::tracing::{dir, dir_arg, instance};
use super::tracing_plan::setup_args::flag;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

/// What a synthetic event is called that nobody named.
const DEFAULT_NAME: &str = "Anonymous";

const AFTER_HELP: &str = "\
Events are tables, their fields are columns. SELECT from one event makes a histogram of it; from two events that are \
joined, a synthetic event whose fields are what is selected. Without -e nothing is changed: the commands are printed \
that a shell could run.

CAST says how a field is shown: HEX, SYM, SYM-OFFSET, SYSCALL, EXECNAME, LOG2, BUCKETS=N, STACKTRACE; or that it is \
summed up: _COUNTER_. COUNT(*) is the number of events. TIMESTAMP and TIMESTAMP_USECS are the time of an event, \
TIMESTAMP_DELTA and TIMESTAMP_DELTA_USECS that between two. A field whose name is a keyword has a '\\' before it.

-m and -c act on a value that is computed: instead of an event for each match there is one, or a snapshot, or fields \
are saved, when the value is larger than ever before (-m) or another than before (-c). -s and -S do without the \
event, unless -T asks for it too.

Examples:
  trace-cmd sqlhist 'SELECT common_pid, CAST(bytes_req AS _COUNTER_) FROM kmalloc'
  trace-cmd sqlhist -e 'SELECT CAST(call_site AS SYM), COUNT(*) FROM kmalloc WHERE bytes_req > 100'
  trace-cmd show --hist kmalloc
  trace-cmd sqlhist -e -n wakelat 'SELECT end.next_comm AS comm, TIMESTAMP_DELTA_USECS AS lat \\
      FROM sched_waking AS start JOIN sched_switch AS end ON start.pid = end.next_pid WHERE end.next_prio < 100'
  trace-cmd stream -e wakelat
  trace-cmd sqlhist -e -n maxlat -m lat -s -f query.sql   a snapshot at the largest lat
  trace-cmd reset                                         removes it all again";

/// Words and help of `sqlhist`.
pub(crate) fn command() -> Command {
    const LARGEST: &str = "At a value";
    Command::new("sqlhist")
        .about("Make histograms and synthetic events of events, by SQL")
        .override_usage("trace-cmd sqlhist [OPTIONS] <QUERY... | -f FILE>")
        .after_help(AFTER_HELP)
        .arg(value("name", 'n', "NAME").help("Name of the synthetic event [default: Anonymous]"))
        .arg(flag("execute", 'e', "Do it, instead of printing the commands"))
        .arg(value("file", 'f', "FILE").help("Read the query from FILE, - for standard input"))
        .arg(dir_arg().short('t'))
        .arg(value("instance", 'B', "NAME").help("Make histograms in this instance"))
        .arg(
            Arg::new("query")
                .value_name("QUERY")
                .num_args(1..)
                .conflicts_with("file")
                .required_unless_present("file")
                .help("The query, in one word or several"),
        )
        .next_help_heading(LARGEST)
        .arg(value("max", 'm', "FIELD").help("Act when FIELD, as selected, is larger than before"))
        .arg(
            value("change", 'c', "FIELD")
                .help("Act when FIELD, as selected, is another than before"),
        )
        .arg(flag("snapshot", 's', "Take a snapshot then"))
        .arg(
            value("save", 'S', "FIELD,...")
                .action(ArgAction::Append)
                .help("Save these fields of the second event then"),
        )
        .arg(flag("trace", 'T', "Make the synthetic event then, beside -s or -S"))
        .group(ArgGroup::new("condition").args(["max", "change"]))
}

fn value(id: &'static str, short: char, name: &'static str) -> Arg {
    Arg::new(id).short(short).value_name(name)
}

/// Runs `sqlhist`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let query = SqlQuery::parse(&query(matches)?).map_err(|error| bad_query(&error))?;
    let named = matches.get_one::<String>("name");
    let name = named.map_or(DEFAULT_NAME, String::as_str);
    let actions = actions(matches, &query)?;
    let dir = dir(matches)?;
    let place = match matches.get_one::<String>("instance") {
        Some(name) => instance(&dir, name)?,
        None => dir.top(),
    };
    let plan = match query.plan(name, &place).map_err(|error| bad_query(&error))? {
        SqlPlan::Join(join) => SqlPlan::Join(Box::new(act(*join, matches, &actions)?)),
        histogram => histogram,
    };
    if !matches.get_flag("execute") {
        let mut out = output::stdout();
        for command in plan.commands(&place) {
            writeln!(out, "{command}")?;
        }
        out.flush()?;
        return Ok(Exit::Success);
    }
    plan.apply(&place).map_err(kernel_error)?;
    Ok(Exit::Success)
}

/// The text of the query.
fn query(matches: &ArgMatches) -> Result<String, Error> {
    let Some(file) = matches.get_one::<String>("file") else {
        let words: Vec<&str> =
            matches.get_many::<String>("query").into_iter().flatten().map(String::as_str).collect();
        return Ok(words.join(" "));
    };
    let read = match file.as_str() {
        "-" => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        path => fs::read_to_string(path),
    };
    read.map_err(|error| Error::failure(format!("cannot read {file}")).because(error))
}

/// Something that is done at a value; `None` is the synthetic event itself.
type Action = Option<HistAction>;

/// What shall be done at the value of `-m` or `-c`.
fn actions(matches: &ArgMatches, query: &SqlQuery) -> Result<Vec<Action>, Error> {
    let mut actions = Vec::new();
    if matches.get_flag("snapshot") {
        actions.push(Some(HistAction::Snapshot));
    }
    let saved = matches.get_many::<String>("save").into_iter().flatten();
    let saved: Vec<String> =
        saved.flat_map(|list| list.split(',')).map(|field| field.trim().to_owned()).collect();
    if !saved.is_empty() {
        actions.push(Some(HistAction::Save(saved)));
    }
    if matches.get_flag("trace") {
        actions.push(None);
    }
    let has_condition = matches.contains_id("condition");
    if !actions.is_empty() && !has_condition {
        return Err(Error::usage("-s, -S and -T say what is done at a value, and none is named")
            .hint("name it with -m FIELD or -c FIELD"));
    }
    if has_condition && !query.is_join() {
        return Err(Error::usage("-m and -c are about what is computed of two events")
            .hint("the query needs a second event by JOIN"));
    }
    if has_condition && actions.is_empty() {
        actions.push(None);
    }
    Ok(actions)
}

/// Has a join act at a value instead of at every match.
fn act(mut join: SqlJoin, matches: &ArgMatches, actions: &[Action]) -> Result<SqlJoin, Error> {
    let (max, change) = (matches.get_one::<String>("max"), matches.get_one::<String>("change"));
    let trace = join.trace_action();
    if !actions.is_empty() {
        join.end.trigger.handlers.clear();
    }
    for action in actions {
        let action = action.clone().unwrap_or_else(|| trace.clone());
        let acting = match (max, change) {
            (Some(field), _) => join.on_max(field, action),
            (None, Some(field)) => join.on_change(field, action),
            (None, None) => Ok(join),
        };
        join = acting.map_err(|error| Error::usage("bad value").because(error))?;
    }
    Ok(join)
}

fn bad_query(error: &SqlError) -> Error {
    Error::usage("bad query").because(error.clone()).detail(error.pointed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(words: &[&str]) -> String {
        let words = std::iter::once("sqlhist").chain(words.iter().copied());
        match command().try_get_matches_from(words) {
            Ok(matches) => run(&matches).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    const JOIN: &str = "SELECT a.x FROM a JOIN b ON a.x = b.y";

    #[test]
    fn what_makes_no_sense_is_refused_before_the_kernel_is_asked() {
        for (words, part) in [
            (&["SELECT a FORM b"][..], "SELECT a FORM b\n         ^"),
            (&["SELECT", "a", "FORM", "b"], "SELECT a FORM b\n         ^"),
            (&["-s", JOIN], "none is named"),
            (&["-S", "a,b", JOIN], "none is named"),
            (&["-m", "x", "SELECT a FROM b"], "second event by JOIN"),
            (&["-m", "x", "-c", "x", JOIN], "cannot be used with"),
            (&["-f", "/nowhere/query", "-e"], "cannot read /nowhere/query"),
            (&["-f", "-", JOIN], "cannot be used with"),
            (&[], "required"),
        ] {
            let error = error(words);
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }
}
