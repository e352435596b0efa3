//! What can go wrong in a session.

use crate::MessageError;
use crate::message::Command;

use super::RefuseCode;

/// Why a session ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Who listens there is not `trace-cmd listen`.
    #[error("no trace-cmd listens there: it greets with {greeting:?}")]
    Greeting {
        /// What it said.
        greeting: String,
    },
    /// No version that both know.
    #[error("the other side wants version {version:?}, and not V3")]
    Version {
        /// What it said.
        version: String,
    },
    /// What should follow the version is something else.
    #[error("expected {expected:?} at offset {offset}, got {got:?}")]
    Magic {
        /// What should be there.
        expected: &'static str,
        /// What is there.
        got: String,
        /// Where in the stream.
        offset: u64,
    },
    /// A word goes on and on.
    #[error("{what} at offset {offset} is longer than {limit} bytes")]
    WordTooLong {
        /// Which word.
        what: &'static str,
        /// What it may have.
        limit: usize,
        /// Where in the stream.
        offset: u64,
    },
    /// A word is not a number, or one that is too large.
    #[error("{what} is {text:?}, which is no number of 32 bits")]
    Number {
        /// Which number.
        what: &'static str,
        /// What it is.
        text: String,
    },
    /// A number is beyond its limits.
    #[error("{what} is {value}, must be {least} to {limit}")]
    Limit {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        limit: u64,
    },
    /// A list of CPUs is none, or not as long as it should be.
    #[error("{text:?} is no ascending list of {count} CPUs")]
    CpuList {
        /// The list.
        text: String,
        /// How many CPUs it should have.
        count: u32,
    },
    /// A message that cannot be read or written.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message that has no place here. The other side is told.
    #[error("{command} while waiting for {step}")]
    Unexpected {
        /// The message.
        command: Command,
        /// What was waited for.
        step: &'static str,
    },
    /// The other side does not know the last message.
    #[error("the other side does not support what it was told before {step}")]
    NotSupported {
        /// What was waited for.
        step: &'static str,
    },
    /// The other side ends the session, for a reason that it tells.
    #[error("ended by the other side: {reason}")]
    Refused {
        /// For programs.
        code: RefuseCode,
        /// For people, in one line.
        reason: String,
    },
    /// The connection ended too early.
    #[error("the connection ended while waiting for {step}")]
    HungUp {
        /// What was waited for.
        step: &'static str,
    },
    /// The other side took too long.
    #[error("timed out waiting for {step}")]
    TimedOut {
        /// What was waited for.
        step: &'static str,
    },
    /// What is wanted needs version 3, which the listener does not speak.
    #[error("{what} needs version 3 of the protocol, which the listener does not speak")]
    NeedsV3 {
        /// What is wanted.
        what: &'static str,
    },
    /// This side has a key, and the other did not show that it knows it.
    #[error("the other side has no key, and here one is required")]
    KeyMissing,
    /// The other side's key is another.
    #[error("the other side has another key")]
    KeyWrong,
    /// A listener with a key takes data on connections only.
    #[error("with a key data goes over TCP, not UDP")]
    KeyNeedsConnections,
    /// Not as many ports as streams.
    #[error("{got} ports for {expected} streams")]
    Ports {
        /// How many streams there are.
        expected: usize,
        /// How many ports.
        got: usize,
    },
    /// A stream that was not declared, or that ended before.
    #[error("stream {stream} of {streams} does not exist, or has ended before")]
    Stream {
        /// Which one.
        stream: u32,
        /// How many there are.
        streams: u32,
    },
    /// The caller does something out of order.
    #[error("{call} while waiting for {step}")]
    OutOfOrder {
        /// What was called.
        call: &'static str,
        /// What was to come.
        step: &'static str,
    },
}

impl SessionError {
    /// What a client is told.
    pub(super) fn to_client(&self) -> String {
        match self {
            Self::KeyMissing => "a key is required here, and you gave none".to_owned(),
            Self::KeyWrong => "your key is not the one that is required here".to_owned(),
            other => other.to_string(),
        }
    }
}

/// Why a datagram cannot be, or a stream's counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// It has no header.
    #[error("datagram of {size} bytes, its header alone has 24")]
    Short {
        /// Its size.
        size: usize,
    },
    /// It starts with something else.
    #[error("datagram starts with {magic:#010x}, which is no sequence header")]
    Magic {
        /// With what.
        magic: u32,
    },
    /// It is for another stream.
    #[error("datagram of stream {got} came to the port of stream {expected}")]
    Stream {
        /// What its header says.
        got: u32,
        /// Where it came to.
        expected: u32,
    },
    /// Its place does not agree with those of others.
    #[error("datagram {number} after {bytes_before} bytes contradicts those before or behind it")]
    Contradiction {
        /// Its number.
        number: u64,
        /// What it says was sent before.
        bytes_before: u64,
    },
    /// More is there than was ever sent.
    #[error("{arrived} bytes arrived of a stream of {produced}")]
    MoreThanProduced {
        /// The end of the last byte that arrived.
        arrived: u64,
        /// What the sender says it sent.
        produced: u64,
    },
}
