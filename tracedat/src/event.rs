//! An event: its format and the program that prints it.
use std::fmt;
use std::sync::OnceLock;

use crate::abi::Abi;
use crate::error::FormatError;
use crate::event_format::EventFormat;
use crate::metadata::Metadata;
use crate::print_fmt::{CompileOptions, PrintContext, Program};
use crate::ring_buffer::Record;

/// A record's meaning: the event's format and the programs compiled from its print fmt on first use.
#[derive(Debug)]
pub struct Event {
    /// The parsed `format` file.
    pub format: EventFormat,
    abi: Abi,
    plain: OnceLock<Program>,
    with_plugins: OnceLock<Program>,
}

impl Event {
    /// Parses the text of a `format` file; the print fmt is compiled when first needed.
    ///
    /// # Errors
    ///
    /// The text has no name, or no id that fits an event.
    pub fn new(system: &str, text: &[u8], abi: Abi) -> Result<Self, FormatError> {
        Ok(Self {
            format: EventFormat::parse(system, text, abi)?,
            abi,
            plain: OnceLock::new(),
            with_plugins: OnceLock::new(),
        })
    }

    /// Byte order and `long` size the event was recorded with.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// The compiled print fmt. `plugins` tells whether it may call the functions that plugins
    /// register; without them a print fmt that calls one counts as not understood.
    pub fn program(&self, plugins: bool) -> &Program {
        let cell = if plugins { &self.with_plugins } else { &self.plain };
        cell.get_or_init(|| {
            let options = CompileOptions { plugin_functions: plugins, ..CompileOptions::default() };
            Program::compile_with(&self.format, self.abi, options)
        })
    }

    /// Appends the text of one record as its print fmt has it, without the name of the event.
    pub fn print(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        self.program(cx.plugins).run(data, cx, out);
    }

    /// Appends ` field=value` for every field but the common ones (`report -R`).
    pub fn print_raw(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        self.program(cx.plugins).run_raw(data, cx, out);
    }

    /// The same with some texts as arrays: see [`Program::run_raw_with`].
    pub(crate) fn print_raw_with(
        &self,
        data: &[u8],
        binary: u32,
        cx: &PrintContext<'_>,
        out: &mut Vec<u8>,
    ) {
        self.program(cx.plugins).run_raw_with(data, binary, cx, out);
    }

    /// The event's name and the text of one record, for `println!`. Bytes that are no UTF-8 are
    /// replaced; to keep them, and for speed, use [`Event::print`].
    pub fn display<'a>(&'a self, data: &'a [u8], cx: PrintContext<'a>) -> EventDisplay<'a> {
        EventDisplay { event: self, data, cx }
    }
}

impl Metadata {
    /// A record's event and text, for `println!`.
    ///
    /// # Errors
    ///
    /// [`UnknownEvent`] when the trace has no format for the record.
    pub fn describe<'a>(&'a self, record: &Record<'a>) -> Result<EventDisplay<'a>, UnknownEvent> {
        let id = record.data.first_chunk().map(|id| self.abi.byte_order.u16(*id));
        let event = id.and_then(|id| self.event(id)).ok_or(UnknownEvent { id })?;
        Ok(event.display(record.data, PrintContext::new(self)))
    }
}

/// A record whose event has no format in the trace.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("no format for event {id:?}")]
pub struct UnknownEvent {
    /// The event's number; `None` when the record is too short to have one.
    pub id: Option<u16>,
}

/// A record as `name: text`; made by [`Event::display`].
#[derive(Clone, Copy)]
pub struct EventDisplay<'a> {
    event: &'a Event,
    data: &'a [u8],
    cx: PrintContext<'a>,
}

impl fmt::Display for EventDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.event.print(self.data, &self.cx, &mut text);
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        write!(f, "{}: {}", self.event.format.name, String::from_utf8_lossy(text))
    }
}

impl fmt::Debug for EventDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Event;
    use crate::abi::{Abi, ByteOrder};
    use crate::print_fmt::{NoNames, PrintContext};

    #[test]
    fn display_has_name_and_text_without_the_last_newline() {
        let abi = Abi { byte_order: ByteOrder::Big, long_size: 4 };
        let text = b"name: tick\nID: 7\nformat:\n\tfield:u16 a;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            print fmt: \"a=%u\\n\", REC->a\n";
        let event = Event::new("test", text, abi).unwrap();
        let names = NoNames::default();
        let shown = event.display(&[1, 2], PrintContext::new(&names)).to_string();
        assert_eq!(shown, "tick: a=258");
    }
}
