//! The cells of one column until there are enough of them for a page.

use crate::export::{Cell, ColumnType, varint};

/// The values that are there, as `PLAIN` has them, and which are there.
pub(super) struct Cells {
    column_type: ColumnType,
    values: Vec<u8>,
    /// Bits of the last byte of truth values that are used.
    bits: u8,
    /// Runs of cells that have a value, or none.
    runs: Vec<(bool, u32)>,
    /// Cells without a value.
    pub(super) nulls: i64,
    /// The least and the greatest integer.
    pub(super) range: Option<(i64, i64)>,
}

impl Cells {
    pub(super) fn new(column_type: ColumnType) -> Self {
        Self { column_type, values: Vec::new(), bits: 0, runs: Vec::new(), nulls: 0, range: None }
    }

    /// Adds a cell. One of another type than the column's counts as none.
    #[inline]
    pub(super) fn push(&mut self, cell: Cell<'_>) {
        let is_there = match (self.column_type, cell) {
            (ColumnType::Integer, Cell::Integer(value)) => {
                self.values.extend_from_slice(&value.to_le_bytes());
                let (low, high) = self.range.unwrap_or((value, value));
                self.range = Some((low.min(value), high.max(value)));
                true
            }
            (ColumnType::Unsigned, Cell::Unsigned(value)) => {
                self.values.extend_from_slice(&value.to_le_bytes());
                true
            }
            (ColumnType::Bool, Cell::Bool(value)) => {
                self.push_bit(value);
                true
            }
            (ColumnType::Text, Cell::Text(text)) => {
                self.values.extend_from_slice(&(text.len() as u32).to_le_bytes());
                self.values.extend_from_slice(text.as_bytes());
                true
            }
            _ => false,
        };
        self.nulls += i64::from(!is_there);
        match self.runs.last_mut() {
            Some((value, count)) if *value == is_there => *count += 1,
            _ => self.runs.push((is_there, 1)),
        }
    }

    fn push_bit(&mut self, value: bool) {
        if self.bits == 0 {
            self.values.push(0);
        }
        if let Some(last) = self.values.last_mut() {
            *last |= u8::from(value) << self.bits;
        }
        self.bits = (self.bits + 1) % 8;
    }

    /// How much memory the cells take, in bytes.
    pub(super) fn len(&self) -> usize {
        self.values.len() + self.runs.len() * size_of::<(bool, u32)>()
    }

    /// Appends the content of a page: which cells are there, then the values.
    pub(super) fn page(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        for &(is_there, count) in &self.runs {
            varint::append(out, u64::from(count) << 1);
            out.push(u8::from(is_there));
        }
        let len = (out.len() - start - 4) as u32;
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&len.to_le_bytes());
        }
        out.extend_from_slice(&self.values);
    }

    /// Forgets the cells, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.runs.clear();
        (self.bits, self.nulls, self.range) = (0, 0, None);
    }
}
