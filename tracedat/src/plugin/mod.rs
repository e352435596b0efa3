//! Event handlers: what replaces or extends an event's own print format.
//!
//! A handler is bound to one event's format once, so that it finds its fields by offset from then
//! on. What it prints depends on the record alone ([`Handler::print`] runs on many threads). What
//! depends on the records before it is left to its [`Observer`], which sees every record in order
//! and leaves a note for the printing.

mod arguments;
mod func_repeats;
mod function;
mod function_graph;
mod futex;
mod hrtimer;
mod kernel_stack;
mod kmem;
mod kvm;
mod mac80211;
mod options;
mod raw_data;
mod registry;
mod sched_switch;
mod sched_wakeup;
mod tlb;

pub(crate) use kvm::exit_reason_name as kvm_exit_reason;
pub use options::HandlerOptions;
pub use registry::{Registration, Registry};

use crate::abi::Abi;
use crate::event::Event;
use crate::event_format::{EventFormat, Field};
use crate::print_fmt::{Compat, PrintContext};
use crate::ring_buffer::MissedEvents;

/// Prints the records of one event.
pub trait Handler: Send + Sync {
    /// Appends the text of a record, without the line's columns.
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>);

    /// What has to see this event's records in order, if anything.
    fn observer(&self) -> Option<Box<dyn Observer>> {
        None
    }
}

/// Sees every record of one event of one file in order, before it is printed.
pub trait Observer: Send {
    /// Looks at a record; what it returns is the [`HandledRecord::note`] when the record is printed.
    fn observe(&mut self, record: &mut dyn Order) -> u32;
}

/// A record among its neighbours.
pub trait Order {
    /// The record's bytes.
    fn data(&self) -> &[u8];
    /// The CPU it was recorded on.
    fn cpu(&self) -> u32;
    /// The name of the kernel function that an address lies in.
    fn function_name(&self, address: u64) -> Option<&str>;
    /// Tells the name of a task, for the lines after this one. A name that is known already stays.
    fn learn_comm(&mut self, pid: i32, comm: &[u8]);
    /// Shows this record and the next one of the same CPU to `wanted`. If that says yes, and no
    /// other CPU did anything in between, the next one gets no line of its own: its bytes become
    /// [`HandledRecord::attached`].
    fn attach_next_if(&mut self, wanted: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> bool;
}

/// A record that a handler prints.
#[derive(Clone, Copy)]
pub struct HandledRecord<'a> {
    /// The event's bytes, common fields first.
    pub data: &'a [u8],
    /// The bytes of the record that the observer attached.
    pub attached: Option<&'a [u8]>,
    /// What the observer returned, 0 without one.
    pub note: u32,
    /// The CPU it was recorded on.
    pub cpu: u32,
    /// Its time, corrected.
    pub time: u64,
    /// Appends a time as the line has its own.
    pub print_time: &'a dyn Fn(u64, &mut Vec<u8>),
    /// What was lost before it.
    pub missed: MissedEvents,
    /// Its event, which can print it without the handler.
    pub event: &'a Event,
    /// Names of addresses, and whose text is wanted.
    pub print: &'a PrintContext<'a>,
}

impl HandledRecord<'_> {
    /// Appends what the event's own print format says.
    pub fn print_fmt(&self, out: &mut Vec<u8>) {
        self.event.print(self.data, self.print, out);
    }

    /// Appends the name of a function, with the offset into it where `with_offset`.
    /// False, with nothing appended, when no function is known there.
    pub fn symbol(&self, address: u64, with_offset: bool, out: &mut Vec<u8>) -> bool {
        self.print.names.symbols().append(address, with_offset, out)
    }
}

/// What a handler is bound to.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The event's format.
    pub format: &'a EventFormat,
    /// The format of another event of the same file, by system and name.
    pub other: &'a dyn Fn(&str, &str) -> Option<&'a EventFormat>,
    /// What the user asked of handlers.
    pub options: &'a HandlerOptions,
    /// Whose text is wanted.
    pub compat: Compat,
}

impl Binding<'_> {
    /// The event's own field as an integer.
    pub fn int(&self, name: &str) -> Option<IntField> {
        IntField::new(self.format.event_field(name)?, self.format.abi)
    }

    /// The event's own field as an integer that is needed.
    pub fn needed(&self, name: &'static str) -> NeededField {
        let found = self.format.event_field(name).is_some();
        NeededField { name, found, field: self.int(name) }
    }

    /// The event's own field as text.
    pub fn text(&self, name: &str) -> Option<TextField> {
        Some(TextField::new(self.format.event_field(name)?, self.format.abi))
    }

    /// A common field as an integer.
    pub fn common(&self, name: &str) -> Option<IntField> {
        IntField::new(self.format.common_field(name)?, self.format.abi)
    }
}

/// An integer field that a handler cannot do without; in its place is printed what is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct NeededField {
    name: &'static str,
    found: bool,
    field: Option<IntField>,
}

impl NeededField {
    /// The value, zero-extended; where there is none, appends why.
    #[inline]
    pub fn get(&self, data: &[u8], out: &mut Vec<u8>) -> Option<u64> {
        let value = self.value(data);
        if value.is_none() {
            self.complain(out);
        }
        value
    }

    /// The value, zero-extended.
    #[inline]
    pub fn value(&self, data: &[u8]) -> Option<u64> {
        self.field.and_then(|field| field.get(data))
    }

    /// The value, sign-extended.
    #[inline]
    pub fn signed(&self, data: &[u8]) -> Option<i64> {
        self.field.and_then(|field| field.signed(data))
    }

    /// Appends why there is no value.
    #[cold]
    pub fn complain(&self, out: &mut Vec<u8>) {
        let (before, after) =
            if self.found { (" ", "=INVALID") } else { ("<CANT FIND FIELD ", ">") };
        for part in [before, self.name, after] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// An integer field of known place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntField {
    offset: u32,
    size: u32,
    abi: Abi,
}

impl IntField {
    /// `None` when the field's size is not that of an integer.
    pub fn new(field: &Field, abi: Abi) -> Option<Self> {
        Self::at(field.offset, field.size, abi)
    }

    /// The integer at an offset; `None` when the size is not that of an integer.
    pub fn at(offset: u32, size: u32, abi: Abi) -> Option<Self> {
        matches!(size, 1 | 2 | 4 | 8).then_some(Self { offset, size, abi })
    }

    /// The value, zero-extended; `None` when the record is too short.
    #[inline]
    pub fn get(&self, data: &[u8]) -> Option<u64> {
        let start = self.offset as usize;
        self.abi.byte_order.uint(data.get(start..start + self.size as usize)?)
    }

    /// The value, sign-extended.
    #[inline]
    pub fn signed(&self, data: &[u8]) -> Option<i64> {
        let bits = 64 - self.size * 8;
        Some(((self.get(data)? << bits) as i64) >> bits)
    }

    /// Where the field ends, in bytes from the start of the record.
    pub fn end(&self) -> usize {
        self.offset as usize + self.size as usize
    }

    /// Bytes of the field.
    pub fn size(&self) -> usize {
        self.size as usize
    }
}

/// A text field of known place.
#[derive(Clone, Debug)]
pub struct TextField {
    field: Field,
    abi: Abi,
}

impl TextField {
    /// The text in a field.
    pub fn new(field: &Field, abi: Abi) -> Self {
        Self { field: field.clone(), abi }
    }

    /// The text up to its NUL; `None` when the record is too short.
    #[inline]
    pub fn get<'a>(&self, data: &'a [u8]) -> Option<&'a [u8]> {
        self.field.text(self.abi, data)
    }
}
