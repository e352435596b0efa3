//! Host, server and client in one process: a connection to the server's socket stands for QEMU, FIFOs for data ports.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trace_transport::message::{Hello, HelloKind, Message, WordList};
use trace_transport::virtio_serial::PortDirs;
use trace_transport::{Connection, Deadline, Stream, unix};
use trace_virt::client::{
    Client, ClientOptions, ExecPolicy, GuestRecorder, GuestRecording, RecordingEnd,
};
use trace_virt::host::{
    self, ExecStatus, Finished, Guest, GuestSession, GuestState, HostError, SessionEvent, Sink,
    StartRequest,
};
use trace_virt::protocol::RefuseCode;
use trace_virt::server::{Server, ServerError, ServerOptions};
use trace_virt::setup::{GuestName, SetupOptions, VirtDir};

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

/// A thread that runs until its pipe is closed.
struct Running {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(run: impl FnOnce(OwnedFd) + Send + 'static) -> Self {
        let (read, write) = nix::unistd::pipe().unwrap();
        let thread = std::thread::spawn(move || run(read));
        Self { stop: Some(write), thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.unwrap();
            }
        }
    }
}

/// A host with a set-up guest.
struct Lab {
    dir: VirtDir,
    names: Arc<Mutex<VecDeque<&'static str>>>,
    /// What QEMU does: keeps all FIFOs open both ways.
    fifos: Vec<File>,
    temp: tempfile::TempDir,
}

impl Lab {
    fn new(cpus: u32) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = VirtDir::new(temp.path().join("virt"));
        dir.setup(&name("guest1"), &SetupOptions { cpus, ..Default::default() }).unwrap();
        let ports = temp.path().join("ports");
        std::fs::create_dir(&ports).unwrap();
        let mut fifos = Vec::new();
        for cpu in 0..cpus {
            let fifo = dir.data_fifo(&name("guest1"), cpu).unwrap();
            fifos.push(File::options().read(true).write(true).open(&fifo).unwrap());
            std::os::unix::fs::symlink(&fifo, ports.join(format!("trace-path-cpu{cpu}"))).unwrap();
        }
        Self { dir, names: Arc::default(), fifos, temp }
    }

    fn server(&self) -> Running {
        let names = self.names.clone();
        let resolver = Box::new(move |process: &unix::PeerProcess| {
            assert_eq!(process.pid, std::process::id().cast_signed());
            let next = names.lock().unwrap().pop_front();
            match next {
                Some("") => None,
                next => Some(name(next.unwrap_or("guest1"))),
            }
        });
        let server = Server::bind_with(&self.dir, &ServerOptions::default(), resolver).unwrap();
        Running::start(move |stop| server.run(stop.as_fd(), &mut |_| {}).unwrap())
    }

    fn qemu(&self) -> Stream {
        unix::connect(&self.dir.agent_socket()).unwrap()
    }

    fn options(&self, exec: ExecPolicy) -> ClientOptions {
        let links = self.temp.path().join("ports");
        ClientOptions {
            exec,
            version: "test 1.0".to_owned(),
            ports: PortDirs { links, class: "/nonexistent".into(), devices: "/nonexistent".into() },
        }
    }

    fn client(&self, exec: ExecPolicy, recorder: FakeRecorder) -> Running {
        let client = Client::over(self.qemu(), self.options(exec), Box::new(recorder)).unwrap();
        Running::start(move |stop| client.run(stop.as_fd(), &mut |_| {}).unwrap())
    }

    fn connect(&self) -> Result<Guest, HostError> {
        Guest::connect(&self.dir, &name("guest1"))
    }

    fn start(&self, request: &StartRequest) -> (GuestSession, Vec<PathBuf>) {
        let mut session = self.connect().unwrap().start(request).unwrap();
        let paths = self.collect(&mut session, None);
        (session, paths)
    }

    fn collect(&self, session: &mut GuestSession, quota: Option<u64>) -> Vec<PathBuf> {
        let paths: Vec<_> =
            (0..session.cpus).map(|cpu| self.temp.path().join(format!("cpu{cpu}"))).collect();
        let sink = |path: &PathBuf| Sink { to: File::create(path).unwrap().into(), offset: None };
        session.collect(paths.iter().map(sink).collect(), quota).unwrap();
        paths
    }
}

