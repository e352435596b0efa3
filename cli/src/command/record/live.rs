//! The file of this machine while it is recorded: data goes where it stays, and what is killed
//! leaves a file that can be read.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::fstatvfs;

use tracedat::Abi;
use tracedat::compress::Codec;
use tracedat::write::{
    Cap, ChunkSink, EndSink, Head, Kept, LiveBuffer, LiveLayout, PendingChunks, Placement,
    Recorded, Region, RegionFile, Settings, Version, Writer,
};
use tracefs::recorder::{Lender, SinkError};
use tracefs::{Priority, Sink, TracingDir, capture};

use super::close_up::{close_up, off_t, punch};
use super::file::{self, Extra, Format, KernelText};
use super::local::{Machine, RecordedBuffer, SinkRequest, kernel_error};
use super::output::Output;
use super::texts::{Packed, Texts};
use crate::error::Error;

/// Bytes kept free for what is written at the end, so that a full disk is no reason to lose it.
const LAST_LEN: u64 = 2 << 20;

/// Bytes kept free for the kernel's texts until they are read: more than most kernels have.
const TEXTS_LEN: u64 = 16 << 20;

/// A file that is recorded into.
pub(crate) struct LiveFile {
    output: Output,
    writer: Writer<File>,
    layout: LiveLayout,
    format: Format,
    /// What tells how much is in each region; none where all goes to the file as it is.
    pending: Vec<Pending>,
    /// Which of the kernel's texts are in it.
    described: Described,
}

/// Who knows what is in a region.
enum Pending {
    /// The thread that compresses.
    Chunks(PendingChunks),
    /// Who keeps the end.
    End(Kept),
}

#[derive(Clone, Copy, Debug, Default)]
struct Described {
    formats: bool,
    symbols: bool,
}

/// A file that is complete.
pub(crate) struct Closed {
    /// Where the data of each CPU is.
    pub(crate) placements: Vec<Placement>,
    /// Why not all that was recorded is in it.
    pub(crate) problem: Option<Error>,
    /// Bytes that were recorded and not kept, as `-m` says.
    pub(crate) overwritten: u64,
}

impl LiveFile {
    /// Empties the file, writes what is known and makes room for data, of which the last `max_kb` KiB
    /// of each CPU are kept, or all. Returns the sinks, by instance and CPU.
    pub(crate) fn create(
        output: Output,
        format: Format,
        trace_id: u64,
        dir: &TracingDir,
        requests: &[SinkRequest],
        max_kb: Option<u64>,
        priority: Priority,
    ) -> Result<(Self, Vec<Vec<Sink>>), Error> {
        let [header_page, header_event] = capture::headers(dir).map_err(kernel_error)?;
        let cpus = capture::possible_cpus();
        let clock = capture::trace_clock(&dir.top()).map_err(kernel_error)?;
        let options = file::first_options(&clock, trace_id, cpus);
        let head = Head { header_page, header_event, cpus, options, ..Head::default() };
        let layout = layout(&output, requests)?;
        let layout = if max_kb.is_some() { layout.keeping_the_end() } else { layout };
        let first = requests.first().map_or(0, |request| request.sub_buffer_size);
        // Version 6 has no place for what is not known yet; its head is written at the end.
        let settings =
            Settings { codec: format.codec, ..Settings::new(Abi::NATIVE, file::page_size(first)?) };
        let failed = |error| output.failed(error);
        let target = output.emptied()?.try_clone().map_err(|error| output.failed(error))?;
        let mut writer = Writer::create(target, settings, &head).map_err(failed)?;
        writer.reserve(&layout).map_err(failed)?;
        let mut live = Self {
            output,
            writer,
            layout,
            format,
            pending: Vec::new(),
            described: Described::default(),
        };
        live.keep_room_for_texts()?;
        let sinks = live.sinks(requests, max_kb, priority)?;
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
        keep_room(&self.output, self.writer.head_len().saturating_add(texts))
    }

    fn sinks(
        &mut self,
        requests: &[SinkRequest],
        max_kb: Option<u64>,
        priority: Priority,
    ) -> Result<Vec<Vec<Sink>>, Error> {
        let mut regions = self.layout.regions().to_vec().into_iter().enumerate();
        let mut all = Vec::with_capacity(requests.len());
        for request in requests {
            let page_size = file::page_size(request.sub_buffer_size)?;
            let mut sinks = Vec::with_capacity(request.cpus.len());
            for (index, region) in regions.by_ref().take(request.cpus.len()) {
                let place = self.writer.start_place(&self.layout, index);
                let cap = max_kb.zip(place).map(|(kb, start_place)| {
                    let max = kb.saturating_mul(1024);
                    Cap { max, start_place, release: punch }
                });
                sinks.push(self.sink(region, page_size, cap, priority)?);
            }
            all.push(sinks);
        }
        Ok(all)
    }

