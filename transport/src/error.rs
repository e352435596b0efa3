//! What can go wrong between two machines.

use std::io;

/// Why bytes are not a message, or a message cannot be put in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The header claims a size that no message has.
    #[error("message size {size} at offset {offset:#x} is not between 12 and 8192")]
    Size {
        /// The claimed size.
        size: u32,
        /// Where in the stream the message starts.
        offset: u64,
    },
    /// The fixed part would reach beyond the message.
    #[error("fixed part of {command_size} bytes in a message of {size} at offset {offset:#x}")]
    CommandSize {
        /// The claimed size of the fixed part.
        command_size: u32,
        /// The size of the message.
        size: u32,
        /// Where in the stream the message starts.
        offset: u64,
    },
    /// A list says it has more than the message holds.
    #[error("{what}: need {need} bytes at offset {offset} of the message's data, {left} left")]
    Truncated {
        /// Which part.
        what: &'static str,
        /// What it needs.
        need: u64,
        /// Where in the data.
        offset: usize,
        /// What is there.
        left: usize,
    },
    /// A word without its NUL.
    #[error("{what}: word {index} at offset {offset} of the message's data has no terminating NUL")]
    Unterminated {
        /// Which list.
        what: &'static str,
        /// Which word of it.
        index: u32,
        /// Where in the data.
        offset: usize,
    },
    /// A text that is not UTF-8, or has a NUL in the middle.
    #[error("{what} is not plain UTF-8 text")]
    NotText {
        /// Which text.
        what: &'static str,
    },
    /// A number outside what it may be.
    #[error("{what} is {value}")]
    Value {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: u64,
    },
    /// More than fits into one message.
    #[error("{what} of {size} bytes, a message holds at most {limit}")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Its size.
        size: usize,
        /// What fits.
        limit: usize,
    },
}

/// Why a stream could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("{step} {peer}")]
    Io {
        /// What was being done, as in "connecting to".
        step: &'static str,
        /// With whom.
        peer: String,
        /// What the system said.
        source: io::Error,
    },
    /// The peer did not do its part in time.
    #[error("{step} {peer}: timed out")]
    TimedOut {
        /// What was being done.
        step: &'static str,
        /// With whom.
        peer: String,
    },
    /// The peer closed its end.
    #[error("{step} {peer}: closed by the other side")]
    Closed {
        /// What was being done.
        step: &'static str,
        /// With whom.
        peer: String,
    },
    /// The peer sent something that is not a message.
    #[error("message from {peer}")]
    Message {
        /// Who sent it.
        peer: String,
        /// What is wrong with it.
        source: MessageError,
    },
    /// A message that was to be sent cannot be put in bytes.
    #[error("message to {peer}")]
    Encode {
        /// For whom it was.
        peer: String,
        /// What is wrong with it.
        source: MessageError,
    },
    /// The named thing is not of the kind that was asked for.
    #[error("{path} is not {expected}")]
    Kind {
        /// What was opened.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The kernel cannot do this at all.
    #[error("{step} {peer}: {missing}")]
    Unsupported {
        /// What was being done.
        step: &'static str,
        /// With whom.
        peer: String,
        /// What is missing, and what may bring it.
        missing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What stands between the two ends did not connect them.
    #[error("{step} {peer}: answered {answer:?} instead of \"OK\"")]
    Handshake {
        /// What was being done.
        step: &'static str,
        /// With whom.
        peer: String,
        /// The line that came.
        answer: String,
    },
    /// More than one datagram holds.
    #[error("datagram of {size} bytes for {peer}, one holds at most {limit}")]
    Datagram {
        /// Its size.
        size: usize,
        /// For whom it was.
        peer: String,
        /// What fits.
        limit: usize,
    },
}
