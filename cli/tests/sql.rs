//! `sql`: answers compared with what `report --json` prints.

mod common;

use std::path::Path;
use std::process::ExitCode;

use common::{Case, check, complaint, made_trace, success, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;

const CASES: &[Case] = &[
    Case { name: "answers_are_those_of_the_records", needs: || Ok(()), test: answers },
    Case { name: "tables_are_joined_and_named_with_their_system", needs: || Ok(()), test: joins },
    Case { name: "what_cannot_be_answered_is_refused", needs: || Ok(()), test: refused },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn ask(statement: &str, files: &[&Path]) -> Result<Vec<String>, Failed> {
    let text = success(trace_cmd().args(["sql", statement]).args(files))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Lines of `report --json` that have a text.
fn lines_with(text: &str, files: &[&Path]) -> Result<usize, Failed> {
    let report = success(trace_cmd().args(["report", "--json"]).args(files))?;
    Ok(report.lines().filter(|line| line.contains(text)).count())
}

fn answers() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let (a, b) = (made_trace(dir.path(), "a.dat", 1)?, made_trace(dir.path(), "b.dat", 2)?);
    let files: [&Path; 2] = [&a, &b];
    let wanted = lines_with("\"event\":\"sched_switch\"", &files)?;
    let found = ask("SELECT machine, count(*) AS n FROM sched_switch GROUP BY machine", &files)?;
    check(wanted > 100, || format!("{wanted} switches"))?;
    check(found == ["machine,n".to_owned(), format!("testing,{wanted}")], || format!("{found:?}"))?;
    let statement = "SELECT common_timestamp, next_pid FROM sched_switch LIMIT 1";
    let first = ask(statement, &[&a])?;
    let values = first[1]
        .split_once(',')
        .map(|(ts, pid)| (format!("\"ts\":{ts},"), format!("\"next_pid\":{pid}")));
    let Some((ts, pid)) = values else { return Err(format!("{first:?}").into()) };
    let report = success(trace_cmd().args(["report", "--json", "-F", "^sched_switch$"]).arg(&a))?;
    let line = report.lines().find(|line| line.contains("sched_switch")).unwrap_or_default();
    check(line.contains(&ts) && line.contains(&pid), || format!("{first:?}: {line}"))
}

fn joins() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let a = made_trace(dir.path(), "a.dat", 1)?;
    let statement = "WITH other AS (SELECT count(*) AS n FROM \"sched/sched_switch\") \
                     SELECT other.n - (SELECT count(*) FROM SCHED_SWITCH), 1.5, NULL, 'a,b' FROM other";
    let found = ask(statement, &[&a])?;
    check(found.last().map(String::as_str) == Some("0,1.5,,\"a,b\""), || format!("{found:?}"))?;
    let filtered = trace_cmd()
        .args(["sql", "SELECT count(*) FROM sched_switch", "-F", "sched_switch: next_pid == 0"])
        .arg(&a)
        .output()?;
    let all = lines_with("\"event\":\"sched_switch\"", &[&a])?;
    let idle = String::from_utf8(filtered.stdout)?;
    let idle: usize = idle.lines().last().unwrap_or_default().parse()?;
    check(idle < all, || format!("{idle} of {all}"))
}

fn refused() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let a = made_trace(dir.path(), "a.dat", 1)?;
    for (statement, wanted) in [
        ("SELECT * FROM no_such_event", "no event is named 'no_such_event'"),
        ("SELECT * FROM sched_swich", "did you mean sched_switch?"),
        ("SELEC 1", "bad SQL"),
        ("DELETE FROM sched_switch", "the statement changes something"),
        ("SELECT 1; SELECT 2", "bad SQL"),
        ("SELECT no_such_column FROM sched_switch", "no such column: no_such_column"),
    ] {
        let line = complaint(trace_cmd().args(["sql", statement]).arg(&a))?;
        check(line.contains(wanted), || format!("{statement}: {line}"))?;
    }
    Ok(())
}
