//! Splits a trace into smaller ones, by time or by number of events or sub-buffers.
//!
//! A piece is, of every CPU, what lies between two of its records. The records are gone over once
//! to find these places, the sub-buffers a second time to copy them: whole ones byte by byte, those
//! at the two ends cut. What lies before the first time that is wanted is not read. What is known about the
//! trace goes into every piece.

mod copy;
mod error;
mod scan;

pub use error::SplitError;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use crate::clock::{ClockCorrection, ClockOptions};
use crate::error::ReadError;
use crate::layout::{OptionId, SECTION_HEADER_LEN, SectionHeader};
use crate::metadata::{Metadata, Warning};
use crate::read::section::{self, Place, Storage};
use crate::read::{Reader, SubBuffers};
use crate::source::ReadAt;
use crate::write::{BufferData, CpuSource, Head, Settings, Version, Writer};
use copy::Source;
use scan::{Position, Scan};

/// Largest sub-buffer that is copied; readers take no larger one whole either.
const MAX_SUB_BUFFER: u32 = 16 << 20;

/// How much of a trace goes into one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So much time after its first event.
    Nanoseconds(u64),
    /// So many events.
    Events(u64),
    /// Events of so many sub-buffers; this is always counted for each CPU.
    SubBuffers(u64),
}

/// A buffer that goes into the pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Its name in the input, empty for the top-level one.
    pub name: String,
    /// Its name in the pieces, empty to make it the top-level one.
    pub new_name: String,
}

/// What is split, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitOptions {
    /// Where a piece ends; without it there is one piece only.
    pub limit: Option<Limit>,
    /// Whether the limit is one for each CPU of each buffer instead of all together.
    pub per_cpu: bool,
    /// Only this CPU.
    pub cpu: Option<u32>,
    /// Only events from this time on, in nanoseconds as reports print them.
    pub start: Option<u64>,
    /// Only events up to this time.
    pub end: Option<u64>,
    /// Only these buffers; all when there are none.
    pub buffers: Vec<Selection>,
}

/// What went into a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Events in it.
    pub events: u64,
    /// Times of the first and the last one.
    pub times: Option<(u64, u64)>,
}

/// Splits one trace, piece by piece.
pub struct Splitter {
    metadata: Metadata,
    head: Head,
    source: Arc<dyn ReadAt>,
    options: SplitOptions,
    buffers: Vec<Target>,
    cpus: Vec<Cpu>,
}

/// A buffer of the pieces.
struct Target {
    name: String,
    clock: String,
    page_size: u32,
}

/// A CPU of a buffer.
struct Cpu {
    /// Index of the buffer in the pieces.
    target: usize,
    number: u32,
    scan: Scan,
    source: Source,
}

impl Splitter {
    /// Opens a trace and goes to the first event that is wanted.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has not what the options name.
    pub fn open(path: impl AsRef<Path>, options: SplitOptions) -> Result<Self, SplitError> {
        let path = path.as_ref();
        let file = File::open(path)
            .map_err(|source| ReadError::Open { path: path.to_path_buf(), source })?;
        Self::from_source(Arc::new(file), options)
    }

    /// The same for anything that can be read at offsets.
    ///
    /// # Errors
    ///
    /// As [`Splitter::open`].
    pub fn from_source(source: Arc<dyn ReadAt>, options: SplitOptions) -> Result<Self, SplitError> {
        let Reader { metadata, .. } = Reader::from_source(Arc::clone(&source))?;
        if metadata.latency_text().is_some() {
            return Err(SplitError::NoEvents);
        }
        let (head, buffers, cpus) = (Head::of(&metadata), Vec::new(), Vec::new());
        let mut splitter = Self { metadata, head, source, options, buffers, cpus };
        splitter.select()?;
        if let Some(start) = splitter.options.start {
            for Cpu { scan, .. } in &mut splitter.cpus {
                while scan.next().is_some_and(|next| next.time < start) {
                    scan.advance()?;
                }
            }
        }
        Ok(splitter)
    }

    /// What is known about the trace.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Whether there are events for one more piece.
    pub fn has_more(&self) -> bool {
        let times = self.cpus.iter().filter_map(|cpu| cpu.scan.next());
        times.map(|next| next.time).any(|time| self.is_wanted(time))
    }

