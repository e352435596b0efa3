//! How a virt-server's guests are.

use super::hello::ExecRule;
use super::words::Words;

/// How far a session is, as the host tool counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of trace data that were kept.
    pub bytes: u64,
    /// Bytes that came and were not kept.
    pub lost: u64,
    /// Bound of the error of the last comparison of clocks, in units of the trace clock; [`Self::UNKNOWN`] without one.
    pub clock_error: u64,
}

impl Totals {
    /// No clock was compared.
    pub const UNKNOWN: u64 = u64::MAX;
}

impl Default for Totals {
    fn default() -> Self {
        Self { bytes: 0, lost: 0, clock_error: Self::UNKNOWN }
    }
}

/// One guest. The list ends with one that has no words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuestStatus<'a> {
    /// 0: connected, 1: its client answers, 2: in a session.
    pub state: u32,
    /// Data streams.
    pub cpus: u32,
    /// Page size of the guest.
    pub page_size: u32,
    /// Whether the host may run commands.
    pub exec: ExecRule,
    /// The process that runs the guest.
    pub qemu: u32,
    /// The process that has the guest, or 0.
    pub tool: u32,
    /// Milliseconds since QEMU connected.
    pub connected_ms: u64,
    /// Milliseconds since the session began.
    pub session_ms: u64,
    /// Bytes of control messages that passed, both ways.
    pub relayed: u64,
    /// Bytes of trace data in the last second.
    pub rate: u64,
    /// What the tool told last.
    pub totals: Totals,
    /// Its name, the version of its client, the trace clocks it can compare.
    pub words: Words<'a>,
}
