//! Goes to where the records of a time are in a CPU's data, without reading what lies before.
//!
//! There is no index in the file, but sub-buffers come in the order of time: few of their headers are
//! read, or few chunks decompressed.

use super::{CpuStream, MAX_SUB_BUFFER, Pages, Shared};
use crate::error::ReadError;
use crate::layout::CompressedHeader;
use crate::read::{Damage, halving};
use crate::ring_buffer::{HeaderPage, SubBufferHeader};

/// Chunks whose place is kept at most, in memory; of more, every second one, or fourth, and so on.
const MAX_STARTS: usize = 16 << 10;

/// Bytes of a header that tell when a sub-buffer starts and whether it has anything.
const HEADER_LEN: usize = 16;

/// The times that are wanted.
#[derive(Clone, Copy)]
pub(super) struct Times {
    from: u64,
    length: u64,
}

impl Times {
    pub(super) const ALL: Self = Self { from: 0, length: u64::MAX };
    /// Nothing that a clock shows.
    const END: Self = Self { from: u64::MAX, length: 0 };

    #[inline]
    pub(super) fn have(self, time: u64) -> bool {
        time.wrapping_sub(self.from) <= self.length
    }

    /// The same when `time` is counted as 0.
    pub(super) fn counted_from(self, time: u64) -> Self {
        Self { from: self.from.wrapping_sub(time), ..self }
    }
}

/// A run of sub-buffers in the data of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    next: u64,
    end: u64,
    /// How many chunks, if they were counted.
    left: Option<u32>,
}

/// What is looked at of data: sub-buffers, or chunks of them.
struct Units {
    count: u64,
    places: Places,
}

enum Places {
    Even { start: u64, size: u64 },
    Chunks(Starts),
}

/// Where every so many chunks start.
struct Starts {
    every: u64,
    at: Vec<u64>,
    /// How many chunks the data claims to have.
    claimed: u32,
}

impl CpuStream {
    /// Leaves only the records of some times, both included, and goes to the first of them.
    pub(in crate::read) fn narrow(
        &mut self,
        from: u64,
        to: u64,
        shared: &mut Shared,
    ) -> Result<(), ReadError> {
        let part = match to.checked_sub(from) {
            Some(_) => self.part(from, to, shared)?,
            None => Part { next: self.start, end: self.start, left: Some(0) },
        };
        self.go_to(part);
        self.want(from, to);
        Ok(())
    }

    /// Leaves only the records of some times, wherever it is.
    pub(in crate::read) fn want(&mut self, from: u64, to: u64) {
        self.times = match to.checked_sub(from) {
            Some(length) => Times { from, length },
            None => Times::END,
        };
    }

    /// Leaves of the records that are wanted only those from a time on, and goes to the first of them.
    pub(in crate::read) fn narrow_from(
        &mut self,
        time: u64,
        shared: &mut Shared,
    ) -> Result<(), ReadError> {
        let Times { from, length } = self.times;
        let start = if self.times.have(time) { time } else { from };
        self.narrow(start, from.wrapping_add(length), shared)
    }

    /// Goes to the start of a part; there is nothing behind its end.
    pub(in crate::read) fn go_to(&mut self, part: Part) {
        self.forget_place();
        match &mut self.storage {
            Pages::Plain { next, end, .. } => (*next, *end) = (part.next, part.end),
            Pages::Chunks { next, left } => {
                (*next, *left) = (part.next, part.left);
                self.window_len = 0;
                self.next_in_chunk = 0;
            }
            Pages::Fed(_) => {}
        }
    }

    /// All of the data.
    fn whole(&self) -> Part {
        Part { next: self.start, end: self.start.saturating_add(self.size), left: None }
    }

    /// A part that has all records of some times, both included. It starts with one that is older, or where
    /// the data does, and behind it comes one that is younger, or nothing: as long as the records are in the
    /// order of time, none is left out. Where sub-buffers are seen that are not, it is all of the data.
    pub(in crate::read) fn part(
        &mut self,
        from: u64,
        to: u64,
        shared: &mut Shared,
    ) -> Result<Part, ReadError> {
        self.times = Times::ALL;
        let whole = self.whole();
        // Damage anywhere before decides there what is read.
        let is_needed = (from, to) != (0, u64::MAX) && shared.damage != Damage::AsFound;
        if !is_needed || !self.correction.keeps_order() {
            return Ok(whole);
        }
        // Nobody reads on from the places that are looked at. What is damaged there is told when it is read for good.
        let (ahead, warnings) = (shared.ahead.take(), shared.warnings.len());
        let found = self.search(from, to, shared);
        shared.ahead = ahead;
        shared.warnings.truncate(warnings);
        Ok(found?.unwrap_or(whole))
    }

