//! The agent: records a machine for a host that connects to it, over vsock, TCP or whatever there is.
//!
//! ```text
//!   host                           agent                        recorder
//!    ├ control ──── TRACE_REQ ──────►│ one thread per session ──────►│ records
//!    │◄───────────── head ───────────┤◄──────────────────────────────┤
//!    │◄═══ a connection per CPU ═════╪═══ pipe ◄═════════════════════┤ sub-buffers, spliced all the way
//!    ├ time sync ── rounds ─────────►│ stamps (MarkClock)
//! ```
//!
//! [`serve`] is the guest's side, [`AgentGuest`](crate::host::AgentGuest) the other. Both speak to the C trace-cmd, and more among themselves: see
//! [`trace_transport::session::agent`].

mod data;
mod marks;
mod places;
mod serve;
mod server;
mod sync;

use std::sync::Arc;

use trace_transport::{Access, Key, Peer};

use crate::client::{ClientEvent, ExecPolicy, ExecUser, GuestRecorder};

pub use marks::{MarkClock, UserClock};
pub use server::serve;
pub(crate) use server::session_key_of;

/// Makes what records, for a session each: in a new instance of the given name, which the recorder removes again, or in the
/// top-level buffer. A host sees no difference in what it gets.
pub type MakeRecorder = Arc<dyn Fn(Option<String>) -> Box<dyn GuestRecorder> + Send + Sync>;

/// Makes stamps of the clock that a recording with these `record` arguments has, or says why there are none.
pub type MakeClock = Arc<dyn Fn(&[String]) -> Result<Box<dyn MarkClock>, String> + Send + Sync>;

/// How an agent works.
#[derive(Clone)]
pub struct AgentOptions {
    /// What records.
    pub recorder: MakeRecorder,
    /// What stamps are made with.
    pub clock: MakeClock,
    /// Commands the host may run.
    pub exec: ExecPolicy,
    /// Whom they run as; as the agent unless given.
    pub exec_user: Option<ExecUser>,
    /// Who may connect.
    pub access: Access,
    /// What who connects must know.
    pub key: Option<Arc<Key>>,
    /// How long a host may take for each step; none: for ever.
    pub patience: Option<std::time::Duration>,
    /// Whether data may go through virtio-serial ports.
    pub fifos: bool,
    /// Sessions at the same time: one in the top-level buffer, each other in an instance.
    pub max_sessions: usize,
}

impl std::fmt::Debug for AgentOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentOptions")
            .field("exec", &self.exec)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// Something worth a log line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AgentNews {
    /// Somebody may not connect, or cannot be served now.
    SentAway {
        /// Who.
        peer: Peer,
        /// Why.
        reason: String,
    },
    /// A host connected.
    Connected {
        /// Who.
        peer: Peer,
    },
    /// Something in its session.
    Session {
        /// Who.
        peer: Peer,
        /// What.
        event: ClientEvent,
    },
    /// Its session has an instance, as the top-level buffer is taken.
    InInstance {
        /// Who.
        peer: Peer,
        /// What the instance is called.
        instance: String,
    },
    /// Its data goes through virtio-serial ports.
    ThroughPorts {
        /// Who.
        peer: Peer,
    },
    /// Clocks are not compared in this session.
    NoClock {
        /// Who.
        peer: Peer,
        /// Why.
        reason: String,
    },
    /// A session ended before its time.
    Broken {
        /// Who.
        peer: Peer,
        /// Why.
        reason: String,
    },
}

/// Where news go; from several threads.
pub type Log = Arc<dyn Fn(AgentNews) + Send + Sync>;

/// Whether connections of a session come from one machine.
fn same_machine(a: &Peer, b: &Peer) -> bool {
    match (a, b) {
        (Peer::Tcp(a), Peer::Tcp(b)) => a.ip().to_canonical() == b.ip().to_canonical(),
        (Peer::Vsock { cid: a, .. }, Peer::Vsock { cid: b, .. }) => a == b,
        (Peer::Unix(a), Peer::Unix(b)) => a.uid == b.uid,
        _ => false,
    }
}
