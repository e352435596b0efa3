//! The file of this machine while it is recorded: data goes where it stays, and what is killed
//! leaves a file that can be read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::fstatvfs;

use tracedat::Abi;
use tracedat::compress::Codec;
use tracedat::layout::Gap;
use tracedat::write::{
    ChunkSink, Closing, Head, LiveBuffer, LiveLayout, PendingChunks, Placement, Recorded, Settings,
    Version, Writer,
};
use tracefs::recorder::Lender;
use tracefs::{Priority, Sink, TracingDir, capture};

use super::file::{self, Extra, Format, KernelText};
use super::local::{Machine, RecordedBuffer, SinkRequest, kernel_error};
use super::output::Output;
use super::texts::Texts;
use crate::error::Error;

/// Bytes kept free for what is written at the end, so that a full disk is no reason to lose it.
const LAST_LEN: u64 = 2 << 20;

/// Bytes kept free for the kernel's texts until they are read: more than most kernels have.
const TEXTS_LEN: u64 = 16 << 20;

/// Bytes copied at once where a file cannot be closed up without copying.
const COPY_LEN: usize = 1 << 20;

/// A file that is recorded into.
pub(crate) struct LiveFile {
    output: Output,
    writer: Writer<File>,
    layout: LiveLayout,
    format: Format,
    /// The threads that compress, by region; none where data goes to the file as it is.
    pending: Vec<PendingChunks>,
    is_described: bool,
}

/// A file that is complete.
pub(crate) struct Closed {
    /// Where the data of each CPU is.
    pub(crate) placements: Vec<Placement>,
    /// Why not all that was recorded is in it.
    pub(crate) problem: Option<Error>,
}

impl LiveFile {
    /// Empties the file, writes what is known and makes room for data. Returns the sinks, by
    /// instance and CPU.
    pub(crate) fn create(
        output: Output,
        format: Format,
        trace_id: u64,
        dir: &TracingDir,
        requests: &[SinkRequest],
        priority: Priority,
    ) -> Result<(Self, Vec<Vec<Sink>>), Error> {
        let [header_page, header_event] = capture::headers(dir).map_err(kernel_error)?;
        let cpus = capture::possible_cpus();
        let clock = capture::trace_clock(&dir.top()).map_err(kernel_error)?;
        let options = file::first_options(&clock, trace_id, cpus);
        let head = Head { header_page, header_event, cpus, options, ..Head::default() };
        let layout = layout(&output, requests)?;
        let first = requests.first().map_or(0, |request| request.sub_buffer_size);
        // Version 6 has no place for what is not known yet; its head is written at the end.
        let settings =
            Settings { codec: format.codec, ..Settings::new(Abi::NATIVE, file::page_size(first)?) };
        let failed = |error| output.failed(error);
        let target = output.emptied()?.try_clone().map_err(|error| output.failed(error))?;
        let mut writer = Writer::create(target, settings, &head).map_err(failed)?;
        writer.reserve(&layout).map_err(failed)?;
        let mut live =
            Self { output, writer, layout, format, pending: Vec::new(), is_described: false };
        live.keep_room_for_texts()?;
        let sinks = live.sinks(requests, priority)?;
        Ok((live, sinks))
    }

