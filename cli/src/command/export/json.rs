//! `export --json`: the lines of `report --json`.

use tracedat::report::{Json, ReportOptions};

use super::args::ExportArgs;
use super::inputs::{Files, Stream};
use super::output::Output;
use crate::error::Error;

/// Writes a line for each record.
pub(super) fn export(args: &ExportArgs, files: &Files, stream: Stream) -> Result<(), Error> {
    let mut output = Output::create(args.output.as_deref())?;
    let mut options = ReportOptions::default();
    options.json = Some(Json::default());
    stream.report("export", files, &args.selection, options, |report, inputs, records| {
        report.print(inputs, records, &mut output)?;
        Ok(())
    })?;
    output.finish()
}
