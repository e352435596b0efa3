//! Names of functions, written once and then told by number.

use rustc_hash::FxHashMap;

use super::wire;
use crate::metadata::Metadata;

// Fields of `InternedData` and `InternedString`.
const KERNEL_SYMBOLS: u32 = 26;
const IID: u32 = 1;
const STR: u32 = 2;

/// The functions of one machine that were named so far.
#[derive(Debug, Default)]
pub(super) struct Functions {
    /// By where they start, so that there are no more than the file has names.
    numbers: FxHashMap<u64, u64>,
    /// Entries that no packet has yet.
    new: Vec<u8>,
}

impl Functions {
    /// The number of the function at an address; the address itself where no name is known.
    pub(super) fn number(&mut self, metadata: &Metadata, address: u64) -> u64 {
        let Some(symbol) = metadata.symbols().find(address) else { return address };
        let start = symbol.start;
        if let Some(&number) = self.numbers.get(&start) {
            return number;
        }
        let number = self.numbers.len() as u64 + 1;
        self.numbers.insert(start, number);
        wire::message(&mut self.new, KERNEL_SYMBOLS, |out| {
            wire::uint(out, IID, number);
            wire::bytes(out, STR, symbol.name.as_bytes());
        });
        number
    }

    /// `InternedData` with the entries that are new; empty without any.
    pub(super) fn new_entries(&self) -> &[u8] {
        &self.new
    }

    /// Notes that a packet has them.
    pub(super) fn forget_new(&mut self) {
        self.new.clear();
    }
}
