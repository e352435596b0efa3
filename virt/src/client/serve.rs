//! One connection to the host: what it asks, in the order it asks.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use trace_transport::message::{
    Decoder, ExecRule, Hello, HelloKind, MAX_DATA, Message, WordList, Words,
};
use trace_transport::{Deadline, Stream, virtio_serial};

use super::brake::{Brake, LOOK, Turn};
use super::exec::Exec;
use super::request::{Request, chain, cut};
use super::wishing::{Phase, Wishing};
use super::worker::{Job, Report, Worker};
use super::{ClientError, ClientEvent, ClientOptions, ExecPolicy, RecordingEnd};
use crate::input::read_once;
use crate::out_queue::OutQueue;
use crate::protocol::{RefuseCode, clean};
use crate::setup::{DATA_PORTS, MAX_CPUS};
use crate::time_sync::{self, Clock};
use crate::waiting::{Ready, Waiting};
use crate::wish::Wish;

/// How long part of a message may wait for the rest before a new one is looked for.
const PARTIAL_TIME: Duration = Duration::from_secs(1);
/// How long a recorder has to put everything back when the client itself ends.
const LAST_ABORT: Duration = Duration::from_secs(60);
/// How long a command has to end when it is asked to.
const EXEC_GRACE: Duration = Duration::from_secs(5);

pub(super) enum End {
    Stop,
    HostGone,
    /// The host has this guest's own recording.
    Done,
    /// It did not answer the wish.
    Silent,
    /// It does not want to.
    Refused(String),
    /// It went wrong here.
    Failed(String),
}

enum Session {
    Idle,
    Starting {
        request: Request,
        cpus: u32,
        close: bool,
    },
    Running {
        cpus: u32,
        exec: Option<Vec<String>>,
    },
    Stopping {
        cpus: u32,
    },
    /// Being undone; a request that came meanwhile waits.
    Aborting {
        next: Option<Request>,
    },
}

/// A recording that has ended and waits for its command.
struct Held {
    cpus: u32,
    result: Result<RecordingEnd, String>,
    until: Deadline,
}

pub(super) struct Serving<'a> {
    stream: &'a mut Stream,
    options: &'a ClientOptions,
    worker: &'a Worker,
    log: &'a mut dyn FnMut(ClientEvent),
    decoder: Decoder,
    out: OutQueue,
    /// Until the host's server asks, everything is skipped.
    searching: bool,
    partial: Deadline,
    session: Session,
    number: u64,
    exec: Option<Exec>,
    /// Holds the command up, where it shall wait for the host.
    brake: Option<Brake>,
    /// The end of the recording, while the command still has time to end too.
    held: Option<Held>,
    /// Serves a recording of this guest's own only.
    wishing: Option<Wishing>,
    /// Why to leave.
    end: Option<End>,
    scratch: Vec<u8>,
}

impl<'a> Serving<'a> {
    pub(super) fn new(
        stream: &'a mut Stream,
        options: &'a ClientOptions,
        worker: &'a Worker,
        wishing: Option<Wishing>,
        log: &'a mut dyn FnMut(ClientEvent),
    ) -> Self {
        Self {
            stream,
            options,
            worker,
            log,
            decoder: Decoder::new(),
            out: OutQueue::default(),
            searching: true,
            partial: Deadline::NEVER,
            session: Session::Idle,
            number: 0,
            exec: None,
            brake: None,
            held: None,
            wishing,
            end: None,
            scratch: Vec::new(),
        }
    }

