//! One record to one line: task, CPU, flags, time, name, and the event's own text.

use super::batch::{Batch, Header};
use super::file::{BufferStyle, CommonFields, ReportFile, Slot};
use super::head::{HeadKey, Heads};
use super::number;
use super::options::{Compat, Layout, ReportOptions, TimeStyle};
use super::pipeline::Format;
use super::wakeups::print_microseconds;
use crate::plugin::HandledRecord;
use crate::print_fmt::{PrintContext, limit};
use crate::ring_buffer::MissedEvents;

/// A task that nobody named.
const UNKNOWN_COMM: &[u8] = b"<...>";

/// Prints batches as `report` does.
pub(crate) struct LineFormat<'f, 'm> {
    /// The files that headers refer to.
    pub(crate) files: &'f [ReportFile<'m>],
    /// What lines look like.
    pub(crate) options: &'m ReportOptions,
}

impl Format for LineFormat<'_, '_> {
    fn format(&self, batch: &Batch, out: &mut Vec<u8>) {
        let mut heads = Heads::new();
        let mut previous_time = batch.previous_time;
        let mut latencies = batch.latencies.iter().copied().peekable();
        for (index, header) in batch.headers.iter().enumerate() {
            let Some(file) = self.files.get(header.file as usize) else { continue };
            let line = Line {
                file,
                options: self.options,
                batch,
                header,
                number: batch.first_record + index as u64,
                previous_time,
                latency: latencies
                    .next_if(|&(at, _)| at as usize == index)
                    .map(|(_, latency)| latency),
            };
            line.print(&mut heads, out);
            previous_time = Some(header.time);
        }
    }
}

/// One record and what its line depends on.
struct Line<'a, 'm> {
    file: &'a ReportFile<'m>,
    options: &'a ReportOptions,
    batch: &'a Batch,
    header: &'a Header,
    number: u64,
    previous_time: Option<u64>,
    /// How long the task waited that gets the CPU.
    latency: Option<u64>,
}

impl Line<'_, '_> {
    fn print(&self, heads: &mut Heads, out: &mut Vec<u8>) {
        let data = self.batch.data(self.header);
        let buffer = self.file.buffers.get(self.header.buffer as usize);
        if let Some(buffer) = buffer {
            // Of several lines only the first is marked.
            if !buffer.prefix.is_empty() {
                out.extend_from_slice(&buffer.prefix);
            }
        }
        self.print_missed(out);
        let Some(slot) = self.file.event_id(data).and_then(|id| self.file.slot(id)) else {
            // All that the reference has to say of a record whose format it does not know.
            out.extend_from_slice(
                b"[UNKNOWN EVENT][UNKNOWN EVENT] (NULL):               [UNKNOWN EVENT]\n",
            );
            return;
        };
        self.print_head(buffer, slot, data, heads, out);
        slot.name.append(out);
        print_event(self.file, self.options, self.batch, self.header, slot, out);
        if let Some(latency) = self.latency {
            if out.last() == Some(&b'\n') {
                out.pop();
            }
            out.extend_from_slice(b" Latency: ");
            print_microseconds(latency, out);
        }
        // The line ends where the event's text does; its own last newline is not a second one.
        if out.last() != Some(&b'\n') {
            out.push(b'\n');
        }
    }

    fn print_missed(&self, out: &mut Vec<u8>) {
        match self.header.missed {
            // A count of none is no loss.
            MissedEvents::None | MissedEvents::Exactly(0) => {}
            missed => {
                out.extend_from_slice(b"CPU:");
                number::decimal(out, u64::from(self.header.cpu));
                out.extend_from_slice(b" [");
                if let MissedEvents::Exactly(count) = missed {
                    number::signed(out, count as i64);
                    out.push(b' ');
                }
                out.extend_from_slice(b"EVENTS DROPPED]\n");
            }
        }
        if self.options.boundaries && self.header.starts_sub_buffer {
            out.extend_from_slice(b"CPU:");
            number::decimal(out, u64::from(self.header.cpu));
            out.extend_from_slice(b" [SUBBUFFER START]\n");
        }
    }

