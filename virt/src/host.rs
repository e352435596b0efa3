//! The host's side of a recording in a guest.
//!
//! ```no_run
//! # use trace_virt::{host::{Guest, Sink, StartRequest}, setup::{GuestName, VirtDir}};
//! let guest = Guest::connect(&VirtDir::default(), &GuestName::new("guest1")?)?;
//! let mut session = guest.start(&StartRequest {
//!     args: vec!["-e".into(), "sched".into()],
//!     host_clock: Some("mono".into()),
//!     guest_clock: Some("mono".into()),
//!     ..StartRequest::default()
//! })?;
//! let mut sinks = Vec::new();
//! for cpu in 0..session.cpus {
//!     let file = std::fs::File::create(format!("guest1.cpu{cpu}"))?;
//!     sinks.push(Sink { to: file.into(), offset: None });
//! }
//! session.collect(sinks, None)?;
//! std::thread::sleep(std::time::Duration::from_secs(1));
//! let finished = session.close()?;
//! println!("{} clock samples", finished.samples.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agent;
mod collect;
mod control;
mod error;
mod link;
mod recent;
mod reports;
mod status;

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use trace_transport::message::{Hello, Message, ParameterId, ParameterList};
use trace_transport::{Connection, Deadline, MessageError, fifo, unix};

use crate::agent::SyncPort;
use crate::protocol::{MARK_SIZE, RefuseCode, clean};
use crate::setup::{GuestName, MAX_CPUS, SetupError, VirtDir};
use crate::time_sync::{Clock, ClockSample, NotComparable, Ping, Sample};
use collect::{Collector, Target, Totals};
use control::Control;
use link::{Incoming, Link};
use recent::RecentRounds;

pub use agent::{AgentGuest, AgentTarget, SyncInterval};
pub(crate) use agent::{EndingSync, Sync};
pub use collect::{CpuReport, Sink};
pub use control::Proxied;
pub use error::{HostError, Step};
pub use status::{ClientStatus, ConnectedGuest, ExecAllowed, SessionStatus, status};
pub use trace_transport::session::agent::ProxyGuest;

/// The server asks the guest's client, which gets 3 s.
const CONNECT_TIME: Duration = Duration::from_secs(8);
/// Enabling all events of an emulated guest takes seconds.
const START_TIME: Duration = Duration::from_secs(60);
/// How long a guest that is ready may take to begin.
const BEGIN_TIME: Duration = Duration::from_secs(20);
/// How long a guest that is sending may be silent.
const SILENCE: Duration = Duration::from_secs(20);
/// How long data may be on its way after the guest said how much it is.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// How long what is on its way is taken from a guest that is gone.
const LAST_DATA: Duration = Duration::from_millis(500);
/// No kernel has larger sub-buffers.
const MAX_SUB_BUFFER: u32 = 1 << 20;
/// Largest head of a guest's trace: formats of all events and all symbols are a few MB.
const MAX_HEAD: u64 = 128 << 20;

/// What the guest said about itself; text is cleaned and numbers are bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestInfo {
    /// CPUs with a data port.
    pub cpus: u32,
    /// Page size of the guest.
    pub page_size: u32,
    /// Version text of its client.
    pub version: String,
    /// Whether it runs commands at all for the host.
    pub allows_exec: bool,
    /// Trace clocks of the guest that can be compared with the host's.
    pub clocks: Vec<String>,
}

/// What to record.
#[derive(Debug, Clone, Default)]
pub struct StartRequest {
    /// `record` arguments.
    pub args: Vec<String>,
    /// A command to run in the guest when [`GuestSession::exec`] is called; the guest's policy is asked at the start.
    pub exec: Option<Vec<String>>,
    /// Ties the files of one run together.
    pub trace_id: u64,
    /// The host's trace clock; without both clocks none are compared.
    pub host_clock: Option<String>,
    /// The guest's trace clock.
    pub guest_clock: Option<String>,
    /// Time between comparisons of the clocks; 1 s unless given.
    pub sync_interval: Option<Duration>,
}

/// Something that happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The guest's command wrote to its standard output (1) or standard error (2).
    Output {
        /// 1 or 2.
        stream: u32,
        /// What it wrote: anything, so not for a terminal as it is.
        bytes: Vec<u8>,
    },
    /// The guest's command ended.
    Exited(ExecStatus),
    /// The guest or the server went away; [`GuestSession::close`] gives what was saved.
    Gone,
}