/// Writes numbered sub-buffers until it is stopped.
#[derive(Clone, Default)]
struct FakeRecorder {
    head: Vec<u8>,
    stopped: Arc<AtomicUsize>,
    aborted: Arc<AtomicUsize>,
    started: Arc<AtomicUsize>,
    lie: i64,
}

struct FakeRecording {
    recorder: FakeRecorder,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<u64>>,
}

impl GuestRecorder for FakeRecorder {
    fn start(
        &mut self,
        args: &[String],
        data: Vec<OwnedFd>,
    ) -> Result<Box<dyn GuestRecording>, String> {
        if let Some(event) = args.iter().find(|arg| arg.starts_with("no_such")) {
            return Err(format!("no event {event}"));
        }
        self.started.fetch_add(1, Ordering::SeqCst);
        let stop = Arc::new(AtomicBool::new(false));
        let writers = data
            .into_iter()
            .enumerate()
            .map(|(cpu, fd)| {
                let stop = stop.clone();
                std::thread::spawn(move || write_sub_buffers(cpu, fd, &stop))
            })
            .collect();
        Ok(Box::new(FakeRecording { recorder: self.clone(), stop, writers }))
    }
}

impl GuestRecording for FakeRecording {
    fn trace_id(&self) -> u64 {
        77
    }

    fn sub_buffer_size(&self) -> u32 {
        4096
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        Ok(Box::new(Cursor::new(self.recorder.head.clone())))
    }

    fn stop(mut self: Box<Self>) -> Result<RecordingEnd, String> {
        self.recorder.stopped.fetch_add(1, Ordering::SeqCst);
        self.stop.store(true, Ordering::SeqCst);
        let lie = self.recorder.lie;
        let counts =
            self.writers.drain(..).map(|writer| writer.join().unwrap().saturating_add_signed(lie));
        Ok(RecordingEnd { bytes: counts.collect(), tail: b"tail".repeat(5000) })
    }

    fn abort(mut self: Box<Self>) {
        self.recorder.aborted.fetch_add(1, Ordering::SeqCst);
        self.stop.store(true, Ordering::SeqCst);
        for writer in self.writers.drain(..) {
            writer.join().unwrap();
        }
    }
}

