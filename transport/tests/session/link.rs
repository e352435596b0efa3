//! A recorder and a listener whose bytes go in pieces of a chosen size, without a socket.

use std::sync::Arc;
use std::time::Instant;

use trace_transport::session::{
    Extensions, Instance, Opened, Proof, Protocol, Prove, Received, Receiver, ReceiverConfig,
    ReceiverEvent, Sender, SenderConfig, SenderEvent, SessionError, SessionKey, Start, Timeouts,
    Version,
};

/// What a listener was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) starts: Vec<Start>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) metadata_ends: u32,
    pub(crate) tail: Vec<u8>,
    pub(crate) tail_ends: u32,
    pub(crate) ends: Vec<(u32, u64)>,
    pub(crate) closes: u32,
    pub(crate) error: Option<SessionError>,
}

/// A listener that answers each question at once.
pub(crate) struct Listener {
    pub(crate) receiver: Receiver,
    pub(crate) heard: Heard,
    streams: u16,
}

impl Listener {
    pub(crate) fn new(config: ReceiverConfig, now: Instant) -> Self {
        Self { receiver: Receiver::new(config, now), heard: Heard::default(), streams: 0 }
    }

    /// Feeds bytes in pieces and takes in all that follows from them.
    pub(crate) fn feed(&mut self, bytes: &[u8], piece: usize, now: Instant) {
        for mut piece in bytes.chunks(piece) {
            while !piece.is_empty() && !self.receiver.is_over() {
                let taken = self.receiver.push(piece);
                piece = &piece[taken..];
                self.work(now);
                assert!(taken > 0 || self.receiver.is_over(), "stuck");
            }
        }
    }

    pub(crate) fn hang_up(&mut self, now: Instant) {
        self.receiver.hung_up();
        self.work(now);
    }

    fn work(&mut self, now: Instant) {
        let heard = &mut self.heard;
        loop {
            let ports = match self.receiver.next(now) {
                Ok(None) => return,
                Ok(Some(ReceiverEvent::Start(start))) => {
                    let cpus = start.cpus;
                    heard.starts.push(start);
                    cpus
                }
                Ok(Some(ReceiverEvent::Instance(instance))) => {
                    let cpus = instance.cpus.len() as u32;
                    heard.instances.push(instance);
                    cpus
                }
                Ok(Some(ReceiverEvent::Metadata(bytes))) => {
                    heard.metadata.extend_from_slice(bytes);
                    continue;
                }
                Ok(Some(ReceiverEvent::MetadataEnd)) => {
                    heard.metadata_ends += 1;
                    continue;
                }
                Ok(Some(ReceiverEvent::Tail(bytes))) => {
                    heard.tail.extend_from_slice(bytes);
                    continue;
                }
                Ok(Some(ReceiverEvent::TailEnd)) => {
                    heard.tail_ends += 1;
                    continue;
                }
                Ok(Some(ReceiverEvent::DataEnd { stream, bytes })) => {
                    heard.ends.push((stream, bytes));
                    continue;
                }
                Ok(Some(ReceiverEvent::Close)) => {
                    heard.closes += 1;
                    let received: Vec<_> = (0..u32::from(self.streams)).map(received).collect();
                    self.receiver.finish(&received).unwrap();
                    continue;
                }
                Err(error) => {
                    assert!(self.receiver.is_over());
                    heard.error = Some(error);
                    continue;
                }
            };
            let first = 1500 + self.streams;
            self.streams += cpus_of(ports);
            let ports: Vec<u16> = (first..1500 + self.streams).collect();
            self.receiver.ports(&ports, now).unwrap();
        }
    }
}

fn cpus_of(cpus: u32) -> u16 {
    u16::try_from(cpus).unwrap()
}

/// What a recorder was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) opened: Vec<Opened>,
    pub(crate) instance_ports: Vec<(u32, Vec<u16>)>,
    pub(crate) received: Vec<Received>,
    pub(crate) reconnects: u32,
    pub(crate) done: bool,
    pub(crate) error: Option<SessionError>,
}

/// A recorder that says all it has as soon as it may.
pub(crate) struct Recorder {
    pub(crate) sender: Sender,
    pub(crate) told: Told,
    instances: Vec<Instance>,
    metadata: Vec<u8>,
    streams: u32,
    tail: Vec<u8>,
}

impl Recorder {
    pub(crate) fn new(config: SenderConfig, now: Instant) -> Self {
        let mut instances = instances();
        instances.reverse();
        Self {
            streams: config.cpus,
            sender: Sender::new(config, now).unwrap(),
            told: Told::default(),
            instances,
            metadata: metadata(),
            tail: tail(),
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8], piece: usize, now: Instant) {
        for mut piece in bytes.chunks(piece) {
            while !piece.is_empty() && !self.sender.is_over() {
                let taken = self.sender.push(piece);
                piece = &piece[taken..];
                self.work(now);
                assert!(taken > 0 || self.sender.is_over(), "stuck");
            }
        }
    }

