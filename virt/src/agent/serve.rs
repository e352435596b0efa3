//! One host's session, in the guest.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal as Unix;
use trace_transport::message::{MAX_DATA, Message, ProtocolName};
use trace_transport::session::agent::{Agent, AgentEvent, AgentExtensions, Answer, PTP, Request};
use trace_transport::session::{RefuseCode, Timeouts};
use trace_transport::virtio_serial::{self, PortDirs};
use trace_transport::{Address, Deadline, Listener, Peer, Stream, tcp};

use super::data::{DataPort, Guard, Signal};
use super::places::{Spot, Turn};
use super::proxy::Rounds;
use super::server::session_key;
use super::sync::SyncPort;
use super::{AgentNews, AgentOptions, Log, ProxyOptions, RecordFor};
use crate::client::exec::Exec;
use crate::client::request::{chain, cut};
use crate::client::worker::{Job, Report, Worker};
use crate::client::{ClientEvent, RecordingEnd};
use crate::out_queue::OutQueue;
use crate::setup::{DATA_PORTS, MAX_CPUS};
use crate::time_sync;
use crate::waiting::{Ready, Waiting};

/// How long a host may take for each step of the set-up: its machine may stand still for a while.
const STEP: Duration = Duration::from_secs(30);
/// How long a recorder has to put everything back when the session breaks.
const LAST_ABORT: Duration = Duration::from_secs(60);
/// How long a command has to end when it is asked to.
const EXEC_GRACE: Duration = Duration::from_secs(5);
/// How long a host may stay to compare clocks a last time, once it has all.
const LAST_SYNC: Duration = Duration::from_secs(90);
/// Ports behind a monitor's socket that nobody has a use for; as many as are tried for one that is free.
const FIRST_HYBRID: u32 = 0x10000;
const HYBRID_PORTS: u32 = 0x10000;
const HYBRID_TRIES: u32 = 64;
/// How often it is looked whether the time sync has ended, at the end only.
const LOOK: Duration = Duration::from_millis(20);

enum State {
    Waiting,
    Starting(Request),
    Recording {
        exec: Option<Vec<String>>,
    },
    Stopping,
    /// The recorder has ended; its data is on its way.
    Draining {
        end: Result<RecordingEnd, String>,
        until: Deadline,
    },
    /// The guest has what belongs to the file of its host, and may ask for what belongs to its own.
    Options,
    Closed {
        until: Deadline,
    },
}

/// What there is more of a session whose guest asked for it.
struct Proxy {
    how: ProxyOptions,
    rounds: Option<(Rounds, u32)>,
    trace_id: u64,
    /// Options for its own file.
    options: Vec<u8>,
}

impl Proxy {
    fn end(&mut self) {
        if let Some((rounds, _)) = &mut self.rounds {
            rounds.end();
        }
    }

    fn is_finished(&self) -> bool {
        self.rounds.as_ref().is_none_or(|(rounds, _)| rounds.is_finished())
    }
}

