//! Texts of a trace, read from the file when first asked for, and the tables made of them.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;

use super::{Metadata, Warning};
use crate::btf::Btf;
use crate::compress::Codec;
use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::event::Event;
use crate::layout::OptionId;
use crate::printk_formats::PrintkFormats;
use crate::read::Damage;
use crate::read::section::{self, Place};
use crate::source::ReadAt;
use crate::symbols::Symbols;
use crate::tasks::Tasks;

/// The `format` file of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatText<'a> {
    /// Its system; `ftrace` for ftrace's own events.
    pub system: &'a str,
    /// The text.
    pub text: &'a [u8],
    /// The number its records carry, when the text tells it.
    pub id: Option<u16>,
}

/// Where the texts lie in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) ftrace_events: Option<Place>,
    pub(crate) event_formats: Option<Place>,
    pub(crate) kallsyms: Option<Place>,
    pub(crate) printk: Option<Place>,
    pub(crate) cmdlines: Option<Place>,
    pub(crate) latency: Option<Place>,
}

/// The file, where its texts are, and those that were asked for.
pub(crate) struct Texts {
    pub(crate) source: Arc<dyn ReadAt>,
    pub(super) codec: Codec,
    pub(super) places: Places,
    header_page: Vec<u8>,
    header_event: Vec<u8>,
    /// The first text or option that the file should have and that cannot be read.
    lost: OnceLock<Warning>,
    kallsyms: OnceLock<Vec<u8>>,
    /// Text in front of it that is not the file's own.
    more_kallsyms: Vec<u8>,
    printk: OnceLock<Vec<u8>>,
    cmdlines: OnceLock<Vec<u8>>,
    latency: OnceLock<Vec<u8>>,
    symbols: OnceLock<Symbols>,
    printk_formats: OnceLock<PrintkFormats>,
    tasks: OnceLock<Tasks>,
    btf: OnceLock<Option<Btf>>,
    events: OnceLock<EventTable>,
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts").field("places", &self.places).finish_non_exhaustive()
    }
}

/// All `format` files, and the events made of those that were asked for.
#[derive(Default)]
struct EventTable {
    ftrace: Vec<u8>,
    others: Vec<u8>,
    systems: Vec<String>,
    texts: Vec<EventText>,
    by_id: FxHashMap<u16, usize>,
}

struct EventText {
    system: usize,
    of_ftrace: bool,
    text: Range<usize>,
    id: Option<u16>,
    event: OnceLock<Option<Event>>,
}

/// Size of the number before a text in its section.
#[derive(Clone, Copy)]
enum Length {
    U32,
    U64,
    None,
}

impl Texts {
    pub(crate) fn new(
        source: Arc<dyn ReadAt>,
        codec: Codec,
        places: Places,
        header_page: Vec<u8>,
        header_event: Vec<u8>,
        lost: Option<Warning>,
    ) -> Self {
        let lost = lost.map_or_else(OnceLock::new, OnceLock::from);
        Self {
            source,
            codec,
            places,
            header_page,
            header_event,
            lost,
            kallsyms: OnceLock::new(),
            more_kallsyms: Vec::new(),
            printk: OnceLock::new(),
            cmdlines: OnceLock::new(),
            latency: OnceLock::new(),
            symbols: OnceLock::new(),
            printk_formats: OnceLock::new(),
            tasks: OnceLock::new(),
            btf: OnceLock::new(),
            events: OnceLock::new(),
        }
    }

    pub(super) fn header_page(&self) -> &[u8] {
        &self.header_page
    }

    pub(super) fn header_event(&self) -> &[u8] {
        &self.header_event
    }

    /// Reads all texts of version 7, whose sections may not decompress; the first that is lost.
    pub(super) fn first_lost(&self, metadata: &Metadata) -> Option<&Warning> {
        if metadata.version >= 7 {
            self.events(metadata);
            self.kallsyms(metadata);
            self.printk(metadata);
            self.cmdlines(metadata);
        }
        self.lost.get()
    }

    pub(super) fn kallsyms(&self, metadata: &Metadata) -> &[u8] {
        self.kallsyms
            .get_or_init(|| self.load(metadata, self.places.kallsyms.as_ref(), Length::U32))
    }

    pub(super) fn printk(&self, metadata: &Metadata) -> &[u8] {
        self.printk.get_or_init(|| self.load(metadata, self.places.printk.as_ref(), Length::U32))
    }

