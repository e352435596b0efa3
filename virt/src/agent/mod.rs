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
//! With the roles turned round ([`AgentOptions::proxy`]) the agent is on the host, and its guest asks to have that recorded.
//!
//! [`serve`] is the guest's side, [`AgentGuest`](crate::host::AgentGuest) the other. Both speak to the C trace-cmd, and more among themselves: see
//! [`trace_transport::session::agent`].

mod data;
mod marks;
mod places;
mod proxy;
mod serve;
mod server;
mod sync;

use std::sync::Arc;

use trace_transport::{Access, Key, Peer};

use crate::client::{ClientEvent, ExecPolicy, ExecUser, GuestRecorder};
use crate::host::SyncInterval;
use crate::time_sync::ClockSample;

pub use marks::{MarkClock, UserClock};
pub use serve::possible_cpus;
pub use server::serve;
pub(crate) use server::session_key_of;
pub(crate) use sync::SyncPort;

/// Makes what records, for a session each. A host sees no difference in what it gets.
pub type MakeRecorder = Arc<dyn Fn(RecordFor) -> Box<dyn GuestRecorder> + Send + Sync>;

/// Where and for whom it is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordFor {
    /// In a new instance of this name, which the recorder removes again; else in the top-level buffer.
    pub instance: Option<String>,
    /// For the guest of this machine whose own trace has this id. What the recorder gives as the head is then without its
    /// options, and at the end it gives those as the tail: see [`trace_transport::session::agent`].
    pub guest: Option<u64>,
}

/// Makes the options for a guest's own file of what its CPUs' clocks have to do with that of this machine, whose trace has
/// the given id; nothing where they were not compared.
pub type MakeOptions = Arc<dyn Fn(&[Vec<ClockSample>], u64) -> Vec<u8> + Send + Sync>;

/// Makes stamps of the clock that a recording with these `record` arguments has, or says why there are none.
pub type MakeClock = Arc<dyn Fn(&[String]) -> Result<Box<dyn MarkClock>, String> + Send + Sync>;

/// What it takes to record this machine for its guest.
#[derive(Clone)]
pub struct ProxyOptions {
    /// What makes the options for the guest's own file.
    pub options: MakeOptions,
    /// How often the guest's clocks are compared, by its `record` arguments.
    pub interval: fn(&[String]) -> SyncInterval,
}

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
    /// It records this machine for its guest, and for nobody else.
    pub proxy: Option<ProxyOptions>,
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
