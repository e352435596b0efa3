//! The records of one CPU: sub-buffer after sub-buffer from the file, entry after entry.

mod seek;

pub(crate) use seek::Part;

use std::collections::VecDeque;
use std::sync::Arc;

use super::ahead::{Ahead, Chunk, ReadAhead, Unpacker};
use super::damage::{Damage, MACHINE_PAGE};
use crate::abi::{Abi, ByteOrder};
use crate::clock::ClockCorrection;
use crate::compress::Codec;
use crate::error::{DecodeError, ReadError};
use crate::layout::CompressedHeader;
use crate::metadata::{Buffer, CpuData, Warning};
use crate::ring_buffer::{
    Encoding, Entry, EntryCursor, HeaderPage, MissedEvents, Record, SubBuffer, SubBufferHeader,
};
use crate::source::ReadAt;
use seek::Times;

/// Largest sub-buffer that is read whole; what a larger one has beyond is left out.
const MAX_SUB_BUFFER: usize = 16 << 20;

/// Chunks may be so many sub-buffers long, but not longer than the second.
const MAX_CHUNK_SUB_BUFFERS: u64 = 64;
const MAX_CHUNK: u64 = 64 << 20;

/// Bytes that all CPUs of a file may hold together: 10 sub-buffers each of more CPUs than any
/// machine has.
const MAX_HELD: u64 = 512 << 20;

/// Largest chunk that is made before it is wanted: what usual sub-buffers become.
const MAX_AHEAD: usize = 1 << 20;

/// Warnings that are kept of one file; more tell nothing new.
pub(super) const MAX_WARNINGS: usize = 1000;

/// What the CPUs of one file share while reading.
pub(super) struct Shared {
    source: Arc<dyn ReadAt>,
    codec: Codec,
    abi: Abi,
    unpacker: Unpacker,
    /// Who makes chunks before they are wanted.
    pub(super) ahead: Option<ReadAhead>,
    /// Bytes that the CPUs hold, and may hold at most.
    held: u64,
    max_held: u64,
    pub(super) damage: Damage,
    pub(super) warnings: Vec<Warning>,
}

impl Shared {
    pub(super) fn new(source: Arc<dyn ReadAt>, codec: Codec, abi: Abi) -> Self {
        let (unpacker, damage, warnings) = (Unpacker::default(), Damage::default(), Vec::new());
        let (held, max_held) = (0, MAX_HELD);
        Self { source, codec, abi, unpacker, ahead: None, held, max_held, damage, warnings }
    }

    pub(super) fn byte_order(&self) -> ByteOrder {
        self.abi.byte_order
    }

    fn chunk(&self, body: u64, compressed: u64, size: usize) -> Chunk {
        Chunk { source: Arc::clone(&self.source), codec: self.codec, body, compressed, size }
    }

    /// Makes room for `len` bytes in a CPU's window; false when all CPUs would hold too much.
    #[inline]
    fn reserve(&mut self, window: &mut Vec<u8>, len: usize) -> bool {
        if window.capacity() >= len {
            return true;
        }
        let more = (len - window.capacity()) as u64;
        if self.held.saturating_add(more) > self.max_held {
            return false;
        }
        window.reserve_exact(len - window.len());
        self.held += more;
        true
    }

    #[cold]
    fn warn(&mut self, offset: u64, message: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning { offset: Some(offset), message });
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        self.source.read_full_at(buffer, offset).map_err(|source| ReadError::Io { offset, source })
    }
}

/// The records of one CPU of one buffer. Holds one window of the file, or one chunk.
pub(super) struct CpuStream {
    pub(super) buffer: u32,
    pub(super) cpu: u32,
    pub(super) correction: ClockCorrection,
    header_page: HeaderPage,
    encoding: Encoding,
    page_size: u64,
    start: u64,
    size: u64,
    storage: Pages,
    /// Bytes of the file, or of a chunk; `window_len` of them are valid.
    window: Vec<u8>,
    window_len: usize,
    window_size: usize,
    /// Where the next sub-buffer starts in the window, when it is a chunk.
    next_in_chunk: usize,
    /// Where the current sub-buffer or its chunk is in the file.
    page_offset: u64,
    cursor: EntryCursor,
    /// Where the current sub-buffer ends in the window, and where its entries do as it says itself.
    sub_buffer_end: usize,
    entries_end: usize,
    /// How far fields may claim bytes that their record does not have.
    claimable_end: usize,
    head: Head,
    missed: MissedEvents,
    starts_sub_buffer: bool,
    /// Which records are wanted; others are passed over.
    times: Times,
    /// The chunks that are made before they are wanted.
    ahead: Ahead,
}

