//! The introduction that starts every exchange, and that a reader can find in the middle of garbage.

use super::words::Words;

/// What no other message has in this place. Not text, so that no head or output contains it by chance.
pub(super) const MAGIC: [u8; 16] = [
    0x17, 0x08, 0x44, 0xf5, 0x9e, b'v', b'i', b'r', b't', 0x1b, 0xc3, 0x80, 0xfe, 0x01, 0xa7, 0x6d,
];

/// Whether an introduction may start here, as far as the bytes reach.
pub(super) fn may_start(bytes: &[u8]) -> bool {
    let command = super::Command::HELLO.0.to_be_bytes();
    let agrees = |at: usize, known: &[u8]| {
        let here = bytes.get(at..).unwrap_or_default();
        here.iter().zip(known).all(|(a, b)| a == b)
    };
    let size_agrees = match bytes.first_chunk::<4>() {
        Some(size) => (super::HEADER_SIZE..=super::MAX_MESSAGE)
            .contains(&(u32::from_be_bytes(*size) as usize)),
        None => bytes.iter().take(2).all(|&b| b == 0),
    };
    size_agrees && agrees(4, &command) && agrees(12, &MAGIC)
}

/// Which part of the introduction a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloKind(pub u32);

impl HelloKind {
    /// The server asks; whatever went on before is over.
    pub const REQUEST: Self = Self(0);
    /// The client answers with the nonce it was asked with.
    pub const ANSWER: Self = Self(1);
    /// A client has just opened its port.
    pub const ANNOUNCE: Self = Self(2);
}

/// Whether the host may run commands in the guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecRule(pub u32);

impl ExecRule {
    /// None.
    pub const DENY: Self = Self(0);
    /// Any.
    pub const ANY: Self = Self(1);
    /// Some; the guest tells on request.
    pub const LIST: Self = Self(2);
}

/// Who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Request, answer or announcement.
    pub kind: HelloKind,
    /// Ties an answer to its request: an answer to an older one is stale.
    pub nonce: u64,
    /// Data streams the guest has, one per CPU.
    pub cpus: u32,
    /// Page size of the guest.
    pub page_size: u32,
    /// Whether the host may run commands.
    pub exec: ExecRule,
    /// First the version of the sender, then the trace clocks it can compare.
    pub words: Words<'a>,
}

impl Hello<'static> {
    /// The server's question.
    #[must_use]
    pub fn request(nonce: u64) -> Self {
        Self {
            kind: HelloKind::REQUEST,
            nonce,
            cpus: 0,
            page_size: 0,
            exec: ExecRule::DENY,
            words: Words::all(&[], "introduction"),
        }
    }
}
