//! What a trace must carry along to be read on another machine, as plain bytes.

use std::fs;
use std::thread::{self, JoinHandle};

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
        Self::read_with(dir, events, PendingSymbols(None))
    }

    /// Reads everything in a thread, while something else goes on.
    pub fn spawn(dir: &TracingDir, events: Option<EventSelection>) -> PendingCapture {
        Self::spawn_with(dir, events, PendingSymbols(None))
    }

    /// The same with symbols that are on their way already.
    pub fn spawn_with(
        dir: &TracingDir,
        events: Option<EventSelection>,
        symbols: PendingSymbols,
    ) -> PendingCapture {
        let reader = {
            let (dir, events) = (dir.clone(), events.clone());
            thread::Builder::new()
                .name("trace-capture".to_owned())
                .spawn(move || Self::read_with(&dir, events.as_ref(), symbols))
        };
        PendingCapture { dir: dir.clone(), events, reader: reader.ok() }
    }

    fn read_with(
        dir: &TracingDir,
        events: Option<&EventSelection>,
        symbols: PendingSymbols,
    ) -> Result<Self, Error> {
        let formats = Formats::read(dir, events)?;
        Ok(Self {
            header_page: dir.file("events/header_page").read()?,
            header_event: dir.file("events/header_event").read()?,
            ftrace_formats: formats.ftrace,
            event_formats: formats.events,
            printk_formats: optional(&dir.file("printk_formats")),
            kallsyms: symbols.finish(),
        })
    }
}

/// The symbols of the kernel on their way. They take longer than all else, and depend on nothing, so
/// they can be asked for before anything else is known.
#[derive(Debug)]
pub struct PendingSymbols(Option<JoinHandle<Vec<u8>>>);

impl PendingSymbols {
    /// Reads `/proc/kallsyms` in a thread.
    pub fn spawn() -> Self {
        let reader = thread::Builder::new().name("trace-symbols".to_owned()).spawn(symbols);
        Self(reader.ok())
    }

    fn finish(self) -> Vec<u8> {
        match self.0.map(JoinHandle::join) {
            Some(Ok(symbols)) => symbols,
            None | Some(Err(_)) => symbols(),
        }
    }
}

/// Empty where they may not be read.
fn symbols() -> Vec<u8> {
    // The kernel gives a page at a time, whatever is asked for.
    optional(&ControlFile::at("/proc/kallsyms"))
}

/// A capture on its way.
#[derive(Debug)]
pub struct PendingCapture {
    dir: TracingDir,
    events: Option<EventSelection>,
    reader: Option<JoinHandle<Result<Capture, Error>>>,
}

impl PendingCapture {
    /// Whether it has come.
    pub fn is_ready(&self) -> bool {
        self.reader.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits for it. Where no thread could be had, reads it now.
    ///
    /// # Errors
    /// As [`Capture::read`].
    pub fn finish(self) -> Result<Capture, Error> {
        match self.reader.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            None | Some(Err(_)) => Capture::read(&self.dir, self.events.as_ref()),
        }
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
