//! Numbers of the control protocol that are not part of a message's layout.

/// Why a request was not done; the number in a REFUSE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefuseCode(pub u32);

impl RefuseCode {
    /// Nobody set up a guest of this name.
    pub const UNKNOWN_GUEST: Self = Self(1);
    /// The guest's QEMU is not connected: it does not run, or has no control port.
    pub const NOT_CONNECTED: Self = Self(2);
    /// QEMU is connected, and nobody in the guest answers.
    pub const NO_CLIENT: Self = Self(3);
    /// Another session has the guest.
    pub const BUSY: Self = Self(4);
    /// The guest's policy does not allow it.
    pub const NOT_ALLOWED: Self = Self(5);
    /// The guest cannot record what was asked for.
    pub const FAILED: Self = Self(6);
    /// The guest rebooted, its client was restarted, or the connection to it broke.
    pub const GONE: Self = Self(7);
    /// A message that makes no sense at this point.
    pub const PROTOCOL: Self = Self(8);
}

/// Bytes that open each data stream of a session.
pub(crate) const MARK_SIZE: usize = 16;
/// Text taken from the other side is cut to this many bytes.
pub(crate) const MAX_TEXT: usize = 4096;

/// Text from the other side, safe to print: one line, no control characters, bounded.
pub(crate) fn clean(text: &str) -> String {
    clean_to(text, MAX_TEXT)
}

/// The same, with a bound of its own.
pub(crate) fn clean_to(text: &str, most: usize) -> String {
    let mut clean = String::new();
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if clean.len() + c.len_utf8() > most {
            break;
        }
        clean.push(c);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_other_side_is_one_bounded_line() {
        assert_eq!(clean("a\x1b[31mb\nc"), "a [31mb c");
        assert_eq!(clean(&"ä".repeat(5000)).len(), MAX_TEXT);
    }
}
