//! `trace-cmd mem`: which functions of the kernel hold how much memory.

use std::io::Write;

use clap::{ArgMatches, Command};
use tracedat::Reader;
use tracedat::memory::MemoryUse;

use super::data_file;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

const AFTER_HELP: &str = "\
Events that are needed: kmalloc, kmalloc_node, kfree, kmem_cache_alloc, kmem_cache_alloc_node, kmem_cache_free.
Waste is what was given beyond what was asked for.

Examples:
  trace-cmd record -e kmem sleep 1
  trace-cmd mem";

/// Words and help of `mem`.
pub(crate) fn command() -> Command {
    Command::new("mem")
        .about("Show which functions of the kernel hold how much memory")
        .after_help(AFTER_HELP)
        .args(data_file::input_args())
}

/// Runs `mem`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let path = data_file::input(matches);
    let Reader { metadata, mut records } = data_file::open_events(&path)?;
    let memory = MemoryUse::count(&metadata, &mut records)
        .map_err(|cause| data_file::cannot_read(&path, cause))?;
    let mut out = output::stdout();
    memory.print(&mut out)?;
    out.flush()?;
    data_file::warn(&path, &metadata);
    data_file::warn_of_records(&path, &records);
    Ok(Exit::Success)
}
