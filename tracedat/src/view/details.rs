//! All that a report tells of each event, in blocks that are decompressed one by one.

use std::io::{self, Write};

use super::base64;
use crate::compress::{CompressError, Compressor};

/// Events in a block.
pub(super) const BLOCK: u64 = 512;

/// Takes the lines of a JSON report and writes blocks of them, each a line of base64.
pub(super) struct Details<'o> {
    out: &'o mut (dyn Write + Send),
    compressor: Compressor,
    /// What came of the line that is not at its end.
    line: Vec<u8>,
    block: Vec<u8>,
    lines: u64,
    /// How many lines are still wanted.
    wanted: u64,
    compressed: Vec<u8>,
    text: Vec<u8>,
}

impl<'o> Details<'o> {
    pub(super) fn new(
        out: &'o mut (dyn Write + Send),
        compressor: Compressor,
        wanted: u64,
    ) -> Self {
        let (line, block, compressed, text) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { out, compressor, line, block, lines: 0, wanted, compressed, text }
    }

    /// Whether nothing more is wanted.
    pub(super) fn is_full(&self) -> bool {
        self.wanted == 0
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.write_block()
    }

    fn end_line(&mut self) -> io::Result<()> {
        // Lines that tell of lost records have no time; quotes in texts are escaped.
        let has = |key: &[u8]| self.line.windows(key.len()).any(|found| found == key);
        if has(b"{\"ts\":") || has(b",\"ts\":") {
            self.block.append(&mut self.line);
            self.lines += 1;
            self.wanted -= 1;
            if self.lines == BLOCK {
                self.write_block()?;
            }
        }
        self.line.clear();
        Ok(())
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.lines == 0 {
            return Ok(());
        }
        self.compressed.clear();
        self.text.clear();
        let cannot = |cause: CompressError| io::Error::other(cause);
        self.compressor.compress_into(&self.block, &mut self.compressed).map_err(cannot)?;
        base64::encode(&self.compressed, &mut self.text);
        self.text.push(b'\n');
        self.block.clear();
        self.lines = 0;
        self.out.write_all(&self.text)
    }
}

impl Write for Details<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.is_full() {
                // Ends the report.
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
