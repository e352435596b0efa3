//! A guest that is reached through its agent: the C trace-cmd's, or ours.

mod sync;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_transport::message::ProtocolName;
use trace_transport::session::agent::{
    AgentExtensions, Ask, Opened, Opening, PTP, ProxyGuest, Taken,
};
use trace_transport::session::{Proof, RefuseCode, SessionError};
use trace_transport::{Address, Connection, Deadline, Key, Stream, fifo};

use super::collect::{Collector, Totals};
use super::control::Control;
use super::link::{self, Link};
use super::session::SessionSync;
use super::{GuestInfo, GuestSession, HostError, StartRequest, Started, Step};
use crate::agent::{MarkClock, SyncPort, session_key_of};
use crate::identity;
use crate::setup::{GuestName, MAX_CPUS, VirtDir};
use crate::time_sync::{Clock, Ping};

pub(crate) use sync::{EndingSync, Sync};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(30);
/// How long an agent may take to start: enabling all events of an emulated guest takes seconds.
const START: Duration = Duration::from_secs(180);

/// Agents of the C version turn events on once they have sent the head, and do not say when they have.
const SETTLE: Duration = Duration::from_millis(250);

/// How often clocks are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncInterval {
    /// At the start and at the end; where that costs little, all the time.
    #[default]
    Default,
    /// At the start and at the end only.
    Ends,
    /// This often.
    Every(Duration),
    /// Never.
    Off,
}

/// Where an agent is, and how it is asked.
#[derive(Debug, Clone)]
pub struct AgentTarget {
    /// What the guest is called.
    pub guest: String,
    /// Where its agent listens.
    pub address: Address,
    /// A key that the agent must know.
    pub key: Option<Arc<Key>>,
    /// Where the guest's FIFOs are, if data may come through them.
    pub fifos: Option<VirtDir>,
    /// How often clocks are compared.
    pub interval: SyncInterval,
    /// It is this machine that is the guest, and its host that is recorded: what this machine has.
    pub proxy: Option<ProxyGuest>,
}

/// A guest whose agent took the connection.
#[derive(Debug)]
pub struct AgentGuest {
    target: AgentTarget,
    connection: Connection,
    qemu: Option<i32>,
}

impl AgentGuest {
    /// Connects to the agent.
    ///
    /// # Errors
    ///
    /// Nobody answers there.
    pub fn connect(target: AgentTarget) -> Result<Self, HostError> {
        let connected = target.address.connect(Deadline::after(CONNECT));
        let mut stream = connected
            .map_err(|source| link::stream_error(&target.guest, Step::Connect, CONNECT, source))?;
        stream.set_peer(format!("guest {}", target.guest));
        let qemu = match target.address {
            Address::Vsock { cid, .. } if target.proxy.is_none() => {
                identity::process_of_cid(Path::new("/proc"), cid)
            }
            _ => None,
        };
        Ok(Self { target, connection: Connection::new(stream), qemu })
    }

