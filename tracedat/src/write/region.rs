//! The region of a recording that the data of one CPU goes to, and what is kept of it when that may
//! not be all.
//!
//! ```text
//! │ given back to the disk … │ older half │ younger half → …            │
//!                            └ start, which the option LIVE tells
//! ```
//!
//! When the younger half is full, the older one is given back and the next begins: data is in order
//! and in one piece at every moment, and nothing is written twice. Only where a region ends what is kept
//! moves to its front, once in a very long time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{Recorded, Region, WriteError};
use crate::abi::ByteOrder;

/// Bytes copied at once.
const COPY_LEN: u64 = 1 << 20;

/// A half is at most so much of its region, so that what is kept can move to the front.
const PARTS_OF_REGION: u64 = 8;

/// How much is kept of the data of a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Cap {
    /// Bytes of sub-buffers that are kept at most; at least half of it is.
    pub max: u64,
    /// Where the file tells where the data starts: [`Writer::start_place`](super::Writer::start_place).
    pub start_place: u64,
    /// Gives so many bytes of a file, from an offset on, back to the disk, as fallocate(2) with
    /// `FALLOC_FL_PUNCH_HOLE` does. Where it cannot, the disk has all until the file is closed.
    pub release: fn(&File, u64, u64) -> io::Result<()>,
}

/// A region that is written to.
#[derive(Debug)]
pub struct RegionFile {
    file: File,
    region: Region,
    order: ByteOrder,
    cap: Option<Cap>,
    /// Bytes of sub-buffers in a half.
    half: u64,
    /// Bytes before the first chunk: their number.
    prefix: u64,
    older: Half,
    younger: Half,
    /// Where the next data goes, counted from the start of the region.
    end: u64,
    overwritten: u64,
    gives_back: bool,
}

/// A part of what is kept.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// Where it begins, counted from the start of the region.
    start: u64,
    /// Bytes of sub-buffers.
    size: u64,
    chunks: u32,
}

impl RegionFile {
    /// Writes to `region` of `file`, in the file's byte order.
    pub fn new(file: File, region: Region, order: ByteOrder) -> Self {
        Self {
            file,
            region,
            order,
            cap: None,
            half: u64::MAX,
            prefix: 0,
            older: Half::default(),
            younger: Half::default(),
            end: 0,
            overwritten: 0,
            gives_back: false,
        }
    }

    /// Keeps the end of what is written, in halves of whole sub-buffers of `page_size` bytes.
    #[must_use]
    pub fn capped(mut self, cap: Cap, page_size: u32) -> Self {
        let unit = u64::from(page_size.max(1));
        let half = (cap.max / 2).min(self.region.len / PARTS_OF_REGION);
        self.half = (half / unit).max(1).saturating_mul(unit);
        (self.cap, self.gives_back) = (Some(cap), true);
        self
    }

    /// Has the number of chunks before the data.
    pub(super) fn in_chunks(mut self) -> Self {
        self.prefix = 4;
        self.end = self.prefix;
        self.older.start = self.end;
        self.younger.start = self.end;
        self
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    pub(super) fn order(&self) -> ByteOrder {
        self.order
    }

    /// Bytes of sub-buffers that the younger half still takes.
    pub(super) fn room(&self) -> u64 {
        self.half.saturating_sub(self.younger.size)
    }

    /// What is whole in the file.
    pub(super) fn recorded(&self) -> Recorded {
        let size = self.older.size + self.younger.size;
        let start = self.start();
        let size_on_disk = if size > 0 { self.end - start } else { 0 };
        Recorded { start, size_on_disk, size, overwritten: self.overwritten }
    }

    /// Adds data that `size` bytes of sub-buffers have become, in so many chunks.
    pub(super) fn append(
        &mut self,
        bytes: &[u8],
        size: u64,
        chunks: u32,
    ) -> Result<(), WriteError> {
        let len = bytes.len() as u64;
        self.make_room(len)?;
        self.write(bytes, self.end)?;
        // Written last: so many are whole, whoever is killed.
        self.tell_chunks(self.older.chunks + self.younger.chunks + chunks)?;
        self.end += len;
        self.younger.size += size;
        self.younger.chunks += chunks;
        Ok(())
    }

    /// Makes the younger half the older one, which is given back.
    pub(super) fn begin_half(&mut self) -> Result<(), WriteError> {
        let next = Half { start: self.end, ..Half::default() };
        let from = self.start();
        let gone = std::mem::replace(&mut self.older, std::mem::replace(&mut self.younger, next));
        self.overwritten += gone.size;
        if gone.size == 0 {
            return Ok(());
        }
        self.tell_chunks(self.older.chunks)?;
        self.tell_start()?;
        self.give_back(from, self.start());
        Ok(())
    }

    fn start(&self) -> u64 {
        self.older.start - self.prefix
    }

    /// Moves what is kept to the front of the region, if there is no room for `len` bytes behind it.
    fn make_room(&mut self, len: u64) -> Result<(), WriteError> {
        let used = self.end.saturating_add(len);
        if used <= self.region.len {
            return Ok(());
        }
        let (from, kept) = (self.start(), self.end - self.start());
        // Readers take the first bytes that are zero for the end, so what was there has to be gone.
        if !self.gives_back || kept.saturating_add(len) > from {
            let limit = self.region.len;
            return Err(WriteError::TooLarge { what: "data of a CPU", size: used, limit });
        }
        self.copy_to_front(from, kept)?;
        self.older.start -= from;
        self.younger.start -= from;
        self.end -= from;
        self.tell_start()?;
        self.give_back(from, from + kept);
        Ok(())
    }

    fn copy_to_front(&self, from: u64, len: u64) -> Result<(), WriteError> {
        let mut buffer = vec![0; COPY_LEN.min(len) as usize];
        let mut done = 0;
        while done < len {
            let most = usize::try_from(len - done).unwrap_or(usize::MAX).min(buffer.len());
            let (part, offset) = (&mut buffer[..most], self.region.offset + from + done);
            let read = self.file.read_exact_at(part, offset);
            read.map_err(|source| WriteError::Io { offset, source })?;
            self.write(&buffer[..most], done)?;
            done += most as u64;
        }
        Ok(())
    }

    /// Has the file say where the data starts, in one write.
    fn tell_start(&self) -> Result<(), WriteError> {
        let Some(cap) = &self.cap else { return Ok(()) };
        let (start, offset) = (self.order.put_u64(self.start()), cap.start_place);
        let written = self.file.write_all_at(&start, offset);
        written.map_err(|source| WriteError::Io { offset, source })
    }

    fn tell_chunks(&self, chunks: u32) -> Result<(), WriteError> {
        match self.prefix {
            0 => Ok(()),
            _ => self.write(&self.order.put_u32(chunks), self.start()),
        }
    }

    fn give_back(&mut self, from: u64, to: u64) {
        let offset = self.region.offset + from;
        if let Some(cap) = self.cap.as_ref().filter(|_| self.gives_back) {
            self.gives_back = (cap.release)(&self.file, offset, to - from).is_ok();
        }
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), WriteError> {
        let offset = self.region.offset + at;
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|source| WriteError::Io { offset, source })
    }
}
