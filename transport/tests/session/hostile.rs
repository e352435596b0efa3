//! What no honest peer says.

use std::time::Instant;

use trace_transport::MessageError;
use trace_transport::message::{Command, Message, WordList, Words};
use trace_transport::session::{RefuseCode, Sender, SenderConfig, SessionError, Version};

use crate::link::{Listener, Recorder, receiver_config, sender_config, talk};

const HELLO: &[u8] = b"-1V3\x00766679\0\0";

/// What a listener makes of it.
fn listener_error(bytes: &[u8]) -> SessionError {
    let now = Instant::now();
    let mut listener = Listener::new(receiver_config(), now);
    listener.feed(bytes, 4096, now);
    let heard = listener.heard;
    heard.error.unwrap_or_else(|| panic!("{:?} is taken", String::from_utf8_lossy(bytes)))
}

fn number(what: &'static str, text: &str) -> SessionError {
    SessionError::Number { what, text: text.to_owned() }
}

fn limit(what: &'static str, value: u64, least: u64, limit: u64) -> SessionError {
    SessionError::Limit { what, value, least, limit }
}

fn tinit(cpus: u32, page_size: u32) -> Vec<u8> {
    let options = Words::default();
    [HELLO.to_vec(), Message::Tinit { cpus, page_size, options }.to_bytes().unwrap()].concat()
}

/// After a good start.
fn then(message: &Message<'_>) -> Vec<u8> {
    let words = WordList::new(["accounts", "instances"]).unwrap();
    let start = Message::Tinit { cpus: 2, page_size: 4096, options: words.words() };
    [HELLO.to_vec(), start.to_bytes().unwrap(), message.to_bytes().unwrap()].concat()
}

#[test]
fn words_of_version_1_are_numbers_within_limits() {
    let page = 16 << 20;
    for (bytes, error) in [
        (&b"0\0"[..], limit("number of CPUs", 0, 1, 1362)),
        (b"1363\0", limit("number of CPUs", 1363, 1, 1362)),
        (b"-2\0", number("number of CPUs", "-2")),
        (b"\0", number("number of CPUs", "")),
        (b"+2\0", number("number of CPUs", "+2")),
        (b"4294967298\0", number("number of CPUs", "4294967298")),
        (b"2\0-4096\0", number("page size", "-4096")),
        (b"2\x000\0", limit("page size", 0, 1, page)),
        (b"2\x004294967295\0", limit("page size", u64::from(u32::MAX), 1, page)),
        (b"2\x004096\x009\0", limit("number of options", 9, 0, 8)),
        (
            b"2\x004096\x001\x004294967295\0",
            limit("length of an option", u64::from(u32::MAX), 1, 64),
        ),
        (b"2\x004096\x001\x000\0", limit("length of an option", 0, 1, 64)),
        (
            b"2\x0000000000000000000004096\0",
            SessionError::WordTooLong { what: "page size", limit: 16, offset: 2 },
        ),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
            SessionError::WordTooLong { what: "version", limit: 32, offset: 0 },
        ),
        (b"\xff\xfe\0", number("number of CPUs", "\u{fffd}\u{fffd}")),
    ] {
        assert_eq!(listener_error(bytes), error);
    }
}

#[test]
fn a_second_wrong_version_ends_it_and_a_second_right_one_does_not() {
    let version = |text: &str| SessionError::Version { version: text.to_owned() };
    assert_eq!(listener_error(b"-1V9\0-1V9\0"), version("-1V9"));
    assert_eq!(
        listener_error(b"-1V3\x00766678\0\0"),
        SessionError::Magic { expected: "766679", got: "766678  ".to_owned(), offset: 5 }
    );
    let now = Instant::now();
    for first in [&b"-1V2\0"[..], b"-1V9\0", b""] {
        let mut listener = Listener::new(receiver_config(), now);
        listener.feed(first, 1, now);
        listener.feed(HELLO, 1, now);
        assert_eq!(listener.heard.error, None);
        let answer = if first.is_empty() { &b"tracecmdV3\0OK"[..] } else { b"tracecmdV3\0V3\0OK" };
        assert_eq!(listener.receiver.output(), answer);
    }
}