/// How a command in the guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecStatus {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A guest that a server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestStatus {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: GuestState,
    /// Its data ports, once its client answered.
    pub cpus: u32,
}

/// How far a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestState {
    /// Its QEMU is connected.
    Connected,
    /// Its client answered.
    Ready,
    /// A session has it.
    InSession,
}

impl GuestState {
    fn of(number: u32) -> Self {
        match number {
            0 => Self::Connected,
            1 => Self::Ready,
            _ => Self::InSession,
        }
    }
}

/// A guest whose client answered; nobody else gets it until this is dropped.
#[derive(Debug)]
pub struct Guest {
    dir: VirtDir,
    name: GuestName,
    link: Link,
    info: GuestInfo,
    qemu: Option<i32>,
    /// The server passes on what a guest that was held says.
    can_hold: bool,
}

impl Guest {
    /// Reaches a guest through the running server.
    ///
    /// # Errors
    ///
    /// [`HostError::NoDirectory`], [`HostError::ServerNotRunning`], [`HostError::NotConnected`], [`HostError::NoClient`],
    /// [`HostError::Busy`], [`HostError::NoFifo`] and others, each with the guest's name.
    pub fn connect(dir: &VirtDir, name: &GuestName) -> Result<Self, HostError> {
        let fifos = count_fifos(dir, name)?;
        let guest = name.to_string();
        let mut connection = connect_server(dir, &guest)?;
        let deadline = Deadline::after(CONNECT_TIME);
        let failed = |source| link::stream_error(&guest, Step::Connect, CONNECT_TIME, source);
        let open = Message::Open { version: Message::STATUS_VERSION, guest: name.as_str() };
        connection.send(&open, deadline).map_err(failed)?;
        // A server that does not tell takes no totals either.
        let mut server = (0, 0);
        let info = loop {
            match connection.receive(deadline).map_err(failed)? {
                Message::Hello(hello) => break read_info(&hello),
                Message::Status { version, qemu } => server = (version.max(1), qemu),
                Message::Refuse { code, reason } => {
                    return Err(link::refused(&guest, Step::Connect, RefuseCode(code), reason));
                }
                other => {
                    let message = format!("{:?}", other.command());
                    return Err(HostError::Unexpected { guest, step: Step::Connect, message });
                }
            }
        };
        if info.cpus > fifos {
            return Err(HostError::NoFifo { guest, cpus: info.cpus, fifos });
        }
        let (version, qemu) = server;
        let link = Link::new(guest, connection, version > 0);
        let qemu = i32::try_from(qemu).ok().filter(|&pid| pid > 0);
        let can_hold = version >= Message::STATUS_WITH_HOLD;
        Ok(Self { dir: dir.clone(), name: name.clone(), link, info, qemu, can_hold })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &GuestName {
        &self.name
    }

    /// What it said about itself.
    #[must_use]
    pub fn info(&self) -> &GuestInfo {
        &self.info
    }

    /// The process that runs it, as the server sees it; `None` where an old server does not tell.
    #[must_use]
    pub fn qemu(&self) -> Option<i32> {
        self.qemu
    }

    /// Starts a recording. When this returns, the guest records and the head of its trace is here.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the guest's own words, a time-out, or the guest is gone.
    pub fn start(self, request: &StartRequest) -> Result<GuestSession, HostError> {
        self.prepare(request)?.ask()?.begin()
    }

    /// Does all that comes before the request, so that several guests can be asked at the same time.
    ///
    /// # Errors
    ///
    /// A data port that cannot be read, or the guest is gone.
    pub fn prepare(mut self, request: &StartRequest) -> Result<PreparedGuest, HostError> {
        let guest = self.name.to_string();
        let mut problems = Vec::new();
        match clocks(request) {
            Some(Ok((host, guest_clock))) => self.link.set_ping(Ping::new(host, guest_clock)),
            Some(Err(source)) => problems.push(HostError::Clock { guest: guest.clone(), source }),
            None => {}
        }
        let mark = random_mark().map_err(|source| self.io(source))?;
        let totals = Arc::new(Totals::with_quota(u64::MAX));
        self.link.report(&totals);
        let collectors = self.open_streams(mark, &totals)?;
        // The first comparison comes before the first event.
        self.link.compare_clocks()?;
        let request = request.clone();
        Ok(PreparedGuest { guest: self, request, mark, collectors, totals, problems })
    }

    fn open_streams(
        &self,
        mark: [u8; MARK_SIZE],
        totals: &Arc<Totals>,
    ) -> Result<Vec<Collector>, HostError> {
        (0..self.info.cpus)
            .map(|cpu| {
                let path =
                    self.dir.data_fifo(&self.name, cpu).ok_or_else(|| HostError::NoFifo {
                        guest: self.name.to_string(),
                        cpus: self.info.cpus,
                        fifos: cpu,
                    })?;
                let stream = fifo::open_read(&path).map_err(|source| HostError::Stream {
                    guest: self.name.to_string(),
                    step: Step::Start,
                    source,
                })?;
                // Less is only slower.
                let _ = fifo::set_capacity(&stream, fifo::WANTED_CAPACITY);
                Collector::spawn(cpu, stream, Some(mark), totals.clone())
                    .map_err(|source| self.io(source))
            })
            .collect()
    }

    fn request(&mut self, request: &StartRequest, mark: &[u8]) -> Result<(), HostError> {
        let parameters = || -> Result<ParameterList, MessageError> {
            let mut list = ParameterList::new();
            list.push_counted(ParameterId::ARGUMENTS, &request.args)?;
            list.push(ParameterId::STREAM_MARK, mark)?;
            if let Some(command) = &request.exec {
                list.push_counted(ParameterId::EXEC, command)?;
            }
            if self.can_hold {
                let clock = request.guest_clock.as_deref().unwrap_or_default();
                list.push(ParameterId::HOLD, clock.as_bytes())?;
            }
            Ok(list)
        };
        let list = parameters().map_err(|source| HostError::Stream {
            guest: self.name.to_string(),
            step: Step::Start,
            source: trace_transport::Error::Encode { peer: self.name.to_string(), source },
        })?;
        let message = Message::TraceReq {
            flags: Message::USE_FIFOS,
            trace_id: request.trace_id,
            parameters: list.parameters(),
        };
        self.link.send(&message, Step::Start)
    }

    /// The size of sub-buffers, and whether the guest waits to be told to begin.
    fn await_answer(&mut self, wanted: u64) -> Result<(u32, bool), HostError> {
        let deadline = Deadline::after(START_TIME);
        loop {
            match self.link.receive(Step::Start, deadline, START_TIME)? {
                Incoming::Started { cpus, page_size, trace_id, is_held } => {
                    let plausible =
                        page_size.is_power_of_two() && (512..=MAX_SUB_BUFFER).contains(&page_size);
                    if cpus == self.info.cpus && plausible && trace_id == wanted {
                        return Ok((page_size, is_held && self.can_hold));
                    }
                    let message = format!(
                        "answer: {cpus} CPUs, sub-buffers of {page_size} bytes, id {trace_id}"
                    );
                    return Err(self.link.unexpected(Step::Start, message));
                }
                Incoming::Refused { code, reason } => {
                    return Err(self.link.refused(Step::Start, code, &reason));
                }
                Incoming::TimeSync { .. } => {}
                other => return Err(self.link.unexpected(Step::Start, other.name())),
            }
        }
    }

    /// Lets a guest begin that waits for it, and waits until it has; what its clock said then, if it told.
    fn let_begin(&mut self) -> Result<Option<u64>, HostError> {
        self.link.send(&Message::Cont, Step::Start)?;
        let deadline = Deadline::after(BEGIN_TIME);
        loop {
            match self.link.receive(Step::Start, deadline, BEGIN_TIME)? {
                Incoming::Begun { time } => return Ok(time),
                Incoming::Refused { code, reason } => {
                    return Err(self.link.refused(Step::Start, code, &reason));
                }
                Incoming::TimeSync { .. } => {}
                other => return Err(self.link.unexpected(Step::Start, other.name())),
            }
        }
    }

    fn io(&self, source: io::Error) -> HostError {
        HostError::Io { guest: self.name.to_string(), step: Step::Start, source }
    }
}

/// A guest that is ready to be asked to record. Dropped, it is free again.
#[derive(Debug)]
pub struct PreparedGuest {
    guest: Guest,
    request: StartRequest,
    mark: [u8; MARK_SIZE],
    collectors: Vec<Collector>,
    totals: Arc<Totals>,
    problems: Vec<HostError>,
}

impl PreparedGuest {
    /// Asks the guest to record. When this returns, it has set tracing up and waits to be told to
    /// [begin](ReadyGuest::begin), so that several guests can begin at the same time; one whose client or server is too old
    /// for that records.
    ///
    /// # Errors
    ///
    /// As [`Guest::start`].
    pub fn ask(self) -> Result<ReadyGuest, HostError> {
        let mut prepared = self;
        let asked_at = Instant::now();
        prepared.guest.request(&prepared.request, &prepared.mark)?;
        let (sub_buffer_size, is_held) = prepared.guest.await_answer(prepared.request.trace_id)?;
        let ready_at = Instant::now();
        Ok(ReadyGuest { prepared, sub_buffer_size, is_held, asked_at, ready_at })
    }
}

/// A guest that has all set up to record. Dropped, it puts that back and is free again.
#[derive(Debug)]
pub struct ReadyGuest {
    prepared: PreparedGuest,
    sub_buffer_size: u32,
    is_held: bool,
    asked_at: Instant,
    ready_at: Instant,
}

impl ReadyGuest {
    /// Lets the guest record. When this returns, it does, and the head of its trace is here.
    ///
    /// # Errors
    ///
    /// As [`Guest::start`].
    pub fn begin(self) -> Result<GuestSession, HostError> {
        let Self { prepared, sub_buffer_size, is_held, asked_at, ready_at } = self;
        let PreparedGuest { guest: mut asked, request, collectors, totals, problems, .. } =
            prepared;
        let told_at = Instant::now();
        let guest_time = if is_held { asked.let_begin()? } else { None };
        let started =
            Started { asked_at, ready_at, told_at: is_held.then_some(told_at), guest_time };
        let head = asked.link.receive_head(SILENCE)?;

        let Guest { name, link, info, .. } = asked;
        let guest = name.to_string();
        let interval = request.sync_interval.unwrap_or(Duration::from_secs(1));
        let recent = link.recent();
        let control = Control::spawn(link, info.cpus, interval, false)
            .map_err(|source| HostError::Io { guest: guest.clone(), step: Step::Start, source })?;
        Ok(GuestSession {
            head,
            cpus: info.cpus,
            sub_buffer_size,
            trace_id: request.trace_id,
            started,
            info,
            guest,
            control,
            collectors,
            totals,
            collecting: false,
            problems,
            recent,
            sync: None,
        })
    }
}

/// A recording that runs in a guest. Dropped without [`close`](Self::close), it is aborted.
#[derive(Debug)]
pub struct GuestSession {
    /// What the file needs before the CPU data.
    pub head: Vec<u8>,
    /// CPUs that send data.
    pub cpus: u32,
    /// Bytes per sub-buffer.
    pub sub_buffer_size: u32,
    /// Names the trace: the answer of an agent tells it, others answer with that of the request.
    pub trace_id: u64,
    /// How it came to record.
    pub started: Started,
    /// What the guest said about itself.
    pub info: GuestInfo,
    guest: String,
    control: Control,
    collectors: Vec<Collector>,
    totals: Arc<Totals>,
    collecting: bool,
    problems: Vec<HostError>,
    recent: RecentRounds,
    /// The time sync connection of an agent.
    sync: Option<SessionSync>,
}

/// Who drives the rounds on the time sync connection of an agent.
#[derive(Debug)]
enum SessionSync {
    /// This machine, which is the host.
    Driven(Sync),
    /// The agent's, which is the host of this one.
    Answered(SyncPort),
}

/// When a guest began to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// When it was asked to.
    pub asked_at: Instant,
    /// When its word came that it was ready.
    pub ready_at: Instant,
    /// When it was told to begin; `None` where it began by itself once it was ready.
    pub told_at: Option<Instant>,
    /// What its clock said when tracing was on, in units of the trace clock, if it told.
    pub guest_time: Option<u64>,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The host, and the guest said how much it sent.
    Complete,
    /// The guest, its client or the server went away: what they still had is lost, and nobody knows how much that is.
    Gone,
    /// The guest did not answer any more, as one that is paused: what it has may be lost.
    Silent,
}

