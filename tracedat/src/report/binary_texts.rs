//! Texts that turned out not to be texts, with `-R`: from that record on, their field is printed as
//! an array, whatever it holds.

use crate::abi::Abi;
use crate::event::Event;
use crate::event_format::Field;
use crate::plugin::{Observer, Order};
use crate::print_fmt;

/// Sees the records of an event whose fields are printed one by one.
pub(crate) struct BinaryTexts {
    abi: Abi,
    /// Those that are text by their type, in the order of the format.
    fields: Vec<Field>,
    /// A bit for each field that was not printable once.
    found: u32,
}

impl BinaryTexts {
    /// `None` for an event without texts.
    pub(crate) fn new(event: &Event) -> Option<Self> {
        let texts = event.format.fields.iter().filter(|field| print_fmt::is_text_field(field));
        let fields: Vec<Field> = texts.take(u32::BITS as usize).cloned().collect();
        (!fields.is_empty()).then(|| Self { abi: event.abi(), fields, found: 0 })
    }
}

impl Observer for BinaryTexts {
    fn observe(&mut self, record: &mut dyn Order) -> u32 {
        let data = record.data();
        for (bit, field) in self.fields.iter().enumerate() {
            if self.found >> bit & 1 == 0 && !print_fmt::is_printable(field, self.abi, data) {
                self.found |= 1 << bit;
            }
        }
        self.found
    }
}
