//! A guest from its first answer to the beginning of its recording.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_transport::message::{Hello, Message, ParameterId, ParameterList};
use trace_transport::{Deadline, MessageError, fifo};

use super::collect::{Collector, Totals};
use super::control::Control;
use super::error::{HostError, Step};
use super::link::{self, Incoming, Link};
use super::list::{CONNECT_TIME, connect_server};
use super::session::{GuestSession, Started};
use crate::protocol::{MARK_SIZE, RefuseCode, clean};
use crate::setup::{GuestName, MAX_CPUS, SetupError, VirtDir};
use crate::time_sync::{Clock, NotComparable, Ping};

/// Enabling all events of an emulated guest takes seconds, and minutes where much else goes on.
const START_TIME: Duration = Duration::from_secs(180);
/// How long a guest that is ready may take to begin.
const BEGIN_TIME: Duration = Duration::from_secs(60);
/// No kernel has larger sub-buffers.
const MAX_SUB_BUFFER: u32 = 1 << 20;

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
        let head = asked.link.receive_head(BEGIN_TIME)?;

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

fn count_fifos(dir: &VirtDir, name: &GuestName) -> Result<u32, HostError> {
    let guest = name.to_string();
    match dir.cpus(name) {
        Ok(0) => Err(HostError::NoFifo { guest, cpus: 1, fifos: 0 }),
        Ok(fifos) => Ok(fifos),
        Err(SetupError::NotSetUp { path, .. }) => Err(HostError::NoDirectory { guest, path }),
        Err(source) => Err(HostError::Setup { guest, source }),
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

pub(super) fn clocks(request: &StartRequest) -> Option<Result<(Clock, Clock), NotComparable>> {
    let (host, guest) = (request.host_clock.as_ref()?, request.guest_clock.as_ref()?);
    Some(Clock::of_trace_clock(host).and_then(|host| Ok((host, Clock::of_trace_clock(guest)?))))
}

fn random_mark() -> io::Result<[u8; MARK_SIZE]> {
    let mut mark = [0; MARK_SIZE];
    File::open("/dev/urandom")?.read_exact(&mut mark)?;
    Ok(mark)
}
