//! A client that is there for one recording of its own: how far it is.

use std::time::Duration;

use trace_transport::Deadline;
use trace_transport::message::WordList;

use super::{ClientError, OwnRecording};
use crate::wish::OWN_RECORDING;

/// How long the host has to answer a wish.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How long it has to end a recording whose command has ended, or to say that it has all.
const END_TIME: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The host has not begun.
    Asking,
    /// It records.
    Recording,
    /// All is sent.
    Ended,
}

pub(super) struct Wishing {
    pub(super) words: WordList,
    /// Nothing where Ctrl-C is the end.
    pub(super) command: Vec<String>,
    pub(super) phase: Phase,
    pub(super) deadline: Deadline,
    /// Its command may run.
    pub(super) has_begun: bool,
    /// The person here wants to end it.
    pub(super) is_interrupted: bool,
    /// What went wrong here.
    pub(super) problem: Option<String>,
}

impl Wishing {
    pub(super) fn new(own: OwnRecording) -> Result<Self, ClientError> {
        let failed = |error: trace_transport::MessageError| ClientError::OwnRecording {
            reason: error.to_string(),
        };
        Ok(Self {
            words: own.wish.words().map_err(failed)?,
            command: own.command,
            phase: Phase::Asking,
            deadline: Deadline::after(ANSWER_TIME),
            has_begun: false,
            is_interrupted: false,
            problem: None,
        })
    }

    /// Whether a request is the answer to the wish; begins with it.
    pub(super) fn takes(&mut self, args: &[String]) -> bool {
        let is_answer = self.phase == Phase::Asking && args == [OWN_RECORDING];
        if is_answer {
            (self.phase, self.deadline) = (Phase::Recording, Deadline::NEVER);
        }
        is_answer
    }

    /// False where there is nothing to be ended in order.
    pub(super) fn interrupt(&mut self) -> bool {
        self.is_interrupted = true;
        if self.phase == Phase::Recording {
            self.deadline = Deadline::after(END_TIME);
        }
        self.phase != Phase::Asking
    }

    pub(super) fn has_sent_all(&mut self) {
        (self.phase, self.deadline) = (Phase::Ended, Deadline::after(END_TIME));
    }
}
