//! What an agent in a guest and its host say to each other, without I/O.
//!
//! ```text
//!   host                                              agent
//!    ├ TRACE_REQ: arguments, time sync, extensions ────►│
//!    │◄───────────────── CHALLENGE ─────────────────────┤  only with a key
//!    ├ PROOF ──────────────────────────────────────────►│
//!    │◄───────────────── TRACE_RESP: ports ─────────────┤
//!    │◄───────────────── SEND_DATA … FIN_DATA ──────────┤  a connection per CPU, and one for the time sync
//!    ├ CLOSE ──────────────────────────────────────────►│
//!    │◄───────────────── CLOSE_RESP ────────────────────┤  once all data was sent
//! ```
//!
//! With the roles turned round a guest has its host recorded. It asks by TRACE_PROXY, which tells its CPUs, too; the ports
//! are where they are above, but on the time sync connection, which the guest makes, it is the agent that drives the
//! rounds, one for each CPU of the guest, and the guest that probes and computes. The end is longer:
//!
//! ```text
//!   guest                                             agent, on the host
//!    ⋮                                                  ⋮
//!    ├ CLOSE ──────────────────────────────────────────►│  a last round, while data goes to its end
//!    │◄───────────────── SEND_DATA … FIN_DATA ──────────┤  sections of the host's file
//!    ├ CONT ───────────────────────────────────────────►│  not from a guest without a file of its own
//!    │◄───────────────── SEND_DATA … FIN_DATA ──────────┤  options for the guest's own file
//!    │◄───────────────── CLOSE_RESP ────────────────────┤
//! ```
//!
//! The head that comes first ends where its header says that options are (version 7): the sections are OPTIONS, with
//! GUEST among them (named `::GUEST::`, with the trace id of the request and no CPUs), then STRINGS; they continue the
//! head, and their offsets count from its start. The options are as in a file, an id of 2 bytes, a size of 4 and the
//! data: TIME_SHIFT, whose peer is the host's trace id and which has as many CPUs as the request told.
//!
//! The reference's agents take either request, and with the other one than they were started for send what fits neither:
//! without `-P` the options are in the head and nothing follows CLOSE, with `-P` a host's request gets a head without
//! options. Here both are refused.
//!
//! [`Opening`] is the host's side of the start, [`Agent`] the guest's of the whole control connection. [`SyncHost`] and
//! [`SyncGuest`] compare clocks on the time sync connection (protocol `ptp`).
//!
//! That is the reference's protocol. Between two of this project there is more ([`AgentExtensions`]): a host asks for it
//! by a parameter of its TRACE_REQ, which old agents ignore, and an agent says in its TRACE_RESP what it takes up, in a
//! field that old hosts never see.
//!
//! | word | meaning |
//! | --- | --- |
//! | `accounts` | DATA_END for each CPU, and TAIL before CLOSE_RESP; without TAIL, before the sections, from a host to its guest |
//! | `ping` | the agent answers TIME_SYNC messages of protocol `ping` on the control connection |
//! | `exec` | EXEC, OUTPUT and EXEC_EXIT, where the guest's policy allows it |
//!
//! A host that asks for any of them is told why it is refused (REFUSE) rather than left with a closed connection.

mod extensions;
mod guest;
mod keyed;
mod opening;
mod request;
mod sync;

pub use extensions::AgentExtensions;
pub use guest::{Agent, AgentEvent, Answer};
pub use opening::{Ask, Opened, Opening, Taken};
pub use request::{ProxyGuest, Request};
pub use sync::{Mark, PTP, SyncEvent, SyncGuest, SyncGuestEvent, SyncHost};

/// The vsock port of agents.
pub const PORT: u32 = 823;
