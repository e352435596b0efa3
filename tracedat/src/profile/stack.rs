//! Kernel stacks, each kept once.

use rustc_hash::FxHashMap;

use crate::abi::Abi;
use crate::event_format::EventFormat;

/// Where a stack trace's record has its addresses: from here to its end, or to an address of all ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callers {
    offset: usize,
    abi: Abi,
}

impl Callers {
    /// The place in records of this event.
    pub(super) fn new(format: &EventFormat) -> Option<Self> {
        let field = format.event_field("caller")?;
        Some(Self { offset: field.offset as usize, abi: format.abi })
    }

    fn addresses<'a>(&self, data: &'a [u8]) -> impl Iterator<Item = u64> + use<'a> {
        let size = usize::from(self.abi.long_size);
        let end = if size == 4 { u64::from(u32::MAX) } else { u64::MAX };
        let order = self.abi.byte_order;
        let words = data.get(self.offset..).unwrap_or_default().chunks_exact(size.max(1));
        words.map_while(move |word| order.uint(word)).take_while(move |&address| address != end)
    }
}

/// Stacks by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Stacks {
    numbers: FxHashMap<Box<[u64]>, u32>,
    stacks: Vec<Box<[u64]>>,
    scratch: Vec<u64>,
}

impl Stacks {
    /// The number of a record's stack; `None` for one without addresses.
    pub(super) fn intern(&mut self, callers: Callers, data: &[u8]) -> Option<u32> {
        self.scratch.clear();
        self.scratch.extend(callers.addresses(data));
        if self.scratch.is_empty() {
            return None;
        }
        if let Some(&number) = self.numbers.get(self.scratch.as_slice()) {
            return Some(number);
        }
        let number = u32::try_from(self.stacks.len()).ok()?;
        self.numbers.insert(self.scratch.as_slice().into(), number);
        self.stacks.push(self.scratch.as_slice().into());
        Some(number)
    }

    /// The addresses of a stack, the innermost first.
    pub(super) fn get(&self, number: u32) -> &[u64] {
        self.stacks.get(number as usize).map_or(&[], |stack| stack)
    }
}
