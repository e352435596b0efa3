//! Seeds of `listener`, `recorder` and `datagrams`; each starts with a set-up (see `trace_fuzz::session`).

use std::path::Path;
use std::{fs, io};

use trace_transport::message::{Message, WordList, Words};
use trace_transport::session::{Numbering, SequenceHeader};

const ALL: u8 = 7;
const KEY: u8 = 8;
const HANG_UP: u8 = 16;
const VERSION_1: u8 = 32;

pub(super) fn save() -> io::Result<()> {
    listener()?;
    recorder()?;
    datagrams()
}

pub(super) fn write(target: &str, name: &str, setup: u8, parts: &[&[u8]]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), [&[setup][..], &parts.concat()].concat())
}

pub(super) fn bytes(messages: &[Message<'_>]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for message in messages {
        message.encode(&mut out).map_err(io::Error::other)?;
    }
    Ok(out)
}

fn list(words: &[&str]) -> io::Result<WordList> {
    WordList::new(words).map_err(io::Error::other)
}

fn listener() -> io::Result<()> {
    const HELLO: &[u8] = b"-1V3\x00766679\0\0";
    let save = |name: &str, setup, parts: &[&[u8]]| write("listener", name, setup, parts);
    let tinit = |options: Words<'_>| bytes(&[Message::Tinit { cpus: 2, page_size: 4096, options }]);
    let rest = bytes(&[Message::SendData(b"head"), Message::FinData, Message::Close])?;
    let plain = tinit(Words::default())?;
    save("whole-v3", 0, &[HELLO, &plain, &rest])?;
    save("whole-v3-tcp", 0, &[HELLO, &tinit(list(&["tcp"])?.words())?, &rest])?;
    save("whole-v2-first", 0, &[b"-1V2\0", HELLO, &plain, &rest])?;
    save("whole-v1", HANG_UP, &[b"2\x004096\x000\0head"])?;
    save("whole-v1-tcp", HANG_UP, &[b"2\x004096\x001\x004\0TCP\0head"])?;
    let asked = list(&["accounts", "sequence", "instances"])?;
    let instance = list(&["../foo", "mono", "0,3"])?;
    let more = bytes(&[
        Message::Instance { cpus: 2, page_size: 4096, words: instance.words() },
        Message::SendData(b"head"),
        Message::FinData,
        Message::DataEnd { cpu: 0, bytes: 1 << 40 },
        Message::DataEnd { cpu: 3, bytes: 0 },
        Message::SendData(b"tail"),
        Message::FinData,
        Message::Close,
    ])?;
    save("whole-extensions", ALL, &[HELLO, &tinit(asked.words())?, &more])?;
    let keyed = list(&["tcp", "key=000102030405060708090a0b0c0d0e0f"])?;
    let proof = bytes(&[Message::Proof { proof: [b'r'; 32] }])?;
    save("whole-key", KEY, &[HELLO, &tinit(keyed.words())?, &proof, &rest])?;
    save("bad-no-key", KEY, &[HELLO, &plain])?;
    save(
        "bad-many-cpus",
        0,
        &[
            HELLO,
            &bytes(&[Message::Tinit {
                cpus: u32::MAX,
                page_size: 4096,
                options: Words::default(),
            }])?,
        ],
    )?;
    save("bad-early-data", 0, &[HELLO, &rest])?;
    save("bad-http", 0, &[b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"])?;
    save("bad-hang-up", HANG_UP, &[HELLO, &plain, &rest[..20]])
}

fn recorder() -> io::Result<()> {
    const HELLO: &[u8] = b"tracecmdV3\0OK";
    let save = |name: &str, setup, parts: &[&[u8]]| write("recorder", name, setup, parts);
    let ports = list(&["1500", "1501"])?;
    let rinit = |accepted| bytes(&[Message::Rinit { cpus: 2, accepted, ports: ports.words() }]);
    save("whole-v3", 0, &[HELLO, &rinit(0)?])?;
    save("whole-v1", VERSION_1, &[b"tracecmd1500,1501\0"])?;
    let end = bytes(&[
        Message::Received { stream: 0, bytes: 4000, lost_bytes: 96, lost_datagrams: 1 },
        Message::Received { stream: 3, bytes: 0, lost_bytes: 0, lost_datagrams: 0 },
        Message::CloseResp,
    ])?;
    save("whole-extensions", ALL, &[HELLO, &rinit(7)?, &rinit(7)?, &end])?;
    let challenge = bytes(&[Message::Challenge { nonce: [3; 16], proof: [b'l'; 32] }])?;
    save("whole-key", KEY, &[HELLO, &challenge, &rinit(0)?])?;
    save("bad-no-proof", KEY, &[HELLO, &rinit(0)?])?;
    save("bad-refused", 0, &[HELLO, &bytes(&[Message::Refuse { code: 64, reason: "full" }])?])?;
    save("bad-falls-back", 0, &[b"tracecmd\0"])?;
    save("bad-ssh", 0, &[b"SSH-2.0-OpenSSH_9.9\r\n"])?;
    save("bad-port", VERSION_1, &[b"tracecmd1500,65536\0"])
}

fn datagrams() -> io::Result<()> {
    let mut numbering = Numbering::new(0);
    let sent: Vec<Vec<u8>> = (1..=6_u8)
        .map(|at| {
            let payload = vec![at; 10 * usize::from(at)];
            frame(&[&numbering.next_header(payload.len())[..], &payload].concat())
        })
        .collect();
    let save = |name: &str, window, produced: u64, order: &[usize]| {
        let produced = produced.to_be_bytes();
        let mut parts = vec![&produced[..]];
        parts.extend(order.iter().filter_map(|&at| sent.get(at)).map(Vec::as_slice));
        write("datagrams", name, window, &parts)
    };
    save("whole-in-order", 4, 210, &[0, 1, 2, 3, 4, 5])?;
    save("whole-late", 4, 210, &[1, 0, 3, 5, 4, 2, 2])?;
    save("bad-lost", 4, 210, &[1, 3, 5])?;
    save("bad-no-window", 0, 300, &[0, 2, 1, 3, 1])?;
    save("bad-more-than-produced", 4, 100, &[0, 1, 2, 3, 4, 5])?;
    let header = SequenceHeader { stream: 0, number: u64::MAX, bytes_before: u64::MAX };
    let far = frame(&[&header.to_bytes()[..], b"x"].concat());
    write("datagrams", "bad-far", 0, &[&u64::MAX.to_be_bytes(), &far])
}

/// A datagram behind its size.
fn frame(datagram: &[u8]) -> Vec<u8> {
    let size = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
    [&size.to_be_bytes()[..], datagram].concat()
}
