//! What the running server knows.

use std::io;
use std::time::Duration;

use trace_transport::message::Message;
use trace_transport::{Connection, Deadline, unix};

use super::error::{HostError, Step};
use super::link;
use crate::protocol::clean;
use crate::setup::VirtDir;

/// The server asks the guest's client, which gets up to 15 s.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(60);

/// A guest that a server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestStatus {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: GuestState,
    /// Its data ports, once its client answered.
    pub cpus: u32,
}

/// How far a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestState {
    /// Its QEMU is connected.
    Connected,
    /// Its client answered.
    Ready,
    /// A session has it.
    InSession,
}

impl GuestState {
    pub(super) fn of(number: u32) -> Self {
        match number {
            0 => Self::Connected,
            1 => Self::Ready,
            _ => Self::InSession,
        }
    }
}

/// Guests that the running server knows.
///
/// # Errors
///
/// The server does not run or does not answer; the guest named in the error is `*`.
pub fn list(dir: &VirtDir) -> Result<Vec<GuestStatus>, HostError> {
    let mut connection = connect_server(dir, "*")?;
    let deadline = Deadline::after(CONNECT_TIME);
    let failed = |source| link::stream_error("*", Step::Connect, CONNECT_TIME, source);
    connection.send(&Message::GuestList, deadline).map_err(failed)?;
    let mut guests = Vec::new();
    loop {
        match connection.receive(deadline).map_err(failed)? {
            Message::GuestEntry { guest: "", .. } => return Ok(guests),
            Message::GuestEntry { state, cpus, guest } => {
                guests.push(GuestStatus { name: clean(guest), state: GuestState::of(state), cpus });
            }
            other => {
                let message = format!("{:?}", other.command());
                return Err(HostError::Unexpected {
                    guest: "*".to_owned(),
                    step: Step::Connect,
                    message,
                });
            }
        }
    }
}

pub(super) fn connect_server(dir: &VirtDir, guest: &str) -> Result<Connection, HostError> {
    let path = dir.manager_socket();
    match unix::connect(&path) {
        Ok(mut stream) => {
            stream.set_peer(format!("guest {guest}"));
            Ok(Connection::new(stream))
        }
        Err(trace_transport::Error::Io { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Err(HostError::ServerNotRunning { guest: guest.to_owned(), path })
        }
        Err(source) => {
            Err(HostError::Stream { guest: guest.to_owned(), step: Step::Connect, source })
        }
    }
}