    /// Such a part; `None` where it cannot be told.
    fn search(
        &mut self,
        from: u64,
        to: u64,
        shared: &mut Shared,
    ) -> Result<Option<Part>, ReadError> {
        let Some(units) = self.units(shared)? else { return Ok(None) };
        let mut stamp = |unit| self.stamp(&units, unit, shared);
        let Some(found) = halving::between(units.count, (from, to), &mut stamp)? else {
            return Ok(None);
        };
        // What stamps tell is checked by records.
        let end = self.with_younger_behind(&units, found.end, to, shared)?;
        self.with_older_before(&units, found.start, end, from, shared).map(Some)
    }

    /// The first unit from `end` on such that the record behind it is younger than `to`.
    fn with_younger_behind(
        &mut self,
        units: &Units,
        mut end: u64,
        to: u64,
        shared: &mut Shared,
    ) -> Result<u64, ReadError> {
        let mut step = 1;
        while end < units.count {
            let next = end.saturating_add(step).min(units.count);
            self.go_to(self.part_of(units, end, next, shared)?);
            if self.advance(shared)?.is_some_and(|time| time > to) {
                break;
            }
            (end, step) = (next, step * 2);
        }
        Ok(end)
    }

    /// The part up to `end` that starts with a record older than `from`, at `start` or before.
    fn with_older_before(
        &mut self,
        units: &Units,
        mut start: u64,
        end: u64,
        from: u64,
        shared: &mut Shared,
    ) -> Result<Part, ReadError> {
        let mut step = 1;
        loop {
            let part = self.part_of(units, start, end, shared)?;
            if start == 0 {
                return Ok(part);
            }
            self.go_to(part);
            if self.advance(shared)?.is_some_and(|time| time < from) {
                return Ok(part);
            }
            (start, step) = (start.saturating_sub(step), step * 2);
        }
    }

    /// The times of the first and of the last record, of which only what is around them is read. The stream is at its
    /// start after that.
    pub(in crate::read) fn first_and_last(
        &mut self,
        shared: &mut Shared,
    ) -> Result<Option<(u64, u64)>, ReadError> {
        self.times = Times::ALL;
        let whole = self.whole();
        self.go_to(whole);
        let first = self.advance(shared)?;
        let last = match first {
            Some(first) => self.last(first, shared)?,
            None => 0,
        };
        self.go_to(whole);
        Ok(first.map(|first| (first, last)))
    }

    /// The time of the last record, after the first one was read.
    fn last(&mut self, first: u64, shared: &mut Shared) -> Result<u64, ReadError> {
        let units = match shared.damage {
            Damage::LeaveOut => self.units(shared)?,
            Damage::AsFound => None,
        };
        let (mut last, mut step) = (None, 1);
        if let Some(units) = units {
            let mut start = units.count;
            while start > 1 && last.is_none() {
                start = start.saturating_sub(step).max(1);
                step *= 2;
                let part = self.part_of(&units, start, units.count, shared)?;
                let warnings = shared.warnings.len();
                self.go_to(part);
                last = self.last_of_rest(shared)?;
                if last.is_none() {
                    shared.warnings.truncate(warnings);
                }
            }
            if let Some(last) = last {
                return Ok(last);
            }
            self.go_to(self.whole());
        }
        Ok(self.last_of_rest(shared)?.unwrap_or(first))
    }

    fn last_of_rest(&mut self, shared: &mut Shared) -> Result<Option<u64>, ReadError> {
        let mut last = None;
        while let Some(time) = self.advance(shared)? {
            last = Some(time);
        }
        Ok(last)
    }

    /// What the data is made of; `None` when it cannot be told.
    fn units(&self, shared: &Shared) -> Result<Option<Units>, ReadError> {
        let (start, page_size) = (self.start, self.page_size);
        match self.storage {
            Pages::Fed(_) => Ok(None),
            Pages::Plain { .. } => {
                let len = shared.source.len().map_err(|source| {
                    let offset = start;
                    ReadError::Io { offset, source }
                })?;
                let count = self.size.min(len.saturating_sub(start)).div_ceil(page_size);
                Ok(Some(Units { count, places: Places::Even { start, size: page_size } }))
            }
            Pages::Chunks { .. } => {
                let mut claimed = [0; 4];
                if shared.read_at(&mut claimed, start)? < claimed.len() {
                    return Ok(None);
                }
                let claimed = shared.byte_order().u32(claimed);
                let mut starts = Starts { every: 1, at: Vec::new(), claimed };
                let mut count = 0;
                let mut next = start.saturating_add(4);
                while count < u64::from(claimed)
                    && let Some((body, header)) = self.chunk_at(next, shared)?
                {
                    starts.add(count, next);
                    count += 1;
                    next = body.saturating_add(u64::from(header.compressed));
                }
                Ok(Some(Units { count, places: Places::Chunks(starts) }))
            }
        }
    }

