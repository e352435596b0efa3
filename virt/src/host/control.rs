//! The control stream of a running session, in a thread of its own.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use trace_transport::Deadline;
use trace_transport::message::Message;

use super::link::{Incoming, Link};
use super::{ExecStatus, HostError, SILENCE, SessionEnd, SessionEvent, Step};
use crate::protocol::RefuseCode;
use crate::time_sync::Sample;

/// Events that may wait for the program.
const MAX_EVENTS: usize = 1024;
/// How long a program may leave them waiting before output is thrown away.
const DEAF_AFTER: Duration = Duration::from_secs(1);
/// Drift shows best early: the first comparisons come sooner.
const FIRST_ROUNDS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];
/// How long a guest that stops is waited for.
const PATIENCE: Patience =
    Patience { ask_after: Duration::from_secs(2), unanswered: Duration::from_secs(20) };
/// A machine that stood still, this one included, is asked so often before it counts as silent.
const QUESTIONS: u32 = 3;
/// How long stopping may take in all, however lively the guest is.
const CLOSE_TIME: Duration = Duration::from_secs(180);
/// Largest tail of a guest's trace.
const MAX_TAIL: u64 = 64 << 20;
/// Largest sections of a host's file after its head.
const MAX_SECTIONS: u64 = MAX_TAIL;
/// Most bytes of options for this machine's own file: a thousand comparisons of the clocks of each of 512 CPUs.
const MAX_OPTIONS: u64 = 16 << 20;
/// Problems that are kept; a guest can make any number.
const MAX_PROBLEMS: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Patience {
    /// It is asked for its clock when it said nothing for so long.
    ask_after: Duration,
    /// It may leave that unanswered for so long.
    unanswered: Duration,
}

enum Order {
    Exec,
    Close,
}

/// What the end of a session brought.
#[derive(Debug)]
pub(super) struct Closed {
    /// Bytes of each CPU, where the guest told.
    pub(super) ends: Vec<Option<u64>>,
    pub(super) tail: Vec<u8>,
    pub(super) samples: Vec<Sample>,
    pub(super) exec: Option<ExecStatus>,
    /// How often and how long the command waited for this side.
    pub(super) held: Option<(u32, Duration)>,
    pub(super) problems: Vec<HostError>,
    pub(super) end: SessionEnd,
    pub(super) proxied: Option<Proxied>,
}

/// What a host brings at the end that was recorded for this machine, its guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxied {
    /// What continues the head of its file.
    pub sections: Vec<u8>,
    /// Options for this machine's own file.
    pub options: Vec<u8>,
    /// What comes next.
    part: Part,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Sections,
    Options,
    None,
}

impl Proxied {
    /// Takes bytes of the part that comes now; `None` when there are none to come, or the limit when it is passed.
    fn add(&mut self, bytes: &[u8]) -> Result<(), Option<u64>> {
        let (part, limit) = match self.part {
            Part::Sections => (&mut self.sections, MAX_SECTIONS),
            Part::Options => (&mut self.options, MAX_OPTIONS),
            Part::None => return Err(None),
        };
        if (part.len() + bytes.len()) as u64 > limit {
            return Err(Some(limit));
        }
        part.extend_from_slice(bytes);
        Ok(())
    }
}