fn sub_buffer(cpu: usize, number: u64) -> [u8; 4096] {
    let mut bytes = [cpu as u8; 4096];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn write_sub_buffers(cpu: usize, fd: OwnedFd, stop: &AtomicBool) -> u64 {
    let mut stream = Stream::new(fd, "data port").unwrap();
    let mut bytes = 0;
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let buffer = sub_buffer(cpu, number);
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            match stream.try_write(rest).unwrap() {
                Some(count) => {
                    bytes += count as u64;
                    rest = &rest[count..];
                }
                None if stop.load(Ordering::SeqCst) => return bytes,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bytes
}

fn assert_clean(finished: &Finished) {
    assert!(finished.problems.is_empty(), "{:?}", finished.problems);
}

fn check_data(paths: &[PathBuf], finished: &Finished) {
    for (cpu, path) in paths.iter().enumerate() {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes.len() as u64, finished.cpus[cpu].bytes);
        assert!(bytes.len() >= 4096, "CPU {cpu} sent nothing");
        for (number, chunk) in bytes.chunks_exact(4096).enumerate() {
            assert!(
                chunk == sub_buffer(cpu, number as u64),
                "CPU {cpu}: sub-buffer {number} is not what was sent"
            );
        }
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_guest_is_recorded_from_the_first_byte_to_the_last() {
    let lab = Lab::new(3);
    let _server = lab.server();
    let recorder = FakeRecorder { head: b"head".repeat(100_000), ..Default::default() };
    let _client = lab.client(ExecPolicy::Deny, recorder.clone());
    let guest = lab.connect().unwrap();
    assert_eq!((guest.info().cpus, guest.info().version.as_str()), (3, "test 1.0"));
    assert!(guest.info().clocks.iter().any(|clock| clock == "mono"));
    drop(guest);

    for _ in 0..3 {
        let (session, paths) = lab.start(&StartRequest {
            trace_id: 42,
            host_clock: Some("mono".into()),
            guest_clock: Some("mono".into()),
            ..Default::default()
        });
        assert_eq!(session.head, recorder.head);
        assert_eq!(session.sub_buffer_size, 4096);
        eventually("some data", || session.bytes() > 100_000);
        let finished = session.close().unwrap();
        assert_clean(&finished);
        check_data(&paths, &finished);
        assert_eq!(finished.tail, b"tail".repeat(5000));
        assert!(!finished.samples.is_empty());
        // One clock on both sides: whatever was measured, nought is within the bound.
        assert!(
            finished.samples.iter().all(|s| s.offset.unsigned_abs() <= s.error),
            "{:?}",
            finished.samples
        );
    }
    assert_eq!(
        (recorder.stopped.load(Ordering::SeqCst), recorder.aborted.load(Ordering::SeqCst)),
        (3, 0)
    );
}

#[test]
fn what_a_killed_session_left_behind_is_not_in_the_next() {
    let mut lab = Lab::new(2);
    let _server = lab.server();
    let recorder = FakeRecorder::default();
    let _client = lab.client(ExecPolicy::Deny, recorder.clone());
    // Nobody collects: FIFO and guest are full of data when the host tool dies.
    let session = lab.connect().unwrap().start(&StartRequest::default()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(session);
    eventually("the recording is aborted", || recorder.aborted.load(Ordering::SeqCst) == 1);
    lab.fifos[0].write_all(b"left behind").unwrap();

    let (session, paths) = lab.start(&StartRequest::default());
    eventually("some data", || session.bytes() > 20_000);
    let finished = session.close().unwrap();
    assert_clean(&finished);
    check_data(&paths, &finished);
}

#[test]
fn every_reason_not_to_reach_a_guest_has_its_own_error() {
    let lab = Lab::new(1);
    let error = Guest::connect(&lab.dir, &name("other")).unwrap_err();
    assert!(matches!(error, HostError::NoDirectory { .. }), "{error}");
    let error = lab.connect().unwrap_err();
    assert!(matches!(error, HostError::ServerNotRunning { .. }), "{error}");
    let _server = lab.server();
    let error = lab.connect().unwrap_err();
    assert!(matches!(error, HostError::NotConnected { .. }), "{error}");
    let qemu = lab.qemu();
    let error = lab.connect().unwrap_err();
    assert!(matches!(error, HostError::NoClient { .. }), "{error}");
    assert_eq!(host::list(&lab.dir).unwrap()[0].state, GuestState::Connected);
    drop(qemu);

    let _client = lab.client(ExecPolicy::Deny, FakeRecorder::default());
    let first = lab.connect().unwrap();
    assert_eq!(host::list(&lab.dir).unwrap()[0].state, GuestState::InSession);
    let error = lab.connect().unwrap_err();
    assert!(matches!(error, HostError::Busy { .. }), "{error}");
    drop(first);
    lab.connect().unwrap();

    std::fs::create_dir(lab.dir.path().join("bare")).unwrap();
    let error = Guest::connect(&lab.dir, &name("bare")).unwrap_err();
    assert!(matches!(error, HostError::NoFifo { fifos: 0, .. }), "{error}");
}

#[test]
fn a_guest_that_comes_back_to_a_new_server_is_waited_for() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let (read, done) = nix::unistd::pipe().unwrap();
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            let guest = lab.connect();
            drop(done);
            guest
        });
        // Long enough to be refused, were it not waited for.
        let mut pipe = Stream::new(read, "pipe").unwrap();
        let early = pipe.read_some(&mut [0; 1], Deadline::after(Duration::from_millis(300)));
        assert!(early.is_err(), "the answer came before the guest");
        let _client = lab.client(ExecPolicy::Deny, FakeRecorder::default());
        connecting.join().unwrap().unwrap();
    });
}

#[test]
fn the_guests_own_words_say_why_it_does_not_record() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let recorder = FakeRecorder::default();
    let _client = lab.client(ExecPolicy::Deny, recorder.clone());
    let request =
        StartRequest { args: vec!["-e".into(), "no_such_event".into()], ..Default::default() };
    let error = lab.connect().unwrap().start(&request).unwrap_err();
    let HostError::Refused { code: RefuseCode::FAILED, reason, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(reason, "no event no_such_event");

    let request = StartRequest { exec: Some(vec!["true".into()]), ..Default::default() };
    let error = lab.connect().unwrap().start(&request).unwrap_err();
    assert!(matches!(error, HostError::Refused { code: RefuseCode::NOT_ALLOWED, .. }), "{error}");
    assert_eq!(recorder.started.load(Ordering::SeqCst), 0, "refused before anything was touched");

    let request = StartRequest { args: vec!["x".repeat(9000)], ..Default::default() };
    let error = lab.connect().unwrap().start(&request).unwrap_err();
    assert!(matches!(error, HostError::Stream { .. }), "{error}");
}

