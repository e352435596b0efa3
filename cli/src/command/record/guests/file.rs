//! The file of a guest while its data arrives: sub-buffers go to where they stay, and a recorder that
//! is killed leaves a file that can be read.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trace_virt::host::{CpuReport, GuestSession, HostError, Sink};
use tracedat::ByteOrder;
use tracedat::compress::Codec;
use tracedat::layout::OptionId;
use tracedat::write::{ChunkSink, PendingChunks, Placement, Recorded, Region, RegionFile};

use super::output::GuestOutput;
use super::sink::GuestSink;
use crate::command::received::{ArrivingHead, Complete, ReceivedFile};
use crate::command::record::multiplex::{Contents, distribute};
use crate::command::record::output::Output;
use crate::command::record::plan::{GuestPlan, guest_output};
use crate::error::Error;
use crate::exit_code::Exit;

/// The file beside the host's `output` that a guest's data is to arrive in.
///
/// # Errors
/// It cannot be made.
pub(crate) fn place_beside(output: &Path, plan: &GuestPlan) -> Result<Output, Error> {
    let path = guest_output(output, plan.title());
    // Nobody here has chosen the name of one that a guest started.
    if plan.is_own { Output::open_plain(&path) } else { Output::open(&path) }
}

/// A file that a guest's data arrives in.
pub(crate) struct GuestFile {
    file: ReceivedFile,
    /// Sub-buffers of each region.
    page_sizes: Vec<u32>,
    /// Whether ports carry frames of several instances.
    has_frames: bool,
    /// Who knows what is in each region; none where data is spliced.
    pending: Vec<Pending>,
    /// Bytes of each CPU that are no data.
    headers: Vec<Arc<AtomicU64>>,
}

/// Who knows what is in a region.
enum Pending {
    /// The thread that compresses.
    Chunks(PendingChunks),
    /// Who counted what was written.
    Plain { written: Arc<AtomicU64>, page_size: u32 },
}

/// A guest's file that is complete.
pub(crate) struct Closed {
    /// Where the data of each CPU is, by instance.
    pub(crate) placements: Vec<Placement>,
    /// Events that the guest's kernel says it lost.
    pub(crate) lost_events: u64,
    /// Bytes of each CPU that came and are not in the file.
    pub(crate) discarded: Vec<u64>,
    /// Why not all that came is in it.
    pub(crate) problem: Option<Error>,
}

impl GuestFile {
    /// Makes the file of what the guest sent first, with room for its data and that of `instances`. `clock` is its trace
    /// clock, where the head does not tell.
    ///
    /// # Errors
    /// What came is no head of a trace, or it cannot be written.
    pub(crate) fn create(
        output: Output,
        session: &mut GuestSession,
        instances: &[String],
        clock: Option<&str>,
    ) -> Result<Self, Error> {
        // It is in the file from here on.
        let sent = std::mem::take(&mut session.head);
        let (page_size, cpus) = (session.sub_buffer_size, session.cpus);
        let Contents { buffers, head_at, has_frames } =
            Contents::read(&sent, instances, page_size, cpus, clock)?;
        let sizes = buffers.iter().flat_map(|one| one.cpus.iter().map(|_| one.page_size));
        let page_sizes = sizes.collect();
        let mut head = ArrivingHead::new(output)?;
        head.add(sent.get(head_at..).unwrap_or_default())?;
        let file = head.complete(buffers)?;
        file.keep_room()?;
        let headers = (0..cpus).map(|_| Arc::default()).collect();
        Ok(Self { file, page_sizes, has_frames, pending: Vec::new(), headers })
    }

