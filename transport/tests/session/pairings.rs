//! Our recorder and our listener.

use std::time::{Duration, Instant};

use trace_transport::session::{
    Extensions, Protocol, RefuseCode, Sender, SenderConfig, SenderEvent, SessionError, Timeouts,
    Version,
};

use crate::link::{
    Listener, Recorder, instances, key, metadata, produced, received, receiver_config,
    sender_config, tail, talk,
};

fn subsets() -> impl Iterator<Item = Extensions> {
    (0..8).map(|bits| Extensions {
        accounts: bits & 1 != 0,
        sequence: bits & 2 != 0,
        instances: bits & 4 != 0,
    })
}

#[test]
fn whatever_each_side_knows_all_is_said_and_understood() {
    let now = Instant::now();
    let versions = [(Version::V1, false), (Version::V3, false), (Version::V3, true)];
    for (version, keyed) in versions {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            for asked in subsets() {
                for offered in subsets() {
                    let mut from =
                        SenderConfig { version, protocol, extensions: asked, ..sender_config() };
                    let mut to = receiver_config();
                    to.extensions = offered;
                    if keyed {
                        from.key = Some(key(5, 1));
                        to.key = Some(key(5, 2));
                    }
                    let mut recorder = Recorder::new(from, now);
                    let mut listener = Listener::new(to, now);
                    talk(&mut recorder, &mut listener, 4096, now);
                    let protocol = if keyed { Protocol::Tcp } else { protocol };
                    let mut agreed = asked.and(offered);
                    agreed.sequence &= protocol == Protocol::Udp;
                    if version == Version::V1 {
                        agreed = Extensions::NONE;
                    }
                    check(&recorder, &listener, version, protocol, agreed);
                    let (recorder, listener) = (&recorder.sender, &listener.receiver);
                    assert_eq!(recorder.data_token(1).is_some(), keyed);
                    assert_eq!(recorder.data_token(1), listener.data_token(1));
                    assert!(!keyed || recorder.data_token(1) != recorder.data_token(2));
                }
            }
        }
    }
}

fn check(
    recorder: &Recorder,
    listener: &Listener,
    version: Version,
    protocol: Protocol,
    agreed: Extensions,
) {
    let (told, heard) = (&recorder.told, &listener.heard);
    let [start] = &heard.starts[..] else { panic!("{heard:?}") };
    let [opened] = &told.opened[..] else { panic!("{told:?}") };
    assert_eq!((start.cpus, start.page_size), (2, 4096));
    assert_eq!((start.version, start.protocol, start.extensions), (version, protocol, agreed));
    assert_eq!((opened.version, opened.protocol, opened.extensions), (version, protocol, agreed));
    assert_eq!(opened.ports, [1500, 1501]);
    let streams = if agreed.instances {
        assert_eq!(heard.instances, instances());
        assert_eq!(told.instance_ports, [(2, vec![1502, 1503]), (4, vec![1504])]);
        5
    } else {
        assert!(heard.instances.is_empty());
        2
    };
    assert_eq!(heard.metadata, metadata());
    assert_eq!(heard.metadata_ends, u32::from(version == Version::V3));
    if agreed.accounts {
        let ends: Vec<_> = (0..streams).map(|stream| (stream, produced(stream))).collect();
        assert_eq!(heard.ends, ends);
        assert_eq!(told.received, (0..streams).map(received).collect::<Vec<_>>());
        assert_eq!((&heard.tail, heard.tail_ends), (&tail(), 1));
    } else {
        assert_eq!((&heard.ends, &told.received), (&vec![], &vec![]));
        assert_eq!((heard.tail.len(), heard.tail_ends), (0, 0));
    }
    assert_eq!((heard.closes, told.done), (1, true));
    assert_eq!((&heard.error, &told.error), (&None, &None));
    assert!(recorder.sender.is_over() && listener.receiver.is_over());
}