fn run_command(lab: &Lab, command: &[&str]) -> (Vec<u8>, Vec<u8>, ExecStatus) {
    let exec = Some(command.iter().map(|&word| word.to_owned()).collect());
    let (mut session, _) = lab.start(&StartRequest { exec, ..Default::default() });
    session.exec();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = loop {
        match session.events().recv_timeout(Duration::from_secs(10)).unwrap() {
            SessionEvent::Output { stream: 1, bytes } => stdout.extend(bytes),
            SessionEvent::Output { bytes, .. } => stderr.extend(bytes),
            SessionEvent::Exited(status) => break status,
            other => panic!("{other:?}"),
        }
    };
    let finished = session.close().unwrap();
    assert_clean(&finished);
    assert_eq!(finished.exec, Some(status));
    (stdout, stderr, status)
}

#[test]
fn an_allowed_command_runs_in_the_guest() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let policy = ExecPolicy::Only(vec!["sh".into(), "/no/such/program".into()]);
    let _client = lab.client(policy, FakeRecorder::default());
    let (stdout, stderr, status) =
        run_command(&lab, &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (stdout.as_slice(), stderr.as_slice(), status),
        (&b"out\n"[..], &b"err\n"[..], ExecStatus::Code(3))
    );
    let (stdout, _, status) =
        run_command(&lab, &["sh", "-c", "head -c 3000000 /dev/zero; kill -9 $$"]);
    assert_eq!((stdout.len(), status), (3_000_000, ExecStatus::Signal(9)));
    let (_, stderr, status) = run_command(&lab, &["/no/such/program"]);
    assert!(stderr.starts_with(b"/no/such/program: "));
    assert_eq!(status, ExecStatus::Code(127));

    let request = StartRequest { exec: Some(vec!["rm".into()]), ..Default::default() };
    let error = lab.connect().unwrap().start(&request).unwrap_err();
    assert!(error.to_string().contains("\"rm\""), "{error}");
}

#[test]
fn a_command_that_still_runs_is_ended_with_the_session() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let _client = lab.client(ExecPolicy::Any, FakeRecorder::default());
    let command = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"];
    let exec = Some(command.iter().map(|&word| word.to_owned()).collect());
    let (mut session, _) = lab.start(&StartRequest { exec, ..Default::default() });
    session.exec();
    let event = session.events().recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(matches!(event, SessionEvent::Output { .. }), "{event:?}");
    let finished = session.close().unwrap();
    assert_clean(&finished);
    assert_eq!(finished.exec, Some(ExecStatus::Signal(9)));
}

#[test]
fn a_command_is_asked_to_end_before_it_is_killed() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let client =
        Client::over(lab.qemu(), lab.options(ExecPolicy::Any), Box::new(FakeRecorder::default()))
            .unwrap();
    let _client = Running::start(move |stop| {
        // As in the real client; the command must not inherit what is blocked here.
        let _signals = trace_virt::stop::StopSignals::new().unwrap();
        client.run(stop.as_fd(), &mut |_| {}).unwrap();
    });
    let command =
        ["sh", "-c", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.02; done"];
    let exec = Some(command.iter().map(|&word| word.to_owned()).collect());
    let (mut session, _) = lab.start(&StartRequest { exec, ..Default::default() });
    session.exec();
    let events = session.events().clone();
    let event = events.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(matches!(event, SessionEvent::Output { .. }), "{event:?}");
    let finished = session.close().unwrap();
    assert_clean(&finished);
    assert_eq!(finished.exec, Some(ExecStatus::Code(7)));
    // The shell may also say on its standard error that its sleep was ended.
    let bye = SessionEvent::Output { stream: 1, bytes: b"bye\n".to_vec() };
    assert!(events.try_iter().any(|event| event == bye));
}