/// What a session brought.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// How it ended.
    pub end: SessionEnd,
    /// Per CPU.
    pub cpus: Vec<CpuReport>,
    /// What the guest's recorder added at the end.
    pub tail: Vec<u8>,
    /// Guest clock to host clock, to be interpolated; empty when they were not compared.
    pub samples: Vec<Sample>,
    /// The same for each vCPU, as an agent told it, without a bound.
    pub vcpu_samples: Vec<Vec<ClockSample>>,
    /// What a host brought that was recorded for this machine, its guest.
    pub proxied: Option<Proxied>,
    /// How the guest's command ended, if that was told.
    pub exec: Option<ExecStatus>,
    /// How often and how long the guest's command waited for this side to take data; `None` where it was not to wait.
    pub held: Option<(u32, Duration)>,
    /// What went wrong on the way and left the rest of use.
    pub problems: Vec<HostError>,
}

impl GuestSession {
    /// Lets each CPU's data flow to `sinks[cpu]`, at most `quota` bytes of all CPUs together; what is beyond is counted
    /// and thrown away. Until then it waits in the FIFOs and in the guest.
    ///
    /// # Errors
    ///
    /// [`HostError::Unexpected`] when there is not one sink per CPU.
    pub fn collect(&mut self, sinks: Vec<Sink>, quota: Option<u64>) -> Result<(), HostError> {
        self.collect_to(sinks.into_iter().map(Target::Descriptor).collect(), quota)
    }

