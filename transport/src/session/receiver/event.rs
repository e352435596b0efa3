//! What a listener is told.

use crate::session::{Extensions, Instance, Protocol, Version};

/// What a recorder will send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Which protocol it speaks.
    pub version: Version,
    /// CPUs of its top buffer; each has a stream.
    pub cpus: u32,
    /// Bytes per sub-buffer.
    pub page_size: u32,
    /// What its data is to come over. [`Vsock`](Protocol::Vsock) makes sense only where the control connection is on
    /// vsock too, and is meant there whatever stands here.
    pub protocol: Protocol,
    /// What was asked for and is taken up.
    pub extensions: Extensions,
}

/// What the listener is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverEvent<'a> {
    /// Open a port for each CPU, then call [`ports`](super::Receiver::ports).
    Start(Start),
    /// The same for a further buffer. May come at any time after the first ports.
    Instance(Instance),
    /// A piece of the beginning of the trace file.
    Metadata(&'a [u8]),
    /// The beginning is complete. Never comes in version 1, whose end is [`Close`](Self::Close).
    MetadataEnd,
    /// A piece of what goes behind the data.
    Tail(&'a [u8]),
    /// That is complete.
    TailEnd,
    /// So many bytes were produced for a stream; no more will come.
    DataEnd {
        /// Which stream.
        stream: u32,
        /// Bytes, sequence headers not counted.
        bytes: u64,
    },
    /// The recorder has sent all; take what is still on the way, then call [`finish`](super::Receiver::finish).
    Close,
}