    fn sink(
        &mut self,
        region: Region,
        page_size: u32,
        cap: Option<Cap>,
        priority: Priority,
    ) -> Result<Sink, Error> {
        let file = self.output.reopened()?;
        let codec = self.format.codec;
        if codec == Codec::None && cap.is_none() {
            return Ok(Sink::At { file, offset: region.offset });
        }
        let mut target = RegionFile::new(file, region, Abi::NATIVE.byte_order);
        if let Some(cap) = cap {
            target = target.capped(cap, page_size);
        }
        if codec == Codec::None {
            let sink = EndSink::new(target);
            self.pending.push(Pending::End(sink.kept()));
            return Ok(Sink::Writer(Box::new(sink)));
        }
        // Nearly as urgent as what takes the data from the kernel, which must not wait for it.
        let prepare = move || drop(priority.of_helpers().apply());
        let count = self.layout.regions().len();
        let (sink, pending) = ChunkSink::start(target, codec, page_size, count, prepare)
            .map_err(|error| self.output.failed(error))?;
        self.pending.push(Pending::Chunks(pending));
        Ok(Sink::Lender(Box::new(Chunks { sink, lent: 0 })))
    }

    /// Adds those of the kernel's texts that are read and not in it yet.
    pub(crate) fn describe(&mut self, texts: &Texts) -> Result<(), Error> {
        let before = self.described;
        let failed = |error| self.output.failed(error);
        match &texts.packed {
            Some(Packed { formats, symbols }) => {
                if !before.formats {
                    self.writer.add_packed_head(formats).map_err(failed)?;
                    self.described.formats = true;
                }
                if let Some(symbols) = symbols.as_ref().filter(|_| !before.symbols) {
                    self.writer.add_packed_head(symbols).map_err(failed)?;
                    self.described.symbols = true;
                }
            }
            None if before.formats => {}
            None => {
                self.writer.add_head(&file::texts(&texts.capture)).map_err(failed)?;
                self.described = Described { formats: true, symbols: true };
            }
        }
        if before.symbols || !self.described.symbols {
            return Ok(());
        }
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
        let overwritten = recorded.iter().map(|recorded| recorded.overwritten).sum();
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
        let problem = problem.map(|error| output.failed(error));
        Ok(Closed { placements, problem, overwritten })
    }

    /// How much is in each region, and why it is not more.
    fn recorded(
        &mut self,
        buffers: &mut [RecordedBuffer],
    ) -> (Vec<Recorded>, Option<tracedat::WriteError>) {
        let mut problem = None;
        let cpus = buffers.iter_mut().flat_map(|buffer| &mut buffer.ledger.cpus);
        if self.pending.is_empty() {
            let plain =
                |bytes| Recorded { size_on_disk: bytes, size: bytes, ..Recorded::default() };
            return (cpus.map(|cpu| plain(cpu.bytes)).collect(), None);
        }
        let finished = self.pending.drain(..).map(Pending::finish);
        let recorded = finished.zip(cpus).map(|((recorded, result), cpu)| {
            if let Err(error) = result {
                let source = io::Error::other(innermost(&error).to_string());
                // The recorder only knows that its data was not taken any more.
                cpu.error = Some(SinkError::Write { cpu: cpu.cpu, source });
                problem.get_or_insert(error);
            }
            // What was delivered, and waited to be compressed when the disk was full.
            let written = recorded.size.saturating_add(recorded.overwritten);
            let missing = cpu.bytes.saturating_sub(written);
            cpu.discarded_bytes = cpu.discarded_bytes.saturating_add(missing);
            cpu.bytes -= missing;
            recorded
        });
        (recorded.collect(), problem)
    }
}

impl Pending {
    fn finish(self) -> (Recorded, Result<(), tracedat::WriteError>) {
        match self {
            Self::Chunks(chunks) => chunks.finish(),
            Self::End(kept) => (kept.recorded(), Ok(())),
        }
    }
}

/// What began it: mostly what the system answered.
fn innermost<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    error.source().map_or(error, innermost)
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

/// Takes room on the disk for what has to be written at the end, behind `len` bytes that are known.
pub(crate) fn keep_room(output: &Output, len: u64) -> Result<(), Error> {
    let room = off_t(len.saturating_add(LAST_LEN)).map_err(|error| output.failed(error))?;
    match fallocate(output.file(), FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, room) {
        Err(error @ (Errno::ENOSPC | Errno::EDQUOT)) => Err(output.failed(error)),
        // What a file system cannot promise is hoped for.
        _ => Ok(()),
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
    LiveLayout::new(buffers, block_size(output)?).map_err(|error| output.failed(error))
}

/// What parts of a file start at multiples of, for its blocks to be renumbered.
pub(crate) fn block_size(output: &Output) -> Result<u32, Error> {
    let block = output.file().metadata().map_err(|error| output.failed(error))?.blksize();
    // Some name the size of their transfers here, which is no block.
    Ok(u32::try_from(block).unwrap_or(4096).clamp(4096, 64 << 10))
}