    /// The guest's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.target.guest
    }

    /// Id of its QEMU's process, where the agent is a virtual machine of this one.
    #[must_use]
    pub fn qemu(&self) -> Option<i32> {
        self.qemu
    }

    /// Starts a recording. When this returns, the guest records and the head of its trace is here. `clock` makes stamps
    /// for agents that compare clocks in the way of the C trace-cmd.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the agent's own words, a time-out, or it is gone.
    pub fn start(
        self,
        request: &StartRequest,
        clock: Option<Box<dyn MarkClock>>,
    ) -> Result<GuestSession, HostError> {
        let Self { target, mut connection, .. } = self;
        let clock = clock.filter(|_| target.interval != SyncInterval::Off);
        let mut problems = Vec::new();
        let pings = target.interval != SyncInterval::Off && target.proxy.is_none();
        let ping = match super::guest::clocks(request).filter(|_| pings) {
            Some(Ok((host, guest))) => Some((host, guest)),
            Some(Err(_)) | None => None,
        };
        let fifos = if target.proxy.is_none() { target.open_fifos() } else { Vec::new() };
        let asked_at = Instant::now();
        let offers =
            Offers { fifos: !fifos.is_empty(), ping: ping.is_some(), clock: clock.is_some() };
        let opened = open(&target, &mut connection, request, offers)?;
        let ready_at = Instant::now();
        let connects = Connects { target: &target, opened: &opened };
        let totals = Arc::new(Totals::with_quota(u64::MAX));
        let collectors = connects.collect(fifos, &totals)?;
        let mut link = Link::new(target.guest.clone(), connection, false);
        let sync = match (opened.time_sync, clock) {
            (Some((name, port)), Some(clock)) if name == ProtocolName::new(PTP) => {
                let stream = connects.stream(port, opened.sync_token(), Step::TimeSync)?;
                let started = match target.proxy {
                    Some(_) => SyncPort::over(stream, clock).map(SessionSync::Answered),
                    None => {
                        let (guest, cpus, interval) = (&target.guest, opened.cpus, target.interval);
                        Sync::start(guest, || Ok(stream), clock, cpus, interval)
                            .map(SessionSync::Driven)
                    }
                };
                Some(started.map_err(|source| target.io(Step::TimeSync, source))?)
            }
            _ => None,
        };
        let mut compared = sync.is_some();
        if let (true, Some((host, guest))) = (opened.extensions.ping, ping) {
            link.set_ping(Ping::new(host, guest));
            link.compare_clocks()?;
            compared = true;
        }
        if !compared && target.interval != SyncInterval::Off && request.host_clock.is_some() {
            let reason = "the agent offers no way to compare clocks".to_owned();
            problems.push(HostError::TimeSync { guest: target.guest.clone(), reason });
        }
        // The first piece comes when all of it is made, which takes an emulated guest long.
        let head = link.receive_head(START)?;
        if let Some(SessionSync::Driven(sync)) = &sync {
            sync.wait_for_first_round();
        }
        if opened.extensions == AgentExtensions::NONE {
            std::thread::sleep(SETTLE);
        }
        let interval = match target.interval {
            SyncInterval::Default => request.sync_interval.unwrap_or(Duration::from_secs(1)),
            SyncInterval::Every(interval) => interval,
            SyncInterval::Ends | SyncInterval::Off => Duration::MAX,
        };
        let recent = link.recent();
        let control = Control::spawn(link, opened.cpus, interval, target.proxy.is_some())
            .map_err(|source| target.io(Step::Start, source))?;
        Ok(GuestSession {
            head,
            cpus: opened.cpus,
            sub_buffer_size: opened.page_size,
            trace_id: opened.trace_id,
            started: Started { asked_at, ready_at, told_at: None, guest_time: None },
            info: GuestInfo {
                cpus: opened.cpus,
                page_size: opened.page_size,
                version: String::new(),
                allows_exec: opened.extensions.exec,
                clocks: Clock::available().map(|clock| clock.name().to_owned()).collect(),
            },
            guest: target.guest,
            control,
            collectors,
            totals,
            collecting: false,
            problems,
            recent,
            sync,
        })
    }
}

impl AgentTarget {
    fn io(&self, step: Step, source: std::io::Error) -> HostError {
        HostError::Io { guest: self.guest.clone(), step, source }
    }

    fn session(&self, source: SessionError) -> HostError {
        let (guest, step) = (self.guest.clone(), Step::Start);
        match source {
            SessionError::Refused { code, reason } => {
                let code = crate::protocol::RefuseCode(code.0);
                HostError::Refused { guest, step, code, reason }
            }
            source => HostError::Session { guest, step, source },
        }
    }

    /// FIFOs of the guest, as many as can be opened without a gap, and with nothing in them of an earlier session. None
    /// where somebody else reads from them.
    fn open_fifos(&self) -> Vec<Stream> {
        let Some(dir) = &self.fifos else { return Vec::new() };
        let Ok(name) = GuestName::new(&self.guest) else { return Vec::new() };
        let open = |cpu| {
            let mut stream = fifo::open_read(&dir.data_fifo(&name, cpu)?).ok()?;
            fifo::empty(&mut stream).ok()?;
            Some(stream)
        };
        (0..MAX_CPUS).map_while(open).collect()
    }
}

/// What the host can do.
#[derive(Clone, Copy)]
struct Offers {
    fifos: bool,
    ping: bool,
    clock: bool,
}

