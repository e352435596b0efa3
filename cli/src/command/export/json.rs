//! `export --json`: the lines of `report --json`, or a table for each event in a directory.

use std::path::Path;

use tracedat::export::EventTable;
use tracedat::export::json::Rows;
use tracedat::report::{Json, ReportOptions};
use tracedat::{Metadata, Record};

use super::args::ExportArgs;
use super::folder::Folder;
use super::inputs::{Files, Stream};
use super::output::Output;
use super::text::{Line, Text};
use crate::error::Error;

/// Writes a line for each record.
pub(super) fn export(args: &ExportArgs, files: &Files, stream: Stream) -> Result<(), Error> {
    if let Some(dir) = args.output.as_deref().filter(|path| is_directory(path)) {
        return Folder::<Text<Objects>>::new(dir, files, args).fill(args, stream);
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

/// An object for each row.
struct Objects(Rows);

impl Line for Objects {
    const EXTENSION: &'static str = "json";

    fn new(table: &EventTable, _: &mut Vec<u8>) -> Self {
        Self(Rows::new(table.columns()))
    }

    fn row(
        &mut self,
        table: &EventTable,
        metadata: &Metadata,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
        lines: &mut Vec<u8>,
    ) {
        table.row(metadata, record, scratch, |index, cell| self.0.cell(index, cell, lines));
        self.0.end(lines);
    }
}