    /// Lets the guest's data flow into the file, at most `most` bytes of all CPUs together.
    ///
    /// # Errors
    /// The file cannot be opened once more, or no thread can be had.
    pub(crate) fn collect(
        &mut self,
        session: &mut GuestSession,
        most: Option<u64>,
    ) -> Result<(), Error> {
        let guest = |error: HostError| Error::failure("").because(error);
        // No CPU gets into the region of the next one, whatever the guest sends.
        let quota = self.file.regions().iter().map(|region| region.len).chain(most).min();
        if self.file.codec() == Codec::None && !self.has_frames {
            let sink = |offset| {
                let to = self.file.opened()?.into();
                Ok(Sink { to, offset: Some(offset) })
            };
            let sinks = self.file.regions().iter().map(|region| sink(region.offset));
            return session.collect(sinks.collect::<Result<_, Error>>()?, quota).map_err(guest);
        }
        let regions = self.file.regions().to_vec();
        let mut of_cpus: Vec<Vec<Box<dyn Write + Send>>> = Vec::new();
        of_cpus.resize_with(self.headers.len(), Vec::new);
        for (&region, page_size) in regions.iter().zip(self.page_sizes.clone()) {
            let writer = self.writer(region, page_size, regions.len())?;
            // Regions come by instance, so those of a CPU are in the order of instances.
            let of_cpu = usize::try_from(region.cpu).ok().and_then(|cpu| of_cpus.get_mut(cpu));
            if let Some(of_cpu) = of_cpu {
                of_cpu.push(writer);
            }
        }
        let writers = of_cpus.into_iter().zip(&self.headers);
        let writers = writers.map(|(cpu, headers)| distribute(cpu, self.has_frames, headers));
        let writers = writers.collect();
        session.collect_into(writers, quota).map_err(guest)
    }

    /// What writes to a region, one of `count`.
    fn writer(
        &mut self,
        region: Region,
        page_size: u32,
        count: usize,
    ) -> Result<Box<dyn Write + Send>, Error> {
        let file = self.file.opened()?;
        if self.file.codec() == Codec::None {
            let written = Arc::default();
            self.pending.push(Pending::Plain { written: Arc::clone(&written), page_size });
            return Ok(Box::new(PlainRegion { file, region, written }));
        }
        let target = RegionFile::new(file, region, self.file.byte_order());
        let started = ChunkSink::start(target, self.file.codec(), page_size, count, || {});
        let (sink, pending) = started.map_err(|error| self.file.output().failed(error))?;
        self.pending.push(Pending::Chunks(pending));
        Ok(Box::new(WholePages::new(sink, page_size)))
    }

    /// Gives the file its name.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        self.file.publish()
    }
}

impl GuestSink for GuestFile {
    type Place = Output;

    const KEPT: &'static str = "kept";

    fn open(output: Output, session: &mut GuestSession, plan: &GuestPlan) -> Result<Self, Error> {
        let clock = plan.clock.as_deref().filter(|_| plan.is_proxy);
        let created = Self::create(output, session, &plan.instances, clock);
        let mut file = created.map_err(|error| {
            Error::new(Exit::Guest, format!("guest {}", plan.name)).because(error.to_string())
        })?;
        file.collect(session, plan.max_bytes)?;
        Ok(file)
    }

    fn output() -> GuestOutput {
        GuestOutput::new()
    }

    fn path(&self) -> Option<&Path> {
        Some(self.file.output().path())
    }

    fn trace_id(&self) -> u64 {
        self.file.trace_id().unwrap_or_default()
    }

    fn byte_order(&self) -> ByteOrder {
        self.file.byte_order()
    }

