//! Host, server and client in one process: a connection to the server's socket stands for QEMU, FIFOs for data ports.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{
    FakeRecorder, Lab, PATIENCE, Running, assert_clean, check_data, eventually, name, soon,
};
use trace_transport::message::{
    Hello, HelloKind, Message, ParameterId, Parameters, ProtocolName, WordList, Words,
};
use trace_transport::{Connection, Deadline, Stream, unix};
use trace_virt::client::{Client, ClientOptions, ExecPolicy, ExecUser};
use trace_virt::host::{
    self, ExecAllowed, ExecStatus, Guest, GuestState, HostError, SessionEnd, SessionEvent,
    StartRequest,
};
use trace_virt::protocol::RefuseCode;
use trace_virt::server::{Server, ServerError, ServerOptions};
use trace_virt::time_sync::Clock;

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
fn a_guest_sets_tracing_up_and_begins_when_it_is_told_to() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let recorder = FakeRecorder::default();
    let _client = lab.client(ExecPolicy::Deny, recorder.clone());
    let counts = || {
        [&recorder.prepared, &recorder.started, &recorder.undone, &recorder.aborted]
            .map(|count| count.load(Ordering::SeqCst))
    };
    let request = StartRequest {
        host_clock: Some("mono".into()),
        guest_clock: Some("mono".into()),
        ..Default::default()
    };
    let ready = || lab.connect().unwrap().prepare(&request).unwrap().ask().unwrap();
    // One that is never told to puts all back.
    let waiting = ready();
    assert_eq!(counts(), [1, 0, 0, 0]);
    drop(waiting);
    eventually("tracing is put back", || counts() == [1, 0, 1, 0]);

    let waiting = ready();
    let before = Clock::Mono.now().unwrap();
    let mut session = waiting.begin().unwrap();
    assert_eq!(counts(), [2, 1, 1, 0]);
    let started = session.started;
    let told = started.told_at.unwrap();
    assert!(started.asked_at <= started.ready_at && started.ready_at <= told);
    let time = started.guest_time.unwrap();
    assert!((before..=Clock::Mono.now().unwrap()).contains(&time), "{time}");
    let paths = lab.collect(&mut session, None);
    eventually("some data", || session.bytes() > 20_000);
    let finished = session.close().unwrap();
    assert_clean(&finished);
    check_data(&paths, &finished);

    let request = StartRequest { args: vec!["fails_to_begin".into()], ..Default::default() };
    let waiting = lab.connect().unwrap().prepare(&request).unwrap().ask().unwrap();
    let error = waiting.begin().unwrap_err().to_string();
    assert!(error.contains("guest1") && error.contains("tracing stays off"), "{error}");
    assert_eq!(counts(), [3, 1, 2, 0]);
    // It is free for the next.
    drop(lab.connect().unwrap().start(&StartRequest::default()).unwrap());
}

