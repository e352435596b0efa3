//! Accepts hosts, each in a thread of its own; one at a time is served.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_transport::session::SessionKey;
use trace_transport::{Key, KeyError, Listener, Peer, Stream, nonce, tcp};

use super::serve::Session;
use super::{AgentNews, AgentOptions, Log};
use crate::client::ClientError;

/// Hosts more than the one that is served that are told so; further ones are just sent away.
const MAX_WAITING: usize = 16;
/// How long a new host waits for one that has all and is about to leave.
const LEAVING: Duration = Duration::from_secs(10);
/// How long the system is given when it has no more descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// After so long without a word a machine that is gone counts as gone.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves hosts that connect, until `stop` becomes readable; what is recorded then is aborted, and all put back.
///
/// # Errors
///
/// Waiting fails.
pub fn serve(
    listener: &Listener,
    options: &AgentOptions,
    stop: BorrowedFd<'_>,
    log: &Log,
) -> Result<(), ClientError> {
    let place = Place::default();
    let connected = AtomicUsize::new(0);
    thread::scope(|scope| {
        loop {
            let mut fds = [
                PollFd::new(stop, PollFlags::POLLIN),
                PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(nix::Error::EINTR) => continue,
                Err(errno) => {
                    let action = "waiting for hosts";
                    return Err(ClientError::Io { action, source: errno.into() });
                }
            }
            if fds[0].revents().is_some_and(|events| !events.is_empty()) {
                return Ok(());
            }
            let (stream, peer) = match listener.accept() {
                Ok(Some(accepted)) => accepted,
                Ok(None) => continue,
                Err(_) => {
                    thread::sleep(EXHAUSTED);
                    continue;
                }
            };
            let away = |reason: &str| {
                log(AgentNews::SentAway { peer, reason: reason.to_owned() });
            };
            if !options.access.allows(&peer) {
                away("it is not among those allowed");
                continue;
            }
            if connected.load(Ordering::Relaxed) > MAX_WAITING {
                away("too many connections");
                continue;
            }
            connected.fetch_add(1, Ordering::Relaxed);
            let leave = Leave(&connected);
            let place = &place;
            let spawned = thread::Builder::new().name(format!("host {peer}")).spawn_scoped(
                scope,
                move || {
                    let _leave = leave;
                    attend(stream, peer, listener, options, stop, log, place);
                },
            );
            if let Err(error) = spawned {
                away(&format!("no thread for it: {error}"));
            }
        }
    })
}

/// One connection less, whatever ends it.
struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn attend(
    stream: Stream,
    peer: Peer,
    listener: &Listener,
    options: &AgentOptions,
    stop: BorrowedFd<'_>,
    log: &Log,
    place: &Place,
) {
    // One that is not TCP has its own ways to notice.
    let _ = tcp::set_peer_timeout(&stream, PEER_TIMEOUT);
    log(AgentNews::Connected { peer });
    // Left only when all of the session is gone.
    let turn = Turn { place, peer };
    let mut session = match Session::new(stream, peer, listener.address(), options, log) {
        Ok(session) => session,
        Err(error) => {
            return log(AgentNews::Broken { peer, reason: error.to_string() });
        }
    };
    let result = session.run(stop, &turn);
    drop(session);
    if let Err(reason) = result {
        log(AgentNews::Broken { peer, reason });
    }
}

/// The one place there is to be served, and who has it.
#[derive(Default)]
struct Place {
    taken: Mutex<Option<Taken>>,
    freed: Condvar,
}

#[derive(Clone, Copy)]
struct Taken {
    peer: Peer,
    /// All was sent; it will be gone soon.
    is_leaving: bool,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Option<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's way to the place.
pub(super) struct Turn<'a> {
    place: &'a Place,
    peer: Peer,
}

impl Turn<'_> {
    /// Takes the place, or says who has it. One who is about to leave is waited for.
    pub(super) fn take(&self) -> Result<(), Peer> {
        let leaves = |taken: &mut Option<Taken>| taken.is_some_and(|taken| taken.is_leaving);
        let waited = self.place.freed.wait_timeout_while(self.place.lock(), LEAVING, leaves);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match *taken {
            Some(other) => Err(other.peer),
            None => {
                *taken = Some(Taken { peer: self.peer, is_leaving: false });
                Ok(())
            }
        }
    }

    /// Says that the place is free soon.
    pub(super) fn is_leaving(&self) {
        if let Some(taken) = self.place.lock().as_mut().filter(|taken| taken.peer == self.peer) {
            taken.is_leaving = true;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.place.lock();
        if taken.is_some_and(|taken| taken.peer == self.peer) {
            *taken = None;
            self.place.freed.notify_all();
        }
    }
}

/// The key of this session, with a nonce of its own.
pub(super) fn session_key(options: &AgentOptions) -> Result<Option<SessionKey>, KeyError> {
    let Some(key) = &options.key else { return Ok(None) };
    session_key_of(key).map(Some)
}

/// A key for one session.
pub(crate) fn session_key_of(key: &Arc<Key>) -> Result<SessionKey, KeyError> {
    let key = Arc::clone(key);
    let prove = Arc::new(move |role: &[u8], host: &_, agent: &_| key.proof(role, host, agent));
    Ok(SessionKey { prove, nonce: nonce()? })
}