    /// What could not be read so far.
    pub fn warnings(&self) -> impl Iterator<Item = &Warning> {
        self.cpus.iter().flat_map(|cpu| cpu.source.warnings())
    }

    /// Writes the next piece, a whole trace from offset 0 on; an empty one when there are no more
    /// events.
    ///
    /// # Errors
    ///
    /// The input cannot be read, or the output refuses; the piece is not complete then.
    pub fn write_piece<W: Write + Seek>(&mut self, output: W) -> Result<Piece, SplitError> {
        let from: Vec<Position> = self.cpus.iter().map(|cpu| cpu.scan.position()).collect();
        let mut piece = Piece::default();
        if self.is_per_cpu() {
            self.pass_each(&mut piece)?;
        } else {
            self.pass_merged(&mut piece)?;
        }
        let settings = Settings::of(&self.metadata)?;
        let mut writer = Writer::create(output, settings, &self.head)?;
        if settings.version == Version::V7 {
            self.copy_sections(&mut writer)?;
        }
        let mut copies = Vec::with_capacity(self.cpus.len());
        for (cpu, from) in self.cpus.iter_mut().zip(from) {
            let to = cpu.scan.position();
            if from != to {
                copies.push((cpu.target, cpu.number, cpu.source.piece(from, to)));
            }
        }
        let mut buffers: Vec<BufferData<'_>> = self.buffers.iter().map(Target::data).collect();
        for (target, number, copy) in &mut copies {
            let size = copy.size();
            if let Some(buffer) = buffers.get_mut(*target) {
                buffer.cpus.push(CpuSource::from_reader(*number, copy as &mut dyn Read, size));
            }
        }
        writer.finish(&[], buffers)?;
        Ok(piece)
    }

    /// Finds the buffers and CPUs that are wanted.
    fn select(&mut self) -> Result<(), SplitError> {
        let metadata = &self.metadata;
        let mut selections = self.options.buffers.clone();
        if selections.is_empty() {
            let all = metadata.buffers.iter().map(|buffer| buffer.name.clone());
            selections = all.map(|name| Selection { new_name: name.clone(), name }).collect();
        }
        // Readers expect the top-level buffer first, also when it has nothing.
        selections.sort_by_key(|selection| !selection.new_name.is_empty());
        if selections.first().is_none_or(|selection| !selection.new_name.is_empty()) {
            let clock = metadata.trace_clock().unwrap_or_default().to_owned();
            let page_size = metadata.page_size;
            self.buffers.push(Target { name: String::new(), clock, page_size });
        }
        for Selection { name, new_name } in selections {
            let found = metadata.buffers.iter().enumerate().find(|(_, b)| b.name == name);
            let Some((index, buffer)) = found else { return Err(SplitError::NoBuffer { name }) };
            if buffer.page_size > MAX_SUB_BUFFER {
                return Err(SplitError::SubBufferSize { name, size: buffer.page_size });
            }
            let target = self.buffers.len();
            let (clock, page_size) = (buffer.clock.clone(), buffer.page_size);
            self.buffers.push(Target { name: new_name, clock, page_size });
            for data in buffer.cpus.iter().filter(|data| data.size > 0) {
                if self.options.cpu.is_some_and(|cpu| cpu != data.cpu) {
                    continue;
                }
                let sub_buffers = || SubBuffers::new(&self.source, metadata, index, data);
                let (Some(mut scanned), Some(mut copied)) = (sub_buffers(), sub_buffers()) else {
                    continue;
                };
                let correction = ClockCorrection::new(metadata, &ClockOptions::default(), data.cpu);
                if let Some(start) = self.options.start {
                    // Both count sub-buffers from there.
                    copied.go_to(scanned.seek(start, correction.clone())?);
                }
                let (header_page, order) = (metadata.header_page, metadata.abi.byte_order);
                self.cpus.push(Cpu {
                    target,
                    number: data.cpu,
                    scan: Scan::new(scanned, metadata, correction)?,
                    source: Source::new(copied, header_page, order, buffer.page_size),
                });
            }
        }
        match self.options.cpu {
            Some(cpu) if self.cpus.is_empty() => Err(SplitError::NoCpu { cpu }),
            _ => Ok(()),
        }
    }

    fn is_wanted(&self, time: u64) -> bool {
        self.options.end.is_none_or(|end| time <= end)
    }