#[test]
fn a_guest_that_dies_costs_only_what_it_had_not_sent() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let recorder = FakeRecorder::default();
    let client = lab.client(ExecPolicy::Deny, recorder.clone());
    let (session, _) = lab.start(&StartRequest::default());
    eventually("some data", || session.bytes() > 20_000);
    drop(client);
    assert_eq!(recorder.aborted.load(Ordering::SeqCst), 1, "the guest put everything back");
    assert_eq!(session.events().recv_timeout(Duration::from_secs(5)).unwrap(), SessionEvent::Gone);
    let finished = session.close().unwrap();
    assert!(matches!(finished.problems[0], HostError::Gone { .. }), "{:?}", finished.problems);
    assert!(finished.cpus[0].bytes > 20_000);

    let _client = lab.client(ExecPolicy::Deny, recorder);
    eventually("the next client is reached", || lab.connect().is_ok());
}

#[test]
fn a_server_that_comes_back_finds_its_guests_again() {
    let lab = Lab::new(1);
    let server = lab.server();
    let error = Server::bind(&lab.dir, &ServerOptions::default()).unwrap_err();
    assert!(matches!(error, ServerError::AlreadyRunning { .. }), "{error}");
    let recorder = FakeRecorder::default();
    let client = lab.client(ExecPolicy::Deny, recorder.clone());
    let (session, _) = lab.start(&StartRequest::default());
    drop(server);
    assert!(!lab.dir.agent_socket().exists() && !lab.dir.manager_socket().exists());
    eventually("the recording is aborted", || recorder.aborted.load(Ordering::SeqCst) == 1);
    drop(session);
    drop(client);
    // A killed server leaves its sockets.
    drop(std::os::unix::net::UnixListener::bind(lab.dir.agent_socket()).unwrap());
    let _server = lab.server();
    let _client = lab.client(ExecPolicy::Deny, recorder);
    eventually("the guest is reached", || lab.connect().is_ok());
}

#[test]
fn counts_that_are_not_true_are_found_out() {
    for lie in [4096, -4096] {
        let lab = Lab::new(1);
        let _server = lab.server();
        let _client = lab.client(ExecPolicy::Deny, FakeRecorder { lie, ..Default::default() });
        let (session, _) = lab.start(&StartRequest::default());
        eventually("some data", || session.bytes() > 50_000);
        std::thread::sleep(Duration::from_millis(50));
        let finished = session.close().unwrap();
        let report = finished.cpus[0];
        if lie > 0 {
            assert_eq!(report.missing, 4096);
            assert!(
                matches!(finished.problems[0], HostError::Missing { missing: 4096, .. }),
                "{finished:?}"
            );
        } else {
            // What was read before the count came is excess; what was not is left where it is.
            assert_eq!(report.missing, 0);
            assert!(report.excess <= 4096);
        }
    }
}

/// A guest that speaks for itself.
struct Hostile(Connection);

impl Hostile {
    fn new(lab: &Lab) -> Self {
        Self(Connection::new(lab.qemu()))
    }

    fn answer_hello(&mut self, cpus: u32) {
        loop {
            let message = self.0.receive(soon()).unwrap();
            let Message::Hello(Hello { kind: HelloKind::REQUEST, nonce, .. }) = message else {
                continue;
            };
            let words = WordList::new(["evil\x1b[2J", "mono"]).unwrap();
            let hello = Hello {
                kind: HelloKind::ANSWER,
                nonce,
                cpus,
                words: words.words(),
                ..Hello::request(0)
            };
            self.0.send(&Message::Hello(hello), soon()).unwrap();
            return;
        }
    }
}

