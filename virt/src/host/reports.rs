//! How far a session is, told to the server now and then, for who asks it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use trace_transport::Deadline;
use trace_transport::message::{self, Message};

use super::collect::Totals;

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Reports {
    totals: Arc<Totals>,
    next: Deadline,
}

impl Reports {
    pub(super) fn new(totals: Arc<Totals>) -> Self {
        Self { totals, next: Deadline::after(INTERVAL) }
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Deadline {
        self.next
    }

    /// The message, if it is due.
    pub(super) fn due(&mut self, clock_error: Option<u64>) -> Option<Message<'static>> {
        if !self.next.has_passed() {
            return None;
        }
        self.next = Deadline::after(INTERVAL);
        Some(Message::Totals(message::Totals {
            bytes: self.totals.kept.load(Ordering::Relaxed),
            lost: self.totals.lost.load(Ordering::Relaxed),
            clock_error: clock_error.unwrap_or(message::Totals::UNKNOWN),
        }))
    }
}
