//! The listener's side of a control connection.

use std::time::Instant;

use super::key::{self, KeyedSession};
use super::output::Output;
use super::text::{clean, number, take_word};
use super::timeouts::after;
use super::{
    Extensions, Instance, MAX_DATAGRAM, Proof, Protocol, Received, RefuseCode, SequenceHeader,
    SessionError, SessionKey, Timeouts, Version, v1,
};
use crate::message::{Command, Decoder, Message, WordList, Words};

/// What a recorder may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Data streams, over all buffers. A single buffer has at most 1362, whose ports fit in one message.
    pub max_streams: u32,
    /// Buffers besides the top one.
    pub max_instances: u32,
    /// Bytes per sub-buffer.
    pub max_page_size: u32,
}

impl Default for Limits {
    /// 4096 streams, 64 further buffers, 16 MiB.
    fn default() -> Self {
        Self { max_streams: 4096, max_instances: 64, max_page_size: 16 << 20 }
    }
}

/// Streams of one buffer: `65535` and a NUL of each fit in an RINIT.
pub(super) const MAX_BUFFER_STREAMS: u32 = (8192 - 12 - 8) / 6;

impl Limits {
    pub(super) fn check_cpus(&self, cpus: u32, room: u32) -> Result<(), SessionError> {
        let limit = room.min(self.max_streams).min(MAX_BUFFER_STREAMS);
        check("number of CPUs", cpus, limit)
    }

    pub(super) fn check_page_size(&self, page_size: u32) -> Result<(), SessionError> {
        check("page size", page_size, self.max_page_size)
    }
}

fn check(what: &'static str, value: u32, limit: u32) -> Result<(), SessionError> {
    if (1..=limit).contains(&value) {
        return Ok(());
    }
    Err(SessionError::Limit { what, value: u64::from(value), least: 1, limit: u64::from(limit) })
}

/// How a listener treats its clients.
#[derive(Debug, Clone, Default)]
pub struct ReceiverConfig {
    /// What a client may ask for.
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// What is taken up, where a client asks for it.
    pub extensions: Extensions,
    /// A key that clients must know, and a nonce of this session.
    pub key: Option<SessionKey>,
}

/// What a recorder will send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Which protocol it speaks.
    pub version: Version,
    /// CPUs of its top buffer; each has a stream.
    pub cpus: u32,
    /// Bytes per sub-buffer.
    pub page_size: u32,
    /// What its data is to come over. [`Vsock`](Protocol::Vsock) makes sense only where the control connection is on
    /// vsock too, and is meant there whatever stands here.
    pub protocol: Protocol,
    /// What was asked for and is taken up.
    pub extensions: Extensions,
}

/// What the listener is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverEvent<'a> {
    /// Open a port for each CPU, then call [`ports`](Receiver::ports).
    Start(Start),
    /// The same for a further buffer. May come at any time after the first ports.
    Instance(Instance),
    /// A piece of the beginning of the trace file.
    Metadata(&'a [u8]),
    /// The beginning is complete. Never comes in version 1, whose end is [`Close`](Self::Close).
    MetadataEnd,
    /// A piece of what goes behind the data.
    Tail(&'a [u8]),
    /// That is complete.
    TailEnd,
    /// So many bytes were produced for a stream; no more will come.
    DataEnd {
        /// Which stream.
        stream: u32,
        /// Bytes, sequence headers not counted.
        bytes: u64,
    },
    /// The recorder has sent all; take what is still on the way, then call [`finish`](Receiver::finish).
    Close,
}

/// The listener's side of one control connection, from its first byte on.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    input: Decoder,
    output: Output,
    state: State,
    deadline: Option<Instant>,
    hung_up: bool,
    version: Version,
    keyed: Option<KeyedSession>,
    extensions: Extensions,
    instances: u32,
    /// Whether each stream's end was told.
    ended: Vec<bool>,
    /// Whether the first FIN_DATA came.
    has_metadata: bool,
    /// Whether SEND_DATA came behind the last FIN_DATA.
    in_piece: bool,
}

