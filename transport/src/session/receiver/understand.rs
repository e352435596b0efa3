//! What a recorder's bytes mean.

use std::time::Instant;

use super::{Receiver, ReceiverEvent, Start, State};
use crate::message::{Command, Message, Words};
use crate::session::key::{self, KeyedSession};
use crate::session::text::{clean, number, take_word};
use crate::session::{
    Extensions, Instance, MAX_DATAGRAM, Nonce, Protocol, RefuseCode, SequenceHeader, SessionError,
    Version, v1,
};

/// What the next bytes are.
pub(super) enum Step {
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

const MAGIC: &[u8; 8] = b"766679\0\0";
const VERSION_LIMIT: usize = 32;

impl Receiver {
    /// Looks at the waiting bytes, and takes them unless they are a piece of metadata.
    pub(super) fn step(&mut self, now: Instant) -> Result<Step, SessionError> {
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
                if !known.is_some_and(|known| key::same_proof(&known, &proof)) {
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
}

/// The words of a TINIT.
struct Asked {
    protocol: Protocol,
    extensions: Extensions,
    nonce: Option<Nonce>,
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
