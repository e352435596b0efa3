//! Guests that start a recording by themselves: the server hands their wish to who records, as a host tool would.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use common::{FakeRecorder, Lab, Running, assert_clean, check_data, eventually, name, soon};
use trace_transport::Connection;
use trace_transport::message::{Hello, HelloKind, Message, WordList};
use trace_virt::client::{Client, ClientError, ExecPolicy, OwnRecording};
use trace_virt::host::{Finished, Guest, HostError, SessionEnd, SessionEvent, Sink, StartRequest};
use trace_virt::server::{Server, ServerOptions};
use trace_virt::setup::{GuestName, VirtDir};
use trace_virt::wish::{OWN_RECORDING, Wish};

/// What became of a wish on the host.
type Outcome = Result<(Vec<PathBuf>, Finished), HostError>;

/// Recordings that a server accepted.
#[derive(Clone, Default)]
struct Accepted {
    wishes: Arc<Mutex<Vec<(String, Wish)>>>,
    recordings: Arc<Mutex<Vec<JoinHandle<Outcome>>>>,
}

impl Accepted {
    fn count(&self) -> usize {
        self.wishes.lock().unwrap().len()
    }

    /// The next recording, once it is over.
    fn outcome(&self) -> Outcome {
        eventually("a wish is accepted", || !self.recordings.lock().unwrap().is_empty());
        let recording = self.recordings.lock().unwrap().remove(0);
        recording.join().unwrap()
    }
}

fn record(dir: &VirtDir, guest: &GuestName, temp: &std::path::Path) -> Outcome {
    let request = StartRequest { args: vec![OWN_RECORDING.to_owned()], ..StartRequest::default() };
    let mut session = Guest::connect(dir, guest)?.start(&request)?;
    let paths: Vec<_> = (0..session.cpus).map(|cpu| temp.join(format!("own{cpu}"))).collect();
    let sink = |path| Sink { to: std::fs::File::create(path).unwrap().into(), offset: None };
    session.collect(paths.iter().map(sink).collect(), None)?;
    session.exec();
    let ended = session.events().recv();
    assert!(!matches!(ended, Ok(SessionEvent::Output { .. })), "its output is the guest's");
    Ok((paths, session.close()?))
}

/// A server that records each guest that wants it.
fn server(lab: &Lab) -> (Running, Accepted) {
    let accepted = Accepted::default();
    let resolver = Box::new(|_: &_| Some(name("guest1")));
    let server = Server::bind_with(&lab.dir, &ServerOptions::default(), resolver).unwrap();
    let (dir, temp, shared) = (lab.dir.clone(), lab.temp.path().to_owned(), accepted.clone());
    let run = move |stop: std::os::fd::OwnedFd| {
        let mut accept = |guest: &GuestName, wish: Wish| {
            shared.wishes.lock().unwrap().push((guest.to_string(), wish));
            let (dir, guest, temp) = (dir.clone(), guest.clone(), temp.clone());
            let recording = std::thread::spawn(move || record(&dir, &guest, &temp));
            shared.recordings.lock().unwrap().push(recording);
            Ok(())
        };
        server.run_accepting(stop.as_fd(), &mut |_| {}, &mut accept).unwrap();
    };
    (Running::start(run), accepted)
}

/// Somebody in the guest: ends with what `Client::record` said, or when told to stop.
struct Wishing {
    stop: Option<std::os::fd::OwnedFd>,
    thread: JoinHandle<Result<(), ClientError>>,
}

impl Wishing {
    fn start(lab: &Lab, recorder: &FakeRecorder, command: &[&str]) -> Self {
        let options = lab.options(ExecPolicy::Deny);
        let client = Client::over(lab.qemu(), options, Box::new(recorder.clone())).unwrap();
        let wish = Wish { clock: "mono".to_owned(), instances: vec!["irqs".to_owned()] };
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let own = OwnRecording { wish, command };
        let thread = std::thread::spawn(move || client.record(own, read.as_fd(), &mut |_| {}));
        Self { stop: Some(write), thread }
    }

    fn stop(mut self) -> Result<(), ClientError> {
        self.stop = None;
        self.end()
    }

    fn end(self) -> Result<(), ClientError> {
        self.thread.join().unwrap()
    }
}

#[test]
fn a_guest_is_recorded_while_its_own_command_runs_and_then_once_more() {
    let lab = Lab::new(2);
    let (_server, accepted) = server(&lab);
    let recorder = FakeRecorder { head: b"head".repeat(10_000), ..Default::default() };
    for round in 1..=2 {
        let mark = lab.temp.path().join("ran");
        let script = format!("sleep 0.1; echo {round} >{}", mark.display());
        Wishing::start(&lab, &recorder, &["sh", "-c", &script]).end().unwrap();
        let (paths, finished) = accepted.outcome().unwrap();
        assert_clean(&finished);
        assert_eq!(finished.end, SessionEnd::Complete);
        check_data(&paths, &finished);
        assert_eq!(finished.tail, b"tail".repeat(5000));
        assert_eq!(std::fs::read_to_string(&mark).unwrap(), format!("{round}\n"));
    }
    let wishes = accepted.wishes.lock().unwrap();
    assert_eq!(wishes.len(), 2, "{wishes:?}");
    for (guest, wish) in &*wishes {
        assert_eq!((guest.as_str(), wish.clock.as_str()), ("guest1", "mono"));
        assert_eq!(wish.instances, ["irqs"]);
    }
    assert_eq!(recorder.stopped.load(Ordering::SeqCst), 2);
    assert_eq!(recorder.aborted.load(Ordering::SeqCst), 0);
}

