//! The agent's side of a control connection.

use std::time::{Duration, Instant};

use super::super::io::session_io;
use super::super::output::Output;
use super::super::same_proof;
use super::super::text::clean;
use super::super::timeouts::after;
use super::super::{Proof, RefuseCode, SessionError, SessionKey, Timeouts};
use super::keyed::{Keyed, SYNC_STREAM};
use super::{AgentExtensions, Request};
use crate::message::{Decoder, Message, ProtocolName, WordList};

/// How long a guest may take to write its own file before it asks for what belongs to it.
const OWN_FILE: Duration = Duration::from_secs(600);

/// What the agent is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// Record this; then [`respond`](Agent::respond) or [`refuse`](Agent::refuse).
    Request(Request),
    /// Answer this probe of the clock at once. Only with the extension `ping`.
    TimeSync {
        /// Which protocol.
        protocol: ProtocolName,
        /// Its message.
        id: u32,
        /// What that carries.
        payload: Vec<u8>,
    },
    /// Run the command of the request. Only with the extension `exec`.
    Exec,
    /// Stop recording, send what is left, then [`closed`](Agent::closed). For a guest: send the sections of the file, then
    /// [`await_cont`](Agent::await_cont).
    Close,
    /// Send the options for the guest's own file, then [`closed`](Agent::closed).
    Continue,
}

/// How a recording is answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// CPUs that send data.
    pub cpus: u32,
    /// Bytes per sub-buffer.
    pub page_size: u32,
    /// Of the guest's file.
    pub trace_id: u64,
    /// The chosen protocol and its port.
    pub time_sync: Option<(ProtocolName, u32)>,
    /// A port for each CPU; none: through FIFOs.
    pub ports: Vec<u32>,
}

#[derive(Debug)]
enum State {
    /// Waits for TRACE_REQ.
    Request,
    /// Waits for PROOF.
    Proof(Box<Request>),
    /// Waits for the caller's answer.
    Answer,
    /// Waits for CLOSE.
    Recording,
    /// Waits for the caller to have stopped.
    Closing,
    /// Waits for CONT.
    Cont,
    /// Waits for the host to go, and answers probes.
    Closed,
    /// Says no more.
    Over,
}

impl State {
    fn step(&self) -> &'static str {
        match self {
            Self::Request => "TRACE_REQ",
            Self::Proof(_) => "PROOF",
            Self::Answer => "the answer",
            Self::Recording => "CLOSE",
            Self::Cont => "CONT",
            Self::Closing | Self::Closed => "the end",
            Self::Over => "nothing",
        }
    }
}

/// The agent's side of a control connection, from its first byte on.
#[derive(Debug)]
pub struct Agent {
    offered: AgentExtensions,
    key: Option<SessionKey>,
    keyed: Option<Keyed>,
    input: Decoder,
    output: Output,
    state: State,
    deadline: Option<Instant>,
    timeouts: Timeouts,
    hung_up: bool,
    extensions: AgentExtensions,
    understands_refusals: bool,
}

impl Agent {
    session_io!();

    /// A connection was made just now. `key`: one that the host must know, and a nonce of this session.
    #[must_use]
    pub fn new(
        offered: AgentExtensions,
        key: Option<SessionKey>,
        timeouts: Timeouts,
        now: Instant,
    ) -> Self {
        Self {
            offered,
            key,
            keyed: None,
            input: Decoder::new(),
            output: Output::default(),
            state: State::Request,
            deadline: after(now, timeouts.step),
            timeouts,
            hung_up: false,
            extensions: AgentExtensions::NONE,
            understands_refusals: false,
        }
    }

    /// Takes note that the connection ends behind what was pushed.
    pub fn hung_up(&mut self) {
        self.hung_up = true;
    }

    /// Ends the session if the host took too long.
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

    /// What was agreed on, once [`respond`](Self::respond) was called.
    #[must_use]
    pub fn extensions(&self) -> AgentExtensions {
        self.extensions
    }

