//! Who may connect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::{Peer, vsock};

/// Who may connect: everyone while there is no rule, else only those whom a rule names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    rules: Vec<Rule>,
}

/// One line of an allow-list: `ADDRESS/PREFIX`, `ADDRESS`, `vsock:CID` or `uid:USER`.
///
/// IPv4 addresses inside IPv6 (`::ffff:192.0.2.1`) count as the IPv4 addresses they are, in rules and in peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// A network.
    V4 {
        /// Its address.
        network: Ipv4Addr,
        /// How many bits of it count, 0 to 32.
        prefix: u8,
    },
    /// A network.
    V6 {
        /// Its address.
        network: Ipv6Addr,
        /// How many bits of it count, 0 to 128.
        prefix: u8,
    },
    /// A virtual machine.
    Cid(u32),
    /// A user of this machine, over a UNIX socket.
    User(u32),
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// It is none of the forms a rule has.
    #[error("{text:?} is not ADDRESS/PREFIX, vsock:CID or uid:USER")]
    Form {
        /// The rule.
        text: String,
    },
    /// More bits than an address has.
    #[error("{text:?}: the prefix is not a number up to {max}")]
    Prefix {
        /// The rule.
        text: String,
        /// The bits of such an address.
        max: u8,
    },
    /// The address goes on where the network has ended, so one of the two is wrong.
    #[error("{text:?}: the address has bits behind its prefix; the network is {network}")]
    HostBits {
        /// The rule.
        text: String,
        /// The rule without those bits.
        network: Rule,
    },
}

impl Access {
    /// Adds a rule.
    pub fn allow(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Whether everyone may, as there is no rule.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether this peer may connect.
    #[must_use]
    pub fn allows(&self, peer: &Peer) -> bool {
        self.is_open() || self.rules.iter().any(|rule| rule.covers(peer))
    }
}

impl Extend<Rule> for Access {
    fn extend<I: IntoIterator<Item = Rule>>(&mut self, rules: I) {
        self.rules.extend(rules);
    }
}

impl FromIterator<Rule> for Access {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self { rules: rules.into_iter().collect() }
    }
}

impl Rule {
    fn covers(&self, peer: &Peer) -> bool {
        match (self, peer) {
            (Self::V4 { network, prefix }, Peer::Tcp(from)) => match from.ip().to_canonical() {
                IpAddr::V4(ip) => first_bits_v4(ip, *prefix) == *network,
                IpAddr::V6(_) => false,
            },
            (Self::V6 { network, prefix }, Peer::Tcp(from)) => match from.ip().to_canonical() {
                IpAddr::V6(ip) => first_bits_v6(ip, *prefix) == *network,
                IpAddr::V4(_) => false,
            },
            (Self::Cid(allowed), Peer::Vsock { cid, .. }) => allowed == cid,
            (Self::User(allowed), Peer::Unix(process)) => *allowed == process.uid,
            _ => false,
        }
    }

    /// The rule without bits behind its prefix.
    fn network(self) -> Self {
        match self {
            Self::V4 { network, prefix } => {
                Self::V4 { network: first_bits_v4(network, prefix), prefix }
            }
            Self::V6 { network, prefix } => {
                Self::V6 { network: first_bits_v6(network, prefix), prefix }
            }
            other => other,
        }
    }
}

impl FromStr for Rule {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        let form = || AccessError::Form { text: text.to_owned() };
        if let Some(cid) = text.strip_prefix("vsock:") {
            let cid = number(cid).filter(|cid| *cid != vsock::CID_ANY);
            return cid.map(Self::Cid).ok_or_else(form);
        }
        if let Some(user) = text.strip_prefix("uid:") {
            return number(user).map(Self::User).ok_or_else(form);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let bits = |max: u8| match prefix {
            None => Ok(max),
            Some(prefix) => number(prefix)
                .and_then(|bits| u8::try_from(bits).ok())
                .filter(|bits| *bits <= max)
                .ok_or_else(|| AccessError::Prefix { text: text.to_owned(), max }),
        };
        let rule = match address.parse().map_err(|_| form())? {
            IpAddr::V4(network) => Self::V4 { network, prefix: bits(32)? },
            IpAddr::V6(network) => match (network.to_ipv4_mapped(), bits(128)?) {
                (Some(network), prefix @ 96..) => Self::V4 { network, prefix: prefix - 96 },
                (_, prefix) => Self::V6 { network, prefix },
            },
        };
        let network = rule.network();
        if network == rule {
            Ok(rule)
        } else {
            Err(AccessError::HostBits { text: text.to_owned(), network })
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4 { network, prefix } => write!(f, "{network}/{prefix}"),
            Self::V6 { network, prefix } => write!(f, "{network}/{prefix}"),
            Self::Cid(cid) => write!(f, "vsock:{cid}"),
            Self::User(uid) => write!(f, "uid:{uid}"),
        }
    }
}