    /// Takes room on the disk for texts whose size is not known yet; half of a disk at most.
    fn keep_room_for_texts(&self) -> Result<(), Error> {
        let texts = match self.format {
            Format { version: Version::V6, .. } => 2 * TEXTS_LEN,
            Format { codec: Codec::None, .. } => TEXTS_LEN,
            _ => TEXTS_LEN / 4,
        };
        // Asked before, as ext4 gives back all that was taken when it once had to refuse.
        let free = fstatvfs(self.output.file())
            .map_or(u64::MAX, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
        self.keep_room(texts.min(free / 2))
    }

    /// Takes room on the disk for what has to be written at the end; `texts` bytes of it are known.
    fn keep_room(&self, texts: u64) -> Result<(), Error> {
        let room = self.writer.head_len().saturating_add(texts).saturating_add(LAST_LEN);
        let room = off_t(room).map_err(|error| self.output.failed(error))?;
        match fallocate(self.output.file(), FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, room) {
            Err(error @ (Errno::ENOSPC | Errno::EDQUOT)) => Err(self.output.failed(error)),
            // What a file system cannot promise is hoped for.
            _ => Ok(()),
        }
    }

    fn sinks(
        &mut self,
        requests: &[SinkRequest],
        priority: Priority,
    ) -> Result<Vec<Vec<Sink>>, Error> {
        let count = self.layout.regions().len();
        let mut regions = self.layout.regions().iter();
        let mut all = Vec::with_capacity(requests.len());
        for request in requests {
            let mut sinks = Vec::with_capacity(request.cpus.len());
            for &region in regions.by_ref().take(request.cpus.len()) {
                let file = self.output.reopened()?;
                sinks.push(if self.format.codec == Codec::None {
                    Sink::At { file, offset: region.offset }
                } else {
                    let page_size = file::page_size(request.sub_buffer_size)?;
                    let order = Abi::NATIVE.byte_order;
                    let codec = self.format.codec;
                    // Nearly as urgent as what takes the data from the kernel, which must not wait for it.
                    let prepare = move || drop(priority.of_helpers().apply());
                    let (sink, pending) =
                        ChunkSink::start(file, region, codec, page_size, order, count, prepare)
                            .map_err(|error| self.output.failed(error))?;
                    self.pending.push(pending);
                    Sink::Lender(Box::new(Chunks { sink, lent: 0 }))
                });
            }
            all.push(sinks);
        }
        Ok(all)
    }

    /// Adds the kernel's texts, once they are read.
    pub(crate) fn describe(&mut self, texts: &Texts) -> Result<(), Error> {
        if self.is_described {
            return Ok(());
        }
        self.is_described = true;
        let added = match &texts.packed {
            Some(packed) => self.writer.add_packed_head(packed),
            None => self.writer.add_head(&file::texts(&texts.capture)),
        };
        added.map_err(|error| self.output.failed(error))?;
        match self.format.version {
            // Its own head, which is written at the end, has all of that again.
            Version::V6 => self.keep_room(self.writer.head_len()),
            Version::V7 => self.keep_room(0),
        }
    }

    /// Gives the file its name: what was recorded is worth being found.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        self.output.publish()
    }

    /// The recording came to nothing.
    pub(crate) fn abort(self) {
        self.output.abandon();
    }

    /// Where the file is, for those who have to go on with what is there.
    pub(crate) fn path(&self) -> PathBuf {
        self.output.path().to_owned()
    }

    /// Completes the file. What did not get into it is added to what `buffers` say is discarded.
    ///
    /// # Errors
    /// With the file as it was while it was recorded.
    pub(crate) fn close(
        mut self,
        machine: &Machine,
        buffers: &mut [RecordedBuffer],
        extra: &Extra,
    ) -> Result<Closed, Error> {
        let (recorded, problem) = self.recorded(buffers);
        self.describe(&machine.texts)?;
        let Self { output, mut writer, layout, format, .. } = self;
        let failed = |error| output.failed(error);
        let closing = if format.version == Version::V6 {
            writer.close_as_version_6(&file::head(machine, buffers, extra), &layout, &recorded)
        } else {
            if !machine.cmdlines.is_empty() {
                writer.add_cmdlines(&machine.cmdlines).map_err(failed)?;
            }
            for KernelText { id, name, text } in &extra.sections {
                writer.add_section(*id, name, text).map_err(failed)?;
            }
            writer.close(&file::last_options(buffers, extra), &layout, &recorded)
        };
        let closing = closing.map_err(failed)?;
        let placements = close_up(&output, closing)?;
        Ok(Closed { placements, problem: problem.map(|error| output.failed(error)) })
    }

