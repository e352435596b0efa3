//! Why a trace could not be written.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::compress::{Codec, CompressError};
use crate::error::DecodeError;

/// A trace that cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output refused.
    #[error("cannot write at offset {offset:#x}")]
    Io {
        /// Where in the output.
        offset: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// Data of a CPU cannot be read.
    #[error("cannot read the data of {of}")]
    Source {
        /// The data.
        of: DataOf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Data of a CPU ends too early.
    #[error("data of {of} ends after {found} bytes, {stated} stated")]
    ShortSource {
        /// The data.
        of: DataOf,
        /// Bytes that should be there.
        stated: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// Data cannot be compressed.
    #[error("cannot compress")]
    Compress(#[from] CompressError),
    /// Something does not fit its field.
    #[error("{what}: {size} is more than {limit}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size or number.
        size: u64,
        /// The most there can be.
        limit: u64,
    },
    /// The CPU table of version 6 has no such CPU, or has it already.
    #[error("no free place for {of} in a table of {cpus} CPUs")]
    Cpu {
        /// The CPU.
        of: DataOf,
        /// Entries of the table.
        cpus: u32,
    },
    /// Version 6 has one sub-buffer size for all buffers.
    #[error("sub-buffers of {buffer:?} have {found} bytes, version 6 wants the file's {file}")]
    PageSize {
        /// Name of the buffer.
        buffer: String,
        /// Its sub-buffer size.
        found: u32,
        /// That of the file.
        file: u32,
    },
    /// Of a CPU that was recorded it is not said how much, or more than its region can take.
    #[error("how much was recorded of {of} is not known")]
    NotRecorded {
        /// The CPU.
        of: DataOf,
    },
    /// A sub-buffer size of 0.
    #[error("sub-buffers of {buffer:?} have no size")]
    NoPageSize {
        /// Name of the buffer.
        buffer: String,
    },
    /// Two buffers have the same name.
    #[error("buffer {buffer:?} comes twice")]
    Duplicate {
        /// The name.
        buffer: String,
    },
    /// A name with a NUL cannot be stored.
    #[error("{what} {name:?} has a NUL in it")]
    Nul {
        /// What has that name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Version 6 has no such thing.
    #[error("version 6 has no {what}")]
    NotInVersion6 {
        /// What was asked for.
        what: &'static str,
    },
    /// Version 6 has no compression.
    #[error("version 6 has no compression, {codec} was asked for")]
    NotCompressible {
        /// The codec asked for.
        codec: Codec,
    },
    /// The head to go on with cannot be read.
    #[error("cannot read the head at offset {offset:#x}")]
    Head {
        /// Where in the file.
        offset: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// The head to go on with does not decode.
    #[error("the head does not decode")]
    Decode(#[from] DecodeError),
    /// The head to go on with is compressed in a way nobody knows.
    #[error("compression {name:?} of the head is not known")]
    UnknownCompression {
        /// The name in the head.
        name: String,
    },
}

/// A CPU of a buffer, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataOf {
    /// Name of the buffer, empty for the top-level one.
    pub buffer: String,
    /// The CPU.
    pub cpu: u32,
}

impl fmt::Display for DataOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU {}", self.cpu)?;
        if self.buffer.is_empty() { Ok(()) } else { write!(f, " of buffer {:?}", self.buffer) }
    }
}
