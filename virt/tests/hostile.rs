//! A guest that sends anything costs its own recording only: another one that is recorded meanwhile is whole, memory and
//! disk stay bounded, and the error names who did it.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use common::{
    FakeRecorder, Lab, PATIENCE, Running, assert_clean, check_data, eventually, high_water, name,
    soon,
};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use trace_transport::message::{
    Command, ExecRule, Hello, HelloKind, Message, ParameterId, ProtocolName, WordList, Words,
};
use trace_transport::{Connection, Deadline, Stream};
use trace_virt::client::ExecPolicy;
use trace_virt::host::{self, Finished, Guest, GuestSession, HostError, Sink, StartRequest};

/// Bytes of a recording that may be kept.
const QUOTA: u64 = 1 << 20;
/// What the process may grow by, beyond what a guest may have it keep.
const MEMORY: u64 = 48 << 20;
/// Largest head of a trace, which a vector may hold twice while it grows.
const HEAD: u64 = 128 << 20;

/// One at a time: the memory of the process is looked at.
static ALONE: Mutex<()> = Mutex::new(());

/// A server with a guest that is recorded, and a set-up guest `evil`.
struct Scene {
    lab: Lab,
    good: Option<(GuestSession, Vec<PathBuf>)>,
    _server: Running,
    _client: Running,
    memory: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut lab = Lab::new(1);
        lab.set_up("evil", 1);
        let server = lab.server();
        let client = lab.client(ExecPolicy::Deny, FakeRecorder::default());
        let good = Some(lab.start(&StartRequest::default()));
        // The highest so far starts over, where the kernel lets it.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let memory = high_water();
        Self { lab, good, _server: server, _client: client, memory, _alone: alone }
    }

    /// The evil guest's QEMU.
    fn evil(&self) -> Connection {
        let before = self.is_connected();
        assert!(!before, "one at a time");
        self.lab.names.lock().unwrap().push_back("evil");
        let connection = Connection::new(self.lab.qemu());
        eventually("it is known", || self.is_connected());
        connection
    }

    fn is_connected(&self) -> bool {
        host::list(&self.lab.dir).unwrap().iter().any(|guest| guest.name == "evil")
    }

    fn connect(&self) -> Result<Guest, HostError> {
        Guest::connect(&self.lab.dir, &name("evil"))
    }

    /// Records the evil guest while it acts; its end of the line is closed when it has.
    fn record(
        &self,
        act: impl FnOnce(&mut Connection, &[u8]) + Send + 'static,
    ) -> Result<Finished, HostError> {
        let mut evil = self.evil();
        let guest = Running::start(move |_| {
            let Some(mark) = answer_until_asked(&mut evil, PATIENCE) else { return };
            act(&mut evil, &mark);
        });
        let result = self.record_now();
        drop(guest);
        eventually("it is gone", || !self.is_connected());
        result
    }

    fn record_now(&self) -> Result<Finished, HostError> {
        let mut session = self.connect()?.start(&StartRequest::default())?;
        let sink = File::create(self.path()).unwrap();
        session.collect(vec![Sink { to: sink.into(), offset: None }], Some(QUOTA))?;
        // Nobody takes its events.
        let until = Deadline::after(PATIENCE);
        while !until.has_passed()
            && !matches!(session.events().try_iter().last(), Some(host::SessionEvent::Gone))
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        session.close()
    }

    fn path(&self) -> PathBuf {
        self.lab.temp.path().join("evil.data")
    }

    /// The good guest is still recorded.
    fn is_alive(&self) {
        let (session, _) = self.good.as_ref().unwrap();
        let before = session.bytes();
        eventually("the good guest's data flows", || session.bytes() > before);
    }

    /// Nothing happened to anybody else.
    fn end(mut self, allowed: u64) {
        self.is_alive();
        let (session, paths) = self.good.take().unwrap();
        let finished = session.close().unwrap();
        // Before the test itself reads what the good guest sent all the time.
        let grown = high_water().saturating_sub(self.memory);
        assert_clean(&finished);
        check_data(&paths, &finished);
        assert!(grown <= allowed, "{} MiB more", grown >> 20);
    }
}

