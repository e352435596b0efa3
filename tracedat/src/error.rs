//! Errors of this crate: what was wrong, and where.
use std::path::PathBuf;

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
    /// A text has no NUL at its end.
    #[error("no end of the text at offset {offset:#x}")]
    Unterminated {
        /// Where the text starts.
        offset: u64,
    },
    /// Something else stands where the format wants certain bytes.
    #[error("no {expected} at offset {offset:#x}")]
    Unexpected {
        /// Where it should be.
        offset: u64,
        /// What should be there.
        expected: &'static str,
    },
    /// A number is out of its range.
    #[error("{what} is {value} at offset {offset:#x}")]
    OutOfRange {
        /// Where the number stands, or the thing it describes.
        offset: u64,
        /// What the number is.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// Sections point to one another in a circle.
    #[error("options section at offset {offset:#x} was read before")]
    Loop {
        /// The section that comes twice.
        offset: u64,
    },
    /// The text of `header_page` is not understood.
    #[error("header_page at offset {offset:#x}: {cause}")]
    HeaderPage {
        /// Where the text starts.
        offset: u64,
        /// What was wrong.
        cause: &'static str,
    },
}

impl DecodeError {
    /// Where in the file; in a compressed section counted as if it were not compressed.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Truncated { offset, .. }
            | Self::Unterminated { offset }
            | Self::Unexpected { offset, .. }
            | Self::OutOfRange { offset, .. }
            | Self::Loop { offset }
            | Self::HeaderPage { offset, .. } => *offset,
        }
    }

    /// The same for bytes that start at `base` of the file.
    pub(crate) fn based_at(mut self, base: u64) -> Self {
        match &mut self {
            Self::Truncated { offset, .. }
            | Self::Unterminated { offset }
            | Self::Unexpected { offset, .. }
            | Self::OutOfRange { offset, .. }
            | Self::Loop { offset }
            | Self::HeaderPage { offset, .. } => *offset = offset.saturating_add(base),
        }
        self
    }
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
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system refused to read.
    #[error("cannot read at offset {offset:#x}")]
    Io {
        /// Where the read started.
        offset: u64,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A stream cannot be kept in a temporary file.
    #[error("cannot keep the stream from offset {offset:#x} on in a temporary file")]
    Spool {
        /// Where in the stream.
        offset: u64,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file does not start like a trace.
    #[error("not a trace.dat file")]
    NotATrace,
    /// The file's version is newer than this reader.
    #[error("file version {version} at offset {offset:#x} is not known, only 6 and 7")]
    Version {
        /// Where it stands.
        offset: u64,
        /// The version's text.
        version: String,
    },
    /// The file is compressed in a way that this reader does not know.
    #[error("compression {name:?} at offset {offset:#x} is not known")]
    Compression {
        /// Where it stands.
        offset: u64,
        /// The name in the file.
        name: String,
    },
    /// Compressed bytes do not decompress.
    #[error("cannot decompress {compressed} bytes at offset {offset:#x}")]
    Decompress {
        /// Where the compressed bytes start.
        offset: u64,
        /// How many there are.
        compressed: u64,
        /// What the decompressor said.
        source: crate::compress::CompressError,
    },
    /// The bytes do not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl ReadError {
    /// Where in the file; `None` when it could not even be opened.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Open { .. } => None,
            Self::NotATrace => Some(0),
            Self::Io { offset, .. }
            | Self::Spool { offset, .. }
            | Self::Version { offset, .. }
            | Self::Compression { offset, .. }
            | Self::Decompress { offset, .. } => Some(*offset),
            Self::Decode(error) => Some(error.offset()),
        }
    }

    /// The same for bytes that start at `base` of the file.
    pub(crate) fn based_at(self, base: u64) -> Self {
        match self {
            Self::Decode(error) => Self::Decode(error.based_at(base)),
            error => error,
        }
    }
}
