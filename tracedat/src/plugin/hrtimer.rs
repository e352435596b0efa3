//! `hrtimer_start`, `hrtimer_expire_entry`: the timer's function by name.

use super::{Binding, HandledRecord, Handler, IntField};
use crate::report::number;

pub(super) fn bind_expire_entry(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(ExpireEntry { timer: Timer::bind(binding), now: number_field(binding, "now") }))
}

pub(super) fn bind_start(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(Start {
        timer: Timer::bind(binding),
        expires: number_field(binding, "expires"),
        softexpires: number_field(binding, "softexpires"),
    }))
}

/// An integer field, or a text in its place.
struct NumberField {
    name: &'static str,
    field: Option<IntField>,
}

fn number_field(binding: &Binding<'_>, name: &'static str) -> NumberField {
    NumberField { name, field: binding.int(name) }
}

impl NumberField {
    fn print(&self, data: &[u8], out: &mut Vec<u8>) {
        if let Some(value) = self.get(data, out) {
            number::decimal(out, value);
        }
    }

    fn get(&self, data: &[u8], out: &mut Vec<u8>) -> Option<u64> {
        let value = self.field.and_then(|field| field.get(data));
        if value.is_none() {
            out.extend_from_slice(b"CAN'T FIND FIELD \"");
            out.extend_from_slice(self.name.as_bytes());
            out.push(b'"');
        }
        value
    }
}

struct Timer {
    hrtimer: NumberField,
    function: Option<IntField>,
}

impl Timer {
    fn bind(binding: &Binding<'_>) -> Self {
        let mut hrtimer = number_field(binding, "hrtimer");
        hrtimer.field = hrtimer.field.or_else(|| binding.int("timer"));
        Self { hrtimer, function: binding.int("function") }
    }

    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"hrtimer=");
        if let Some(address) = self.hrtimer.get(record.data, out) {
            out.extend_from_slice(b"0x");
            number::hex(out, address, 0);
        }
    }

    /// The function's name and how far the address is behind it: the difference is negative, as in
    /// the reference.
    fn print_function(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let Some(address) = self.function.and_then(|field| field.get(record.data)) else { return };
        out.extend_from_slice(b" function=");
        match record.print.names.symbols().find(address) {
            Some(symbol) => {
                out.extend_from_slice(symbol.name.as_bytes());
                out.extend_from_slice(b"/0x");
                number::hex(out, symbol.start.wrapping_sub(address), 0);
            }
            None => {
                out.extend_from_slice(b"0x");
                number::hex(out, address, 0);
            }
        }
    }
}

struct ExpireEntry {
    timer: Timer,
    now: NumberField,
}

impl Handler for ExpireEntry {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        self.timer.print(record, out);
        out.extend_from_slice(b" now=");
        self.now.print(record.data, out);
        self.timer.print_function(record, out);
    }
}

struct Start {
    timer: Timer,
    expires: NumberField,
    softexpires: NumberField,
}

impl Handler for Start {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        self.timer.print(record, out);
        self.timer.print_function(record, out);
        out.extend_from_slice(b" expires=");
        self.expires.print(record.data, out);
        out.extend_from_slice(b" softexpires=");
        self.softexpires.print(record.data, out);
    }
}
