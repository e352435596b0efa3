//! Where an agent is: an address, or a name that libvirt or the network knows.

use std::fmt;
use std::net::ToSocketAddrs;

use trace_transport::Address;
use trace_transport::session::agent::PORT;
use trace_virt::libvirt::Libvirt;
use trace_virt::setup::GuestName;

use crate::error::Error;
use crate::exit_code::Exit;

/// Where an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AgentAddress {
    At(Address),
    /// A domain of libvirt with a vsock device, or else a host.
    Named(String),
}

impl AgentAddress {
    /// The address, which libvirt is asked for where there is only a name.
    ///
    /// # Errors
    /// Nobody knows the name, or libvirt does and has no CID for it.
    pub(super) fn resolve(&self) -> Result<Address, Error> {
        match self {
            Self::At(address) => Ok(address.clone()),
            Self::Named(name) => resolve(name, &Libvirt::default()),
        }
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

fn resolve(name: &str, libvirt: &Libvirt) -> Result<Address, Error> {
    let lost = |text: String| Error::new(Exit::Guest, text);
    let unknown = match GuestName::new(name) {
        Ok(domain) => match libvirt.vsock_cid(&domain) {
            Ok(Some(cid)) => return Ok(Address::Vsock { cid, port: PORT }),
            Ok(None) => {
                let text = format!("guest {name}: libvirt has no vsock CID for it");
                let hint = format!(
                    "start it; where it has no <vsock>, add one with 'virsh edit {name}', or give -A {name}@CID or HOST:PORT"
                );
                return Err(lost(text).hint(hint));
            }
            Err(error) => Error::failure("").because(error),
        },
        Err(error) => Error::failure("").because(error),
    };
    let port = u16::try_from(PORT).unwrap_or_default();
    match (name, port).to_socket_addrs() {
        Ok(_) => Ok(Address::Tcp { host: name.to_owned(), port }),
        Err(_) => {
            Err(lost(format!("guest {name}: neither libvirt nor the network knows it: {unknown}"))
                .hint("give -A NAME@CID, CID or HOST:PORT"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_libvirt_does_not_know_is_a_host() {
        let none = Libvirt::with_virsh("/nonexistent/virsh");
        assert_eq!(resolve("localhost", &none).unwrap().to_string(), "localhost:823");
        let error = resolve("no-such-guest.invalid", &none).unwrap_err().to_string();
        assert!(
            error.contains("neither") && error.contains("virsh") && error.contains("@CID"),
            "{error}"
        );
    }
}