#[test]
fn without_a_command_it_goes_on_until_somebody_stops_it() {
    let lab = Lab::new(1);
    let (_server, accepted) = server(&lab);
    let recorder = FakeRecorder::default();
    let wishing = Wishing::start(&lab, &recorder, &[]);
    eventually("data arrives", || {
        std::fs::metadata(lab.temp.path().join("own0")).is_ok_and(|file| file.len() > 20_000)
    });
    wishing.stop().unwrap();
    let (paths, finished) = accepted.outcome().unwrap();
    assert_clean(&finished);
    assert_eq!(finished.end, SessionEnd::Complete);
    check_data(&paths, &finished);
}

#[test]
fn a_command_that_nobody_waits_for_any_more_is_ended() {
    let lab = Lab::new(1);
    let (_server, accepted) = server(&lab);
    let recorder = FakeRecorder::default();
    let pid = lab.temp.path().join("pid");
    let script = format!("echo $$ >{}; exec sleep 600", pid.display());
    let wishing = Wishing::start(&lab, &recorder, &["sh", "-c", &script]);
    let number = || std::fs::read_to_string(&pid).ok()?.trim().parse::<i32>().ok();
    eventually("the command runs", || number().is_some());
    wishing.stop().unwrap();
    assert_eq!(accepted.outcome().unwrap().1.end, SessionEnd::Complete);
    let process = format!("/proc/{}", number().unwrap());
    assert!(!std::path::Path::new(&process).exists());
}

#[test]
fn a_server_that_was_not_told_to_records_nobody() {
    let lab = Lab::new(1);
    let _server = lab.server();
    let recorder = FakeRecorder::default();
    let error = Wishing::start(&lab, &recorder, &["true"]).end().unwrap_err();
    assert!(
        matches!(&error, ClientError::HostRefused { reason } if reason.contains("--accept")),
        "{error}"
    );
    assert_eq!(recorder.started.load(Ordering::SeqCst), 0);
}

#[test]
fn a_command_that_cannot_run_ends_the_recording_with_its_reason() {
    let lab = Lab::new(1);
    let (_server, _accepted) = server(&lab);
    let wishing = Wishing::start(&lab, &FakeRecorder::default(), &["/nonexistent/program"]);
    let error = wishing.end().unwrap_err();
    assert!(error.to_string().contains("cannot run '/nonexistent/program'"), "{error}");
}

#[test]
fn somebody_who_waits_for_the_answer_can_leave() {
    let lab = Lab::new(1);
    // Nobody reads what it says.
    let listener = trace_transport::unix::Listener::bind(&lab.dir.agent_socket()).unwrap();
    let wishing = Wishing::start(&lab, &FakeRecorder::default(), &[]);
    let error = wishing.stop().unwrap_err();
    assert!(matches!(error, ClientError::Interrupted), "{error}");
    drop(listener);
}

/// A client of a test's own making.
fn hello(connection: &mut Connection) {
    let send = |connection: &mut Connection, kind, nonce| {
        let words = WordList::new(["evil", "mono"]).unwrap();
        let hello = Hello {
            kind,
            nonce,
            cpus: 1,
            page_size: 4096,
            words: words.words(),
            ..Hello::request(0)
        };
        connection.send(&Message::Hello(hello), soon()).unwrap();
    };
    loop {
        if let Message::Hello(Hello { kind: HelloKind::REQUEST, nonce, .. }) =
            connection.receive(soon()).unwrap()
        {
            return send(connection, HelloKind::ANSWER, nonce);
        }
    }
}

#[test]
fn a_guest_that_wishes_and_dies_costs_nobody_anything_and_may_wish_again() {
    let lab = Lab::new(1);
    let (_server, accepted) = server(&lab);
    let mut evil = Connection::new(lab.qemu());
    hello(&mut evil);
    let words = WordList::new(["mono"]).unwrap();
    for _ in 0..100 {
        evil.send(&Message::Wish { words: words.words() }, soon()).unwrap();
    }
    // The host tool's question.
    hello(&mut evil);
    assert_eq!(accepted.count(), 1);
    evil.send(&Message::Wish { words: words.words() }, soon()).unwrap();
    loop {
        if matches!(evil.receive(soon()).unwrap(), Message::TraceReq { .. }) {
            break;
        }
    }
    drop(evil);
    let error = accepted.outcome().unwrap_err();
    assert!(matches!(error, HostError::Gone { .. }), "{error}");
    assert_eq!(accepted.count(), 1);

    Wishing::start(&lab, &FakeRecorder::default(), &["true"]).end().unwrap();
    assert_eq!(accepted.outcome().unwrap().1.end, SessionEnd::Complete);
}

#[test]
fn a_wish_that_makes_no_sense_is_not_handed_on() {
    let lab = Lab::new(1);
    let (_server, accepted) = server(&lab);
    let mut evil = Connection::new(lab.qemu());
    hello(&mut evil);
    let words = WordList::new(["x"; 200]).unwrap();
    evil.send(&Message::Wish { words: words.words() }, soon()).unwrap();
    // It is asked anew.
    hello(&mut evil);
    assert_eq!(accepted.count(), 0);
}
