//! A file that is recorded into: every CPU has a region of it, so data is written once, where it
//! stays.
//!
//! ```text
//! while recording   head │ … │ data of CPU 0 │ … │ data of CPU 1 │ …        … are holes of a sparse file
//! closed            head, last options │ data of CPU 0 │ data of CPU 1
//! ```
//!
//! Where only the end is kept, what is older is given back to the disk while recording, and goes with
//! the gap before it: [`RegionFile::capped`](super::RegionFile::capped).
//!
//! The file is complete when its last link is written, which is one write; the option LIVE leads
//! to the data until then. So it can be read at any moment, whoever is killed.
//!
//! ```no_run
//! use std::fs::File;
//! use tracedat::write::{Head, LiveBuffer, LiveLayout, Recorded, Settings, Writer};
//!
//! let file = File::create("trace.dat")?;
//! let top = LiveBuffer { name: "".into(), clock: "local".into(), page_size: 4096, cpus: vec![0, 1] };
//! let layout = LiveLayout::new(vec![top], 4096)?;
//! let mut writer = Writer::create(&file, Settings::new(tracedat::Abi::NATIVE, 4096), &Head::default())?;
//! writer.reserve(&layout)?;
//! // Sub-buffers are written from `layout.regions()[…].offset` on.
//! let recorded = vec![Recorded { size_on_disk: 8192, size: 8192, ..Recorded::default() }; 2];
//! let closing = writer.close(&[], &layout, &recorded)?;
//! for gap in closing.gaps() {
//!     // Take these bytes out of the file, as fallocate(2) with FALLOC_FL_COLLAPSE_RANGE does.
//! }
//! closing.commit()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{Seek, Write};

use super::output::Output;
use super::{DataOf, Placement, WriteError};
use crate::layout::{Gap, Live, SECTION_HEADER_LEN, v6};

/// Room for all but the data of CPUs: many times what any kernel's formats and symbols take.
const HEAD_ROOM: u64 = 256 << 20;

/// Room of a region, and of all regions together: file systems with the smallest limit in use,
/// 16 TiB, take it.
const REGION_ROOM: u64 = 1 << 40;
const ALL_ROOM: u64 = 8 << 40;

/// A buffer (instance) that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBuffer {
    /// Name of the instance, empty for the top-level one, which has to be the first.
    pub name: String,
    /// Its trace clock, as `local`.
    pub clock: String,
    /// Size of its sub-buffers, in bytes.
    pub page_size: u32,
    /// Its CPUs.
    pub cpus: Vec<u32>,
}

/// Where the sub-buffers of one CPU go while they are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Index of the buffer.
    pub buffer: usize,
    /// The CPU.
    pub cpu: u32,
    /// Where its data starts.
    pub offset: u64,
    /// Bytes it can take.
    pub len: u64,
}

/// What became of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Bytes of it before the data: where what was there is not kept.
    pub start: u64,
    /// Bytes used of it: sub-buffers, or chunks with their number before them.
    pub size_on_disk: u64,
    /// Bytes of sub-buffers in it.
    pub size: u64,
    /// Bytes of sub-buffers that were in it and are not kept.
    pub overwritten: u64,
}

/// The regions of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveLayout {
    pub(super) buffers: Vec<LiveBuffer>,
    regions: Vec<Region>,
    /// What data of CPUs starts at a multiple of, in the closed file too.
    pub(super) align: u64,
    /// Room before the first region of every buffer but the first.
    pub(super) buffer_head: u64,
    /// Whether only the end of data is kept.
    keeps_end: bool,
}

impl LiveLayout {
    /// Lays regions out. `block` is the block size of the file system, of which gaps must be multiples.
    ///
    /// # Errors
    /// Sub-buffers without size, or a buffer that comes twice.
    pub fn new(buffers: Vec<LiveBuffer>, block: u32) -> Result<Self, WriteError> {
        let cpus: usize = buffers.iter().map(|buffer| buffer.cpus.len()).sum();
        let room = (ALL_ROOM / (cpus as u64).max(1)).min(REGION_ROOM);
        Self::with_room(buffers, block, HEAD_ROOM, room)
    }