#[test]
fn pieces_of_any_size_are_understood_alike() {
    let now = Instant::now();
    for version in [Version::V1, Version::V3] {
        for piece in [1, 2, 3, 5, 11, 12, 13, 4095, 8191, 8192, 8193, usize::MAX] {
            let mut recorder = Recorder::new(SenderConfig { version, ..sender_config() }, now);
            let mut listener = Listener::new(receiver_config(), now);
            talk(&mut recorder, &mut listener, piece, now);
            let agreed = if version == Version::V1 { Extensions::NONE } else { Extensions::ALL };
            check(&recorder, &listener, version, Protocol::Udp, agreed);
        }
    }
}

#[test]
fn sub_buffers_that_fit_in_no_datagram_go_over_tcp() {
    let now = Instant::now();
    for version in [Version::V1, Version::V3] {
        for (page_size, protocol) in [(61440, Protocol::Udp), (65536, Protocol::Tcp)] {
            let config = SenderConfig { version, page_size, ..sender_config() };
            let mut recorder = Recorder::new(config, now);
            let mut listener = Listener::new(receiver_config(), now);
            talk(&mut recorder, &mut listener, 100, now);
            assert_eq!(listener.heard.starts[0].protocol, protocol);
            assert_eq!(recorder.told.opened[0].protocol, protocol);
            assert!(recorder.told.done);
        }
    }
    // An old recorder does not think of it.
    let mut listener = Listener::new(receiver_config(), now);
    listener.feed(b"2\x0065536\x000\0", 100, now);
    assert_eq!(listener.heard.starts[0].protocol, Protocol::Tcp);
}

#[test]
fn a_key_is_wanted_by_either_side_and_must_be_the_same() {
    let now = Instant::now();
    for (ours, theirs, recorder_error, listener_error) in [
        (
            Some(1),
            Some(2),
            SessionError::KeyWrong,
            SessionError::Refused {
                code: RefuseCode::KEY,
                reason: "your key is not the recorder's".to_owned(),
            },
        ),
        (
            Some(1),
            None,
            SessionError::KeyMissing,
            SessionError::HungUp { step: "metadata or CLOSE" },
        ),
        (
            None,
            Some(2),
            SessionError::Refused {
                code: RefuseCode::KEY,
                reason: "a key is required here, and you gave none".to_owned(),
            },
            SessionError::KeyMissing,
        ),
    ] {
        let from = SenderConfig { key: ours.map(|secret| key(secret, 7)), ..sender_config() };
        let mut to = receiver_config();
        to.key = theirs.map(|secret| key(secret, 8));
        let mut recorder = Recorder::new(from, now);
        let mut listener = Listener::new(to, now);
        talk(&mut recorder, &mut listener, 100, now);
        assert_eq!(recorder.told.error, Some(recorder_error));
        assert_eq!(listener.heard.error, Some(listener_error));
        assert!(recorder.told.opened.is_empty());
        assert!(listener.heard.starts.is_empty() || theirs.is_none());
        assert!(listener.heard.metadata.is_empty());
    }
}

#[test]
fn who_echoes_a_proof_does_not_know_the_key() {
    let now = Instant::now();
    let mut to = receiver_config();
    to.key = Some(key(1, 2));
    let mut listener = Listener::new(to, now);
    listener.feed(b"-1V3\x00766679\0\0", 100, now);
    let tinit = b"\0\0\0\x41\0\0\0\x01\0\0\0\x0c\0\0\0\x02\0\0\x10\0\0\0\0\x02tcp\0\
        key=02020202020202020202020202020202\0";
    listener.feed(tinit, 100, now);
    let output = listener.receiver.output();
    let proof = output[output.len() - 32..].to_vec();
    let answer = [b"\0\0\0\x2c\0\0\0\x4d\0\0\0\x20".to_vec(), proof].concat();
    listener.feed(&answer, 100, now);
    assert_eq!(listener.heard.error, Some(SessionError::KeyWrong));
    assert!(listener.heard.starts.is_empty());
}

#[test]
fn a_listener_of_version_1_is_spoken_to_on_a_second_connection() {
    let now = Instant::now();
    for answer in [&b""[..], b"\0"] {
        let mut recorder = Recorder::new(sender_config(), now);
        recorder.feed(b"tracecmd", 1, now);
        recorder.feed(answer, 1, now);
        recorder.hang_up(now);
        assert_eq!((recorder.told.reconnects, &recorder.told.error), (1, &None));
        recorder.sender.reconnected(now).unwrap();
        let mut listener = Listener::new(receiver_config(), now);
        talk(&mut recorder, &mut listener, 7, now);
        check(&recorder, &listener, Version::V1, Protocol::Udp, Extensions::NONE);
    }
}

