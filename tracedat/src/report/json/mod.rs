//! Records as JSON, one object a line (`report --json`).
//!
//! ```json
//! {"ts":1024000123,"cpu":0,"pid":7,"comm":"bash","flags":"d..2.","system":"kmem","event":"kfree","fields":{"call_site":"0xffffffff81000010","ptr":"0xffff888001234000"},"symbols":{"call_site":"vfs_read+0x10"}}
//! {"lost":17,"cpu":0}
//! {"losses":{"overrun":17,"commit_overrun":0,"dropped_events":0,"stalls":1,"discarded_bytes":0,"error":null},"cpu":0}
//! ```
//!
//! | Member | Value |
//! |---|---|
//! | `file` | name of the file, where there are several |
//! | `instance` | name of the buffer, but for the top-level one |
//! | `ts` | nanoseconds; ticks where the clock does not count those |
//! | `unit` | `"ticks"`, only where `ts` is no nanoseconds |
//! | `ts_error` | by how much `ts` of a guest may be wrong, if asked for and known |
//! | `cpu`, `pid` | numbers |
//! | `comm` | name of the task, `null` when nobody told it |
//! | `flags` | the letters of the flags column |
//! | `system`, `event` | whose record it is; `null` without a format, then `id` and `bytes` (hexadecimal) follow |
//! | `fields` | the event's own fields, in the order of its format |
//! | `symbols` | for addresses among the fields, what is known there: `name+0xoffset`, or the text a `char *` points to; only when something is |
//! | `text` | what `report` prints after the event's name, if asked for |
//! | `lost` | instead of all but `file`, `instance` and `cpu`: so many records were lost here on this CPU, `null` when nobody counted |
//! | `losses` | the same, behind all records: what the file's statistics say of a CPU that lost something. Events that the kernel lost, in three ways; how often the recorder was held up; bytes that could not be written, and why |
//!
//! Fields by what their type is:
//!
//! | Field | Value |
//! |---|---|
//! | integer | number, exact up to 64 bits; `bool` is `true` or `false` |
//! | `char` array, also a dynamic one | string, up to its NUL |
//! | other array, also a dynamic one | array of numbers |
//! | pointer, and integer printed as one by the event's `print fmt` | string `"0x…"` |
//! | CPU mask, bit mask | array of the numbers of the bits that are set |
//! | anything else | array of its bytes |
//! | what lies outside of the record | `null` |
//!
//! A byte that is no UTF-8 becomes the four characters `\xNN` (in JSON `"\\xNN"`), which every reader
//! takes.
//!
//! Every record has its line: entry and exit of a function that calls no other are not drawn together.

mod fields;
pub(super) mod losses;
mod string;

use super::batch::{Batch, Header};
use super::file::{ReportFile, Slot};
use super::line::{self, LineFormat};
use super::number;
use super::pipeline::Format;
use crate::ring_buffer::MissedEvents;
pub(crate) use fields::{EventFields, FieldPlan, Kind};
pub(crate) use string::string;

/// What JSON lines have beside the values of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json {
    /// Adds what `report` prints after the event's name.
    pub text: bool,
}

/// Prints batches as JSON.
pub(crate) struct JsonFormat<'f, 'm> {
    /// Where records come from, and how their text looks.
    pub(crate) lines: LineFormat<'f, 'm>,
    /// What was asked for.
    pub(crate) json: Json,
}

impl Format for JsonFormat<'_, '_> {
    fn format(&self, batch: &Batch, out: &mut Vec<u8>) {
        // One buffer for all texts of a batch.
        let mut text = Vec::new();
        for (index, header) in batch.headers.iter().enumerate() {
            let Some(file) = self.lines.files.get(header.file as usize) else { continue };
            let number = batch.first_record + index as u64;
            let record = JsonRecord { format: self, file, batch, header, number };
            record.print_lost(out);
            record.print(&mut text, out);
        }
    }
}

/// One record and what its line depends on.
struct JsonRecord<'a, 'f, 'm> {
    format: &'a JsonFormat<'f, 'm>,
    file: &'a ReportFile<'m>,
    batch: &'a Batch,
    header: &'a Header,
    number: u64,
}

impl JsonRecord<'_, '_, '_> {
    /// The brace that opens the object, file and instance.
    fn open(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if let Some(buffer) = self.file.buffers.get(self.header.buffer as usize) {
            out.extend_from_slice(&buffer.json_source);
        }
    }

    fn print_lost(&self, out: &mut Vec<u8>) {
        if self.header.missed == MissedEvents::None {
            return;
        }
        self.open(out);
        out.extend_from_slice(b"\"lost\":");
        match self.header.missed {
            MissedEvents::Exactly(count) => number::decimal(out, count),
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"cpu\":");
        number::decimal(out, u64::from(self.header.cpu));
        out.extend_from_slice(b"}\n");
    }

    fn print(&self, text: &mut Vec<u8>, out: &mut Vec<u8>) {
        let data = self.batch.data(self.header);
        self.open(out);
        out.extend_from_slice(b"\"ts\":");
        number::decimal(out, self.header.time);
        let buffer = self.file.buffers.get(self.header.buffer as usize);
        if buffer.is_some_and(|buffer| !buffer.nanoseconds) {
            out.extend_from_slice(b",\"unit\":\"ticks\"");
        }
        let errors = self.file.errors.as_ref();
        if let Some(bound) = errors.and_then(|e| e.at(self.header.cpu, self.header.time)) {
            out.extend_from_slice(b",\"ts_error\":");
            number::decimal(out, bound);
        }
        out.extend_from_slice(b",\"cpu\":");
        number::decimal(out, u64::from(self.header.cpu));
        let id = self.file.event_id(data);
        match id.and_then(|id| self.file.slot(id)) {
            Some(slot) => self.print_event(slot, data, text, out),
            None => unknown(id, data, out),
        }
        out.extend_from_slice(b"}\n");
    }

    fn print_event(&self, slot: &Slot<'_>, data: &[u8], text: &mut Vec<u8>, out: &mut Vec<u8>) {
        let pid = slot.common.pid.get(data) as i32;
        out.extend_from_slice(b",\"pid\":");
        number::signed(out, i64::from(pid));
        out.extend_from_slice(b",\"comm\":");
        match line::comm(self.file, self.batch, self.header, self.number, pid) {
            Some(comm) => string(out, comm),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"flags\":\"");
        line::print_flags(&slot.common, data, out);
        out.push(b'"');
        if let Some(fields) = &slot.json {
            fields.print(data, self.file.names(), out);
        }
        if self.format.json.text {
            text.clear();
            let options = self.format.lines.options;
            line::print_event(self.file, options, self.batch, self.header, slot, text);
            out.extend_from_slice(b",\"text\":");
            string(out, text.strip_suffix(b"\n").unwrap_or(text));
        }
    }
}

fn unknown(id: Option<u16>, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"system\":null,\"event\":null,\"id\":");
    match id {
        Some(id) => number::decimal(out, u64::from(id)),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"bytes\":\"");
    for &byte in data {
        number::hex(out, u64::from(byte), 2);
    }
    out.push(b'"');
}
