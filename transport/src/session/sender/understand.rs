//! What a listener's bytes mean.

use std::time::Instant;

use super::{Opened, Sender, SenderEvent, State, check_v1};
use crate::message::{Command, Message, WordList};
use crate::session::key::{self, KeyedSession};
use crate::session::text::{clean, take_word};
use crate::session::timeouts::after;
use crate::session::{
    Extensions, Protocol, Received, RefuseCode, SessionError, SessionKey, Version, v1,
};

/// What the next bytes are.
pub(super) enum Step {
    /// Not enough.
    None,
    /// Something that is no event.
    Again,
    Event(SenderEvent),
}

const GREETING: &[u8; 8] = b"tracecmd";
const VERSION_LIMIT: usize = 32;

impl Sender {
    /// Takes what is complete of the waiting bytes.
    pub(super) fn step(&mut self, now: Instant) -> Result<Step, SessionError> {
        match self.state {
            State::Greeting => self.greeting(now),
            State::Version => {
                let Some(word) = take_word(&mut self.input, "version", VERSION_LIMIT)? else {
                    return Ok(Step::None);
                };
                match word.as_str() {
                    "V3" => {
                        self.output.tail().extend_from_slice(b"766679\0\0");
                        self.state = State::Ok;
                        self.restart_clock(now);
                        Ok(Step::Again)
                    }
                    "" => Ok(Step::Event(self.fall_back()?)),
                    _ => Err(SessionError::Version { version: clean(&word) }),
                }
            }
            State::Ok => {
                let Some(answer) = self.input.waiting().first_chunk::<2>() else {
                    return Ok(Step::None);
                };
                if answer != b"OK" {
                    return Err(SessionError::Magic {
                        expected: "OK",
                        got: clean(&String::from_utf8_lossy(answer)),
                        offset: self.input.offset(),
                    });
                }
                self.input.take(2);
                self.tinit()?;
                self.restart_clock(now);
                Ok(Step::Again)
            }
            State::V1Ports => match v1::take_ports(&mut self.input, self.config.cpus)? {
                Some(ports) => Ok(Step::Event(self.opened(ports))),
                None => Ok(Step::None),
            },
            State::Challenge | State::Rinit(_) | State::Finish => self.message(now),
            State::Sending if self.version == Version::V3 => self.message(now),
            State::Done => {
                self.end();
                Ok(Step::Event(SenderEvent::Done))
            }
            // A listener of version 1 has nothing more to say.
            State::Sending => {
                self.input.clear();
                Ok(Step::None)
            }
            State::Reconnect | State::Over => Ok(Step::None),
        }
    }

    fn greeting(&mut self, now: Instant) -> Result<Step, SessionError> {
        let Some(greeting) = self.input.waiting().first_chunk() else { return Ok(Step::None) };
        if greeting != GREETING {
            let greeting = clean(&String::from_utf8_lossy(greeting));
            return Err(SessionError::Greeting { greeting });
        }
        self.input.take(GREETING.len());
        match self.version {
            Version::V1 => self.say_v1(),
            Version::V3 => {
                self.output.tail().extend_from_slice(b"-1V3\0");
                self.state = State::Version;
            }
        }
        self.restart_clock(now);
        Ok(Step::Again)
    }

    /// An empty answer, or none, is what a listener of version 1 gives to a version that it takes for a number of CPUs.
    pub(super) fn fall_back(&mut self) -> Result<SenderEvent, SessionError> {
        check_v1(&self.config)?;
        self.version = Version::V1;
        self.state = State::Reconnect;
        self.deadline = None;
        Ok(SenderEvent::Reconnect)
    }

    fn say_v1(&mut self) {
        let hello = v1::Hello {
            cpus: self.config.cpus,
            page_size: self.config.page_size,
            tcp: self.config.protocol == Protocol::Tcp,
        };
        hello.encode(self.output.tail());
        self.state = State::V1Ports;
    }