    /// The header of the chunk at an offset, and where its body is, if one can start there.
    fn chunk_at(
        &self,
        at: u64,
        shared: &Shared,
    ) -> Result<Option<(u64, CompressedHeader)>, ReadError> {
        let mut bytes = [0; CompressedHeader::LEN];
        let end = self.start.saturating_add(self.size).saturating_add(4);
        if at >= end || shared.read_at(&mut bytes, at)? < bytes.len() {
            return Ok(None);
        }
        let body = at.saturating_add(CompressedHeader::LEN as u64);
        Ok(Some((body, CompressedHeader::from_bytes(&bytes, shared.byte_order()))))
    }

    /// Where a unit starts in the file.
    fn offset(&self, units: &Units, unit: u64, shared: &Shared) -> Result<u64, ReadError> {
        match &units.places {
            Places::Even { start, size } => Ok(start.saturating_add(unit.saturating_mul(*size))),
            Places::Chunks(starts) => {
                let (mut at, passed) = starts.nearest(unit).unwrap_or((self.start + 4, 0));
                for _ in passed..unit {
                    let Some((body, header)) = self.chunk_at(at, shared)? else { break };
                    at = body.saturating_add(u64::from(header.compressed));
                }
                Ok(at)
            }
        }
    }

    /// The time at which a unit starts; `None` when it has nothing, or cannot be read.
    fn stamp(
        &mut self,
        units: &Units,
        unit: u64,
        shared: &mut Shared,
    ) -> Result<Option<u64>, ReadError> {
        let at = self.offset(units, unit, shared)?;
        if let Places::Even { .. } = units.places {
            let mut bytes = [0; HEADER_LEN];
            let filled = shared.read_at(&mut bytes, at)?;
            return Ok(self.stamp_of(bytes.get(..filled).unwrap_or_default(), shared));
        }
        let Some((body, header)) = self.chunk_at(at, shared)? else { return Ok(None) };
        self.window_len = 0;
        match self.decompress(body, header, shared) {
            Ok(()) => {}
            Err(error @ ReadError::Io { .. }) => return Err(error),
            // It is left out when it is read, too.
            Err(_) => return Ok(None),
        }
        let size = self.page_size().min(MAX_SUB_BUFFER);
        Ok(self.window.chunks(size).find_map(|sub_buffer| self.stamp_of(sub_buffer, shared)))
    }

    /// The time at which a sub-buffer starts, by the first bytes of its header; `None` when it has nothing.
    fn stamp_of(&self, bytes: &[u8], shared: &Shared) -> Option<u64> {
        let data_offset = 8 + u32::from(self.header_page.commit_size);
        let short = HeaderPage { data_offset, ..self.header_page };
        let header = SubBufferHeader::parse(bytes, &short, shared.byte_order()).ok()?;
        (header.end > header.start).then(|| self.correction.apply(header.ticks))
    }

    /// The units from `start` up to `end`.
    fn part_of(
        &self,
        units: &Units,
        start: u64,
        end: u64,
        shared: &Shared,
    ) -> Result<Part, ReadError> {
        let whole = self.whole();
        // At the ends all is as it is without a search, warnings too.
        let to_the_end = end == units.count;
        if start == 0 && to_the_end {
            return Ok(whole);
        }
        let next = self.offset(units, start, shared)?;
        match &units.places {
            Places::Even { .. } => {
                let end = if to_the_end { whole.end } else { self.offset(units, end, shared)? };
                Ok(Part { next, end, left: None })
            }
            Places::Chunks(Starts { claimed, .. }) => {
                let end = if to_the_end { u64::from(*claimed) } else { end };
                let left = u32::try_from(end.saturating_sub(start)).ok();
                Ok(Part { next, end: whole.end, left })
            }
        }
    }
}

impl Starts {
    /// Keeps where a chunk starts if it is one of those that are kept.
    fn add(&mut self, chunk: u64, at: u64) {
        if !chunk.is_multiple_of(self.every) {
            return;
        }
        if self.at.len() == MAX_STARTS {
            let mut index = 0;
            self.at.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
            // The number of those that were kept is even.
        }
        self.at.push(at);
    }

    /// The last chunk that is kept up to another one: where it starts, and its number.
    fn nearest(&self, chunk: u64) -> Option<(u64, u64)> {
        let index = (chunk / self.every).min((self.at.len() as u64).checked_sub(1)?);
        Some((*self.at.get(usize::try_from(index).ok()?)?, index * self.every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_of_any_number_of_chunks_take_little_memory() {
        let mut starts = Starts { every: 1, at: Vec::new(), claimed: 0 };
        for chunk in 0..100_000 {
            starts.add(chunk, chunk * 7);
        }
        assert!(starts.at.len() <= MAX_STARTS && starts.at.len() * 2 >= MAX_STARTS);
        for chunk in (0..100_000).step_by(37) {
            let (at, passed) = starts.nearest(chunk).unwrap();
            assert_eq!(at, passed * 7);
            assert!(passed <= chunk && chunk - passed < starts.every);
        }
    }
}