#[test]
fn counts_and_sizes_of_version_3_are_within_limits_and_allocate_nothing() {
    for (bytes, error) in [
        (tinit(0, 4096), limit("number of CPUs", 0, 1, 1362)),
        (tinit(u32::MAX, 4096), limit("number of CPUs", u64::from(u32::MAX), 1, 1362)),
        (tinit(2, 0), limit("page size", 0, 1, 16 << 20)),
        (tinit(2, 1 << 31), limit("page size", 1 << 31, 1, 16 << 20)),
    ] {
        assert_eq!(listener_error(&bytes), error);
    }
    let options = Words::counted(b"tcp\0udp", u32::MAX, "options");
    let bytes = Message::Tinit { cpus: 2, page_size: 4096, options }.to_bytes().unwrap();
    let error = MessageError::Unterminated { what: "options", index: 1, offset: 4 };
    assert_eq!(listener_error(&[HELLO, &bytes].concat()), SessionError::Message(error));
    let size = [HELLO, b"\xff\xff\xff\xff"].concat();
    let error = MessageError::Size { size: u32::MAX, offset: 13 };
    assert_eq!(listener_error(&size), SessionError::Message(error));
    let command_size = [HELLO, b"\0\0\0\x0c\0\0\0\x01\xff\xff\xff\xff"].concat();
    let error = MessageError::CommandSize { command_size: u32::MAX, size: 12, offset: 13 };
    assert_eq!(listener_error(&command_size), SessionError::Message(error));
}

#[test]
fn streams_that_do_not_exist_or_end_twice_are_refused() {
    for stream in [2, u32::MAX] {
        assert_eq!(
            listener_error(&then(&Message::DataEnd { cpu: stream, bytes: 1 })),
            SessionError::Stream { stream, streams: 2 }
        );
    }
    let end = Message::DataEnd { cpu: 1, bytes: u64::MAX };
    let twice = [then(&end), end.to_bytes().unwrap()].concat();
    assert_eq!(listener_error(&twice), SessionError::Stream { stream: 1, streams: 2 });
}

#[test]
fn instances_are_bounded_in_streams_and_number() {
    let instance = |cpus, page_size, list: &str| {
        let words = WordList::new(["name", "mono", list]).unwrap();
        then(&Message::Instance { cpus, page_size, words: words.words() })
    };
    let all = u64::from(u32::MAX);
    for (bytes, error) in [
        (instance(u32::MAX, 4096, "0"), limit("number of CPUs", all, 1, 1362)),
        (instance(0, 4096, ""), limit("number of CPUs", 0, 1, 1362)),
        (instance(1, u32::MAX, "0"), limit("page size", all, 1, 16 << 20)),
        (
            instance(1, 4096, "0-4294967295"),
            SessionError::CpuList { text: "0-4294967295".to_owned(), count: 1 },
        ),
    ] {
        assert_eq!(listener_error(&bytes), error);
    }
    let list = WordList::new(["name", "mono", "0"]).unwrap();
    let one = Message::Instance { cpus: 1, page_size: 4096, words: list.words() };
    let mut many = then(&one);
    for _ in 0..64 {
        many.extend(one.to_bytes().unwrap());
    }
    assert_eq!(listener_error(&many), limit("number of instances", 65, 0, 64));
    let list = WordList::new(["name", "mono", "0-1361"]).unwrap();
    let wide = Message::Instance { cpus: 1362, page_size: 4096, words: list.words() };
    let mut many = then(&wide);
    for _ in 0..3 {
        many.extend(wide.to_bytes().unwrap());
    }
    assert_eq!(listener_error(&many), limit("number of CPUs", 1362, 1, 8));
}