#[test]
fn a_listener_that_does_not_answer_to_version_3_may_speak_version_1() {
    let now = Instant::now();
    let mut recorder = Recorder::new(sender_config(), now);
    recorder.feed(b"tracecmd", 8, now);
    let late = recorder.sender.next_deadline().unwrap();
    recorder.sender.on_time(late).unwrap();
    recorder.feed(b"", 1, late);
    recorder.hang_up(late);
    assert_eq!(recorder.told.reconnects, 1);
    assert_eq!(recorder.sender.next_deadline(), None);
}

#[test]
fn what_version_1_cannot_do_is_an_error_rather_than_left_out() {
    let now = Instant::now();
    for (config, what) in [
        (SenderConfig { key: Some(key(1, 1)), ..sender_config() }, "a key"),
        (SenderConfig { protocol: Protocol::Vsock, ..sender_config() }, "vsock"),
    ] {
        let mut recorder = Recorder::new(config, now);
        recorder.feed(b"tracecmd", 8, now);
        recorder.hang_up(now);
        assert_eq!(recorder.told.error, Some(SessionError::NeedsV3 { what }));
    }
}

#[test]
fn each_step_has_its_deadline_and_recording_has_none() {
    let start = Instant::now();
    let mut now = start;
    let second = Duration::from_secs(1);
    let config = receiver_config();
    let mut listener = Listener::new(config, now);
    let words: [(&[u8], Duration, &str); 5] = [
        (b"", Timeouts::default().step, "the version"),
        (b"-1V3\0", Timeouts::default().step, "the magic number"),
        (b"766679\0\0", Timeouts::default().step, "TINIT"),
        (
            b"\0\0\0\x18\0\0\0\x01\0\0\0\x0c\0\0\0\x02\0\0\x10\0\0\0\0\0",
            Timeouts::default().metadata,
            "metadata or CLOSE",
        ),
        (b"\0\0\0\x0d\0\0\0\x03\0\0\0\0x", Timeouts::default().metadata, "metadata or CLOSE"),
    ];
    for (word, timeout, _) in words {
        now += second;
        if word.is_empty() {
            now = start;
        }
        listener.feed(word, 1, now);
        assert_eq!(listener.receiver.next_deadline(), Some(now + timeout));
        // Half of what comes next does not count.
        listener.feed(&word[..0], 1, now + second);
        assert_eq!(listener.receiver.next_deadline(), Some(now + timeout));
        listener.receiver.on_time(now + timeout - Duration::from_nanos(1)).unwrap();
    }
    listener.feed(b"\0\0\0\x0c\0\0\0\x04\0\0\0\0", 12, now);
    assert_eq!(listener.receiver.next_deadline(), None);
    listener.receiver.on_time(now + Duration::from_secs(86400)).unwrap();

    for steps in 1..=words.len() {
        let mut listener = Listener::new(receiver_config(), start);
        for (word, ..) in &words[..steps] {
            listener.feed(word, 100, start);
        }
        let (_, timeout, step) = words[steps - 1];
        let error = listener.receiver.on_time(start + timeout).unwrap_err();
        assert_eq!(error, SessionError::TimedOut { step });
        assert!(listener.receiver.is_over());
    }
}

#[test]
fn a_drip_of_bytes_does_not_put_a_deadline_off() {
    let start = Instant::now();
    let mut listener = Listener::new(receiver_config(), start);
    let mut now = start;
    for byte in b"-1V" {
        now += Duration::from_secs(1);
        listener.feed(&[*byte], 1, now);
    }
    assert_eq!(listener.receiver.next_deadline(), Some(start + Timeouts::default().step));
}