    pub(super) fn cmdlines(&self, metadata: &Metadata) -> &[u8] {
        self.cmdlines
            .get_or_init(|| self.load(metadata, self.places.cmdlines.as_ref(), Length::U64))
    }

    pub(super) fn latency(&self, metadata: &Metadata) -> Option<&[u8]> {
        let place = self.places.latency.as_ref()?;
        Some(self.latency.get_or_init(|| self.load(metadata, Some(place), Length::None)))
    }

    pub(super) fn symbols(&self, metadata: &Metadata) -> &Symbols {
        // Not kept twice: the table takes the text, unless it was asked for by itself.
        self.symbols.get_or_init(|| {
            let own = match self.kallsyms.get() {
                Some(text) => text.clone(),
                None => self.load(metadata, self.places.kallsyms.as_ref(), Length::U32),
            };
            match self.more_kallsyms.as_slice() {
                [] => Symbols::parse(own),
                more => Symbols::parse([more, &own].concat()),
            }
        })
    }

    pub(super) fn add_kallsyms(&mut self, text: &[u8]) {
        self.more_kallsyms.extend_from_slice(text);
        if !text.ends_with(b"\n") {
            self.more_kallsyms.push(b'\n');
        }
    }

    pub(super) fn printk_formats(&self, metadata: &Metadata) -> &PrintkFormats {
        self.printk_formats.get_or_init(|| PrintkFormats::parse(self.printk(metadata)))
    }

    pub(super) fn tasks(&self, metadata: &Metadata) -> &Tasks {
        self.tasks.get_or_init(|| match metadata.damage {
            Damage::LeaveOut => Tasks::parse(self.cmdlines(metadata)),
            Damage::AsFound => Tasks::parse_until_damage(self.cmdlines(metadata)),
        })
    }

    pub(super) fn btf(&self, metadata: &Metadata) -> Option<&Btf> {
        let btf = self.btf.get_or_init(|| {
            let (at, header) = metadata.option_section(OptionId::BTF_FILE)?;
            let left_out = |cause: String| {
                metadata.warn(Some(at), format!("types of the kernel left out: {cause}"));
            };
            let bytes = metadata.section_body(at, &header);
            let bytes = bytes.map_err(|error| left_out(error.to_string())).ok()?;
            Btf::parse(bytes).map_err(|error| left_out(error.to_string())).ok()
        });
        btf.as_ref()
    }

    pub(super) fn event_texts(&self, metadata: &Metadata) -> impl Iterator<Item = FormatText<'_>> {
        let table = self.events(metadata);
        table.texts.iter().map(|text| FormatText {
            system: table.system(text),
            text: table.text(text),
            id: text.id,
        })
    }

    pub(super) fn event(&self, metadata: &Metadata, id: u16) -> Option<&Event> {
        let table = self.events(metadata);
        let entry = table.texts.get(*table.by_id.get(&id)?)?;
        let event = entry.event.get_or_init(|| {
            let (system, text) = (table.system(entry), table.text(entry));
            Event::new(system, text, metadata.abi)
                .map_err(|error| {
                    let message = format!("event {id} of {system}: {error}");
                    metadata.warn(Some(self.offset_of(entry)), message);
                })
                .ok()
        });
        event.as_ref()
    }

    /// Where a text is in the file.
    fn offset_of(&self, entry: &EventText) -> u64 {
        let place =
            if entry.of_ftrace { &self.places.ftrace_events } else { &self.places.event_formats };
        place.as_ref().map_or(0, |place| place.offset.saturating_add(entry.text.start as u64))
    }

    fn events(&self, metadata: &Metadata) -> &EventTable {
        self.events.get_or_init(|| {
            EventTable::new(
                self.load(metadata, self.places.ftrace_events.as_ref(), Length::None),
                self.load(metadata, self.places.event_formats.as_ref(), Length::None),
                &self.places,
                metadata,
            )
        })
    }

    /// What cannot be read is left out, with a warning.
    fn load(&self, metadata: &Metadata, place: Option<&Place>, length: Length) -> Vec<u8> {
        let Some(place) = place else { return Vec::new() };
        let mut text = match section::load(&*self.source, self.codec, place, metadata.abi) {
            Ok(text) => text,
            Err(error) => {
                let (offset, message) = (Some(place.offset), format!("text left out: {error}"));
                self.lost.get_or_init(|| Warning { offset, message: message.clone() });
                metadata.warn(offset, message);
                return Vec::new();
            }
        };
        let mut cursor = Cursor::new(&text, place.offset, metadata.abi.byte_order);
        let claimed = match length {
            Length::None => return text,
            Length::U32 => cursor.u32().map(u64::from),
            Length::U64 => cursor.u64(),
        };
        let rest = cursor.rest().len();
        let claimed = claimed.unwrap_or(0);
        if claimed > rest as u64 {
            let message = format!("text of {claimed} bytes ends after {rest}");
            let offset = Some(place.offset);
            self.lost.get_or_init(|| Warning { offset, message: message.clone() });
            metadata.warn(offset, message);
        }
        let len = usize::try_from(claimed).map_or(rest, |claimed| claimed.min(rest));
        let start = text.len() - rest;
        text.truncate(start + len);
        text.drain(..start);
        text
    }
}

