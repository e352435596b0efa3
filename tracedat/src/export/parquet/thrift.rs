//! Thrift's compact protocol, as far as Parquet's metadata needs it.

use crate::export::varint;

/// Kinds of values.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Writes the fields of one struct, in ascending order.
pub(super) struct Struct<'o> {
    out: &'o mut Vec<u8>,
    last: i16,
}

/// Appends a struct whose fields `write` writes.
pub(super) fn structure(out: &mut Vec<u8>, write: impl FnOnce(&mut Struct<'_>)) {
    write(&mut Struct { out, last: 0 });
    out.push(0);
}

impl Struct<'_> {
    fn key(&mut self, id: i16, kind: u8) {
        match u8::try_from(id - self.last) {
            Ok(step @ 1..=15) => self.out.push(step << 4 | kind),
            _ => {
                self.out.push(kind);
                signed(self.out, i64::from(id));
            }
        }
        self.last = id;
    }

    pub(super) fn bool(&mut self, id: i16, value: bool) {
        self.key(id, if value { 1 } else { 2 });
    }

    pub(super) fn i8(&mut self, id: i16, value: i8) {
        self.key(id, 3);
        self.out.push(value.cast_unsigned());
    }

    pub(super) fn i32(&mut self, id: i16, value: i32) {
        self.key(id, I32);
        signed(self.out, i64::from(value));
    }

    pub(super) fn i64(&mut self, id: i16, value: i64) {
        self.key(id, I64);
        signed(self.out, value);
    }

    pub(super) fn binary(&mut self, id: i16, value: &[u8]) {
        self.key(id, BINARY);
        varint::append(self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    pub(super) fn structure(&mut self, id: i16, write: impl FnOnce(&mut Struct<'_>)) {
        self.key(id, STRUCT);
        structure(self.out, write);
    }

    /// A list of structs, one for each item.
    pub(super) fn structures<T>(
        &mut self,
        id: i16,
        items: &[T],
        mut write: impl FnMut(&T, &mut Struct<'_>),
    ) {
        self.list(id, items.len(), STRUCT);
        for item in items {
            structure(self.out, |fields| write(item, fields));
        }
    }

    pub(super) fn numbers(&mut self, id: i16, items: &[i32]) {
        self.list(id, items.len(), I32);
        for &item in items {
            signed(self.out, i64::from(item));
        }
    }

    pub(super) fn text(&mut self, id: i16, only: &str) {
        self.list(id, 1, BINARY);
        varint::append(self.out, only.len() as u64);
        self.out.extend_from_slice(only.as_bytes());
    }

    fn list(&mut self, id: i16, len: usize, kind: u8) {
        self.key(id, LIST);
        match len {
            0..15 => self.out.push((len as u8) << 4 | kind),
            _ => {
                self.out.push(0xf0 | kind);
                varint::append(self.out, len as u64);
            }
        }
    }
}

fn signed(out: &mut Vec<u8>, value: i64) {
    varint::append(out, (value << 1 ^ value >> 63).cast_unsigned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_have_short_and_long_keys() {
        let mut out = Vec::new();
        structure(&mut out, |fields| {
            fields.i32(1, -1);
            fields.bool(2, true);
            fields.binary(4, b"ab");
            fields.structure(40, |inner| inner.i64(7, 150));
            fields.numbers(41, &[1; 15]);
        });
        let mut wanted = vec![0x15, 1, 0x11, 0x28, 2, b'a', b'b', 0x0c, 80, 0x76, 0xac, 2, 0];
        wanted.extend([0x19, 0xf5, 15]);
        wanted.extend([2; 15]);
        wanted.push(0);
        assert_eq!(out, wanted);
    }
}