    /// The same with `writers[cpu]`, each of which is written to by a thread of its own and dropped at the end.
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    pub fn collect_into(
        &mut self,
        writers: Vec<Box<dyn Write + Send>>,
        quota: Option<u64>,
    ) -> Result<(), HostError> {
        self.collect_to(writers.into_iter().map(Target::Writer).collect(), quota)
    }

    fn collect_to(&mut self, targets: Vec<Target>, quota: Option<u64>) -> Result<(), HostError> {
        if targets.len() != self.collectors.len() {
            let message =
                format!("number of sinks: {} for {} CPUs", targets.len(), self.collectors.len());
            return Err(HostError::Unexpected {
                guest: self.guest.clone(),
                step: Step::Data,
                message,
            });
        }
        self.totals.quota.store(quota.unwrap_or(u64::MAX), Ordering::Relaxed);
        for (collector, target) in self.collectors.iter().zip(targets) {
            collector.set_target(target);
        }
        self.collecting = true;
        Ok(())
    }

    /// Tells the guest to run the command of the request; its output and end come as [`events`](Self::events).
    pub fn exec(&mut self) {
        self.control.exec();
    }

    /// What happens, to be waited for together with other guests'.
    #[must_use]
    pub fn events(&self) -> &Receiver<SessionEvent> {
        self.control.events()
    }