#[derive(Debug)]
enum State {
    /// Waits for the number of CPUs (V1) or the version; the first is answered by V3 if it is another.
    Version { first: bool },
    /// Waits for what follows V3.
    Magic,
    /// Waits for a V1 recorder's words.
    V1Hello(v1::HelloReader),
    /// Waits for TINIT.
    Tinit,
    /// Waits for the proof that the recorder knows the key.
    Proof(Start),
    /// Waits for the caller's ports, so many.
    Ports(u32),
    /// Waits for anything that a recorder says while it records; CLOSE has its place behind the metadata.
    Recording,
    /// Waits for the caller's end.
    Finish,
    /// Says no more.
    Over,
}

impl State {
    /// What is waited for.
    fn step(&self) -> &'static str {
        match self {
            Self::Version { .. } => "the version",
            Self::Magic => "the magic number",
            Self::V1Hello(_) => "the words of version 1",
            Self::Tinit => "TINIT",
            Self::Proof(_) => "PROOF",
            Self::Ports(_) => "the listener's ports",
            Self::Recording => "metadata or CLOSE",
            Self::Finish => "the listener's end",
            Self::Over => "nothing",
        }
    }
}

/// What the next bytes are.
enum Step {
    /// Not enough.
    None,
    /// Something that is no event.
    Again,
    /// An event without bytes.
    Event(ReceiverEvent<'static>),
    /// A frame with a piece of metadata.
    Piece,
    /// So many bytes of metadata without a frame.
    Raw(usize),
}

const GREETING: &[u8; 8] = b"tracecmd";
const MAGIC: &[u8; 8] = b"766679\0\0";
const VERSION_LIMIT: usize = 32;

impl Receiver {
    /// A connection was accepted just now: the greeting is to be sent.
    #[must_use]
    pub fn new(config: ReceiverConfig, now: Instant) -> Self {
        let mut output = Output::default();
        output.tail().extend_from_slice(GREETING);
        Self {
            deadline: after(now, config.timeouts.step),
            config,
            input: Decoder::new(),
            output,
            state: State::Version { first: true },
            hung_up: false,
            version: Version::V1,
            keyed: None,
            extensions: Extensions::NONE,
            instances: 0,
            ended: Vec::new(),
            has_metadata: false,
            in_piece: false,
        }
    }

    /// Takes bytes of the connection; returns how many. It takes none only while events wait in [`next`](Self::next), or
    /// a call that one of them asked for, and when the session is over.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.input.push(bytes)
    }

    /// Room to read into; tell by [`filled`](Self::filled) how much of it was. Where [`push`](Self::push) would take
    /// nothing it is empty, and reading into it looks like the end of the connection.
    pub fn space(&mut self) -> &mut [u8] {
        self.input.space()
    }

    /// Takes note of `count` bytes put into [`space`](Self::space).
    pub fn filled(&mut self, count: usize) {
        self.input.filled(count);
    }

    /// Takes note that the connection ends behind what was pushed. In version 1 that is the recorder's only way to end.
    pub fn hung_up(&mut self) {
        self.hung_up = true;
    }

