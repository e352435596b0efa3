//! What a trace must carry along to be read on another machine, as plain bytes.

use std::fs::{self, File};
use std::io::Read;

use crate::control_file::ControlFile;
use crate::cpu_mask::CpuMask;
use crate::error::Error;
use crate::event::{EventName, EventSelection};
use crate::instance::Instance;
use crate::sys;
use crate::tracing_dir::{TracingDir, directory_names};

/// The `format` files of one system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemFormats {
    /// The system: `sched`.
    pub system: String,
    /// One text per event.
    pub formats: Vec<Vec<u8>>,
}

/// The format texts of a kernel, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    /// `events/ftrace/*/format`.
    pub ftrace: Vec<Vec<u8>>,
    /// `events/SYSTEM/*/format`, by system.
    pub events: Vec<SystemFormats>,
}

impl Formats {
    /// Reads the formats of these events, or of all events for `None`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn read(dir: &TracingDir, events: Option<&EventSelection>) -> Result<Self, Error> {
        let top = dir.top();
        let names: Vec<EventName> = match events {
            Some(selection) => selection.events().collect(),
            None => top.events()?,
        };
        Ok(Self { ftrace: ftrace_formats(&top)?, events: formats(&top, names)? })
    }
}

/// Texts of the kernel, as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// `events/header_page`. It tells the size of a sub-buffer, so read it after that was set.
    pub header_page: Vec<u8>,
    /// `events/header_event`.
    pub header_event: Vec<u8>,
    /// `events/ftrace/*/format`.
    pub ftrace_formats: Vec<Vec<u8>>,
    /// `events/SYSTEM/*/format`, by system.
    pub event_formats: Vec<SystemFormats>,
    /// `/proc/kallsyms`; empty where it may not be read.
    pub kallsyms: Vec<u8>,
    /// `printk_formats`; empty where there is none.
    pub printk_formats: Vec<u8>,
}

impl Capture {
    /// Reads everything now. `events`: whose formats; `None` for those of all events.
    ///
    /// # Errors
    /// What the kernel answers for the files no trace can be read without: headers and formats.
    pub fn read(dir: &TracingDir, events: Option<&EventSelection>) -> Result<Self, Error> {
        Self::read_with(dir, events, Symbols::open().collect::<Vec<_>>().concat())
    }

    /// The same with `/proc/kallsyms` as it was read before, which takes longer than all else.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with(
        dir: &TracingDir,
        events: Option<&EventSelection>,
        kallsyms: Vec<u8>,
    ) -> Result<Self, Error> {
        let formats = Formats::read(dir, events)?;
        Ok(Self {
            header_page: dir.file("events/header_page").read()?,
            header_event: dir.file("events/header_event").read()?,
            ftrace_formats: formats.ftrace,
            event_formats: formats.events,
            printk_formats: optional(&dir.file("printk_formats")),
            kallsyms,
        })
    }
}

/// Bytes of the symbols in a piece.
const SYMBOLS_PIECE: u64 = 256 << 10;

/// `/proc/kallsyms`, piece by piece, so that a piece can be worked on while the kernel makes the
/// next one. Empty where it may not be read.
#[derive(Debug)]
pub struct Symbols(Option<File>);

impl Symbols {
    /// Opens it.
    pub fn open() -> Self {
        Self(ControlFile::at("/proc/kallsyms").open().ok())
    }
}

impl Iterator for Symbols {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let file = self.0.as_ref()?;
        let mut piece = Vec::with_capacity(SYMBOLS_PIECE as usize);
        // The kernel gives a page at a time, whatever is asked for.
        let read = file.take(SYMBOLS_PIECE).read_to_end(&mut piece);
        (read.is_ok() && !piece.is_empty()).then_some(piece)
    }
}

/// `events/header_page` and `events/header_event`: how a sub-buffer is laid out, without which no
/// data can be read.
///
/// # Errors
/// What the kernel answers.
pub fn headers(dir: &TracingDir) -> Result<[Vec<u8>; 2], Error> {
    Ok([dir.file("events/header_page").read()?, dir.file("events/header_event").read()?])
}

/// `saved_cmdlines`: names of the tasks seen, `PID COMM` per line. Read it at the end.
///
/// # Errors
/// What the kernel answers.
pub fn saved_cmdlines(dir: &TracingDir) -> Result<Vec<u8>, Error> {
    dir.file("saved_cmdlines").read()
}

/// The text of `trace_clock`, as `[local] global counter …`.
///
/// # Errors
/// What the kernel answers.
pub fn trace_clock(instance: &Instance) -> Result<Vec<u8>, Error> {
    instance.file("trace_clock").read()
}

/// This machine in one line: system, node name, release, machine.
pub fn uname() -> String {
    sys::uname().join(" ")
}

/// How many CPUs the kernel may ever number: the highest possible one, plus one.
pub fn possible_cpus() -> u32 {
    cpus("possible").iter().last().map_or(1, |last| last + 1)
}

/// How many CPUs run now.
pub fn online_cpus() -> u32 {
    u32::try_from(cpus("online").len()).unwrap_or(u32::MAX).max(1)
}

/// The page size of this machine in bytes.
pub fn page_size() -> usize {
    sys::page_size()
}

fn cpus(which: &str) -> CpuMask {
    let text = fs::read_to_string(format!("/sys/devices/system/cpu/{which}")).unwrap_or_default();
    CpuMask::parse_list(&text).unwrap_or_default()
}

/// The formats of the kernel's own entries; they have no `enable` and are in no list.
fn ftrace_formats(top: &Instance) -> Result<Vec<Vec<u8>>, Error> {
    let names = directory_names(&top.path().join("events/ftrace"))?;
    let read = |event| top.event_format(&EventName::new("ftrace", event));
    names.into_iter().map(read).filter_map(present).collect()
}

fn formats(top: &Instance, names: Vec<EventName>) -> Result<Vec<SystemFormats>, Error> {
    let mut systems: Vec<SystemFormats> = Vec::new();
    for name in names.into_iter().filter(|name| name.system != "ftrace") {
        let Some(format) = present(top.event_format(&name)).transpose()? else { continue };
        match systems.last_mut() {
            Some(last) if last.system == name.system => last.formats.push(format),
            _ => systems.push(SystemFormats { system: name.system, formats: vec![format] }),
        }
    }
    Ok(systems)
}

/// An event whose module has gone meanwhile has no format any more.
fn present(read: Result<Vec<u8>, Error>) -> Option<Result<Vec<u8>, Error>> {
    match read {
        Err(Error::NotSupported { .. }) => None,
        // It went between opening and reading.
        Err(Error::Control { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => None,
        other => Some(other),
    }
}

fn optional(file: &ControlFile) -> Vec<u8> {
    file.read().unwrap_or_default()
}
