//! Accepts hosts, each in a thread of its own.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_transport::session::SessionKey;
use trace_transport::{Key, KeyError, Listener, Peer, Stream, nonce, tcp};

use super::places::Places;
use super::serve::Session;
use super::{AgentNews, AgentOptions, Log};
use crate::client::ClientError;

/// Hosts more than those that are served that are told so; further ones are just sent away.
const MAX_WAITING: usize = 16;
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
    let places = Places::new(options.max_sessions);
    let most = options.max_sessions.saturating_add(MAX_WAITING);
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
            if connected.load(Ordering::Relaxed) >= most {
                away("too many connections");
                continue;
            }
            connected.fetch_add(1, Ordering::Relaxed);
            let leave = Leave(&connected);
            let places = &places;
            let spawned = thread::Builder::new().name(format!("host {peer}")).spawn_scoped(
                scope,
                move || {
                    let _leave = leave;
                    attend(stream, peer, listener, options, stop, log, places);
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
    places: &Places,
) {
    // One that is not TCP has its own ways to notice.
    let _ = tcp::set_peer_timeout(&stream, PEER_TIMEOUT);
    log(AgentNews::Connected { peer });
    // Left only when all of the session is gone.
    let mut turn = places.turn(peer);
    let mut session = match Session::new(stream, peer, listener.address(), options, log) {
        Ok(session) => session,
        Err(error) => {
            return log(AgentNews::Broken { peer, reason: error.to_string() });
        }
    };
    let result = session.run(stop, &mut turn);
    drop(session);
    if let Err(reason) = result {
        log(AgentNews::Broken { peer, reason });
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