    /// Completes the file once all that is to come came: what the guest told last and what is known
    /// here are added to what `came` of each CPU.
    ///
    /// # Errors
    /// With the file as it was while data arrived.
    fn close(
        self,
        tail: &[u8],
        options: Vec<(OptionId, Vec<u8>)>,
        came: &[CpuReport],
    ) -> Result<Closed, Error> {
        let Self { file, pending, page_sizes, headers, .. } = self;
        let mut problem = None;
        let recorded: Vec<Recorded> = if pending.is_empty() {
            let cpus = came.iter().zip(page_sizes);
            cpus.map(|(cpu, page_size)| whole(cpu.bytes, page_size)).collect()
        } else {
            let finish = |pending: Pending| {
                let (recorded, result) = pending.finish();
                problem = problem.take().or(result.err());
                recorded
            };
            pending.into_iter().map(finish).collect()
        };
        let problem = problem.map(|error| file.output().failed(error));
        let regions = file.regions().iter().zip(&recorded);
        let mut kept = vec![0_u64; came.len()];
        for (region, recorded) in regions {
            let cpu = usize::try_from(region.cpu).ok().and_then(|cpu| kept.get_mut(cpu));
            if let Some(kept) = cpu {
                *kept = kept.saturating_add(recorded.size);
            }
        }
        let discarded = came.iter().zip(&headers).zip(kept).map(|((came, headers), kept)| {
            let came = came.bytes.saturating_add(came.discarded);
            came.saturating_sub(headers.load(Ordering::Relaxed)).saturating_sub(kept)
        });
        let discarded = discarded.collect();
        let Complete { placements, lost_events } = file.close(tail, options, &recorded)?;
        Ok(Closed { placements, lost_events, discarded, problem })
    }
}

impl Pending {
    fn finish(self) -> (Recorded, Result<(), tracedat::WriteError>) {
        match self {
            Self::Chunks(chunks) => chunks.finish(),
            Self::Plain { written, page_size } => {
                (whole(written.load(Ordering::Acquire), page_size), Ok(()))
            }
        }
    }
}

/// What of so many bytes is whole sub-buffers.
fn whole(bytes: u64, page_size: u32) -> Recorded {
    let size = bytes / u64::from(page_size.max(1)) * u64::from(page_size);
    Recorded { size_on_disk: size, size, ..Recorded::default() }
}

/// Data that goes to its region as it is.
struct PlainRegion {
    file: File,
    region: Region,
    written: Arc<AtomicU64>,
}

impl Write for PlainRegion {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.written.load(Ordering::Acquire);
        let room = self.region.len.saturating_sub(written);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let count = self.file.write_at(bytes, self.region.offset.saturating_add(written))?;
        self.written.fetch_add(count as u64, Ordering::AcqRel);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Data comes in pieces of any length; a sub-buffer of which the end never comes is left out.
struct WholePages {
    sink: ChunkSink,
    page_size: usize,
    /// Bytes of the next one.
    filled: usize,
}

impl WholePages {
    fn new(sink: ChunkSink, page_size: u32) -> Self {
        let page_size = usize::try_from(page_size).unwrap_or(usize::MAX);
        Self { sink, page_size, filled: 0 }
    }
}

impl Write for WholePages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let page = self.sink.lend(self.page_size)?;
        let room = page.get_mut(self.filled..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.filled += count;
        if self.filled >= self.page_size {
            self.filled = 0;
            self.sink.take_lent(self.page_size)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracedat::write::{LiveBuffer, LiveLayout};

    use super::*;

    #[test]
    fn pieces_of_any_length_become_whole_sub_buffers() {
        let file = tempfile::tempfile().unwrap();
        let buffer = LiveBuffer {
            name: String::new(),
            clock: "local".into(),
            page_size: 4096,
            cpus: vec![0],
        };
        let layout = LiveLayout::new(vec![buffer], 4096).unwrap();
        let target = RegionFile::new(file, layout.regions()[0], ByteOrder::Little);
        let (sink, pending) = ChunkSink::start(target, Codec::Zstd, 4096, 1, || {}).unwrap();
        let mut pages = WholePages::new(sink, 4096);
        let all = vec![7; 13 * 4096 + 100];
        for piece in all.chunks(4093) {
            pages.write_all(piece).unwrap();
        }
        drop(pages);
        let (recorded, result) = pending.finish();
        result.unwrap();
        assert_eq!(recorded.size, 13 * 4096);
    }
}
