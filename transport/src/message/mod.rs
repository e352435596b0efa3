//! Control messages to and from bytes; no I/O.
//!
//! A message is a 12-byte header, a fixed part and data; all numbers are big-endian:
//!
//! ```text
//!  0        4        8        12                12+fixed           size ≤ 8192
//!  ├ size ──┼ command ┼ fixed ─┼ fixed part ─────┼ data ────────────┤
//! ```
//!
//! Commands 0 to 11 are trace-cmd's (V3, agent, proxy). A fixed part longer than known is read as far as it is known,
//! a shorter one as if zeros followed, so either side may be newer. Commands from 64 up are this project's, sent only
//! to a peer that introduced itself with [`Message::Hello`], or asked for them by a word of its TINIT, so that an old
//! one never sees them.

mod codec;
mod command;
mod frame;
mod hello;
mod status;
mod words;

pub use codec::Message;
pub use command::Command;
pub use frame::{Decoder, Frame, HEADER_SIZE, MAX_DATA, MAX_MESSAGE};
pub use hello::{ExecRule, Hello, HelloKind};
pub use status::{GuestStatus, Totals};
pub use words::{Parameter, ParameterId, ParameterList, Parameters, ProtocolName, WordList, Words};
