//! NUL-terminated words outside of messages.

use super::SessionError;
use crate::message::Decoder;

/// Text of the other side, safe to print: one line, no control characters, bounded.
pub(super) fn clean(text: &str) -> String {
    const MAX_CHARS: usize = 400;
    text.chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Takes a word of at most `limit` bytes and its NUL, when it is complete.
pub(super) fn take_word(
    input: &mut Decoder,
    what: &'static str,
    limit: usize,
) -> Result<Option<String>, SessionError> {
    let waiting = input.waiting();
    let Some(length) = waiting.iter().take(limit + 1).position(|&b| b == 0) else {
        if waiting.len() > limit {
            return Err(SessionError::WordTooLong { what, limit, offset: input.offset() });
        }
        return Ok(None);
    };
    let word = String::from_utf8_lossy(input.take(length)).into_owned();
    input.take(1);
    Ok(Some(word))
}

/// A decimal number, digits only.
pub(super) fn number(what: &'static str, text: &str) -> Result<u32, SessionError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| SessionError::Number { what, text: clean(text) })
}
