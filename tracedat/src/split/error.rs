//! Why a trace could not be split.

use thiserror::Error;

use crate::error::ReadError;
use crate::write::WriteError;

/// A trace that cannot be split.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SplitError {
    /// The input cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A piece cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The input has no such buffer.
    #[error("no buffer {name:?} in the trace")]
    NoBuffer {
        /// The name asked for, empty for the top-level one.
        name: String,
    },
    /// No buffer that is split has data of this CPU.
    #[error("no data of CPU {cpu} in the trace")]
    NoCpu {
        /// The CPU asked for.
        cpu: u32,
    },
    /// Sub-buffers are larger than any kernel has them.
    #[error("sub-buffers of {name:?} have {size} bytes")]
    SubBufferSize {
        /// Name of the buffer.
        name: String,
        /// The size the file claims.
        size: u32,
    },
    /// A latency tracer left a text instead of records.
    #[error("the trace has the text of a latency tracer, and no events to split")]
    NoEvents,
}
