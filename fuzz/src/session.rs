//! What goes between a listener and a network recorder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_transport::session::{
    Arrival, Extensions, Instance, Opened, Piece, Prove, Received, Receiver, ReceiverConfig,
    ReceiverEvent, Sender, SenderConfig, SenderEvent, Sequence, SequenceHeader, SessionError,
    SessionKey, Start, Timeouts, Version,
};

/// Bits 0 to 2 of the set-up; bit 3 is for a key, bit 4 for a hang-up at the end, bit 5 for version 1.
fn extensions(bits: u8) -> Extensions {
    Extensions { accounts: bits & 1 != 0, sequence: bits & 2 != 0, instances: bits & 4 != 0 }
}

/// A key whose proofs anyone can make, so that the fuzzer can too.
fn key(bits: u8) -> Option<SessionKey> {
    let prove: Prove = Arc::new(|role, _, _| [role[0]; 32]);
    (bits & 8 != 0).then_some(SessionKey { prove, nonce: [7; 16] })
}

/// What a listener understood of a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What the recorder will send.
    pub start: Option<Start>,
    /// Its further buffers.
    pub instances: Vec<Instance>,
    /// The beginning of its file, and what goes behind the data.
    pub pieces: [Vec<u8>; 2],
    /// Complete ones of these.
    pub piece_ends: [u32; 2],
    /// Bytes of streams.
    pub data_ends: Vec<(u32, u64)>,
    /// Whether it came to its end.
    pub is_closed: bool,
    /// Why not.
    pub error: Option<SessionError>,
    /// What it was answered.
    pub answer: Vec<u8>,
}

/// What a listener hears, after a byte with its set-up.
///
/// # Panics
/// When it understands something else in other pieces, or does not end at its deadline.
pub fn listener(data: &[u8]) -> Heard {
    let Some((&bits, said)) = data.split_first() else { return Heard::default() };
    let heard = listen(bits, said, said.len());
    let in_bytes = listen(bits, said, 1);
    assert_eq!(in_bytes, heard, "pieces change the meaning");
    let pieces: usize = heard.pieces.iter().map(Vec::len).sum();
    assert!(pieces <= said.len(), "more came out than went in");
    heard
}

fn listen(bits: u8, said: &[u8], piece: usize) -> Heard {
    let now = Instant::now();
    let config = ReceiverConfig {
        extensions: extensions(bits),
        key: key(bits),
        ..ReceiverConfig::default()
    };
    let mut receiver = Receiver::new(config, now);
    let mut heard = Heard::default();
    for mut bytes in said.chunks(piece.max(1)) {
        while !bytes.is_empty() && !receiver.is_over() {
            let count = receiver.push(bytes);
            bytes = &bytes[count..];
            hear(&mut receiver, &mut heard, now);
            assert!(count > 0 || receiver.is_over(), "takes nothing and says nothing");
        }
    }
    if bits & 16 != 0 {
        receiver.hung_up();
        hear(&mut receiver, &mut heard, now);
        assert!(receiver.is_over(), "goes on without a connection");
    } else if let Some(deadline) = receiver.next_deadline() {
        receiver.on_time(deadline - Duration::from_nanos(1)).expect("not yet");
        receiver.on_time(deadline).expect_err("its deadline has come");
        assert!(receiver.is_over() && receiver.next_deadline().is_none());
    }
    heard.answer.extend_from_slice(receiver.output());
    heard
}

fn hear(receiver: &mut Receiver, heard: &mut Heard, now: Instant) {
    loop {
        let ports = match receiver.next(now) {
            Ok(None) => return,
            Ok(Some(ReceiverEvent::Start(start))) => {
                assert!(heard.start.is_none(), "a second start");
                let cpus = start.cpus as usize;
                heard.start = Some(start);
                cpus
            }
            Ok(Some(ReceiverEvent::Instance(instance))) => {
                let cpus = instance.cpus.len();
                heard.instances.push(instance);
                cpus
            }
            Ok(Some(event)) => {
                match event {
                    ReceiverEvent::Metadata(bytes) => heard.pieces[0].extend_from_slice(bytes),
                    ReceiverEvent::MetadataEnd => heard.piece_ends[0] += 1,
                    ReceiverEvent::Tail(bytes) => heard.pieces[1].extend_from_slice(bytes),
                    ReceiverEvent::TailEnd => heard.piece_ends[1] += 1,
                    ReceiverEvent::DataEnd { stream, bytes } => {
                        heard.data_ends.push((stream, bytes));
                    }
                    _ => {
                        heard.is_closed = true;
                        receiver.finish(&[Received::default()]).expect("it asked for this");
                    }
                }
                continue;
            }
            Err(error) => {
                assert!(receiver.is_over());
                heard.error = Some(error);
                continue;
            }
        };
        receiver.ports(&vec![65535; ports], now).expect("it asked for these");
    }
}