    fn tinit(&mut self) -> Result<(), SessionError> {
        let config = &self.config;
        let mut words: Vec<String> = Vec::new();
        match config.protocol {
            Protocol::Udp => {}
            Protocol::Tcp => words.push("tcp".to_owned()),
            Protocol::Vsock => words.push("vsock".to_owned()),
        }
        words.extend(config.extensions.words().map(str::to_owned));
        words.extend(config.key.iter().map(|key| key::word(&key.nonce)));
        let options = WordList::new(words)?;
        let (cpus, page_size) = (config.cpus, config.page_size);
        Message::Tinit { cpus, page_size, options: options.words() }.encode(self.output.tail())?;
        self.state =
            if config.key.is_some() { State::Challenge } else { State::Rinit(config.cpus) };
        Ok(())
    }

    fn message(&mut self, now: Instant) -> Result<Step, SessionError> {
        let Some(frame) = self.input.peek_frame()? else { return Ok(Step::None) };
        let size = frame.bytes().len();
        let step = match (&self.state, Message::decode(&frame)?) {
            (_, Message::Refuse { code, reason }) => {
                let (code, reason) = (RefuseCode(code), clean(reason));
                return Err(SessionError::Refused { code, reason });
            }
            (State::Challenge, Message::Challenge { nonce, proof }) => {
                let Some(SessionKey { prove, nonce: own }) = &self.config.key else {
                    return Err(SessionError::KeyMissing);
                };
                let keyed = KeyedSession {
                    prove: prove.clone(),
                    recorder_nonce: *own,
                    listener_nonce: nonce,
                };
                if !key::same_proof(&keyed.listener_proof(), &proof) {
                    return Err(SessionError::KeyWrong);
                }
                Message::Proof { proof: keyed.recorder_proof() }.encode(self.output.tail())?;
                self.keyed = Some(keyed);
                self.state = State::Rinit(self.config.cpus);
                self.restart_clock(now);
                Step::Again
            }
            // It takes the recorder in without a proof of its own.
            (State::Challenge, Message::Rinit { .. }) => return Err(SessionError::KeyMissing),
            (&State::Rinit(streams), Message::Rinit { cpus, accepted, ports }) => {
                if cpus != streams {
                    let (expected, got) = (streams as usize, cpus as usize);
                    return Err(SessionError::Ports { expected, got });
                }
                let words = ports.iter().collect::<Result<Vec<_>, _>>()?;
                let ports = v1::parse_ports(words.into_iter(), streams)?;
                if self.streams == 0 {
                    let accepted = Extensions::from_bits(accepted);
                    self.extensions = accepted.and(self.config.extensions);
                    Step::Event(self.opened(ports))
                } else {
                    let first_stream = self.streams;
                    self.add_streams(streams);
                    Step::Event(SenderEvent::InstancePorts { first_stream, ports })
                }
            }
            (State::Finish, Message::Received { stream, bytes, lost_bytes, lost_datagrams }) => {
                if stream >= self.streams {
                    return Err(SessionError::Stream { stream, streams: self.streams });
                }
                self.deadline = after(now, self.config.timeouts.finish);
                let received = Received { stream, bytes, lost_bytes, lost_datagrams };
                Step::Event(SenderEvent::Received(received))
            }
            (State::Finish, Message::CloseResp) => {
                self.state = State::Done;
                self.deadline = None;
                Step::Again
            }
            (state, Message::NotSupported) => {
                return Err(SessionError::NotSupported { step: state.step() });
            }
            (state, message) => {
                let (command, step): (Command, _) = (message.command(), state.step());
                return Err(SessionError::Unexpected { command, step });
            }
        };
        self.input.take(size);
        Ok(step)
    }

    fn opened(&mut self, ports: Vec<u16>) -> SenderEvent {
        self.add_streams(self.config.cpus);
        SenderEvent::Opened(Opened {
            version: self.version,
            protocol: self.config.protocol,
            extensions: self.extensions,
            ports,
        })
    }

    fn add_streams(&mut self, streams: u32) {
        self.streams = self.streams.saturating_add(streams);
        self.state = State::Sending;
        self.deadline = None;
    }
}
