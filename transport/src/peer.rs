//! Who is at the other end of a connection, as the kernel says.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::sys;
use crate::unix::PeerProcess;

/// Who is at the other end of an accepted connection, as the kernel says: nothing of it comes from the peer's own words.
///
/// Prints as `127.0.0.1:5000`, `[::1]:5000`, `V3:1024` (vsock) or `process 17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// An Internet address. An IPv4 address is one, also where an IPv6 socket took it.
    Tcp(SocketAddr),
    /// A virtual machine or its host.
    Vsock {
        /// Its context identifier.
        cid: u32,
        /// The port it came from.
        port: u32,
    },
    /// A process on this machine; behind hybrid vsock the virtual machine monitor.
    Unix(PeerProcess),
}

impl Peer {
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            // Built anew only here: an IPv6 address would lose its scope.
            ip @ IpAddr::V4(_) => Self::Tcp(SocketAddr::new(ip, address.port())),
            IpAddr::V6(_) => Self::Tcp(address),
        }
    }

    /// What files of this peer are named after, with numbers only: `127.0.0.1:5000`, `::1:5000`, `V3:1024`, `unix:17`.
    ///
    /// It has no `/` and does not start with a dot. Connections of one process over a UNIX socket share it.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Tcp(address) => label(&address.ip().to_string(), address.port().into()),
            Self::Vsock { cid, port } => label(&format!("V{cid}"), *port),
            Self::Unix(process) => label("unix", process.pid.cast_unsigned()),
        }
    }

    /// As [`label`](Self::label), with the name the address has, as trace-cmd names files: `localhost:5000`.
    ///
    /// Asks the name service, which can take seconds, and whose answer may be the peer's: a name with characters
    /// outside `a-z A-Z 0-9 . - _`, or that starts with none of the letters and digits, is not used.
    #[must_use]
    pub fn resolved_label(&self) -> String {
        if let Self::Tcp(address) = self
            && let Some(name) = sys::host_name(address)
            && is_plain(&name)
        {
            return label(&name, address.port().into());
        }
        self.label()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Vsock { cid, port } => write!(f, "V{cid}:{port}"),
            Self::Unix(process) => write!(f, "process {}", process.pid),
        }
    }
}

fn label(host: &str, port: u32) -> String {
    format!("{host}:{port}")
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Peer {
        Peer::tcp(address.parse().unwrap())
    }

    #[test]
    fn files_are_named_after_host_and_port() {
        assert_eq!(tcp("192.0.2.7:4711").label(), "192.0.2.7:4711");
        assert_eq!(tcp("[2001:db8::7]:4711").label(), "2001:db8::7:4711");
        assert_eq!(tcp("[::ffff:192.0.2.7]:4711").label(), "192.0.2.7:4711");
        assert_eq!(Peer::Vsock { cid: 3, port: 1024 }.label(), "V3:1024");
        assert_eq!(Peer::Unix(PeerProcess { pid: 17, uid: 0, gid: 0 }).label(), "unix:17");
    }

    #[test]
    fn an_address_without_a_name_stays_a_number() {
        // TEST-NET-1 has no names anywhere.
        assert_eq!(tcp("192.0.2.7:4711").resolved_label(), "192.0.2.7:4711");
    }

    #[test]
    fn a_name_that_could_be_a_path_is_not_used() {
        for name in ["../../etc", "a/b", "", ".hidden", "a b", "a\nb", "-o"] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert!(is_plain("guest-1.example_net"));
    }
}
