//! Moves trace data and control messages between machines; ignorant of what is inside.
//!
//! ```text
//!   tracefs ──► [ transport ] ──► tracedat
//!                    ▲
//!                   virt
//! ```
//!
//! * [`message`]: trace-cmd's V3 and agent messages, and this project's additions, to and from bytes; no I/O.
//! * [`Address`] names the other end; connecting to it gives a [`Stream`], a [`Listener`] on it gives a stream and the
//!   [`Peer`] behind it; [`Access`] says who may, and a [`Key`] proves it.
//! * [`Stream`]: a non-blocking descriptor with deadlines, whatever is behind it; [`tcp`], [`vsock`], [`hybrid`],
//!   [`unix`], [`fifo`] and [`virtio_serial`] open one each.
//! * [`udp`]: datagrams in batches, with what the kernel dropped.
//! * [`Connection`]: messages over a stream.
//! * [`session`]: what a listener and a network recorder say to each other, as state machines without I/O.
//! * [`splice`]: copies between descriptors inside the kernel.
//!
//! ```
//! use std::time::Duration;
//! use trace_transport::{Connection, Deadline, Stream, message::Message};
//!
//! let (host, guest) = Stream::pair()?;
//! let (mut host, mut guest) = (Connection::new(host), Connection::new(guest));
//! let soon = Deadline::after(Duration::from_secs(5));
//! host.send(&Message::SendData(b"head"), soon)?;
//! assert_eq!(guest.receive(soon)?, Message::SendData(b"head"));
//! # Ok::<(), trace_transport::Error>(())
//! ```

mod access;
mod address;
mod connection;
mod deadline;
mod error;
pub mod fifo;
pub mod hybrid;
mod key;
mod listener;
pub mod message;
mod peer;
pub mod session;
mod socket;
pub mod splice;
mod stream;
mod sys;
pub mod tcp;
pub mod udp;
pub mod unix;
pub mod virtio_serial;
pub mod vsock;

pub use access::{Access, AccessError, Rule};
pub use address::{Address, AddressError, AddressProblem};
pub use connection::Connection;
pub use deadline::Deadline;
pub use error::{Error, MessageError};
pub use key::{Key, KeyError, NONCE_SIZE, Nonce, PROOF_SIZE, Proof, nonce};
pub use listener::Listener;
pub use peer::Peer;
pub use stream::{Interest, Stream};
