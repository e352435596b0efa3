//! What a server tells about itself.

use crate::setup::GuestName;

/// Something worth a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// QEMU of a guest connected.
    Connected {
        /// Which guest.
        guest: &'a GuestName,
        /// Its QEMU.
        pid: i32,
    },
    /// A process connected that is no guest's QEMU, or a second one of the same name; it was closed.
    Rejected {
        /// The process.
        pid: i32,
        /// Why.
        reason: &'static str,
    },
    /// The client in a guest answers.
    ClientReady {
        /// Which guest.
        guest: &'a GuestName,
    },
    /// QEMU of a guest went away.
    Disconnected {
        /// Which guest.
        guest: &'a GuestName,
    },
    /// A host tool has a guest.
    SessionStarted {
        /// Which guest.
        guest: &'a GuestName,
        /// The tool.
        pid: i32,
    },
    /// A guest wants to be recorded.
    Wished {
        /// Which guest.
        guest: &'a GuestName,
        /// Why it is not, if so.
        refused: Option<&'a str>,
    },
    /// A session is over.
    SessionEnded {
        /// Which guest.
        guest: &'a GuestName,
        /// Why.
        reason: &'static str,
    },
}
