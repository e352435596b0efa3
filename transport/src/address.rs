//! Where the other end is, as text.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Deadline, Error, Stream, hybrid, tcp, unix, virtio_serial, vsock};

const LOCALHOST: &str = "localhost";

/// Where the other end is.
///
/// | text | meaning |
/// | --- | --- |
/// | `HOST:PORT`, `[V6]:PORT` | TCP |
/// | `PORT` | TCP on `localhost` |
/// | `vsock:CID:PORT` | a virtual machine (its number), `2` or `host`, `1` or `local`, `any` to listen |
/// | `unix:PATH` | a UNIX socket |
/// | `unix:PATH:PORT` | hybrid vsock: a guest's port behind a UNIX socket of its virtual machine monitor |
/// | `/PATH`, `./PATH` | a virtio-serial port or a FIFO |
///
/// ```
/// use trace_transport::Address;
///
/// let address: Address = "[::1]:1234".parse()?;
/// assert_eq!(address, Address::Tcp { host: "::1".to_owned(), port: 1234 });
/// assert_eq!(address.to_string(), "[::1]:1234");
/// # Ok::<(), trace_transport::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Its port; 0 listens on a free one.
        port: u16,
    },
    /// A port of a virtual machine or of its host.
    Vsock {
        /// The machine's context identifier.
        cid: u32,
        /// Its port.
        port: u32,
    },
    /// A UNIX socket.
    Unix(PathBuf),
    /// A guest's vsock port behind a UNIX socket.
    Hybrid {
        /// The socket of the virtual machine monitor.
        path: PathBuf,
        /// The vsock port.
        port: u32,
    },
    /// A virtio-serial port or a FIFO.
    Path(PathBuf),
}

