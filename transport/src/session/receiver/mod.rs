//! The listener's side of a control connection.

mod event;
mod understand;

use std::time::Instant;

pub use event::{ReceiverEvent, Start};
use understand::Step;

use super::io::session_io;
use super::key::KeyedSession;
use super::output::Output;
use super::text::clean;
use super::timeouts::after;
use super::{
    Extensions, Limits, Proof, Received, RefuseCode, SessionError, SessionKey, Timeouts, Version,
    v1,
};
use crate::message::{Decoder, Message, WordList};

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

const GREETING: &[u8; 8] = b"tracecmd";

impl Receiver {
    session_io!();

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
