//! The recorder's side of a control connection.

mod event;
mod understand;

use std::time::Instant;

pub use event::{Opened, SenderEvent};
use understand::Step;

use super::io::session_io;
use super::key::KeyedSession;
use super::limits::MAX_BUFFER_STREAMS;
use super::output::Output;
use super::text::clean;
use super::timeouts::after;
use super::{
    Extensions, Instance, MAX_DATAGRAM, Proof, Protocol, RefuseCode, SequenceHeader, SessionError,
    SessionKey, Timeouts, Version,
};
use crate::message::{Decoder, MAX_DATA, Message};

/// What a recorder will send, and how.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// CPUs of the top buffer; each has a stream.
    pub cpus: u32,
    /// Bytes per sub-buffer.
    pub page_size: u32,
    /// What its data is to come over. UDP becomes TCP with a key, and for sub-buffers that fit in no datagram.
    pub protocol: Protocol,
    /// The first version to try; after V3 comes V1 where the listener knows no other.
    pub version: Version,
    /// What to ask for.
    pub extensions: Extensions,
    /// A key that the listener must know, and a nonce of this session.
    pub key: Option<SessionKey>,
    /// How long the listener may take.
    pub timeouts: Timeouts,
}

/// The recorder's side of one control connection, from its first byte on.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    input: Decoder,
    output: Output,
    state: State,
    deadline: Option<Instant>,
    hung_up: bool,
    version: Version,
    keyed: Option<KeyedSession>,
    extensions: Extensions,
    /// Streams that have ports.
    streams: u32,
}

#[derive(Debug)]
enum State {
    /// Waits for `tracecmd`.
    Greeting,
    /// Waits for V3.
    Version,
    /// Waits for the caller's new connection.
    Reconnect,
    /// Waits for OK.
    Ok,
    /// Waits for the ports of version 1.
    V1Ports,
    /// Waits for the listener's proof that it knows the key.
    Challenge,
    /// Waits for RINIT, for so many streams.
    Rinit(u32),
    /// Waits for nothing: the caller sends.
    Sending,
    /// Waits for RECEIVED and CLOSE_RESP.
    Finish,
    /// The end is to be told.
    Done,
    /// Says no more.
    Over,
}

impl State {
    /// What is waited for.
    fn step(&self) -> &'static str {
        match self {
            Self::Greeting => "the listener's greeting",
            Self::Version => "the version",
            Self::Reconnect => "another connection",
            Self::Ok => "OK",
            Self::V1Ports => "the list of ports",
            Self::Challenge => "CHALLENGE",
            Self::Rinit(_) => "RINIT",
            Self::Sending => "the recording's end",
            Self::Finish => "CLOSE_RESP",
            Self::Done | Self::Over => "nothing",
        }
    }
}

/// Metadata is taken while less than this waits to be sent.
const MAX_WAITING: usize = 256 << 10;

impl Sender {
    session_io!();

    /// A connection was made just now.
    ///
    /// # Errors
    ///
    /// The configuration is not possible.
    pub fn new(mut config: SenderConfig, now: Instant) -> Result<Self, SessionError> {
        let (value, limit) = (u64::from(config.cpus), u64::from(MAX_BUFFER_STREAMS));
        if !(1..=limit).contains(&value) {
            return Err(SessionError::Limit { what: "number of CPUs", value, least: 1, limit });
        }
        let in_datagram = config.page_size as usize + SequenceHeader::SIZE <= MAX_DATAGRAM;
        if config.protocol == Protocol::Udp && (config.key.is_some() || !in_datagram) {
            config.protocol = Protocol::Tcp;
        }
        config.extensions.sequence &= config.protocol == Protocol::Udp;
        if config.version == Version::V1 {
            check_v1(&config)?;
        }
        Ok(Self {
            version: config.version,
            deadline: after(now, config.timeouts.step),
            config,
            input: Decoder::new(),
            output: Output::default(),
            state: State::Greeting,
            hung_up: false,
            keyed: None,
            extensions: Extensions::NONE,
            streams: 0,
        })
    }

    /// Takes note that the connection ends behind what was pushed.
    pub fn hung_up(&mut self) {
        self.hung_up = true;
    }

    /// Answers [`Reconnect`](SenderEvent::Reconnect): another connection was made just now.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] without that event.
    pub fn reconnected(&mut self, now: Instant) -> Result<(), SessionError> {
        if !matches!(self.state, State::Reconnect) {
            return Err(self.out_of_order("reconnected"));
        }
        self.input = Decoder::new();
        self.output = Output::default();
        self.hung_up = false;
        self.state = State::Greeting;
        self.restart_clock(now);
        Ok(())
    }