#[test]
fn a_recorder_waits_for_each_answer_but_not_for_ever() {
    let now = Instant::now();
    let said: [(&[u8], &str); 3] =
        [(b"", "the listener's greeting"), (b"tracecmdV3\0", "OK"), (b"OK", "RINIT")];
    for steps in 1..=said.len() {
        let mut recorder = Recorder::new(sender_config(), now);
        for (bytes, _) in &said[..steps] {
            recorder.feed(bytes, 1, now);
        }
        let deadline = recorder.sender.next_deadline().unwrap();
        assert_eq!(deadline, now + Timeouts::default().step);
        let error = recorder.sender.on_time(deadline).unwrap_err();
        assert_eq!(error, SessionError::TimedOut { step: said[steps - 1].1 });
    }
    let mut recorder = Recorder::new(sender_config(), now);
    recorder.feed(b"tracecmdV3\0OK", 1, now);
    let rinit = b"\0\0\0\x1e\0\0\0\x02\0\0\0\x08\0\0\0\x02\0\0\0\x011500\x001501\0";
    recorder.feed(rinit, 100, now);
    let deadline = recorder.sender.next_deadline().unwrap();
    assert_eq!(deadline, now + Timeouts::default().finish);
    let error = recorder.sender.on_time(deadline).unwrap_err();
    assert_eq!(error, SessionError::TimedOut { step: "CLOSE_RESP" });
}

#[test]
fn a_refusal_reaches_the_recorder_at_any_time() {
    let now = Instant::now();
    let mut recorder = Recorder::new(sender_config(), now);
    let mut listener = Listener::new(receiver_config(), now);
    let wire = talk(&mut recorder, &mut listener, 4096, now);
    for cut in [13, 21, 200, wire.recorder.len() - 12] {
        let mut listener = Listener::new(receiver_config(), now);
        listener.feed(&wire.recorder[..cut], 4096, now);
        listener.receiver.refuse(RefuseCode::STORAGE, "disk\nfull");
        let mut recorder = Recorder::new(sender_config(), now);
        recorder.feed(listener.receiver.output(), 4096, now);
        let reason = "disk full".to_owned();
        let refused = SessionError::Refused { code: RefuseCode::STORAGE, reason };
        assert_eq!(recorder.told.error, Some(refused), "after {cut} bytes");
        assert!(!recorder.told.done);
    }
}

#[test]
fn calls_out_of_order_are_errors() {
    let now = Instant::now();
    let mut recorder = Recorder::new(sender_config(), now);
    let sender = &mut recorder.sender;
    let is_refused = |result: Result<(), SessionError>| {
        assert!(matches!(result, Err(SessionError::OutOfOrder { .. })), "{result:?}");
    };
    is_refused(sender.put_metadata(b"x").map(drop));
    is_refused(sender.end_metadata());
    is_refused(sender.data_end(0, 1));
    is_refused(sender.close(now));
    is_refused(sender.reconnected(now));
    is_refused(sender.instance(&instances()[0], now));
    let mut listener = Listener::new(receiver_config(), now);
    is_refused(listener.receiver.ports(&[1], now));
    is_refused(listener.receiver.finish(&[]));
}

#[test]
fn a_recorder_that_cannot_go_on_says_why() {
    let now = Instant::now();
    let tinit =
        b"-1V3\x00766679\0\0\0\0\0\x21\0\0\0\x01\0\0\0\x0c\0\0\0\x02\0\0\x10\0\0\0\0\x01accounts\0";
    let mut listener = Listener::new(receiver_config(), now);
    listener.feed(tinit, 4096, now);
    let config = SenderConfig {
        extensions: Extensions { accounts: true, ..Extensions::NONE },
        ..sender_config()
    };
    let mut sender = Sender::new(config, now).unwrap();
    sender.push(listener.receiver.output());
    let opened = sender.next(now).unwrap();
    assert!(matches!(opened, Some(SenderEvent::Opened(_))), "{opened:?}");
    sender.sent(sender.output().len());
    sender.refuse(RefuseCode::FAILED, "the instance is gone");
    listener.feed(sender.output(), 4096, now);
    let reason = "the instance is gone".to_owned();
    let refused = SessionError::Refused { code: RefuseCode::FAILED, reason };
    assert_eq!(listener.heard.error, Some(refused));
    assert!(sender.is_over());
}