    /// The next event, or `None` until there are more bytes.
    ///
    /// # Errors
    ///
    /// What the client said makes no sense here, or its connection ended too early. The session is then over.
    pub fn next(&mut self, now: Instant) -> Result<Option<ReceiverEvent<'_>>, SessionError> {
        loop {
            let step = match self.step(now) {
                Ok(step) => step,
                Err(error) => return Err(self.fail(error)),
            };
            match step {
                Step::None if self.hung_up => return self.after_hang_up(),
                Step::None => return Ok(None),
                Step::Again => {}
                Step::Event(event) => return Ok(Some(event)),
                Step::Raw(count) => {
                    return Ok(Some(ReceiverEvent::Metadata(self.input.take(count))));
                }
                Step::Piece => {
                    let has_metadata = self.has_metadata;
                    let Some(frame) = self.input.next_frame()? else { return Ok(None) };
                    let piece = frame.data;
                    return Ok(Some(if has_metadata {
                        ReceiverEvent::Tail(piece)
                    } else {
                        ReceiverEvent::Metadata(piece)
                    }));
                }
            }
        }
    }

    /// Bytes to be sent.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.waiting()
    }

    /// Takes note that `count` bytes of [`output`](Self::output) were sent.
    pub fn sent(&mut self, count: usize) {
        self.output.sent(count);
    }

    /// When [`on_time`](Self::on_time) is to be called, if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends the session if the client took too long.
    ///
    /// # Errors
    ///
    /// [`SessionError::TimedOut`].
    pub fn on_time(&mut self, now: Instant) -> Result<(), SessionError> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let step = self.state.step();
        Err(self.fail(SessionError::TimedOut { step }))
    }

    /// Tells the client where its streams go, one port each, in the order of its CPUs.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] when no event asked for ports, [`SessionError::Ports`] when they are too few or many.
    pub fn ports(&mut self, ports: &[u16], now: Instant) -> Result<(), SessionError> {
        let State::Ports(streams) = self.state else {
            return Err(self.out_of_order("ports"));
        };
        if ports.len() != streams as usize {
            return Err(SessionError::Ports { expected: streams as usize, got: ports.len() });
        }
        match self.version {
            Version::V1 => v1::put_ports(self.output.tail(), ports),
            Version::V3 => {
                let words = WordList::new(ports.iter().map(u16::to_string))?;
                let accepted = self.extensions.bits();
                Message::Rinit { cpus: streams, accepted, ports: words.words() }
                    .encode(self.output.tail())?;
            }
        }
        self.state = State::Recording;
        self.wait_for_metadata(now);
        Ok(())
    }

    /// Answers [`Close`](ReceiverEvent::Close): all is in the file. With the extension `accounts` the client is told
    /// what of each stream is.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] before that event.
    pub fn finish(&mut self, streams: &[Received]) -> Result<(), SessionError> {
        if !matches!(self.state, State::Finish) {
            return Err(self.out_of_order("finish"));
        }
        if self.extensions.accounts {
            let out = self.output.tail();
            for &Received { stream, bytes, lost_bytes, lost_datagrams } in streams {
                Message::Received { stream, bytes, lost_bytes, lost_datagrams }.encode(out)?;
            }
            Message::CloseResp.encode(out)?;
        }
        self.end();
        Ok(())
    }

    /// Ends the session from this side, at any time. A client that speaks messages is told why; `reason` is one line.
    pub fn refuse(&mut self, code: RefuseCode, reason: &str) {
        if self.version == Version::V3 && !matches!(self.state, State::Over) {
            let reason = clean(reason);
            // A cleaned reason fits.
            let _ = Message::Refuse { code: code.0, reason: &reason }.encode(self.output.tail());
        }
        self.end();
    }

    /// Whether nothing more will be said or understood; what is in [`output`](Self::output) is still to be sent.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// What the connection of a stream must start with, where a key is used.
    #[must_use]
    pub fn data_token(&self, stream: u32) -> Option<Proof> {
        self.keyed.as_ref().map(|keyed| keyed.data_token(stream))
    }

    fn step(&mut self, now: Instant) -> Result<Step, SessionError> {
        match &mut self.state {
            State::Version { first } => {
                let first = *first;
                let Some(word) = take_word(&mut self.input, "version", VERSION_LIMIT)? else {
                    return Ok(Step::None);
                };
                self.version_word(&word, first)?;
                self.restart_clock(now);
                Ok(Step::Again)
            }
            State::Magic => {
                let Some(magic) = self.input.waiting().first_chunk() else { return Ok(Step::None) };
                if magic != MAGIC {
                    return Err(SessionError::Magic {
                        expected: "766679",
                        got: clean(&String::from_utf8_lossy(magic)),
                        offset: self.input.offset(),
                    });
                }
                self.input.take(MAGIC.len());
                self.output.tail().extend_from_slice(b"OK");
                self.version = Version::V3;
                self.state = State::Tinit;
                self.restart_clock(now);
                Ok(Step::Again)
            }
            State::V1Hello(reader) => match reader.read(&mut self.input, &self.config.limits)? {
                Some(hello) => Ok(self.start(&Start {
                    version: Version::V1,
                    cpus: hello.cpus,
                    page_size: hello.page_size,
                    protocol: if hello.tcp { Protocol::Tcp } else { Protocol::Udp }
                        .for_page_size(hello.page_size),
                    extensions: Extensions::NONE,
                })),
                None => Ok(Step::None),
            },
            State::Recording if self.version == Version::V1 => {
                Ok(match self.input.waiting().len() {
                    0 => Step::None,
                    count => Step::Raw(count),
                })
            }
            State::Tinit | State::Proof(_) | State::Recording => self.message(now),
            State::Ports(_) | State::Finish | State::Over => Ok(Step::None),
        }
    }

    fn version_word(&mut self, word: &str, first: bool) -> Result<(), SessionError> {
        if let Some(version) = word.strip_prefix("-1V") {
            self.state = match (version, first) {
                ("3", _) => State::Magic,
                (_, true) => State::Version { first: false },
                (_, false) => return Err(SessionError::Version { version: clean(word) }),
            };
            self.output.tail().extend_from_slice(b"V3\0");
            return Ok(());
        }
        let cpus = number("number of CPUs", word)?;
        self.config.limits.check_cpus(cpus, u32::MAX)?;
        if self.config.key.is_some() {
            return Err(SessionError::KeyMissing);
        }
        self.state = State::V1Hello(v1::HelloReader::new(cpus));
        Ok(())
    }

    /// Looks at the message at the front; takes it unless it is a piece of metadata.
    fn message(&mut self, now: Instant) -> Result<Step, SessionError> {
        let Some(frame) = self.input.peek_frame()? else { return Ok(Step::None) };
        let size = frame.bytes().len();
        let command = frame.command;
        if command == Command::SEND_DATA && matches!(self.state, State::Recording) {
            self.wait_for_metadata(now);
            self.in_piece = true;
            return Ok(Step::Piece);
        }
        let step = match (&self.state, Message::decode(&frame)?) {
            (State::Tinit, Message::Tinit { cpus, page_size, options }) => {
                let asked = Asked::read(&options)?;
                self.tinit(cpus, page_size, &asked, now)?
            }
            (State::Proof(start), Message::Proof { proof }) => {
                let known = self.keyed.as_ref().map(KeyedSession::recorder_proof);
                if !known.is_some_and(|known| key::same(&known, &proof)) {
                    return Err(SessionError::KeyWrong);
                }
                let start = start.clone();
                self.start(&start)
            }
            (State::Recording, Message::FinData) => {
                self.deadline = None;
                self.in_piece = false;
                let tail = std::mem::replace(&mut self.has_metadata, true);
                Step::Event(if tail { ReceiverEvent::TailEnd } else { ReceiverEvent::MetadataEnd })
            }
            (State::Recording, Message::DataEnd { cpu: stream, bytes })
                if self.extensions.accounts =>
            {
                let streams = self.ended.len() as u32;
                match self.ended.get_mut(stream as usize) {
                    Some(ended) if !*ended => *ended = true,
                    _ => return Err(SessionError::Stream { stream, streams }),
                }
                Step::Event(ReceiverEvent::DataEnd { stream, bytes })
            }
            (State::Recording, Message::Instance { cpus, page_size, words })
                if self.extensions.instances =>
            {
                let limits = &self.config.limits;
                if self.instances >= limits.max_instances {
                    let limit = u64::from(limits.max_instances);
                    let value = u64::from(self.instances) + 1;
                    return Err(SessionError::Limit {
                        what: "number of instances",
                        value,
                        least: 0,
                        limit,
                    });
                }
                let room = limits.max_streams.saturating_sub(self.ended.len() as u32);
                let instance = Instance::decode(cpus, page_size, &words, room, limits)?;
                self.instances += 1;
                self.ask_for_ports(cpus);
                Step::Event(ReceiverEvent::Instance(instance))
            }
            (State::Recording, Message::Close) if self.has_metadata && !self.in_piece => {
                self.state = State::Finish;
                self.deadline = None;
                Step::Event(ReceiverEvent::Close)
            }
            (_, Message::Refuse { code, reason }) => {
                let (code, reason) = (RefuseCode(code), clean(reason));
                return Err(SessionError::Refused { code, reason });
            }
            (state, Message::NotSupported) => {
                return Err(SessionError::NotSupported { step: state.step() });
            }
            (state, _) => return Err(SessionError::Unexpected { command, step: state.step() }),
        };
        self.input.take(size);
        Ok(step)
    }

    fn tinit(
        &mut self,
        cpus: u32,
        page_size: u32,
        asked: &Asked,
        now: Instant,
    ) -> Result<Step, SessionError> {
        self.config.limits.check_cpus(cpus, u32::MAX)?;
        self.config.limits.check_page_size(page_size)?;
        let protocol = asked.protocol.for_page_size(page_size);
        let mut extensions = asked.extensions.and(self.config.extensions);
        extensions.sequence &=
            protocol == Protocol::Udp && page_size as usize + SequenceHeader::SIZE <= MAX_DATAGRAM;
        let start = Start { version: Version::V3, cpus, page_size, protocol, extensions };
        let Some(key) = &self.config.key else {
            return Ok(self.start(&start));
        };
        let Some(recorder_nonce) = asked.nonce else { return Err(SessionError::KeyMissing) };
        if protocol == Protocol::Udp {
            return Err(SessionError::KeyNeedsConnections);
        }
        let keyed =
            KeyedSession { prove: key.prove.clone(), recorder_nonce, listener_nonce: key.nonce };
        Message::Challenge { nonce: key.nonce, proof: keyed.listener_proof() }
            .encode(self.output.tail())?;
        self.keyed = Some(keyed);
        self.state = State::Proof(start);
        self.restart_clock(now);
        Ok(Step::Again)
    }

    fn start(&mut self, start: &Start) -> Step {
        self.extensions = start.extensions;
        self.ask_for_ports(start.cpus);
        Step::Event(ReceiverEvent::Start(start.clone()))
    }

    fn ask_for_ports(&mut self, streams: u32) {
        self.ended.resize(self.ended.len() + streams as usize, false);
        self.state = State::Ports(streams);
        self.deadline = None;
    }

    fn after_hang_up(&mut self) -> Result<Option<ReceiverEvent<'_>>, SessionError> {
        match self.state {
            State::Recording if self.version == Version::V1 => {
                self.state = State::Finish;
                self.deadline = None;
                Ok(Some(ReceiverEvent::Close))
            }
            // It is the caller's turn: a recorder that has gone needs no answer to be remembered.
            State::Ports(_) | State::Finish | State::Over => Ok(None),
            _ => {
                let step = self.state.step();
                Err(self.fail(SessionError::HungUp { step }))
            }
        }
    }

    /// Ends the session, and tells the client why where it understands.
    fn fail(&mut self, error: SessionError) -> SessionError {
        match &error {
            SessionError::Unexpected { .. } => {
                // It has no content that might not fit.
                let _ = Message::NotSupported.encode(self.output.tail());
                self.end();
            }
            SessionError::NotSupported { .. }
            | SessionError::HungUp { .. }
            | SessionError::Refused { .. } => self.end(),
            error => {
                let code = match error {
                    SessionError::Limit { .. } => RefuseCode::LIMIT,
                    SessionError::KeyMissing
                    | SessionError::KeyWrong
                    | SessionError::KeyNeedsConnections => RefuseCode::KEY,
                    _ => RefuseCode::PROTOCOL,
                };
                self.refuse(code, &error.to_client());
            }
        }
        error
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.deadline = None;
    }

    fn restart_clock(&mut self, now: Instant) {
        self.deadline = after(now, self.config.timeouts.step);
    }

    /// Version 1's metadata has no end but that of the connection, so nothing is waited for there.
    fn wait_for_metadata(&mut self, now: Instant) {
        if self.version == Version::V3 && !self.has_metadata {
            self.deadline = after(now, self.config.timeouts.metadata);
        }
    }

    fn out_of_order(&self, call: &'static str) -> SessionError {
        SessionError::OutOfOrder { call, step: self.state.step() }
    }
}

/// The words of a TINIT.
struct Asked {
    protocol: Protocol,
    extensions: Extensions,
    nonce: Option<super::Nonce>,
}

impl Asked {
    fn read(options: &Words<'_>) -> Result<Self, SessionError> {
        let mut asked = Self { protocol: Protocol::Udp, extensions: Extensions::NONE, nonce: None };
        for word in options.iter() {
            match word? {
                "tcp" => asked.protocol = Protocol::Tcp,
                "vsock" => asked.protocol = Protocol::Vsock,
                word => match word.strip_prefix(key::WORD) {
                    Some(hex) => asked.nonce = key::parse_nonce(hex),
                    None => asked.extensions.add_word(word),
                },
            }
        }
        Ok(asked)
    }
}
