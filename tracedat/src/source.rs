//! Where the bytes of a file come from.

mod stream;

pub(crate) use stream::{Kept, keep};

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that can be read at any offset, by several threads.
///
/// Positioned reads rather than a map: a file that shrinks under its reader is an error, not a
/// signal, and memory does not grow with the file.
pub trait ReadAt: Send + Sync {
    /// Reads at most `buffer.len()` bytes at `offset`; 0 at the end.
    ///
    /// # Errors
    /// What the operating system answers.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reads until `buffer` is full or the input ends; returns how many bytes.
    ///
    /// # Errors
    /// What the operating system answers.
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count.min(rest.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// How many bytes there are.
    ///
    /// # Errors
    /// What the operating system answers.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is nothing.
    ///
    /// # Errors
    /// What the operating system answers.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest =
            usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        ReadAt::len(self.as_slice())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn memory_reads_up_to_its_end() {
        let bytes: Arc<[u8]> = Arc::from(*b"abcdef");
        let mut buffer = [0; 4];
        assert_eq!(bytes.read_full_at(&mut buffer, 1).unwrap(), 4);
        assert_eq!(&buffer, b"bcde");
        assert_eq!(bytes.read_full_at(&mut buffer, 4).unwrap(), 2);
        assert_eq!(bytes.read_full_at(&mut buffer, 6).unwrap(), 0);
        assert_eq!(bytes.read_full_at(&mut buffer, u64::MAX).unwrap(), 0);
    }

    /// Is interrupted every other time, and reads one byte the other times.
    struct Hesitant(AtomicU32);

    impl ReadAt for Hesitant {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            if self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            b"0123456789"[..].read_at(&mut buffer[..1], offset)
        }

        fn len(&self) -> io::Result<u64> {
            Ok(10)
        }
    }

    #[test]
    fn interrupted_and_short_reads_go_on() {
        let mut buffer = [0; 20];
        assert_eq!(Hesitant(0.into()).read_full_at(&mut buffer, 2).unwrap(), 8);
        assert_eq!(&buffer[..8], b"23456789");
    }
}
