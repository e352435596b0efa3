//! An event: its format and the program that prints it.
use std::fmt;
use std::sync::OnceLock;

use crate::abi::Abi;
use crate::error::FormatError;
use crate::event_format::EventFormat;
use crate::metadata::Metadata;
use crate::print_fmt::{Compat, CompileOptions, Names, PrintContext, Program};
use crate::ring_buffer::Record;

/// A record's meaning: the event's format and the programs compiled from its print fmt on first use.
#[derive(Debug)]
pub struct Event {
    /// The parsed `format` file.
    pub format: EventFormat,
    abi: Abi,
    /// By release, without plugins and with them.
    programs: [[OnceLock<Program>; 2]; 2],
    full: OnceLock<Program>,
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
            programs: Default::default(),
            full: OnceLock::new(),
        })
    }

    /// Byte order and `long` size the event was recorded with.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// The compiled print fmt. `plugins` tells whether it may call the functions that plugins
    /// register; without them a print fmt that calls one counts as not understood.
    pub fn program(&self, plugins: bool) -> &Program {
        self.program_of(plugins, Compat::default(), None)
    }

    fn program_of(&self, plugins: bool, compat: Compat, names: Option<&dyn Names>) -> &Program {
        let [plain, with_plugins] = match compat {
            Compat::V3_1_6 => &self.programs[0],
            Compat::V3_4 => &self.programs[1],
        };
        let cell = if plugins { with_plugins } else { plain };
        cell.get_or_init(|| {
            let options =
                CompileOptions { plugin_functions: plugins, compat, ..CompileOptions::default() };
            Program::compile_for(&self.format, self.abi, options, names)
        })
    }

    /// The print fmt compiled as the C that it is. It prints what the kernel prints, and also
    /// where the one for the reference's text counts as not understood.
    pub fn full_program(&self) -> &Program {
        self.full.get_or_init(|| {
            let options = CompileOptions { full: true, ..CompileOptions::default() };
            Program::compile_with(&self.format, self.abi, options)
        })
    }

    fn program_for(&self, cx: &PrintContext<'_>) -> &Program {
        if cx.full {
            self.full_program()
        } else {
            self.program_of(cx.plugins, cx.compat, Some(cx.names))
        }
    }

    /// Appends the text of one record as its print fmt has it, without the name of the event: see
    /// [`Program::run`] for how long it may be.
    pub fn print(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        self.program_for(cx).run(data, cx, out);
    }

    /// Appends ` field=value` for every field but the common ones (`report -R`).
    pub fn print_raw(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        self.program_for(cx).run_raw(data, cx, out);
    }

    /// The same with some texts as arrays: see [`Program::run_raw_with`].
    pub(crate) fn print_raw_with(
        &self,
        data: &[u8],
        binary: u32,
        cx: &PrintContext<'_>,
        out: &mut Vec<u8>,
    ) {
        self.program_for(cx).run_raw_with(data, binary, cx, out);
    }

    /// The event together with the data of one record.
    pub fn recorded<'a>(&'a self, data: &'a [u8], cx: PrintContext<'a>) -> RecordedEvent<'a> {
        RecordedEvent { event: self, data, cx }
    }
}

impl Metadata {
    /// What a record means: its text for `println!`, and its fields by name. Nothing is decoded
    /// before it is asked for.
    ///
    /// # Errors
    ///
    /// [`UnknownEvent`] when the trace has no format for the record.
    pub fn event<'a>(&'a self, record: &Record<'a>) -> Result<RecordedEvent<'a>, UnknownEvent> {
        let id = record.data.first_chunk().map(|id| self.abi.byte_order.u16(*id));
        let event = id.and_then(|id| self.event_by_id(id)).ok_or(UnknownEvent { id })?;
        Ok(event.recorded(record.data, PrintContext::new(self)))
    }
}

/// A record whose event has no format in the trace.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("no format for event {id:?}")]
pub struct UnknownEvent {
    /// The event's number; `None` when the record is too short to have one.
    pub id: Option<u16>,
}

/// An event and the data of one record; made by [`Metadata::event`]. Displayed as `name: text`,
/// with bytes that are no UTF-8 replaced; to keep them, and for speed, use [`Event::print`].
#[derive(Clone, Copy)]
pub struct RecordedEvent<'a> {
    event: &'a Event,
    data: &'a [u8],
    cx: PrintContext<'a>,
}

impl<'a> RecordedEvent<'a> {
    /// The event's format and programs, the same for all its records.
    pub fn kind(&self) -> &'a Event {
        self.event
    }

    /// The event's name.
    pub fn name(&self) -> &'a str {
        &self.event.format.name
    }

    /// A field as an integer, with its sign where it has one; `None` when the event has no such
    /// field, or it is no integer, or not there.
    pub fn int(&self, field: &str) -> Option<i128> {
        let field = self.event.format.field(field)?;
        if field.flags.signed {
            field.int(self.event.abi, self.data).map(i128::from)
        } else {
            field.uint(self.event.abi, self.data).map(i128::from)
        }
    }

    /// The bytes of a field up to the first NUL; `None` when the event has no such field, or it is
    /// not there.
    pub fn text(&self, field: &str) -> Option<&'a [u8]> {
        self.event.format.field(field)?.text(self.event.abi, self.data)
    }
}

impl fmt::Display for RecordedEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.event.print(self.data, &self.cx, &mut text);
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        write!(f, "{}: {}", self.event.format.name, String::from_utf8_lossy(text))
    }
}

impl fmt::Debug for RecordedEvent<'_> {
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
        let shown = event.recorded(&[1, 2], PrintContext::new(&names));
        assert_eq!(shown.to_string(), "tick: a=258");
        assert_eq!((shown.name(), shown.int("a"), shown.int("b")), ("tick", Some(258), None));
    }
    /// A format prints a record of four bytes as wide, and as often, as it likes.
    #[test]
    fn texts_that_become_too_long_are_cut() {
        const MOST: usize = 64 << 10;
        let abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
        let names = NoNames::default();
        let print = |format: &str, full| {
            let text = format!(
                "name: wide\nID: 7\nformat:\n\tfield:int a;\toffset:0;\tsize:4;\tsigned:1;\n\n\
                 print fmt: {format}\n"
            );
            let event = Event::new("test", text.as_bytes(), abi).unwrap();
            let cx = PrintContext { full, ..PrintContext::new(&names) };
            let mut out = b"before ".to_vec();
            event.print(&i32::MAX.to_le_bytes(), &cx, &mut out);
            String::from_utf8(out.split_off(7)).unwrap()
        };
        let often = |conversion: &str, count| {
            format!("\"{}\"{}", conversion.repeat(count), ", REC->a".repeat(count))
        };
        for full in [false, true] {
            assert_eq!(print(&often("%5000d", 10), full).len(), 50_000);
            for format in [
                often("%5000d", 20),
                often("%65535d", 2),
                often("%-65535d", 1000),
                often("%d", 7_000),
                // So many zeros as the record says.
                "\"%.*d%d\", REC->a, REC->a, REC->a".to_owned(),
            ] {
                let text = print(&format, full);
                assert_eq!(text.len(), MOST, "{}", &format[..20]);
                assert!(text.ends_with("[...]"), "{}", &format[..20]);
            }
        }
    }
}