pub(super) struct Session<'a> {
    stream: Stream,
    peer: Peer,
    own: &'a Address,
    options: &'a AgentOptions,
    log: &'a Log,
    agent: Agent,
    out: OutQueue,
    /// There once it is known where to record.
    worker: Option<Worker>,
    number: u64,
    state: State,
    data: Vec<DataPort>,
    ports: Vec<u32>,
    sync: Option<(SyncPort, u32)>,
    /// The guest that this machine is recorded for, and the comparison of its clocks.
    proxy: Option<Proxy>,
    done: Arc<Signal>,
    exec: Option<Exec>,
    cpus: u32,
    host_gone: bool,
    scratch: Vec<u8>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        stream: Stream,
        peer: Peer,
        own: &'a Address,
        options: &'a AgentOptions,
        log: &'a Log,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let patient =
            |usual| options.patience.map_or(Duration::MAX, |patience| patience.min(usual));
        let usual = Timeouts::default();
        let timeouts = Timeouts {
            step: patient(STEP),
            metadata: patient(usual.metadata),
            finish: patient(usual.finish),
        };
        let now = Instant::now();
        Ok(Self {
            stream,
            peer,
            own,
            options,
            log,
            agent: Agent::new(AgentExtensions::ALL, session_key(options)?, timeouts, now),
            out: OutQueue::default(),
            worker: None,
            number: 0,
            state: State::Waiting,
            data: Vec::new(),
            ports: Vec::new(),
            sync: None,
            proxy: None,
            done: Signal::new()?,
            exec: None,
            cpus: 0,
            host_gone: false,
            scratch: Vec::new(),
        })
    }

    /// Serves the host until it is gone or `stop` is readable. Nothing is recorded any more when it returns.
    pub(super) fn run(&mut self, stop: BorrowedFd<'_>, turn: &mut Turn<'_>) -> Result<(), String> {
        let result = self.serve(stop, turn);
        if result.is_err() {
            self.say_goodbye();
        }
        self.finish();
        result
    }

    fn serve(&mut self, stop: BorrowedFd<'_>, turn: &mut Turn<'_>) -> Result<(), String> {
        loop {
            self.take_output();
            self.out.flush(&mut self.stream).map_err(|error| self.gone(&error.to_string()))?;
            if let State::Closed { until } = self.state
                && self.out.is_empty()
                && (until.has_passed() || self.has_left())
            {
                return Ok(());
            }
            let ready = self.wait(stop)?;
            if ready.stop {
                return Ok(());
            }
            if ready.host {
                self.read();
            }
            self.take_events(turn)?;
            // What is here by now is in time.
            let timed = self.agent.on_time(Instant::now());
            timed.map_err(|error| error.to_string())?;
            self.take_reports()?;
            self.watch_exec();
            self.end_if_sent(turn);
        }
    }

    /// Whether nobody needs the connection any more.
    fn has_left(&self) -> bool {
        let synced = self.sync.as_ref().is_none_or(|(sync, _)| sync.is_finished());
        // A host that compares clocks here goes when it has what it wants.
        synced && (self.host_gone || !self.agent.extensions().ping)
    }

    fn wait(&self, stop: BorrowedFd<'_>) -> Result<Ready, String> {
        let mut deadline = self.agent.next_deadline().map_or(Deadline::NEVER, |at| {
            Deadline::after(at.saturating_duration_since(Instant::now()))
        });
        match self.state {
            State::Draining { .. } if self.proxy.is_some() => {
                deadline = deadline.min(Deadline::after(LOOK));
            }
            State::Draining { until, .. } if !until.has_passed() => deadline = deadline.min(until),
            State::Closed { until } => deadline = until.min(Deadline::after(LOOK)),
            _ => {}
        }
        let waiting = Waiting {
            stop: Some(stop),
            host: &self.stream,
            host_is_there: !self.host_gone,
            out: &self.out,
            worker: self.worker.as_ref(),
            exec: self.exec.as_ref(),
            also: Some(self.done.as_fd()),
            deadline,
        };
        waiting.wait().map_err(|errno| format!("waiting for the host: {errno}"))
    }

    fn read(&mut self) {
        let space = self.agent.space();
        if space.is_empty() {
            return;
        }
        match self.stream.try_read(space) {
            Ok(Some(0)) | Err(_) => {
                self.agent.hung_up();
                self.host_gone = true;
            }
            Ok(Some(count)) => self.agent.filled(count),
            Ok(None) => {}
        }
    }

    fn take_events(&mut self, turn: &mut Turn<'_>) -> Result<(), String> {
        while let Some(event) =
            self.agent.next(Instant::now()).map_err(|error| error.to_string())?
        {
            match event {
                AgentEvent::Request(request) => self.start(request, turn)?,
                AgentEvent::TimeSync { protocol, id, payload } => {
                    self.take_output();
                    let mut scratch = std::mem::take(&mut self.scratch);
                    if let Some(answer) = time_sync::answer(protocol, id, &payload, &mut scratch) {
                        let _ = self.out.push_urgent(&answer);
                        let flushed = self.out.flush(&mut self.stream);
                        flushed.map_err(|error| self.gone(&error.to_string()))?;
                    }
                    self.scratch = scratch;
                }
                AgentEvent::Exec => self.start_exec(),
                AgentEvent::Close => self.close()?,
                AgentEvent::Continue => self.send_options(),
            }
        }
        if self.agent.is_closed() && matches!(self.state, State::Waiting | State::Options) {
            // It was refused, and has been told; or it wants no more.
            self.state = State::Closed { until: Deadline::after(Duration::ZERO) };
        }
        Ok(())
    }

    fn start(&mut self, request: Request, turn: &mut Turn<'_>) -> Result<(), String> {
        match (&self.options.proxy, request.proxy) {
            (None, None) => {}
            (Some(how), Some(_)) => {
                let (how, options) = (how.clone(), Vec::new());
                self.proxy = Some(Proxy { how, rounds: None, trace_id: 0, options });
            }
            (None, Some(_)) => {
                let reason = "this agent records no host for its guest: start it with -P CID";
                self.refuse(RefuseCode::NOT_ALLOWED, reason);
                return Ok(());
            }
            (Some(_), None) => {
                let reason = "this agent, with -P, records this machine for its guest only";
                self.refuse(RefuseCode::NOT_ALLOWED, reason);
                return Ok(());
            }
        }
        let instance = match turn.take() {
            Ok(Spot::Top) => None,
            Ok(Spot::Instance(name)) => Some(name),
            Err(reason) => {
                self.refuse(RefuseCode::BUSY, &reason);
                return Ok(());
            }
        };
        let guest = request.proxy.map(|_| request.trace_id);
        if let Some(command) = &request.exec
            && let Err(refusal) = self.options.exec.check(command)
        {
            self.refuse(RefuseCode(refusal.code.0), &refusal.reason);
            return Ok(());
        }
        let data = match self.open_data(&request) {
            Ok(data) => data,
            Err(reason) => {
                self.refuse(RefuseCode::FAILED, &reason);
                return Ok(());
            }
        };
        self.open_sync(&request);
        if let Some(instance) = instance.clone() {
            (self.log)(AgentNews::InInstance { peer: self.peer, instance });
        }
        let worker = Worker::spawn((self.options.recorder)(RecordFor { instance, guest }));
        let worker = self.worker.insert(worker.map_err(|error| error.to_string())?);
        self.number = worker.new_session();
        let args = request.args.clone();
        let job = Job::Start { session: self.number, args, data, mark: Vec::new() };
        worker.send(job).map_err(|error| error.to_string())?;
        self.state = State::Starting(request);
        Ok(())
    }

    /// The recorder's ends of all data streams.
    fn open_data(&mut self, request: &Request) -> Result<Vec<Stream>, String> {
        self.cpus = possible_cpus().min(MAX_CPUS);
        if request.fifos && self.options.fifos && request.proxy.is_none() {
            let ports = self.fifos();
            let open = |path: &std::path::PathBuf| virtio_serial::open_write(path);
            // Somebody else may have them: a port can be opened once.
            let opened: Result<Vec<_>, _> = ports.iter().map(open).collect();
            if let Ok(streams) = opened
                && streams.len() >= self.cpus as usize
            {
                (self.log)(AgentNews::ThroughPorts { peer: self.peer });
                return Ok(streams);
            }
        }
        let mut streams = Vec::new();
        for cpu in 0..self.cpus {
            let (listener, port) = self.listen()?;
            let guard = Guard { peer: self.peer, token: self.agent.data_token(cpu) };
            let failed = |error: std::io::Error| format!("data of CPU {cpu}: {error}");
            let opened = DataPort::open(cpu, listener, guard, self.done.clone());
            let (data, pipe) = opened.map_err(failed)?;
            self.data.push(data);
            self.ports.push(port);
            let stream = Stream::new(pipe, format!("data of CPU {cpu}"));
            streams.push(stream.map_err(|error| chain(&error))?);
        }
        Ok(streams)
    }

    fn fifos(&self) -> Vec<std::path::PathBuf> {
        let mut ports = PortDirs::default().list();
        let mut port =
            |cpu| DATA_PORTS.iter().find_map(|name| ports.remove(&format!("{name}{cpu}")));
        (0..self.cpus).map_while(&mut port).collect()
    }

    /// A port for the other side to connect to, at the address it connected to.
    fn listen(&self) -> Result<(Listener, u32), String> {
        if let Address::Hybrid { path, .. } = self.own {
            return listen_hybrid(path);
        }
        let address = match self.own {
            Address::Tcp { host, .. } => {
                let local = tcp::local_address(&self.stream);
                let host = local.map_or(host.clone(), |local| local.ip().to_string());
                Address::Tcp { host, port: 0 }
            }
            Address::Vsock { .. } => {
                Address::Vsock { cid: trace_transport::vsock::CID_ANY, port: u32::MAX }
            }
            other => return Err(format!("data cannot be fetched by way of {other}")),
        };
        let listener = Listener::bind(&address).map_err(|error| chain(&error))?;
        let port = match listener.address() {
            Address::Tcp { port, .. } => u32::from(*port),
            Address::Vsock { port, .. } => *port,
            other => return Err(format!("data cannot be fetched by way of {other}")),
        };
        Ok((listener, port))
    }

    /// Clocks that cannot be compared cost no recording.
    fn open_sync(&mut self, request: &Request) {
        if self.agent.extensions().ping || !request.time_sync.iter().any(|name| name == PTP) {
            return;
        }
        let opened = || -> Result<(Opened, u32), String> {
            let clock = (self.options.clock)(&request.args)?;
            let (listener, port) = self.listen()?;
            let guard = Guard { peer: self.peer, token: self.agent.sync_token() };
            let opened = match (request.proxy, &self.proxy) {
                (Some(guest), Some(proxy)) => {
                    let interval = (proxy.how.interval)(&request.args);
                    Rounds::open(guest, interval, listener, guard, clock).map(Opened::Drives)
                }
                _ => SyncPort::open(listener, guard, clock).map(Opened::Answers),
            };
            Ok((opened.map_err(|error| error.to_string())?, port))
        };
        match opened() {
            Ok((Opened::Answers(sync), port)) => self.sync = Some((sync, port)),
            Ok((Opened::Drives(rounds), port)) => {
                if let Some(proxy) = &mut self.proxy {
                    proxy.rounds = Some((rounds, port));
                }
            }
            Err(reason) => (self.log)(AgentNews::NoClock { peer: self.peer, reason }),
        }
    }

    fn start_exec(&mut self) {
        let State::Recording { exec } = &mut self.state else { return };
        // Taken, so that it runs once.
        let Some(command) = exec.take() else { return };
        self.tell(ClientEvent::Executing { command: command.clone() });
        self.exec = Exec::start(&command, self.options.exec_user.as_ref(), &mut self.out);
    }

    fn close(&mut self) -> Result<(), String> {
        if let Some(exec) = &self.exec {
            exec.signal(Unix::SIGTERM);
        }
        if let Some(proxy) = &mut self.proxy {
            proxy.end();
        }
        self.state = State::Stopping;
        let Some(worker) = &self.worker else { return Ok(()) };
        worker.send(Job::Stop { session: self.number }).map_err(|error| error.to_string())
    }

    fn take_reports(&mut self) -> Result<(), String> {
        if let Some(worker) = &self.worker {
            worker.clear_wake();
        }
        while self.out.has_room() {
            let Some(worker) = &self.worker else { return Ok(()) };
            let next = worker.next().map_err(|error| error.to_string())?;
            let Some((session, report)) = next else { return Ok(()) };
            if session == self.number {
                self.take_report(report)?;
            }
        }
        // There may be more: look again once there is room.
        if let Some(worker) = &self.worker {
            worker.wake_again();
        }
        Ok(())
    }

    fn take_report(&mut self, report: Report) -> Result<(), String> {
        match (report, &mut self.state) {
            (Report::Started { sub_buffer_size, trace_id, .. }, State::Starting(request)) => {
                let args = std::mem::take(&mut request.args);
                let exec = request.exec.take();
                if let Some(proxy) = &mut self.proxy {
                    proxy.trace_id = trace_id;
                }
                let rounds = self.proxy.as_ref().and_then(|proxy| proxy.rounds.as_ref());
                let sync_port = self.sync.as_ref().map(|(_, port)| *port);
                let sync_port = sync_port.or(rounds.map(|(_, port)| *port));
                let answer = Answer {
                    cpus: self.cpus,
                    page_size: sub_buffer_size,
                    trace_id,
                    time_sync: sync_port.map(|port| (ProtocolName::new(PTP), port)),
                    ports: self.ports.clone(),
                };
                self.agent.respond(&answer).map_err(|error| error.to_string())?;
                self.take_output();
                self.tell(ClientEvent::Started { args });
                self.state = State::Recording { exec };
            }
            (Report::Refused(refusal), State::Starting(_)) => {
                self.refuse(RefuseCode(refusal.code.0), &refusal.reason);
                self.state = State::Closed { until: Deadline::after(Duration::ZERO) };
            }
            (Report::Head(bytes), _) => self.push(&Message::SendData(&bytes)),
            (Report::HeadEnd, _) => self.push(&Message::FinData),
            (Report::HeadFailed(reason), _) => {
                // Who logs the end of the session logs this.
                self.agent.refuse(RefuseCode::FAILED, cut(&reason));
                return Err(reason);
            }
            (Report::Stopped(end), State::Stopping) => {
                self.data.iter().for_each(DataPort::end);
                self.state = State::Draining { end, until: Deadline::after(EXEC_GRACE) };
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells how the recording ended, once its data was sent and its command has ended or had its time.
    fn end_if_sent(&mut self, turn: &Turn<'_>) {
        self.done.note();
        let State::Draining { until, .. } = &self.state else { return };
        let exec_ended = self.exec.is_none() || until.has_passed();
        let compared = self.proxy.as_ref().is_none_or(Proxy::is_finished);
        if !exec_ended || !compared || !self.data.iter().all(DataPort::is_finished) {
            return;
        }
        let closed = State::Closed { until: Deadline::after(LAST_SYNC) };
        let State::Draining { end, .. } = std::mem::replace(&mut self.state, closed) else {
            return;
        };
        if let Some(mut exec) = self.exec.take() {
            exec.kill(&mut self.out);
        }
        let lost: u64 = self.data.drain(..).map(DataPort::finish).sum();
        if lost > 0 {
            let reason = format!("{lost} bytes of trace data were not taken");
            (self.log)(AgentNews::Broken { peer: self.peer, reason });
        }
        if self.proxy.is_some() {
            turn.is_leaving();
            return self.send_sections(end);
        }
        if self.agent.extensions().accounts {
            self.send_accounts(end);
        } else if let Err(reason) = end {
            (self.log)(AgentNews::Broken { peer: self.peer, reason });
        }
        turn.is_leaving();
        self.agent.closed();
        self.take_output();
        self.tell(ClientEvent::Stopped);
    }

    fn send_accounts(&mut self, end: Result<RecordingEnd, String>) {
        match end {
            Ok(end) => {
                for (cpu, bytes) in (0..self.cpus).zip(end.bytes) {
                    self.push(&Message::DataEnd { cpu, bytes });
                }
                for piece in end.tail.chunks(MAX_DATA) {
                    self.push(&Message::Tail(piece));
                }
            }
            Err(reason) => {
                let reason = cut(&reason).to_owned();
                self.push(&Message::Refuse { code: RefuseCode::FAILED.0, reason: &reason });
            }
        }
    }

    /// Sends a guest what completes the file of this machine, and waits to be asked for what completes its own.
    fn send_sections(&mut self, end: Result<RecordingEnd, String>) {
        let sections = match end {
            Ok(end) => {
                if self.agent.extensions().accounts {
                    for (cpu, bytes) in (0..self.cpus).zip(end.bytes) {
                        self.push(&Message::DataEnd { cpu, bytes });
                    }
                }
                end.tail
            }
            Err(reason) => {
                if self.agent.extensions().accounts {
                    let reason = cut(&reason).to_owned();
                    self.push(&Message::Refuse { code: RefuseCode::FAILED.0, reason: &reason });
                }
                (self.log)(AgentNews::Broken { peer: self.peer, reason });
                Vec::new()
            }
        };
        if let Some(proxy) = &mut self.proxy {
            let rounds = proxy.rounds.take().map(|(rounds, _)| rounds.finish());
            let (samples, problem) = rounds.unwrap_or_default();
            proxy.options = (proxy.how.options)(&samples, proxy.trace_id);
            if let Some(reason) = problem {
                (self.log)(AgentNews::NoClock { peer: self.peer, reason });
            }
        }
        self.send_data(&sections);
        self.agent.await_cont(Instant::now());
        self.state = State::Options;
        self.tell(ClientEvent::Stopped);
    }

    fn send_options(&mut self) {
        let options = self.proxy.as_mut().map(|proxy| std::mem::take(&mut proxy.options));
        self.send_data(&options.unwrap_or_default());
        self.agent.closed();
        self.take_output();
        self.state = State::Closed { until: Deadline::after(LAST_SYNC) };
    }

    fn send_data(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(MAX_DATA) {
            self.push(&Message::SendData(piece));
        }
        self.push(&Message::FinData);
    }

    fn watch_exec(&mut self) {
        if let Some(exec) = &mut self.exec {
            exec.pump(&mut self.out);
            if exec.poll_end(&mut self.out) {
                self.exec = None;
            }
        }
    }

    /// Puts everything back before the connection is left.
    fn finish(&mut self) {
        self.exec = None;
        let active =
            matches!(self.state, State::Starting(_) | State::Recording { .. } | State::Stopping);
        if let Some(worker) = self.worker.as_ref().filter(|_| active) {
            self.tell(ClientEvent::Aborted);
            if worker.abort(self.number).is_err() {
                return;
            }
        }
        // Their pipes must not hold the recorder up.
        self.data.clear();
        if let Some(worker) = self.worker.as_ref().filter(|_| active) {
            let deadline = Deadline::after(LAST_ABORT);
            while let Some(left) = deadline.remaining().filter(|left| !left.is_zero()) {
                match worker.wait(left) {
                    Some((_, Report::Aborted)) | None => break,
                    Some(_) => {}
                }
            }
        }
        if let Some((sync, _)) = self.sync.take()
            && let Err(reason) = sync.finish()
        {
            (self.log)(AgentNews::NoClock { peer: self.peer, reason });
        }
    }

    fn refuse(&mut self, code: RefuseCode, reason: &str) {
        self.tell(ClientEvent::Refused { reason: reason.to_owned() });
        self.agent.refuse(code, cut(reason));
    }

    /// Sends what is still to be said, as far as the host takes it.
    fn say_goodbye(&mut self) {
        self.take_output();
        let _ = self.out.flush(&mut self.stream);
        let _ = self.stream.end_sending();
    }

    /// Whole messages only, so that those of other makers fit in between.
    fn take_output(&mut self) {
        let bytes = self.agent.output();
        if !bytes.is_empty() {
            self.out.push_bytes(bytes.to_vec());
            let count = bytes.len();
            self.agent.sent(count);
        }
    }

    fn push(&mut self, message: &Message<'_>) {
        // Everything sent from here is cut to size before.
        let _ = self.out.push(message);
    }

    fn tell(&self, event: ClientEvent) {
        (self.log)(AgentNews::Session { peer: self.peer, event });
    }

    fn gone(&self, reason: &str) -> String {
        format!("the host went away: {reason}")
    }
}

/// What was opened for the time sync.
enum Opened {
    /// A host drives the rounds.
    Answers(SyncPort),
    /// This machine does.
    Drives(Rounds),
}

/// A free port of this machine behind the socket of its guest's monitor, which connects to whatever port the guest names.
fn listen_hybrid(path: &std::path::Path) -> Result<(Listener, u32), String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut last = String::new();
    for _ in 0..HYBRID_TRIES {
        let port = FIRST_HYBRID + NEXT.fetch_add(1, Ordering::Relaxed) % HYBRID_PORTS;
        let address = Address::Hybrid { path: path.to_owned(), port };
        match Listener::bind(&address) {
            Ok(listener) => return Ok((listener, port)),
            Err(error) => last = chain(&error),
        }
    }
    Err(last)
}

/// CPUs that this machine can have: each has a stream of data, and a clock that may be compared.
#[must_use]
pub fn possible_cpus() -> u32 {
    let count = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_CONF);
    count.ok().flatten().and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1)
}
