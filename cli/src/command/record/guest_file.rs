//! The file of a guest while its data arrives: sub-buffers go to where they stay, and a recorder that
//! is killed leaves a file that can be read.

use std::io::{self, Write};

use trace_virt::host::{CpuReport, GuestSession, HostError, Sink};
use tracedat::ByteOrder;
use tracedat::compress::Codec;
use tracedat::layout::OptionId;
use tracedat::write::{ChunkSink, LiveBuffer, PendingChunks, Placement, Recorded, RegionFile};

use super::output::Output;
use crate::command::received::{ArrivingHead, Complete, ReceivedFile};
use crate::error::Error;

/// A file that a guest's data arrives in.
pub(crate) struct GuestFile {
    file: ReceivedFile,
    /// The threads that compress; none where data goes to the file as it is.
    pending: Vec<PendingChunks>,
    page_size: u32,
}

/// A guest's file that is complete.
pub(crate) struct Closed {
    /// Where the data of each CPU is.
    pub(crate) placements: Vec<Placement>,
    /// Events that the guest's kernel says it lost.
    pub(crate) lost_events: u64,
    /// Bytes of each CPU that came and are not in the file.
    pub(crate) discarded: Vec<u64>,
    /// Why not all that came is in it.
    pub(crate) problem: Option<Error>,
}

impl GuestFile {
    /// Makes the file of what the guest sent first, with room for its data.
    ///
    /// # Errors
    /// What came is no head of a trace, or it cannot be written.
    pub(crate) fn create(output: Output, session: &mut GuestSession) -> Result<Self, Error> {
        let mut head = ArrivingHead::new(output)?;
        // It is in the file from here on.
        head.add(&std::mem::take(&mut session.head))?;
        let page_size = session.sub_buffer_size;
        let buffer = LiveBuffer {
            name: String::new(),
            clock: String::new(),
            page_size,
            cpus: (0..session.cpus).collect(),
        };
        let file = head.complete(vec![buffer])?;
        Ok(Self { file, pending: Vec::new(), page_size })
    }

    /// Lets the guest's data flow into the file.
    ///
    /// # Errors
    /// The file cannot be opened once more, or no thread can be had.
    pub(crate) fn collect(&mut self, session: &mut GuestSession) -> Result<(), Error> {
        let guest = |error: HostError| Error::failure("").because(error);
        // No CPU gets into the region of the next one, whatever the guest sends.
        let quota = self.file.regions().iter().map(|region| region.len).min();
        if self.file.codec() == Codec::None {
            let sink = |offset| {
                let to = self.file.opened()?.into();
                Ok(Sink { to, offset: Some(offset) })
            };
            let sinks = self.file.regions().iter().map(|region| sink(region.offset));
            return session.collect(sinks.collect::<Result<_, Error>>()?, quota).map_err(guest);
        }
        let mut writers: Vec<Box<dyn Write + Send>> = Vec::new();
        let regions = self.file.regions();
        for &region in regions {
            let target = RegionFile::new(self.file.opened()?, region, self.file.byte_order());
            let (codec, count) = (self.file.codec(), regions.len());
            let started = ChunkSink::start(target, codec, self.page_size, count, || {});
            let (sink, pending) = started.map_err(|error| self.file.output().failed(error))?;
            self.pending.push(pending);
            writers.push(Box::new(WholePages::new(sink, self.page_size)));
        }
        session.collect_into(writers, quota).map_err(guest)
    }

    /// What ties it to other files.
    pub(crate) fn trace_id(&self) -> u64 {
        self.file.trace_id().unwrap_or_default()
    }

    /// The byte order of the guest.
    pub(crate) fn byte_order(&self) -> ByteOrder {
        self.file.byte_order()
    }

    /// Gives the file its name.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        self.file.publish()
    }

    /// Where it is, or will be.
    pub(crate) fn output(&self) -> &Output {
        self.file.output()
    }

    /// Completes the file once all that is to come came: what the guest told last and what is known
    /// here are added to what `came` of each CPU.
    ///
    /// # Errors
    /// With the file as it was while data arrived.
    pub(crate) fn close(
        self,
        tail: &[u8],
        options: Vec<(OptionId, Vec<u8>)>,
        came: &[CpuReport],
    ) -> Result<Closed, Error> {
        let Self { file, pending, page_size } = self;
        let mut problem = None;
        let recorded: Vec<Recorded> = if pending.is_empty() {
            let page_size = u64::from(page_size);
            let whole = came.iter().map(|cpu| cpu.bytes / page_size * page_size);
            whole.map(|size| Recorded { size_on_disk: size, size, ..Recorded::default() }).collect()
        } else {
            let finish = |pending: PendingChunks| {
                let (recorded, result) = pending.finish();
                problem = problem.take().or(result.err());
                recorded
            };
            pending.into_iter().map(finish).collect()
        };
        let problem = problem.map(|error| file.output().failed(error));
        let all = came.iter().map(|cpu| cpu.bytes.saturating_add(cpu.discarded));
        let discarded = all.zip(&recorded).map(|(came, cpu)| came.saturating_sub(cpu.size));
        let discarded = discarded.collect();
        let Complete { placements, lost_events } = file.close(tail, options, &recorded)?;
        Ok(Closed { placements, lost_events, discarded, problem })
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
    use tracedat::write::LiveLayout;

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
