//! All that is known about a trace apart from its records.

mod cpu_stat;
mod option;
mod sections;
mod texts;

pub use cpu_stat::{CpuStat, KernelStat, RecorderStat};
pub use option::{Guest, OptionValue, ProcMaps, TscToNsec, VirtualCpu};
pub use texts::FormatText;

pub(crate) use option::{guest, selected_clock, time_shift, trace_id};
pub(crate) use texts::{Places, Texts};

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::abi::Abi;
use crate::btf::Btf;
use crate::clock::{TimeError, TimeShift};
use crate::event::Event;
use crate::layout::{OptionId, SectionHeader};
use crate::print_fmt::Names;
use crate::printk_formats::PrintkFormats;
use crate::read::Damage;
use crate::ring_buffer::HeaderPage;
use crate::symbols::Symbols;
use crate::tasks::Tasks;

/// All that is known about a trace apart from its records. Texts are read from the file, and
/// tables built from them, when first asked for.
#[derive(Debug)]
pub struct Metadata {
    /// Version of the file: 6 or 7.
    pub version: u16,
    /// Byte order and `long` size of the traced kernel.
    pub abi: Abi,
    /// Size of `long` in the program that recorded, in bytes.
    pub user_long_size: u8,
    /// Sub-buffer size as the file's start tells it, in bytes.
    pub page_size: u32,
    /// Size of the file, in bytes.
    pub file_size: u64,
    /// How version 7 compressed its sections.
    pub compression: Compression,
    /// Layout of a sub-buffer's header.
    pub header_page: HeaderPage,
    /// CPUs of the traced machine.
    pub cpus: u32,
    /// The buffers (instances), the top-level one first.
    pub buffers: Vec<Buffer>,
    /// Sections of version 7 as found, by offset of their header.
    pub sections: Vec<(u64, SectionHeader)>,
    /// Where the first section of version 7 is.
    pub(crate) first_section: u64,
    /// Where version 6 has the clock of the top-level buffer, its size first.
    pub(crate) clock_text_at: Option<u64>,
    pub(crate) options: Vec<OptionValue>,
    pub(crate) trace_id: Option<u64>,
    pub(crate) time_shifts: Vec<TimeShift>,
    pub(crate) guests: Vec<Guest>,
    pub(crate) texts: Texts,
    pub(crate) damage: Damage,
    pub(crate) warnings: Mutex<Vec<Warning>>,
}

/// Name and version of the library that compressed a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// `none`, `zlib` or `zstd`.
    pub name: String,
    /// Version of the library, empty for `none`.
    pub version: String,
}

/// A buffer (instance) and where its data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Name of the instance, empty for the top-level one.
    pub name: String,
    /// Name of its trace clock, empty where the file does not tell.
    pub clock: String,
    /// Size of its sub-buffers, in bytes.
    pub page_size: u32,
    /// Whether its data is compressed.
    pub compressed: bool,
    /// Its CPUs; those without data may be left out.
    pub cpus: Vec<CpuData>,
}

/// Where a CPU's data lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuData {
    /// The CPU's number.
    pub cpu: u32,
    /// Offset of its first sub-buffer or chunk.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
}