    /// Bytes kept so far, of all CPUs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.totals.kept.load(Ordering::Relaxed)
    }

    /// The guest's name.
    #[must_use]
    pub fn guest(&self) -> &str {
        &self.guest
    }

    /// How often the clocks were compared so far.
    #[must_use]
    pub fn comparisons(&self) -> u64 {
        self.recent.count()
    }

    /// What the last comparisons of the clocks say, for times since then; as [`Finished::samples`]. Empty where they are
    /// not compared, or only by the protocol of the C trace-cmd, of which the end of the session tells.
    #[must_use]
    pub fn recent_samples(&self) -> Vec<Sample> {
        self.recent.samples()
    }

    /// Compares the clocks a last time, stops the guest, and takes the rest of its data.
    ///
    /// # Errors
    ///
    /// None today that would make what was saved useless: see [`Finished::problems`].
    pub fn close(mut self) -> Result<Finished, HostError> {
        if !self.collecting {
            // Nobody wants the data, but the guest must get rid of it.
            let sinks =
                self.collectors.iter().map(|_| File::options().write(true).open("/dev/null"));
            let sinks: io::Result<Vec<_>> =
                sinks.map(|file| Ok(Sink { to: file?.into(), offset: None })).collect();
            let failed =
                |source| HostError::Io { guest: self.guest.clone(), step: Step::Close, source };
            let sinks = sinks.map_err(failed)?;
            self.collect(sinks, Some(0))?;
        }
        // The last round goes on beside the end of the recording.
        let (driven, answered) = match self.sync {
            Some(SessionSync::Driven(sync)) => (Some(sync.end()), None),
            Some(SessionSync::Answered(port)) => (None, Some(port)),
            None => (None, None),
        };
        let closed = self.control.close();
        let mut problems = self.problems;
        problems.extend(closed.problems);

        for (collector, end) in self.collectors.iter().zip(&closed.ends) {
            match end {
                Some(bytes) => collector.end_at(*bytes, DRAIN_TIME),
                None => collector.end_when_quiet(LAST_DATA),
            }
        }
        let mut cpus = Vec::with_capacity(self.collectors.len());
        for (cpu, collector) in (0..).zip(self.collectors) {
            let guest = || self.guest.clone();
            let (report, error) = collector.finish();
            if let Some(source) = error {
                problems.push(HostError::Data { guest: guest(), cpu, source });
            }
            if report.missing > 0 {
                problems.push(HostError::Missing { guest: guest(), cpu, missing: report.missing });
            }
            if report.excess > 0 {
                problems.push(HostError::Excess { guest: guest(), cpu, excess: report.excess });
            }
            cpus.push(report);
        }
        let (vcpu_samples, problem) = driven.map(EndingSync::finish).unwrap_or_default();
        problems.extend(problem);
        if let Some(Err(reason)) = answered.map(SyncPort::finish) {
            problems.push(HostError::TimeSync { guest: self.guest.clone(), reason });
        }
        let (end, tail, samples, exec) = (closed.end, closed.tail, closed.samples, closed.exec);
        let (held, proxied) = (closed.held, closed.proxied);
        Ok(Finished { end, cpus, tail, samples, vcpu_samples, proxied, exec, held, problems })
    }
}

