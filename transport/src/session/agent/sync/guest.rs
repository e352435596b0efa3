//! The guest's side: probes when it is told to, and computes the offset.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::super::super::SessionError;
use super::super::super::io::session_io;
use super::super::super::output::Output;
use super::super::super::timeouts::after;
use super::host::field;
use super::wire::{NONE, PROBES, PTP_NAME, be32, be64, ptp, round};
use super::{Mark, unexpected};
use crate::message::{Decoder, Message};

/// What the guest is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncGuestEvent {
    /// Go to this vCPU, and forget all stamps: a round begins.
    Round(u16),
    /// Make a stamp, before more is sent.
    Mark(Mark),
    /// Give all stamps of the round, by [`stamps`](SyncGuest::stamps).
    Stamps,
    /// No more rounds follow.
    Stop,
}

#[derive(Debug)]
enum State {
    Idle,
    Start,
    /// Sends the probe of this number, or the end.
    Next(u32),
    Probes(u32),
    HostStamps,
    Stamps(HashMap<u32, u64>),
    Over,
}

impl State {
    fn step(&self) -> &'static str {
        match self {
            Self::Idle => "a round",
            Self::Start => "START",
            Self::Next(_) | Self::Probes(_) => "PROBE",
            Self::HostStamps => "PROBES",
            Self::Stamps(_) => "the stamps",
            Self::Over => "nothing",
        }
    }
}

/// The guest's side of a time sync connection.
#[derive(Debug)]
pub struct SyncGuest {
    input: Decoder,
    output: Output,
    state: State,
    patience: Duration,
    deadline: Option<Instant>,
    series: u32,
}

impl SyncGuest {
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
            series: 0,
        }
    }

    /// Gives the stamps of the round, as they were asked for.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] when it was not asked for them.
    pub fn stamps(&mut self, stamps: &[(Mark, u64)]) -> Result<(), SessionError> {
        let State::Stamps(host) = &self.state else {
            return Err(SessionError::OutOfOrder { call: "stamps", step: self.state.step() });
        };
        // Without any the answer says so in the way of the reference: no time, no offset.
        let (time, offset) = fastest(host, stamps).unwrap_or_default();
        let payload = [time.to_be_bytes(), offset.to_be_bytes()].concat();
        self.send(ptp::OFFSET, &payload)?;
        self.state = State::Idle;
        self.deadline = None;
        Ok(())
    }

    /// The next event, or `None` until there are more bytes.
    ///
    /// # Errors
    ///
    /// What the host said makes no sense here; the connection is then of no use any more.
    pub fn next_event(&mut self, now: Instant) -> Result<Option<SyncGuestEvent>, SessionError> {
        if let State::Next(number) = self.state {
            if number <= PROBES {
                return self.probe(number).map(Some);
            }
            self.send(ptp::END, &[])?;
            self.state = State::HostStamps;
        }
        if matches!(self.state, State::Stamps(_) | State::Over) {
            return Ok(None);
        }
        let Some(frame) = self.input.next_frame()? else { return Ok(None) };
        let message = Message::decode(&frame)?;
        let Message::TimeSync { protocol, id, payload } = message else {
            return Err(unexpected(&message, self.state.step()));
        };
        match (&self.state, protocol, id) {
            (State::Idle, NONE, round::PROBE) => {
                let cpu = payload.first_chunk::<2>().map(|cpu| u16::from_ne_bytes(*cpu));
                let cpu = field(cpu, "vCPU", payload)?;
                self.series = self.series.wrapping_add(1);
                let start = [self.series.to_be_bytes(), ptp::FLAGS.to_be_bytes()].concat();
                self.send(ptp::START, &start)?;
                self.state = State::Start;
                self.deadline = after(now, self.patience);
                Ok(Some(SyncGuestEvent::Round(cpu)))
            }
            (State::Idle, NONE, round::STOP) => {
                self.state = State::Over;
                Ok(Some(SyncGuestEvent::Stop))
            }
            (State::Start, PTP_NAME, ptp::START) => self.probe(1).map(Some),
            (State::Probes(sent), PTP_NAME, ptp::PROBE) => {
                let sent = *sent;
                let number = field(be32(payload, 0), "probe", payload)?;
                if number != sent {
                    let (value, limit) = (u64::from(number), u64::from(sent));
                    let what = "number of the probe";
                    return Err(SessionError::Limit { what, value, least: limit, limit });
                }
                self.state = State::Next(number + 1);
                Ok(Some(SyncGuestEvent::Mark(Mark::Received(number))))
            }
            (State::HostStamps, PTP_NAME, ptp::PROBES) => {
                self.state = State::Stamps(host_stamps(payload)?);
                Ok(Some(SyncGuestEvent::Stamps))
            }
            _ => Err(unexpected(&message, self.state.step())),
        }
    }

    fn probe(&mut self, number: u32) -> Result<SyncGuestEvent, SessionError> {
        self.send(ptp::PROBE, &number.to_be_bytes())?;
        self.state = State::Probes(number);
        Ok(SyncGuestEvent::Mark(Mark::Sent(number)))
    }

    fn send(&mut self, id: u32, payload: &[u8]) -> Result<(), SessionError> {
        Message::TimeSync { protocol: PTP_NAME, id, payload }.encode(self.output.tail())?;
        Ok(())
    }
}

/// The host's stamps by the number of their probe.
fn host_stamps(payload: &[u8]) -> Result<HashMap<u32, u64>, SessionError> {
    let count = field(be32(payload, 4), "number of stamps", payload)?;
    let entries = payload.get(8..).unwrap_or_default();
    let mut stamps = HashMap::new();
    for at in 0..count as usize {
        let entry = entries.get(at.saturating_mul(12)..).unwrap_or_default();
        let time = field(be64(entry, 0), "stamp", payload)?;
        stamps.insert(field(be32(entry, 8), "stamp", payload)?, time);
    }
    Ok(stamps)
}

/// Guest time and offset of the probe that took the least time.
fn fastest(host: &HashMap<u32, u64>, stamps: &[(Mark, u64)]) -> Option<(u64, i64)> {
    let sent: HashMap<u32, u64> = stamps
        .iter()
        .filter_map(|(mark, time)| match mark {
            Mark::Sent(number) => Some((*number, *time)),
            Mark::Received(_) => None,
        })
        .collect();
    let mut best: Option<(u64, u64, i64)> = None;
    for (mark, received) in stamps {
        let Mark::Received(number) = mark else { continue };
        let (Some(sent), Some(host)) = (sent.get(number), host.get(number)) else { continue };
        let Some(took) = received.checked_sub(*sent) else { continue };
        let time = sent + took / 2;
        if best.is_none_or(|(least, ..)| took < least) {
            best = Some((took, time, host.wrapping_sub(time).cast_signed()));
        }
    }
    best.map(|(_, time, offset)| (time, offset))
}
