//! What the commands on data files share: the words that name the input, and its errors.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgMatches, value_parser};
use tracedat::layout::MAGIC;
use tracedat::read::Records;
use tracedat::{Metadata, ReadError, Reader};

use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;
use crate::progress::Reading;

const DEFAULT: &str = "trace.dat";
const STANDARD_INPUT: &str = "-";

/// `-i FILE`, or the file by itself.
pub(super) fn input_args() -> [Arg; 2] {
    let path = || value_parser!(PathBuf);
    [
        Arg::new("input")
            .short('i')
            .long("input")
            .value_name("FILE")
            .value_parser(path())
            .help("The file to read, - for standard input [default: trace.dat]"),
        Arg::new("file").value_name("FILE").value_parser(path()).hide(true),
    ]
}

/// The file that was named, or the default.
pub(super) fn input(matches: &ArgMatches) -> PathBuf {
    let named = |id| matches.get_one::<PathBuf>(id).cloned();
    named("input").or_else(|| named("file")).unwrap_or_else(default_input)
}

/// Opens a trace.
pub(super) fn open(path: &Path) -> Result<Reader, Error> {
    read(path, &mut Reading::default()).map_err(|error| cannot_read(path, error))
}

/// Opens a trace of which is told how much is read; `-` is standard input.
pub(super) fn read(path: &Path, reading: &mut Reading) -> Result<Reader, ReadError> {
    let file = if path.as_os_str() == STANDARD_INPUT {
        match file_at_standard_input() {
            Some(file) => file,
            None => return Reader::stream(io::stdin().lock()),
        }
    } else {
        File::open(path).map_err(|source| ReadError::Open { path: path.to_path_buf(), source })?
    };
    Reader::from_source(Arc::new(reading.of(file)))
}

/// What is read when no file is named: a trace that standard input was redirected from, else
/// `trace.dat`. Anything else at standard input may be meant for another program.
pub(super) fn default_input() -> PathBuf {
    let mut magic = [0; MAGIC.len()];
    let starts_a_trace = file_at_standard_input()
        .is_some_and(|file| file.read_exact_at(&mut magic, 0).is_ok() && magic == MAGIC);
    if starts_a_trace { STANDARD_INPUT.into() } else { DEFAULT.into() }
}

/// Standard input when it is a file that nobody has read from, and so can be read at offsets.
fn file_at_standard_input() -> Option<File> {
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let is_whole = file.metadata().ok()?.is_file() && file.stream_position().ok()? == 0;
    is_whole.then_some(file)
}

/// Opens a trace that has records.
pub(super) fn open_events(path: &Path) -> Result<Reader, Error> {
    let reader = open(path)?;
    if reader.metadata.latency_text().is_some() {
        let message = format!("{} has the text of a latency tracer, no events", path.display());
        return Err(Error::failure(message).hint("print it with 'trace-cmd report'"));
    }
    Ok(reader)
}

/// A trace that cannot be opened or read.
pub(super) fn cannot_read(path: &Path, cause: ReadError) -> Error {
    let name = path.display();
    match cause {
        ReadError::Open { source, .. } => {
            let (exit, hint) = match source.kind() {
                io::ErrorKind::PermissionDenied => (Exit::Permission, "try as root"),
                io::ErrorKind::NotFound => (Exit::Failure, "name a file with -i FILE"),
                _ => (Exit::Failure, "name another file with -i FILE"),
            };
            Error::new(exit, format!("cannot open {name}")).because(source).hint(hint)
        }
        ReadError::Io { .. } | ReadError::Spool { .. } => {
            let error = Error::failure(format!("cannot read {name}")).because(cause);
            error.hint("name a file with -i FILE")
        }
        _ => Error::new(Exit::BadData, format!("cannot read {name}"))
            .because(cause)
            .hint("name another file with -i FILE"),
    }
}

/// Says what of a file could not be used by a command that keeps unknown options.
pub(super) fn warn_of_lost(path: &Path, data: &Metadata) {
    let unknown =
        |offset| data.options().iter().any(|o| o.id.name().is_none() && Some(o.offset) == offset);
    for warning in data.warnings().iter().filter(|warning| !unknown(warning.offset)) {
        tell(&format!("{}: {warning}", path.display()));
    }
}

/// Says what of a file could not be used.
pub(super) fn warn(path: &Path, data: &Metadata) {
    for warning in data.warnings() {
        tell(&format!("{}: {warning}", path.display()));
    }
}

/// Says what of a file's records could not be read.
pub(super) fn warn_of_records(path: &Path, records: &Records) {
    for warning in records.warnings() {
        tell(&format!("{}: {warning}", path.display()));
    }
}
