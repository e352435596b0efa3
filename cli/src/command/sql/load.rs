//! Records to rows of the tables.

use std::collections::HashMap;

use rusqlite::{Connection, Statement};
use tracedat::Record;
use tracedat::export::{Cell, Day, EventTable};

use super::failed;
use super::schema::{OF_FILE, Schema, Table, quoted};
use crate::command::export::inputs::{Files, Stream};
use crate::command::report::selection::Selection;
use crate::error::Error;

/// Where records of an event of a file go to; nowhere if the statement does not name it.
type Places<'d> = HashMap<(usize, u16), Option<Place<'d>>>;

struct Place<'d> {
    table: EventTable,
    inserts: Vec<Statement<'d>>,
    /// That of the last record.
    day: Option<(Day, String)>,
}

/// Fills the tables with the records that were selected.
pub(super) fn load(
    database: &Connection,
    schema: &Schema,
    files: &Files,
    stream: Stream,
    selection: &Selection,
) -> Result<(), Error> {
    if schema.tables.is_empty() {
        return Ok(());
    }
    database.execute_batch("BEGIN").map_err(|cause| failed(&cause))?;
    let mut places = Places::new();
    let mut scratch = Vec::new();
    stream.visit(files, selection, |file, record| {
        let Some(metadata) = files.metadata.get(file) else { return Ok(()) };
        let Some(id) = record.data.first_chunk() else { return Ok(()) };
        let id = metadata.abi.byte_order.u16(*id);
        let place = match places.entry((file, id)) {
            std::collections::hash_map::Entry::Occupied(place) => place.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let place = metadata
                    .event(record)
                    .ok()
                    .map(|event| Place::new(database, schema, EventTable::new(event.kind())));
                vacant.insert(place.transpose()?.filter(|place| !place.inserts.is_empty()))
            }
        };
        match place {
            Some(place) => place.insert(files, file, record, &mut scratch),
            None => Ok(()),
        }
    })?;
    drop(places);
    database.execute_batch("COMMIT").map_err(|cause| failed(&cause))
}

impl<'d> Place<'d> {
    fn new(database: &'d Connection, schema: &Schema, table: EventTable) -> Result<Self, Error> {
        let insert = |into: &Table| {
            let names = table.columns().iter().map(|column| column.name.as_str());
            let names: Vec<String> = OF_FILE.into_iter().chain(names).map(quoted).collect();
            let values = vec!["?"; names.len()].join(", ");
            let into = quoted(&into.name);
            database
                .prepare(&format!("INSERT INTO {into} ({}) VALUES ({values})", names.join(", ")))
        };
        let inserts: Result<Vec<_>, _> = schema.of(&table).map(insert).collect();
        Ok(Self { inserts: inserts.map_err(|cause| failed(&cause))?, table, day: None })
    }

    fn insert(
        &mut self,
        files: &Files,
        file: usize,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let (Some(metadata), Some(machine)) = (files.metadata.get(file), files.machines.get(file))
        else {
            return Ok(());
        };
        let day = metadata.date().map(|_| Day::of(record.time));
        if self.day.as_ref().map(|(day, _)| *day) != day {
            self.day = day.map(|day| (day, day.to_string()));
        }
        let day = self.day.as_ref().map(|(_, text)| text.as_str());
        for insert in &mut self.inserts {
            let mut bound = insert
                .raw_bind_parameter(1, machine.as_str())
                .and_then(|()| insert.raw_bind_parameter(2, day));
            self.table.row(metadata, record, scratch, |index, cell| {
                if bound.is_ok() {
                    bound = bind(insert, index + OF_FILE.len() + 1, cell);
                }
            });
            bound.and_then(|()| insert.raw_execute()).map_err(|cause| failed(&cause))?;
        }
        Ok(())
    }
}

fn bind(insert: &mut Statement<'_>, index: usize, cell: Cell<'_>) -> rusqlite::Result<()> {
    match cell {
        Cell::Null => insert.raw_bind_parameter(index, rusqlite::types::Null),
        Cell::Integer(value) => insert.raw_bind_parameter(index, value),
        Cell::Unsigned(value) => match i64::try_from(value) {
            Ok(value) => insert.raw_bind_parameter(index, value),
            Err(_) => insert.raw_bind_parameter(index, value.to_string()),
        },
        Cell::Bool(value) => insert.raw_bind_parameter(index, value),
        Cell::Text(text) => insert.raw_bind_parameter(index, text),
    }
}