#[test]
fn a_message_out_of_place_is_answered_by_not_supp_unless_it_is_one() {
    let now = Instant::now();
    const NOT_SUPP: &[u8] = b"\0\0\0\x0c\0\0\0\x05\0\0\0\0";
    for (message, is_answered) in [
        (Message::Close, true),
        (Message::SendData(b"early"), true),
        (Message::Exec, true),
        (Message::DataEnd { cpu: 0, bytes: 0 }, true),
        (Message::NotSupported, false),
    ] {
        let mut listener = Listener::new(receiver_config(), now);
        listener.feed(&[HELLO, &message.to_bytes().unwrap()].concat(), 4096, now);
        let error = listener.heard.error.unwrap();
        let expected = if is_answered {
            SessionError::Unexpected { command: message.command(), step: "TINIT" }
        } else {
            SessionError::NotSupported { step: "TINIT" }
        };
        assert_eq!(error, expected);
        assert_eq!(listener.receiver.output().ends_with(NOT_SUPP), is_answered);
    }
    let mut recorder = Recorder::new(sender_config(), now);
    recorder.feed(b"tracecmdV3\0OK", 100, now);
    recorder.feed(&Message::Close.to_bytes().unwrap(), 100, now);
    let command = Command::CLOSE;
    assert_eq!(recorder.told.error, Some(SessionError::Unexpected { command, step: "RINIT" }));
    assert!(recorder.sender.output().ends_with(NOT_SUPP));
}

#[test]
fn extensions_that_were_not_agreed_on_are_unexpected() {
    let words = WordList::new(["", "", "0"]).unwrap();
    for message in [
        Message::DataEnd { cpu: 0, bytes: 0 },
        Message::Instance { cpus: 1, page_size: 4096, words: words.words() },
    ] {
        let bytes = [tinit(2, 4096), message.to_bytes().unwrap()].concat();
        let step = "metadata or CLOSE";
        let expected = SessionError::Unexpected { command: message.command(), step };
        assert_eq!(listener_error(&bytes), expected);
    }
}

#[test]
fn a_close_before_all_of_the_metadata_is_unexpected() {
    let unexpected =
        SessionError::Unexpected { command: Command::CLOSE, step: "metadata or CLOSE" };
    assert_eq!(listener_error(&then(&Message::Close)), unexpected);
    let close = Message::Close.to_bytes().unwrap();
    let cut = [then(&Message::SendData(b"x")), close.clone()].concat();
    assert_eq!(listener_error(&cut), unexpected);
    let tail = Message::SendData(b"x").to_bytes().unwrap();
    let cut = [then(&Message::FinData), tail, close].concat();
    assert_eq!(listener_error(&cut), unexpected);
}

#[test]
fn a_limit_that_is_reached_is_told_to_who_reached_it() {
    let now = Instant::now();
    let mut recorder = Recorder::new(SenderConfig { cpus: 9, ..sender_config() }, now);
    let mut config = receiver_config();
    config.limits.max_streams = 8;
    let mut listener = Listener::new(config, now);
    talk(&mut recorder, &mut listener, 100, now);
    let reason = "number of CPUs is 9, must be 1 to 8".to_owned();
    let refused = SessionError::Refused { code: RefuseCode::LIMIT, reason };
    assert_eq!(recorder.told.error, Some(refused));
}

