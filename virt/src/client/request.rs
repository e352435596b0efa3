//! What the host asks for, copied out of its message.

use trace_transport::MessageError;
use trace_transport::message::{ParameterId, Parameters};

use crate::protocol::{MARK_SIZE, MAX_TEXT};
use crate::time_sync::Clock;

/// A request to record, copied out of its message.
pub(crate) struct Request {
    pub(crate) trace_id: u64,
    pub(crate) args: Vec<String>,
    pub(crate) exec: Option<Vec<String>>,
    pub(crate) mark: Vec<u8>,
    pub(crate) hold: Option<Hold>,
}

/// It is to begin when it is told to.
pub(crate) struct Hold {
    /// What is to be read then; nothing where this machine has no such clock.
    pub(crate) clock: Option<Clock>,
    /// It is ready, and was not yet told to.
    pub(crate) waits: bool,
}

impl Request {
    pub(crate) fn read(trace_id: u64, parameters: Parameters<'_>) -> Result<Self, MessageError> {
        let words = |id, what| match parameters.find(id)? {
            Some(parameter) => parameter.counted_words(what)?.to_vec().map(Some),
            None => Ok(None),
        };
        let mark =
            parameters.find(ParameterId::STREAM_MARK)?.map(|mark| mark.value).unwrap_or_default();
        if mark.len() > MARK_SIZE {
            return Err(MessageError::TooLong {
                what: "stream mark",
                size: mark.len(),
                limit: MARK_SIZE,
            });
        }
        let hold = parameters.find(ParameterId::HOLD)?.map(|clock| {
            let name = std::str::from_utf8(clock.value).ok();
            let clock = name.and_then(|name| Clock::of_trace_clock(name).ok());
            Hold { clock, waits: false }
        });
        Ok(Self {
            trace_id,
            hold,
            args: words(ParameterId::ARGUMENTS, "arguments")?.unwrap_or_default(),
            exec: words(ParameterId::EXEC, "command")?,
            mark: mark.to_vec(),
        })
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

pub(crate) fn cut(text: &str) -> &str {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or(text)
}
