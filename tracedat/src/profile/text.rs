//! The profile as text.

use std::cmp::Reverse;

use super::role::{Roles, Style};
use super::span::{Extreme, Spans};
use super::stack::Stacks;
use super::tally::{Line, Owner};
use super::tree;
use crate::report::number;
use crate::symbols::Symbols;

/// Letters of a task's state by bit.
pub(super) const STATE_LETTERS: &[u8; 10] = b"SDTtXZxKWP";

/// Names of soft interrupts by number.
const SOFT_IRQS: [&str; 10] = [
    "HI",
    "TIMER",
    "NET_TX",
    "NET_RX",
    "BLOCK",
    "BLOCK_IOPOLL",
    "TASKLET",
    "SCHED",
    "HRTIMER",
    "RCU",
];

/// Prints lines with the names of what they count.
pub(super) struct Printer<'a, 'm> {
    pub(super) roles: &'a mut Roles<'m>,
    pub(super) stacks: &'a Stacks,
    pub(super) symbols: &'m Symbols,
}

impl Printer<'_, '_> {
    /// Puts lines in the order in which they are printed: by owner, what the scheduler did first, then by event, what
    /// took longest or happened most first. States are in the order of their bits.
    pub(super) fn sort(&mut self, lines: &mut [Line]) {
        lines.sort_by_cached_key(|line| {
            let heavy = Reverse((line.spans.total, line.spans.count));
            match self.roles.style(line.key.event).0 {
                Style::State => (line.key.owner, 0, line.key.value, heavy),
                Style::Wakeup => (line.key.owner, 1, 0, heavy),
                _ => (line.key.owner, 2 + u32::from(line.key.event), 0, heavy),
            }
        });
    }

    /// Appends lines; what was counted for the machine and for CPUs has headings.
    pub(super) fn print_lines(&mut self, lines: &[Line], out: &mut Vec<u8>) {
        for lines in lines.chunk_by(|a, b| a.key.owner == b.key.owner) {
            match lines.first().map(|line| line.key.owner) {
                Some(Owner::Machine) => out.extend_from_slice(b"Global Events\n"),
                Some(Owner::Cpu(cpu)) => {
                    out.extend_from_slice(b"Global CPU[");
                    number::decimal(out, u64::from(cpu));
                    out.extend_from_slice(b"] Events\n");
                }
                _ => {}
            }
            for line in lines {
                self.print_line(line, out);
            }
        }
    }

    fn print_line(&mut self, line: &Line, out: &mut Vec<u8>) {
        out.extend_from_slice(b"  Event: ");
        self.print_what(line.key.event, line.key.value, out);
        print_spans(&line.spans, out);
        let stacks = line.stacks.iter().map(|&(stack, spans)| (self.stacks.get(stack), spans));
        tree::print(stacks.collect(), self.symbols, out);
    }

    fn print_what(&mut self, event: u16, value: u64, out: &mut Vec<u8>) {
        let (style, name) = self.roles.style(event);
        if style == Style::Function {
            out.extend_from_slice(b"func: ");
            return match self.symbols.find(value) {
                Some(symbol) => {
                    out.extend_from_slice(symbol.name.as_bytes());
                    out.extend_from_slice(b"()");
                }
                None => print_hex(value, out),
            };
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        match style {
            Style::Hex | Style::Wakeup | Style::Function => print_hex(value, out),
            Style::Decimal => number::signed(out, value as i64),
            Style::SoftIrq => match SOFT_IRQS.get(usize::try_from(value).unwrap_or(usize::MAX)) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => number::decimal(out, value),
            },
            Style::State if value == 0 => out.push(b'R'),
            Style::State => {
                let letters = STATE_LETTERS.iter().enumerate();
                out.extend(letters.filter(|(bit, _)| value & 1 << bit != 0).map(|(_, c)| c));
            }
        }
    }
}

/// ` (3) Total: 2834381 Avg: 944793 Max: 1246097(ts:1116.332828) Min:685386(ts:1116.336930)`
fn print_spans(spans: &Spans, out: &mut Vec<u8>) {
    out.extend_from_slice(b" (");
    number::decimal(out, spans.count);
    out.push(b')');
    if spans.total > 0 {
        out.extend_from_slice(b" Total: ");
        number::decimal(out, spans.total);
        out.extend_from_slice(b" Avg: ");
        number::decimal(out, spans.average());
        print_extreme(b" Max: ", spans.max, out);
        print_extreme(b" Min:", spans.min, out);
    }
    out.push(b'\n');
}

/// Appends a duration and when it was noticed, in seconds.
pub(super) fn print_extreme(label: &[u8], extreme: Extreme, out: &mut Vec<u8>) {
    out.extend_from_slice(label);
    number::decimal(out, extreme.duration);
    out.extend_from_slice(b"(ts:");
    let time = crate::report::microseconds(extreme.time);
    number::decimal(out, time / 1_000_000);
    out.push(b'.');
    number::decimal_zeros(out, time % 1_000_000, 6);
    out.push(b')');
}

fn print_hex(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0x");
    number::hex(out, value, 0);
}