/// What a recorder was told in a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What was agreed on.
    pub opened: Option<Opened>,
    /// Ports of a further buffer.
    pub instances: Vec<(u32, Vec<u16>)>,
    /// What the listener has.
    pub received: Vec<Received>,
    /// Whether it came to its end.
    pub is_done: bool,
    /// Why not.
    pub error: Option<SessionError>,
    /// What it said.
    pub said: Vec<u8>,
}

/// What a recorder is told, after a byte with its set-up.
///
/// # Panics
/// When it understands something else in other pieces, or does not end with its connection.
pub fn recorder(data: &[u8]) -> Told {
    let Some((&bits, heard)) = data.split_first() else { return Told::default() };
    let told = record(bits, heard, heard.len());
    let in_bytes = record(bits, heard, 1);
    assert_eq!(in_bytes, told, "pieces change the meaning");
    told
}

fn record(bits: u8, heard: &[u8], piece: usize) -> Told {
    let now = Instant::now();
    let config = SenderConfig {
        cpus: 2,
        page_size: 4096,
        protocol: trace_transport::session::Protocol::Udp,
        version: if bits & 32 != 0 && bits & 8 == 0 { Version::V1 } else { Version::V3 },
        extensions: extensions(bits),
        key: key(bits),
        timeouts: Timeouts::default(),
    };
    let mut sender = Sender::new(config, now).expect("a possible recording");
    let mut told = Told::default();
    for mut bytes in heard.chunks(piece.max(1)) {
        while !bytes.is_empty() && !sender.is_over() {
            let count = sender.push(bytes);
            bytes = &bytes[count..];
            tell(&mut sender, &mut told, now);
            if count == 0 && !sender.is_over() {
                // It waits for another connection.
                assert!(sender.next_deadline().is_none(), "takes nothing and says nothing");
                return told;
            }
        }
    }
    sender.hung_up();
    tell(&mut sender, &mut told, now);
    told.said.extend_from_slice(sender.output());
    told
}

fn tell(sender: &mut Sender, told: &mut Told, now: Instant) {
    loop {
        let extensions = match sender.next(now) {
            Ok(None) => return,
            Ok(Some(SenderEvent::Opened(opened))) => {
                assert!(told.opened.is_none(), "a second opening");
                let extensions = opened.extensions;
                told.opened = Some(opened);
                extensions
            }
            Ok(Some(SenderEvent::InstancePorts { first_stream, ports })) => {
                told.instances.push((first_stream, ports));
                Extensions::NONE
            }
            Ok(Some(SenderEvent::Received(received))) => {
                told.received.push(received);
                continue;
            }
            Ok(Some(SenderEvent::Done)) => {
                told.is_done = true;
                continue;
            }
            Ok(Some(_)) => continue,
            Err(error) => {
                assert!(sender.is_over());
                told.error = Some(error);
                continue;
            }
        };
        say(sender, extensions.instances, now).expect("it may say this now");
    }
}

fn say(sender: &mut Sender, with_instance: bool, now: Instant) -> Result<(), SessionError> {
    if with_instance {
        let (name, clock) = ("foo".to_owned(), "mono".to_owned());
        let instance = Instance { name, clock, cpus: vec![0, 3], page_size: 4096 };
        return sender.instance(&instance, now);
    }
    sender.put_metadata(b"head")?;
    sender.end_metadata()?;
    sender.data_end(0, 4096)?;
    sender.close(now)
}

/// Datagrams, each after two bytes with its size; the first byte is the window in KiB, the next eight what was produced.
///
/// # Panics
/// When what came and what is lost are not what was produced.
pub fn datagrams(data: &[u8]) -> Received {
    let Some((&window, rest)) = data.split_first() else { return Received::default() };
    let Some((produced, mut rest)) = rest.split_first_chunk() else { return Received::default() };
    let mut sequence = Sequence::new(0, 4096, usize::from(window) << 10);
    let mut position = 0_u64;
    while let Some((size, more)) = rest.split_first_chunk() {
        let (datagram, more) = more.split_at(more.len().min(u16::from_be_bytes(*size).into()));
        rest = more;
        if let Ok(Arrival::InOrder(bytes)) = sequence.arrive(datagram) {
            let (header, payload) = SequenceHeader::split(datagram).expect("it was taken");
            assert_eq!((header.bytes_before, payload), (position, bytes));
            position += bytes.len() as u64;
        }
        position = drain(&mut sequence, position);
    }
    let produced = u64::from_be_bytes(*produced);
    if sequence.end(produced).is_ok() {
        position = drain(&mut sequence, position);
        assert_eq!(position, produced, "the end is not the end");
    }
    sequence.received()
}

fn drain(sequence: &mut Sequence, mut position: u64) -> u64 {
    while let Some(piece) = sequence.next_piece() {
        position += match piece {
            Piece::Data(bytes) => bytes.len() as u64,
            Piece::Lost { bytes, datagrams } => {
                assert!((1..=bytes).contains(&datagrams), "{datagrams} datagrams of {bytes} bytes");
                bytes
            }
        };
    }
    let received = sequence.received();
    assert_eq!(received.bytes + received.lost_bytes, position);
    position
}