/// A plain decimal number; a sign, which Rust would take, is none.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn first_bits_v4(ip: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    // A shift by all bits is none in Rust, hence the check.
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
    Ipv4Addr::from_bits(ip.to_bits() & mask)
}

fn first_bits_v6(ip: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
    Ipv6Addr::from_bits(ip.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::unix::PeerProcess;

    fn tcp(ip: &str) -> Peer {
        Peer::tcp((ip.parse::<IpAddr>().unwrap(), 5000).into())
    }

    fn access(rules: &[&str]) -> Access {
        rules.iter().map(|rule| rule.parse::<Rule>().unwrap()).collect()
    }

    #[test]
    fn without_a_rule_everyone_may() {
        assert!(Access::default().allows(&tcp("192.0.2.1")));
    }

    #[test]
    fn a_network_covers_its_addresses_and_no_others() {
        let access = access(&["10.1.0.0/16", "192.0.2.7", "2001:db8::/33"]);
        for inside in
            ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8:7fff::"]
        {
            assert!(access.allows(&tcp(inside)), "{inside}");
        }
        for outside in ["10.2.0.0", "10.0.255.255", "192.0.2.8", "2001:db8:8000::", "::10.1.0.1"] {
            assert!(!access.allows(&tcp(outside)), "{outside}");
        }
        assert!(!access.allows(&Peer::Vsock { cid: 3, port: 1 }));
        assert!(!access.allows(&Peer::Unix(PeerProcess { pid: 1, uid: 0, gid: 0 })));
    }

    #[test]
    fn all_of_one_kind_is_not_all_of_the_other() {
        assert!(access(&["0.0.0.0/0"]).allows(&tcp("255.255.255.255")));
        assert!(!access(&["0.0.0.0/0"]).allows(&tcp("2001:db8::1")));
        assert!(access(&["::/0"]).allows(&tcp("2001:db8::1")));
        assert!(!access(&["::/0"]).allows(&tcp("192.0.2.1")));
        assert!(access(&["::ffff:192.0.2.0/120"]).allows(&tcp("192.0.2.1")));
    }

    #[test]
    fn machines_and_users_are_named() {
        let access = access(&["vsock:3", "uid:1000"]);
        assert!(access.allows(&Peer::Vsock { cid: 3, port: 1 }));
        assert!(!access.allows(&Peer::Vsock { cid: 4, port: 1 }));
        assert!(access.allows(&Peer::Unix(PeerProcess { pid: 1, uid: 1000, gid: 0 })));
        assert!(!access.allows(&Peer::Unix(PeerProcess { pid: 1, uid: 0, gid: 1000 })));
        assert!(!access.allows(&tcp("127.0.0.1")));
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for (text, message) in [
            ("example.net", "\"example.net\" is not ADDRESS/PREFIX, vsock:CID or uid:USER"),
            ("", "\"\" is not ADDRESS/PREFIX, vsock:CID or uid:USER"),
            ("vsock:any", "\"vsock:any\" is not ADDRESS/PREFIX, vsock:CID or uid:USER"),
            ("uid:-1", "\"uid:-1\" is not ADDRESS/PREFIX, vsock:CID or uid:USER"),
            ("10.0.0.0/33", "\"10.0.0.0/33\": the prefix is not a number up to 32"),
            ("::/+1", "\"::/+1\": the prefix is not a number up to 128"),
            (
                "10.1.2.3/8",
                "\"10.1.2.3/8\": the address has bits behind its prefix; the network is 10.0.0.0/8",
            ),
        ] {
            assert_eq!(text.parse::<Rule>().unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_rule_or_an_error(text in "[0-9a-f:./]{0,24}|.*") {
            if let Ok(rule) = text.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
            }
        }

        #[test]
        fn a_network_covers_exactly_the_addresses_with_its_first_bits(
            network: u32, address: u32, prefix in 0_u8..=32,
        ) {
            let first = |bits: u32| (0..prefix).map(|bit| bits >> (31 - bit) & 1).collect::<Vec<_>>();
            let rule = Rule::V4 { network: network.into(), prefix }.network();
            let peer = Peer::tcp((Ipv4Addr::from(address), 1).into());
            prop_assert_eq!(rule.covers(&peer), first(network) == first(address));
        }
    }
}
