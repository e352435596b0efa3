//! Rows as JSON objects, one a line, whose keys are the columns.
//!
//! A cell without a value is `null`, so that every row has all columns.

use super::{Cell, Column};
use crate::report::json::string;
use crate::report::number;

/// What stands before the values of a row.
#[derive(Clone, Debug)]
pub struct Rows {
    keys: Vec<Vec<u8>>,
}

impl Rows {
    /// Those of a table with these columns.
    pub fn new(columns: &[Column]) -> Self {
        let key = |(index, column): (usize, &Column)| {
            let mut key = if index == 0 { vec![b'{'] } else { vec![b','] };
            string(&mut key, column.name.as_bytes());
            key.push(b':');
            key
        };
        Self { keys: columns.iter().enumerate().map(key).collect() }
    }

    /// Appends the value of a column; those before it have been.
    #[inline]
    pub fn cell(&self, index: usize, cell: Cell<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.keys.get(index).map_or(b"", Vec::as_slice));
        match cell {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Integer(value) => number::signed(out, value),
            Cell::Unsigned(value) => number::decimal(out, value),
            Cell::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            Cell::Text(text) => string(out, text.as_bytes()),
        }
    }

    /// Ends the row.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::ColumnType;

    #[test]
    fn rows_are_objects_with_all_columns() {
        let column = |name: &str| Column { name: name.to_owned(), column_type: ColumnType::Text };
        let rows = Rows::new(&["a", "b\"", "c", "d", "e"].map(column));
        let cells = [
            Cell::Integer(-5),
            Cell::Null,
            Cell::Unsigned(u64::MAX),
            Cell::Bool(true),
            Cell::Text("x\n"),
        ];
        let mut out = Vec::new();
        for (index, cell) in cells.into_iter().enumerate() {
            rows.cell(index, cell, &mut out);
        }
        rows.end(&mut out);
        let expected =
            "{\"a\":-5,\"b\\\"\":null,\"c\":18446744073709551615,\"d\":true,\"e\":\"x\\n\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
