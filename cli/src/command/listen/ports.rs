//! Ports for the data of a recorder, on the same way that its control connection came.

use std::net::SocketAddr;

use thiserror::Error;
use trace_transport::{Address, Listener, Stream, tcp, udp};

/// Bytes of datagrams that the kernel is asked to hold for one CPU.
const DATAGRAM_BUFFER: usize = 32 << 20;

/// Ports that are tried where there is no free one to be asked for.
const NUMBERS: std::ops::RangeInclusive<u16> = 1500..=6000;

/// Whether every user may have such buffers here.
pub(super) fn may_have_large_buffers() -> bool {
    let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    most.trim().parse::<usize>().is_ok_and(|most| most >= DATAGRAM_BUFFER)
}

/// No port can be had.
#[derive(Debug, Error)]
pub(super) enum PortsError {
    /// The system refuses.
    #[error("no port for its data")]
    Bind(#[from] trace_transport::Error),
    /// Datagrams go between Internet addresses only.
    #[error("datagrams do not come this way")]
    NoDatagrams,
    /// All are taken.
    #[error("all ports for data are taken")]
    Taken,
}

/// Where ports are opened.
#[derive(Debug)]
pub(super) enum Ports {
    Internet(SocketAddr),
    /// Numbers beside an address, the next one to try.
    Numbered {
        address: Address,
        next: u16,
    },
}

impl Ports {
    /// Ports for a recorder whose control connection came to `listening`.
    pub(super) fn beside(control: &Stream, listening: &Address) -> Result<Self, PortsError> {
        Ok(match tcp::local_address(control) {
            Some(mut address) => {
                address.set_port(0);
                Self::Internet(address)
            }
            None => Self::Numbered { address: listening.clone(), next: *NUMBERS.start() },
        })
    }

    /// A port for a connection.
    pub(super) fn connection(&mut self) -> Result<(Listener, u16), PortsError> {
        match self {
            Self::Internet(address) => {
                let host = address.ip().to_string();
                let listener = Listener::bind(&Address::Tcp { host, port: 0 })?;
                let Address::Tcp { port, .. } = *listener.address() else {
                    return Err(PortsError::Taken);
                };
                Ok((listener, port))
            }
            Self::Numbered { address, next } => {
                while NUMBERS.contains(next) {
                    let port = *next;
                    *next += 1;
                    if let Ok(listener) = Listener::bind(&numbered(address, port)) {
                        return Ok((listener, port));
                    }
                }
                Err(PortsError::Taken)
            }
        }
    }

    /// A port for datagrams, which may be handed over together where they are numbered.
    pub(super) fn datagrams(
        &mut self,
        is_numbered: bool,
    ) -> Result<(udp::Receiver, u16), PortsError> {
        let Self::Internet(address) = self else { return Err(PortsError::NoDatagrams) };
        let socket = udp::Receiver::bind(*address, DATAGRAM_BUFFER)?;
        if is_numbered {
            // Older kernels hand them over one by one.
            let _ = socket.coalesce();
        }
        let port = socket.address().port();
        Ok((socket, port))
    }
}

fn numbered(address: &Address, port: u16) -> Address {
    let port = u32::from(port);
    match address {
        Address::Vsock { cid, .. } => Address::Vsock { cid: *cid, port },
        Address::Unix(path) | Address::Path(path) | Address::Hybrid { path, .. } => {
            Address::Hybrid { path: path.clone(), port }
        }
        other => other.clone(),
    }
}