    /// `            bash-1234  [000] d..1.  1234.567890: `
    #[inline]
    fn print_head(
        &self,
        buffer: Option<&BufferStyle>,
        slot: &Slot<'_>,
        data: &[u8],
        heads: &mut Heads,
        out: &mut Vec<u8>,
    ) {
        let in_seconds = buffer.is_none_or(|buffer| buffer.seconds);
        let (second, fraction) = match self.options.time {
            _ if !in_seconds => (None, self.header.time),
            TimeStyle::Microseconds => {
                let rounded = microseconds(self.header.time);
                (Some(rounded / 1_000_000), rounded % 1_000_000)
            }
            TimeStyle::Nanoseconds => {
                (Some(self.header.time / NSEC_PER_SEC), self.header.time % NSEC_PER_SEC)
            }
        };
        let print = |out: &mut Vec<u8>| self.print_columns(slot, data, second, out);
        match slot.common.word(data) {
            Some(common) => {
                let (cpu, file) = (self.header.cpu, self.header.file);
                heads.append(HeadKey { common, second, cpu, file }, out, print);
            }
            None => {
                print(out);
            }
        }
        match (second, self.options.time) {
            (Some(_), TimeStyle::Microseconds) => number::six_digits_colon(out, fraction),
            (Some(_), TimeStyle::Nanoseconds) => number::nine_digits_colon(out, fraction),
            (None, _) => self.print_ticks(out),
        }
        if let Some(errors) = &self.file.errors {
            errors.print(self.header.cpu, self.header.time, out);
        }
        if self.options.time_differences {
            let microseconds = self.options.time == TimeStyle::Microseconds
                && buffer.is_some_and(|buffer| buffer.has_clock);
            self.print_difference(microseconds, out);
        }
    }

    /// All before the parts of the second; false for a task without a name, which may get one before
    /// its next line.
    #[inline(never)]
    fn print_columns(
        &self,
        slot: &Slot<'_>,
        data: &[u8],
        second: Option<u64>,
        out: &mut Vec<u8>,
    ) -> bool {
        let pid = slot.common.pid.get(data) as i32;
        let comm = comm(self.file, self.batch, self.header, self.number, pid);
        match self.options.layout {
            Layout::Default => self.print_default_columns(slot, data, comm, pid, out),
            Layout::Latency => self.print_latency_columns(slot, data, comm, pid, out),
        }
        if let Some(second) = second {
            out.push(b' ');
            number::decimal_right(out, second, 5);
            out.push(b'.');
        }
        comm.is_some()
    }

    /// `            bash-1234  [000] d..1.`
    fn print_default_columns(
        &self,
        slot: &Slot<'_>,
        data: &[u8],
        comm: Option<&[u8]>,
        pid: i32,
        out: &mut Vec<u8>,
    ) {
        number::right(out, comm.unwrap_or(UNKNOWN_COMM), 16);
        out.push(b'-');
        number::signed_left(out, i64::from(pid), 5);
        out.extend_from_slice(b" [");
        number::decimal_zeros(out, u64::from(self.header.cpu), 3);
        out.push(b']');
        if self.options.compat == Compat::V3_4 {
            if !self.options.raw {
                out.push(b' ');
            }
            self.print_flags_column(slot, data, out);
        }
    }

    /// `d..1.`, or `-0x1` where nothing is interpreted.
    fn print_flags_column(&self, slot: &Slot<'_>, data: &[u8], out: &mut Vec<u8>) {
        if self.options.raw {
            out.extend_from_slice(b"-0x");
            number::hex(out, u64::from(slot.common.flags.get(data) as u8), 0);
        } else {
            print_flags(&slot.common, data, out);
        }
    }

    /// `    bash-1234    0d..1.`
    fn print_latency_columns(
        &self,
        slot: &Slot<'_>,
        data: &[u8],
        comm: Option<&[u8]>,
        pid: i32,
        out: &mut Vec<u8>,
    ) {
        let comm = comm.unwrap_or(UNKNOWN_COMM);
        number::right(out, comm.get(..8).unwrap_or(comm), 8);
        out.push(b'-');
        number::signed_left(out, i64::from(pid), 5);
        out.push(b' ');
        number::decimal_right(out, u64::from(self.header.cpu), 3);
        self.print_flags_column(slot, data, out);
    }

    fn print_ticks(&self, out: &mut Vec<u8>) {
        if self.options.layout == Layout::Latency && self.options.compat == Compat::V3_4 {
            // Ticks stand where parts of a second do.
            number::decimal_right(out, 0, 5);
            out.push(b'.');
            number::decimal_zeros(out, self.header.time, 12);
        } else {
            number::decimal_right(out, self.header.time, TICKS_WIDTH);
        }
        out.extend_from_slice(b": ");
    }

    fn print_difference(&self, in_microseconds: bool, out: &mut Vec<u8>) {
        let start = out.len();
        let shown = |time| if in_microseconds { microseconds(time) } else { time };
        // As the reference has it, 0 is no time to count from.
        if let Some(previous) = self.previous_time.map(shown).filter(|&time| time != 0) {
            let difference = shown(self.header.time).wrapping_sub(previous);
            out.extend_from_slice(b"(+");
            number::signed(out, difference as i64);
            out.push(b')');
        }
        let width = out.len() - start;
        number::blanks(out, 8_usize.saturating_sub(width) + 1);
    }
}

/// The name of a task as it was known when the given record was printed.
pub(crate) fn comm<'a>(
    file: &'a ReportFile<'_>,
    batch: &'a Batch,
    header: &Header,
    number: u64,
    pid: i32,
) -> Option<&'a [u8]> {
    if pid == 0 {
        return Some(b"<idle>");
    }
    let saved = || file.saved_comm(pid);
    match batch.comms.get(header.file as usize) {
        Some(comms) => comms.comm(pid, number, saved),
        None => saved(),
    }
}

