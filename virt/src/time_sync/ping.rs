//! Probes and their answers as messages, and when a round has enough of them.

use trace_transport::message::{Message, ProtocolName};

use super::{Clock, Probe, Round};

/// What the protocol is called in TIME_SYNC and TRACE_RESP messages.
pub const PROTOCOL: ProtocolName = ProtocolName::new("ping");

const PROBE: u32 = 1;
const ANSWER: u32 = 2;
const CANNOT: u32 = 3;

/// A round has at most so many probes …
const MAX_PROBES: usize = 50;
/// … and ends when so many brought nothing better.
const PATIENCE: usize = 12;

/// The guest's side: the answer to a TIME_SYNC message, its payload written into `out`.
pub(crate) fn answer<'a>(
    protocol: ProtocolName,
    id: u32,
    payload: &[u8],
    out: &'a mut Vec<u8>,
) -> Option<Message<'a>> {
    if protocol != PROTOCOL || id != PROBE {
        return None;
    }
    let (number, rest) = payload.split_first_chunk::<8>()?;
    let clock = Clock::from_number(u32::from_be_bytes(*rest.first_chunk::<4>()?));
    out.clear();
    out.extend_from_slice(number);
    let id = match clock.and_then(Clock::now) {
        Some(time) => {
            out.extend_from_slice(&time.to_be_bytes());
            ANSWER
        }
        None => CANNOT,
    };
    Some(Message::TimeSync { protocol: PROTOCOL, id, payload: out })
}

/// The host's side: one round of probes.
#[derive(Debug)]
pub(crate) struct Ping {
    host: Clock,
    guest: Clock,
    number: u64,
    /// When the outstanding probe was sent.
    sent: Option<u64>,
    round: Round,
    best: u64,
    useless: usize,
    failed: bool,
}

impl Ping {
    pub(crate) fn new(host: Clock, guest: Clock) -> Self {
        Self {
            host,
            guest,
            number: 0,
            sent: None,
            round: Round::default(),
            best: u64::MAX,
            useless: 0,
            failed: false,
        }
    }

    /// Begins a round, numbering on so that late answers of the last one are told apart.
    pub(crate) fn restart(&mut self) {
        self.sent = None;
        self.round = Round::default();
        self.best = u64::MAX;
        self.useless = 0;
    }

    /// The next probe, or nothing when the round has enough; to be sent at once.
    pub(crate) fn probe<'a>(&mut self, out: &'a mut Vec<u8>) -> Option<Message<'a>> {
        if self.failed || self.round.len() >= MAX_PROBES || self.useless >= PATIENCE {
            return None;
        }
        self.number += 1;
        out.clear();
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.guest.number().to_be_bytes());
        // Last of all: what comes before is not part of the way.
        self.sent = self.host.now();
        Some(Message::TimeSync { protocol: PROTOCOL, id: PROBE, payload: out })
    }

    /// Takes an answer, read at host time `received`; true when it is that of the outstanding probe.
    pub(crate) fn take(
        &mut self,
        received: Option<u64>,
        protocol: ProtocolName,
        id: u32,
        payload: &[u8],
    ) -> bool {
        let Some((number, rest)) = payload.split_first_chunk::<8>() else { return false };
        if protocol != PROTOCOL || u64::from_be_bytes(*number) != self.number {
            return false;
        }
        let Some(sent) = self.sent.take() else { return false };
        match (id, rest.first_chunk::<8>(), received) {
            (ANSWER, Some(time), Some(received)) if received >= sent => {
                let trip = received - sent;
                self.useless += 1;
                // Less than a tenth better is no reason to go on.
                if trip < self.best - self.best / 10 {
                    self.useless = 0;
                }
                self.best = self.best.min(trip);
                self.round.push(Probe { sent, guest: u64::from_be_bytes(*time), received });
            }
            _ => self.failed = true,
        }
        true
    }

    /// When the outstanding probe's answer arrived is read with this clock.
    pub(crate) fn host_clock(&self) -> Clock {
        self.host
    }

    /// The guest's clock.
    pub(crate) fn guest_clock(&self) -> Clock {
        self.guest
    }

    /// The guest cannot answer.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// What the round brought.
    pub(crate) fn finish(&mut self) -> Round {
        let mut round = std::mem::take(&mut self.round);
        round.reduce();
        round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_in_one_process_finds_no_offset() {
        let mut ping = Ping::new(Clock::Mono, Clock::Mono);
        let (mut out, mut back) = (Vec::new(), Vec::new());
        while let Some(Message::TimeSync { protocol, id, payload }) = ping.probe(&mut out) {
            let Some(Message::TimeSync { protocol, id, payload }) =
                answer(protocol, id, payload, &mut back)
            else {
                panic!("no answer")
            };
            assert!(ping.take(Clock::Mono.now(), protocol, id, payload));
            assert!(!ping.take(Clock::Mono.now(), protocol, id, payload), "an answer counts once");
        }
        let samples = super::super::estimate(&[ping.finish()], Clock::Mono);
        assert_eq!(samples.len(), 1);
        assert!(samples[0].offset.unsigned_abs() <= samples[0].error, "{samples:?}");
    }

    #[test]
    fn a_guest_without_the_clock_ends_the_round() {
        let mut ping = Ping::new(Clock::Mono, Clock::X86Tsc);
        let mut out = Vec::new();
        ping.probe(&mut out).unwrap();
        assert!(ping.take(Clock::Mono.now(), PROTOCOL, CANNOT, &1_u64.to_be_bytes()));
        assert!(ping.has_failed() && ping.probe(&mut out).is_none());
    }

    #[test]
    fn what_is_no_probe_is_not_answered() {
        let mut out = Vec::new();
        assert_eq!(answer(PROTOCOL, PROBE, &[0; 11], &mut out), None);
        assert_eq!(answer(PROTOCOL, ANSWER, &[0; 12], &mut out), None);
        assert_eq!(answer(ProtocolName::new("ptp"), PROBE, &[0; 12], &mut out), None);
    }
}
