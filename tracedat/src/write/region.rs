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

    /// Whether the number of chunks may come to lie where the last chunk of the half before ends. Whoever is killed
    /// between that and telling the new start leaves both.
    pub(super) fn needs_slack(&self) -> bool {
        self.cap.is_some()
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
        // This goes to the slack of the last chunk that is given up.
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::compress::Codec;
    use crate::write::{ChunkSink, EndSink};

    const PAGE: usize = 512;

    /// Where a file of these tests tells the start, and where its region is.
    const START_PLACE: u64 = 8;
    const REGION: u64 = 4096;

    /// What a disk does with a hole.
    fn zeros(file: &File, offset: u64, len: u64) -> io::Result<()> {
        file.write_all_at(&vec![0; len as usize], offset)
    }

    fn no_holes(_: &File, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn region(
        file: &File,
        len: u64,
        max: u64,
        release: fn(&File, u64, u64) -> io::Result<()>,
    ) -> RegionFile {
        let region = Region { buffer: 0, cpu: 0, offset: REGION, len };
        let cap = Cap { max, start_place: START_PLACE, release };
        RegionFile::new(file.try_clone().unwrap(), region, ByteOrder::Little)
            .capped(cap, PAGE as u32)
    }

    /// Sub-buffers without zeros, in writes of many at once; each is told what is written so far.
    fn write(
        mut sink: impl Write,
        seed: u32,
        writes: u32,
        mut check: impl FnMut(&[u8]),
    ) -> Vec<u8> {
        let mut random = seed;
        let mut below = |limit: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) % limit
        };
        let mut written = Vec::new();
        for _ in 0..writes {
            let start = written.len();
            for _ in 0..1 + below(100) {
                written.extend([1 + below(255) as u8; PAGE]);
            }
            sink.write_all(&written[start..]).unwrap();
            check(&written);
        }
        written
    }

    /// The region of a file, from where it says that data starts, up to what is zero.
    fn data(file: &File) -> Vec<u8> {
        let mut place = [0; 8];
        file.read_exact_at(&mut place, START_PLACE).unwrap();
        let len = file.metadata().unwrap().len();
        let mut bytes = vec![0; (len - REGION) as usize];
        file.read_exact_at(&mut bytes, REGION).unwrap();
        let mut data = bytes.split_off(u64::from_le_bytes(place) as usize);
        assert!(bytes.iter().all(|&byte| byte == 0), "the disk still has what was given back");
        let end = data.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        data.truncate(end);
        data
    }

    #[test]
    fn the_end_is_kept_in_order_whatever_comes_at_once() {
        for cap_kb in [1, 2, 3, 7, 16, 39] {
            let (file, cap) = (tempfile::tempfile().unwrap(), cap_kb * 1024);
            // Several times to the end of the region.
            let sink = EndSink::new(region(&file, 8 * cap, cap, zeros));
            let kept = sink.kept();
            write(sink, cap_kb as u32, 60, |written| {
                let kept = kept.recorded();
                let (cap, size) = (cap as usize, kept.size as usize);
                let least = written.len().min(cap / 2 / PAGE * PAGE);
                assert!((least..=cap.max(2 * PAGE)).contains(&size), "{size} of {cap}");
                assert_eq!(size % PAGE, 0);
                assert_eq!(kept.size_on_disk, kept.size);
                assert_eq!(kept.overwritten, (written.len() - size) as u64);
                assert_eq!(data(&file), written[written.len() - size..]);
            });
        }
    }

    #[test]
    fn a_half_has_at_least_one_sub_buffer() {
        let file = tempfile::tempfile().unwrap();
        let sink = EndSink::new(region(&file, 1 << 20, 1, zeros));
        let kept = sink.kept();
        let written = write(sink, 1, 2, |_| {});
        assert_eq!(kept.recorded().size, 2 * PAGE as u64);
        assert_eq!(data(&file), written[written.len() - 2 * PAGE..]);
    }

    #[test]
    fn a_disk_without_holes_has_all_up_to_the_end_of_the_region() {
        let (file, len) = (tempfile::tempfile().unwrap(), 200 * PAGE as u64);
        let mut sink = EndSink::new(region(&file, len, 10 * PAGE as u64, no_holes));
        let kept = sink.kept();
        let error = (0..1000).find_map(|_| sink.write_all(&[7; 5 * PAGE]).err()).unwrap();
        assert!(error.to_string().contains("data of a CPU"), "{error}");
        let recorded = kept.recorded();
        assert_eq!(recorded.start + recorded.size_on_disk, len);
        assert_eq!(recorded.size + recorded.overwritten, len);
    }

    /// What so many chunks as told become.
    #[cfg(feature = "zstd")]
    fn unpacked(codec: Codec, data: &[u8]) -> Vec<u8> {
        let (count, mut rest) = data.split_first_chunk().unwrap();
        let mut raw = Vec::new();
        for _ in 0..u32::from_le_bytes(*count) {
            let (header, behind) = rest.split_at(8);
            let [len, size] = [&header[..4], &header[4..]]
                .map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()) as usize);
            let mut chunk = Vec::new();
            codec
                .decompressor()
                .unwrap()
                .decompress_into(&behind[..len], size, &mut chunk)
                .unwrap();
            assert_eq!(chunk.len(), size);
            raw.extend(chunk);
            rest = &behind[len..];
        }
        assert!(rest.is_empty());
        raw
    }

    #[cfg(all(feature = "zstd", feature = "zlib"))]
    #[test]
    fn who_is_killed_while_a_half_is_given_up_leaves_whole_chunks() {
        for codec in [Codec::Zstd, Codec::Zlib] {
            let file = tempfile::tempfile().unwrap();
            let region = Region { buffer: 0, cpu: 0, offset: REGION, len: 1 << 20 };
            // There the start cannot be told: all ends where it had to be.
            let start_place = i64::MAX as u64;
            let cap = Cap { max: 40 * PAGE as u64, start_place, release: zeros };
            let region = RegionFile::new(file.try_clone().unwrap(), region, ByteOrder::Little)
                .capped(cap, PAGE as u32);
            let (mut sink, pending) =
                ChunkSink::start(region, codec, PAGE as u32, 1, || {}).unwrap();
            let sub_buffers: Vec<u8> = (0..41 * PAGE).map(|at| (at / 7 % 255) as u8 + 1).collect();
            sink.write_all(&sub_buffers).unwrap();
            drop(sink);
            assert!(matches!(pending.finish().1, Err(WriteError::Io { .. })));
            // As it was from the old start on, with what was written there for the new one.
            let whole = unpacked(codec, &data(&file));
            assert!(whole == sub_buffers[..40 * PAGE], "{codec}: {} bytes", whole.len());
        }
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn the_end_is_kept_in_whole_chunks() {
        for (cap, writes) in [(9 * PAGE, 40), (31 * PAGE, 40), (200 * PAGE, 90), (2000 * PAGE, 1)] {
            let (file, cap) = (tempfile::tempfile().unwrap(), cap as u64);
            let region = region(&file, 8 * cap, cap, zeros);
            let (sink, pending) =
                ChunkSink::start(region, Codec::Zstd, PAGE as u32, 1, || {}).unwrap();
            let written = write(sink, 3, writes, |_| {});
            let (recorded, result) = pending.finish();
            result.unwrap();
            let (data, size) = (data(&file), recorded.size as usize);
            assert_eq!(recorded.size + recorded.overwritten, written.len() as u64);
            let least = written.len().min(cap as usize / 2 / PAGE * PAGE);
            assert!((least..=cap as usize).contains(&size), "{size} of {cap}");
            assert_eq!(data.len() as u64, recorded.size_on_disk);
            let raw = unpacked(Codec::Zstd, &data);
            assert!(raw == written[written.len() - size..]);
        }
    }
}
