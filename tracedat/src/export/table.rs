//! One event as a table: a row for each record, a typed column for each field.

use super::text::{append_symbol, append_utf8};
use crate::abi::Abi;
use crate::event::Event;
use crate::event_format::Field;
use crate::metadata::Metadata;
use crate::report::json::{FieldPlan, Kind};
use crate::report::number;
use crate::ring_buffer::Record;

/// A table that has the records of one event.
///
/// Its first columns are those of every record, named as filters and `sqlhist` name them, the others are the
/// event's own fields by their names:
///
/// | Column | Type | Value |
/// |---|---|---|
/// | `common_timestamp` | integer | nanoseconds; ticks where the clock does not count those |
/// | `common_cpu`, `common_pid` | integer | |
/// | `common_comm` | text | name of the task, if the file has it |
/// | `instance` | text | name of the buffer, none for the top-level one |
/// | a field that is an integer | integer, of 64 bits without sign unsigned | exact |
/// | `bool` | bool | |
/// | `char` array | text | up to its NUL; a byte that is no UTF-8 becomes `\xNN` |
/// | a pointer, or what is printed as one | text | `0x…`; in a second column `NAME_symbol` what is known there |
/// | other arrays, masks, bytes | text | a list in JSON |
#[derive(Debug)]
pub struct EventTable {
    system: String,
    event: String,
    columns: Vec<Column>,
    sources: Vec<Source>,
    abi: Abi,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, the only one of that name in its table.
    pub name: String,
    /// What its cells are, where they are something.
    pub column_type: ColumnType,
}

/// What a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Integers with a sign, or without where they have less than 64 bits.
    Integer,
    /// Integers of 64 bits without a sign.
    Unsigned,
    /// Truth values.
    Bool,
    /// Text.
    Text,
}

/// A value of a row; of the type of its column, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// The record does not have it.
    Null,
    /// See [`ColumnType::Integer`].
    Integer(i64),
    /// See [`ColumnType::Unsigned`].
    Unsigned(u64),
    /// See [`ColumnType::Bool`].
    Bool(bool),
    /// See [`ColumnType::Text`].
    Text(&'a str),
}

/// Where the cells of a column come from.
#[derive(Debug)]
enum Source {
    Timestamp,
    Cpu,
    Pid(Option<Field>),
    Comm(Option<Field>),
    Instance,
    Field(FieldPlan),
    /// What is known at the address in a field.
    Symbol(FieldPlan),
}

impl EventTable {
    /// Settles the columns of an event.
    pub fn new(event: &Event) -> Self {
        let format = &event.format;
        let pid = || format.common_field("common_pid").cloned();
        let mut table = Self {
            system: format.system.clone(),
            event: format.name.clone(),
            columns: Vec::new(),
            sources: Vec::new(),
            abi: event.abi(),
        };
        table.add("common_timestamp", ColumnType::Integer, Source::Timestamp);
        table.add("common_cpu", ColumnType::Integer, Source::Cpu);
        table.add("common_pid", ColumnType::Integer, Source::Pid(pid()));
        table.add("common_comm", ColumnType::Text, Source::Comm(pid()));
        table.add("instance", ColumnType::Text, Source::Instance);
        for field in &format.fields {
            let plan = FieldPlan::new(event, field);
            let has_symbol = plan.kind.has_symbol();
            table.add(&field.name, column_type(&plan), Source::Field(plan));
            if has_symbol {
                let name = format!("{}_symbol", field.name);
                table.add(&name, ColumnType::Text, Source::Symbol(FieldPlan::new(event, field)));
            }
        }
        table
    }

    /// The system of its event.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The name of its event.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// Its columns, in the order of their cells.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Calls `cell` with each value of a record's row, in the order of the columns. `scratch` is memory
    /// that is used again from row to row.
    pub fn row(
        &self,
        metadata: &Metadata,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
        mut cell: impl FnMut(usize, Cell<'_>),
    ) {
        for (index, source) in self.sources.iter().enumerate() {
            scratch.clear();
            cell(index, source.cell(self.abi, metadata, record, scratch));
        }
    }

    fn add(&mut self, name: &str, column_type: ColumnType, source: Source) {
        let mut name = name.to_owned();
        // Engines do not tell upper case from lower.
        while self.columns.iter().any(|other| other.name.eq_ignore_ascii_case(&name))
            || PARTITIONS.iter().any(|other| other.eq_ignore_ascii_case(&name))
        {
            name.push('_');
        }
        self.columns.push(Column { name, column_type });
        self.sources.push(source);
    }
}

/// Names of columns that tables have by where their files lie.
const PARTITIONS: [&str; 2] = ["machine", "day"];

fn column_type(plan: &FieldPlan) -> ColumnType {
    match plan.kind {
        Kind::Signed => ColumnType::Integer,
        Kind::Unsigned if plan.field.size < 8 => ColumnType::Integer,
        Kind::Unsigned => ColumnType::Unsigned,
        Kind::Bool => ColumnType::Bool,
        _ => ColumnType::Text,
    }
}

impl Source {
    fn cell<'a>(
        &self,
        abi: Abi,
        metadata: &'a Metadata,
        record: &Record<'a>,
        scratch: &'a mut Vec<u8>,
    ) -> Cell<'a> {
        let cell = match self {
            Self::Timestamp => Some(Cell::Integer(i64::try_from(record.time).unwrap_or(i64::MAX))),
            Self::Cpu => Some(Cell::Integer(i64::from(record.cpu))),
            Self::Pid(field) => integer(field.as_ref(), abi, record.data).map(Cell::Integer),
            Self::Comm(field) => match integer(field.as_ref(), abi, record.data) {
                Some(0) => Some(Cell::Text("<idle>")),
                Some(pid) => {
                    let comm = metadata.tasks().comm(pid as i32);
                    comm.map(|comm| Cell::Text(utf8(comm, scratch)))
                }
                None => None,
            },
            Self::Instance => {
                let buffer = metadata.buffers.get(record.buffer as usize);
                buffer
                    .filter(|buffer| !buffer.name.is_empty())
                    .map(|buffer| Cell::Text(&buffer.name))
            }
            Self::Field(plan) => field(plan, abi, record.data, scratch),
            Self::Symbol(plan) => {
                let known = append_symbol(plan, abi, metadata, record.data, scratch);
                known.map(|()| made(scratch))
            }
        };
        cell.unwrap_or(Cell::Null)
    }
}

