//! The tables that a statement names.

use rusqlite::Connection;
use tracedat::export::{Column, ColumnType, EventTable};

use super::failed;
use crate::command::export::inputs::Files;
use crate::error::Error;
use crate::nearest::did_you_mean;

/// Columns of every table that do not come from the record.
pub(super) const OF_FILE: [&str; 2] = ["machine", "day"];

/// Tables of events, as they were made.
#[derive(Default)]
pub(super) struct Schema {
    pub(super) tables: Vec<Table>,
}

/// A table of an event.
pub(super) struct Table {
    pub(super) name: String,
    system: String,
    event: String,
}

impl Schema {
    /// Makes the table of an event, with the columns that any of the files has for it.
    pub(super) fn add(
        &mut self,
        name: &str,
        files: &Files,
        database: &Connection,
    ) -> Result<(), Error> {
        let of = |table: &EventTable| (table.system().to_owned(), table.event().to_owned());
        let found: Vec<EventTable> = tables(files).filter(|table| is_named(table, name)).collect();
        let Some(first) = found.first() else {
            let asked = name.split_once('/').map_or(name, |(_, event)| event);
            let near = did_you_mean(tables(files).map(|table| table.event().to_owned()), asked);
            return Err(Error::usage(format!("no event is named '{name}'"))
                .hint(near.as_deref().unwrap_or("list them with 'trace-cmd report -E'")));
        };
        if let Some(other) = found.iter().find(|table| table.system() != first.system()) {
            let (one, two) = (first.system(), other.system());
            return Err(Error::usage(format!("{one} and {two} have an event '{name}'"))
                .hint(format!("name one of them as \"{one}/{}\"", first.event())));
        }
        let mut columns: Vec<&Column> = Vec::new();
        for column in found.iter().flat_map(EventTable::columns) {
            if columns.iter().all(|other| other.name != column.name) {
                columns.push(column);
            }
        }
        let of_file = OF_FILE.map(|name| format!("{} TEXT", quoted(name)));
        let own = columns
            .iter()
            .map(|column| format!("{} {}", quoted(&column.name), type_name(column.column_type)));
        let columns: Vec<String> = of_file.into_iter().chain(own).collect();
        let statement = format!("CREATE TABLE {} ({})", quoted(name), columns.join(", "));
        database.execute_batch(&statement).map_err(|cause| failed(&cause))?;
        let (system, event) = of(first);
        self.tables.push(Table { name: name.to_owned(), system, event });
        Ok(())
    }

    /// The tables that records of an event go to.
    pub(super) fn of<'s>(&'s self, table: &'s EventTable) -> impl Iterator<Item = &'s Table> {
        let own = |other: &&Table| other.system == table.system() && other.event == table.event();
        self.tables.iter().filter(own)
    }
}

/// The events of all files.
fn tables(files: &Files) -> impl Iterator<Item = EventTable> {
    files.metadata.iter().flat_map(|metadata| {
        let ids = metadata.event_texts().filter_map(|text| text.id);
        ids.filter_map(|id| metadata.event_by_id(id)).map(EventTable::new)
    })
}

fn is_named(table: &EventTable, name: &str) -> bool {
    match name.split_once('/') {
        Some((system, event)) => {
            table.system().eq_ignore_ascii_case(system) && table.event().eq_ignore_ascii_case(event)
        }
        None => table.event().eq_ignore_ascii_case(name),
    }
}

/// A name as SQL has it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Integer | ColumnType::Bool => "INTEGER",
        // SQLite's integers have a sign. What is beyond them is text, which must not become a float.
        ColumnType::Unsigned => "",
        ColumnType::Text => "TEXT",
    }
}
