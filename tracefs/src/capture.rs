//! What a trace must carry along to be read on another machine, as plain bytes.

use crate::error::Error;
use crate::event::EventSelection;
use crate::instance::Instance;
use crate::tracing_dir::TracingDir;

/// The `format` files of one system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemFormats {
    /// The system: `sched`.
    pub system: String,
    /// One text per event.
    pub formats: Vec<Vec<u8>>,
}

/// Texts of the kernel, as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// `events/header_page`.
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
    /// What the kernel answers for the files no trace can be read without.
    pub fn read(dir: &TracingDir, events: Option<&EventSelection>) -> Result<Self, Error> {
        let _ = (dir, events);
        unimplemented!()
    }

    /// Reads everything in a thread, while something else goes on.
    pub fn spawn(dir: &TracingDir, events: Option<EventSelection>) -> PendingCapture {
        let _ = (dir, events);
        unimplemented!()
    }
}

/// A capture on its way.
#[derive(Debug)]
pub struct PendingCapture {}

impl PendingCapture {
    /// Waits for it.
    ///
    /// # Errors
    /// As [`Capture::read`].
    pub fn finish(self) -> Result<Capture, Error> {
        unimplemented!()
    }
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

/// The stats of one CPU as the file stores them: a line `CPU: N`, then the kernel's text.
///
/// # Errors
/// What the kernel answers.
pub fn cpu_stats(instance: &Instance, cpu: u32) -> Result<String, Error> {
    Ok(format!("CPU: {cpu}\n{}", instance.buffer_stats_text(cpu)?))
}

/// `uname` in one line: system, node, release, machine.
pub fn uname() -> String {
    unimplemented!()
}

/// How many CPUs the kernel may ever have, as `/sys/devices/system/cpu/possible` says.
pub fn possible_cpus() -> u32 {
    unimplemented!()
}

/// How many CPUs run now.
pub fn online_cpus() -> u32 {
    unimplemented!()
}

/// The page size of this machine in bytes.
pub fn page_size() -> usize {
    crate::sys::page_size()
}