fn answer(nonce: u64) -> Vec<u8> {
    let words = WordList::new(["guest1", "../../etc/passwd", "mono"]).unwrap();
    let hello = Hello {
        kind: HelloKind::ANSWER,
        nonce,
        cpus: 1,
        page_size: u32::MAX,
        exec: ExecRule(77),
        words: words.words(),
    };
    Message::Hello(hello).to_bytes().unwrap()
}

/// Plays the game until a recording is asked for; gives what data is to begin with.
fn answer_until_asked(evil: &mut Connection, patience: Duration) -> Option<Vec<u8>> {
    loop {
        let nonce = match evil.receive(Deadline::after(patience)).ok()? {
            Message::Hello(Hello { kind: HelloKind::REQUEST, nonce, .. }) => nonce,
            Message::TraceReq { parameters, .. } => {
                return Some(parameters.find(ParameterId::STREAM_MARK).ok()??.value.to_vec());
            }
            _ => continue,
        };
        raw(evil, &answer(nonce));
    }
}

/// Sends any bytes; false when nobody takes them.
fn raw(evil: &mut Connection, bytes: &[u8]) -> bool {
    let mut stream = Stream::new(evil.as_fd().try_clone_to_owned().unwrap(), "evil").unwrap();
    stream.write_all(bytes, soon()).is_ok()
}

fn send(evil: &mut Connection, message: &Message<'_>) -> bool {
    raw(evil, &message.to_bytes().unwrap())
}

/// Says that it records already.
fn started(cpus: u32, page_size: u32, trace_id: u64) -> Message<'static> {
    response(cpus, page_size, trace_id, !Message::HOLDS)
}

fn response(cpus: u32, page_size: u32, trace_id: u64, accepted: u32) -> Message<'static> {
    Message::TraceResp {
        flags: 1,
        cpus,
        page_size,
        trace_id,
        time_sync: ProtocolName::new("../evil"),
        time_sync_port: 1,
        accepted,
        ports: Words::all(b"/etc/passwd\0", "ports"),
    }
}

/// Starts as a good guest would.
fn start(evil: &mut Connection) {
    send(evil, &started(1, 4096, 0));
    send(evil, &Message::FinData);
}