impl Closed {
    /// Nothing came yet.
    fn new(cpus: usize) -> Self {
        Self {
            ends: vec![None; cpus],
            tail: Vec::new(),
            samples: Vec::new(),
            exec: None,
            held: None,
            problems: Vec::new(),
            end: SessionEnd::Gone,
            proxied: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Control {
    orders: Option<Sender<Order>>,
    wake: Arc<EventFd>,
    events: Receiver<SessionEvent>,
    thread: Option<JoinHandle<Closed>>,
    cpus: usize,
}

impl Control {
    /// `is_proxied`: it is the host of this machine, which sends more at the end.
    pub(super) fn spawn(
        link: Link,
        cpus: u32,
        interval: Duration,
        is_proxied: bool,
    ) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (orders, received) = unbounded();
        let (event_sender, events) = bounded(MAX_EVENTS);
        let cpus = cpus as usize;
        let thread = Thread {
            link,
            wake: wake.clone(),
            orders: received,
            events: event_sender,
            deaf: false,
            lost_output: 0,
            gone: false,
            interval: interval.max(Duration::from_millis(10)),
            rounds: 0,
            patience: PATIENCE,
            closed: Closed { proxied: is_proxied.then(Proxied::default), ..Closed::new(cpus) },
        };
        let thread = std::thread::Builder::new()
            .name("guest control".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self { orders: Some(orders), wake, events, thread: Some(thread), cpus })
    }

    pub(super) fn exec(&self) {
        self.order(Order::Exec);
    }

    pub(super) fn events(&self) -> &Receiver<SessionEvent> {
        &self.events
    }

    pub(super) fn close(mut self) -> Closed {
        self.order(Order::Close);
        let joined = self.thread.take().map(JoinHandle::join);
        match joined {
            Some(Ok(closed)) => closed,
            _ => Closed::new(self.cpus),
        }
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
        }
        let _ = self.wake.write(1);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // Without orders to come the thread leaves, and the closed connection aborts the guest.
            self.orders = None;
            let _ = self.wake.write(1);
            let _ = thread.join();
        }
    }
}

struct Thread {
    link: Link,
    wake: Arc<EventFd>,
    orders: Receiver<Order>,
    events: Sender<SessionEvent>,
    /// The program does not take its events.
    deaf: bool,
    lost_output: u64,
    gone: bool,
    interval: Duration,
    rounds: usize,
    patience: Patience,
    closed: Closed,
}

impl Thread {
    fn run(mut self) -> Closed {
        let mut next_round = self.next_round();
        loop {
            match self.orders.try_recv() {
                Ok(Order::Exec) => {
                    if let Err(error) = self.link.send(&Message::Exec, Step::Exec) {
                        self.fail(error);
                    }
                    continue;
                }
                Ok(Order::Close) => {
                    self.close();
                    break;
                }
                Err(crossbeam_channel::TryRecvError::Disconnected) => break,
                Err(crossbeam_channel::TryRecvError::Empty) => {}
            }
            if let Err(error) = self.turn(&mut next_round) {
                self.fail(error);
            }
        }
        self.closed.samples = self.link.samples();
        self.closed
    }

