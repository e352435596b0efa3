//! Plain TCP.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Backlog, getpeername, getsockname, listen, setsockopt, sockopt};

use crate::{Deadline, Error, Stream, socket, sys};

/// After how long a peer that answers nothing at all is given up.
///
/// A peer whose kernel answers, but which takes no data for as long, is given up too.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(60);

const CONNECTING: &str = "connecting to";

/// Connects to `host`, trying each address the name has.
///
/// # Errors
///
/// [`Error::Io`] with the last address's answer, or [`Error::TimedOut`].
pub fn connect(host: &str, port: u16, deadline: Deadline) -> Result<Stream, Error> {
    let peer = text(host, port);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in resolve(host, port, CONNECTING, deadline)? {
        let attempt = match deadline.remaining() {
            Some(Duration::ZERO) => return Err(Error::TimedOut { step: CONNECTING, peer }),
            Some(left) => TcpStream::connect_timeout(&address, left),
            None => TcpStream::connect(address),
        };
        match attempt {
            Ok(socket) => return stream(socket, peer),
            Err(e) if e.kind() == io::ErrorKind::TimedOut && deadline.has_passed() => {
                return Err(Error::TimedOut { step: CONNECTING, peer });
            }
            Err(e) => last = e,
        }
    }
    Err(Error::Io { step: CONNECTING, peer, source: last })
}

/// Changes after how long a silent peer is given up, whether data is on its way to it or nothing is sent at all.
///
/// # Errors
///
/// [`Error::Io`] when the stream is not TCP.
pub fn set_peer_timeout(stream: &Stream, timeout: Duration) -> Result<(), Error> {
    give_up_after(stream, timeout).map_err(|errno| Error::Io {
        step: "setting a time limit for",
        peer: stream.peer().to_owned(),
        source: errno.into(),
    })
}

/// Has what comes next be acknowledged at once: a peer that sends in pieces waits for it, 40 ms each time. To be called
/// before every wait, as the kernel forgets it with what is sent. Does nothing where the stream is not TCP.
pub fn acknowledge_at_once(stream: &Stream) {
    // Without it all is the same, only slower.
    let _ = sys::set_quick_ack(stream.as_fd());
}

/// The other end's address, which data ports are on too; `None` when the stream is not TCP or has lost its peer.
#[must_use]
pub fn peer_address(stream: &Stream) -> Option<SocketAddr> {
    let peer = getpeername(stream.as_fd().as_raw_fd()).ok()?;
    socket::internet_address(&peer)
}

/// The address at this end of a stream, if it is TCP.
#[must_use]
pub fn local_address(stream: &Stream) -> Option<SocketAddr> {
    let own = getsockname(stream.as_fd().as_raw_fd()).ok()?;
    socket::internet_address(&own)
}

/// A listening TCP socket. Its port is free again as soon as it is closed.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on the first address of `host` that can be had, IPv4 before IPv6; port 0 takes a free one.
    ///
    /// `0.0.0.0` is every IPv4 address of this machine; `::` every address, IPv4 too where the system's setting
    /// `net.ipv6.bindv6only` is off.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address.
    pub fn bind(host: &str, port: u16) -> Result<Self, Error> {
        const LISTENING: &str = "listening on";
        let mut addresses = resolve(host, port, LISTENING, Deadline::NEVER)?;
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let open = || {
            // It also sets SO_REUSEADDR: connections that are still ending do not hold the port.
            let socket = TcpListener::bind(addresses.as_slice())?;
            // The standard library's queue holds 128: more at once would each wait for a second try.
            listen(&socket, Backlog::MAXCONN)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        open().map_err(|source| Error::Io { step: LISTENING, peer: text(host, port), source })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next waiting connection, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address.
    pub fn accept(&self) -> Result<Option<(Stream, SocketAddr)>, Error> {
        match self.socket.accept() {
            Ok((socket, from)) => Ok(Some((stream(socket, from.to_string())?, from))),
            Err(e) if socket::nobody_waits(&e) => Ok(None),
            Err(source) => {
                Err(Error::Io { step: "accepting on", peer: self.address.to_string(), source })
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn stream(socket: TcpStream, peer: String) -> Result<Stream, Error> {
    let prepare = || {
        // Control messages are small and answered one by one: waiting to fill a segment would only add latency.
        socket.set_nodelay(true)?;
        give_up_after(&socket, PEER_TIMEOUT)?;
        io::Result::Ok(())
    };
    match prepare() {
        Ok(()) => Stream::new(socket.into(), peer),
        Err(source) => Err(Error::Io { step: "preparing", peer, source }),
    }
}

/// Unanswered data is covered by the user time-out, silence by probes.
fn give_up_after(socket: &impl AsFd, timeout: Duration) -> nix::Result<()> {
    const PROBES: u32 = 3;
    let ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    // One part of the time before the first probe, one after each.
    let step = (ms / 1000 / (PROBES + 1)).max(1);
    setsockopt(socket, sockopt::TcpUserTimeout, &ms)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &step)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &step)?;
    setsockopt(socket, sockopt::TcpKeepCount, &PROBES)?;
    setsockopt(socket, sockopt::KeepAlive, &true)
}

/// All addresses of a name. A name service that does not answer is left behind at the deadline.
pub(crate) fn resolve(
    host: &str,
    port: u16,
    step: &'static str,
    deadline: Deadline,
) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let failed = |source| Error::Io { step, peer: text(host, port), source };
    let (answer, answered) = mpsc::sync_channel(1);
    let name = host.to_owned();
    thread::Builder::new()
        .name("resolve".to_owned())
        .spawn(move || {
            let addresses = (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
            // Whoever asked may have given up.
            let _ = answer.send(addresses);
        })
        .map_err(failed)?;
    let addresses = match deadline.remaining() {
        Some(left) => answered.recv_timeout(left).ok(),
        None => answered.recv().ok(),
    };
    match addresses {
        Some(addresses) => addresses.map_err(failed),
        None => Err(Error::TimedOut { step, peer: text(host, port) }),
    }
}

fn text(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
