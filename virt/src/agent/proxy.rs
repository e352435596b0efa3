//! The host's side of a session that its guest asked for: it drives the rounds of the time sync on the connection that
//! the guest makes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use trace_transport::session::agent::ProxyGuest;
use trace_transport::{Deadline, Listener};

use super::data::{Guard, Signal};
use super::marks::MarkClock;
use super::sync::accept;
use crate::host::{EndingSync, HostError, Sync, SyncInterval};
use crate::time_sync::ClockSample;

/// Rounds with a guest.
#[derive(Debug)]
pub(super) struct Rounds {
    stage: Stage,
    /// Ends waiting for the guest's connection.
    abort: Arc<Signal>,
    /// When the last round is given up.
    until: Deadline,
}

/// How long the last round may take, of all CPUs together.
const LAST_ROUND: Duration = Duration::from_secs(90);

#[derive(Debug)]
enum Stage {
    Running(Sync),
    Ending(EndingSync),
    Over,
}

impl Rounds {
    /// Waits for the guest's connection, and compares the clock of each of its CPUs, now, as often as told, and at the end.
    pub(super) fn open(
        guest: ProxyGuest,
        interval: SyncInterval,
        listener: Listener,
        guard: Guard,
        clock: Box<dyn MarkClock>,
    ) -> io::Result<Self> {
        let abort = Signal::new()?;
        let told = abort.clone();
        let connect = move || match accept(&listener, &guard, &told) {
            Ok(Some(stream)) => Ok(stream),
            Ok(None) => Err("the guest did not connect for it".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let sync = Sync::start("", connect, clock, guest.cpus, interval)?;
        Ok(Self { stage: Stage::Running(sync), abort, until: Deadline::NEVER })
    }

    /// Has the last round begin; a guest that has not connected by now does not any more.
    pub(super) fn end(&mut self) {
        self.abort.raise();
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Running(sync) => {
                self.until = Deadline::after(LAST_ROUND);
                Stage::Ending(sync.end())
            }
            other => other,
        };
    }

    /// Whether the last round is over, or has had its time.
    pub(super) fn is_finished(&self) -> bool {
        self.until.has_passed() || self.has_ended()
    }

    fn has_ended(&self) -> bool {
        match &self.stage {
            Stage::Running(_) => false,
            Stage::Ending(sync) => sync.is_finished(),
            Stage::Over => true,
        }
    }

    /// The samples of each CPU of the guest, and why there are no more.
    pub(super) fn finish(mut self) -> (Vec<Vec<ClockSample>>, Option<String>) {
        if !self.has_ended() {
            return (Vec::new(), Some("the last comparison took too long".to_owned()));
        }
        let Stage::Ending(sync) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Default::default();
        };
        let (samples, problem) = sync.finish();
        let reason = problem.map(|problem| match problem {
            HostError::TimeSync { reason, .. } => reason,
            other => other.to_string(),
        });
        (samples, reason)
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        // The thread ends with the guest's connection.
        self.abort.raise();
    }
}
