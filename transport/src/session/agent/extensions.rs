//! What goes beyond the reference's agents.

/// What goes beyond the reference's agents, asked for or taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentExtensions {
    /// Byte counts and what else the file needs, at the end.
    pub accounts: bool,
    /// Clocks are compared on the control connection, with a stated bound.
    pub ping: bool,
    /// Commands for the guest.
    pub exec: bool,
}

impl AgentExtensions {
    /// Only what the reference knows.
    pub const NONE: Self = Self { accounts: false, ping: false, exec: false };
    /// All there is.
    pub const ALL: Self = Self { accounts: true, ping: true, exec: true };

    /// What a host does for its guest: a guest runs nothing on its host, and clocks are compared as the reference does.
    pub const OF_PROXIES: Self = Self { accounts: true, ..Self::NONE };

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            accounts: self.accounts && other.accounts,
            ping: self.ping && other.ping,
            exec: self.exec && other.exec,
        }
    }

    /// As in a TRACE_RESP.
    pub(super) fn bits(self) -> u32 {
        self.parts().iter().filter(|(on, ..)| *on).map(|(_, bit, _)| bit).sum()
    }

    /// From a TRACE_RESP; unknown bits are ignored.
    pub(super) fn from_bits(bits: u32) -> Self {
        Self { accounts: bits & 1 != 0, ping: bits & 2 != 0, exec: bits & 4 != 0 }
    }

    /// As words of a TRACE_REQ.
    pub(super) fn words(self) -> impl Iterator<Item = &'static str> {
        self.parts().into_iter().filter(|(on, ..)| *on).map(|(.., word)| word)
    }

    /// Takes note of a word of a TRACE_REQ; unknown ones are ignored.
    pub(super) fn add_word(&mut self, word: &str) {
        match word {
            "accounts" => self.accounts = true,
            "ping" => self.ping = true,
            "exec" => self.exec = true,
            _ => {}
        }
    }

    fn parts(self) -> [(bool, u32, &'static str); 3] {
        [(self.accounts, 1, "accounts"), (self.ping, 2, "ping"), (self.exec, 4, "exec")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bits_tell_the_same() {
        let some = AgentExtensions { ping: true, ..AgentExtensions::NONE };
        for extensions in [AgentExtensions::ALL, AgentExtensions::NONE, some] {
            assert_eq!(AgentExtensions::from_bits(extensions.bits() | 0xff00), extensions);
            let mut read = AgentExtensions::NONE;
            extensions.words().chain(["later"]).for_each(|word| read.add_word(word));
            assert_eq!(read, extensions);
        }
    }
}
