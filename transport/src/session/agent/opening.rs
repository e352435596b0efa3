//! The host's side of the start of a session.

use super::super::limits::Limits;
use super::super::same_proof;
use super::super::text::{clean, number};
use super::super::{Nonce, Proof, RefuseCode, SessionError, SessionKey};
use super::keyed::{Keyed, SYNC_STREAM};
use super::{AgentExtensions, ProxyGuest};
use crate::message::{Message, ParameterId, ParameterList, ProtocolName};

/// What a host asks of an agent.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Whether the host reads the guest's FIFOs.
    pub fifos: bool,
    /// Of the host's file.
    pub trace_id: u64,
    /// `record` arguments.
    pub args: Vec<String>,
    /// A command to run in the guest.
    pub exec: Option<Vec<String>>,
    /// Time sync protocols to choose from; none: no time sync.
    pub time_sync: Vec<&'static str>,
    /// What to ask for beyond the reference's protocol.
    pub extensions: AgentExtensions,
    /// A key that the agent must know, and a nonce of this session.
    pub key: Option<SessionKey>,
    /// It is a guest that asks, and its host that is to be recorded.
    pub proxy: Option<ProxyGuest>,
}

/// What was agreed on.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Data goes through the guest's FIFOs.
    pub fifos: bool,
    /// CPUs that send data.
    pub cpus: u32,
    /// Bytes per sub-buffer.
    pub page_size: u32,
    /// Of the guest's file.
    pub trace_id: u64,
    /// The time sync protocol and its port.
    pub time_sync: Option<(ProtocolName, u32)>,
    /// A port for each CPU; none with FIFOs.
    pub ports: Vec<u32>,
    /// What the agent takes up.
    pub extensions: AgentExtensions,
    keyed: Option<Keyed>,
}

impl Opened {
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
}

/// What a message of the agent leads to.
#[derive(Debug)]
pub enum Taken {
    /// These bytes are to be sent.
    Send(Vec<u8>),
    /// The agent records.
    Opened(Opened),
}

/// The host's side of the start: fed the agent's messages.
#[derive(Debug)]
pub struct Opening {
    ask: Ask,
    keyed: Option<Keyed>,
}

impl Opening {
    /// Gives the bytes of the request, too.
    ///
    /// # Errors
    ///
    /// The request fits in no message.
    pub fn new(ask: Ask) -> Result<(Self, Vec<u8>), SessionError> {
        let mut list = ParameterList::new();
        list.push_counted(ParameterId::ARGUMENTS, &ask.args)?;
        let mut names = Vec::new();
        for name in &ask.time_sync {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        if !names.is_empty() {
            names.push(0);
            list.push(ParameterId::TIME_SYNC, &names)?;
        }
        // Without a word in it, too, it says that a refusal is understood.
        let is_ours = ask.extensions != AgentExtensions::NONE || ask.proxy.is_some();
        if is_ours || ask.key.is_some() {
            list.push_counted(ParameterId::EXTENSIONS, ask.extensions.words())?;
        }
        if let Some(command) = &ask.exec {
            list.push_counted(ParameterId::EXEC, command)?;
        }
        if let Some(key) = &ask.key {
            list.push(ParameterId::KEY_NONCE, &key.nonce)?;
        }
        let flags = if ask.fifos { Message::USE_FIFOS } else { 0 };
        let (trace_id, parameters) = (ask.trace_id, list.parameters());
        let request = match ask.proxy {
            None => Message::TraceReq { flags, trace_id, parameters },
            Some(ProxyGuest { cpus, siblings }) => {
                Message::TraceProxy { flags, trace_id, cpus, siblings, parameters }
            }
        };
        let bytes = request.to_bytes()?;
        Ok((Self { ask, keyed: None }, bytes))
    }

    /// Takes the agent's next message.
    ///
    /// # Errors
    ///
    /// It refuses, does not know the key, or what it says makes no sense here.
    pub fn take(&mut self, message: &Message<'_>) -> Result<Taken, SessionError> {
        match *message {
            Message::Challenge { nonce, proof } if self.keyed.is_none() => {
                self.prove(nonce, &proof)
            }
            Message::TraceResp { .. } if self.ask.key.is_some() && self.keyed.is_none() => {
                Err(SessionError::KeyMissing)
            }
            Message::TraceResp {
                flags,
                cpus,
                page_size,
                trace_id,
                time_sync,
                time_sync_port,
                accepted,
                ports,
            } => {
                let fifos = flags & Message::USE_FIFOS != 0;
                if fifos && !self.ask.fifos {
                    let (value, limit) = (u64::from(flags), 0);
                    return Err(SessionError::Limit { what: "FIFO flag", value, least: 0, limit });
                }
                let limits = Limits::default();
                limits.check_cpus(cpus, u32::MAX)?;
                limits.check_page_size(page_size)?;
                let mut numbers = Vec::new();
                if !fifos {
                    for port in ports.iter().take(cpus as usize) {
                        numbers.push(number("port", port?)?);
                    }
                    if numbers.len() != cpus as usize {
                        let (expected, got) = (cpus as usize, numbers.len());
                        return Err(SessionError::Ports { expected, got });
                    }
                }
                let has_sync = time_sync != ProtocolName::default() && time_sync_port != 0;
                Ok(Taken::Opened(Opened {
                    fifos,
                    cpus,
                    page_size,
                    trace_id,
                    time_sync: has_sync.then_some((time_sync, time_sync_port)),
                    ports: numbers,
                    extensions: AgentExtensions::from_bits(accepted).and(self.ask.extensions),
                    keyed: self.keyed.clone(),
                }))
            }
            Message::Refuse { code, reason } => {
                Err(SessionError::Refused { code: RefuseCode(code), reason: clean(reason) })
            }
            Message::NotSupported => Err(SessionError::NotSupported { step: "TRACE_RESP" }),
            ref other => {
                Err(SessionError::Unexpected { command: other.command(), step: "TRACE_RESP" })
            }
        }
    }

    fn prove(&mut self, agent: Nonce, proof: &Proof) -> Result<Taken, SessionError> {
        let Some(key) = &self.ask.key else {
            let (code, reason) = (RefuseCode::KEY, "the agent requires a key".to_owned());
            return Err(SessionError::Refused { code, reason });
        };
        let keyed = Keyed::new(key.prove.clone(), key.nonce, agent);
        if !same_proof(&keyed.agent_proof(), proof) {
            return Err(SessionError::KeyWrong);
        }
        let answer = Message::Proof { proof: keyed.host_proof() }.to_bytes()?;
        self.keyed = Some(keyed);
        Ok(Taken::Send(answer))
    }
}