    fn is_per_cpu(&self) -> bool {
        self.options.per_cpu || matches!(self.options.limit, Some(Limit::SubBuffers(_)))
    }

    /// Passes over the events of a piece, by time over all CPUs.
    fn pass_merged(&mut self, piece: &mut Piece) -> Result<(), ReadError> {
        let next = |(index, cpu): (usize, &Cpu)| Some(Reverse((cpu.scan.next()?.time, index)));
        let mut queue: BinaryHeap<_> = self.cpus.iter().enumerate().filter_map(next).collect();
        let mut count = Count::new(self.options.limit);
        while let Some(Reverse((time, index))) = queue.pop() {
            let Some(cpu) = self.cpus.get_mut(index) else { break };
            let Some(next) = cpu.scan.next() else { continue };
            let is_wanted = self.options.end.is_none_or(|end| time <= end);
            if !is_wanted || !count.take(time, next.position.sub_buffer) {
                break;
            }
            piece.add(time);
            cpu.scan.advance()?;
            if let Some(next) = cpu.scan.next() {
                queue.push(Reverse((next.time, index)));
            }
        }
        Ok(())
    }

    /// Passes over the events of a piece, on each CPU by itself.
    fn pass_each(&mut self, piece: &mut Piece) -> Result<(), ReadError> {
        for Cpu { scan, .. } in &mut self.cpus {
            let mut count = Count::new(self.options.limit);
            while let Some(next) = scan.next() {
                let is_wanted = self.options.end.is_none_or(|end| next.time <= end);
                if !is_wanted || !count.take(next.time, next.position.sub_buffer) {
                    break;
                }
                piece.add(next.time);
                scan.advance()?;
            }
        }
        Ok(())
    }

    /// Copies the sections that only an option knows.
    fn copy_sections<W: Write + Seek>(&self, writer: &mut Writer<W>) -> Result<(), SplitError> {
        let abi = self.metadata.abi;
        for (id, description) in [(OptionId::BTF_FILE, "BTF"), (OptionId::MODULES_FILE, "modules")]
        {
            for option in self.metadata.options_of(id) {
                let Some(at) = option.data.first_chunk() else { continue };
                let at = abi.byte_order.u64(*at);
                let mut bytes = [0; SECTION_HEADER_LEN];
                let filled = self.source.read_full_at(&mut bytes, at);
                let filled = filled.map_err(|source| ReadError::Io { offset: at, source })?;
                let header = SectionHeader::from_bytes(&bytes, abi.byte_order);
                // An offset kept from another file points anywhere: there is nothing to copy.
                if filled < bytes.len() || header.id.0 != id.0 {
                    continue;
                }
                let storage =
                    if header.is_compressed() { Storage::Compressed } else { Storage::Plain };
                let offset = at.saturating_add(SECTION_HEADER_LEN as u64);
                let place = Place { offset, len: header.size, storage };
                let codec = Settings::of(&self.metadata)?.codec;
                let body = section::load(&*self.source, codec, &place, abi)?;
                writer.add_section(id, description, &body)?;
            }
        }
        Ok(())
    }
}

impl Target {
    fn data(&self) -> BufferData<'_> {
        let Self { name, clock, page_size } = self;
        BufferData { name, clock, page_size: *page_size, cpus: Vec::new() }
    }
}

impl Piece {
    fn add(&mut self, time: u64) {
        self.events += 1;
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
    }
}

/// How much of a limit is used up.
struct Count {
    limit: Option<Limit>,
    used: u64,
    first_time: Option<u64>,
    sub_buffer: Option<u64>,
}

impl Count {
    fn new(limit: Option<Limit>) -> Self {
        Self { limit, used: 0, first_time: None, sub_buffer: None }
    }

    /// Whether an event still belongs to the piece.
    fn take(&mut self, time: u64, sub_buffer: u64) -> bool {
        match self.limit {
            None => true,
            Some(Limit::Nanoseconds(limit)) => {
                let first = *self.first_time.get_or_insert(time);
                time.saturating_sub(first) <= limit
            }
            Some(Limit::Events(limit)) => {
                self.used += 1;
                self.used <= limit.max(1)
            }
            Some(Limit::SubBuffers(limit)) => {
                if self.sub_buffer != Some(sub_buffer) {
                    self.sub_buffer = Some(sub_buffer);
                    self.used += 1;
                }
                self.used <= limit.max(1)
            }
        }
    }
}
