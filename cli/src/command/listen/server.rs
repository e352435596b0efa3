//! Accepts recorders, each in a thread of its own.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use trace_transport::session::{Extensions, ReceiverConfig, RefuseCode, SessionKey};
use trace_transport::{Access, Address, Key, Listener, Peer, Stream, nonce, tcp};
use trace_virt::stop::StopSignals;

use super::budget::Total;
use super::client::{Client, ClientError, Outcome, one_line};
use super::log::Log;
use super::status::{self, Served, Status};
use super::workshop::Workshop;
use crate::command::record::output::Output;
use crate::error::Error;

/// Memory of a client's thread for its calls.
const STACK: usize = 256 << 10;

/// Clients more than allowed that are told so; further ones are just sent away.
const MAX_REFUSED: usize = 32;

/// How long the system is given when it has no more descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// What clients may use.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) clients: Option<usize>,
    pub(super) client_bytes: Option<u64>,
    pub(super) total_bytes: Option<u64>,
}

/// How a listener was told to work.
pub(super) struct Settings {
    pub(super) directory: PathBuf,
    pub(super) base: String,
    pub(super) limits: Limits,
    pub(super) access: Access,
    pub(super) key: Option<Arc<Key>>,
    /// After so long without an answer a machine counts as gone.
    pub(super) peer_timeout: Duration,
}

/// What all clients share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) address: Address,
    pub(super) total: Total,
    pub(super) workshop: Workshop,
    pub(super) log: Log,
    /// Readable once all is to end.
    pub(super) stop: EventFd,
    turn: Mutex<()>,
    bytes: AtomicU64,
    /// Bytes lost on the way, of clients that have ended.
    lost: AtomicU64,
    clients: AtomicUsize,
    /// UNIX connections so far.
    connections: AtomicUsize,
}

impl Shared {
    /// Does what takes much memory while nobody else does.
    pub(super) fn one_at_a_time<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    fn served(&self) -> Served {
        Served {
            clients: self.clients.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }

    /// Counts what arrived.
    pub(super) fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Serves recorders until a signal comes; then all files are completed.
pub(super) fn run(
    listener: &Listener,
    settings: Settings,
    log: Log,
    signals: &StopSignals,
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::failure("cannot listen").because(error);
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let shared = Shared {
        limits: settings.limits,
        address: listener.address().clone(),
        total: Total::new(settings.limits.total_bytes),
        workshop: Workshop::new(),
        log,
        stop: EventFd::from_flags(flags).map_err(|error| failed(error.into()))?,
        turn: Mutex::new(()),
        bytes: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        clients: AtomicUsize::new(0),
        connections: AtomicUsize::new(0),
        settings,
    };
    let _ = raise_descriptors();
    thread::scope(|scope| {
        let result = accept_all(listener, &shared, signals, scope).map_err(failed);
        // All threads see it, as nobody reads it.
        let _ = shared.stop.write(1);
        result
    })
}

/// Takes as many descriptors as there may be: every client has several for each of its CPUs.
fn raise_descriptors() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

fn accept_all<'scope, 'a: 'scope>(
    listener: &Listener,
    shared: &'a Shared,
    signals: &StopSignals,
    scope: &'scope Scope<'scope, 'a>,
) -> io::Result<()> {
    let mut status = Status::on_terminal();
    let interval = PollTimeout::try_from(status::INTERVAL).unwrap_or(PollTimeout::MAX);
    loop {
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        let timeout = if status.is_some() { interval } else { PollTimeout::NONE };
        let polled = poll(&mut fds, timeout);
        if let Some(status) = &mut status {
            status.update(shared.served());
        }
        match polled {
            Ok(_) => {}
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        if is_ready(&fds[0]) {
            return Ok(());
        }
        match listener.accept() {
            Ok(Some((stream, peer))) => admit(shared, stream, peer, scope),
            Ok(None) => {}
            Err(error) => {
                shared.log.warn(&one_line(&error));
                thread::sleep(EXHAUSTED);
            }
        }
    }
}

fn admit<'scope, 'a: 'scope>(
    shared: &'a Shared,
    stream: Stream,
    peer: Peer,
    scope: &'scope Scope<'scope, 'a>,
) {
    if !shared.settings.access.allows(&peer) {
        shared.log.warn(&format!("{peer} was sent away: it is not among those allowed"));
        return;
    }
    let before = shared.clients.fetch_add(1, Ordering::Relaxed);
    let leave = Leave(shared);
    let limit = shared.limits.clients.unwrap_or(usize::MAX);
    if before >= limit.saturating_add(MAX_REFUSED) {
        shared.log.warn(&format!("{peer} was sent away: too many clients"));
        return;
    }
    let is_one_too_many = before >= limit;
    let work = move || {
        let _leave = leave;
        serve(shared, stream, peer, is_one_too_many);
    };
    let thread = thread::Builder::new().name(format!("client {peer}")).stack_size(STACK);
    if let Err(error) = thread.spawn_scoped(scope, work) {
        shared.log.warn(&format!("{peer} was sent away: no thread for it: {error}"));
    }
}

/// One client less, whatever ends it.
struct Leave<'a>(&'a Shared);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(shared: &Shared, stream: Stream, peer: Peer, is_one_too_many: bool) {
    // One that is not TCP has its own ways to notice.
    let _ = tcp::set_peer_timeout(&stream, shared.settings.peer_timeout);
    let mut label = peer.resolved_label();
    if let Peer::Unix(_) = peer {
        // All connections of a process have the same name.
        label.push_str(&format!(".{}", shared.connections.fetch_add(1, Ordering::Relaxed)));
    }
    shared.log.say(&format!("Connected with {label}"));
    match start(shared, stream, peer, &label, is_one_too_many) {
        Ok(outcome) => {
            shared.lost.fetch_add(outcome.lost_bytes, Ordering::Relaxed);
            tell(&shared.log, &label, &outcome);
        }
        Err(error) => shared.log.warn(&format!("{label}: {error}")),
    }
}

