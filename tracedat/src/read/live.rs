//! Files of recordings that nobody completed: where their data is, and how much.

use super::head::{Head, Walk};
use crate::cursor::Cursor;
use crate::error::ReadError;
use crate::layout::{CompressedHeader, Live};
use crate::metadata::OptionValue;
use crate::source::ReadAt;

/// Bytes of a sub-buffer that are looked at to see whether there is one: its header.
const PROBE: usize = 16;

/// Finds out what the writer could not tell: the option LIVE stands in for it.
pub(super) fn settle(
    walk: &mut Walk<'_>,
    head: &mut Head,
    option: &OptionValue,
) -> Result<(), ReadError> {
    let mut cursor = Cursor::new(&option.data, option.offset, walk.byte_order);
    let live = Live::from_cursor(&mut cursor)?;
    let mut found = 0_u64;
    for buffer in &mut head.buffers {
        for cpu in &mut buffer.cpus {
            let Some(room) = live.room(cpu.offset) else {
                cpu.size = 0;
                continue;
            };
            cpu.offset = live.moved(room.offset, walk.len);
            let room = room.len.min(walk.len.saturating_sub(cpu.offset));
            cpu.size = match buffer.compressed {
                true => chunks(walk, cpu.offset, room)?,
                false => sub_buffers(walk.source, cpu.offset, room, buffer.page_size)?,
            };
            found = found.saturating_add(cpu.size);
        }
    }
    let message = format!(
        "the recording was not completed; the {found} bytes of data that are there are used"
    );
    head.warn(option.offset, message);
    Ok(())
}

/// Bytes of whole sub-buffers: the first part without anything is behind the last one.
fn sub_buffers(
    source: &dyn ReadAt,
    offset: u64,
    room: u64,
    page_size: u32,
) -> Result<u64, ReadError> {
    let page_size = u64::from(page_size.max(1));
    let is_there = |index: u64| {
        let at = offset.saturating_add(index.saturating_mul(page_size));
        let mut probe = [0; PROBE];
        let read = source.read_full_at(&mut probe, at);
        let read = read.map_err(|source| ReadError::Io { offset: at, source })?;
        Ok::<_, ReadError>(probe.iter().take(read).any(|&byte| byte != 0))
    };
    let (mut there, mut not_there) = (0, room / page_size);
    // From the front: far behind there may be what was being given back to the disk.
    let mut next = 0;
    while next < not_there {
        match is_there(next)? {
            true => there = next + 1,
            false => not_there = next,
        }
        next = next.saturating_mul(2).saturating_add(1);
    }
    while there < not_there {
        let middle = there + (not_there - there) / 2;
        match is_there(middle)? {
            true => there = middle + 1,
            false => not_there = middle,
        }
    }
    Ok(there.saturating_mul(page_size))
}

/// Bytes of the chunks, with their number before them.
fn chunks(walk: &mut Walk<'_>, offset: u64, room: u64) -> Result<u64, ReadError> {
    if room < 4 {
        return Ok(0);
    }
    walk.seek(offset);
    let mut used = 4;
    for _ in 0..walk.u32()? {
        let next = used + CompressedHeader::LEN as u64;
        if next > room {
            break;
        }
        walk.seek(offset + used);
        let header = CompressedHeader::from_bytes(&walk.array()?, walk.byte_order);
        let next = next + u64::from(header.compressed);
        if next > room {
            break;
        }
        used = next;
    }
    Ok(if used == 4 { 0 } else { used })
}
