//! `trace-cmd sql`: questions about a trace, in SQL.
//!
//! statement → the tables that it names → records of those events, in a temporary database → rows as CSV.

mod load;
mod schema;

use std::io::Write;

use clap::{Arg, ArgMatches, Command};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};
use tracedat::export::{Cell, csv};

use super::export::inputs::{self, Files};
use super::report::selection::{self, Selection};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

use schema::Schema;

const AFTER_HELP: &str = "\
The tables are the events, by name, or as \"SYSTEM/EVENT\" where systems share a name. Their columns are those of \
'export --parquet': machine, day, common_timestamp (nanoseconds), common_cpu, common_pid, common_comm, instance, and the \
event's fields. The SQL is that of SQLite. Only events that the statement names are loaded, into a temporary file that \
nobody sees (in SQLITE_TMPDIR or TMPDIR, else /var/tmp). The answer is CSV.

The same statement runs elsewhere, on traces of many machines, after 'trace-cmd export --parquet trace.dat -o traces':
  DuckDB      CREATE VIEW sched_switch AS SELECT * FROM read_parquet('traces/sched/sched_switch/**/*.parquet',
                hive_partitioning = true, union_by_name = true);
  Spark       spark.read.option('mergeSchema', True).parquet('traces/sched/sched_switch')
                .createOrReplaceTempView('sched_switch')
  ClickHouse  CREATE VIEW sched_switch AS SELECT * FROM file('traces/sched/sched_switch/machine=*/day=*/*.parquet')
                SETTINGS use_hive_partitioning = 1

Examples:
  trace-cmd sql \"SELECT machine, next_comm, count(*) AS n FROM sched_switch GROUP BY machine, next_comm ORDER BY n DESC\"
  trace-cmd sql \"SELECT * FROM sched_waking WHERE target_cpu <> common_cpu LIMIT 10\" trace.dat trace-guest1.dat";

/// Words and help of `sql`.
pub(crate) fn command() -> Command {
    Command::new("sql")
        .about("Answer questions about a trace in SQL")
        .after_help(AFTER_HELP)
        .arg(Arg::new("statement").value_name("STATEMENT").required(true).help("What to ask"))
        .args(inputs::args())
        .args(selection::args())
}

/// Runs `sql`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let text = matches.get_one::<String>("statement").map_or("", String::as_str);
    let selection = Selection::from_matches(matches)?;
    let (files, stream) = inputs::open(&inputs::paths(matches))?;
    // An empty name is a temporary file, which bounds what is held in memory.
    let database = Connection::open("").map_err(|cause| failed(&cause))?;
    database
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        .map_err(|cause| failed(&cause))?;
    let (mut statement, schema) = prepare(&database, text, &files)?;
    load::load(&database, &schema, &files, stream, &selection)?;
    print(&mut statement, &mut output::stdout())?;
    Ok(Exit::Success)
}

/// Prepares a statement: the tables that it names are made until it lacks none.
fn prepare<'d>(
    database: &'d Connection,
    text: &str,
    files: &Files,
) -> Result<(Statement<'d>, Schema), Error> {
    let mut schema = Schema::default();
    loop {
        match database.prepare(text) {
            Ok(statement) if !statement.readonly() => {
                return Err(Error::usage("the statement changes something")
                    .hint("ask with SELECT; nothing that it changed would stay"));
            }
            Ok(statement) => return Ok((statement, schema)),
            Err(error) => match missing_table(&error) {
                Some(name) => schema.add(&name, files, database)?,
                None => return Err(Error::usage("bad SQL").because(error)),
            },
        }
    }
}

/// The table that a statement lacks.
fn missing_table(error: &rusqlite::Error) -> Option<String> {
    let message = match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        rusqlite::Error::SqliteFailure(_, Some(message)) => message,
        _ => return None,
    };
    let name = message.strip_prefix("no such table: ")?;
    Some(name.strip_prefix("main.").unwrap_or(name).to_owned())
}

/// Writes the rows of the answer.
fn print(statement: &mut Statement<'_>, out: &mut dyn Write) -> Result<(), Error> {
    let names = statement.column_names().into_iter().map(str::to_owned);
    let names: Vec<String> = names.collect();
    let mut line = Vec::new();
    csv::header(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[], &mut line);
    let mut rows = statement.query([]).map_err(|cause| failed(&cause))?;
    loop {
        out.write_all(&line)?;
        line.clear();
        let Some(row) = rows.next().map_err(|cause| failed(&cause))? else { break };
        for index in 0..names.len() {
            let value = row.get_ref(index).map_err(|cause| failed(&cause))?;
            print_value(index, value, &mut line);
        }
        csv::end(&mut line);
    }
    out.flush()?;
    Ok(())
}

fn print_value(index: usize, value: ValueRef<'_>, line: &mut Vec<u8>) {
    match value {
        ValueRef::Null => csv::cell(index, Cell::Null, line),
        ValueRef::Integer(value) => csv::cell(index, Cell::Integer(value), line),
        ValueRef::Real(value) => csv::cell(index, Cell::Text(&value.to_string()), line),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            csv::cell(index, Cell::Text(&String::from_utf8_lossy(bytes)), line);
        }
    }
}

/// The engine said no.
fn failed(cause: &rusqlite::Error) -> Error {
    Error::failure("cannot answer").because(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_a_statement_lacks_are_named() {
        let database = Connection::open("").unwrap();
        for (text, table) in [
            ("SELECT * FROM sched_switch", Some("sched_switch")),
            ("WITH a AS (SELECT 1) SELECT * FROM a, main.b", Some("b")),
            ("SELECT * FROM \"sched/sched_switch\"", Some("sched/sched_switch")),
            ("SELEC 1", None),
        ] {
            let error = database.prepare(text).unwrap_err();
            assert_eq!(missing_table(&error).as_deref(), table, "{text}");
        }
    }
}
