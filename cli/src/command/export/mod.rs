//! `trace-cmd export`: writes what other programs read.
//!
//! `args` (words) → files opened and merged → a file for each format.

mod args;
mod csv;
mod folder;
pub(super) mod inputs;
mod json;
pub(super) mod output;
mod parquet;
mod perfetto;
mod text;

use clap::ArgMatches;

use crate::error::Error;
use crate::exit_code::Exit;

pub(crate) use args::command;
use args::{ExportArgs, Format};

/// Runs `export`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let args = ExportArgs::from_matches(matches)?;
    let (files, stream) = inputs::open(&args.inputs)?;
    match args.format {
        Format::Json => json::export(&args, &files, stream)?,
        Format::Csv => csv::export(&args, &files, stream)?,
        Format::Parquet => parquet::export(&args, &files, stream)?,
        Format::Perfetto => perfetto::export(&args, &files, stream)?,
    }
    Ok(Exit::Success)
}