    /// Serves until the host is gone or `stop` is readable. Nothing is recorded any more when it returns.
    pub(super) fn run(&mut self, stop: BorrowedFd<'_>) -> Result<End, ClientError> {
        self.send_hello(HelloKind::ANNOUNCE, 0);
        let end = loop {
            if self.out.flush(self.stream).is_err() {
                break End::HostGone;
            }
            let ready = self.wait(stop)?;
            if ready.stop && !self.interrupt() {
                break End::Stop;
            }
            // The host comes first: a probe of its clock must not wait.
            if ready.host && !self.read() {
                break End::HostGone;
            }
            self.take_messages()?;
            if self.out.flush(self.stream).is_err() {
                break End::HostGone;
            }
            self.take_reports()?;
            self.watch_exec();
            if let Some(end) = self.end.take() {
                // The host may still hear why.
                let _ = self.out.flush(self.stream);
                break end;
            }
        };
        self.finish();
        Ok(end)
    }

    fn wait(&self, stop: BorrowedFd<'_>) -> Result<Ready, ClientError> {
        let mut deadline = self.partial;
        if let Some(wishing) = &self.wishing {
            deadline = deadline.min(wishing.deadline);
        }
        if let Some(held) = &self.held {
            deadline = deadline.min(held.until);
        }
        if self.exec.is_some() && self.brake.is_some() {
            deadline = deadline.min(Deadline::after(LOOK));
        }
        let is_interrupted = self.wishing.as_ref().is_some_and(|wishing| wishing.is_interrupted);
        let waiting = Waiting {
            // What was heard once stays readable.
            stop: (!is_interrupted).then_some(stop),
            host: &*self.stream,
            host_is_there: true,
            out: &self.out,
            worker: Some(self.worker),
            exec: self.exec.as_ref(),
            also: None,
            deadline,
        };
        let waited = waiting.wait();
        waited.map_err(|errno| ClientError::Io {
            action: "waiting for the host",
            source: errno.into(),
        })
    }

    /// Reads once; false when the host is gone.
    fn read(&mut self) -> bool {
        read_once(self.stream, &mut self.decoder)
    }

