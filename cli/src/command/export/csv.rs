//! `export --csv`: a table for each event in a directory, or one table to standard output.

use std::collections::HashMap;
use std::io::Write;

use tracedat::export::{Cell, EventTable, csv};
use tracedat::{Metadata, Record};

use super::args::ExportArgs;
use super::folder::Folder;
use super::inputs::{Files, Stream};
use super::output::Output;
use super::text::{FULL, Line, Text};
use crate::error::Error;
use crate::output::tell;

/// Writes the tables.
pub(super) fn export(args: &ExportArgs, files: &Files, stream: Stream) -> Result<(), Error> {
    match &args.output {
        Some(dir) => Folder::<Text<Csv>>::new(dir, files, args).fill(args, stream),
        None => one_table(args, files, stream),
    }
}

/// Values between commas.
struct Csv;

impl Line for Csv {
    const EXTENSION: &'static str = "csv";

    fn new(table: &EventTable, lines: &mut Vec<u8>) -> Self {
        csv::header(&[], table.columns(), lines);
        Self
    }

    fn row(
        &mut self,
        table: &EventTable,
        metadata: &Metadata,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
        lines: &mut Vec<u8>,
    ) {
        table.row(metadata, record, scratch, |index, cell| csv::cell(index, cell, lines));
        csv::end(lines);
    }
}

/// Writes the only table, with the machine in a column of its own.
fn one_table(args: &ExportArgs, files: &Files, stream: Stream) -> Result<(), Error> {
    let mut output = Output::create(None)?;
    let (mut lines, mut scratch) = (Vec::new(), Vec::new());
    // By file and number of the event; all of them are the same but for where fields are.
    let mut tables: HashMap<(usize, u16), EventTable> = HashMap::new();
    let mut unknown = 0_u64;
    stream.visit(files, &args.selection, |file, record| {
        let (Some(metadata), Some(machine)) = (files.metadata.get(file), files.machines.get(file))
        else {
            return Ok(());
        };
        let (Some(id), Ok(event)) = (record.data.first_chunk(), metadata.event(record)) else {
            unknown += 1;
            return Ok(());
        };
        let id = metadata.abi.byte_order.u16(*id);
        if !tables.contains_key(&(file, id)) {
            let table = EventTable::new(event.kind());
            match tables.values().next() {
                None => csv::header(&["machine"], table.columns(), &mut lines),
                Some(other) => check_same(other, &table)?,
            }
            tables.insert((file, id), table);
        }
        let Some(table) = tables.get(&(file, id)) else { return Ok(()) };
        csv::cell(0, Cell::Text(machine), &mut lines);
        table.row(metadata, record, &mut scratch, |index, cell| {
            csv::cell(index + 1, cell, &mut lines);
        });
        csv::end(&mut lines);
        if lines.len() >= FULL {
            output.write_all(&lines)?;
            lines.clear();
        }
        Ok(())
    })?;
    output.write_all(&lines)?;
    tell_unknown(unknown);
    output.finish()
}

/// Refuses what does not go into one table.
fn check_same(one: &EventTable, other: &EventTable) -> Result<(), Error> {
    let name = |table: &EventTable| format!("{}/{}", table.system(), table.event());
    if name(one) != name(other) {
        let message = format!("{} and {} are two tables", name(one), name(other));
        let event = one.event();
        return Err(Error::usage(message)
            .hint(format!("name a directory with -o DIR, or one event with -F '^{event}$'")));
    }
    if one.columns() != other.columns() {
        let message = format!("{} has other columns in each of the files", name(one));
        return Err(Error::failure(message).hint("name a directory with -o DIR"));
    }
    Ok(())
}

/// Says how many records are in no table.
pub(super) fn tell_unknown(records: u64) {
    if records > 0 {
        tell(&format!("{records} records are left out: the file has no format for their event"));
    }
}