/// Where the next sub-buffer comes from.
enum Pages {
    /// From the window, which is refilled from the file.
    Plain { next: u64, end: u64, window_offset: u64 },
    /// From chunks, of which so many are left. Their number counts, not the size of the data:
    /// writers disagree whether the latter includes the former.
    Chunks { next: u64, left: Option<u32> },
    /// From nowhere but this queue, which is added to while it is read.
    Fed(VecDeque<Box<[u8]>>),
}

/// The record that comes next.
#[derive(Clone, Copy, Default)]
struct Head {
    ticks: u64,
    time: u64,
    start: usize,
    end: usize,
    missed: MissedEvents,
    starts_sub_buffer: bool,
}

impl CpuStream {
    pub(super) fn new(
        data: &CpuData,
        buffer: &Buffer,
        index: u32,
        header_page: HeaderPage,
        abi: Abi,
        window_size: usize,
    ) -> Self {
        let (next, end) = (data.offset, data.offset.saturating_add(data.size));
        Self {
            buffer: index,
            cpu: data.cpu,
            correction: ClockCorrection::default(),
            header_page,
            encoding: Encoding::new(abi.byte_order, &header_page),
            page_size: u64::from(buffer.page_size.max(1)),
            start: data.offset,
            size: data.size,
            storage: if buffer.compressed && data.size > 0 {
                Pages::Chunks { next, left: None }
            } else {
                Pages::Plain { next, end, window_offset: next }
            },
            window: Vec::new(),
            window_len: 0,
            window_size,
            next_in_chunk: 0,
            page_offset: data.offset,
            cursor: EntryCursor::END,
            sub_buffer_end: 0,
            entries_end: 0,
            claimable_end: 0,
            head: Head::default(),
            missed: MissedEvents::None,
            starts_sub_buffer: false,
            times: Times::ALL,
            ahead: Ahead::default(),
        }
    }

    /// Has sub-buffers put into its queue instead of a place in a file.
    pub(super) fn fed(mut self) -> Self {
        self.storage = Pages::Fed(VecDeque::new());
        self
    }

    /// Puts a sub-buffer behind those that are there. A stream that had come to its end has to advance again.
    pub(super) fn feed(&mut self, sub_buffer: &[u8]) {
        if let Pages::Fed(queue) = &mut self.storage {
            queue.push_back(sub_buffer.into());
        }
    }

    /// Bytes in the queue.
    pub(super) fn queued(&self) -> usize {
        match &self.storage {
            Pages::Fed(queue) => queue.iter().map(|sub_buffer| sub_buffer.len()).sum(),
            _ => 0,
        }
    }

    /// Bytes of a sub-buffer.
    pub(super) fn page_size(&self) -> usize {
        usize::try_from(self.page_size).unwrap_or(usize::MAX)
    }

    /// The time of the last record in a sub-buffer of this CPU, if there is one.
    pub(super) fn last_time(&self, sub_buffer: &[u8], byte_order: ByteOrder) -> Option<u64> {
        let entries = SubBuffer::parse(sub_buffer, &self.header_page, byte_order).ok()?;
        let (ticks, _) = entries.map_while(Result::ok).last()?;
        Some(self.correction.apply(ticks))
    }

