//! What the host asks for, copied out of its message.

use trace_transport::MessageError;
use trace_transport::message::{ParameterId, Parameters};

use crate::protocol::{MARK_SIZE, MAX_TEXT};

/// A request to record, copied out of its message.
pub(crate) struct Request {
    pub(crate) trace_id: u64,
    pub(crate) args: Vec<String>,
    pub(crate) exec: Option<Vec<String>>,
    pub(crate) mark: Vec<u8>,
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
        Ok(Self {
            trace_id,
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