    /// Whether the host was given all, and may go.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed | State::Over)
    }

    /// What the connection of a CPU's data must start with, where a key is used.
    #[must_use]
    pub fn data_token(&self, cpu: u32) -> Option<Proof> {
        self.keyed.as_ref().map(|keyed| keyed.data_token(cpu))
    }

    /// What the time sync connection must start with, where a key is used.
    #[must_use]
    pub fn sync_token(&self) -> Option<Proof> {
        self.data_token(SYNC_STREAM)
    }

    /// The next event, or `None` until there are more bytes.
    ///
    /// # Errors
    ///
    /// What the host said makes no sense here, or its connection ended too early. The session is then over.
    pub fn next(&mut self, now: Instant) -> Result<Option<AgentEvent>, SessionError> {
        loop {
            if matches!(self.state, State::Over) {
                return Ok(None);
            }
            match self.step(now) {
                // A guest without a file of its own goes without the options for it.
                Ok(Step::None) if self.hung_up && matches!(self.state, State::Cont) => {
                    self.state = State::Closed;
                    return Ok(None);
                }
                Ok(Step::None) if self.hung_up && !self.is_closed() => {
                    let step = self.state.step();
                    return Err(self.fail(SessionError::HungUp { step }));
                }
                Ok(Step::None) => return Ok(None),
                Ok(Step::Again) => {}
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    fn step(&mut self, now: Instant) -> Result<Step, SessionError> {
        let Some(frame) = self.input.next_frame()? else { return Ok(Step::None) };
        let message = Message::decode(&frame)?;
        let may_ping = self.extensions.ping;
        Ok(match (&mut self.state, message) {
            (State::Request, message) => match Request::read(&message)? {
                Some(request) => return self.take_request(request, now),
                None => return Err(unexpected(&message, "TRACE_REQ")),
            },
            (State::Proof(request), Message::Proof { proof }) => {
                let known =
                    self.keyed.as_ref().is_some_and(|k| same_proof(&k.host_proof(), &proof));
                if !known {
                    return Err(SessionError::KeyWrong);
                }
                let request = (**request).clone();
                self.ask(request)
            }
            (_, Message::TimeSync { protocol, id, payload }) if may_ping => {
                Step::Event(AgentEvent::TimeSync { protocol, id, payload: payload.to_vec() })
            }
            (State::Recording, Message::Exec) if self.extensions.exec => {
                Step::Event(AgentEvent::Exec)
            }
            (State::Recording, Message::Close) => {
                self.state = State::Closing;
                Step::Event(AgentEvent::Close)
            }
            (State::Cont, Message::Cont) => {
                self.state = State::Closing;
                self.deadline = None;
                Step::Event(AgentEvent::Continue)
            }
            // Said once more by a host that lost patience.
            (State::Closing | State::Cont | State::Closed, Message::Close) => Step::Again,
            (_, Message::NotSupported) => {
                return Err(SessionError::NotSupported { step: self.state.step() });
            }
            (state, message) => return Err(unexpected(&message, state.step())),
        })
    }

    fn take_request(&mut self, request: Request, now: Instant) -> Result<Step, SessionError> {
        self.understands_refusals = request.understands_refusals;
        let possible = match request.proxy {
            Some(_) => AgentExtensions::OF_PROXIES,
            None => AgentExtensions::ALL,
        };
        self.extensions = request.extensions.and(self.offered).and(possible);
        let Some(key) = &self.key else {
            return match request.key_nonce {
                Some(_) => Err(SessionError::KeyMissing),
                None => Ok(self.ask(request)),
            };
        };
        let Some(nonce) = request.key_nonce else { return Err(SessionError::KeyMissing) };
        let keyed = Keyed::new(key.prove.clone(), nonce, key.nonce);
        Message::Challenge { nonce: key.nonce, proof: keyed.agent_proof() }
            .encode(self.output.tail())?;
        self.keyed = Some(keyed);
        self.state = State::Proof(Box::new(request));
        self.deadline = after(now, self.timeouts.step);
        Ok(Step::Again)
    }

    fn ask(&mut self, request: Request) -> Step {
        self.state = State::Answer;
        self.deadline = None;
        Step::Event(AgentEvent::Request(request))
    }

    /// Says that it is recorded.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfOrder`] without a request; the ports fit in no message.
    pub fn respond(&mut self, answer: &Answer) -> Result<(), SessionError> {
        if !matches!(self.state, State::Answer) {
            let step = self.state.step();
            return Err(SessionError::OutOfOrder { call: "respond", step });
        }
        let ports = WordList::new(answer.ports.iter().map(u32::to_string))?;
        let (time_sync, time_sync_port) = answer.time_sync.unwrap_or_default();
        Message::TraceResp {
            flags: if answer.ports.is_empty() { Message::USE_FIFOS } else { 0 },
            cpus: answer.cpus,
            page_size: answer.page_size,
            trace_id: answer.trace_id,
            time_sync,
            time_sync_port,
            accepted: self.extensions.bits(),
            ports: ports.words(),
        }
        .encode(self.output.tail())?;
        self.state = State::Recording;
        Ok(())
    }

    /// All that belongs to the file was sent to the guest; what belongs to its own file is to follow when it asks for that.
    pub fn await_cont(&mut self, now: Instant) {
        self.state = State::Cont;
        self.deadline = after(now, OWN_FILE);
    }

    /// Says that all was sent.
    pub fn closed(&mut self) {
        // It has no parts that could be too long.
        let _ = Message::CloseResp.encode(self.output.tail());
        self.state = State::Closed;
    }

    /// Ends the session from this side. A host that asked for extensions is told why; others see a connection that ends.
    pub fn refuse(&mut self, code: RefuseCode, reason: &str) {
        if self.understands_refusals && !matches!(self.state, State::Over) {
            let reason = clean(reason);
            // A cleaned reason fits.
            let _ = Message::Refuse { code: code.0, reason: &reason }.encode(self.output.tail());
        }
        self.state = State::Over;
        self.deadline = None;
    }

    /// Ends the session, and tells the host why where it understands.
    fn fail(&mut self, error: SessionError) -> SessionError {
        match &error {
            SessionError::KeyMissing | SessionError::KeyWrong => {
                self.refuse(RefuseCode::KEY, &error.to_client());
            }
            SessionError::Unexpected { .. } => {
                // It has no parts that could be too long.
                let _ = Message::NotSupported.encode(self.output.tail());
            }
            SessionError::HungUp { .. } | SessionError::NotSupported { .. } => {}
            other => self.refuse(RefuseCode::PROTOCOL, &other.to_string()),
        }
        self.state = State::Over;
        self.deadline = None;
        error
    }
}

enum Step {
    None,
    Again,
    Event(AgentEvent),
}

fn unexpected(message: &Message<'_>, step: &'static str) -> SessionError {
    SessionError::Unexpected { command: message.command(), step }
}
