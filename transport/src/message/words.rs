//! Lists inside messages: NUL-terminated words, numbered parameters, protocol names.

use std::fmt;

use super::MAX_DATA;
use crate::MessageError;

/// Words, each followed by a NUL, as they came.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Words<'a> {
    bytes: &'a [u8],
    count: Option<u32>,
    what: &'static str,
}

impl<'a> Words<'a> {
    /// All words in `bytes`.
    #[must_use]
    pub fn all(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, count: None, what }
    }

    /// Exactly `count` words in `bytes`; what follows is ignored.
    #[must_use]
    pub fn counted(bytes: &'a [u8], count: u32, what: &'static str) -> Self {
        Self { bytes, count: Some(count), what }
    }

    /// The words one by one, each checked as it is reached.
    pub fn iter(&self) -> impl Iterator<Item = Result<&'a str, MessageError>> + use<'a> {
        let Self { bytes, count, what } = *self;
        let mut offset = 0;
        let mut index = 0_u32;
        let mut broken = false;
        std::iter::from_fn(move || {
            let rest = bytes.get(offset..).unwrap_or_default();
            let ended = match count {
                Some(count) => index >= count,
                None => rest.is_empty(),
            };
            if ended || broken {
                return None;
            }
            let Some(length) = rest.iter().position(|&b| b == 0) else {
                broken = true;
                return Some(Err(MessageError::Unterminated { what, index, offset }));
            };
            offset += length + 1;
            index += 1;
            let word = std::str::from_utf8(rest.get(..length).unwrap_or_default());
            broken = word.is_err();
            Some(word.map_err(|_| MessageError::NotText { what }))
        })
    }

    /// All words, copied.
    ///
    /// # Errors
    ///
    /// A word is missing, not terminated or not UTF-8.
    pub fn to_vec(&self) -> Result<Vec<String>, MessageError> {
        self.iter().map(|word| word.map(str::to_owned)).collect()
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn len(&self) -> Result<u32, MessageError> {
        match self.count {
            Some(count) => Ok(count),
            None => u32::try_from(self.iter().count())
                .map_err(|_| MessageError::Value { what: self.what, value: u64::MAX }),
        }
    }
}

impl fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Words being put together for a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WordList {
    bytes: Vec<u8>,
    count: u32,
}

impl WordList {
    /// Joins words.
    ///
    /// # Errors
    ///
    /// A word holds a NUL, or all together fit in no message.
    pub fn new<I: IntoIterator<Item: AsRef<str>>>(words: I) -> Result<Self, MessageError> {
        const WHAT: &str = "word list";
        let mut list = Self::default();
        for word in words {
            let word = word.as_ref().as_bytes();
            if word.contains(&0) {
                return Err(MessageError::NotText { what: WHAT });
            }
            let size = list.bytes.len() + word.len() + 1;
            if size > MAX_DATA {
                return Err(MessageError::TooLong { what: WHAT, size, limit: MAX_DATA });
            }
            list.bytes.extend_from_slice(word);
            list.bytes.push(0);
            list.count += 1;
        }
        Ok(list)
    }

    /// The list, to be put in a message.
    #[must_use]
    pub fn words(&self) -> Words<'_> {
        Words::counted(&self.bytes, self.count, "word list")
    }
}

/// The number of a parameter. Unknown ones are kept and can be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParameterId(pub u32);

impl ParameterId {
    /// The `record` arguments: a count, then that many words.
    pub const ARGUMENTS: Self = Self(0);
    /// Names of time sync protocols, ended by an empty word.
    pub const TIME_SYNC: Self = Self(1);
    /// A command to run in the guest, as `ARGUMENTS`.
    pub const EXEC: Self = Self(64);
    /// Bytes that the guest sends first on each data stream, so that what an earlier session left there is told apart.
    pub const STREAM_MARK: Self = Self(65);
    /// Extensions that the host asks an agent for: a count, then that many words.
    pub const EXTENSIONS: Self = Self(66);
    /// The host has a key, and this is its nonce: the agent must prove that it knows the key too.
    pub const KEY_NONCE: Self = Self(67);
    /// The guest gets ready, says so, and records once it is told to go on (CONT); then it tells the time of the clock named here.
    pub const HOLD: Self = Self(68);
}

/// One parameter as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Which one.
    pub id: ParameterId,
    /// Its bytes.
    pub value: &'a [u8],
}

