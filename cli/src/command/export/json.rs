//! `export --json`: the lines of `report --json`, or a table for each event in a directory.

use std::io;
use std::path::Path;

use tracedat::export::EventTable;
use tracedat::export::json::Rows;
use tracedat::report::{Json, ReportOptions};
use tracedat::{Metadata, Record};

use super::args::ExportArgs;
use super::folder::{Encoder, Folder};
use super::inputs::{Files, Stream};
use super::output::Output;
use crate::error::Error;

/// Writes a line for each record.
pub(super) fn export(args: &ExportArgs, files: &Files, stream: Stream) -> Result<(), Error> {
    if let Some(dir) = args.output.as_deref().filter(|path| is_directory(path)) {
        return Folder::<Objects>::new(dir, files, args).fill(args, stream);
    }
    let mut output = Output::create(args.output.as_deref())?;
    let mut options = ReportOptions::default();
    options.json = Some(Json::default());
    stream.report("export", files, &args.selection, options, |report, inputs, records| {
        report.print(inputs, records, &mut output)?;
        Ok(())
    })?;
    output.finish()
}

/// Whether a directory is meant: there is one, or its name ends as that of one.
fn is_directory(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// So many bytes are written at once.
const FULL: usize = 256 << 10;

/// Objects of one file.
struct Objects {
    rows: Rows,
    lines: Vec<u8>,
}

impl Encoder for Objects {
    const EXTENSION: &'static str = "json";

    fn new(table: &EventTable) -> io::Result<Self> {
        Ok(Self { rows: Rows::new(table.columns()), lines: Vec::new() })
    }

    fn row(
        &mut self,
        table: &EventTable,
        metadata: &Metadata,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
    ) -> bool {
        let Self { rows, lines } = self;
        table.row(metadata, record, scratch, |index, cell| rows.cell(index, cell, lines));
        rows.end(lines);
        lines.len() >= FULL
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
