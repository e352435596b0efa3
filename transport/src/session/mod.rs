//! What `trace-cmd listen` and a network recorder say to each other, without I/O.
//!
//! [`Receiver`] is the listener's side of one control connection, [`Sender`] the recorder's. Both are fed bytes and the
//! time, and yield bytes to send and events:
//!
//! ```text
//!             ┌───────────── push, hung_up ◄── control connection
//!  next ◄── Receiver / Sender
//!             └───────────── output, sent ───► control connection
//! ```
//!
//! The caller's loop, on either side:
//!
//! 1. put what was read into [`push`](Receiver::push), or tell of the end of the stream by [`hung_up`](Receiver::hung_up);
//! 2. call [`next`](Receiver::next) until it gives `None`, and do what the events ask for;
//! 3. write [`output`](Receiver::output), and tell by [`sent`](Receiver::sent) how much of it was taken;
//! 4. wait for the connection until [`next_deadline`](Receiver::next_deadline), and then call
//!    [`on_time`](Receiver::on_time).
//!
//! An error ends the session; what [`output`](Receiver::output) still has is worth sending, as it tells the other side
//! why. Memory is bounded, whatever the other side sends.
//!
//! ```
//! use std::time::Instant;
//! use trace_transport::session::{
//!     Extensions, Protocol, Receiver, ReceiverConfig, ReceiverEvent, Sender, SenderConfig, SenderEvent, Timeouts, Version,
//! };
//!
//! let now = Instant::now();
//! let mut listener = Receiver::new(ReceiverConfig::default(), now);
//! let mut recorder = Sender::new(
//!     SenderConfig {
//!         cpus: 2,
//!         page_size: 4096,
//!         protocol: Protocol::Tcp,
//!         version: Version::V3,
//!         extensions: Extensions::ALL,
//!         key: None,
//!         timeouts: Timeouts::default(),
//!     },
//!     now,
//! )?;
//! let opened = loop {
//!     let count = recorder.push(listener.output());
//!     listener.sent(count);
//!     if let Some(SenderEvent::Opened(opened)) = recorder.next(now)? {
//!         break opened;
//!     }
//!     let count = listener.push(recorder.output());
//!     recorder.sent(count);
//!     if let Some(ReceiverEvent::Start(start)) = listener.next(now)? {
//!         assert_eq!(start.cpus, 2);
//!         listener.ports(&[1500, 1501], now)?;
//!     }
//! };
//! assert_eq!(opened.ports, [1500, 1501]);
//! # Ok::<(), trace_transport::session::SessionError>(())
//! ```
//!
//! # Extensions
//!
//! Versions 1 and 3 of the reference's protocol are spoken as the reference does. Between two of this project there is
//! more ([`Extensions`]): a recorder asks for it by words in its TINIT, which old listeners ignore, and a listener says
//! in its RINIT what it takes up, which old recorders never ask for.
//!
//! | word | meaning |
//! | --- | --- |
//! | `accounts` | the recorder says how many bytes each stream has (DATA_END); the listener, once all is in the file, what it has of them (RECEIVED), and CLOSE_RESP; either may end the session in clear words (REFUSE) |
//! | `sequence` | each datagram starts with a [`SequenceHeader`], so that what is lost is known |
//! | `instances` | further buffers, each introduced by INSTANCE and answered by an RINIT; streams are numbered on |
//! | `key=HEX` | both sides prove that they know a key before a port is opened; data connections start with a token |

pub mod agent;
mod cpu_list;
mod error;
mod extensions;
mod instance;
mod io;
mod key;
mod limits;
mod output;
mod receiver;
mod refuse_code;
mod reorder;
mod sender;
mod sequence;
mod text;
mod timeouts;
mod v1;

use std::fmt;

pub use error::{SequenceError, SessionError};
pub use extensions::Extensions;
pub use instance::Instance;
pub use key::{Nonce, Proof, Prove, SessionKey, same_proof};
pub use limits::Limits;
pub use receiver::{Receiver, ReceiverConfig, ReceiverEvent, Start};
pub use refuse_code::RefuseCode;
pub use reorder::{Arrival, Piece, Sequence};
pub use sender::{Opened, Sender, SenderConfig, SenderEvent};
pub use sequence::{Numbering, SequenceHeader};
pub use timeouts::Timeouts;

/// Which protocol is spoken on the control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Words, then the head of a version 6 file up to the end of the connection. Top buffer only, no extensions.
    V1,
    /// [Messages](crate::message).
    V3,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "V1",
            Self::V3 => "V3",
        })
    }
}

/// What data streams go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One sub-buffer per datagram.
    Udp,
    /// A connection per stream.
    Tcp,
    /// A connection per stream, on vsock; the control connection is then on vsock too.
    Vsock,
}

/// The largest payload of a UDP datagram over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;

/// Sub-buffers of so many bytes and more never go in datagrams.
const MIN_TCP_PAGE: u32 = 65_516;

impl Protocol {
    /// What is used for sub-buffers of `page_size` bytes where `self` was asked for: those that fit in no datagram need TCP.
    #[must_use]
    pub fn for_page_size(self, page_size: u32) -> Self {
        match self {
            Self::Udp if page_size >= MIN_TCP_PAGE => Self::Tcp,
            protocol => protocol,
        }
    }
}

/// What of one data stream is in the file; sent with the extension `accounts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Which stream: CPUs of the top buffer from 0, then those of each further buffer.
    pub stream: u32,
    /// Bytes that are in the file.
    pub bytes: u64,
    /// Bytes that were sent and are not.
    pub lost_bytes: u64,
    /// Datagrams these were in; 0 on a connection.
    pub lost_datagrams: u64,
}