    /// The next event, or `None` until there are more bytes.
    ///
    /// # Errors
    ///
    /// What the listener said makes no sense here, it refuses, or its connection ended too early. The session is then
    /// over.
    pub fn next(&mut self, now: Instant) -> Result<Option<SenderEvent>, SessionError> {
        loop {
            match self.step(now) {
                Ok(Step::None) if self.hung_up => return self.after_hang_up(),
                Ok(Step::None) => return Ok(None),
                Ok(Step::Again) => {}
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// Ends the session if the listener took too long. One that does not answer to version 3 may speak version 1 only:
    /// that is then an event of [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// [`SessionError::TimedOut`].
    pub fn on_time(&mut self, now: Instant) -> Result<(), SessionError> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        if matches!(self.state, State::Version) && self.input.waiting().is_empty() {
            self.hung_up = true;
            return Ok(());
        }
        let step = self.state.step();
        Err(self.fail(SessionError::TimedOut { step }))
    }

    /// Sends the next piece of the file's beginning, or, after [`end_metadata`](Self::end_metadata), of what goes behind
    /// the data; returns how many bytes were taken. It takes none while much waits in [`output`](Self::output).
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] before the ports are known, and after [`close`](Self::close).
    pub fn put_metadata(&mut self, bytes: &[u8]) -> Result<usize, SessionError> {
        self.check_sending("put_metadata")?;
        let mut taken = 0;
        for piece in bytes.chunks(MAX_DATA) {
            if self.output.waiting().len() >= MAX_WAITING {
                break;
            }
            match self.version {
                Version::V1 => self.output.tail().extend_from_slice(piece),
                Version::V3 => Message::SendData(piece).encode(self.output.tail())?,
            }
            taken += piece.len();
        }
        Ok(taken)
    }

    /// The metadata, or what goes behind the data, is complete. Says nothing in version 1.
    ///
    /// # Errors
    ///
    /// As [`put_metadata`](Self::put_metadata).
    pub fn end_metadata(&mut self) -> Result<(), SessionError> {
        self.check_sending("end_metadata")?;
        if self.version == Version::V3 {
            Message::FinData.encode(self.output.tail())?;
        }
        Ok(())
    }

    /// Asks for the ports of a further buffer. Its streams are numbered on from those before.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] while ports are waited for, or where the listener did not take up `instances`; a
    /// name with a NUL, or too long.
    pub fn instance(&mut self, instance: &Instance, now: Instant) -> Result<(), SessionError> {
        self.check_sending("instance")?;
        if !self.extensions.instances {
            return Err(self.out_of_order("instance"));
        }
        let streams = u32::try_from(instance.cpus.len()).unwrap_or(u32::MAX);
        if streams > MAX_BUFFER_STREAMS {
            let (value, limit) = (u64::from(streams), u64::from(MAX_BUFFER_STREAMS));
            return Err(SessionError::Limit { what: "number of CPUs", value, least: 1, limit });
        }
        instance.encode(self.output.tail())?;
        self.state = State::Rinit(streams);
        self.restart_clock(now);
        Ok(())
    }

    /// Says that all of a stream was sent: `bytes`, sequence headers not counted, and those not sent because they could
    /// not be included. Says nothing without the extension `accounts`.
    ///
    /// # Errors
    ///
    /// As [`put_metadata`](Self::put_metadata), or there is no such stream.
    pub fn data_end(&mut self, stream: u32, bytes: u64) -> Result<(), SessionError> {
        self.check_sending("data_end")?;
        if stream >= self.streams {
            return Err(SessionError::Stream { stream, streams: self.streams });
        }
        if self.extensions.accounts {
            Message::DataEnd { cpu: stream, bytes }.encode(self.output.tail())?;
        }
        Ok(())
    }

    /// Says that all was sent. What comes then is [`Received`](SenderEvent::Received) where it was agreed on, and
    /// [`Done`](SenderEvent::Done).
    ///
    /// # Errors
    ///
    /// As [`put_metadata`](Self::put_metadata).
    pub fn close(&mut self, now: Instant) -> Result<(), SessionError> {
        self.check_sending("close")?;
        if self.version == Version::V3 {
            Message::Close.encode(self.output.tail())?;
        }
        if self.extensions.accounts {
            self.state = State::Finish;
            self.deadline = after(now, self.config.timeouts.finish);
        } else {
            self.state = State::Done;
            self.deadline = None;
        }
        Ok(())
    }

    /// Ends the session from this side, at any time. A listener that took up `accounts` is told why; `reason` is one
    /// line. Others see a connection that ends too early.
    pub fn refuse(&mut self, code: RefuseCode, reason: &str) {
        if self.extensions.accounts && !matches!(self.state, State::Over) {
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

    fn after_hang_up(&mut self) -> Result<Option<SenderEvent>, SessionError> {
        match self.state {
            State::Reconnect | State::Over => Ok(None),
            State::Version if self.input.waiting().is_empty() => match self.fall_back() {
                Ok(event) => Ok(Some(event)),
                Err(error) => Err(self.fail(error)),
            },
            _ => {
                let step = self.state.step();
                Err(self.fail(SessionError::HungUp { step }))
            }
        }
    }

    /// Ends the session, and tells the listener why where it understands.
    fn fail(&mut self, error: SessionError) -> SessionError {
        // Neither can be too long.
        let _ = match error {
            SessionError::Unexpected { .. } => Message::NotSupported.encode(self.output.tail()),
            // Only a listener of this project sent a proof.
            SessionError::KeyWrong => {
                let (code, reason) = (RefuseCode::KEY.0, "your key is not the recorder's");
                Message::Refuse { code, reason }.encode(self.output.tail())
            }
            _ => Ok(()),
        };
        self.end();
        error
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.deadline = None;
    }

    fn restart_clock(&mut self, now: Instant) {
        self.deadline = after(now, self.config.timeouts.step);
    }

    fn check_sending(&self, call: &'static str) -> Result<(), SessionError> {
        if matches!(self.state, State::Sending) { Ok(()) } else { Err(self.out_of_order(call)) }
    }

    fn out_of_order(&self, call: &'static str) -> SessionError {
        SessionError::OutOfOrder { call, step: self.state.step() }
    }
}

/// Whether a listener of version 1 can do what is wanted.
fn check_v1(config: &SenderConfig) -> Result<(), SessionError> {
    if config.key.is_some() {
        return Err(SessionError::NeedsV3 { what: "a key" });
    }
    if config.protocol == Protocol::Vsock {
        return Err(SessionError::NeedsV3 { what: "vsock" });
    }
    Ok(())
}