/// Appends the event's own text, all that comes after its name.
#[inline]
pub(crate) fn print_event(
    file: &ReportFile<'_>,
    options: &ReportOptions,
    batch: &Batch,
    header: &Header,
    slot: &Slot<'_>,
    out: &mut Vec<u8>,
) {
    let data = batch.data(header);
    let print = PrintContext {
        names: file.names(),
        plugins: !options.no_handlers,
        full: options.full_formats,
        compat: options.compat,
    };
    if slot.raw {
        let data = batch.data_and_behind(header);
        slot.event.print_raw_with(data, header.note, &print, out);
    } else if let Some(handler) = &slot.handler {
        let style = file.buffers.get(header.buffer as usize);
        let in_seconds = style.is_none_or(|style| style.seconds);
        let print_time = |time, out: &mut Vec<u8>| {
            if in_seconds {
                print_seconds(options, time, out);
            } else {
                number::decimal(out, time);
            }
        };
        let record = HandledRecord {
            data,
            time: header.time,
            print_time: &print_time,
            attached: batch.attached(header),
            note: header.note,
            cpu: header.cpu,
            missed: header.missed,
            event: slot.event,
            print: &print,
        };
        let start = out.len();
        handler.print(&record, out);
        // Of names that a trace has, any number may be in a text.
        limit::cut(out, start, data.len());
    } else {
        slot.event.print(data, &print, out);
    }
}

const NSEC_PER_SEC: u64 = 1_000_000_000;

/// Columns for time stamps of clocks that count something else than nanoseconds.
pub(crate) const TICKS_WIDTH: usize = 12;

/// Appends `seconds.fraction`.
#[inline]
pub(crate) fn print_seconds(options: &ReportOptions, time: u64, out: &mut Vec<u8>) {
    match options.time {
        TimeStyle::Nanoseconds => {
            number::decimal_right(out, time / NSEC_PER_SEC, 5);
            out.push(b'.');
            number::decimal_zeros(out, time % NSEC_PER_SEC, 9);
        }
        TimeStyle::Microseconds => {
            let rounded = microseconds(time);
            number::decimal_right(out, rounded / 1_000_000, 5);
            out.push(b'.');
            number::decimal_zeros(out, rounded % 1_000_000, 6);
        }
    }
}

/// Nanoseconds to microseconds, rounded half up.
pub(crate) fn microseconds(nanoseconds: u64) -> u64 {
    nanoseconds.wrapping_add(500) / 1000
}

/// How deep the CPU is in something.
const DEPTHS: &[u8; 16] = b".123456789abcdef";

/// The letters of `common_flags`: interrupts off, a switch due, in an interrupt.
static FLAGS: [[u8; 3]; 256] = {
    const IRQS_OFF: usize = 0x01;
    const IRQS_UNKNOWN: usize = 0x02;
    const NEED_RESCHED: usize = 0x04;
    const HARD_IRQ: usize = 0x08;
    const SOFT_IRQ: usize = 0x10;

    let mut letters = [*b"..."; 256];
    let mut flags = 0;
    while flags < letters.len() {
        if flags & IRQS_OFF != 0 {
            letters[flags][0] = b'd';
        } else if flags & IRQS_UNKNOWN != 0 {
            letters[flags][0] = b'X';
        }
        if flags & NEED_RESCHED != 0 {
            letters[flags][1] = b'N';
        }
        letters[flags][2] = match (flags & HARD_IRQ != 0, flags & SOFT_IRQ != 0) {
            (true, true) => b'H',
            (true, false) => b'h',
            (false, true) => b's',
            (false, false) => b'.',
        };
        flags += 1;
    }
    letters
};

/// Letters of the flags column, 5 to 7 of them.
pub(crate) fn print_flags(fields: &CommonFields, data: &[u8], out: &mut Vec<u8>) {
    let [irqs, resched, context] = FLAGS[usize::from(fields.flags.get(data) as u8)];
    let preempt_count = fields.preempt_count.get(data) as u32;
    let preempt = DEPTHS[preempt_count as usize & 15];
    out.extend_from_slice(&[irqs, resched, context, preempt]);
    let depth = |depth: u64, out: &mut Vec<u8>| {
        if depth == 0 {
            out.push(b'.');
        } else {
            number::hex(out, depth, 0);
        }
    };
    depth(u64::from(preempt_count >> 4), out);
    if let Some(field) = fields.migrate_disable {
        depth(field.get(data).unwrap_or(0), out);
    }
    if let Some(lock_depth) = fields.lock_depth.and_then(|f| f.signed(data)) {
        if lock_depth < 0 {
            out.push(b'.');
        } else {
            number::decimal(out, lock_depth as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_round_half_up() {
        assert_eq!(microseconds(1_499), 1);
        assert_eq!(microseconds(1_500), 2);
    }
}
