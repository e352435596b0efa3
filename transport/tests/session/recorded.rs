//! What trace-cmd 3.1.6 said on loopback, in both roles.

use std::time::Instant;

use trace_transport::session::{Extensions, Opened, Protocol, SenderConfig, Start, Version};

use crate::link::{Listener, Recorder, receiver_config, sender_config};

/// `trace-cmd record -N HOST:PORT`, up to the metadata.
const RECORD: &[u8] =
    b"-1V3\x00766679\0\0\0\0\0\x18\0\0\0\x01\0\0\0\x0c\0\0\0\x02\0\0\x10\0\0\0\0\0";

/// The same with `-t`.
const RECORD_TCP: &[u8] =
    b"-1V3\x00766679\0\0\0\0\0\x1c\0\0\0\x01\0\0\0\x0c\0\0\0\x02\0\0\x10\0\0\0\0\x01tcp\0";

/// The first and second piece of its version 6 metadata, FIN_DATA, and CLOSE.
const METADATA: &[u8] = b"\0\0\0\x16\0\0\0\x03\0\0\0\0\x17\x08Dtracing\
    \0\0\0\x0e\0\0\0\x03\0\0\0\x006\0\0\0\0\x0c\0\0\0\x04\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\0";

/// To a listener that closed its first connection on seeing `-1V3`.
const RECORD_V1_TCP: &[u8] = b"2\x004096\x001\x004\0TCP\0\x17\x08Dtracing";

/// `trace-cmd listen`, to each of the first two.
const LISTEN: &[u8] = b"tracecmdV3\0OK\0\0\0\x1a\0\0\0\x02\0\0\0\x04\0\0\0\x021500\x001501\0";

/// The same to a recorder of version 1.
const LISTEN_V1: &[u8] = b"tracecmd1500,1501\0";

#[test]
fn its_recorder_is_understood_and_hears_what_its_listener_would_say() {
    let now = Instant::now();
    for (said, protocol) in [(RECORD, Protocol::Udp), (RECORD_TCP, Protocol::Tcp)] {
        let mut listener = Listener::new(receiver_config(), now);
        listener.feed(said, 1, now);
        let start = Start {
            version: Version::V3,
            cpus: 2,
            page_size: 4096,
            protocol,
            extensions: Extensions::NONE,
        };
        assert_eq!(listener.heard.starts, [start]);
        assert_eq!(listener.receiver.output(), LISTEN);
        listener.receiver.sent(LISTEN.len());
        listener.feed(METADATA, 1, now);
        let heard = &listener.heard;
        assert_eq!(heard.metadata, b"\x17\x08Dtracing6\0");
        assert_eq!((heard.metadata_ends, heard.closes, &heard.error), (1, 1, &None));
        assert_eq!(listener.receiver.output(), b"", "it waits for no answer");
    }
}

#[test]
fn its_recorder_of_version_1_is_understood() {
    let now = Instant::now();
    let mut listener = Listener::new(receiver_config(), now);
    listener.feed(RECORD_V1_TCP, 1, now);
    assert_eq!(listener.receiver.output(), LISTEN_V1);
    listener.hang_up(now);
    let heard = &listener.heard;
    assert_eq!((heard.starts[0].version, heard.starts[0].protocol), (Version::V1, Protocol::Tcp));
    assert_eq!(heard.metadata, b"\x17\x08Dtracing");
    assert_eq!((heard.closes, &heard.error), (1, &None));
}

#[test]
fn its_listener_is_understood_and_hears_what_its_recorder_would_say() {
    let now = Instant::now();
    let plain = SenderConfig { extensions: Extensions::NONE, ..sender_config() };
    let tcp = SenderConfig { protocol: Protocol::Tcp, ..plain.clone() };
    let v1 = SenderConfig { version: Version::V1, ..tcp.clone() };
    for (config, heard, said) in [
        (plain, LISTEN, RECORD),
        (tcp, LISTEN, RECORD_TCP),
        (v1, LISTEN_V1, &RECORD_V1_TCP[..RECORD_V1_TCP.len() - 10]),
    ] {
        let opened = Opened {
            version: config.version,
            protocol: config.protocol,
            extensions: Extensions::NONE,
            ports: vec![1500, 1501],
        };
        let mut recorder = Recorder::new(config, now);
        recorder.feed(heard, 1, now);
        assert_eq!(recorder.told.opened, [opened]);
        assert!(recorder.sender.output().starts_with(said));
        assert!(recorder.told.done, "nothing is waited for at the end");
    }
}

#[test]
fn its_listener_is_asked_for_extensions_by_words_that_it_ignores() {
    let now = Instant::now();
    let mut recorder = Recorder::new(sender_config(), now);
    recorder.feed(LISTEN, 4096, now);
    let asked = b"-1V3\x00766679\0\0\0\0\0\x34\0\0\0\x01\0\0\0\x0c\0\0\0\x02\0\0\x10\0\0\0\0\x03\
        accounts\0sequence\0instances\0";
    assert!(recorder.sender.output().starts_with(asked));
    assert_eq!(recorder.told.opened[0].extensions, Extensions::NONE);
    assert!(recorder.told.done);
}
