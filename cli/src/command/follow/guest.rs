//! A guest whose data is followed: the sub-buffers of each CPU become whole, and go on to who takes their records.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trace_virt::host::{CpuReport, GuestSession};
use tracedat::layout::OptionId;
use tracedat::{ByteOrder, Metadata};

use super::channel::{Channel, Sender};
use super::machine::{FollowedMachine, Place};
use crate::command::received;
use crate::command::record::guests::file::Closed;
use crate::command::record::guests::output::GuestOutput;
use crate::command::record::guests::sink::GuestSink;
use crate::command::record::multiplex::{Contents, distribute};
use crate::command::record::plan::GuestPlan;
use crate::error::Error;
use crate::exit_code::Exit;

/// Where the data of a guest goes.
pub(super) struct LiveGuest {
    /// Until it is asked for.
    machine: Option<FollowedMachine>,
    byte_order: ByteOrder,
    trace_id: u64,
    /// Of each CPU.
    counts: Vec<Count>,
}

/// Bytes of a CPU.
#[derive(Clone, Default)]
struct Count {
    /// Those that are no data.
    headers: Arc<AtomicU64>,
    /// Those that went on.
    passed: Arc<AtomicU64>,
}

impl LiveGuest {
    /// What is known of it, once.
    pub(super) fn take_machine(&mut self) -> Option<FollowedMachine> {
        self.machine.take()
    }
}

impl GuestSink for LiveGuest {
    type Place = Channel;

    const KEPT: &'static str = "printed";

    fn open(channel: Channel, session: &mut GuestSession, plan: &GuestPlan) -> Result<Self, Error> {
        let of_guest = |error: Error| {
            Error::new(Exit::Guest, format!("guest {}", plan.title())).because(error.to_string())
        };
        if session.recent_samples().is_empty() {
            let error = of_guest(Error::failure("its clock cannot be compared with this one"));
            return Err(error.hint("record it into a file: trace-cmd record"));
        }
        let sent = std::mem::take(&mut session.head);
        let (page_size, cpus) = (session.sub_buffer_size, session.cpus);
        let read = Contents::read(&sent, &plan.instances, page_size, cpus, None);
        let Contents { buffers, head_at, has_frames } = read.map_err(of_guest)?;
        let metadata = received::head_in_memory(sent.get(head_at..).unwrap_or_default().to_vec());
        let metadata: Metadata = metadata.map_err(of_guest)?;
        let (byte_order, trace_id) =
            (metadata.abi.byte_order, metadata.trace_id().unwrap_or_default());
        let counts: Vec<Count> = (0..cpus).map(|_| Count::default()).collect();
        let mut places = Vec::new();
        let mut writers: Vec<Box<dyn Write + Send>> = Vec::new();
        for (cpu, count) in (0..).zip(&counts) {
            let recorded = buffers.iter().filter(|buffer| buffer.cpus.contains(&cpu));
            let instances = recorded.map(|buffer| {
                let sender = channel.sender();
                let name = buffer.name.clone();
                places.push(Place { sender: sender.place(), buffer: name, cpu });
                WholePages::new(sender, buffer.page_size, Arc::clone(&count.passed))
            });
            writers.push(distribute(instances.collect(), has_frames, &count.headers));
        }
        let machine = FollowedMachine::guest(plan.title(), metadata, buffers, places);
        session.collect_into(writers, None).map_err(|error| Error::failure("").because(error))?;
        Ok(Self { machine: Some(machine), byte_order, trace_id, counts })
    }

    /// Standard output has lines, and nothing else.
    fn output() -> GuestOutput {
        GuestOutput::to_stderr()
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn trace_id(&self) -> u64 {
        self.trace_id
    }

    fn byte_order(&self) -> ByteOrder {
        self.byte_order
    }

    fn close(
        self,
        tail: &[u8],
        _: Vec<(OptionId, Vec<u8>)>,
        came: &[CpuReport],
    ) -> Result<Closed, Error> {
        // A guest that is gone told nothing.
        let tail = Some(tail).filter(|tail| !tail.is_empty());
        let told = tail.and_then(|tail| received::head_in_memory(tail.to_vec()).ok());
        let discarded = came.iter().zip(&self.counts).map(|(came, count)| {
            let came = came.bytes.saturating_add(came.discarded);
            let gone_on = count.passed.load(Ordering::Acquire);
            came.saturating_sub(count.headers.load(Ordering::Relaxed)).saturating_sub(gone_on)
        });
        Ok(Closed {
            placements: Vec::new(),
            lost_events: told.as_ref().map_or(0, received::lost_events),
            discarded: discarded.collect(),
            problem: None,
        })
    }
}

/// Data comes in pieces of any length; a sub-buffer of which the end never comes is left out.
struct WholePages {
    sender: Sender,
    page_size: usize,
    page: Vec<u8>,
    passed: Arc<AtomicU64>,
}

impl WholePages {
    fn new(sender: Sender, page_size: u32, passed: Arc<AtomicU64>) -> Self {
        let page_size = usize::try_from(page_size).unwrap_or(usize::MAX).max(1);
        Self { sender, page_size, page: Vec::new(), passed }
    }

    fn pass_on(&self, pages: Box<[u8]>) -> io::Result<()> {
        let len = pages.len() as u64;
        self.sender.send(Some(pages))?;
        self.passed.fetch_add(len, Ordering::AcqRel);
        Ok(())
    }
}

impl Write for WholePages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let whole = bytes.len() / self.page_size * self.page_size;
        if self.page.is_empty() && whole > 0 {
            self.pass_on(bytes.get(..whole).unwrap_or_default().into())?;
            return Ok(whole);
        }
        let room = self.page_size.saturating_sub(self.page.len());
        let part = bytes.get(..room).unwrap_or(bytes);
        self.page.extend_from_slice(part);
        if self.page.len() >= self.page_size {
            let page = std::mem::take(&mut self.page);
            self.pass_on(page.into())?;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel;
    use super::*;

    #[test]
    fn pieces_of_any_length_go_on_as_whole_sub_buffers() {
        let all: Vec<u8> = (0..4 * 64 + 7).map(|at| at as u8).collect();
        for piece in [1, 3, 63, 64, 65, 128, 200] {
            let (channel, arrivals) = channel::open();
            let passed = Arc::default();
            let mut pages = WholePages::new(channel.sender(), 64, Arc::clone(&passed));
            for piece in all.chunks(piece) {
                pages.write_all(piece).unwrap();
            }
            let came: Vec<Box<[u8]>> =
                arrivals.here(usize::MAX).filter_map(|news| news.sub_buffers).collect();
            assert!(came.iter().all(|pages| pages.len().is_multiple_of(64)));
            assert_eq!(came.concat(), all[..256], "pieces of {piece}");
            assert_eq!(passed.load(Ordering::Relaxed), 256);
        }
    }
}
