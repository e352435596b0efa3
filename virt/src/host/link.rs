//! Messages with one guest, errors with its name, and the comparison of clocks in between.

use std::sync::Arc;
use std::time::Duration;

use trace_transport::message::{Message, ProtocolName};
use trace_transport::{Connection, Deadline, Error};

use super::collect::Totals;
use super::recent::RecentRounds;
use super::reports::Reports;
use super::{ExecStatus, HostError, SILENCE, Step};
use crate::protocol::{RefuseCode, clean};
use crate::time_sync::{Ping, Round, Sample, estimate};

/// Largest head of a guest's trace: formats of all events and all symbols are a few MB.
const MAX_HEAD: u64 = 128 << 20;
/// How long a probe may take; a guest that is slower is not compared this time.
const PROBE_TIME: Duration = Duration::from_secs(1);
/// How long a round of probes may take: a guest that answers late each time holds nothing up.
const ROUND_TIME: Duration = Duration::from_secs(2);
/// How long the server may take a message.
const SEND_TIME: Duration = Duration::from_secs(30);
/// What a guest can send unasked while its clock is read is kept, up to so many messages.
const MAX_WAITING: usize = 4096;

/// A message from the guest, copied out of the stream.
#[derive(Debug)]
pub(super) enum Incoming {
    TimeSync { received: Option<u64>, protocol: ProtocolName, id: u32, payload: Vec<u8> },
    Started { cpus: u32, page_size: u32, trace_id: u64, is_held: bool },
    Begun { time: Option<u64> },
    Head(Vec<u8>),
    HeadEnd,
    Output { stream: u32, bytes: Vec<u8> },
    Exited(ExecStatus),
    Held { times: u32, time: Duration },
    DataEnd { cpu: u32, bytes: u64 },
    Tail(Vec<u8>),
    Closed,
    Refused { code: RefuseCode, reason: String },
    Other(String),
}

impl Incoming {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Other(name) => name.clone(),
            Self::TimeSync { .. } => "TIME_SYNC".to_owned(),
            Self::Started { .. } => "TRACE_RESP".to_owned(),
            Self::Begun { .. } => "BEGUN".to_owned(),
            Self::Head(_) => "SEND_DATA".to_owned(),
            Self::HeadEnd => "FIN_DATA".to_owned(),
            Self::Output { .. } => "OUTPUT".to_owned(),
            Self::Exited(_) => "EXEC_EXIT".to_owned(),
            Self::Held { .. } => "HELD".to_owned(),
            Self::DataEnd { .. } => "DATA_END".to_owned(),
            Self::Tail(_) => "TAIL".to_owned(),
            Self::Closed => "CLOSE_RESP".to_owned(),
            Self::Refused { .. } => "REFUSE".to_owned(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) guest: String,
    pub(super) connection: Connection,
    rounds: Vec<Round>,
    recent: RecentRounds,
    ping: Option<Ping>,
    /// What came while clocks were compared.
    waiting: std::collections::VecDeque<Incoming>,
    scratch: Vec<u8>,
    /// The server takes word of how far the session is.
    takes_totals: bool,
    reports: Option<Reports>,
}