    /// The record that [`CpuStream::advance`] came to.
    #[inline]
    pub(super) fn record(&self) -> Record<'_> {
        let head = &self.head;
        Record {
            data: self.window.get(head.start..head.end).unwrap_or_default(),
            behind: self.window.get(head.end..self.claimable_end).unwrap_or_default(),
            ticks: head.ticks,
            time: head.time,
            cpu: self.cpu,
            buffer: self.buffer,
            missed: head.missed,
            starts_sub_buffer: head.starts_sub_buffer,
        }
    }

    /// The time of that record.
    #[inline]
    pub(super) fn time(&self) -> u64 {
        self.head.time
    }

    /// The bytes of that record.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        self.window.get(self.head.start..self.head.end).unwrap_or_default()
    }

    /// Makes `time` 0, for the record that was come to as well.
    pub(super) fn count_from(&mut self, time: u64) {
        self.correction = std::mem::take(&mut self.correction).counted_from(time);
        self.times = self.times.counted_from(time);
        self.head.time = self.correction.apply(self.head.ticks);
    }

    /// Moves to the next record of those that are wanted; its time, `None` after the last.
    #[inline]
    pub(super) fn advance(&mut self, shared: &mut Shared) -> Result<Option<u64>, ReadError> {
        loop {
            match self.cursor.next(&self.window, self.encoding) {
                Ok(Some(entry)) => {
                    let time = self.come_to(&entry);
                    if self.times.have(time) {
                        return Ok(Some(time));
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    if let Some(entry) = self.damaged(&error, shared) {
                        let time = self.come_to(&entry);
                        if self.times.have(time) {
                            return Ok(Some(time));
                        }
                    }
                    continue;
                }
            }
            if !self.next_sub_buffer(shared)? {
                return Ok(None);
            }
        }
    }

    /// What is made of an entry that is damaged; without one, what comes next is looked for.
    #[cold]
    fn damaged(&mut self, error: &DecodeError, shared: &mut Shared) -> Option<Entry> {
        let cpu = self.cpu;
        if shared.damage == Damage::AsFound {
            shared.warn(self.page_offset, format!("CPU {cpu}: damaged entry: {error}"));
            let bytes = self.window.get(..self.readable()).unwrap_or_default();
            return self.cursor.force(self.entries_end, bytes, self.encoding);
        }
        let message = format!("CPU {cpu}: rest of a sub-buffer left out: {error}");
        shared.warn(self.page_offset, message);
        None
    }

    /// Makes an entry the record that comes next; its time.
    #[inline]
    fn come_to(&mut self, entry: &Entry) -> u64 {
        let time = self.correction.apply(entry.ticks);
        self.head = Head {
            ticks: entry.ticks,
            time,
            start: entry.data.start,
            end: entry.data.end,
            missed: std::mem::take(&mut self.missed),
            starts_sub_buffer: std::mem::take(&mut self.starts_sub_buffer),
        };
        time
    }

    /// How much of the window is from the file: the sub-buffer, and what was read with it.
    fn readable(&self) -> usize {
        self.window_len.max(self.sub_buffer_end)
    }

    /// Goes to the sub-buffer with a number, counted from 0; its first record comes next.
    pub(super) fn seek(&mut self, sub_buffer: u64, shared: &mut Shared) -> Result<(), ReadError> {
        self.forget_place();
        let skip = sub_buffer.saturating_mul(self.page_size);
        match &mut self.storage {
            Pages::Plain { next, .. } => *next = self.start.saturating_add(skip),
            Pages::Chunks { next, left } => {
                (*next, *left) = (self.start, None);
                self.window_len = 0;
                self.next_in_chunk = 0;
                self.skip_chunks(skip, shared)?;
            }
            // What was read is gone.
            Pages::Fed(_) => {}
        }
        Ok(())
    }

    /// Leaves the current sub-buffer, and what was to be told of it.
    fn forget_place(&mut self) {
        self.cursor = EntryCursor::END;
        self.missed = MissedEvents::None;
        self.starts_sub_buffer = false;
    }

    /// Bytes of all sub-buffers, uncompressed.
    pub(super) fn data_size(&mut self, shared: &mut Shared) -> Result<u64, ReadError> {
        let Pages::Chunks { next, left } = &mut self.storage else { return Ok(self.size) };
        let place = (std::mem::replace(next, self.start), left.take());
        let mut size: u64 = 0;
        let result = loop {
            match self.chunk_header(shared) {
                Ok(Some((body, header))) => {
                    size = size.saturating_add(u64::from(header.uncompressed));
                    self.pass_chunk(body.saturating_add(u64::from(header.compressed)));
                }
                Ok(None) => break Ok(size),
                Err(error) => break Err(error),
            }
        };
        if let Pages::Chunks { next, left } = &mut self.storage {
            (*next, *left) = place;
        }
        result
    }

    /// Passes over chunks that end before `skip` uncompressed bytes, reading their headers only.
    fn skip_chunks(&mut self, mut skip: u64, shared: &mut Shared) -> Result<(), ReadError> {
        while let Some((body, header)) = self.chunk_header(shared)? {
            if u64::from(header.uncompressed) > skip {
                if self.fill_from_chunk(body, header, shared)? {
                    self.next_in_chunk = skip as usize;
                }
                break;
            }
            skip -= u64::from(header.uncompressed);
            self.pass_chunk(body.saturating_add(u64::from(header.compressed)));
        }
        Ok(())
    }

    /// Comes to the next sub-buffer; false after the last.
    fn next_sub_buffer(&mut self, shared: &mut Shared) -> Result<bool, ReadError> {
        self.cursor = EntryCursor::END;
        let Some((start, len)) = self.next_raw(shared)? else { return Ok(false) };
        let as_found = shared.damage == Damage::AsFound;
        let plain = matches!(self.storage, Pages::Plain { .. });
        if as_found && plain && !self.page_offset.is_multiple_of(MACHINE_PAGE) {
            let message = format!("CPU {}: ends before a sub-buffer at no page", self.cpu);
            shared.warn(self.page_offset, message);
            self.end();
            return Ok(false);
        }
        let bytes = self.window.get(start..start + len).unwrap_or_default();
        let byte_order = shared.abi.byte_order;
        let header = match SubBufferHeader::parse(bytes, &self.header_page, byte_order) {
            Ok(header) => header,
            Err(error) => {
                shared.warn(self.page_offset, format!("CPU {}: {error}", self.cpu));
                return Ok(true);
            }
        };
        self.sub_buffer_end = start + len;
        if as_found && (header.end - header.start) as u64 > self.page_size {
            let (claimed, cpu) = (header.end - header.start, self.cpu);
            let message =
                format!("CPU {cpu}: ends before a sub-buffer that claims {claimed} bytes");
            shared.warn(self.page_offset, message);
            self.end();
            return Ok(false);
        }
        // What stands behind a sub-buffer may have to count as its own.
        let len = if as_found { self.readable() - start } else { len };
        self.claimable_end = start + len;
        let bytes = self.window.get(start..start + len).unwrap_or_default();
        match header.missed_events(bytes, &self.header_page, byte_order) {
            // Losses before a sub-buffer without records are told with the next record.
            MissedEvents::None => {}
            missed => self.missed = missed,
        }
        let end = header.end.min(len);
        if end < header.end {
            let (claimed, cpu) = (header.end, self.cpu);
            let message = format!("CPU {cpu}: sub-buffer of {claimed} bytes ends after {len}");
            shared.warn(self.page_offset, message);
        }
        self.starts_sub_buffer = true;
        self.entries_end = start + header.end;
        self.cursor = EntryCursor::new(start + header.start, start + end, header.ticks);
        Ok(true)
    }

    /// Leaves out all sub-buffers that are left.
    fn end(&mut self) {
        match &mut self.storage {
            Pages::Plain { next, end, .. } => *end = *next,
            Pages::Chunks { left, .. } => {
                *left = Some(0);
                self.next_in_chunk = self.window_len;
            }
            Pages::Fed(queue) => queue.clear(),
        }
    }

    /// The next sub-buffer, whatever is in it: where it is in the window, `None` after the last.
    pub(super) fn next_raw(
        &mut self,
        shared: &mut Shared,
    ) -> Result<Option<(usize, usize)>, ReadError> {
        match self.storage {
            Pages::Plain { .. } => self.next_plain(shared),
            Pages::Chunks { .. } => self.next_of_chunk(shared),
            Pages::Fed(_) => Ok(self.next_fed()),
        }
    }

    /// The bytes at which [`CpuStream::next_raw`] has pointed last.
    pub(super) fn raw(&self, (start, len): (usize, usize)) -> &[u8] {
        self.window.get(start..).and_then(|bytes| bytes.get(..len)).unwrap_or_default()
    }

    /// The next sub-buffer of the queue, which becomes the window.
    fn next_fed(&mut self) -> Option<(usize, usize)> {
        let Pages::Fed(queue) = &mut self.storage else { return None };
        let next = queue.pop_front()?;
        self.page_offset = self.page_offset.saturating_add(self.window_len as u64);
        self.window = next.into_vec();
        self.window_len = self.window.len();
        Some((0, self.window_len))
    }

    /// The next sub-buffer of data that is not compressed: where it is in the window.
    fn next_plain(&mut self, shared: &mut Shared) -> Result<Option<(usize, usize)>, ReadError> {
        let Pages::Plain { next, end, window_offset } = &mut self.storage else { return Ok(None) };
        let (at, left) = (*next, end.saturating_sub(*next));
        if left == 0 {
            return Ok(None);
        }
        self.page_offset = at;
        let whole = left.min(self.page_size).min(MAX_SUB_BUFFER as u64) as usize;
        let held = |window_offset: u64, window_len: usize| {
            let start = usize::try_from(at.checked_sub(window_offset)?).ok()?;
            (start.checked_add(whole)? <= window_len).then_some(start)
        };
        if let Some(start) = held(*window_offset, self.window_len) {
            *next = at.saturating_add(self.page_size);
            return Ok(Some((start, whole)));
        }
        let header_len = self.header_page.data_offset as usize;
        // A window of whole sub-buffers; of one that is larger, only what is used.
        let step = if whole <= self.window_size {
            let whole = whole.max(1);
            (self.window_size / whole * whole).min(usize::try_from(left).unwrap_or(usize::MAX))
        } else {
            self.window_size.max(header_len)
        };
        if !shared.reserve(&mut self.window, step) {
            let cpu = self.cpu;
            shared.warn(at, format!("CPU {cpu}: left out, too many CPUs hold too much memory"));
            *end = at;
            return Ok(None);
        }
        if self.window.len() < step {
            self.window.resize(step, 0);
        }
        let mut filled = shared.read_at(&mut self.window[..step], at)?;
        *window_offset = at;
        self.window_len = filled;
        *next = at.saturating_add(self.page_size);
        if filled < step {
            // The file is shorter than its metadata says: what is there ends the stream.
            *end = at.saturating_add(filled as u64).min(*end);
            if left > filled as u64 {
                let (cpu, missing) = (self.cpu, left - filled as u64);
                shared.warn(at, format!("CPU {cpu}: the file ends {missing} bytes too early"));
            }
            if filled == 0 {
                return Ok(None);
            }
            return Ok(Some((0, filled.min(whole))));
        }
        if whole > step {
            let header = SubBufferHeader::parse(
                &self.window[..filled],
                &self.header_page,
                shared.abi.byte_order,
            );
            let used = header.map_or(0, |header| header.used(&self.header_page)).min(whole);
            while filled < used {
                let more = used.min(filled.saturating_mul(2));
                if !shared.reserve(&mut self.window, more) {
                    let cpu = self.cpu;
                    shared.warn(at, format!("CPU {cpu}: sub-buffer of {used} bytes is too large"));
                    break;
                }
                if self.window.len() < more {
                    self.window.resize(more, 0);
                }
                let offset = at.saturating_add(filled as u64);
                let read = shared.read_at(&mut self.window[filled..more], offset)?;
                if read == 0 {
                    break;
                }
                filled += read;
            }
            // It is not held as a window, as it is not whole.
            self.window_len = 0;
            return Ok(Some((0, filled.min(whole))));
        }
        Ok(Some((0, whole)))
    }

    /// The next sub-buffer of a chunk: where it is in the decompressed bytes.
    fn next_of_chunk(&mut self, shared: &mut Shared) -> Result<Option<(usize, usize)>, ReadError> {
        while self.next_in_chunk >= self.window_len {
            let Some((body, header)) = self.chunk_header(shared)? else { return Ok(None) };
            if !self.fill_from_chunk(body, header, shared)? && shared.damage == Damage::AsFound {
                self.end();
            }
        }
        let start = self.next_in_chunk;
        let len =
            usize::try_from(self.page_size).unwrap_or(usize::MAX).min(self.window_len - start);
        self.next_in_chunk = start + len;
        Ok(Some((start, len)))
    }

    /// The next chunk's header, and where its compressed bytes are; `None` after the last.
    fn chunk_header(
        &mut self,
        shared: &mut Shared,
    ) -> Result<Option<(u64, CompressedHeader)>, ReadError> {
        let Pages::Chunks { next, left } = &mut self.storage else { return Ok(None) };
        let (cpu, start) = (self.cpu, *next);
        let mut bytes = [0; CompressedHeader::LEN];
        let count = match *left {
            Some(count) => count,
            None => {
                let filled = shared.read_at(&mut bytes[..4], *next)?;
                if filled < 4 {
                    shared.warn(start, format!("CPU {cpu}: no number of chunks, the file ends"));
                    *left = Some(0);
                    return Ok(None);
                }
                let [a, b, c, d, ..] = bytes;
                *next = next.saturating_add(4);
                *left.insert(shared.abi.byte_order.u32([a, b, c, d]))
            }
        };
        // Whether the size counts the number of chunks or not, none starts behind it.
        let end = self.start.saturating_add(self.size).saturating_add(4);
        if count == 0 || *next >= end {
            return Ok(None);
        }
        self.page_offset = *next;
        let filled = shared.read_at(&mut bytes, *next)?;
        let header = CompressedHeader::from_bytes(&bytes, shared.abi.byte_order);
        let body = next.saturating_add(CompressedHeader::LEN as u64);
        if filled < bytes.len() {
            let message = format!("CPU {cpu}: {count} chunks left out, the file ends before them");
            shared.warn(*next, message);
            *left = Some(0);
            return Ok(None);
        }
        Ok(Some((body, header)))
    }

    fn pass_chunk(&mut self, end_of_chunk: u64) {
        if let Pages::Chunks { next, left } = &mut self.storage {
            *next = end_of_chunk;
            *left = left.map(|count| count.saturating_sub(1));
        }
    }

    /// Decompresses a chunk into the window; one that is damaged leaves it empty.
    fn fill_from_chunk(
        &mut self,
        body: u64,
        header: CompressedHeader,
        shared: &mut Shared,
    ) -> Result<bool, ReadError> {
        self.window_len = 0;
        self.next_in_chunk = 0;
        self.pass_chunk(body.saturating_add(u64::from(header.compressed)));
        match self.decompress(body, header, shared) {
            Ok(()) => {
                self.window_len = self.window.len();
                self.ask_ahead(shared);
                Ok(true)
            }
            Err(error @ ReadError::Io { .. }) => Err(error),
            Err(error) => {
                shared.warn(body, format!("CPU {}: chunk left out: {error}", self.cpu));
                Ok(false)
            }
        }
    }

    fn decompress(
        &mut self,
        body: u64,
        header: CompressedHeader,
        shared: &mut Shared,
    ) -> Result<(), ReadError> {
        let size = u64::from(header.uncompressed);
        let limit = self.page_size.saturating_mul(MAX_CHUNK_SUB_BUFFERS).min(MAX_CHUNK);
        let (offset, what) = (body, "uncompressed size of a chunk");
        let too_large = || DecodeError::OutOfRange { offset, what, value: size };
        let size = usize::try_from(size).ok().filter(|_| size <= limit).ok_or_else(too_large)?;
        let before = self.window.capacity();
        if shared.held.saturating_add(size.saturating_sub(before) as u64) > shared.max_held {
            let what = "memory of all CPUs with a chunk";
            return Err(DecodeError::OutOfRange { offset, what, value: shared.held }.into());
        }
        let made = shared
            .ahead
            .as_ref()
            .and_then(|pool| self.ahead.take(body, &mut self.window, pool, &mut shared.unpacker));
        let result = made.unwrap_or_else(|| {
            let chunk = shared.chunk(body, u64::from(header.compressed), size);
            shared.unpacker.unpack(&chunk, &mut self.window)
        });
        shared.held += self.window.capacity().saturating_sub(before) as u64;
        result
    }

    /// Has the next chunks made by threads that read ahead, where there are any.
    fn ask_ahead(&mut self, shared: &Shared) {
        let (Some(pool), &Pages::Chunks { next, left: Some(left) }) =
            (&shared.ahead, &self.storage)
        else {
            return;
        };
        while let Some(planned) = self.ahead.wants((next, left)) {
            let (mut next, mut left) = planned;
            let (mut chunks, mut size) = (Vec::new(), 0);
            while size < pool.job_size
                && let Some(chunk) = self.plain_chunk(next, left, shared)
            {
                size += chunk.size;
                next = chunk.body.saturating_add(chunk.compressed);
                left -= 1;
                chunks.push(chunk);
            }
            if chunks.is_empty() {
                return;
            }
            self.ahead.ask(pool, chunks, (next, left));
        }
    }

    /// The chunk at `next`, one of `left`, unless it is damaged, which is told when its turn comes.
    fn plain_chunk(&self, next: u64, left: u32, shared: &Shared) -> Option<Chunk> {
        let mut bytes = [0; CompressedHeader::LEN];
        if left == 0
            || next >= self.start.saturating_add(self.size)
            || !matches!(shared.read_at(&mut bytes, next), Ok(CompressedHeader::LEN))
        {
            return None;
        }
        let header = CompressedHeader::from_bytes(&bytes, shared.abi.byte_order);
        let size = usize::try_from(header.uncompressed).ok();
        let size = size.filter(|size| (1..=MAX_AHEAD).contains(size))?;
        let body = next.saturating_add(CompressedHeader::LEN as u64);
        Some(shared.chunk(body, u64::from(header.compressed), size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ByteOrder;

    const ABI: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };

    /// A sub-buffer with one entry of four bytes.
    fn sub_buffer() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(1000_u64.to_le_bytes());
        bytes.extend(8_u64.to_le_bytes());
        bytes.extend([1, 0, 0, 0, b'a', b'b', b'c', b'd']);
        bytes.resize(4096, 0);
        bytes
    }

    fn streams(file_len: usize, size: usize, count: u32) -> Vec<CpuStream> {
        let cpus = (0..count).map(|cpu| CpuData { cpu, offset: 0, size: size as u64 });
        let buffer = Buffer {
            name: String::new(),
            clock: String::new(),
            page_size: 4096,
            compressed: file_len != size,
            cpus: cpus.collect(),
        };
        let page = HeaderPage::standard(8, 4096);
        let stream = |data| CpuStream::new(data, &buffer, 0, page, ABI, 4096);
        buffer.cpus.iter().map(stream).collect()
    }

    #[test]
    fn cpus_that_would_hold_too_much_are_left_out() {
        let mut streams = streams(4096, 4096, 4);
        let mut shared = Shared::new(Arc::new(sub_buffer()), Codec::None, ABI);
        shared.max_held = 3 * 4096;
        let read = |stream: &mut CpuStream| stream.advance(&mut shared).unwrap();
        let times: Vec<_> = streams.iter_mut().map(read).collect();
        assert_eq!(times, [Some(1000), Some(1000), Some(1000), None]);
        assert_eq!(shared.warnings.len(), 1);
    }

    #[test]
    #[cfg(feature = "zstd")]
    fn chunks_that_would_be_too_much_together_are_left_out() {
        let mut packed = Vec::new();
        Codec::Zstd.compress_into(&sub_buffer().repeat(10), &mut packed).unwrap();
        let mut file = 1_u32.to_le_bytes().to_vec();
        file.extend((packed.len() as u32).to_le_bytes());
        file.extend(40_960_u32.to_le_bytes());
        file.extend(packed);
        let mut streams = streams(0, file.len(), 4);
        let mut shared = Shared::new(Arc::new(file), Codec::Zstd, ABI);
        shared.max_held = 3 * 40_960;
        let read = |stream: &mut CpuStream| {
            let size = stream.data_size(&mut shared).unwrap();
            (size, stream.advance(&mut shared).unwrap())
        };
        let times: Vec<_> = streams.iter_mut().map(read).collect();
        assert_eq!(times[..3], [(40_960, Some(1000)); 3]);
        assert_eq!(times[3], (40_960, None));
    }
}