impl EventTable {
    fn new(ftrace: Vec<u8>, others: Vec<u8>, places: &Places, metadata: &Metadata) -> Self {
        let mut table = Self { ftrace, others, ..Self::default() };
        let offset = |place: &Option<Place>| place.as_ref().map_or(0, |place| place.offset);
        let (ftrace_at, others_at) = (offset(&places.ftrace_events), offset(&places.event_formats));
        let found = table
            .find_ftrace(ftrace_at, metadata)
            .and_then(|()| table.find_others(others_at, metadata));
        if let Err(error) = found {
            let offset = Some(error.offset());
            let message = format!("event formats after a damaged one left out: {error}");
            metadata.texts.lost.get_or_init(|| Warning { offset, message: message.clone() });
            metadata.warn(offset, message);
        }
        table
    }

    fn system(&self, entry: &EventText) -> &str {
        self.systems.get(entry.system).map_or("", String::as_str)
    }

    fn text(&self, entry: &EventText) -> &[u8] {
        let bytes = if entry.of_ftrace { &self.ftrace } else { &self.others };
        bytes.get(entry.text.clone()).unwrap_or_default()
    }

    fn find_ftrace(&mut self, at: u64, metadata: &Metadata) -> Result<(), DecodeError> {
        self.systems.push("ftrace".to_owned());
        if self.ftrace.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.ftrace);
        let mut cursor = Cursor::new(&bytes, at, metadata.abi.byte_order);
        let found = self.find_texts(&mut cursor, bytes.len(), true);
        self.ftrace = bytes;
        found
    }

    fn find_others(&mut self, at: u64, metadata: &Metadata) -> Result<(), DecodeError> {
        if self.others.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.others);
        let mut cursor = Cursor::new(&bytes, at, metadata.abi.byte_order);
        let found = (|| {
            for _ in 0..cursor.u32()? {
                self.systems.push(String::from_utf8_lossy(cursor.str0()?).into_owned());
                self.find_texts(&mut cursor, bytes.len(), false)?;
            }
            Ok(())
        })();
        self.others = bytes;
        found
    }

    /// Finds the texts of one system: their number, then each with its size.
    fn find_texts(
        &mut self,
        cursor: &mut Cursor<'_>,
        len: usize,
        of_ftrace: bool,
    ) -> Result<(), DecodeError> {
        let system = self.systems.len() - 1;
        for _ in 0..cursor.u32()? {
            let size = cursor.u64()?;
            let start = len - cursor.rest().len();
            let text = cursor.take(size)?;
            let id = event_id(text);
            if let Some(id) = id {
                self.by_id.entry(id).or_insert(self.texts.len());
            }
            let text = start..start + text.len();
            self.texts.push(EventText { system, of_ftrace, text, id, event: OnceLock::new() });
        }
        Ok(())
    }
}

/// The number in the line `ID: n`, without parsing the rest.
fn event_id(text: &[u8]) -> Option<u16> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"ID:"))?;
    str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_id_is_the_number_of_its_line() {
        assert_eq!(event_id(b"name: a\nID: 317\nformat:\n"), Some(317));
        assert_eq!(event_id(b"name: ID: 1\nformat:\n"), None);
        assert_eq!(event_id(b"name: a\nID: 70000\n"), None);
    }
}