    /// The same with room of so many bytes for all but data, and so many for each CPU.
    ///
    /// # Errors
    /// As [`LiveLayout::new`].
    pub fn with_room(
        buffers: Vec<LiveBuffer>,
        block: u32,
        head_room: u64,
        region_room: u64,
    ) -> Result<Self, WriteError> {
        for (index, buffer) in buffers.iter().enumerate() {
            if buffer.page_size == 0 {
                return Err(WriteError::NoPageSize { buffer: buffer.name.clone() });
            }
            if buffers.iter().take(index).any(|other| other.name == buffer.name) {
                return Err(WriteError::Duplicate { buffer: buffer.name.clone() });
            }
        }
        let pages = buffers.iter().map(|buffer| buffer.page_size);
        let align = pages.chain([4096, block]).map(u32::next_power_of_two).max().unwrap_or(4096);
        let align = u64::from(align);
        let cpus: usize = buffers.iter().map(|buffer| buffer.cpus.len()).sum();
        let highest = buffers.iter().flat_map(|buffer| &buffer.cpus).max().map_or(0, |cpu| cpu + 1);
        let clock = buffers.iter().map(|buffer| buffer.clock.len()).max().unwrap_or(0);
        // What version 6 has before the data of a buffer; version 7 has less.
        let head = v6::TAG_LEN as u64 + 16 * u64::from(highest) + 8 + clock as u64 + 2;
        let buffer_head = head.max(SECTION_HEADER_LEN as u64).next_multiple_of(align);
        let stride = region_room / align * align;
        let mut regions = Vec::with_capacity(cpus);
        let mut next = head_room.next_multiple_of(align);
        for (index, buffer) in buffers.iter().enumerate() {
            for (place, &cpu) in buffer.cpus.iter().enumerate() {
                let before = if index > 0 && place == 0 { buffer_head } else { 0 };
                let (offset, len) = (next + before, stride.saturating_sub(before));
                regions.push(Region { buffer: index, cpu, offset, len });
                next += stride;
            }
        }
        Ok(Self { buffers, regions, align, buffer_head, keeps_end: false })
    }

    /// The same for regions that are [capped](super::RegionFile::capped).
    #[must_use]
    pub fn keeping_the_end(self) -> Self {
        Self { keeps_end: true, ..self }
    }

    /// The regions, by buffer, then CPU, in the order given.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Bytes of the file from its start for all but the data of CPUs.
    pub(super) fn head_room(&self) -> u64 {
        self.regions.first().map_or(u64::MAX, |region| region.offset - self.buffer_head)
    }

    /// Where the heads of buffers are written that are not part of the file's own.
    pub(super) fn heads_apart(&self) -> impl Iterator<Item = u64> {
        let pairs = self.regions.iter().zip(self.regions.iter().skip(1));
        let later = pairs.filter(|(one, next)| one.buffer != next.buffer).map(|(_, next)| next);
        let first = self.regions.first().filter(|region| region.buffer > 0);
        first.into_iter().chain(later).map(|region| region.offset - self.buffer_head)
    }

    /// What the option LIVE says while recording.
    pub(super) fn live(&self) -> Live {
        let regions = self.regions.iter();
        let regions = regions.map(|region| Gap { offset: region.offset, len: region.len });
        // One before each region and before the head of each buffer but the first, and one at the start.
        let gaps = vec![Gap::default(); self.regions.len() + self.buffers.len()];
        let starts = if self.keeps_end { vec![0; self.regions.len()] } else { Vec::new() };
        Live { file_len: 0, gaps, regions: regions.collect(), starts }
    }

    /// Where all goes behind a head of so many bytes, which begins at `base`: what is before that
    /// is the last gap.
    pub(super) fn arrange(
        &self,
        base: u64,
        head_len: u64,
        recorded: &[Recorded],
    ) -> Result<Arranged, WriteError> {
        let first = (base > 0).then_some(Gap { offset: 0, len: base });
        let gaps = first.into_iter().collect();
        let mut packing = Packing { align: self.align, end: head_len, taken: base, gaps };
        let top = BufferHead { buffer: 0, head: None, end: head_len };
        let mut arranged = Arranged { heads: vec![top], ..Arranged::default() };
        for (region, recorded) in self.regions.iter().zip(recorded) {
            if arranged.heads.last().is_some_and(|head| head.buffer != region.buffer) {
                let at = region.offset - self.buffer_head;
                let head = Some((at - base, packing.place(at, self.buffer_head)?));
                arranged.heads.push(BufferHead { buffer: region.buffer, head, end: packing.end });
            }
            let offset = match recorded.size_on_disk {
                0 => packing.end.next_multiple_of(self.align),
                len => {
                    // Gaps are whole blocks, and what is kept may start within one.
                    let lead = recorded.start % self.align;
                    let at = region.offset + recorded.start - lead;
                    packing.place(at, lead + len)? + lead
                }
            };
            if let Some(head) = arranged.heads.last_mut() {
                head.end = packing.end;
            }
            arranged.offsets.push(offset);
        }
        packing.gaps.reverse();
        (arranged.gaps, arranged.len) = (packing.gaps, packing.end);
        // Sections follow one another without a gap: all but the last end where the next one starts.
        let count = arranged.heads.len();
        for head in arranged.heads.iter_mut().take(count.saturating_sub(1)) {
            head.end = head.end.next_multiple_of(self.align);
        }
        Ok(arranged)
    }

