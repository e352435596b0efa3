//! The host's side of a recording in a guest.
//!
//! ```no_run
//! # use trace_virt::{host::{Guest, Sink, StartRequest}, setup::{GuestName, VirtDir}};
//! let guest = Guest::connect(&VirtDir::default(), &GuestName::new("guest1")?)?;
//! let mut session = guest.start(&StartRequest {
//!     args: vec!["-e".into(), "sched".into()],
//!     host_clock: Some("mono".into()),
//!     guest_clock: Some("mono".into()),
//!     ..StartRequest::default()
//! })?;
//! let mut sinks = Vec::new();
//! for cpu in 0..session.cpus {
//!     let file = std::fs::File::create(format!("guest1.cpu{cpu}"))?;
//!     sinks.push(Sink { to: file.into(), offset: None });
//! }
//! session.collect(sinks, None)?;
//! std::thread::sleep(std::time::Duration::from_secs(1));
//! let finished = session.close()?;
//! println!("{} clock samples", finished.samples.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agent;
mod collect;
mod control;
mod error;
mod guest;
mod link;
mod list;
mod recent;
mod reports;
mod session;
mod status;

use std::time::Duration;

pub use agent::{AgentGuest, AgentTarget, SyncInterval};
pub(crate) use agent::{EndingSync, Sync};
pub use collect::{CpuReport, Sink};
pub use control::Proxied;
pub use error::{HostError, Step};
pub use guest::{Guest, GuestInfo, PreparedGuest, ReadyGuest, StartRequest};
pub use list::{GuestState, GuestStatus, list};
pub use session::{ExecStatus, Finished, GuestSession, SessionEnd, SessionEvent, Started};
pub use status::{ClientStatus, ConnectedGuest, ExecAllowed, SessionStatus, status};
pub use trace_transport::session::agent::ProxyGuest;

/// How long a guest that is sending may be silent.
const SILENCE: Duration = Duration::from_secs(20);