#[test]
fn hosts_and_guests_that_know_of_no_waiting_go_together_with_others() {
    let lab = Lab::new(1);
    let _server = lab.server();
    // A host: it asks, and the guest records.
    let recorder = FakeRecorder::default();
    let client = lab.client(ExecPolicy::Deny, recorder.clone());
    let mut old_host = Connection::new(unix::connect(&lab.dir.manager_socket()).unwrap());
    old_host.send(&Message::Open { version: 0, guest: "guest1" }, soon()).unwrap();
    assert!(matches!(old_host.receive(soon()).unwrap(), Message::Hello(_)));
    let (flags, parameters) = (Message::USE_FIFOS, Parameters::default());
    old_host.send(&Message::TraceReq { flags, trace_id: 5, parameters }, soon()).unwrap();
    let answer = old_host.receive(soon()).unwrap();
    assert!(matches!(answer, Message::TraceResp { trace_id: 5, accepted: 0, .. }), "{answer:?}");
    assert!(matches!(old_host.receive(soon()).unwrap(), Message::FinData));
    assert_eq!(recorder.started.load(Ordering::SeqCst), 1);
    drop((old_host, client));

    // A guest: it says that it records, and is told nothing more.
    let mut old_guest = Hostile::new(&lab);
    let guest = Running::start(move |_| {
        old_guest.answer_hello(1);
        old_guest.answer_hello(1);
        let (trace_id, mark) = loop {
            if let Message::TraceReq { trace_id, parameters, .. } =
                old_guest.0.receive(soon()).unwrap()
            {
                break (trace_id, parameters.find(ParameterId::STREAM_MARK).unwrap().is_some());
            }
        };
        assert!(mark);
        let response = Message::TraceResp {
            flags,
            cpus: 1,
            page_size: 4096,
            trace_id,
            time_sync: ProtocolName::default(),
            time_sync_port: 0,
            accepted: 0,
            ports: Words::all(&[], "ports"),
        };
        old_guest.0.send(&response, soon()).unwrap();
        old_guest.0.send(&Message::FinData, soon()).unwrap();
        assert!(matches!(old_guest.0.receive(soon()).unwrap(), Message::Close));
        old_guest.0.send(&Message::CloseResp, soon()).unwrap();
    });
    let session = lab.connect().unwrap().start(&StartRequest::default()).unwrap();
    assert_eq!((session.started.told_at, session.started.guest_time), (None, None));
    let finished = session.close().unwrap();
    assert_eq!(finished.end, SessionEnd::Complete);
    drop(guest);
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
fn the_server_tells_how_its_guests_and_sessions_are() {
    let lab = Lab::new(2);
    let error = host::status(&lab.dir).unwrap_err();
    assert!(matches!(error, HostError::ServerNotRunning { .. }), "{error}");
    let _server = lab.server();
    assert_eq!(host::status(&lab.dir).unwrap(), []);
    let silent = lab.qemu();
    eventually("its QEMU is known", || host::status(&lab.dir).unwrap().len() == 1);
    let guest = host::status(&lab.dir).unwrap().remove(0);
    assert_eq!((guest.name.as_str(), guest.state), ("guest1", GuestState::Connected));
    assert_eq!(guest.qemu, std::process::id().cast_signed());
    assert_eq!((guest.client, guest.session), (None, None));
    drop(silent);

    let only = ExecPolicy::Only(vec!["ls".into()]);
    let _client = lab.client(only, FakeRecorder::default());
    let is_ready =
        || host::status(&lab.dir).unwrap().iter().any(|guest| guest.state == GuestState::Ready);
    eventually("its client answers", is_ready);
    let client = host::status(&lab.dir).unwrap().remove(0).client.unwrap();
    assert_eq!((client.version.as_str(), client.cpus), ("test 1.0", 2));
    assert_eq!(client.exec, ExecAllowed::Some);
    assert!(client.clocks.iter().any(|clock| clock == "mono"), "{:?}", client.clocks);

    let mut session = lab
        .connect()
        .unwrap()
        .start(&StartRequest {
            host_clock: Some("mono".into()),
            guest_clock: Some("mono".into()),
            ..Default::default()
        })
        .unwrap();
    lab.collect(&mut session, Some(50_000));
    // What is beyond the quota comes, and is counted as lost. A comparison of clocks may have been too slow.
    let told = || host::status(&lab.dir).unwrap().remove(0).session.unwrap();
    eventually("the totals are told", || told().lost > 0 && told().clock_error.is_some());
    let status = told();
    assert_eq!(status.pid, std::process::id().cast_signed());
    assert!((1..=50_000).contains(&status.bytes), "{status:?}");
    assert!(status.relayed > 0 && status.clock_error.is_some(), "{status:?}");
    drop(session);
    eventually("it is ready again", is_ready);
    assert_eq!(host::status(&lab.dir).unwrap().remove(0).session, None);
}

#[test]
fn an_old_tool_is_told_nothing_new() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let _client = lab.client(ExecPolicy::Deny, FakeRecorder::default());
    let mut tool = Connection::new(unix::connect(&lab.dir.manager_socket()).unwrap());
    tool.send(&Message::Open { version: 0, guest: "guest1" }, soon()).unwrap();
    assert!(matches!(tool.receive(soon()).unwrap(), Message::Hello(_)));
    let mut tool = Connection::new(unix::connect(&lab.dir.manager_socket()).unwrap());
    tool.send(&Message::Totals(Default::default()), soon()).unwrap();
    let answer = tool.receive(soon()).unwrap();
    let Message::Refuse { code, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(RefuseCode(code), RefuseCode::PROTOCOL, "totals of no session");
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
        match session.events().recv_timeout(PATIENCE).unwrap() {
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
fn commands_run_as_the_user_the_guest_chose() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let me = nix::unistd::geteuid();
    // Who is no root can become nobody else.
    let name = if me.is_root() { "nobody".to_owned() } else { me.to_string() };
    let user = ExecUser::find(&name).unwrap();
    let options = ClientOptions { exec_user: Some(user), ..lab.options(ExecPolicy::Any) };
    let client = Client::over(lab.qemu(), options, Box::new(FakeRecorder::default())).unwrap();
    let _client = Running::start(move |stop| client.run(stop.as_fd(), &mut |_| {}).unwrap());
    let script = "id -u; id -g; id -G; echo $USER; echo $HOME; readlink /proc/self/fd/0";
    let (stdout, stderr, status) = run_command(&lab, &["sh", "-c", script]);
    let stdout = String::from_utf8(stdout).unwrap();
    assert_eq!((status, stderr), (ExecStatus::Code(0), Vec::new()), "{stdout}");
    let number = name.parse().map(nix::unistd::Uid::from_raw);
    let user = match number {
        Ok(uid) => nix::unistd::User::from_uid(uid),
        Err(_) => nix::unistd::User::from_name(&name),
    };
    let user = user.unwrap().unwrap();
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[0], user.uid.to_string());
    assert_eq!(lines[1], user.gid.to_string());
    if me.is_root() {
        assert_eq!(lines[2], user.gid.to_string(), "none of root's groups is left");
    }
    assert_eq!(lines[3..], [&*user.name, user.dir.to_str().unwrap(), "/dev/null"]);
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
    let event = session.events().recv_timeout(PATIENCE).unwrap();
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
    let event = events.recv_timeout(PATIENCE).unwrap();
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
    assert_eq!(session.events().recv_timeout(PATIENCE).unwrap(), SessionEvent::Gone);
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

    // They go on until the good guest is recorded.
    let is_over = Arc::new(AtomicBool::new(false));
    let evil = |garbage: Vec<u8>| {
        let (mut stream, is_over) = (lab.qemu(), is_over.clone());
        Running::start(move |_| {
            while !is_over.load(Ordering::SeqCst) {
                match stream.write_all(&garbage, Deadline::after(Duration::from_millis(200))) {
                    Ok(()) | Err(trace_transport::Error::TimedOut { .. }) => {}
                    Err(_) => return,
                }
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
    let (session, paths) = lab.start(&StartRequest::default());
    eventually("some data", || session.bytes() > 50_000);
    let finished = session.close().unwrap();
    is_over.store(true, Ordering::SeqCst);
    assert_clean(&finished);
    check_data(&paths, &finished);
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
        hostile.0.send(&Message::Open { version: 0, guest: "other" }, soon()).unwrap();
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
    let lost = || host::status(&lab.dir).unwrap().remove(0).session.unwrap().lost;
    eventually("the quota is used up", || lost() > 0);
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
