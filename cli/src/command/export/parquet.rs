//! `export --parquet`: a table for each event in a directory.

use std::io;

use tracedat::compress::CompressError;
use tracedat::export::{EventTable, Parquet};
use tracedat::{Metadata, Record};

use super::args::ExportArgs;
use super::folder::{Encoder, Folder};
use super::inputs::{Files, Stream};
use crate::error::Error;

/// Writes the tables.
pub(super) fn export(args: &ExportArgs, files: &Files, stream: Stream) -> Result<(), Error> {
    // That there is a directory was checked with the words.
    let dir = args.output.clone().unwrap_or_default();
    Folder::<Parquet>::new(&dir, files, args).fill(args, stream)
}

impl Encoder for Parquet {
    const EXTENSION: &'static str = "parquet";

    fn new(table: &EventTable) -> io::Result<Self> {
        Self::new(table.columns()).map_err(failed)
    }

    fn row(
        &mut self,
        table: &EventTable,
        metadata: &Metadata,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
    ) -> bool {
        table.row(metadata, record, scratch, |index, cell| self.cell(index, cell));
        self.end_row()
    }

    fn buffered(&self) -> usize {
        self.buffered()
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.flush(out).map_err(failed)
    }

    fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        self.finish(out).map_err(failed)
    }
}

fn failed(error: CompressError) -> io::Error {
    io::Error::other(error)
}