/// Why a text is no address, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address {text:?}: {problem} at character {}", character(.text, *.offset))]
pub struct AddressError {
    /// The whole text.
    pub text: String,
    /// The byte of it where the problem is.
    pub offset: usize,
    /// What is wrong there.
    pub problem: AddressProblem,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressProblem {
    /// Something that must be there is not.
    #[error("no {0}")]
    Missing(&'static str),
    /// A part that is no number, or too large.
    #[error("{what} is not a number up to {max}")]
    Number {
        /// Which part.
        what: &'static str,
        /// The largest it may be.
        max: u32,
    },
    /// An IPv6 address whose end cannot be told from the port.
    #[error("an IPv6 address stands in brackets, as in [::1]:1234, not")]
    Brackets,
    /// What stands in brackets is no IPv6 address.
    #[error("no IPv6 address")]
    NotV6,
    /// A character that no host name has.
    #[error("{0:?} is in no host name,")]
    Host(char),
    /// A path cannot have it.
    #[error("a NUL in a path")]
    Nul,
}

impl Address {
    /// Connects to it. Of a name with several addresses each is tried.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] at the deadline, [`Error::Io`] with what the system answered, [`Error::Unsupported`] where
    /// the kernel has no vsock, [`Error::Handshake`] from a virtual machine monitor, [`Error::Kind`] for a path that is
    /// neither a port nor a FIFO.
    pub fn connect(&self, deadline: Deadline) -> Result<Stream, Error> {
        match self {
            Self::Tcp { host, port } => tcp::connect(host, *port, deadline),
            Self::Vsock { cid, port } => vsock::connect(*cid, *port, deadline),
            Self::Unix(path) => unix::connect_before(path, deadline),
            Self::Hybrid { path, port } => hybrid::connect(path, *port, deadline),
            Self::Path(path) => virtio_serial::open_to_write(path, deadline),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let place = Place { text };
        if text.is_empty() {
            return Err(place.problem(text, AddressProblem::Missing("address")));
        }
        if let Some(rest) = text.strip_prefix("vsock:") {
            return place.vsock(rest);
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            return place.unix(rest);
        }
        if text.starts_with(['/', '.']) {
            return Ok(Self::Path(place.path(text)?));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Tcp { host: LOCALHOST.to_owned(), port: place.tcp_port(text)? });
        }
        place.tcp(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Vsock { cid: vsock::CID_ANY, port } => write!(f, "vsock:any:{port}"),
            Self::Vsock { cid, port } => write!(f, "vsock:{cid}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Hybrid { path, port } => write!(f, "unix:{}:{port}", path.display()),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The text that is parsed, so that an error can say where in it a part stands.
struct Place<'a> {
    text: &'a str,
}

impl<'a> Place<'a> {
    /// An error at the start of `part`, a slice of the text.
    fn problem(&self, part: &str, problem: AddressProblem) -> AddressError {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        AddressError { text: self.text.to_owned(), offset, problem }
    }

    fn vsock(&self, rest: &str) -> Result<Address, AddressError> {
        let Some((cid_text, port_text)) = rest.split_once(':') else {
            return Err(self.problem(end_of(rest), AddressProblem::Missing("port")));
        };
        let cid = match cid_text {
            "any" => vsock::CID_ANY,
            "local" => vsock::CID_LOCAL,
            "host" => vsock::CID_HOST,
            _ => self.number(cid_text, "context identifier")?,
        };
        Ok(Address::Vsock { cid, port: self.number(port_text, "port")? })
    }

    fn unix(&self, rest: &str) -> Result<Address, AddressError> {
        match rest.rsplit_once(':') {
            Some((path, port))
                if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Ok(Address::Hybrid { path: self.path(path)?, port: self.number(port, "port")? })
            }
            _ => Ok(Address::Unix(self.path(rest)?)),
        }
    }

    fn path(&self, part: &str) -> Result<PathBuf, AddressError> {
        if part.is_empty() {
            return Err(self.problem(part, AddressProblem::Missing("path")));
        }
        match part.split_once('\0') {
            Some((before, _)) => Err(self.problem(end_of(before), AddressProblem::Nul)),
            None => Ok(part.into()),
        }
    }

    fn tcp(&self, text: &'a str) -> Result<Address, AddressError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let Some((host, rest)) = bracketed.split_once(']') else {
                    return Err(self.problem(end_of(text), AddressProblem::Missing("\"]\"")));
                };
                let (address, _) = host.split_once('%').unwrap_or((host, ""));
                if address.parse::<Ipv6Addr>().is_err() {
                    return Err(self.problem(host, AddressProblem::NotV6));
                }
                (host, rest.strip_prefix(':').ok_or(rest))
            }
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Ok(port)),
                None => (text, Err(end_of(text))),
            },
        };
        let bracketed = text.starts_with('[');
        if host.is_empty() {
            return Err(self.problem(host, AddressProblem::Missing("host")));
        }
        if let (false, Some((before, _))) = (bracketed, host.split_once(':')) {
            return Err(self.problem(end_of(before), AddressProblem::Brackets));
        }
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/\\[]\"'".contains(c);
        if let Some((at, c)) = host.char_indices().find(|&(_, c)| odd(c)) {
            return Err(self.problem(host.get(at..).unwrap_or(host), AddressProblem::Host(c)));
        }
        let port = port.map_err(|place| self.problem(place, AddressProblem::Missing("port")))?;
        Ok(Address::Tcp { host: host.to_owned(), port: self.tcp_port(port)? })
    }

    fn tcp_port(&self, part: &str) -> Result<u16, AddressError> {
        let max = AddressProblem::Number { what: "port", max: u16::MAX.into() };
        let port = self.digits(part, "port")?;
        port.and_then(|port| port.try_into().ok()).ok_or_else(|| self.problem(part, max))
    }

    fn number(&self, part: &str, what: &'static str) -> Result<u32, AddressError> {
        let max = AddressProblem::Number { what, max: u32::MAX };
        self.digits(part, what)?.ok_or_else(|| self.problem(part, max))
    }

    /// `None` for what is no number; a sign, which Rust would take, is none either.
    fn digits(&self, part: &str, what: &'static str) -> Result<Option<u32>, AddressError> {
        if part.is_empty() {
            return Err(self.problem(part, AddressProblem::Missing(what)));
        }
        let plain = part.bytes().all(|byte| byte.is_ascii_digit());
        Ok(if plain { part.parse().ok() } else { None })
    }
}

