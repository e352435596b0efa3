//! `-F`, `--pid`, `--comm`: words to filters, and what they mean for each event (`-T`).

use std::collections::BTreeSet;
use std::io::{self, Write};

use tracedat::filter::Filter;
use tracedat::report::{ReportFilter, ReportInput};

use super::args::FilterArg;
use crate::error::Error;
use crate::nearest::did_you_mean;
use crate::output::tell;

/// The filters of `-F`, in the order they were given.
pub(crate) fn parse(words: &[FilterArg]) -> Result<Vec<ReportFilter>, Error> {
    words
        .iter()
        .map(|word| {
            let filter = Filter::parse(&word.text).map_err(|error| {
                let caret = error.caret();
                Error::usage("bad filter").because(error).detail(caret)
            })?;
            Ok(ReportFilter { filter, hides: word.hides, input: word.input })
        })
        .collect()
}

/// Adds the filters for processes: all their events, and those that tell of them.
pub(super) fn add_processes(
    filters: &mut Vec<ReportFilter>,
    pids: &[i32],
    comms: &[String],
    inputs: &[ReportInput<'_>],
) -> Result<(), Error> {
    if !pids.is_empty() {
        filters.push(processes(pids, None)?);
    }
    if comms.is_empty() {
        return Ok(());
    }
    for (index, input) in inputs.iter().enumerate() {
        let named = |comm: &[u8]| comms.iter().any(|wanted| wanted.as_bytes() == comm);
        let tasks = input.metadata.tasks().iter();
        let mut pids: Vec<i32> =
            tasks.filter(|(_, comm)| named(comm)).map(|(pid, _)| pid).collect();
        pids.sort_unstable();
        // A file without such a task shows nothing, rather than everything.
        filters.push(processes(&pids, Some(index))?);
    }
    for comm in comms {
        let known = inputs
            .iter()
            .any(|input| input.metadata.tasks().iter().any(|(_, name)| name == comm.as_bytes()));
        if !known {
            tell(&format!("no task named '{comm}' in any file"));
        }
    }
    Ok(())
}

fn processes(pids: &[i32], input: Option<usize>) -> Result<ReportFilter, Error> {
    let mut text = String::from(".*:");
    for field in ["common_pid", "pid", "next_pid"] {
        for pid in pids {
            let joined = if text.ends_with(':') { " " } else { " || " };
            text.push_str(&format!("{joined}{field} == {pid}"));
        }
    }
    if pids.is_empty() {
        text.push_str(" FALSE");
    }
    let filter = Filter::parse(&text).map_err(|error| Error::usage("bad filter").because(error))?;
    Ok(ReportFilter { filter, hides: false, input })
}

/// Refuses filters for events that none of their files knows.
pub(crate) fn check(filters: &[ReportFilter], inputs: &[ReportInput<'_>]) -> Result<(), Error> {
    for filter in filters {
        let mut own = inputs_of(filter, inputs);
        if !own.any(|input| filter.filter.names_any(input.metadata)) {
            let text = filter.filter.text();
            let near = nearest(text, inputs_of(filter, inputs));
            let hint = near.as_deref().unwrap_or("list them with 'trace-cmd report -E'");
            let message = format!("no event is named by the filter '{text}'");
            return Err(Error::usage(message).hint(hint));
        }
    }
    Ok(())
}

/// What may have been meant by the first event of a filter.
fn nearest<'a, 'm: 'a>(
    text: &str,
    inputs: impl Iterator<Item = &'a ReportInput<'m>>,
) -> Option<String> {
    let first = text.split([',', ':']).next()?.trim();
    let (asked, of_system) = match first.split_once('/') {
        Some((_, event)) => (event, false),
        None => (first, true),
    };
    let mut names = BTreeSet::new();
    for input in inputs {
        for format in input.metadata.event_texts() {
            let line = format.text.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let name = line.strip_prefix(b"name: ").unwrap_or_default();
            names.insert(String::from_utf8_lossy(name).trim_end().to_owned());
            if of_system {
                names.insert(format.system.to_owned());
            }
        }
    }
    did_you_mean(names, asked)
}

/// Prints what the filters say about each event.
pub(super) fn print(
    filters: &[ReportFilter],
    inputs: &[ReportInput<'_>],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    for filter in filters {
        for input in inputs_of(filter, inputs) {
            let mut ids: Vec<u16> = input.metadata.event_texts().filter_map(|t| t.id).collect();
            ids.sort_unstable();
            ids.dedup();
            // The last defined first, as in the reference.
            for event in ids.into_iter().rev().filter_map(|id| input.metadata.event_by_id(id)) {
                if let Some(condition) = filter.filter.for_event(&event.format) {
                    writeln!(out, " '{}: {condition}'", event.format.name)?;
                }
            }
        }
    }
    out.flush()
}

fn inputs_of<'a, 'm>(
    filter: &ReportFilter,
    inputs: &'a [ReportInput<'m>],
) -> impl Iterator<Item = &'a ReportInput<'m>> + use<'a, 'm> {
    let only = filter.input;
    inputs
        .iter()
        .enumerate()
        .filter(move |(index, _)| only.is_none_or(|only| only == *index))
        .map(|(_, input)| input)
}
