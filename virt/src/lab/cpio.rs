//! Writes cpio archives of the `newc` kind, which the kernel unpacks as its first file system.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// A `newc` archive under construction; entries appear in the order they were added.
///
/// Parent directories have to be added before what is in them: the kernel creates none by itself.
pub struct CpioWriter<W: Write> {
    out: W,
    inode: u32,
}

impl<W: Write> CpioWriter<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// Adds a directory with mode 0755.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[])
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.entry(path, REGULAR | (mode & 0o7777), (0, 0), data)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, SYMLINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device node with mode 0600.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, CHARACTER | 0o600, (major, minor), &[])
    }

    /// Ends the archive and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, dev: (u32, u32), data: &[u8]) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        let too_long = |_| io::Error::other(format!("{path}: too large for a cpio archive"));
        let size = u32::try_from(data.len()).map_err(too_long)?;
        let name_size = u32::try_from(path.len() + 1).map_err(too_long)?;
        self.inode += 1;

        write!(self.out, "070701{:08x}{mode:08x}", self.inode)?;
        // uid, gid, links, mtime, size, then the device that holds the file.
        write!(self.out, "{:08x}{:08x}{:08x}{:08x}{size:08x}{:08x}{:08x}", 0, 0, 1, 0, 0, 0)?;
        write!(self.out, "{:08x}{:08x}{name_size:08x}{:08x}", dev.0, dev.1, 0)?;
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(HEADER_SIZE + path.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    /// Header with name, and data, each end on a multiple of four.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..written.wrapping_neg() & 3])
    }
}

const HEADER_SIZE: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_has_the_bytes_that_newc_asks_for() {
        let mut archive = CpioWriter::new(Vec::new());
        archive.file("/init", 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();

        let header = "070701\
             00000001 000081ed 00000000 00000000 00000001 00000000 00000005\
             00000000 00000000 00000000 00000000 00000005 00000000"
            .replace(' ', "");
        assert_eq!(&bytes[..110], header.as_bytes());
        assert_eq!(
            &bytes[110..116],
            b"init\0\0"[..5].iter().chain(b"\0").copied().collect::<Vec<_>>()
        );
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert!(bytes[124..].starts_with(b"070701"));
        assert!(bytes[124 + 110..].starts_with(b"TRAILER!!!\0"));
        assert_eq!(bytes.len() % 4, 0);
    }
}
