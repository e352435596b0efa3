//! `funcgraph_entry`, `funcgraph_exit`: calls as nested braces, with their durations.
//!
//! An entry whose own exit is the next record of its CPU is a leaf: one line, `f();`, with the
//! duration; the exit gets no line.
//!
//! Options: `fgraph:tailprint` names the function at its closing brace, `fgraph:depth` shows the
//! depth as a number.

use super::arguments::Arguments;
use super::{Binding, HandledRecord, Handler, IntField, Observer, Order};
use crate::event_format::EventFormat;
use crate::print_fmt::Compat;
use crate::report::number;

/// Deeper calls are indented no further; no kernel stack has as many.
const MAX_DEPTH: i64 = 4096;

pub(super) fn bind_entry(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    let exit = (binding.other)("ftrace", "funcgraph_exit");
    Some(Box::new(Entry {
        func: binding.int("func")?,
        depth: binding.int("depth")?,
        pid: binding.common("common_pid")?,
        arguments: Arguments::bind(binding),
        exit: exit.and_then(|format| ExitFields::of(format, binding.compat)),
        style: Style::of(binding),
    }))
}

pub(super) fn bind_exit(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(Exit {
        fields: ExitFields::of(binding.format, binding.compat)?,
        depth: binding.int("depth")?,
        style: Style::of(binding),
    }))
}

#[derive(Clone, Copy)]
struct Style {
    tailprint: bool,
    depth: bool,
}

impl Style {
    fn of(binding: &Binding<'_>) -> Self {
        let on = |name| binding.options.switch("fgraph", name, false);
        Self { tailprint: on("tailprint"), depth: on("depth") }
    }

    fn print_depth(self, depth: Option<i64>, out: &mut Vec<u8>) {
        if let Some(depth) = depth.filter(|_| self.depth) {
            out.extend_from_slice(b" (");
            number::signed(out, depth);
            out.push(b')');
        }
    }
}

/// What is needed of the exit, also of one that is printed with its entry.
#[derive(Clone, Copy)]
struct ExitFields {
    id: u16,
    event_type: IntField,
    pid: IntField,
    func: IntField,
    calltime: IntField,
    rettime: IntField,
    retval: Option<IntField>,
}

impl ExitFields {
    fn of(format: &EventFormat, compat: Compat) -> Option<Self> {
        let own = |name| IntField::new(format.event_field(name)?, format.abi);
        let common = |name| IntField::new(format.common_field(name)?, format.abi);
        Some(Self {
            id: format.id,
            event_type: common("common_type")?,
            pid: common("common_pid")?,
            func: own("func")?,
            calltime: own("calltime")?,
            rettime: own("rettime")?,
            retval: own("retval").filter(|_| compat != Compat::V3_1_6),
        })
    }

    fn duration(&self, data: &[u8]) -> u64 {
        let (call, ret) = (self.calltime.get(data), self.rettime.get(data));
        ret.unwrap_or(0).wrapping_sub(call.unwrap_or(0))
    }

    fn print_retval(&self, data: &[u8], out: &mut Vec<u8>) {
        let Some(retval) = self.retval.and_then(|f| f.signed(data)) else { return };
        out.extend_from_slice(b" (ret=");
        if (-4095..0).contains(&retval) {
            number::signed(out, retval);
        } else {
            out.extend_from_slice(b"0x");
            number::hex(out, retval as u64, 0);
        }
        out.push(b')');
    }
}

struct Entry {
    func: IntField,
    depth: IntField,
    pid: IntField,
    arguments: Option<Arguments>,
    exit: Option<ExitFields>,
    style: Style,
}

