//! Parquet, decoded by what its specification says.

use std::collections::BTreeMap;

use tracedat::Reader;
use tracedat::compress::Codec;
use tracedat::export::{Cell, Column, ColumnType, EventTable, Parquet};
use tracedat::testing::{TraceBuilder, Workload};

/// A value of thrift's compact protocol.
#[derive(Debug)]
enum Thrift {
    Bool,
    Number(i64),
    Bytes(Vec<u8>),
    List(Vec<Thrift>),
    Struct(BTreeMap<i64, Thrift>),
}

fn unsigned(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

fn signed(bytes: &mut &[u8]) -> i64 {
    let value = unsigned(bytes);
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (head, rest) = bytes.split_at(len);
    *bytes = rest;
    head
}

impl Thrift {
    fn parse(kind: u8, bytes: &mut &[u8]) -> Self {
        match kind {
            1 | 2 => Self::Bool,
            3 => Self::Number(i64::from(take(bytes, 1)[0])),
            4..=6 => Self::Number(signed(bytes)),
            8 => {
                let len = unsigned(bytes) as usize;
                Self::Bytes(take(bytes, len).to_vec())
            }
            9 => {
                let head = take(bytes, 1)[0];
                let len = if head >> 4 == 15 { unsigned(bytes) } else { u64::from(head >> 4) };
                Self::List((0..len).map(|_| Self::parse(head & 15, bytes)).collect())
            }
            12 => {
                let (mut fields, mut id) = (BTreeMap::new(), 0);
                loop {
                    let key = take(bytes, 1)[0];
                    if key == 0 {
                        return Self::Struct(fields);
                    }
                    id = if key >> 4 == 0 { signed(bytes) } else { id + i64::from(key >> 4) };
                    fields.insert(id, Self::parse(key & 15, bytes));
                }
            }
            other => panic!("kind {other}"),
        }
    }

    fn get(&self, id: i64) -> &Self {
        let Self::Struct(fields) = self else { panic!("no struct: {self:?}") };
        fields.get(&id).unwrap_or_else(|| panic!("no field {id}: {fields:?}"))
    }

    fn has(&self, id: i64) -> bool {
        matches!(self, Self::Struct(fields) if fields.contains_key(&id))
    }

    fn number(&self) -> i64 {
        let Self::Number(value) = self else { panic!("no number: {self:?}") };
        *value
    }

    fn bytes(&self) -> &[u8] {
        let Self::Bytes(bytes) = self else { panic!("no bytes: {self:?}") };
        bytes
    }

    fn list(&self) -> &[Self] {
        let Self::List(items) = self else { panic!("no list: {self:?}") };
        items
    }
}

/// A cell that is kept.
#[derive(Clone, Debug, PartialEq)]
enum Kept {
    Null,
    Integer(i64),
    Unsigned(u64),
    Bool(bool),
    Text(String),
}

fn keep(cell: Cell<'_>) -> Kept {
    match cell {
        Cell::Null => Kept::Null,
        Cell::Integer(value) => Kept::Integer(value),
        Cell::Unsigned(value) => Kept::Unsigned(value),
        Cell::Bool(value) => Kept::Bool(value),
        Cell::Text(text) => Kept::Text(text.to_owned()),
    }
}

/// The columns of a file: names, and the cells of all groups.
fn read(file: &[u8], columns: &[Column]) -> Vec<Vec<Kept>> {
    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
    let end = file.len() - 8;
    let len = u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize;
    let footer = Thrift::parse(12, &mut &file[end - len..end]);
    let schema = footer.get(2).list();
    assert_eq!(schema[0].get(5).number(), columns.len() as i64);
    let names: Vec<&[u8]> = schema[1..].iter().map(|element| element.get(4).bytes()).collect();
    assert!(names.iter().copied().eq(columns.iter().map(|column| column.name.as_bytes())));
    let mut cells = vec![Vec::new(); columns.len()];
    for group in footer.get(4).list() {
        for (index, chunk) in group.get(1).list().iter().enumerate() {
            let before = cells[index].len();
            read_chunk(file, chunk.get(3), columns[index].column_type, &mut cells[index]);
            assert_eq!((cells[index].len() - before) as i64, group.get(3).number());
        }
    }
    assert_eq!(cells[0].len() as i64, footer.get(3).number());
    cells
}

fn read_chunk(file: &[u8], data: &Thrift, column_type: ColumnType, cells: &mut Vec<Kept>) {
    let offset = data.get(9).number() as usize;
    let mut page = &file[offset..offset + data.get(7).number() as usize];
    let header = Thrift::parse(12, &mut page);
    assert_eq!(header.get(1).number(), 0, "a data page");
    assert_eq!(header.get(3).number() as usize, page.len(), "the only one");
    let mut plain = Vec::new();
    let codec = if data.get(4).number() == 6 { Codec::Zstd } else { Codec::None };
    codec.decompress_into(page, header.get(2).number() as usize, &mut plain).unwrap();
    let mut values = plain.as_slice();
    let len = u32::from_le_bytes(take(&mut values, 4).try_into().unwrap()) as usize;
    let mut levels = take(&mut values, len);
    let rows = header.get(5).get(1).number();
    let (mut seen, mut bits, mut nulls) = (0, 0, 0);
    let mut range: Option<(i64, i64)> = None;
    while seen < rows {
        let run = unsigned(&mut levels);
        assert_eq!(run & 1, 0, "runs only");
        let is_there = take(&mut levels, 1)[0] == 1;
        for _ in 0..run >> 1 {
            seen += 1;
            if !is_there {
                nulls += 1;
                cells.push(Kept::Null);
                continue;
            }
            cells.push(match column_type {
                ColumnType::Integer => {
                    let value = i64::from_le_bytes(take(&mut values, 8).try_into().unwrap());
                    let (low, high) = range.unwrap_or((value, value));
                    range = Some((low.min(value), high.max(value)));
                    Kept::Integer(value)
                }
                ColumnType::Unsigned => {
                    Kept::Unsigned(u64::from_le_bytes(take(&mut values, 8).try_into().unwrap()))
                }
                ColumnType::Bool => {
                    let value = values[bits / 8] >> (bits % 8) & 1 == 1;
                    bits += 1;
                    Kept::Bool(value)
                }
                ColumnType::Text => {
                    let len = u32::from_le_bytes(take(&mut values, 4).try_into().unwrap());
                    let text = take(&mut values, len as usize).to_vec();
                    Kept::Text(String::from_utf8(text).unwrap())
                }
            });
        }
    }
    assert!(levels.is_empty() && values.len() == bits.div_ceil(8));
    let statistics = data.get(12);
    assert_eq!(statistics.get(3).number(), nulls);
    assert_eq!(statistics.has(5), range.is_some());
    if let Some((low, high)) = range {
        assert_eq!(statistics.get(6).bytes(), low.to_le_bytes());
        assert_eq!(statistics.get(5).bytes(), high.to_le_bytes());
    }
}

#[test]
fn rows_of_every_event_are_read_back_from_several_groups() {
    let mut workload = Workload::new(5);
    workload.instances = vec!["foo".to_owned()];
    let Reader { metadata, mut records } =
        Reader::parse(TraceBuilder::new(workload).build()).unwrap();
    struct Table {
        table: EventTable,
        file: Parquet,
        bytes: Vec<u8>,
        wanted: Vec<Vec<Kept>>,
    }
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    let mut scratch = Vec::new();
    while let Some(record) = records.next().unwrap() {
        let event = metadata.event(&record).unwrap();
        let Table { table, file, bytes, wanted } =
            tables.entry(event.name().to_owned()).or_insert_with(|| {
                let table = EventTable::new(event.kind());
                let file = Parquet::new(table.columns()).unwrap();
                let wanted = vec![Vec::new(); table.columns().len()];
                Table { table, file, bytes: Vec::new(), wanted }
            });
        table.row(&metadata, &record, &mut scratch, |index, cell| {
            wanted[index].push(keep(cell));
            file.cell(index, cell);
        });
        file.end_row();
        if wanted[0].len().is_multiple_of(100) {
            file.flush(bytes).unwrap();
            assert_eq!(file.buffered(), 0);
        }
    }
    assert!(tables.len() > 3 && tables.values().any(|table| table.wanted[0].len() > 200));
    for (name, mut table) in tables {
        table.file.finish(&mut table.bytes).unwrap();
        assert_eq!(read(&table.bytes, table.table.columns()), table.wanted, "{name}");
    }
}

#[test]
fn every_type_is_read_back_with_and_without_values() {
    let types = [ColumnType::Integer, ColumnType::Unsigned, ColumnType::Bool, ColumnType::Text];
    let column = |(index, column_type)| Column { name: format!("c{index}"), column_type };
    let columns: Vec<Column> = types.into_iter().enumerate().map(column).collect();
    let mut file = Parquet::new(&columns).unwrap();
    let mut wanted = vec![Vec::new(); columns.len()];
    for row in 0_i64..50 {
        let text = "é".repeat(row as usize % 3);
        let cells = [
            Cell::Integer((row - 25) << 40),
            Cell::Unsigned(u64::MAX - row as u64),
            Cell::Bool(row % 5 < 2),
            Cell::Text(&text),
        ];
        for (index, cell) in cells.into_iter().enumerate() {
            let cell = if (row + index as i64) % 4 == 0 { Cell::Null } else { cell };
            wanted[index].push(keep(cell));
            file.cell(index, cell);
        }
        file.end_row();
    }
    let mut bytes = Vec::new();
    file.finish(&mut bytes).unwrap();
    assert_eq!(read(&bytes, &columns), wanted);
    let mut empty = Vec::new();
    Parquet::new(&columns).unwrap().finish(&mut empty).unwrap();
    assert!(read(&empty, &columns).iter().all(Vec::is_empty));
}
