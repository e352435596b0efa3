//! `export --perfetto`: a trace for Perfetto, with a machine for each file.

use tracedat::export::Perfetto;

use super::args::ExportArgs;
use super::inputs::{Files, Stream};
use super::output::{self, Output};
use crate::error::Error;

/// Writes one file.
pub(super) fn export(args: &ExportArgs, files: &Files, stream: Stream) -> Result<(), Error> {
    let failed = |cause| match args.output.as_deref() {
        Some(path) => output::cannot_write(path, cause),
        None => Error::from(cause),
    };
    let machines: Vec<_> = files.machines.iter().map(String::as_str).zip(&files.metadata).collect();
    let mut trace = Perfetto::new(&machines, Output::create(args.output.as_deref())?);
    stream
        .visit(files, &args.selection, |file, record| trace.record(file, record).map_err(failed))?;
    trace.finish().map_err(failed)?.finish()
}
