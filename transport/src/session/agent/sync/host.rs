//! The host's side: drives the rounds, and is told the offsets.

use std::time::{Duration, Instant};

use super::super::super::SessionError;
use super::super::super::io::session_io;
use super::super::super::output::Output;
use super::super::super::timeouts::after;
use super::wire::{MAX_STAMPS, NONE, PTP_NAME, be32, be64, ptp, round};
use super::{Mark, unexpected};
use crate::MessageError;
use crate::message::{Decoder, Message};

/// What the host is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncEvent {
    /// Make a stamp, before more is sent.
    Mark(Mark),
    /// Give all stamps of the round, by [`stamps`](SyncHost::stamps).
    Stamps,
    /// The round is over: at guest time `time` the host's was `offset` more.
    Offset {
        /// Guest time.
        time: u64,
        /// Host minus guest.
        offset: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Start,
    Probes(u32),
    Stamps(u32),
    Offset,
}

impl State {
    fn step(self) -> &'static str {
        match self {
            Self::Idle => "nothing: no clocks are compared",
            Self::Start => "START",
            Self::Probes(_) => "PROBE",
            Self::Stamps(_) => "the stamps",
            Self::Offset => "OFFSET",
        }
    }
}

/// The host's side of a time sync connection.
#[derive(Debug)]
pub struct SyncHost {
    input: Decoder,
    output: Output,
    state: State,
    /// How long a whole round may take.
    patience: Duration,
    deadline: Option<Instant>,
    probes: usize,
}

impl SyncHost {
    sync_io!();

    /// A connection was made. `patience`: how long a round may take.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self {
            input: Decoder::new(),
            output: Output::default(),
            state: State::Idle,
            patience,
            deadline: None,
            probes: 0,
        }
    }

    /// Begins a round on a vCPU.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] within another.
    pub fn begin(&mut self, vcpu: u16, now: Instant) -> Result<(), SessionError> {
        self.check_idle("begin")?;
        // The reference has it in its own order of bytes; so have all that it runs on today.
        let payload = &vcpu.to_ne_bytes();
        Message::TimeSync { protocol: NONE, id: round::PROBE, payload }
            .encode(self.output.tail())?;
        self.state = State::Start;
        self.deadline = after(now, self.patience);
        self.probes = 0;
        Ok(())
    }

    /// Says that no more rounds follow.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] within a round.
    pub fn stop(&mut self) -> Result<(), SessionError> {
        self.check_idle("stop")?;
        Message::TimeSync { protocol: NONE, id: round::STOP, payload: &[] }
            .encode(self.output.tail())?;
        Ok(())
    }

    /// Gives the stamps of the round, as they were asked for.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] when it was not asked for them.
    pub fn stamps(&mut self, stamps: &[(Mark, u64)]) -> Result<(), SessionError> {
        let State::Stamps(series) = self.state else {
            return Err(SessionError::OutOfOrder { call: "stamps", step: self.state.step() });
        };
        let received = stamps.iter().filter_map(|(mark, time)| match mark {
            Mark::Received(number) => Some((*number, *time)),
            Mark::Sent(_) => None,
        });
        // The reference reads them beside its own, so they stand in the order of the probes.
        let mut received: Vec<_> = received.take(MAX_STAMPS).collect();
        received.sort_unstable();
        let mut payload = [series.to_be_bytes(), [0; 4]].concat();
        let mut count = 0_u32;
        for (number, time) in received {
            payload.extend_from_slice(&time.to_be_bytes());
            payload.extend_from_slice(&number.to_be_bytes());
            count += 1;
        }
        if let Some(place) = payload.get_mut(4..8) {
            place.copy_from_slice(&count.to_be_bytes());
        }
        self.send(ptp::PROBES, &payload)?;
        self.state = State::Offset;
        Ok(())
    }

    /// The next event, or `None` until there are more bytes.
    ///
    /// # Errors
    ///
    /// What the guest said makes no sense here; the connection is then of no use any more.
    pub fn next_event(&mut self) -> Result<Option<SyncEvent>, SessionError> {
        loop {
            if matches!(self.state, State::Stamps(_)) {
                return Ok(None);
            }
            let Some(frame) = self.input.next_frame()? else { return Ok(None) };
            let message = Message::decode(&frame)?;
            let Message::TimeSync { protocol: PTP_NAME, id, payload } = message else {
                return Err(unexpected(&message, self.state.step()));
            };
            match (self.state, id) {
                (State::Start, ptp::START) => {
                    let series = field(be32(payload, 0), "series", payload)?;
                    let echo = payload.get(..8).unwrap_or(payload).to_vec();
                    self.send(ptp::START, &echo)?;
                    self.state = State::Probes(series);
                }
                (State::Probes(_), ptp::PROBE) => {
                    let number = field(be32(payload, 0), "probe", payload)?;
                    self.probes += 1;
                    if self.probes > MAX_STAMPS {
                        let (value, limit) = (self.probes as u64, MAX_STAMPS as u64);
                        let what = "number of probes";
                        return Err(SessionError::Limit { what, value, least: 1, limit });
                    }
                    self.send(ptp::PROBE, &number.to_be_bytes())?;
                    return Ok(Some(SyncEvent::Mark(Mark::Received(number))));
                }
                (State::Probes(series), ptp::END) => {
                    self.state = State::Stamps(series);
                    return Ok(Some(SyncEvent::Stamps));
                }
                (State::Offset, ptp::OFFSET) => {
                    let time = field(be64(payload, 0), "offset", payload)?;
                    let offset = field(be64(payload, 8), "offset", payload)?.cast_signed();
                    self.state = State::Idle;
                    self.deadline = None;
                    return Ok(Some(SyncEvent::Offset { time, offset }));
                }
                _ => return Err(unexpected(&message, self.state.step())),
            }
        }
    }

    fn send(&mut self, id: u32, payload: &[u8]) -> Result<(), SessionError> {
        Message::TimeSync { protocol: PTP_NAME, id, payload }.encode(self.output.tail())?;
        Ok(())
    }

    fn check_idle(&self, call: &'static str) -> Result<(), SessionError> {
        match self.state {
            State::Idle => Ok(()),
            state => Err(SessionError::OutOfOrder { call, step: state.step() }),
        }
    }
}

/// A field of a payload that must be there.
pub(super) fn field<T>(
    field: Option<T>,
    what: &'static str,
    payload: &[u8],
) -> Result<T, SessionError> {
    let left = payload.len();
    let need = left as u64 + 1;
    field.ok_or_else(|| MessageError::Truncated { what, need, offset: 0, left }.into())
}