impl Link {
    pub(super) fn new(guest: String, connection: Connection, takes_totals: bool) -> Self {
        Self {
            takes_totals,
            reports: None,
            guest,
            connection,
            rounds: Vec::new(),
            recent: RecentRounds::default(),
            ping: None,
            waiting: std::collections::VecDeque::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn set_ping(&mut self, ping: Ping) {
        self.ping = Some(ping);
    }

    /// Has the server told of `totals` now and then.
    pub(super) fn report(&mut self, totals: &Arc<Totals>) {
        self.reports = self.takes_totals.then(|| Reports::new(Arc::clone(totals)));
    }

    /// When it is to be told next.
    pub(super) fn report_deadline(&self) -> Deadline {
        self.reports.as_ref().map_or(Deadline::NEVER, Reports::deadline)
    }

    /// Tells the server if it is time to.
    pub(super) fn tell_totals(&mut self) -> Result<(), HostError> {
        let clock_error = self.rounds.last().and_then(Round::bound);
        match self.reports.as_mut().and_then(|reports| reports.due(clock_error)) {
            Some(message) => self.send(&message, Step::Record),
            None => Ok(()),
        }
    }

    pub(super) fn compares_clocks(&self) -> bool {
        self.ping.as_ref().is_some_and(|ping| !ping.has_failed())
    }

    /// How many rounds of probes were answered.
    pub(super) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// The last of them, to be looked at while there come more.
    pub(super) fn recent(&self) -> RecentRounds {
        self.recent.clone()
    }

    /// What all rounds say together.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let guest = self.ping.as_ref().map(Ping::guest_clock);
        guest.map_or_else(Vec::new, |guest| estimate(&self.rounds, guest))
    }

    pub(super) fn has_message(&self) -> bool {
        !self.waiting.is_empty() || self.connection.has_message()
    }

    pub(super) fn send(&mut self, message: &Message<'_>, step: Step) -> Result<(), HostError> {
        let sent = self.connection.send(message, Deadline::after(SEND_TIME));
        sent.map_err(|source| stream_error(&self.guest, step, SEND_TIME, source))
    }

    /// The next message; `time` is what the deadline was made of.
    pub(super) fn receive(
        &mut self,
        step: Step,
        deadline: Deadline,
        time: Duration,
    ) -> Result<Incoming, HostError> {
        match self.waiting.pop_front() {
            Some(incoming) => Ok(incoming),
            None => {
                self.read(deadline).map_err(|source| stream_error(&self.guest, step, time, source))
            }
        }
    }

    /// The head, up to its end; its first piece may take as long as `first`.
    pub(super) fn receive_head(&mut self, first: Duration) -> Result<Vec<u8>, HostError> {
        let mut head = Vec::new();
        loop {
            let patience = if head.is_empty() { first } else { SILENCE };
            match self.receive(Step::Head, Deadline::after(patience), patience)? {
                Incoming::Head(bytes) => {
                    head.extend_from_slice(&bytes);
                    if head.len() as u64 > MAX_HEAD {
                        let guest = self.guest.clone();
                        return Err(HostError::TooMuch {
                            guest,
                            step: Step::Head,
                            limit: MAX_HEAD,
                        });
                    }
                }
                Incoming::HeadEnd => return Ok(head),
                Incoming::Refused { code, reason } => {
                    return Err(self.refused(Step::Head, code, &reason));
                }
                Incoming::TimeSync { .. } => {}
                other => return Err(self.unexpected(Step::Head, other.name())),
            }
        }
    }

    /// One round of probes. A guest that does not answer costs samples, not the session.
    pub(super) fn compare_clocks(&mut self) -> Result<(), HostError> {
        let Some(mut ping) = self.ping.take() else { return Ok(()) };
        ping.restart();
        let result = self.probe(&mut ping);
        let round = ping.finish();
        if !round.is_empty() {
            self.recent.push(&round, ping.guest_clock());
            self.rounds.push(round);
        }
        self.ping = Some(ping);
        result
    }

    fn probe(&mut self, ping: &mut Ping) -> Result<(), HostError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let all = Deadline::after(ROUND_TIME);
        while !all.has_passed()
            && let Some(probe) = ping.probe(&mut scratch)
        {
            self.send(&probe, Step::TimeSync)?;
            let deadline = all.min(Deadline::after(PROBE_TIME));
            loop {
                let clock = ping.host_clock();
                match self.read_at(deadline, || clock.now()) {
                    Ok(Incoming::TimeSync { received, protocol, id, payload }) => {
                        if ping.take(received, protocol, id, &payload) {
                            break;
                        }
                    }
                    Ok(other) if self.waiting.len() < MAX_WAITING => self.waiting.push_back(other),
                    Ok(_) | Err(Error::TimedOut { .. }) => return Ok(()),
                    Err(source) => {
                        return Err(stream_error(&self.guest, Step::TimeSync, PROBE_TIME, source));
                    }
                }
                if self.waiting.len() >= MAX_WAITING {
                    return Ok(());
                }
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    fn read(&mut self, deadline: Deadline) -> Result<Incoming, Error> {
        self.read_at(deadline, || None)
    }

    /// Reads a message, and the clock as soon as it is here.
    fn read_at(
        &mut self,
        deadline: Deadline,
        now: impl Fn() -> Option<u64>,
    ) -> Result<Incoming, Error> {
        let message = self.connection.receive(deadline)?;
        let received = now();
        Ok(match message {
            Message::TimeSync { protocol, id, payload } => {
                Incoming::TimeSync { received, protocol, id, payload: payload.to_vec() }
            }
            Message::TraceResp { cpus, page_size, trace_id, accepted, .. } => {
                let is_held = accepted & Message::HOLDS != 0;
                Incoming::Started { cpus, page_size, trace_id, is_held }
            }
            Message::Begun { time } => Incoming::Begun { time },
            Message::SendData(bytes) => Incoming::Head(bytes.to_vec()),
            Message::FinData => Incoming::HeadEnd,
            Message::Output { stream, bytes } => Incoming::Output { stream, bytes: bytes.to_vec() },
            Message::ExecExit { code, signal: 0 } => Incoming::Exited(ExecStatus::Code(code)),
            Message::ExecExit { signal, .. } => Incoming::Exited(ExecStatus::Signal(signal)),
            Message::Held { times, ms } => {
                Incoming::Held { times, time: Duration::from_millis(ms) }
            }
            Message::DataEnd { cpu, bytes } => Incoming::DataEnd { cpu, bytes },
            Message::Tail(bytes) => Incoming::Tail(bytes.to_vec()),
            Message::CloseResp => Incoming::Closed,
            Message::Refuse { code, reason } => {
                Incoming::Refused { code: RefuseCode(code), reason: clean(reason) }
            }
            other => Incoming::Other(other.command().to_string()),
        })
    }

    pub(super) fn refused(&self, step: Step, code: RefuseCode, reason: &str) -> HostError {
        refused(&self.guest, step, code, reason)
    }

    pub(super) fn unexpected(&self, step: Step, message: String) -> HostError {
        HostError::Unexpected { guest: self.guest.clone(), step, message }
    }
}

/// A refusal as the error that tells what to do about it.
pub(super) fn refused(guest: &str, step: Step, code: RefuseCode, reason: &str) -> HostError {
    let guest = guest.to_owned();
    let reason = clean(reason);
    match code {
        RefuseCode::UNKNOWN_GUEST | RefuseCode::NOT_CONNECTED => HostError::NotConnected { guest },
        RefuseCode::NO_CLIENT => HostError::NoClient { guest },
        RefuseCode::BUSY => HostError::Busy { guest },
        RefuseCode::GONE => HostError::Gone { guest, step, reason: format!(": {reason}") },
        code => HostError::Refused { guest, step, code, reason },
    }
}

pub(super) fn stream_error(guest: &str, step: Step, time: Duration, source: Error) -> HostError {
    let guest = guest.to_owned();
    match source {
        Error::TimedOut { .. } => HostError::TimedOut { guest, step, seconds: time.as_secs() },
        Error::Closed { .. } => HostError::Gone { guest, step, reason: String::new() },
        source => HostError::Stream { guest, step, source },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use nix::time::{ClockId, clock_gettime};
    use trace_transport::Stream;

    use super::*;
    use crate::time_sync::{Clock, answer};

    const GUESTS: usize = 32;

    /// A guest that does nothing but answer until the host hangs up.
    fn guest(stream: Stream) {
        let mut connection = Connection::new(stream);
        let mut out = Vec::new();
        while let Ok(Message::TimeSync { protocol, id, payload }) =
            connection.receive(Deadline::NEVER)
        {
            let payload = payload.to_vec();
            let answer = answer(protocol, id, &payload, &mut out).expect("a probe");
            if connection.send(&answer, Deadline::after(SEND_TIME)).is_err() {
                break;
            }
        }
    }

    /// Compares the clocks of all guests at once: how long that takes, and the CPU time of the host's thread that needed most.
    /// None where one was held up so long that it has no sample.
    fn compare_all() -> Option<(Duration, Duration)> {
        let (ends, others): (Vec<_>, Vec<_>) = (0..GUESTS).map(|_| Stream::pair().unwrap()).unzip();
        std::thread::scope(|scope| {
            for other in others {
                scope.spawn(|| guest(other));
            }
            let start = Instant::now();
            let hosts: Vec<_> = ends
                .into_iter()
                .map(|end| {
                    scope.spawn(|| {
                        let mut link = Link::new("g".to_owned(), Connection::new(end), false);
                        link.set_ping(Ping::new(Clock::Mono, Clock::Mono));
                        link.compare_clocks().unwrap();
                        let samples = link.samples();
                        let sample = samples.first()?;
                        assert!(sample.offset.unsigned_abs() <= sample.error);
                        let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
                        Some(Duration::from(used))
                    })
                })
                .collect();
            let used: Vec<_> = hosts.into_iter().map(|host| host.join().unwrap()).collect();
            let took = start.elapsed();
            Some((took, used.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()?))
        })
    }

    #[test]
    fn clocks_of_many_guests_are_compared_in_less_than_a_second() {
        // Others use this machine, too: once of many times it is not held up.
        let second = Duration::from_secs(1);
        let mut times = (0..30).filter_map(|_| compare_all());
        let (took, cpu) = times.find(|(took, _)| *took < second).expect("none is that fast");
        println!("{GUESTS} guests took {took:?}; a round is {cpu:?} of one CPU");
    }
}