fn start(
    shared: &Shared,
    stream: Stream,
    peer: Peer,
    label: &str,
    is_one_too_many: bool,
) -> Result<Outcome, Error> {
    let settings = &shared.settings;
    let output =
        Output::open_plain(&settings.directory.join(format!("{}.{label}.dat", settings.base)))?;
    let failed = |error: ClientError| Error::failure("cannot serve it").because(error);
    let mut config = config(settings)?;
    if !is_one_too_many {
        config.timeouts.step = settings.peer_timeout;
    }
    let client = Client::new(shared, stream, peer, config, output).map_err(failed)?;
    Ok(if is_one_too_many {
        client.send_away(RefuseCode::BUSY, "the listener has as many clients as it may have")
    } else {
        client.run()
    })
}

fn config(settings: &Settings) -> Result<ReceiverConfig, Error> {
    let no_numbers = |error| Error::failure("no random numbers").because(error);
    let key = settings.key.as_ref().map(|key| {
        let key = Arc::clone(key);
        let prove = Arc::new(move |role: &[u8], one: &_, other: &_| key.proof(role, one, other));
        Ok::<_, Error>(SessionKey { prove, nonce: nonce().map_err(no_numbers)? })
    });
    Ok(ReceiverConfig {
        extensions: Extensions::ALL,
        key: key.transpose()?,
        ..ReceiverConfig::default()
    })
}

/// What became of a client, in a line.
fn tell(log: &Log, label: &str, outcome: &Outcome) {
    let mut line = match &outcome.path {
        Some(path) => {
            let (path, bytes) = (path.display(), outcome.bytes);
            format!("{label}: {bytes} bytes of trace data in {path}")
        }
        None => format!("{label}: nothing to keep"),
    };
    match (outcome.lost_bytes, outcome.lost_datagrams) {
        (0, 0) if outcome.is_accounted || outcome.path.is_none() => {}
        (0, 0) => line.push_str("; datagrams that were lost on the way cannot be known"),
        (bytes, 0) => line.push_str(&format!("; {bytes} bytes lost on the way")),
        (bytes, datagrams) => {
            line.push_str(&format!("; {bytes} bytes in {datagrams} datagrams lost on the way"));
        }
    }
    if outcome.strangers > 0 {
        line.push_str(&format!("; {} connections of others sent away", outcome.strangers));
    }
    match &outcome.error {
        None => log.say(&line),
        Some(error) => log.warn(&format!("{line}; ended early: {}", one_line(error))),
    }
}