/// Agrees on how it is recorded.
fn open(
    target: &AgentTarget,
    connection: &mut Connection,
    request: &StartRequest,
    offers: Offers,
) -> Result<Opened, HostError> {
    let key = target.key.as_ref().map(session_key_of).transpose();
    let no_numbers = |error| target.io(Step::Start, std::io::Error::other(error));
    let ask = Ask {
        fifos: offers.fifos,
        trace_id: request.trace_id,
        args: request.args.clone(),
        exec: request.exec.clone(),
        time_sync: if offers.clock { vec![PTP] } else { Vec::new() },
        extensions: match target.proxy {
            Some(_) => AgentExtensions::OF_PROXIES,
            None => AgentExtensions { ping: offers.ping, ..AgentExtensions::ALL },
        },
        key: key.map_err(no_numbers)?,
        proxy: target.proxy,
    };
    let wants_exec = ask.exec.is_some();
    let (mut opening, bytes) = Opening::new(ask).map_err(|error| target.session(error))?;
    let deadline = Deadline::after(START);
    let late = |source| link::stream_error(&target.guest, Step::Start, START, source);
    connection.send_bytes(&bytes, deadline).map_err(late)?;
    loop {
        let taken = match connection.receive(deadline) {
            Ok(message) => opening.take(&message),
            Err(trace_transport::Error::Closed { .. }) => {
                return Err(HostError::ClosedByAgent { guest: target.guest.clone() });
            }
            Err(source) => return Err(late(source)),
        };
        match taken.map_err(|error| target.session(error))? {
            Taken::Send(bytes) => connection.send_bytes(&bytes, deadline).map_err(late)?,
            Taken::Opened(opened) if wants_exec && !opened.extensions.exec => {
                let reason = "the agent runs no commands: it is not of this trace-cmd".to_owned();
                let code = RefuseCode::NOT_ALLOWED;
                return Err(target.session(SessionError::Refused { code, reason }));
            }
            Taken::Opened(opened) => return Ok(opened),
        }
    }
}

/// Connections of a session besides the first.
struct Connects<'a> {
    target: &'a AgentTarget,
    opened: &'a Opened,
}

impl Connects<'_> {
    /// Connects to a port of the agent's machine.
    fn stream(&self, port: u32, token: Option<Proof>, step: Step) -> Result<Stream, HostError> {
        let out_of_range = || HostError::Unexpected {
            guest: self.target.guest.clone(),
            step,
            message: format!("port {port}"),
        };
        let address = match &self.target.address {
            Address::Tcp { host, .. } => {
                let port = u16::try_from(port).map_err(|_| out_of_range())?;
                Address::Tcp { host: host.clone(), port }
            }
            Address::Vsock { cid, .. } => Address::Vsock { cid: *cid, port },
            Address::Hybrid { path, .. } => Address::Hybrid { path: path.clone(), port },
            _ => return Err(out_of_range()),
        };
        let deadline = Deadline::after(CONNECT);
        let failed = |source| link::stream_error(&self.target.guest, step, CONNECT, source);
        let mut stream = address.connect(deadline).map_err(failed)?;
        if let Some(token) = token {
            stream.write_all(&token, deadline).map_err(failed)?;
        }
        Ok(stream)
    }

    /// Takes the data of all CPUs.
    fn collect(
        &self,
        fifos: Vec<Stream>,
        totals: &Arc<Totals>,
    ) -> Result<Vec<Collector>, HostError> {
        let cpus = self.opened.cpus;
        let mut streams = Vec::new();
        if self.opened.fifos {
            streams = fifos;
            streams.truncate(cpus as usize);
            if streams.len() != cpus as usize {
                let fifos = u32::try_from(streams.len()).unwrap_or(u32::MAX);
                let guest = self.target.guest.clone();
                return Err(HostError::NoFifo { guest, cpus, fifos });
            }
            for stream in &streams {
                // Less is only slower.
                let _ = fifo::set_capacity(stream, fifo::WANTED_CAPACITY);
            }
        } else {
            for (cpu, port) in (0..).zip(&self.opened.ports) {
                streams.push(self.stream(*port, self.opened.data_token(cpu), Step::Data)?);
            }
        }
        let spawn = |(cpu, stream)| Collector::spawn(cpu, stream, None, totals.clone());
        let spawned: Result<Vec<_>, _> = (0..).zip(streams).map(spawn).collect();
        spawned.map_err(|source| self.target.io(Step::Data, source))
    }
}
