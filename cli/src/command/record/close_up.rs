//! The end of a recording: the gaps between the data of its CPUs are taken out of the file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use tracedat::layout::Gap;
use tracedat::write::{Closing, Placement};

use super::output::Output;
use crate::error::Error;

/// Bytes copied at once where a file cannot be closed up without copying.
const COPY_LEN: usize = 1 << 20;

/// Takes the gaps out of a file and completes it. Its blocks are renumbered where the file system can;
/// else it is copied into another one, which takes its place, so that there is a readable one at every
/// moment. What has no room for a second one is copied together.
pub(crate) fn close_up(output: &Output, closing: Closing<File>) -> Result<Vec<Placement>, Error> {
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

/// Gives a part of a file back to the disk.
pub(super) fn punch(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(file, flags, off_t(offset)?, off_t(len)?)?)
}

/// An offset or length as the kernel takes it.
pub(super) fn off_t(value: u64) -> io::Result<i64> {
    i64::try_from(value).map_err(io::Error::other)
}

/// Moves what is behind each gap to the end of what is before it.
fn copy_together(file: &File, gaps: &[Gap]) -> io::Result<()> {
    // What was kept free is free for the copies now; what was copied too, so a full disk is not in
    // the way.
    let free = |from: u64, to: u64| drop(punch(file, from, to.saturating_sub(from)));
    if let Some(first) = gaps.last() {
        free(first.offset, first.offset + first.len);
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
            free((from - read as u64).max(from - taken), from);
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
