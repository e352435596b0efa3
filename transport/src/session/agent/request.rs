//! What a host asks for, read from its TRACE_REQ or TRACE_PROXY.

use super::super::limits::Limits;
use super::super::{Nonce, SessionError};
use super::AgentExtensions;
use crate::MessageError;
use crate::message::{Message, ParameterId, Parameters};

/// What a host asks for, copied out of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Data is to go through FIFOs, if the guest has them.
    pub fifos: bool,
    /// Of the host's file.
    pub trace_id: u64,
    /// `record` arguments.
    pub args: Vec<String>,
    /// A command to run in the guest.
    pub exec: Option<Vec<String>>,
    /// Time sync protocols that the host knows.
    pub time_sync: Vec<String>,
    /// What it asks for beyond the reference's protocol.
    pub extensions: AgentExtensions,
    /// It asked for some, so it understands a REFUSE.
    pub understands_refusals: bool,
    /// It comes from a guest that wants its host to be recorded (TRACE_PROXY).
    pub proxy: Option<ProxyGuest>,
    pub(super) key_nonce: Option<Nonce>,
}

/// What a guest says of itself that wants its host to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProxyGuest {
    /// Its CPUs, each of which has its clock compared.
    pub cpus: u32,
    /// CPUs that share a core.
    pub siblings: u32,
}

/// Protocol names that are looked at; nobody knows more than a few.
const MAX_PROTOCOLS: usize = 16;

impl Request {
    /// Reads a message; none if it is no request.
    ///
    /// # Errors
    ///
    /// A list inside breaks off, or is too long.
    pub(super) fn read(message: &Message<'_>) -> Result<Option<Self>, SessionError> {
        let (proxy, flags, trace_id, parameters) = match *message {
            Message::TraceReq { flags, trace_id, parameters } => {
                (None, flags, trace_id, parameters)
            }
            Message::TraceProxy { flags, trace_id, cpus, siblings, parameters } => {
                Limits::default().check_cpus(cpus, u32::MAX)?;
                (Some(ProxyGuest { cpus, siblings }), flags, trace_id, parameters)
            }
            _ => return Ok(None),
        };
        let mut extensions = AgentExtensions::NONE;
        let words = counted(parameters, ParameterId::EXTENSIONS, "extensions")?;
        for word in words.iter().flatten() {
            extensions.add_word(word);
        }
        let nonce = parameters.find(ParameterId::KEY_NONCE)?;
        let nonce = nonce.map(|nonce| {
            let size = nonce.value.len();
            let what = "key nonce";
            <Nonce>::try_from(nonce.value)
                .map_err(|_| MessageError::Value { what, value: size as u64 })
        });
        Ok(Some(Self {
            fifos: flags & Message::USE_FIFOS != 0,
            trace_id,
            args: counted(parameters, ParameterId::ARGUMENTS, "arguments")?.unwrap_or_default(),
            exec: counted(parameters, ParameterId::EXEC, "command")?,
            time_sync: protocols(parameters)?,
            extensions,
            understands_refusals: words.is_some(),
            proxy,
            key_nonce: nonce.transpose()?,
        }))
    }
}

fn counted(
    parameters: Parameters<'_>,
    id: ParameterId,
    what: &'static str,
) -> Result<Option<Vec<String>>, MessageError> {
    match parameters.find(id)? {
        Some(parameter) => parameter.counted_words(what)?.to_vec().map(Some),
        None => Ok(None),
    }
}

/// Names, each ended by a NUL; an empty one ends the list.
fn protocols(parameters: Parameters<'_>) -> Result<Vec<String>, MessageError> {
    let Some(parameter) = parameters.find(ParameterId::TIME_SYNC)? else { return Ok(Vec::new()) };
    let names = parameter.value.split(|&byte| byte == 0);
    let names = names.take_while(|name| !name.is_empty()).take(MAX_PROTOCOLS);
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}