/// Counted from one, as people count.
fn character(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).chars().count() + 1
}

/// The empty slice behind a text, to point at what is missing there.
fn end_of(text: &str) -> &str {
    text.get(text.len()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn each_form_is_understood() {
        for (text, address) in [
            ("example.net:1234", tcp("example.net", 1234)),
            ("192.0.2.1:0", tcp("192.0.2.1", 0)),
            ("1234", tcp("localhost", 1234)),
            ("[2001:db8::1]:65535", tcp("2001:db8::1", 65535)),
            ("[fe80::1%eth0]:1", tcp("fe80::1%eth0", 1)),
            ("vsock:3:823", Address::Vsock { cid: 3, port: 823 }),
            ("vsock:host:823", Address::Vsock { cid: 2, port: 823 }),
            ("vsock:local:823", Address::Vsock { cid: 1, port: 823 }),
            ("vsock:any:4294967295", Address::Vsock { cid: u32::MAX, port: u32::MAX }),
            ("unix:/run/t.sock", Address::Unix("/run/t.sock".into())),
            ("unix:a:b", Address::Unix("a:b".into())),
            ("unix:/run/vm.vsock:823", Address::Hybrid { path: "/run/vm.vsock".into(), port: 823 }),
            ("/dev/vport0p1", Address::Path("/dev/vport0p1".into())),
            ("./fifo:1", Address::Path("./fifo:1".into())),
        ] {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_and_where() {
        for (text, message) in [
            ("", "address \"\": no address at character 1"),
            ("host", "address \"host\": no port at character 5"),
            ("host:", "address \"host:\": no port at character 6"),
            (":80", "address \":80\": no host at character 1"),
            ("70000", "address \"70000\": port is not a number up to 65535 at character 1"),
            ("host:+1", "address \"host:+1\": port is not a number up to 65535 at character 6"),
            (
                "::1:80",
                "address \"::1:80\": an IPv6 address stands in brackets, as in [::1]:1234, not at character 1",
            ),
            ("[::1", "address \"[::1\": no \"]\" at character 5"),
            ("[::1]", "address \"[::1]\": no port at character 6"),
            ("[::1]80", "address \"[::1]80\": no port at character 6"),
            ("[host]:80", "address \"[host]:80\": no IPv6 address at character 2"),
            ("höst:", "address \"höst:\": no port at character 6"),
            ("a/b:80", "address \"a/b:80\": '/' is in no host name, at character 2"),
            ("vsock:3", "address \"vsock:3\": no port at character 8"),
            (
                "vsock:x:1",
                "address \"vsock:x:1\": context identifier is not a number up to 4294967295 at character 7",
            ),
            (
                "vsock:3:4294967296",
                "address \"vsock:3:4294967296\": port is not a number up to 4294967295 at character 9",
            ),
            (
                "vsock:3:1:2",
                "address \"vsock:3:1:2\": port is not a number up to 4294967295 at character 9",
            ),
            ("unix:", "address \"unix:\": no path at character 6"),
            ("unix::1", "address \"unix::1\": no path at character 6"),
            ("/a\0b", "address \"/a\\0b\": a NUL in a path at character 3"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err().to_string(), message, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_an_address_or_a_place_in_it(text in ".*") {
            match text.parse::<Address>() {
                Ok(address) => prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address)),
                Err(error) => prop_assert!(error.offset <= text.len()),
            }
        }

        #[test]
        fn what_is_printed_is_parsed_again(
            text in "(vsock|unix|[a-z]{1,3}|\\[[0-9a-f:]{1,6}\\]|[0-9.]{0,9})(:[a-z0-9/:]{0,4}){0,2}(:[0-9]{1,11})?",
        ) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