    /// Where the data of each CPU is.
    pub(super) fn placements(&self, offsets: &[u64], recorded: &[Recorded]) -> Vec<Placement> {
        let all = self.regions.iter().zip(offsets).zip(recorded);
        let used = all.filter(|(_, recorded)| recorded.size_on_disk > 0);
        used.map(|((region, &offset), recorded)| Placement {
            buffer: self.buffer(region).name.clone(),
            cpu: region.cpu,
            offset,
            size_on_disk: recorded.size_on_disk,
            size: recorded.size,
        })
        .collect()
    }

    pub(super) fn buffer(&self, region: &Region) -> &LiveBuffer {
        &self.buffers[region.buffer]
    }

    /// Refuses sizes that do not belong to the regions.
    pub(super) fn check(&self, recorded: &[Recorded]) -> Result<(), WriteError> {
        for (index, region) in self.regions.iter().enumerate() {
            let end = recorded.get(index);
            let end = end.and_then(|recorded| recorded.start.checked_add(recorded.size_on_disk));
            if end.is_none_or(|end| end > region.len) {
                let of = DataOf { buffer: self.buffer(region).name.clone(), cpu: region.cpu };
                return Err(WriteError::NotRecorded { of });
            }
        }
        Ok(())
    }
}

/// Where all goes in the closed file.
#[derive(Debug, Default)]
pub(super) struct Arranged {
    pub(super) heads: Vec<BufferHead>,
    /// Of each region.
    pub(super) offsets: Vec<u64>,
    /// What is to be taken out, the last one first.
    pub(super) gaps: Vec<Gap>,
    /// Bytes of the closed file.
    pub(super) len: u64,
}

/// What stands before the data of a buffer.
#[derive(Debug)]
pub(super) struct BufferHead {
    pub(super) buffer: usize,
    /// Where it is written, from the base on, and where it will be; `None` for the first buffer's.
    pub(super) head: Option<(u64, u64)>,
    /// Where the buffer ends in the closed file.
    pub(super) end: u64,
}

/// Puts parts of a file one behind the other.
struct Packing {
    align: u64,
    /// Where the last part ends.
    end: u64,
    /// Bytes taken out so far.
    taken: u64,
    gaps: Vec<Gap>,
}

impl Packing {
    /// Puts what is at `at` behind all others; returns where it will be.
    fn place(&mut self, at: u64, len: u64) -> Result<u64, WriteError> {
        let start = self.end.next_multiple_of(self.align);
        let from = start + self.taken;
        let Some(gap) = at.checked_sub(from) else {
            return Err(WriteError::TooLarge {
                what: "what is before a CPU's data",
                size: from,
                limit: at,
            });
        };
        if gap > 0 {
            self.gaps.push(Gap { offset: from, len: gap });
            self.taken += gap;
        }
        self.end = start + len;
        Ok(start)
    }
}

/// A file that is complete as soon as its gaps are taken out and [`commit`](Self::commit) was called.
#[must_use = "without `commit` the file stays as it was while it was recorded"]
#[derive(Debug)]
pub struct Closing<W: Write + Seek> {
    output: Output<W>,
    gaps: Vec<Gap>,
    len: u64,
    placements: Vec<Placement>,
    /// The link to the last options, which is what makes the file complete; without it the last gap
    /// does.
    link: Option<(u64, u64)>,
}

impl<W: Write + Seek> Closing<W> {
    pub(super) fn new(
        output: Output<W>,
        arranged: Arranged,
        link: Option<(u64, u64)>,
        layout: &LiveLayout,
        recorded: &[Recorded],
    ) -> Self {
        let placements = layout.placements(&arranged.offsets, recorded);
        let Arranged { gaps, len, .. } = arranged;
        Self { output, gaps, len, placements, link }
    }

    /// What has to be taken out of the file, in this order.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Bytes of the file without its gaps.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Goes on with `output`, to which the file was copied without its gaps.
    ///
    /// # Errors
    /// When `output` refuses.
    pub fn copied_to<O: Write + Seek>(self, output: O) -> Result<Closing<O>, WriteError> {
        let Self { output: old, gaps, len, placements, link } = self;
        let output = Output::new(output, old.order(), len)?;
        Ok(Closing { output, gaps, len, placements, link })
    }

    /// Completes the file. Returns where the data of each CPU is.
    ///
    /// # Errors
    /// When the output refuses.
    pub fn commit(mut self) -> Result<Vec<Placement>, WriteError> {
        if let Some((at, offset)) = self.link {
            let bytes = self.output.order().put_u64(offset);
            self.output.patch(at, &bytes)?;
        }
        self.output.flush()?;
        Ok(self.placements)
    }
}