fn integer(field: Option<&Field>, abi: Abi, data: &[u8]) -> Option<i64> {
    field?.int(abi, data)
}

fn field<'a>(
    plan: &FieldPlan,
    abi: Abi,
    data: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Option<Cell<'a>> {
    Some(match plan.kind {
        Kind::Signed => Cell::Integer(plan.field.int(abi, data)?),
        Kind::Unsigned => {
            let value = plan.field.uint(abi, data)?;
            match i64::try_from(value) {
                Ok(value) if plan.field.size < 8 => Cell::Integer(value),
                _ => Cell::Unsigned(value),
            }
        }
        Kind::Bool => Cell::Bool(plan.field.uint(abi, data)? != 0),
        Kind::Text => Cell::Text(utf8(plan.text(abi, data)?, scratch)),
        Kind::Address | Kind::TextAddress => {
            scratch.extend_from_slice(b"0x");
            number::hex(scratch, plan.field.uint(abi, data)?, 0);
            made(scratch)
        }
        Kind::Addresses | Kind::Mask | Kind::Array | Kind::Bytes => {
            plan.print(abi, data, scratch)?;
            made(scratch)
        }
    })
}

/// What was made of parts that are UTF-8.
fn made(text: &[u8]) -> Cell<'_> {
    str::from_utf8(text).map_or(Cell::Null, Cell::Text)
}

/// The same bytes as UTF-8; those that are not become `\xNN`.
fn utf8<'a>(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a str {
    if let Ok(text) = str::from_utf8(bytes) {
        return text;
    }
    append_utf8(bytes, scratch);
    str::from_utf8(scratch).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;
    use crate::testing::{TraceBuilder, Workload};

    #[test]
    fn every_record_has_a_row_with_a_cell_of_its_type_for_each_column() {
        let trace = TraceBuilder::new(Workload::new(3)).build();
        let Reader { metadata, mut records } = Reader::parse(trace).unwrap();
        let (mut scratch, mut switches) = (Vec::new(), 0);
        while let Some(record) = records.next().unwrap() {
            let event = metadata.event(&record).unwrap();
            let table = EventTable::new(event.kind());
            let mut cells = 0;
            table.row(&metadata, &record, &mut scratch, |index, cell| {
                let Column { name, column_type } = &table.columns()[index];
                match (column_type, cell) {
                    (ColumnType::Integer, Cell::Integer(value)) => match name.as_str() {
                        "common_timestamp" => assert_eq!(value as u64, record.time),
                        "common_cpu" => assert_eq!(value, i64::from(record.cpu)),
                        _ => assert_eq!(event.int(name), Some(i128::from(value)), "{name}"),
                    },
                    (ColumnType::Unsigned, Cell::Unsigned(value)) => {
                        assert_eq!(event.int(name), Some(i128::from(value)), "{name}");
                    }
                    (ColumnType::Text, Cell::Text(text)) if name == "next_comm" => {
                        switches += 1;
                        assert_eq!(event.text(name), Some(text.as_bytes()));
                    }
                    (ColumnType::Text, Cell::Text(_)) | (_, Cell::Null) => {}
                    other => panic!("{name}: {other:?}"),
                }
                cells += 1;
            });
            assert_eq!(cells, table.columns().len());
        }
        assert!(switches > 10);
    }

    #[test]
    fn names_are_the_only_ones_and_not_those_of_partitions() {
        let text = b"name: odd\nID: 9\nformat:\n\
            \tfield:int common_pid;\toffset:0;\tsize:4;\tsigned:1;\n\n\
            \tfield:int Machine;\toffset:4;\tsize:4;\tsigned:1;\n\
            \tfield:void * ip;\toffset:8;\tsize:8;\tsigned:0;\n\
            \tfield:int ip_symbol;\toffset:16;\tsize:4;\tsigned:1;\n\n\
            print fmt: \"%d\", REC->Machine\n";
        let abi = Abi { byte_order: crate::ByteOrder::Little, long_size: 8 };
        let event = Event::new("test", text, abi).unwrap();
        let table = EventTable::new(&event);
        let names: Vec<&str> = table.columns().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names[5..], ["Machine_", "ip", "ip_symbol", "ip_symbol_"]);
    }
}