/// Guests that the running server knows.
///
/// # Errors
///
/// The server does not run or does not answer; the guest named in the error is `*`.
pub fn list(dir: &VirtDir) -> Result<Vec<GuestStatus>, HostError> {
    let mut connection = connect_server(dir, "*")?;
    let deadline = Deadline::after(CONNECT_TIME);
    let failed = |source| link::stream_error("*", Step::Connect, CONNECT_TIME, source);
    connection.send(&Message::GuestList, deadline).map_err(failed)?;
    let mut guests = Vec::new();
    loop {
        match connection.receive(deadline).map_err(failed)? {
            Message::GuestEntry { guest: "", .. } => return Ok(guests),
            Message::GuestEntry { state, cpus, guest } => {
                guests.push(GuestStatus { name: clean(guest), state: GuestState::of(state), cpus });
            }
            other => {
                let message = format!("{:?}", other.command());
                return Err(HostError::Unexpected {
                    guest: "*".to_owned(),
                    step: Step::Connect,
                    message,
                });
            }
        }
    }
}

fn count_fifos(dir: &VirtDir, name: &GuestName) -> Result<u32, HostError> {
    let guest = name.to_string();
    match dir.cpus(name) {
        Ok(0) => Err(HostError::NoFifo { guest, cpus: 1, fifos: 0 }),
        Ok(fifos) => Ok(fifos),
        Err(SetupError::NotSetUp { path, .. }) => Err(HostError::NoDirectory { guest, path }),
        Err(source) => Err(HostError::Setup { guest, source }),
    }
}

fn connect_server(dir: &VirtDir, guest: &str) -> Result<Connection, HostError> {
    let path = dir.manager_socket();
    match unix::connect(&path) {
        Ok(mut stream) => {
            stream.set_peer(format!("guest {guest}"));
            Ok(Connection::new(stream))
        }
        Err(trace_transport::Error::Io { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Err(HostError::ServerNotRunning { guest: guest.to_owned(), path })
        }
        Err(source) => {
            Err(HostError::Stream { guest: guest.to_owned(), step: Step::Connect, source })
        }
    }
}

fn read_info(hello: &Hello<'_>) -> GuestInfo {
    // A list that breaks off has no more words; that costs the guest its clocks.
    let mut words = hello.words.iter().map_while(Result::ok);
    GuestInfo {
        cpus: hello.cpus.min(MAX_CPUS),
        page_size: hello.page_size,
        version: clean(words.next().unwrap_or_default()),
        allows_exec: hello.exec != trace_transport::message::ExecRule::DENY,
        clocks: words.take(64).map(clean).collect(),
    }
}

fn clocks(request: &StartRequest) -> Option<Result<(Clock, Clock), NotComparable>> {
    let (host, guest) = (request.host_clock.as_ref()?, request.guest_clock.as_ref()?);
    Some(Clock::of_trace_clock(host).and_then(|host| Ok((host, Clock::of_trace_clock(guest)?))))
}

fn random_mark() -> io::Result<[u8; MARK_SIZE]> {
    let mut mark = [0; MARK_SIZE];
    File::open("/dev/urandom")?.read_exact(&mut mark)?;
    Ok(mark)
}