    fn take_messages(&mut self) -> Result<(), ClientError> {
        if let Some(wishing) = self.wishing.as_ref().filter(|one| one.deadline.has_passed()) {
            let is_new = wishing.phase == Phase::Asking;
            self.end = Some(if is_new { End::Silent } else { End::HostGone });
        }
        loop {
            if self.searching && !self.decoder.resync(false) {
                self.partial = Deadline::NEVER;
                return Ok(());
            }
            let frame = match self.decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    if !self.decoder.is_partial() {
                        self.partial = Deadline::NEVER;
                    } else if self.partial == Deadline::NEVER {
                        self.partial = Deadline::after(PARTIAL_TIME);
                    } else if self.partial.has_passed() {
                        // The rest of it was lost with an earlier connection: it is not here by now, however late it is
                        // looked for.
                        self.partial = Deadline::NEVER;
                        self.searching = true;
                        self.decoder.resync(true);
                        continue;
                    }
                    return Ok(());
                }
                Err(_) => {
                    self.searching = true;
                    self.decoder.resync(true);
                    continue;
                }
            };
            self.partial = Deadline::NEVER;
            let action = match Message::decode(&frame) {
                Ok(Message::Hello(Hello { kind: HelloKind::REQUEST, nonce, .. })) => {
                    Action::Hello(nonce)
                }
                _ if self.searching => continue,
                Ok(Message::TimeSync { protocol, id, payload }) => {
                    if let Some(answer) =
                        time_sync::answer(protocol, id, payload, &mut self.scratch)
                    {
                        let _ = self.out.push_urgent(&answer);
                        if self.out.flush(self.stream).is_err() {
                            // Noticed again, and handled, by the caller's own flush.
                            return Ok(());
                        }
                        continue;
                    }
                    Action::NotSupported
                }
                Ok(Message::TraceReq { trace_id, parameters, .. }) => {
                    match Request::read(trace_id, parameters) {
                        Ok(request) => Action::Start(request),
                        Err(error) => Action::Refuse(error.to_string()),
                    }
                }
                Ok(Message::Cont) => Action::Begin,
                Ok(Message::Exec) => Action::Exec,
                Ok(Message::Refuse { reason, .. }) => Action::Refused(clean(reason)),
                Ok(Message::Close) => Action::Close,
                Ok(Message::NotSupported | Message::Hello(_)) => continue,
                Ok(_) => Action::NotSupported,
                Err(error) => Action::Refuse(error.to_string()),
            };
            match action {
                Action::Hello(nonce) => self.take_hello(nonce)?,
                Action::Refused(reason) => self.take_refusal(reason),
                Action::Start(request) => self.start(request)?,
                Action::Begin => self.begin()?,
                Action::Exec => self.start_exec(),
                Action::Close => self.close()?,
                Action::Refuse(reason) => self.refuse(RefuseCode::PROTOCOL, &reason),
                Action::NotSupported => self.push(&Message::NotSupported),
            }
        }
    }

    /// The server asks who is here. It asks again before it begins, and when it is done.
    fn take_hello(&mut self, nonce: u64) -> Result<(), ClientError> {
        match self.wishing.as_mut().map(|wishing| (wishing.phase, wishing.problem.take())) {
            None => self.start_over(nonce),
            Some((Phase::Asking, _)) => {
                self.start_over(nonce)?;
                if let Some(wishing) = &self.wishing {
                    // Words that fit in no message were refused before.
                    let _ = self.out.push(&Wish::message(&wishing.words));
                }
                Ok(())
            }
            Some((Phase::Recording, _)) => {
                self.end = Some(End::HostGone);
                Ok(())
            }
            Some((Phase::Ended, problem)) => {
                self.end = Some(problem.map_or(End::Done, End::Failed));
                Ok(())
            }
        }
    }

    /// Only a wish is something that the host can refuse.
    fn take_refusal(&mut self, reason: String) {
        match &self.wishing {
            Some(wishing) if wishing.phase == Phase::Asking => {
                self.end = Some(End::Refused(reason));
            }
            Some(_) => {}
            None => self.push(&Message::NotSupported),
        }
    }

    /// Somebody here ends what goes on; false when there is nothing to be ended in order.
    fn interrupt(&mut self) -> bool {
        let Some(wishing) = &mut self.wishing else { return false };
        if !wishing.interrupt() {
            return false;
        }
        if wishing.has_begun && wishing.phase == Phase::Recording {
            if let Some(exec) = &self.exec {
                exec.signal(Signal::SIGTERM);
            }
            self.push(&Message::ExecExit { code: 0, signal: 0 });
        }
        true
    }

    /// The server asks who is here: whatever went on is over.
    fn start_over(&mut self, nonce: u64) -> Result<(), ClientError> {
        self.searching = false;
        self.exec = None;
        self.brake = None;
        if self.held.take().is_some() {
            // It has ended; only nobody was told.
            self.session = Session::Idle;
        }
        self.out.drop_unsent();
        match self.session {
            Session::Idle => {}
            Session::Aborting { .. } => self.session = Session::Aborting { next: None },
            _ => {
                (self.log)(ClientEvent::Aborted);
                self.worker.abort(self.number)?;
                self.session = Session::Aborting { next: None };
            }
        }
        self.send_hello(HelloKind::ANSWER, nonce);
        (self.log)(ClientEvent::Connected);
        Ok(())
    }

    fn start(&mut self, mut request: Request) -> Result<(), ClientError> {
        if let Some(wishing) = &mut self.wishing {
            if !wishing.takes(&request.args) {
                self.refuse(RefuseCode::BUSY, "this guest is about to start a recording by itself");
                return Ok(());
            }
            // Whatever the host names, it is this one that runs.
            request.exec = None;
        }
        match &mut self.session {
            Session::Idle => {}
            Session::Aborting { next } => {
                *next = Some(request);
                return Ok(());
            }
            _ => {
                self.refuse(RefuseCode::BUSY, "a recording runs already");
                return Ok(());
            }
        }
        if let Some(command) = &request.exec
            && let Err(refusal) = self.options.exec.check(command)
        {
            self.refuse(refusal.code, &refusal.reason);
            return Ok(());
        }
        let mut data = Vec::new();
        for path in self.data_ports() {
            match virtio_serial::open_write(&path) {
                Ok(stream) => data.push(stream),
                Err(error) => {
                    self.refuse(RefuseCode::FAILED, &chain(&error));
                    return Ok(());
                }
            }
        }
        let Ok(cpus @ 1..) = u32::try_from(data.len()) else {
            let reason = format!("the guest has no data port {}0", DATA_PORTS[0]);
            self.refuse(RefuseCode::FAILED, &reason);
            return Ok(());
        };
        self.number = self.worker.new_session();
        let (session, args, mark) = (self.number, request.args.clone(), request.mark.clone());
        self.worker.send(if request.hold.is_some() {
            Job::Prepare { session, args, data, mark }
        } else {
            Job::Start { session, args, data, mark }
        })?;
        self.session = Session::Starting { request, cpus, close: false };
        Ok(())
    }

    /// The host lets a recording that is ready begin.
    fn begin(&mut self) -> Result<(), ClientError> {
        match &mut self.session {
            Session::Starting { request: Request { hold: Some(hold), .. }, .. } if hold.waits => {
                hold.waits = false;
                self.worker.send(Job::Begin { session: self.number, clock: hold.clock })
            }
            _ => {
                self.push(&Message::NotSupported);
                Ok(())
            }
        }
    }

    /// The host is ready for the command of this guest's own recording.
    fn start_own(&mut self) {
        let Some(wishing) = &mut self.wishing else { return };
        if std::mem::replace(&mut wishing.has_begun, true) || wishing.phase != Phase::Recording {
            return;
        }
        if wishing.is_interrupted {
            return self.push(&Message::ExecExit { code: 0, signal: 0 });
        }
        if wishing.command.is_empty() {
            return;
        }
        match Exec::spawn_here(&wishing.command) {
            Ok(running) => self.exec = Some(running),
            Err(error) => {
                let program = wishing.command.first().map_or("", String::as_str);
                wishing.problem = Some(format!("cannot run '{program}': {error}"));
                self.push(&Message::ExecExit { code: 127, signal: 0 });
            }
        }
    }

    fn start_exec(&mut self) {
        if self.wishing.is_some() {
            return self.start_own();
        }
        let Session::Running { exec, .. } = &mut self.session else {
            return self.push(&Message::NotSupported);
        };
        // Taken, so that it runs once.
        let Some(command) = exec.take() else {
            return self
                .refuse(RefuseCode::PROTOCOL, "the request named no command, or it was run");
        };
        (self.log)(ClientEvent::Executing { command: command.clone() });
        self.exec = Exec::start(&command, self.options.exec_user.as_ref(), &mut self.out);
    }

    fn close(&mut self) -> Result<(), ClientError> {
        if let Some(exec) = &self.exec {
            exec.signal(Signal::SIGTERM);
            if let Some(brake) = &mut self.brake {
                // Who is stopped cannot end.
                brake.release(Instant::now());
                exec.signal(Signal::SIGCONT);
            }
        }
        match &mut self.session {
            Session::Idle | Session::Aborting { .. } => self.push(&Message::CloseResp),
            Session::Stopping { .. } => {}
            Session::Starting { request: Request { hold: Some(hold), .. }, .. } if hold.waits => {
                self.worker.abort(self.number)?;
                self.session = Session::Aborting { next: None };
                self.push(&Message::CloseResp);
            }
            Session::Starting { close, .. } => *close = true,
            Session::Running { cpus, .. } => {
                let cpus = *cpus;
                self.session = Session::Stopping { cpus };
                self.worker.send(Job::Stop { session: self.number })?;
            }
        }
        Ok(())
    }

    fn take_reports(&mut self) -> Result<(), ClientError> {
        self.worker.clear_wake();
        while self.out.has_room() {
            let Some((session, report)) = self.worker.next()? else { return Ok(()) };
            if session != self.number {
                continue;
            }
            self.take_report(report)?;
        }
        // There may be more: look again once there is room.
        self.worker.wake_again();
        Ok(())
    }

    fn take_report(&mut self, report: Report) -> Result<(), ClientError> {
        match (report, &mut self.session) {
            (Report::Aborted, Session::Aborting { next }) => {
                let next = next.take();
                self.session = Session::Idle;
                if let Some(request) = next {
                    self.start(request)?;
                }
            }
            // What an aborted session still brings is of no use.
            (_, Session::Aborting { .. } | Session::Idle) | (Report::Aborted, _) => {}
            (Report::Ready { sub_buffer_size }, Session::Starting { request, cpus, close }) => {
                let response = response(request.trace_id, *cpus, sub_buffer_size, Message::HOLDS);
                let close = *close;
                if let Some(hold) = &mut request.hold {
                    hold.waits = true;
                }
                let _ = self.out.push(&response);
                if close {
                    self.close()?;
                }
            }
            (
                Report::Started { sub_buffer_size, backlog, time, .. },
                Session::Starting { request, cpus, close },
            ) => {
                let (cpus, close) = (*cpus, *close);
                let response = match request.hold {
                    Some(_) => Message::Begun { time },
                    None => response(request.trace_id, cpus, sub_buffer_size, 0),
                };
                (self.log)(ClientEvent::Started { args: std::mem::take(&mut request.args) });
                let exec = request.exec.take();
                self.brake = backlog.map(Brake::new);
                let _ = self.out.push(&response);
                self.session = Session::Running { cpus, exec };
                if close {
                    self.close()?;
                }
            }
            (Report::Refused(refusal), Session::Starting { .. }) => {
                self.session = Session::Idle;
                self.refuse(refusal.code, &refusal.reason);
                if self.wishing.is_some() {
                    self.end = Some(End::Failed(refusal.reason));
                }
            }
            (Report::Head(bytes), _) => self.push(&Message::SendData(&bytes)),
            (Report::HeadEnd, _) => self.push(&Message::FinData),
            (Report::HeadFailed(reason), _) => {
                self.refuse(RefuseCode::FAILED, &reason);
                self.push(&Message::FinData);
            }
            (Report::Stopped(result), Session::Stopping { cpus }) => {
                let until = Deadline::after(EXEC_GRACE);
                self.held = Some(Held { cpus: *cpus, result, until });
                self.release_held();
            }
            (
                Report::Ready { .. }
                | Report::Started { .. }
                | Report::Refused(_)
                | Report::Stopped(_),
                _,
            ) => {}
        }
        Ok(())
    }

    /// Tells how the recording ended, once its command has ended or had its time.
    fn release_held(&mut self) {
        let waits = |held: &mut Held| self.exec.is_none() || held.until.has_passed();
        if let Some(held) = self.held.take_if(waits) {
            self.session = Session::Idle;
            self.send_end(held.cpus, held.result);
        }
    }

    fn send_end(&mut self, cpus: u32, result: Result<RecordingEnd, String>) {
        if let Some(mut exec) = self.exec.take() {
            exec.kill(&mut self.out);
        }
        if let Some(brake) = self.brake.take() {
            let (times, time) = brake.held();
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            self.push(&Message::Held { times, ms });
        }
        match result {
            Ok(end) => {
                for (cpu, bytes) in (0..cpus).zip(end.bytes.into_iter().chain(std::iter::repeat(0)))
                {
                    self.push(&Message::DataEnd { cpu, bytes });
                }
                for piece in end.tail.chunks(MAX_DATA) {
                    self.push(&Message::Tail(piece));
                }
            }
            Err(reason) => {
                self.refuse(RefuseCode::FAILED, &reason);
                if let Some(wishing) = &mut self.wishing {
                    wishing.problem = Some(reason);
                }
            }
        }
        self.push(&Message::CloseResp);
        if let Some(wishing) = &mut self.wishing {
            wishing.has_sent_all();
        }
        (self.log)(ClientEvent::Stopped);
    }

    fn watch_exec(&mut self) {
        if let Some(exec) = &mut self.exec {
            exec.pump(&mut self.out);
            if let Some(brake) = &mut self.brake
                && matches!(self.session, Session::Running { .. })
            {
                match brake.turn(Instant::now()) {
                    Turn::Wait => exec.signal(Signal::SIGSTOP),
                    Turn::GoOn => exec.signal(Signal::SIGCONT),
                    Turn::Stay => {}
                }
            }
            if exec.poll_end(&mut self.out) {
                self.exec = None;
            }
        }
        self.release_held();
    }

    /// Puts everything back before the connection is left.
    fn finish(&mut self) {
        self.exec = None;
        if self.held.take().is_some() {
            self.session = Session::Idle;
        }
        let active = !matches!(self.session, Session::Idle);
        if matches!(
            self.session,
            Session::Starting { .. } | Session::Running { .. } | Session::Stopping { .. }
        ) {
            (self.log)(ClientEvent::Aborted);
            if self.worker.abort(self.number).is_err() {
                return;
            }
        }
        let deadline = Deadline::after(LAST_ABORT);
        while active && let Some(left) = deadline.remaining().filter(|left| !left.is_zero()) {
            match self.worker.wait(left) {
                Some((_, Report::Aborted)) | None => break,
                Some(_) => {}
            }
        }
    }

    fn send_hello(&mut self, kind: HelloKind, nonce: u64) {
        let cpus = u32::try_from(self.data_ports().len()).unwrap_or(MAX_CPUS);
        let page_size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        let exec = match self.options.exec {
            ExecPolicy::Deny => ExecRule::DENY,
            ExecPolicy::Any => ExecRule::ANY,
            ExecPolicy::Only(_) => ExecRule::LIST,
        };
        let version = cut(&self.options.version).replace('\0', " ");
        let words =
            std::iter::once(version).chain(Clock::available().map(|clock| clock.name().to_owned()));
        let words = WordList::new(words).unwrap_or_default();
        self.push(&Message::Hello(Hello {
            kind,
            nonce,
            cpus,
            page_size: page_size.and_then(|size| u32::try_from(size).ok()).unwrap_or(4096),
            exec,
            words: words.words(),
        }));
    }

    fn data_ports(&self) -> Vec<std::path::PathBuf> {
        let mut ports = self.options.ports.list();
        let mut port =
            |cpu| DATA_PORTS.iter().find_map(|name| ports.remove(&format!("{name}{cpu}")));
        (0..MAX_CPUS).map_while(&mut port).collect()
    }

    fn refuse(&mut self, code: RefuseCode, reason: &str) {
        (self.log)(ClientEvent::Refused { reason: reason.to_owned() });
        self.push(&Message::Refuse { code: code.0, reason: cut(reason) });
    }

    fn push(&mut self, message: &Message<'_>) {
        // Everything sent from here is cut to size before.
        let _ = self.out.push(message);
    }
}

/// Tells what the data ports will carry.
fn response(trace_id: u64, cpus: u32, page_size: u32, accepted: u32) -> Message<'static> {
    Message::TraceResp {
        flags: Message::USE_FIFOS,
        cpus,
        page_size,
        trace_id,
        time_sync: time_sync::PROTOCOL,
        time_sync_port: 0,
        accepted,
        ports: Words::all(&[], "ports"),
    }
}

enum Action {
    Hello(u64),
    Begin,
    Start(Request),
    Exec,
    Close,
    Refuse(String),
    Refused(String),
    NotSupported,
}