/// Something in a file that could not be used, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it is in the file, when it has a place.
    pub offset: Option<u64>,
    /// What is wrong and what was skipped.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "at offset {offset:#x}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Metadata {
    /// All options in the order of the file, unknown ones included, as they are in the file.
    pub fn options(&self) -> &[OptionValue] {
        &self.options
    }

    /// The options with an identifier.
    pub fn options_of(&self, id: OptionId) -> impl Iterator<Item = &OptionValue> {
        self.options.iter().filter(move |option| option.id == id)
    }

    /// What could not be used so far.
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn warn(&self, offset: Option<u64>, message: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.push(Warning { offset, message });
    }

    /// Name of the trace clock of the top-level buffer, the one in brackets in `trace_clock`.
    pub fn trace_clock(&self) -> Option<&str> {
        selected_clock(self.trace_clock_text()?)
    }

    /// Text of `trace_clock` with all clocks.
    pub fn trace_clock_text(&self) -> Option<&str> {
        self.text_option(OptionId::TRACE_CLOCK)
    }

    /// System, host, release and machine.
    pub fn uname(&self) -> Option<&str> {
        self.text_option(OptionId::UNAME)
    }

    /// Version of the program that recorded.
    pub fn version_text(&self) -> Option<&str> {
        self.text_option(OptionId::VERSION)
    }

    /// Statistics of the buffers' CPUs at the end of the recording, in file order: what was lost in
    /// the kernel and on the way to the file.
    pub fn cpu_stats(&self) -> impl Iterator<Item = CpuStat<'_>> {
        cpu_stat::cpu_stats(&self.options)
    }

    /// Address ranges of recorded processes, one text each.
    pub fn proc_maps(&self) -> impl Iterator<Item = ProcMaps<'_>> {
        self.options_of(OptionId::PROC_MAPS).filter_map(option::proc_maps)
    }

    /// Microseconds to add to the time stamps for wall-clock time; the sum, where there are several.
    pub fn date(&self) -> Option<i64> {
        self.sum_of(OptionId::DATE)
    }

    /// Microseconds by which [`date`](Self::date) may be wrong; `None` where that was not told.
    pub fn date_uncertainty(&self) -> Option<u64> {
        let all = self.options_of(OptionId::DATE).map(|option| option::uncertainty(&option.data));
        all.reduce(|sum, one| sum?.checked_add(one?)).flatten()
    }

    /// Nanoseconds to add to the time stamps; the sum, where there are several.
    pub fn ts_offset(&self) -> Option<i64> {
        self.sum_of(OptionId::OFFSET)
    }

    /// How cycles become nanoseconds.
    pub fn tsc_to_nsec(&self) -> Option<TscToNsec> {
        let option = self.options_of(OptionId::TSC_TO_NSEC).last()?;
        option::tsc_to_nsec(option, self.abi)
    }

    /// What names this trace in files of other machines.
    pub fn trace_id(&self) -> Option<u64> {
        self.trace_id
    }

    /// The guests traced together with this machine.
    pub fn guests(&self) -> &[Guest] {
        &self.guests
    }

    /// Correction of this guest's clock to that of its host.
    pub fn time_shift(&self) -> Option<&TimeShift> {
        self.time_shifts.last()
    }

    /// How wrong that correction may be, where the file tells.
    pub fn time_error(&self) -> Option<TimeError> {
        option::time_error(self.options_of(OptionId::TIME_ERROR).last()?, self.abi)
    }

    /// Text of `header_event`.
    pub fn header_event_text(&self) -> &[u8] {
        self.texts.header_event()
    }

    /// Text of `header_page`.
    pub fn header_page_text(&self) -> &[u8] {
        self.texts.header_page()
    }

    /// The `format` files, ftrace's own events first with system `ftrace`.
    pub fn event_texts(&self) -> impl Iterator<Item = FormatText<'_>> {
        self.texts.event_texts(self)
    }

    /// Text of `kallsyms`; empty when the file has none.
    pub fn kallsyms_text(&self) -> &[u8] {
        self.texts.kallsyms(self)
    }

    /// Text of `printk_formats`; empty when the file has none.
    pub fn printk_text(&self) -> &[u8] {
        self.texts.printk(self)
    }

    /// Text of `saved_cmdlines`; empty when the file has none.
    pub fn cmdlines_text(&self) -> &[u8] {
        self.texts.cmdlines(self)
    }

    /// The first text or option that the file should have and that cannot be read.
    pub(crate) fn first_lost(&self) -> Option<&Warning> {
        self.texts.first_lost(self)
    }

    /// The text of `trace` that a latency tracer left, instead of records.
    pub fn latency_text(&self) -> Option<&[u8]> {
        self.texts.latency(self)
    }

    /// The kernel's functions by address.
    pub fn symbols(&self) -> &Symbols {
        self.texts.symbols(self)
    }

    /// Adds functions to those of the file, as text of `kallsyms`; at the same address they go before the file's own.
    /// To be called before the first use of [`Metadata::symbols`].
    pub fn add_kallsyms(&mut self, text: &[u8]) {
        self.texts.add_kallsyms(text);
    }

    /// Format strings of `trace_printk` by address.
    pub fn printk_formats(&self) -> &PrintkFormats {
        self.texts.printk_formats(self)
    }

    /// The kernel's types, where version 7 has them.
    pub fn btf(&self) -> Option<&Btf> {
        self.texts.btf(self)
    }

    /// Names of tasks by pid.
    pub fn tasks(&self) -> &Tasks {
        self.texts.tasks(self)
    }

    /// The event that records with this number are of; its format is parsed when first asked for.
    pub fn event_by_id(&self, id: u16) -> Option<&Event> {
        self.texts.event(self, id)
    }

    fn sum_of(&self, id: OptionId) -> Option<i64> {
        let numbers = self.options_of(id).map(|option| option::number(&option.data));
        numbers.reduce(i64::wrapping_add)
    }

    fn text_option(&self, id: OptionId) -> Option<&str> {
        self.options_of(id).last().map(|option| option::text(&option.data))
    }
}

impl Names for Metadata {
    fn symbols(&self) -> &Symbols {
        Self::symbols(self)
    }

    fn printk_formats(&self) -> &PrintkFormats {
        Self::printk_formats(self)
    }

    fn btf(&self) -> Option<&Btf> {
        Self::btf(self)
    }
}