impl Handler for Entry {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let depth = self.depth.signed(record.data);
        let leaf = record.attached.zip(self.exit.as_ref());
        print_columns(leaf.map(|(data, exit)| exit.duration(data)), depth, out);
        print_function(record, self.func, out);
        let func = self.func.get(record.data).unwrap_or(0);
        let printed = self.arguments.is_some_and(|arguments| arguments.print(record, func, out));
        if !printed {
            out.extend_from_slice(b"()");
        }
        match leaf {
            Some((data, exit)) => {
                out.push(b';');
                exit.print_retval(data, out);
            }
            None => out.extend_from_slice(b" {"),
        }
        self.style.print_depth(depth, out);
    }

    fn observer(&self) -> Option<Box<dyn Observer>> {
        Some(Box::new(Leaves { func: self.func, pid: self.pid, exit: self.exit? }))
    }
}

/// Gives an entry the exit that follows it at once.
struct Leaves {
    func: IntField,
    pid: IntField,
    exit: ExitFields,
}

impl Observer for Leaves {
    fn observe(&mut self, record: &mut dyn Order) -> u32 {
        let exit = &self.exit;
        let is_own_exit = &mut |entry: &[u8], next: &[u8]| {
            exit.event_type.get(next) == Some(u64::from(exit.id))
                && exit.pid.get(next) == self.pid.get(entry)
                && exit.func.get(next) == self.func.get(entry)
        };
        record.attach_next_if(is_own_exit);
        0
    }
}

struct Exit {
    fields: ExitFields,
    depth: IntField,
    style: Style,
}

impl Handler for Exit {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let depth = self.depth.signed(record.data);
        print_columns(Some(self.fields.duration(record.data)), depth, out);
        out.push(b'}');
        if self.style.tailprint {
            out.extend_from_slice(b" /* ");
            print_function(record, self.fields.func, out);
            self.fields.print_retval(record.data, out);
            out.extend_from_slice(b" */");
        } else {
            self.fields.print_retval(record.data, out);
        }
        self.style.print_depth(depth, out);
    }
}

fn print_function(record: &HandledRecord<'_>, func: IntField, out: &mut Vec<u8>) {
    let address = func.get(record.data).unwrap_or(0);
    if !record.symbol(address, false, out) {
        number::hex(out, address, 0);
    }
}

/// Mark, duration in microseconds, bar and indentation; blanks for an entry that is no leaf.
fn print_columns(duration: Option<u64>, depth: Option<i64>, out: &mut Vec<u8>) {
    match duration {
        None => number::blanks(out, 13),
        Some(duration) => {
            out.extend_from_slice(overhead_mark(duration));
            let start = out.len();
            number::decimal(out, duration / 1000);
            if out.len() - start < 7 {
                out.push(b'.');
                number::decimal_zeros(out, duration % 1000, 3);
            }
            let width = out.len() - start;
            out.extend_from_slice(b" us ");
            number::blanks(out, 7_usize.saturating_sub(width));
        }
    }
    out.extend_from_slice(b"|  ");
    number::blanks(out, depth.unwrap_or(0).clamp(0, MAX_DEPTH) as usize * 2);
}

fn overhead_mark(duration: u64) -> &'static [u8; 2] {
    match duration {
        u64::MAX => b"  ",
        1_000_000_001.. => b"$ ",
        1_000_001.. => b"# ",
        100_001.. => b"! ",
        10_001.. => b"+ ",
        _ => b"  ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(duration: Option<u64>, depth: i64) -> String {
        let mut out = Vec::new();
        print_columns(duration, Some(depth), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn durations_keep_the_bar_in_its_column() {
        assert_eq!(columns(None, 0), "             |  ");
        assert_eq!(columns(Some(201), 2), "  0.201 us   |      ");
        assert_eq!(columns(Some(18_994), 0), "+ 18.994 us  |  ");
        assert_eq!(columns(Some(125_662), 0), "! 125.662 us |  ");
        assert_eq!(columns(Some(999_999_999), 0), "# 999999.999 us |  ");
        assert_eq!(columns(Some(1_000_000_001), 0), "$ 1000000 us |  ");
    }

    #[test]
    fn depth_out_of_bounds_does_not_fill_memory() {
        assert_eq!(columns(None, -1).len(), columns(None, 0).len());
        assert_eq!(columns(None, i64::MAX).len(), columns(None, MAX_DEPTH).len());
    }
}
