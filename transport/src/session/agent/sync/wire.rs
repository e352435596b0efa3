//! Numbers and payloads of time sync messages.

use crate::message::ProtocolName;

/// The protocol's name in a TRACE_REQ.
pub const PTP: &str = "ptp";

/// Messages of the protocol.
pub(super) const PTP_NAME: ProtocolName = ProtocolName::new(PTP);
/// Messages about rounds, whatever the protocol.
pub(super) const NONE: ProtocolName = ProtocolName::new("none");

/// Under [`NONE`].
pub(super) mod round {
    pub(crate) const PROBE: u32 = 1;
    pub(crate) const STOP: u32 = 2;
}

/// Under [`PTP_NAME`].
pub(super) mod ptp {
    pub(crate) const START: u32 = 1;
    pub(crate) const PROBE: u32 = 2;
    pub(crate) const PROBES: u32 = 3;
    pub(crate) const OFFSET: u32 = 4;
    pub(crate) const END: u32 = 5;
    /// The fastest answer counts; stamps are of trace markers.
    pub(crate) const FLAGS: u32 = 3;
}

/// Probes of a round; as many stamps as twice that fit in a message.
pub(super) const PROBES: u32 = 339;
/// Stamps that a message of PROBES can have.
pub(super) const MAX_STAMPS: usize = 678;

/// A big-endian number at `at`, if it is there.
pub(super) fn be32(payload: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(payload.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

pub(super) fn be64(payload: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(payload.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