    pub(crate) fn hang_up(&mut self, now: Instant) {
        self.sender.hung_up();
        self.work(now);
    }

    fn work(&mut self, now: Instant) {
        loop {
            match self.sender.next(now) {
                Ok(None) => return,
                Ok(Some(SenderEvent::Reconnect)) => self.told.reconnects += 1,
                Ok(Some(SenderEvent::Opened(opened))) => {
                    let extensions = opened.extensions;
                    self.told.opened.push(opened);
                    if !extensions.instances {
                        self.instances.clear();
                    }
                    if !extensions.accounts {
                        self.tail.clear();
                    }
                    self.say(now);
                }
                Ok(Some(SenderEvent::InstancePorts { first_stream, ports })) => {
                    self.streams += ports.len() as u32;
                    self.told.instance_ports.push((first_stream, ports));
                    self.say(now);
                }
                Ok(Some(SenderEvent::Received(received))) => self.told.received.push(received),
                Ok(Some(SenderEvent::Done)) => self.told.done = true,
                Err(error) => {
                    assert!(self.sender.is_over());
                    self.told.error = Some(error);
                }
            }
        }
    }

    fn say(&mut self, now: Instant) {
        if let Some(instance) = self.instances.pop() {
            return self.sender.instance(&instance, now).unwrap();
        }
        assert_eq!(self.sender.put_metadata(&self.metadata).unwrap(), self.metadata.len());
        self.sender.end_metadata().unwrap();
        for stream in 0..self.streams {
            self.sender.data_end(stream, produced(stream)).unwrap();
        }
        if !self.tail.is_empty() {
            assert_eq!(self.sender.put_metadata(&self.tail).unwrap(), self.tail.len());
            self.sender.end_metadata().unwrap();
        }
        self.sender.close(now).unwrap();
    }
}

/// Everything both sides said.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) recorder: Vec<u8>,
    pub(crate) listener: Vec<u8>,
}

/// Lets both talk until neither says more; the recorder hangs up when it is done.
pub(crate) fn talk(
    recorder: &mut Recorder,
    listener: &mut Listener,
    piece: usize,
    now: Instant,
) -> Wire {
    let mut wire = Wire::default();
    let mut closed = false;
    loop {
        let said = recorder.sender.output().to_vec();
        recorder.sender.sent(said.len());
        listener.feed(&said, piece, now);
        let answered = listener.receiver.output().to_vec();
        listener.receiver.sent(answered.len());
        recorder.feed(&answered, piece, now);
        if said.is_empty() && answered.is_empty() {
            if closed {
                return wire;
            }
            closed = true;
            listener.hang_up(now);
        }
        wire.recorder.extend(said);
        wire.listener.extend(answered);
    }
}

pub(crate) fn metadata() -> Vec<u8> {
    (0..20_000_u32).map(|at| (at * 7 + at / 251) as u8).collect()
}

pub(crate) fn tail() -> Vec<u8> {
    b"what goes behind the data".to_vec()
}

/// Beyond 32 bits.
pub(crate) fn produced(stream: u32) -> u64 {
    (1 << 40) + u64::from(stream)
}

pub(crate) fn received(stream: u32) -> Received {
    let lost_bytes = 5 << 32;
    let bytes = produced(stream) - lost_bytes;
    Received { stream, bytes, lost_bytes, lost_datagrams: 9 }
}

pub(crate) fn instances() -> Vec<Instance> {
    let instance = |name: &str, cpus: &[u32]| Instance {
        name: name.to_owned(),
        clock: "mono".to_owned(),
        cpus: cpus.to_vec(),
        page_size: 8192,
    };
    vec![instance("../../etc/passwd", &[0, 1]), instance("", &[3])]
}

pub(crate) fn sender_config() -> SenderConfig {
    SenderConfig {
        cpus: 2,
        page_size: 4096,
        protocol: Protocol::Udp,
        version: Version::V3,
        extensions: Extensions::ALL,
        key: None,
        timeouts: Timeouts::default(),
    }
}

pub(crate) fn receiver_config() -> ReceiverConfig {
    ReceiverConfig { extensions: Extensions::ALL, ..ReceiverConfig::default() }
}

/// Not HMAC, but it depends on all that HMAC would.
pub(crate) fn key(secret: u8, nonce: u8) -> SessionKey {
    let prove: Prove = Arc::new(move |role, recorder, listener| {
        let mut proof: Proof = [secret; 32];
        for (at, byte) in [role, recorder, listener].concat().iter().enumerate() {
            proof[at % 32] = proof[at % 32].rotate_left(3) ^ byte;
        }
        proof
    });
    SessionKey { prove, nonce: [nonce; 16] }
}