#[test]
fn what_a_listener_says_is_checked_too() {
    let now = Instant::now();
    let rinit = |cpus, ports: &[&str]| {
        let ports = WordList::new(ports).unwrap();
        let rinit = Message::Rinit { cpus, accepted: u32::MAX, ports: ports.words() };
        [b"tracecmdV3\0OK".to_vec(), rinit.to_bytes().unwrap()].concat()
    };
    let port = |value| limit("port", value, 1, 65535);
    for (bytes, error) in [
        (b"SSH-2.0-x\r\n".to_vec(), SessionError::Greeting { greeting: "SSH-2.0-".to_owned() }),
        (b"tracecmdV4\0".to_vec(), SessionError::Version { version: "V4".to_owned() }),
        (
            b"tracecmdV3\0NO".to_vec(),
            SessionError::Magic { expected: "OK", got: "NO".to_owned(), offset: 11 },
        ),
        (rinit(3, &["1", "2", "3"]), SessionError::Ports { expected: 2, got: 3 }),
        (rinit(2, &["1", "0"]), port(0)),
        (rinit(2, &["1", "65536"]), port(65536)),
        (rinit(2, &["1", "-2"]), number("port", "-2")),
        (
            rinit(2, &["1"]),
            MessageError::Unterminated { what: "ports", index: 1, offset: 2 }.into(),
        ),
    ] {
        let mut recorder = Recorder::new(sender_config(), now);
        recorder.feed(&bytes, 4096, now);
        assert_eq!(recorder.told.error, Some(error));
    }
    for (ports, error) in [
        (&b"1500\0"[..], SessionError::Ports { expected: 2, got: 1 }),
        (b"1500,x\0", number("port", "x")),
        (b"1500,1501,15\0", SessionError::Ports { expected: 2, got: 3 }),
        (
            b"1500,1501,1502\0",
            SessionError::WordTooLong { what: "list of ports", limit: 12, offset: 8 },
        ),
    ] {
        let config = SenderConfig { version: Version::V1, ..sender_config() };
        let mut recorder = Recorder::new(config, now);
        recorder.feed(&[b"tracecmd", ports].concat(), 4096, now);
        assert_eq!(recorder.told.error, Some(error));
    }
}

#[test]
fn a_recorder_takes_up_only_what_it_asked_for() {
    let now = Instant::now();
    let config =
        SenderConfig { extensions: trace_transport::session::Extensions::NONE, ..sender_config() };
    let mut recorder = Recorder::new(config, now);
    recorder.feed(b"tracecmdV3\0OK", 100, now);
    let rinit = b"\0\0\0\x1e\0\0\0\x02\0\0\0\x08\0\0\0\x02\xff\xff\xff\xff1500\x001501\0";
    recorder.feed(rinit, 100, now);
    let told = &recorder.told;
    assert_eq!(told.opened[0].extensions, trace_transport::session::Extensions::NONE);
    assert!(told.done);
}

#[test]
fn impossible_recordings_are_refused_before_a_byte_is_sent() {
    for cpus in [0, 1363, u32::MAX] {
        let error = Sender::new(SenderConfig { cpus, ..sender_config() }, Instant::now());
        assert!(matches!(error, Err(SessionError::Limit { .. })));
    }
}

#[test]
fn any_changed_byte_is_taken_or_refused_without_a_panic() {
    let now = Instant::now();
    for version in [Version::V1, Version::V3] {
        let mut recorder = Recorder::new(SenderConfig { version, ..sender_config() }, now);
        let mut listener = Listener::new(receiver_config(), now);
        let wire = talk(&mut recorder, &mut listener, 4096, now);
        let places = |len: usize| (0..len.min(200)).chain(len.max(200) - 200..len);
        for value in [1, 0x80, 0xff] {
            for at in places(wire.recorder.len()) {
                let mut bytes = wire.recorder.clone();
                bytes[at] ^= value;
                let mut listener = Listener::new(receiver_config(), now);
                listener.feed(&bytes, 4096, now);
                listener.hang_up(now);
                assert!(listener.heard.metadata.len() <= bytes.len());
            }
            for at in places(wire.listener.len()) {
                let mut bytes = wire.listener.clone();
                bytes[at] ^= value;
                let mut recorder = Recorder::new(SenderConfig { version, ..sender_config() }, now);
                recorder.feed(&bytes, 4096, now);
                recorder.hang_up(now);
            }
        }
    }
}
