//! What goes beyond the reference's protocol.

/// What goes beyond the reference's protocol, asked for or taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions {
    /// Byte counts of all streams, and an acknowledged end.
    pub accounts: bool,
    /// Numbered datagrams.
    pub sequence: bool,
    /// Further buffers.
    pub instances: bool,
}

impl Extensions {
    /// Only what the reference knows.
    pub const NONE: Self = Self { accounts: false, sequence: false, instances: false };
    /// All there is.
    pub const ALL: Self = Self { accounts: true, sequence: true, instances: true };

    const ACCOUNTS: (u32, &str) = (1, "accounts");
    const SEQUENCE: (u32, &str) = (2, "sequence");
    const INSTANCES: (u32, &str) = (4, "instances");

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            accounts: self.accounts && other.accounts,
            sequence: self.sequence && other.sequence,
            instances: self.instances && other.instances,
        }
    }

    /// As in an RINIT.
    pub(super) fn bits(self) -> u32 {
        self.parts().filter_map(|(on, (bit, _))| on.then_some(bit)).sum()
    }

    /// From an RINIT; unknown bits are ignored.
    pub(super) fn from_bits(bits: u32) -> Self {
        let has = |(bit, _): (u32, &str)| bits & bit != 0;
        Self {
            accounts: has(Self::ACCOUNTS),
            sequence: has(Self::SEQUENCE),
            instances: has(Self::INSTANCES),
        }
    }

    /// As words of a TINIT.
    pub(super) fn words(self) -> impl Iterator<Item = &'static str> {
        self.parts().filter_map(|(on, (_, word))| on.then_some(word))
    }

    /// Takes note of a word of a TINIT; unknown ones are ignored.
    pub(super) fn add_word(&mut self, word: &str) {
        self.accounts |= word == Self::ACCOUNTS.1;
        self.sequence |= word == Self::SEQUENCE.1;
        self.instances |= word == Self::INSTANCES.1;
    }

    fn parts(self) -> impl Iterator<Item = (bool, (u32, &'static str))> {
        [
            (self.accounts, Self::ACCOUNTS),
            (self.sequence, Self::SEQUENCE),
            (self.instances, Self::INSTANCES),
        ]
        .into_iter()
    }
}
