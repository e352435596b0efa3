//! What a guest wants when it starts a recording by itself: little, as it does the rest.

use trace_transport::MessageError;
use trace_transport::message::{Message, WordList, Words};

use crate::protocol::clean_to;

/// The argument of a request that answers a wish; the guest knows the others.
pub const OWN_RECORDING: &str = "--virt";
/// Instances of one recording.
const MAX_INSTANCES: usize = 64;
/// Names are those of files in the guest.
const MAX_NAME: usize = 255;

/// A recording that a guest asks its host to write down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Its trace clock.
    pub clock: String,
    /// The instances that it records besides the top one.
    pub instances: Vec<String>,
}

impl Wish {
    /// The words of the message.
    ///
    /// # Errors
    ///
    /// A name is none, or all together fit in no message.
    pub fn words(&self) -> Result<WordList, MessageError> {
        WordList::new(std::iter::once(&self.clock).chain(&self.instances))
    }

    /// Reads them from an untrusted guest.
    pub(crate) fn read(words: &Words<'_>) -> Result<Self, MessageError> {
        const WHAT: &str = "wish";
        let mut words = words.iter();
        let clock = words.next().transpose()?.unwrap_or_default();
        let mut wish = Self { clock: clean_to(clock, MAX_NAME), instances: Vec::new() };
        for name in words {
            let name = name?;
            if wish.instances.len() >= MAX_INSTANCES {
                let (size, limit) = (MAX_INSTANCES + 1, MAX_INSTANCES);
                return Err(MessageError::TooLong { what: WHAT, size, limit });
            }
            if name.len() > MAX_NAME {
                let (size, limit) = (name.len(), MAX_NAME);
                return Err(MessageError::TooLong { what: WHAT, size, limit });
            }
            wish.instances.push(clean_to(name, MAX_NAME));
        }
        Ok(wish)
    }

    /// Asks for it.
    pub(crate) fn message(words: &WordList) -> Message<'_> {
        Message::Wish { words: words.words() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_as_it_was_said_and_no_larger_than_it_may_be() {
        let wish = |names: &[&str]| Wish {
            clock: "mono".to_owned(),
            instances: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let read = |wish: &Wish| Wish::read(&wish.words().unwrap().words());
        let small = wish(&["irqs", "net"]);
        assert_eq!(read(&small).unwrap(), small);
        assert!(read(&wish(&["x"; MAX_INSTANCES + 1])).is_err());
        assert!(read(&wish(&[&"x".repeat(MAX_NAME + 1)])).is_err());
        assert_eq!(read(&wish(&["a\x1b[2J"])).unwrap().instances, ["a [2J"]);
    }
}
