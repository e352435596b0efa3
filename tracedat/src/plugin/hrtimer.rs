//! `hrtimer_start`, `hrtimer_expire_entry`: the timer's function by name.

use super::{Binding, HandledRecord, Handler, IntField};
use crate::report::number;

pub(super) fn bind_expire_entry(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(ExpireEntry { timer: Timer::bind(binding)?, now: binding.int("now")? }))
}

pub(super) fn bind_start(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(Start {
        timer: Timer::bind(binding)?,
        expires: binding.int("expires")?,
        softexpires: binding.int("softexpires")?,
    }))
}

struct Timer {
    hrtimer: IntField,
    function: IntField,
}

impl Timer {
    fn bind(binding: &Binding<'_>) -> Option<Self> {
        Some(Self {
            hrtimer: binding.int("hrtimer").or_else(|| binding.int("timer"))?,
            function: binding.int("function")?,
        })
    }

    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"hrtimer=0x");
        number::hex(out, self.hrtimer.get(record.data).unwrap_or(0), 0);
    }

    /// The function's name and how far the address is behind it: the difference is negative, as in
    /// the reference.
    fn print_function(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let address = self.function.get(record.data).unwrap_or(0);
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
    now: IntField,
}

impl Handler for ExpireEntry {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        self.timer.print(record, out);
        out.extend_from_slice(b" now=");
        number::decimal(out, self.now.get(record.data).unwrap_or(0));
        self.timer.print_function(record, out);
    }
}

struct Start {
    timer: Timer,
    expires: IntField,
    softexpires: IntField,
}

impl Handler for Start {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        self.timer.print(record, out);
        self.timer.print_function(record, out);
        out.extend_from_slice(b" expires=");
        number::decimal(out, self.expires.get(record.data).unwrap_or(0));
        out.extend_from_slice(b" softexpires=");
        number::decimal(out, self.softexpires.get(record.data).unwrap_or(0));
    }
}
