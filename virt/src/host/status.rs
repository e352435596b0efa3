//! How a running server and its guests are.

use std::time::Duration;

use trace_transport::Deadline;
use trace_transport::message::{ExecRule, Message, Totals};

use super::list::{CONNECT_TIME, connect_server};
use super::{GuestState, HostError, Step, link};
use crate::protocol::clean;
use crate::setup::{GuestName, MAX_CPUS, VirtDir};
use crate::vcpu::VcpuThreads;

/// Guests that are told of at most; a server has fewer.
const MAX_GUESTS: usize = 4096;

/// A guest that is connected to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectedGuest {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: GuestState,
    /// Its QEMU.
    pub qemu: i32,
    /// Since when that is connected.
    pub connected: Duration,
    /// Which threads run its CPUs, as far as that can be found.
    pub vcpus: VcpuThreads,
    /// What its client said of itself; `None` while none answers.
    pub client: Option<ClientStatus>,
    /// The recording that has it.
    pub session: Option<SessionStatus>,
}

/// What the client in a guest said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStatus {
    /// Its version.
    pub version: String,
    /// CPUs with a data port.
    pub cpus: u32,
    /// Which commands the host may run.
    pub exec: ExecAllowed,
    /// Trace clocks that can be compared.
    pub clocks: Vec<String>,
}

/// Which commands the host may run in a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecAllowed {
    /// None.
    Nothing,
    /// Those on a list.
    Some,
    /// All.
    Anything,
}

/// A recording, as its host tool told last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStatus {
    /// The process that records.
    pub pid: i32,
    /// How long it has had the guest.
    pub age: Duration,
    /// Bytes of control messages through the server, both ways.
    pub relayed: u64,
    /// Bytes of trace data that were kept.
    pub bytes: u64,
    /// Bytes of trace data in the last second.
    pub rate: u64,
    /// Bytes that came and were not kept.
    pub lost: u64,
    /// Bound of the error of the last comparison of clocks, in units of the trace clock.
    pub clock_error: Option<u64>,
}

/// Asks the running server about its guests.
///
/// # Errors
///
/// The server does not run, does not answer, or is too old to; the guest named in the error is `*`.
pub fn status(dir: &VirtDir) -> Result<Vec<ConnectedGuest>, HostError> {
    let mut connection = connect_server(dir, "*")?;
    let deadline = Deadline::after(CONNECT_TIME);
    let failed = |source| link::stream_error("*", Step::Connect, CONNECT_TIME, source);
    let question = Message::Status { version: Message::STATUS_VERSION, qemu: 0 };
    connection.send(&question, deadline).map_err(failed)?;
    let mut guests = Vec::new();
    loop {
        match connection.receive(deadline).map_err(failed)? {
            Message::GuestStatus(guest) => match read(&guest) {
                Some(guest) if guests.len() < MAX_GUESTS => guests.push(guest),
                _ => break,
            },
            Message::Refuse { code, reason } => {
                let code = crate::protocol::RefuseCode(code);
                return Err(link::refused("*", Step::Connect, code, reason));
            }
            other => {
                let message = format!("{:?}", other.command());
                let guest = "*".to_owned();
                return Err(HostError::Unexpected { guest, step: Step::Connect, message });
            }
        }
    }
    for guest in &mut guests {
        let set_up = || GuestName::new(&guest.name).map_or(0, |name| dir.cpus(&name).unwrap_or(0));
        let cpus = guest.client.as_ref().map_or_else(set_up, |client| client.cpus);
        guest.vcpus = VcpuThreads::of_process(guest.qemu, cpus);
    }
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(guests)
}

/// `None` at the end of the list.
fn read(guest: &trace_transport::message::GuestStatus<'_>) -> Option<ConnectedGuest> {
    let mut words = guest.words.iter().map_while(Result::ok);
    let name = clean(words.next()?);
    let pid = |pid: u32| i32::try_from(pid).unwrap_or(0);
    let client = words.next().map(|version| ClientStatus {
        version: clean(version),
        cpus: guest.cpus.min(MAX_CPUS),
        exec: match guest.exec {
            ExecRule::DENY => ExecAllowed::Nothing,
            ExecRule::ANY => ExecAllowed::Anything,
            _ => ExecAllowed::Some,
        },
        clocks: words.map(clean).collect(),
    });
    let state = GuestState::of(guest.state);
    let session = (state == GuestState::InSession).then(|| SessionStatus {
        pid: pid(guest.tool),
        age: Duration::from_millis(guest.session_ms),
        relayed: guest.relayed,
        bytes: guest.totals.bytes,
        rate: guest.rate,
        lost: guest.totals.lost,
        clock_error: Some(guest.totals.clock_error).filter(|&error| error != Totals::UNKNOWN),
    });
    Some(ConnectedGuest {
        name,
        state,
        qemu: pid(guest.qemu),
        connected: Duration::from_millis(guest.connected_ms),
        vcpus: VcpuThreads::default(),
        client,
        session,
    })
}
