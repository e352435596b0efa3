//! Comma-separated values as RFC 4180 has them: a line of names, then a line for each row.
//!
//! Text that is empty, or has what separates cells, stands in double quotes. A cell without a value is
//! empty.

use super::{Cell, Column};
use crate::report::number;

/// Appends the line of names; `before` are the names of columns that the table itself does not have.
pub fn header(before: &[&str], columns: &[Column], out: &mut Vec<u8>) {
    let names = before.iter().copied().chain(columns.iter().map(|column| column.name.as_str()));
    for (index, name) in names.enumerate() {
        cell(index, Cell::Text(name), out);
    }
    end(out);
}

/// Appends the cell of a line that has so many before it.
#[inline]
pub fn cell(before: usize, cell: Cell<'_>, out: &mut Vec<u8>) {
    if before > 0 {
        out.push(b',');
    }
    match cell {
        Cell::Null => {}
        Cell::Integer(value) => number::signed(out, value),
        Cell::Unsigned(value) => number::decimal(out, value),
        Cell::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Cell::Text(value) => text(value, out),
    }
}

/// Ends the line.
pub fn end(out: &mut Vec<u8>) {
    out.push(b'\n');
}

fn text(text: &str, out: &mut Vec<u8>) {
    let is_special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !text.is_empty() && !text.as_bytes().iter().any(is_special) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_separated_and_quoted_where_they_must() {
        let mut out = Vec::new();
        let cells = [
            Cell::Integer(-5),
            Cell::Null,
            Cell::Unsigned(u64::MAX),
            Cell::Bool(true),
            Cell::Text("plain"),
            Cell::Text(""),
            Cell::Text("[1,2]"),
            Cell::Text("a \"b\"\n"),
        ];
        for (index, value) in cells.into_iter().enumerate() {
            cell(index, value, &mut out);
        }
        end(&mut out);
        let wanted = "-5,,18446744073709551615,true,plain,\"\",\"[1,2]\",\"a \"\"b\"\"\n\"\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