impl<'a> Parameter<'a> {
    /// Reads a value made of a count and words.
    ///
    /// # Errors
    ///
    /// The count is missing.
    pub fn counted_words(&self, what: &'static str) -> Result<Words<'a>, MessageError> {
        let Some((count, words)) = self.value.split_first_chunk::<4>() else {
            return Err(MessageError::Truncated {
                what,
                need: 4,
                offset: 0,
                left: self.value.len(),
            });
        };
        Ok(Words::counted(words, u32::from_be_bytes(*count), what))
    }
}

/// Parameters as they came: each an id, a length and a value.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Parameters<'a>(pub &'a [u8]);

impl<'a> Parameters<'a> {
    /// The parameters one by one.
    pub fn iter(&self) -> impl Iterator<Item = Result<Parameter<'a>, MessageError>> + use<'a> {
        let all = self.0;
        let mut rest = all;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let offset = all.len() - rest.len();
            let left = rest.len();
            let short =
                |need: u64| MessageError::Truncated { what: "parameter", need, offset, left };
            let Some((id, after_id)) = rest.split_first_chunk::<4>() else {
                rest = &[];
                return Some(Err(short(8)));
            };
            let Some((length, values)) = after_id.split_first_chunk::<4>() else {
                rest = &[];
                return Some(Err(short(8)));
            };
            let length = u32::from_be_bytes(*length);
            let Some((value, next)) = values.split_at_checked(length as usize) else {
                rest = &[];
                return Some(Err(short(8 + u64::from(length))));
            };
            rest = next;
            Some(Ok(Parameter { id: ParameterId(u32::from_be_bytes(*id)), value }))
        })
    }

    /// The first parameter with this id.
    ///
    /// # Errors
    ///
    /// The list breaks off before it is found.
    pub fn find(&self, id: ParameterId) -> Result<Option<Parameter<'a>>, MessageError> {
        for parameter in self.iter() {
            let parameter = parameter?;
            if parameter.id == id {
                return Ok(Some(parameter));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Parameters being put together for a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterList(Vec<u8>);

impl ParameterList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value as it is.
    ///
    /// # Errors
    ///
    /// It fits in no message.
    pub fn push(&mut self, id: ParameterId, value: &[u8]) -> Result<(), MessageError> {
        let size = self.0.len() + 8 + value.len();
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        if size > MAX_DATA {
            return Err(MessageError::TooLong { what: "parameter list", size, limit: MAX_DATA });
        }
        self.0.extend_from_slice(&id.0.to_be_bytes());
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
        Ok(())
    }

    /// Adds a count and words.
    ///
    /// # Errors
    ///
    /// A word holds a NUL, or they fit in no message.
    pub fn push_counted<I: IntoIterator<Item: AsRef<str>>>(
        &mut self,
        id: ParameterId,
        words: I,
    ) -> Result<(), MessageError> {
        let list = WordList::new(words)?;
        let mut value = list.count.to_be_bytes().to_vec();
        value.extend_from_slice(&list.bytes);
        self.push(id, &value)
    }

    /// The list, to be put in a message.
    #[must_use]
    pub fn parameters(&self) -> Parameters<'_> {
        Parameters(&self.0)
    }
}

/// The name of a time sync protocol: up to 15 bytes and a NUL on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ProtocolName(pub [u8; 16]);

impl ProtocolName {
    /// A name; what is beyond 15 bytes is cut off.
    #[must_use]
    pub const fn new(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut field = [0; 16];
        let mut at = 0;
        while at < bytes.len() && at < 15 {
            field[at] = bytes[at];
            at += 1;
        }
        Self(field)
    }
}

impl fmt::Debug for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.iter().position(|&b| b == 0).unwrap_or(16);
        fmt::Debug::fmt(&String::from_utf8_lossy(self.0.get(..length).unwrap_or_default()), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_larger_than_the_words_is_an_error_and_not_an_allocation() {
        let words = Words::counted(b"a\0b\0", u32::MAX, "arguments");
        assert_eq!(
            words.to_vec(),
            Err(MessageError::Unterminated { what: "arguments", index: 2, offset: 4 })
        );
    }

    #[test]
    fn a_parameter_longer_than_the_list_is_an_error() {
        let list = [0, 0, 0, 9, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1];
        let mut parameters = Parameters(&list).iter();
        assert_eq!(
            parameters.next().unwrap().unwrap(),
            Parameter { id: ParameterId(9), value: &[1, 2] }
        );
        assert_eq!(
            parameters.next().unwrap(),
            Err(MessageError::Truncated {
                what: "parameter",
                need: 8 + 0xffff_ffff,
                offset: 10,
                left: 9
            })
        );
        assert_eq!(parameters.next(), None);
    }

    #[test]
    fn words_come_back_as_given() {
        let list = WordList::new(["-e", "", "sched:*"]).unwrap();
        assert_eq!(list.words().to_vec().unwrap(), ["-e", "", "sched:*"]);
        assert!(WordList::new(["a\0b"]).is_err());
        assert!(WordList::new(["x".repeat(9000)]).is_err());
    }
}