fn assert_named(error: &HostError) {
    let text = error.to_string();
    assert!(text.contains("guest evil"), "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() < 8192, "{} bytes", text.len());
}

#[test]
fn answers_that_make_no_sense_name_the_guest() {
    let scene = Scene::new();
    let frame = |size: u32, command: u32, fixed: u32| {
        [size.to_be_bytes(), command.to_be_bytes(), fixed.to_be_bytes()].concat()
    };
    let cut = started(1, 4096, 0).to_bytes().unwrap();
    for (bytes, part) in [
        (frame(u32::MAX, 7, 0), "garbage"),
        (frame(4, 7, 0), "garbage"),
        (frame(12, 7, u32::MAX), "garbage"),
        (vec![0xff; 100_000], "garbage"),
        (Message::Open { version: 1, guest: "guest1" }.to_bytes().unwrap(), "only a host sends"),
        (Message::GuestList.to_bytes().unwrap(), "only a host sends"),
        (Message::Totals(Default::default()).to_bytes().unwrap(), "only a host sends"),
        (started(u32::MAX, 4096, 0).to_bytes().unwrap(), "4294967295 CPUs"),
        (started(2, 4096, 0).to_bytes().unwrap(), "2 CPUs"),
        (started(1, 0, 0).to_bytes().unwrap(), "sub-buffers of 0 bytes"),
        (started(1, 1 << 31, 0).to_bytes().unwrap(), "sub-buffers of 2147483648 bytes"),
        (started(1, 4097, 0).to_bytes().unwrap(), "sub-buffers of 4097 bytes"),
        (started(1, 4096, 9).to_bytes().unwrap(), "id 9"),
        (Message::Tail(b"x").to_bytes().unwrap(), "TAIL"),
        (
            Message::Refuse { code: 6, reason: "\x1b]0;/etc/passwd\x07\n..".repeat(300).as_str() }
                .to_bytes()
                .unwrap(),
            "refused:  ]0;/etc/passwd",
        ),
        // Half of an answer, and nothing more.
        (cut[..20].to_vec(), "gone"),
        (Vec::new(), "gone"),
    ] {
        let error = scene.record(move |evil, _| _ = raw(evil, &bytes)).unwrap_err();
        assert_named(&error);
        assert!(error.to_string().contains(part), "no {part:?} in {error}");
        scene.is_alive();
    }
    scene.end(MEMORY);
}

#[test]
fn beginnings_that_make_no_sense_name_the_guest() {
    let scene = Scene::new();
    let held = response(1, 4096, 0, Message::HOLDS).to_bytes().unwrap();
    let bytes = |message: Message<'_>| message.to_bytes().unwrap();
    for (after, part) in [
        (bytes(Message::FinData), "FIN_DATA"),
        (held.clone(), "TRACE_RESP"),
        (bytes(Message::Refuse { code: 6, reason: "\x1b[2Jno" }), "refused:  [2Jno"),
        (bytes(Message::Cont), "only a host sends"),
        (bytes(Message::Begun { time: None })[..16].to_vec(), "gone"),
    ] {
        let all = [held.clone(), after].concat();
        let error = scene.record(move |evil, _| _ = raw(evil, &all)).unwrap_err();
        assert_named(&error);
        assert!(error.to_string().contains(part), "no {part:?} in {error}");
        scene.is_alive();
    }
    scene.end(MEMORY);
}

#[test]
fn who_says_nothing_is_given_up() {
    let scene = Scene::new();
    let _silent = scene.evil();
    let error = scene.connect().unwrap_err();
    assert!(matches!(error, HostError::NoClient { .. }), "{error}");
    assert_named(&error);
    scene.end(MEMORY);
}

#[test]
fn an_endless_head_is_cut_off() {
    let scene = Scene::new();
    let piece = Message::SendData(&[7; 8180]).to_bytes().unwrap();
    let error = scene
        .record(move |evil, _| {
            send(evil, &started(1, 4096, 0));
            // The server takes, and throws away, what comes after the host has had enough.
            let pieces = piece.repeat(64);
            (0..HEAD / (64 * 8180) + 100).all(|_| raw(evil, &pieces));
        })
        .unwrap_err();
    assert!(matches!(error, HostError::TooMuch { limit: HEAD, .. }), "{error}");
    assert_named(&error);
    scene.end(3 * HEAD + MEMORY);
}

#[test]
fn floods_of_events_and_problems_are_bounded() {
    let scene = Scene::new();
    let finished = scene
        .record(|evil, _| {
            start(evil);
            let mut flood = Vec::new();
            for message in [
                Message::Output { stream: 99, bytes: &[0x1b; 8000] },
                Message::ExecExit { code: i32::MIN, signal: i32::MIN },
                Message::Held { times: u32::MAX, ms: u64::MAX },
                Message::Begun { time: Some(1) },
                Message::DataEnd { cpu: u32::MAX, bytes: u64::MAX },
                Message::Refuse { code: u32::MAX, reason: "no" },
                Message::TimeSync { protocol: ProtocolName::new("x"), id: 9, payload: &[1; 999] },
                Message::SendData(b"late"),
                Message::Tail(&[0; 4000]),
            ] {
                message.encode(&mut flood).unwrap();
            }
            let until = Deadline::after(Duration::from_secs(3));
            while !until.has_passed() && raw(evil, &flood) {}
        })
        .unwrap();
    assert!(!finished.problems.is_empty() && finished.problems.len() < 100);
    finished.problems.iter().for_each(assert_named);
    // The tail has a bound of its own.
    scene.end(2 * (64 << 20) + MEMORY);
}

#[test]
fn noise_as_trace_data_is_kept_within_the_quota() {
    let scene = Scene::new();
    let fifo = scene.lab.dir.data_fifo(&name("evil"), 0).unwrap();
    let finished = scene
        .record(move |evil, mark| {
            let mut port = File::options().write(true).open(&fifo).unwrap();
            start(evil);
            let noise: Vec<u8> =
                (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            // What stands before the mark is nobody's.
            port.write_all(&noise[..3000]).unwrap();
            port.write_all(mark).unwrap();
            for _ in 0..16 {
                port.write_all(&noise).unwrap();
            }
            send(evil, &Message::DataEnd { cpu: 0, bytes: 5 });
        })
        .unwrap();
    let report = finished.cpus[0];
    assert_eq!(report.bytes + report.discarded, 16 << 20, "{report:?}");
    assert!((1..=QUOTA).contains(&report.bytes), "{report:?}");
    assert_eq!(std::fs::metadata(scene.path()).unwrap().len(), report.bytes);
    finished.problems.iter().for_each(assert_named);
    assert!(!finished.problems.is_empty());
    scene.end(MEMORY);
}

/// Something that a guest may send.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let text = "[ -~]{0,20}";
    let number = prop_oneof![Just(0), Just(u32::MAX), any::<u32>(), 0..8_u32];
    let frame = (number.clone(), 0..90_u32, number, prop::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(size, command, fixed, data)| {
            let header = [size.to_be_bytes(), command.to_be_bytes(), fixed.to_be_bytes()].concat();
            [header, data].concat()
        });
    // Whole frames of any command, with any contents.
    let whole = (0..90_u32, 0..40_usize, prop::collection::vec(any::<u8>(), 40..200)).prop_map(
        |(command, fixed, data)| {
            let (fixed, data) = data.split_at(fixed);
            Message::Unknown { command: Command(command), fixed, data }.to_bytes().unwrap()
        },
    );
    let hello = any::<u64>().prop_map(answer);
    let good = prop_oneof![
        Just(started(1, 4096, 0)),
        Just(Message::FinData),
        Just(Message::SendData(b"head")),
        Just(Message::CloseResp),
        Just(Message::DataEnd { cpu: 0, bytes: 4096 }),
    ]
    .prop_map(|message| message.to_bytes().unwrap());
    let cut = (whole.clone(), any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
        bytes.truncate(at.index(bytes.len()));
        bytes
    });
    let refuse =
        text.prop_map(|reason| Message::Refuse { code: 7, reason: &reason }.to_bytes().unwrap());
    prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..300),
        2 => frame,
        4 => whole,
        1 => hello,
        4 => good,
        1 => cut,
        1 => refuse,
    ]
}

#[test]
fn whatever_a_guest_sends_costs_its_own_recording_only() {
    let scene = Scene::new();
    let config =
        ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let session = (
        prop::collection::vec(anything(), 0..6),
        any::<bool>(),
        prop::collection::vec(anything(), 0..12),
    );
    runner
        .run(&session, |(before, starts, after)| {
            let mut evil = scene.evil();
            let guest = Running::start(move |_| {
                for bytes in before {
                    raw(&mut evil, &bytes);
                }
                // An introduction ends what was cut off before it.
                // Whether it is asked depends on what it said: that is not waited for long.
                if answer_until_asked(&mut evil, Duration::from_secs(5)).is_none() {
                    return;
                }
                if starts {
                    start(&mut evil);
                }
                for bytes in after {
                    raw(&mut evil, &bytes);
                }
            });
            match scene.record_now() {
                Ok(finished) => finished.problems.iter().for_each(assert_named),
                Err(error) => assert_named(&error),
            }
            drop(guest);
            eventually("it is gone", || !scene.is_connected());
            scene.is_alive();
            Ok(())
        })
        .unwrap();
    scene.end(MEMORY);
}
