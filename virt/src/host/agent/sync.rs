//! The host's side of the time sync connection, in a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use trace_transport::session::agent::{SyncEvent, SyncHost};
use trace_transport::{Deadline, Interest, Stream, tcp};

use super::SyncInterval;
use crate::agent::MarkClock;
use crate::host::HostError;
use crate::time_sync::ClockSample;

/// How long a round of one vCPU may take: an agent that sends in pieces is held up for 90 ms by each of its 339 probes.
const ROUND: Duration = Duration::from_secs(45);
/// How long the guest may take nothing.
const SEND: Duration = Duration::from_secs(10);
/// Samples that are kept of each vCPU.
const MAX_SAMPLES: usize = 1 << 20;

/// Rounds that go on.
#[derive(Debug)]
pub(crate) struct Sync {
    orders: Sender<()>,
    /// Ends with the first round.
    first: Receiver<()>,
    thread: JoinHandle<Outcome>,
    guest: String,
    given_up: Arc<AtomicBool>,
}

/// Samples of each vCPU, and why there are no more.
type Outcome = (Vec<Vec<ClockSample>>, Option<String>);

/// The last round goes on.
#[derive(Debug)]
pub(crate) struct EndingSync {
    thread: Option<JoinHandle<Outcome>>,
    guest: String,
    given_up: Arc<AtomicBool>,
}

impl Drop for EndingSync {
    /// Nobody waits for it any more: no further CPU is begun with.
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

impl Sync {
    /// Drives them on the connection that `connect` gives, in a thread of its own.
    pub(crate) fn start(
        guest: &str,
        connect: impl FnOnce() -> Result<Stream, String> + Send + 'static,
        clock: Box<dyn MarkClock>,
        vcpus: u32,
        interval: SyncInterval,
    ) -> io::Result<Self> {
        let (orders, received) = bounded(1);
        let (begun, first) = bounded(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let told = given_up.clone();
        let run = move || match connect() {
            Ok(stream) => {
                let sync = SyncHost::new(ROUND);
                let rounds = Rounds { stream, clock, sync, given_up: told };
                rounds.run(vcpus, interval, &received, begun)
            }
            Err(reason) => (Vec::new(), Some(reason)),
        };
        let thread = std::thread::Builder::new().name("guest time sync".to_owned()).spawn(run)?;
        Ok(Self { orders, first, thread, guest: guest.to_owned(), given_up })
    }

    /// Waits until the first round is over, whatever it brought.
    pub(super) fn wait_for_first_round(&self) {
        let _ = self.first.recv();
    }

    /// Has the last round begin.
    pub(crate) fn end(self) -> EndingSync {
        drop(self.orders);
        EndingSync { thread: Some(self.thread), guest: self.guest, given_up: self.given_up }
    }
}

impl EndingSync {
    /// Whether it is over.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the last round.
    pub(crate) fn finish(mut self) -> (Vec<Vec<ClockSample>>, Option<HostError>) {
        let joined = self.thread.take().and_then(|thread| thread.join().ok());
        let (samples, reason) = joined.unwrap_or_default();
        let guest = std::mem::take(&mut self.guest);
        (samples, reason.map(|reason| HostError::TimeSync { guest, reason }))
    }
}

struct Rounds {
    stream: Stream,
    clock: Box<dyn MarkClock>,
    sync: SyncHost,
    given_up: Arc<AtomicBool>,
}

impl Rounds {
    fn run(
        mut self,
        vcpus: u32,
        interval: SyncInterval,
        orders: &Receiver<()>,
        begun: Sender<()>,
    ) -> Outcome {
        let mut begun = Some(begun);
        let mut samples = vec![Vec::new(); vcpus as usize];
        let mut all = || -> Result<(), String> {
            loop {
                self.round(&mut samples)?;
                drop(begun.take());
                let ended = match interval {
                    SyncInterval::Every(interval) => {
                        orders.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected)
                    }
                    _ => orders.recv().is_err(),
                };
                if ended {
                    break;
                }
            }
            self.round(&mut samples)?;
            self.sync.stop().map_err(|error| error.to_string())?;
            self.flush()
        };
        let problem = all().err();
        (samples, problem)
    }

    /// One round of all vCPUs.
    fn round(&mut self, samples: &mut [Vec<ClockSample>]) -> Result<(), String> {
        for (vcpu, samples) in (0_u16..).zip(samples) {
            if self.given_up.load(Ordering::Relaxed) {
                return Err("it took too long".to_owned());
            }
            let text = |error: trace_transport::session::SessionError| error.to_string();
            self.sync.begin(vcpu, Instant::now()).map_err(text)?;
            let sample = self.wait()?;
            // No stamps of its own at all is told in this way.
            if sample != (ClockSample { time: 0, offset: 0 }) && samples.len() < MAX_SAMPLES {
                samples.push(sample);
            }
        }
        Ok(())
    }

    /// Does its part of a round.
    fn wait(&mut self) -> Result<ClockSample, String> {
        self.clock.take()?;
        loop {
            while let Some(event) = self.sync.next_event().map_err(|error| error.to_string())? {
                match event {
                    SyncEvent::Mark(mark) => self.clock.mark(mark),
                    SyncEvent::Stamps => {
                        let stamps = self.clock.take()?;
                        self.sync.stamps(&stamps).map_err(|error| error.to_string())?;
                    }
                    SyncEvent::Offset { time, offset } => return Ok(ClockSample { time, offset }),
                }
            }
            self.flush()?;
            let deadline = self.sync.next_deadline().map_or(Deadline::NEVER, |at| {
                Deadline::after(at.saturating_duration_since(Instant::now()))
            });
            tcp::acknowledge_at_once(&self.stream);
            let waited = self.stream.wait(Interest::Read, deadline);
            waited.map_err(|error| error.to_string())?;
            self.sync.on_time(Instant::now()).map_err(|error| error.to_string())?;
            match self.stream.try_read(self.sync.space()) {
                Ok(Some(0)) => return Err("the guest ended the connection".to_owned()),
                Ok(Some(count)) => self.sync.filled(count),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        let out = self.sync.output();
        if out.is_empty() {
            return Ok(());
        }
        self.stream.write_all(out, Deadline::after(SEND)).map_err(|error| error.to_string())?;
        let count = out.len();
        self.sync.sent(count);
        Ok(())
    }
}