    /// How much is in each region, and why it is not more.
    fn recorded(
        &mut self,
        buffers: &mut [RecordedBuffer],
    ) -> (Vec<Recorded>, Option<tracedat::WriteError>) {
        let mut problem = None;
        let cpus = buffers.iter_mut().flat_map(|buffer| &mut buffer.ledger.cpus);
        if self.format.codec != Codec::None {
            let finished = self.pending.drain(..).map(PendingChunks::finish);
            let recorded = finished.zip(cpus).map(|((recorded, result), cpu)| {
                problem = problem.take().or(result.err());
                // What was delivered, and waited to be compressed when the disk was full.
                let missing = cpu.bytes.saturating_sub(recorded.size);
                cpu.discarded_bytes = cpu.discarded_bytes.saturating_add(missing);
                cpu.bytes -= missing;
                recorded
            });
            return (recorded.collect(), problem);
        }
        let plain = |bytes| Recorded { size_on_disk: bytes, size: bytes };
        (cpus.map(|cpu| plain(cpu.bytes)).collect(), None)
    }
}

/// Sub-buffers go to where they are compressed.
struct Chunks {
    sink: ChunkSink,
    lent: usize,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl Lender for Chunks {
    fn lend(&mut self, len: usize) -> io::Result<&mut [u8]> {
        self.lent = len;
        self.sink.lend(len)
    }

    fn take_lent(&mut self) -> io::Result<()> {
        self.sink.take_lent(self.lent)
    }
}

fn layout(output: &Output, requests: &[SinkRequest]) -> Result<LiveLayout, Error> {
    let mut buffers = Vec::with_capacity(requests.len() + 1);
    if requests.iter().all(|request| request.name.is_some()) {
        // Readers expect the top-level buffer first, also when it was not recorded.
        let first = requests.first();
        buffers.push(LiveBuffer {
            name: String::new(),
            clock: first.map(|request| request.clock.clone()).unwrap_or_default(),
            page_size: file::page_size(first.map_or(4096, |request| request.sub_buffer_size))?,
            cpus: Vec::new(),
        });
    }
    for request in requests {
        buffers.push(LiveBuffer {
            name: request.name.clone().unwrap_or_default(),
            clock: request.clock.clone(),
            page_size: file::page_size(request.sub_buffer_size)?,
            cpus: request.cpus.clone(),
        });
    }
    let block = output.file().metadata().map_err(|error| output.failed(error))?.blksize();
    // Some name the size of their transfers here, which is no block.
    let block = u32::try_from(block).unwrap_or(4096).clamp(4096, 64 << 10);
    LiveLayout::new(buffers, block).map_err(|error| output.failed(error))
}

/// Takes the gaps out of a file and completes it. Its blocks are renumbered where the file system can;
/// else it is copied into another one, which takes its place, so that there is a readable one at every
/// moment. What has no room for a second one is copied together.
fn close_up(output: &Output, closing: Closing<File>) -> Result<Vec<Placement>, Error> {
    let failed = |error: io::Error| output.failed(error);
    let write_failed = |error: tracedat::WriteError| output.failed(error);
    let (file, len) = (output.file(), closing.file_len());
    if !collapse(file, closing.gaps()).map_err(failed)? {
        output.publish()?;
        if let Some(successor) = output.successor()
            && copy_apart(file, &successor, closing.gaps(), len).is_ok()
        {
            let copy = successor.try_clone().map_err(failed)?;
            let placements = closing.copied_to(copy).and_then(Closing::commit);
            let placements = placements.map_err(write_failed)?;
            output.succeed(&successor)?;
            return Ok(placements);
        }
        copy_together(file, closing.gaps()).map_err(failed)?;
    }
    file.set_len(len).map_err(failed)?;
    let placements = closing.commit().map_err(write_failed)?;
    output.publish()?;
    Ok(placements)
}

/// Has the file system renumber the blocks of a file; says whether it can.
fn collapse(file: &File, gaps: &[Gap]) -> io::Result<bool> {
    for (index, gap) in gaps.iter().enumerate() {
        let (offset, len) = (off_t(gap.offset)?, off_t(gap.len)?);
        match fallocate(file, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, offset, len) {
            Ok(()) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) if index == 0 => {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Copies a file without its gaps, of which `len` bytes are left; where the file system can, it lets
/// both have the same blocks.
fn copy_apart(mut from: &File, mut to: &File, gaps: &[Gap], len: u64) -> io::Result<()> {
    let (mut at, mut copied) = (0, 0);
    for gap in gaps.iter().rev().map(Some).chain([None]) {
        let part = gap.map_or(len.saturating_sub(copied), |gap| gap.offset.saturating_sub(at));
        from.seek(SeekFrom::Start(at))?;
        to.seek(SeekFrom::Start(copied))?;
        io::copy(&mut from.take(part), &mut to)?;
        copied += part;
        at = gap.map_or(at, |gap| gap.offset.saturating_add(gap.len));
    }
    to.set_len(len)
}

fn off_t(value: u64) -> io::Result<i64> {
    i64::try_from(value).map_err(io::Error::other)
}

/// Moves what is behind each gap to the end of what is before it.
fn copy_together(file: &File, gaps: &[Gap]) -> io::Result<()> {
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    // What was kept free is free for the copies now; what was copied too, so a full disk is not in
    // the way.
    let free = |from: u64, to: u64| -> io::Result<()> {
        let _ = fallocate(file, punch, off_t(from)?, off_t(to.saturating_sub(from))?);
        Ok(())
    };
    if let Some(first) = gaps.last() {
        free(first.offset, first.offset + first.len)?;
    }
    let mut buffer = vec![0; COPY_LEN];
    let mut taken = 0;
    let mut gaps = gaps.iter().rev().peekable();
    while let Some(gap) = gaps.next() {
        taken += gap.len;
        let end = gaps.peek().map_or(u64::MAX, |next| next.offset);
        let mut from = gap.offset + gap.len;
        while from < end {
            let most = usize::try_from(end - from).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read_at(&mut buffer[..most], from)?;
            if read == 0 {
                break;
            }
            file.write_all_at(&buffer[..read], from - taken)?;
            from += read as u64;
            free((from - read as u64).max(from - taken), from)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 4096;

    /// Three parts, each of its own letter, far from one another; the gaps between them.
    fn parts() -> (File, Vec<Gap>) {
        let file = tempfile::tempfile().unwrap();
        let mut gaps = Vec::new();
        let (mut at, mut end) = (0, 0);
        for (letter, len) in [(b'a', 3 * BLOCK), (b'b', 700 * BLOCK), (b'c', BLOCK / 2)] {
            if at > 0 {
                gaps.insert(0, Gap { offset: end, len: at - end });
            }
            file.write_all_at(&vec![letter; len as usize], at).unwrap();
            end = (at + len).next_multiple_of(BLOCK);
            at = end + (1 << 30);
        }
        (file, gaps)
    }

    fn check(file: &File) {
        for (letter, at, len) in
            [(b'a', 0, 3 * BLOCK), (b'b', 3 * BLOCK, 700 * BLOCK), (b'c', 703 * BLOCK, BLOCK / 2)]
        {
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, at).unwrap();
            assert!(bytes.iter().all(|&byte| byte == letter), "{}", char::from(letter));
        }
    }

    #[test]
    fn gaps_are_closed_by_copying_where_blocks_cannot_be_renumbered() {
        let (file, gaps) = parts();
        copy_together(&file, &gaps).unwrap();
        check(&file);
    }

    #[test]
    fn gaps_are_left_out_of_a_copy() {
        let (file, gaps) = parts();
        let copy = tempfile::tempfile().unwrap();
        copy_apart(&file, &copy, &gaps, 703 * BLOCK + BLOCK / 2).unwrap();
        check(&copy);
        assert_eq!(copy.metadata().unwrap().len(), 703 * BLOCK + BLOCK / 2);
    }

    #[test]
    fn gaps_are_closed_the_same_way_by_the_file_system() {
        let (file, gaps) = parts();
        for gap in gaps {
            let (offset, len) = (off_t(gap.offset).unwrap(), off_t(gap.len).unwrap());
            if fallocate(&file, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, offset, len).is_err() {
                return;
            }
        }
        check(&file);
    }
}
