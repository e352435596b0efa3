//! Adds up which functions of the kernel hold how much memory, from the events of `kmem`.

mod event;
mod print;

use rustc_hash::FxHashMap;

use crate::error::ReadError;
use crate::metadata::Metadata;
use crate::read::Records;
use event::{Events, Observed};

/// What each call site allocated and still holds.
pub struct MemoryUse<'m> {
    metadata: &'m Metadata,
    sites: Vec<Site>,
    index: FxHashMap<Caller, usize>,
    /// What is not freed yet, by address.
    held: FxHashMap<u64, Held>,
}

/// A function that allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    /// Its index among the symbols.
    Function(usize),
    /// An address without a function.
    Address(u64),
}

/// Bytes of a call site. Sums stay at the largest number they can have.
#[derive(Clone, Copy, Debug)]
struct Site {
    caller: Caller,
    held: Bytes,
    total: Bytes,
    max: Bytes,
    max_waste: i64,
}

/// Bytes that were asked for, and those given for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bytes {
    requested: i64,
    allocated: i64,
}

/// Memory that was not freed yet.
#[derive(Clone, Copy, Debug)]
struct Held {
    site: usize,
    bytes: Bytes,
}

impl<'m> MemoryUse<'m> {
    /// Adds up the allocations of a file, before a record of it is taken.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn count(metadata: &'m Metadata, records: &mut Records) -> Result<Self, ReadError> {
        let mut events = Events::new(metadata);
        let mut memory = Self {
            metadata,
            sites: Vec::new(),
            index: FxHashMap::default(),
            held: FxHashMap::default(),
        };
        while let Some(record) = records.next()? {
            match events.observe(record.data) {
                Some(Observed::Allocated { call_site, address, bytes }) => {
                    memory.allocate(call_site, address, bytes);
                }
                Some(Observed::Freed { address }) => memory.free(address),
                None => {}
            }
        }
        Ok(memory)
    }

    fn allocate(&mut self, call_site: u64, address: u64, bytes: Bytes) {
        let function = self.metadata.symbols().index(call_site);
        let caller = function.map_or(Caller::Address(call_site), Caller::Function);
        let at = *self.index.entry(caller).or_insert(self.sites.len());
        if at == self.sites.len() {
            self.sites.push(Site::new(caller));
        }
        if let Some(site) = self.sites.get_mut(at) {
            site.allocate(bytes);
        }
        // The event that freed what was there before may be lost: it stays counted.
        self.held.insert(address, Held { site: at, bytes });
    }

    fn free(&mut self, address: u64) {
        let Some(Held { site, bytes }) = self.held.remove(&address) else { return };
        if let Some(site) = self.sites.get_mut(site) {
            site.held = site.held.minus(bytes);
        }
    }
}

impl Site {
    fn new(caller: Caller) -> Self {
        let none = Bytes::default();
        Self { caller, held: none, total: none, max: none, max_waste: 0 }
    }

    fn allocate(&mut self, bytes: Bytes) {
        self.held = self.held.plus(bytes);
        self.total = self.total.plus(bytes);
        self.max.requested = self.max.requested.max(self.held.requested);
        self.max.allocated = self.max.allocated.max(self.held.allocated);
        self.max_waste = self.max_waste.max(self.held.waste());
    }
}

impl Bytes {
    fn plus(self, other: Self) -> Self {
        Self {
            requested: self.requested.saturating_add(other.requested),
            allocated: self.allocated.saturating_add(other.allocated),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            requested: self.requested.saturating_sub(other.requested),
            allocated: self.allocated.saturating_sub(other.allocated),
        }
    }

    fn waste(self) -> i64 {
        self.allocated.saturating_sub(self.requested)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Caller, Site};

    #[test]
    fn site_remembers_the_most_it_held() {
        let bytes = |requested, allocated| Bytes { requested, allocated };
        let mut site = Site::new(Caller::Address(1));
        site.allocate(bytes(100, 128));
        site.held = site.held.minus(bytes(100, 128));
        site.allocate(bytes(10, 16));
        assert_eq!((site.held, site.total), (bytes(10, 16), bytes(110, 144)));
        assert_eq!((site.max, site.max_waste), (bytes(100, 128), 28));
        site.allocate(bytes(i64::MAX, i64::MAX));
        assert_eq!(site.total, bytes(i64::MAX, i64::MAX));
    }
}
