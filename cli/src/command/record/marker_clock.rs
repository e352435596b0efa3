//! Stamps of trace clocks that only the kernel can read: markers in an instance of their own.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::OFlag;
use trace_transport::session::agent::Mark;
use trace_virt::agent::{MarkClock, UserClock};
use trace_virt::time_sync::Clock;
use tracedat::Abi;
use tracedat::ring_buffer::{HeaderPage, SubBuffer};
use tracefs::{Changes, RawMarker, TracingDir};

use super::local::kernel_error;
use crate::error::Error;

/// Where an entry has its id: behind the fields that all events have.
const ID_AT: usize = 8;
/// Sub-buffers that are read of a CPU at most; a round fills a few.
const MAX_READS: usize = 64;

/// What stamps of this trace clock are made with.
///
/// # Errors
/// The kernel has no such clock, or no markers.
pub(crate) fn mark_clock(clock: &str) -> Result<Box<dyn MarkClock>, Error> {
    match Clock::of_trace_clock(clock) {
        Ok(clock) => Ok(Box::new(UserClock::new(clock))),
        Err(_) => Ok(Box::new(MarkerClock::new(clock)?)),
    }
}

/// Markers in an instance of their own, which is removed in the end.
struct MarkerClock {
    // Dropped first: an open file would keep the instance from being removed.
    marker: Option<RawMarker>,
    buffers: Vec<File>,
    header_page: HeaderPage,
    page: Vec<u8>,
    changes: Option<Changes>,
}

impl MarkerClock {
    fn new(clock: &str) -> Result<Self, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let dir = TracingDir::find_or_mount().map_err(kernel_error)?;
        let mut changes = Changes::new();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("trace-cmd-sync-{}-{number}", std::process::id());
        let (instance, _) = changes.create_instance(&dir, &name).map_err(kernel_error)?;
        changes.set_trace_clock(&instance, clock).map_err(kernel_error)?;
        let size = instance.sub_buffer_size().map_err(kernel_error)?;
        let text = dir.file("events/header_page").read().map_err(kernel_error)?;
        let page_size = super::file::page_size(size)?;
        let header_page = HeaderPage::parse(&text, Abi::NATIVE, page_size).map_err(|error| {
            Error::failure("the sub-buffers of this kernel are not understood").because(error)
        })?;
        let mut buffers = Vec::new();
        for cpu in instance.cpus().map_err(kernel_error)? {
            let path = instance.cpu_file(cpu, "trace_pipe_raw").path().to_owned();
            let mut options = File::options();
            let opened = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
            buffers.push(opened.map_err(|error| {
                Error::failure(format!("cannot read {}", path.display())).because(error)
            })?);
        }
        Ok(Self {
            marker: Some(instance.raw_marker().map_err(kernel_error)?),
            buffers,
            header_page,
            page: vec![0; size],
            changes: Some(changes),
        })
    }
}

impl MarkClock for MarkerClock {
    fn mark(&mut self, mark: Mark) {
        if let Some(marker) = &self.marker {
            // One that is missing costs a probe.
            let _ = marker.write(id_of(mark), &[]);
        }
    }

    fn take(&mut self) -> Result<Vec<(Mark, u64)>, String> {
        let mut marks = Vec::new();
        for buffer in &mut self.buffers {
            for _ in 0..MAX_READS {
                let count = match buffer.read(&mut self.page) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(format!("reading markers: {error}")),
                };
                let bytes = self.page.get(..count).unwrap_or_default();
                let order = Abi::NATIVE.byte_order;
                let entries = SubBuffer::parse(bytes, &self.header_page, order);
                for entry in entries.map_err(|error| format!("reading markers: {error}"))? {
                    let (time, data) =
                        entry.map_err(|error| format!("reading markers: {error}"))?;
                    let id = data.get(ID_AT..).and_then(|rest| rest.first_chunk::<4>());
                    marks.extend(id.map(|id| (mark_of(u32::from_ne_bytes(*id)), time)));
                }
            }
        }
        Ok(marks)
    }
}

impl Drop for MarkerClock {
    fn drop(&mut self) {
        self.marker = None;
        self.buffers.clear();
        if let Some(changes) = self.changes.take()
            && let Err(error) = changes.restore()
        {
            crate::output::tell(&format!("an instance could not be removed: {error}"));
        }
    }
}

fn id_of(mark: Mark) -> u32 {
    match mark {
        Mark::Sent(number) => number << 1,
        Mark::Received(number) => number << 1 | 1,
    }
}

fn mark_of(id: u32) -> Mark {
    if id & 1 == 0 { Mark::Sent(id >> 1) } else { Mark::Received(id >> 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_as_made() {
        for mark in [Mark::Sent(1), Mark::Received(1), Mark::Sent(339), Mark::Received(0)] {
            assert_eq!(mark_of(id_of(mark)), mark);
        }
    }
}