#[test]
fn garbage_and_flooding_cost_the_guest_its_own_session_only() {
    let lab = Lab::new(1);
    let _server = lab.server();
    lab.names.lock().unwrap().extend(["guest1", "", "evil1", "evil2", "evil3"]);
    let _client = lab.client(ExecPolicy::Deny, FakeRecorder::default());
    eventually("the good guest is there", || host::list(&lab.dir).unwrap().len() == 1);

    let mut nobody = lab.qemu();
    assert_eq!(
        nobody.read_some(&mut [0; 8], soon()).unwrap(),
        0,
        "a process without a guest's name is closed"
    );

    let evil = |garbage: Vec<u8>| {
        let mut stream = lab.qemu();
        Running::start(move |_| {
            let until = Deadline::after(Duration::from_millis(1500));
            while !until.has_passed()
                && stream.write_all(&garbage, Deadline::after(Duration::from_millis(200))).is_ok()
            {
            }
        })
    };
    let announce = Message::Hello(Hello { kind: HelloKind::ANNOUNCE, ..Hello::request(0) })
        .to_bytes()
        .unwrap();
    let _floods = [
        evil(vec![0xff; 100_000]),
        evil(announce.repeat(100)),
        evil(announce.iter().copied().cycle().take(47_001).collect()),
    ];
    let start = Instant::now();
    let (session, paths) = lab.start(&StartRequest::default());
    eventually("some data", || session.bytes() > 50_000);
    let finished = session.close().unwrap();
    assert_clean(&finished);
    check_data(&paths, &finished);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_guest_cannot_lie_itself_more_cpus_or_control_characters() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let mut hostile = Hostile::new(&lab);
    let guest = Running::start(move |_| {
        hostile.answer_hello(1);
        hostile.answer_hello(u32::MAX);
    });
    let error = lab.connect().unwrap_err();
    assert!(matches!(error, HostError::NoFifo { cpus: 4096, fifos: 1, .. }), "{error}");
    drop(guest);
}

#[test]
fn a_guest_that_sends_what_only_a_host_sends_is_cut_off() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let mut hostile = Hostile::new(&lab);
    let _guest = Running::start(move |_| {
        hostile.answer_hello(1);
        hostile.answer_hello(1);
        while !matches!(hostile.0.receive(soon()).unwrap(), Message::TraceReq { .. }) {}
        hostile.0.send(&Message::Open { guest: "other" }, soon()).unwrap();
    });
    let error = lab.connect().unwrap().start(&StartRequest::default()).unwrap_err();
    let HostError::Refused { code: RefuseCode::PROTOCOL, reason, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(reason, "the guest sent what only a host sends");
}

#[test]
fn bytes_cut_off_by_a_reboot_are_skipped() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let mut raw = lab.qemu();
    // The end of some message, a message that is never finished, and then a new client on the same port.
    raw.write_all(&[0xab; 333], soon()).unwrap();
    let cut = Message::SendData(&[1; 4000]).to_bytes().unwrap();
    raw.write_all(&cut[..2000], soon()).unwrap();
    let half_hello = Message::Hello(Hello::request(1)).to_bytes().unwrap();
    raw.write_all(&half_hello[..30], soon()).unwrap();
    let client =
        Client::over(raw, lab.options(ExecPolicy::Deny), Box::new(FakeRecorder::default()))
            .unwrap();
    let _client = Running::start(move |stop| client.run(stop.as_fd(), &mut |_| {}).unwrap());
    let (session, paths) = lab.start(&StartRequest::default());
    eventually("some data", || session.bytes() > 20_000);
    let finished = session.close().unwrap();
    assert_clean(&finished);
    check_data(&paths, &finished);
}

#[test]
fn the_quota_holds_and_the_rest_is_counted() {
    let lab = Lab::new(2);
    let _server = lab.server();
    let _client = lab.client(ExecPolicy::Deny, FakeRecorder::default());
    let mut session = lab.connect().unwrap().start(&StartRequest::default()).unwrap();
    let paths = lab.collect(&mut session, Some(100_000));
    std::thread::sleep(Duration::from_millis(300));
    let finished = session.close().unwrap();
    assert_clean(&finished);
    let kept: u64 = finished.cpus.iter().map(|cpu| cpu.bytes).sum();
    let discarded: u64 = finished.cpus.iter().map(|cpu| cpu.discarded).sum();
    assert!((60_000..=100_000).contains(&kept), "{kept}");
    assert!(discarded > 0);
    let on_disk: u64 = paths.iter().map(|path: &PathBuf| Path::metadata(path).unwrap().len()).sum();
    assert_eq!(on_disk, kept);
}

#[test]
fn clocks_that_cannot_be_compared_are_a_problem_and_no_end() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let _client = lab.client(ExecPolicy::Deny, FakeRecorder::default());
    let (session, _) = lab.start(&StartRequest {
        host_clock: Some("local".into()),
        guest_clock: Some("local".into()),
        ..Default::default()
    });
    let finished = session.close().unwrap();
    assert!(matches!(finished.problems[..], [HostError::Clock { .. }]), "{:?}", finished.problems);
    assert!(finished.samples.is_empty());
}
