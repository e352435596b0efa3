//! The time sync connection: protocol `ptp`, as the reference speaks it.
//!
//! ```text
//!   host                                  guest
//!    ├ none/PROBE: vCPU ────────────────────►│  goes to that vCPU
//!    │◄─────────────────────────── START ────┤
//!    ├ START ───────────────────────────────►│
//!    │◄─────── marks ── PROBE: number ───────┤  339 times
//!    ├ marks, PROBE: number ────────────────►│  marks
//!    │◄─────────────────────────── END ──────┤
//!    ├ PROBES: host's stamp of each ────────►│
//!    │◄────────────── OFFSET: time, offset ──┤  of the fastest
//!    ⋮
//!    ├ none/STOP ───────────────────────────►│
//! ```
//!
//! The guest computes; what it says converts its time to the host's. Stamps are of the trace clock: the caller makes
//! them, when an event says so, and before it sends what waits in `output`.

/// What both sides have, inside their `impl`: the methods of all sessions, and the end of a round that takes too long.
macro_rules! sync_io {
    () => {
        session_io!();

        /// Tells whether the round is late.
        ///
        /// # Errors
        ///
        /// [`SessionError::TimedOut`]: the connection is then of no use any more.
        pub fn on_time(&self, now: Instant) -> Result<(), SessionError> {
            match self.deadline {
                Some(deadline) if now >= deadline => {
                    Err(SessionError::TimedOut { step: self.state.step() })
                }
                _ => Ok(()),
            }
        }
    };
}

mod guest;
mod host;
mod wire;

use super::super::SessionError;
use crate::message::Message;

pub use guest::{SyncGuest, SyncGuestEvent};
pub use host::{SyncEvent, SyncHost};
pub use wire::PTP;

/// A stamp of the trace clock that is to be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// Just before the probe of this number is sent.
    Sent(u32),
    /// When the probe of this number has come.
    Received(u32),
}

fn unexpected(message: &Message<'_>, step: &'static str) -> SessionError {
    SessionError::Unexpected { command: message.command(), step }
}

#[cfg(test)]
mod tests;
