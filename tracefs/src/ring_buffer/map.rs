//! Sub-buffers read where the kernel has them, in memory shared with it.
//!
//! The kernel lends one sub-buffer at a time. Asked for the next one, it lends the same again as
//! long as there is news in it, and takes it back only when all of it was seen: so what was copied
//! before is whole then.

use std::io;
use std::os::fd::AsFd;

use super::CpuBuffer;
use super::read::{COMMIT, COMMIT_MASK};
use crate::sys::{self, SharedMemory};

/// Where the kernel's first page (`struct trace_buffer_meta`) says what.
mod meta {
    pub(super) const PAGE_SIZE: usize = 0;
    pub(super) const SUB_BUFFER_SIZE: usize = 8;
    pub(super) const SUB_BUFFERS: usize = 12;
    /// Which sub-buffer is lent, and how many bytes of its data were seen.
    pub(super) const LENT: usize = 24;
    pub(super) const SEEN: usize = 28;
    pub(super) const LEN: usize = 72;
}

/// A flag beside the count of committed bytes: how many events were missed stands behind them.
const MISSED_STORED: u32 = 1 << 30;
const MISSED_LEN: usize = 8;

/// What a sub-buffer has before its data: a time stamp and a `long`, the count.
const HEADER_LEN: usize = 8 + size_of::<libc::c_long>();

/// A ring buffer mapped into memory.
#[derive(Debug)]
pub(crate) struct MappedBuffer {
    meta: SharedMemory,
    data: SharedMemory,
    size: usize,
    lent: Option<Lent>,
    /// A copy of what is lent.
    copy: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lent {
    id: u32,
    seen: usize,
}

/// What a look at the ring buffer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole sub-buffer.
    Whole,
    /// News in the one that is being filled, which is `nearly` full or not.
    Some { nearly: bool },
    /// Nothing new.
    Nothing,
}

impl MappedBuffer {
    /// Maps the ring buffer; nothing as long as there is a sub-buffer that was read in part: what was
    /// seen of it by others would be given again.
    pub(crate) fn new(buffer: &CpuBuffer) -> io::Result<Option<Self>> {
        let meta = SharedMemory::map(buffer.as_fd(), 0, sys::page_size().max(meta::LEN))?;
        let field = |at| meta.number(at).ok_or_else(|| odd("no description"));
        let size = field(meta::SUB_BUFFER_SIZE)? as usize;
        if size != buffer.sub_buffer_size() || size < HEADER_LEN {
            return Err(odd("another size of sub-buffers"));
        }
        if field(meta::SEEN)? != 0 {
            return Ok(None);
        }
        let len = size.checked_mul(field(meta::SUB_BUFFERS)? as usize);
        let len = len.ok_or_else(|| odd("too many sub-buffers"))?;
        let data = SharedMemory::map(buffer.as_fd(), field(meta::PAGE_SIZE)?.into(), len)?;
        Ok(Some(Self { meta, data, size, lent: None, copy: vec![0; size] }))
    }

    /// Asks for news, and gives the next whole sub-buffer to `whole`.
    pub(crate) fn look(&mut self, buffer: &CpuBuffer, whole: &mut Vec<u8>) -> io::Result<Found> {
        match sys::next_sub_buffer(buffer.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Found::Nothing),
            result => result?,
        }
        let field = |at| self.meta.number(at).ok_or_else(|| odd("no description"));
        let now = Lent { id: field(meta::LENT)?, seen: field(meta::SEEN)? as usize };
        let is_other = self.lent.is_some_and(|lent| lent.id != now.id);
        if now.seen == 0 || self.lent == Some(now) {
            // With nothing seen of it, it waits for its first event.
            return Ok(if is_other { self.hand_out(whole) } else { Found::Nothing });
        }
        let found = if is_other {
            self.hand_out(whole)
        } else {
            Found::Some { nearly: now.seen >= self.size / 4 * 3 }
        };
        self.copy(now)?;
        Ok(found)
    }

    /// Gives what was seen of the sub-buffer that is being filled to `rest`, at the end.
    pub(crate) fn take_rest(&mut self, rest: &mut Vec<u8>) -> bool {
        let there = self.lent.is_some();
        if there {
            self.hand_out(rest);
        }
        there
    }

    fn hand_out(&mut self, whole: &mut Vec<u8>) -> Found {
        whole.resize(self.size, 0);
        std::mem::swap(whole, &mut self.copy);
        self.lent = None;
        Found::Whole
    }

    /// Copies what is new of what is lent.
    fn copy(&mut self, now: Lent) -> io::Result<()> {
        let outside = || odd("a sub-buffer outside of it");
        let start = (now.id as usize).checked_mul(self.size).ok_or_else(outside)?;
        let from = self.lent.map_or(0, |lent| HEADER_LEN + lent.seen);
        let mut end = HEADER_LEN.saturating_add(now.seen);
        let word = self.data.number(start.saturating_add(COMMIT)).ok_or_else(outside)?;
        if word & MISSED_STORED != 0 {
            end = end.saturating_add(MISSED_LEN);
        }
        let part = self.copy.get_mut(from..end).ok_or_else(outside)?;
        if !self.data.copy_to(start.saturating_add(from), part) {
            return Err(outside());
        }
        if let Some(rest) = self.copy.get_mut(end..) {
            rest.fill(0);
        }
        // The kernel counts on meanwhile.
        let seen = u32::try_from(now.seen).map_err(|_| outside())? & COMMIT_MASK;
        let count = word & !COMMIT_MASK | seen;
        if let Some(place) = self.copy.get_mut(COMMIT..COMMIT + 4) {
            place.copy_from_slice(&count.to_ne_bytes());
        }
        self.lent = Some(now);
        Ok(())
    }
}

fn odd(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the mapped ring buffer has {what}"))
}