    fn turn(&mut self, next_round: &mut Deadline) -> Result<(), HostError> {
        if !self.gone && self.link.has_message() {
            let incoming =
                self.link.receive(Step::Record, Deadline::after(Duration::ZERO), Duration::ZERO)?;
            self.take(incoming, Step::Record);
            return Ok(());
        }
        let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        let mut deadline = Deadline::NEVER;
        if !self.gone {
            fds.push(PollFd::new(self.link.connection.as_fd(), PollFlags::POLLIN));
            deadline = next_round.min(self.link.report_deadline());
        }
        match poll(&mut fds, deadline.poll_timeout()) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => {
                // Waiting itself does not fail on good descriptors; do not turn in circles if it does.
                std::thread::sleep(Duration::from_millis(100));
                return Err(HostError::Io {
                    guest: self.link.guest.clone(),
                    step: Step::Record,
                    source: errno.into(),
                });
            }
        }
        let is_ready =
            |at: usize| fds.get(at).and_then(PollFd::revents).is_some_and(|e| !e.is_empty());
        let (woken, message) = (is_ready(0), is_ready(1));
        if woken {
            let _ = self.wake.read();
        }
        if !self.gone {
            self.link.tell_totals()?;
        }
        if message {
            let polled = self.link.connection.poll();
            polled.map_err(|source| {
                super::link::stream_error(&self.link.guest, Step::Record, Duration::ZERO, source)
            })?;
        } else if !self.gone && next_round.has_passed() {
            self.link.compare_clocks()?;
            self.rounds += 1;
            *next_round = self.next_round();
        }
        Ok(())
    }

    fn next_round(&self) -> Deadline {
        if !self.link.compares_clocks() {
            return Deadline::NEVER;
        }
        let first = FIRST_ROUNDS.get(self.rounds).copied().unwrap_or(self.interval);
        Deadline::after(first.min(self.interval))
    }

    fn take(&mut self, incoming: Incoming, step: Step) {
        match incoming {
            Incoming::Output { stream, bytes } => self.send_output(stream, bytes),
            Incoming::Exited(status) => {
                self.closed.exec = Some(status);
                self.send_event(SessionEvent::Exited(status));
            }
            Incoming::Held { times, time } => self.closed.held = Some((times, time)),
            Incoming::Refused { code, reason } => {
                let error = self.link.refused(step, code, &reason);
                if matches!(code, RefuseCode::GONE | RefuseCode::PROTOCOL) {
                    self.fail(error);
                } else {
                    self.problem(error);
                }
            }
            Incoming::DataEnd { cpu, bytes } => match self.closed.ends.get_mut(cpu as usize) {
                Some(end) => *end = Some(bytes),
                None => {
                    let error = self.link.unexpected(step, format!("end of CPU {cpu}"));
                    self.problem(error);
                }
            },
            Incoming::Tail(bytes) => {
                if (self.closed.tail.len() + bytes.len()) as u64 <= MAX_TAIL {
                    self.closed.tail.extend_from_slice(&bytes);
                } else {
                    let guest = self.link.guest.clone();
                    self.fail(HostError::TooMuch { guest, step, limit: MAX_TAIL });
                }
            }
            Incoming::TimeSync { .. } | Incoming::Closed => {}
            Incoming::Head(bytes) if step == Step::Close && self.closed.proxied.is_some() => {
                let added = self.closed.proxied.as_mut().map(|proxied| proxied.add(&bytes));
                let guest = self.link.guest.clone();
                match added {
                    Some(Err(Some(limit))) => self.fail(HostError::TooMuch { guest, step, limit }),
                    Some(Err(None)) => {
                        let error = self.link.unexpected(step, "SEND_DATA".to_owned());
                        self.fail(error);
                    }
                    _ => {}
                }
            }
            Incoming::HeadEnd if step == Step::Close && self.closed.proxied.is_some() => {
                self.end_part();
            }
            other => {
                let error = self.link.unexpected(step, other.name());
                self.problem(error);
            }
        }
    }

    /// Asks for what is for this machine's own file, once the host's is complete.
    fn end_part(&mut self) {
        let Some(proxied) = &mut self.closed.proxied else { return };
        match proxied.part {
            Part::Sections => {
                proxied.part = Part::Options;
                if let Err(error) = self.link.send(&Message::Cont, Step::Close) {
                    self.fail(error);
                }
            }
            Part::Options | Part::None => proxied.part = Part::None,
        }
    }

    fn close(&mut self) {
        if self.gone {
            return;
        }
        // From here on the program waits for the end and takes no events.
        self.deaf = true;
        let result =
            self.link.compare_clocks().and_then(|()| self.link.send(&Message::Close, Step::Close));
        if let Err(error) = result {
            return self.fail(error);
        }
        let all = Deadline::after(CLOSE_TIME);
        let (mut heard, mut asked) = (Instant::now(), 0);
        while !self.gone {
            // One that stops its tracers says nothing for long, but answers probes.
            let probes = self.link.compares_clocks();
            let silence = if probes { self.patience.unanswered } else { SILENCE };
            let wait = if probes { self.patience.ask_after } else { SILENCE };
            match self.link.receive(Step::Close, all.min(Deadline::after(wait)), silence) {
                Ok(Incoming::Closed) => {
                    self.closed.end = SessionEnd::Complete;
                    break;
                }
                Ok(incoming) => {
                    (heard, asked) = (Instant::now(), 0);
                    self.take(incoming, Step::Close);
                }
                Err(HostError::TimedOut { .. })
                    if probes && (asked < QUESTIONS || heard.elapsed() < silence) =>
                {
                    let rounds = self.link.rounds();
                    asked += 1;
                    if let Err(error) = self.link.compare_clocks() {
                        self.fail(error);
                    } else if self.link.rounds() > rounds {
                        (heard, asked) = (Instant::now(), 0);
                    }
                }
                Err(error) => self.fail(error),
            }
            if all.has_passed() {
                let guest = self.link.guest.clone();
                self.fail(HostError::TimedOut {
                    guest,
                    step: Step::Close,
                    seconds: CLOSE_TIME.as_secs(),
                });
            }
        }
        // Once more, so that every event lies between two comparisons.
        if !self.gone
            && let Err(error) = self.link.compare_clocks()
        {
            self.problem(error);
        }
        if self.lost_output > 0 {
            let message = format!("output: {} bytes were not taken and are lost", self.lost_output);
            let error = self.link.unexpected(Step::Exec, message);
            self.problem(error);
        }
    }

    fn send_output(&mut self, stream: u32, bytes: Vec<u8>) {
        let size = bytes.len() as u64;
        if !self.send_event(SessionEvent::Output { stream, bytes }) {
            self.lost_output += size;
        }
    }

    fn send_event(&mut self, event: SessionEvent) -> bool {
        match self.events.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Full(event)) if !self.deaf => {
                let sent = self.events.send_timeout(event, DEAF_AFTER).is_ok();
                self.deaf = !sent;
                sent
            }
            Err(_) => false,
        }
    }

    fn problem(&mut self, error: HostError) {
        if self.closed.problems.len() < MAX_PROBLEMS {
            self.closed.problems.push(error);
        }
    }

    /// The session cannot go on; what was saved stays.
    fn fail(&mut self, error: HostError) {
        let is_silent = matches!(error, HostError::TimedOut { .. });
        self.problem(error);
        if !self.gone {
            self.closed.end = if is_silent { SessionEnd::Silent } else { SessionEnd::Gone };
            self.gone = true;
            self.send_event(SessionEvent::Gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use trace_transport::{Connection, Error, Stream};

    use super::*;
    use crate::time_sync::{self, Clock, Ping};

    /// Closes a session with a guest that answers probes for so long, or none, and says after so long
    /// that it has stopped.
    fn close(answers: Duration, stops_after: Duration) -> Closed {
        let (ours, theirs) = Stream::pair().unwrap();
        let guest = std::thread::spawn(move || {
            let mut connection = Connection::new(theirs);
            let (start, mut scratch) = (Instant::now(), Vec::new());
            let mut has_stopped = false;
            loop {
                if !has_stopped && start.elapsed() >= stops_after {
                    has_stopped = true;
                    if connection.send(&Message::CloseResp, Deadline::NEVER).is_err() {
                        return;
                    }
                }
                match connection.receive(Deadline::after(Duration::from_millis(20))) {
                    Ok(Message::TimeSync { protocol, id, payload }) => {
                        let answer = time_sync::answer(protocol, id, payload, &mut scratch);
                        if start.elapsed() < answers
                            && let Some(answer) = answer
                            && connection.send(&answer, Deadline::NEVER).is_err()
                        {
                            return;
                        }
                    }
                    Ok(_) | Err(Error::TimedOut { .. }) => {}
                    Err(_) => return,
                }
            }
        });
        let clock = || Clock::of_trace_clock("mono").unwrap();
        let mut link = Link::new("guest".to_owned(), Connection::new(ours), false);
        link.set_ping(Ping::new(clock(), clock()));
        let (orders, received) = unbounded();
        let (events, _taken) = bounded(MAX_EVENTS);
        let thread = Thread {
            link,
            wake: Arc::new(EventFd::new().unwrap()),
            orders: received,
            events,
            deaf: false,
            lost_output: 0,
            gone: false,
            interval: Duration::from_secs(1),
            rounds: 0,
            patience: Patience {
                ask_after: Duration::from_millis(50),
                unanswered: Duration::from_secs(8),
            },
            closed: Closed::new(1),
        };
        orders.send(Order::Close).unwrap();
        let closed = thread.run();
        guest.join().unwrap();
        closed
    }

    #[test]
    fn a_guest_that_is_long_in_stopping_is_waited_for_while_it_answers() {
        let closed = close(Duration::MAX, Duration::from_secs(10));
        assert_eq!(closed.end, SessionEnd::Complete, "{:?}", closed.problems);
        assert!(!closed.samples.is_empty());
    }

    #[test]
    fn a_guest_that_answers_nothing_is_given_up() {
        let closed = close(Duration::ZERO, Duration::MAX);
        assert_eq!(closed.end, SessionEnd::Silent);
        let problem = closed.problems.first();
        assert!(matches!(problem, Some(HostError::TimedOut { .. })), "{problem:?}");
    }
}
