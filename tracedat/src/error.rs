//! Errors of this crate: what was wrong, and where.
use thiserror::Error;

/// Bytes that do not decode: what was needed, and the offset.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends too early.
    #[error("need {need} bytes at offset {offset:#x}, {left} left")]
    Truncated {
        /// Where the read started.
        offset: u64,
        /// Bytes needed.
        need: u64,
        /// Bytes that were left.
        left: u64,
    },
}

/// A `format` file that does not parse.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("event format, line {line}: {cause}")]
#[non_exhaustive]
pub struct FormatError {
    /// Line, counted from 1.
    pub line: u32,
    /// What was wrong.
    pub cause: String,
}

/// A file that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("cannot read")]
    Io(#[from] std::io::Error),
    /// The bytes do not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A file that cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The operating system refused.
    #[error("cannot write")]
    Io(#[from] std::io::Error),
}
