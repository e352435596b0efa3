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
#[error("address {text:?}: {problem} at character {}", .offset + 1)]
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

/// The empty slice behind a text, to point at what is missing there.
fn end_of(text: &str) -> &str {
    text.get(text.len()..).unwrap_or_default()
}
