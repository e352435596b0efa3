//! What a recorder is told.

use crate::session::{Extensions, Protocol, Received, Version};

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Which protocol is spoken. V1: only version 6 files, only the top buffer.
    pub version: Version,
    /// What data goes over.
    pub protocol: Protocol,
    /// What the listener takes up.
    pub extensions: Extensions,
    /// A port for each CPU of the top buffer.
    pub ports: Vec<u16>,
}

/// What the recorder is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderEvent {
    /// The listener speaks V1 only, and this connection is of no use any more: open another, then call
    /// [`reconnected`](super::Sender::reconnected).
    Reconnect,
    /// Send each CPU's data to its port, and the beginning of the file by [`put_metadata`](super::Sender::put_metadata).
    Opened(Opened),
    /// The ports of a buffer that was declared by [`instance`](super::Sender::instance).
    InstancePorts {
        /// The stream of its first CPU.
        first_stream: u32,
        /// A port for each of its CPUs.
        ports: Vec<u16>,
    },
    /// What the listener has of a stream. Only with the extension `accounts`.
    Received(Received),
    /// All was said; send what is in [`output`](super::Sender::output), and close the connection. With the extension
    /// `accounts` all that was received is then in the file.
    Done,
}
