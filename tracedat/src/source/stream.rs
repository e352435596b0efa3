//! A stream, kept so that it can be read at offsets.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use super::ReadAt;
use crate::error::ReadError;

/// Streams up to this size are kept in memory.
const IN_MEMORY: u64 = 8 << 20;

/// Bytes that are moved at once.
const STEP: usize = 256 << 10;

/// What a stream had.
pub(crate) struct Kept {
    pub(crate) source: Arc<dyn ReadAt>,
    /// Where and why it broke off before its end.
    pub(crate) broken: Option<(u64, io::Error)>,
}

/// Reads a stream to its end: into memory, or into a temporary file without a name.
pub(crate) fn keep(mut stream: impl Read) -> Result<Kept, ReadError> {
    let mut start = Vec::new();
    // What was read before an error stays in the buffer.
    if let Err(error) = (&mut stream).take(IN_MEMORY).read_to_end(&mut start) {
        let broken = Some((start.len() as u64, error));
        return Ok(Kept { source: Arc::new(start), broken });
    }
    if (start.len() as u64) < IN_MEMORY {
        return Ok(Kept { source: Arc::new(start), broken: None });
    }
    let mut len = 0;
    let file = tempfile::tempfile().map_err(|source| ReadError::Spool { offset: len, source })?;
    put(&file, &start, &mut len)?;
    start.truncate(STEP);
    let mut buffer = start;
    let broken = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break None,
            Ok(count) => put(&file, buffer.get(..count).unwrap_or(&buffer), &mut len)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some((len, error)),
        }
    };
    Ok(Kept { source: Arc::new(file), broken })
}

fn put(mut file: &File, bytes: &[u8], len: &mut u64) -> Result<(), ReadError> {
    file.write_all(bytes).map_err(|source| ReadError::Spool { offset: *len, source })?;
    *len += bytes.len() as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails once its bytes are used up.
    struct Broken<R>(R);

    impl<R: Read> Read for Broken<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::ConnectionReset.into()),
                count => Ok(count),
            }
        }
    }

    fn len(kept: &Kept) -> u64 {
        kept.source.len().unwrap()
    }

    #[test]
    fn long_streams_are_kept_whole() {
        for size in [0, 1, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + STEP as u64 + 1] {
            let tail = b"the end";
            let kept = keep(io::repeat(7).take(size).chain(&tail[..])).unwrap();
            assert!(kept.broken.is_none());
            assert_eq!(len(&kept), size + tail.len() as u64);
            let mut end = [0; 8];
            assert_eq!(kept.source.read_full_at(&mut end, size).unwrap(), tail.len());
            assert_eq!(&end[..tail.len()], tail);
        }
    }

    #[test]
    fn what_came_before_an_error_is_kept_with_its_place() {
        for size in [0, 100, IN_MEMORY + 100] {
            let kept = keep(Broken(io::repeat(7).take(size))).unwrap();
            let (offset, error) = kept.broken.as_ref().unwrap();
            assert_eq!((*offset, error.kind()), (size, io::ErrorKind::ConnectionReset));
            assert_eq!(len(&kept), size);
        }
    }
}
