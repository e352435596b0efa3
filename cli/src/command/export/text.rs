//! Tables of text: lines are gathered, and written many at once.

use std::io;

use tracedat::export::EventTable;
use tracedat::{Metadata, Record};

use super::folder::Encoder;

/// So many bytes are written at once.
pub(super) const FULL: usize = 256 << 10;

/// How a row becomes a line.
pub(super) trait Line: Sized {
    /// Ending of files that have such lines.
    const EXTENSION: &'static str;

    /// Begins a file, with what stands above the rows.
    fn new(table: &EventTable, lines: &mut Vec<u8>) -> Self;

    /// Appends a row.
    fn row(
        &mut self,
        table: &EventTable,
        metadata: &Metadata,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
        lines: &mut Vec<u8>,
    );
}

/// Lines of one file.
pub(super) struct Text<L> {
    line: L,
    lines: Vec<u8>,
}

impl<L: Line> Encoder for Text<L> {
    const EXTENSION: &'static str = L::EXTENSION;

    fn new(table: &EventTable) -> io::Result<Self> {
        let mut lines = Vec::new();
        Ok(Self { line: L::new(table, &mut lines), lines })
    }

    fn row(
        &mut self,
        table: &EventTable,
        metadata: &Metadata,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
    ) -> bool {
        self.line.row(table, metadata, record, scratch, &mut self.lines);
        self.lines.len() >= FULL
    }

    fn buffered(&self) -> usize {
        self.lines.len()
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.append(&mut self.lines);
        Ok(())
    }

    fn finish(mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.flush(out)
    }
}
