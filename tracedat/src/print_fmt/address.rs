//! Addresses as text: pointers, symbols, network addresses, UUIDs, bytes.
use super::number;
use crate::abi::ByteOrder;
use crate::symbols::{Symbol, Symbols};

/// `%p`.
#[inline]
pub(super) fn pointer(out: &mut Vec<u8>, value: u64) {
    if value == 0 {
        out.extend_from_slice(b"(nil)");
    } else {
        number::prefixed_hex(out, value);
    }
}

/// `%pS` and `%ps`: the function that an address lies in, else the address.
pub(super) fn symbol(out: &mut Vec<u8>, value: u64, offset: bool, symbols: &Symbols) {
    if !symbols.append(value, offset, out) {
        number::prefixed_hex(out, value);
    }
}

/// The name of a function, and how far into it.
pub(super) fn found(out: &mut Vec<u8>, symbol: &Symbol<'_>, offset: bool) {
    out.extend_from_slice(symbol.name.as_bytes());
    if offset {
        out.extend_from_slice(b"+0x");
        number::hex(out, symbol.offset);
    }
}

/// Bytes as pairs of hexadecimal digits.
pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8], separator: Option<u8>) {
    for (index, &byte) in bytes.iter().enumerate() {
        if let (Some(separator), true) = (separator, index > 0) {
            out.push(separator);
        }
        number::byte(out, byte);
    }
}

/// A hardware address.
pub(super) fn mac(out: &mut Vec<u8>, mac: &[u8; 6], separator: Option<u8>, reversed: bool) {
    let mut mac = *mac;
    if reversed {
        mac.reverse();
    }
    bytes(out, &mac, separator);
}

/// An IPv4 address, each part with three digits if `padded`.
pub(super) fn ipv4(out: &mut Vec<u8>, mut parts: [u8; 4], padded: bool, reversed: bool) {
    if reversed {
        parts.reverse();
    }
    for (index, &part) in parts.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        if padded {
            number::fill(out, b'0', usize::from(part < 100) + usize::from(part < 10));
        }
        number::decimal(out, u64::from(part));
    }
}

/// An IPv6 address.
pub(super) fn ipv6(out: &mut Vec<u8>, address: &[u8; 16], colons: bool, compressed: bool) {
    if compressed {
        return compressed_ipv6(out, address);
    }
    for (index, group) in address.as_chunks::<2>().0.iter().enumerate() {
        if colons && index > 0 {
            out.push(b':');
        }
        bytes(out, group, None);
    }
}

/// The shortest form: the longest run of zero groups left out, an embedded IPv4 address dotted.
fn compressed_ipv6(out: &mut Vec<u8>, address: &[u8; 16]) {
    let mut groups = [0u16; 8];
    for (group, &pair) in groups.iter_mut().zip(address.as_chunks().0) {
        *group = u16::from_be_bytes(pair);
    }
    let mapped = groups[..5] == [0; 5] && groups[5] == 0xffff;
    let isatap = (groups[4] | 0x0200) == 0x0200 && groups[5] == 0x5efe;
    let range = if mapped || isatap { 6 } else { 8 };

    let (mut longest, mut longest_at) = (0, 0);
    let mut at = 0;
    while at < range {
        let run = groups[at..range].iter().take_while(|&&group| group == 0).count();
        if run > longest {
            (longest, longest_at) = (run, at);
        }
        at += run.max(1);
    }
    if longest < 2 {
        longest = 0;
    }
    let mut needs_colon = false;
    let mut at = 0;
    while at < range {
        if longest > 0 && at == longest_at {
            if needs_colon || at == 0 {
                out.push(b':');
            }
            out.push(b':');
            needs_colon = false;
            at += longest;
            continue;
        }
        if needs_colon {
            out.push(b':');
        }
        number::hex(out, u64::from(groups[at]));
        needs_colon = true;
        at += 1;
    }
    if range == 6 {
        if needs_colon {
            out.push(b':');
        }
        ipv4(out, [address[12], address[13], address[14], address[15]], false, false);
    }
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// A socket address of the families IPv4 and IPv6, nothing for others.
pub(super) fn socket(
    out: &mut Vec<u8>,
    address: &[u8],
    order: ByteOrder,
    plain: bool,
    port: bool,
    compressed: bool,
) {
    let Some(family) = address.first_chunk() else { return };
    let number = |at: usize| Some(u16::from_be_bytes([*address.get(at)?, *address.get(at + 1)?]));
    match order.u16(*family) {
        AF_INET => {
            let Some(host) = address.get(..16).and_then(|all| all[4..].first_chunk()) else {
                return out.extend_from_slice(b"INVALIDIPv4");
            };
            ipv4(out, *host, plain, false);
        }
        AF_INET6 => {
            let Some(host) = address.get(..28).and_then(|all| all[8..].first_chunk()) else {
                return out.extend_from_slice(b"INVALIDIPv6");
            };
            if port {
                out.push(b'[');
            }
            ipv6(out, host, !plain, compressed);
            if port {
                out.push(b']');
            }
        }
        _ => return,
    }
    if let (true, Some(port)) = (port, number(2)) {
        out.push(b':');
        number::decimal(out, u64::from(port));
    }
}

/// A UUID; with `little`, its first three parts have their bytes reversed.
pub(super) fn uuid(out: &mut Vec<u8>, uuid: &[u8; 16], upper: bool, little: bool) {
    const LITTLE: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let start = out.len();
    for (index, &place) in LITTLE.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        number::byte(out, uuid[if little { place } else { index }]);
    }
    if upper {
        out[start..].make_ascii_uppercase();
    }
}

#[cfg(test)]
mod tests {
    use super::{ipv6, socket};
    use crate::abi::ByteOrder;
    use std::net::Ipv6Addr;

    fn compressed(address: &str) -> String {
        let mut out = Vec::new();
        ipv6(&mut out, &address.parse::<Ipv6Addr>().unwrap().octets(), true, true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ipv6_leaves_out_the_longest_run_of_zeros() {
        for address in [
            "::1",
            "::",
            "2001:db8::",
            "2001:db8:0:1::1",
            "2001:db8:0:1:1:1:1:1",
            "::ffff:192.168.1.2",
            "::c0a8:102",
            "fe80::5efe:10.0.0.1",
            "fe80::200:5efe:10.0.0.1",
            "64::1:0:0:1:0",
            "1000:0:2::3:0:0",
        ] {
            assert_eq!(compressed(address), address);
        }
    }

    #[test]
    fn socket_address_needs_the_whole_structure() {
        let text = |bytes: &[u8], order| {
            let mut out = Vec::new();
            socket(&mut out, bytes, order, false, true, true);
            String::from_utf8(out).unwrap()
        };
        let mut inet = [0u8; 16];
        inet[..8].copy_from_slice(&[0, 2, 0x1f, 0x90, 10, 1, 2, 3]);
        assert_eq!(text(&inet, ByteOrder::Big), "10.1.2.3:8080");
        assert_eq!(text(&inet[..15], ByteOrder::Big), "INVALIDIPv4");
        assert_eq!(text(&inet, ByteOrder::Little), "");
        assert_eq!(text(&inet[..1], ByteOrder::Little), "");
    }
}
