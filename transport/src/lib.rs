//! Moves trace data and control messages between machines; ignorant of what is inside.
//!
//! ```text
//!   tracefs ──► [ transport ] ──► tracedat
//!                    ▲
//!                   virt
//! ```
//!
//! * [`message`]: trace-cmd's V3 and agent messages, and this project's additions, to and from bytes; no I/O.
//! * [`Stream`]: a non-blocking descriptor with deadlines, whatever is behind it; [`unix`], [`tcp`], [`fifo`] and
//!   [`virtio_serial`] open one each.
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

mod connection;
mod deadline;
mod error;
pub mod fifo;
pub mod message;
pub mod session;
pub mod splice;
mod stream;
pub mod tcp;
pub mod unix;
pub mod virtio_serial;

pub use connection::Connection;
pub use deadline::Deadline;
pub use error::{Error, MessageError};
pub use stream::{Interest, Stream};
