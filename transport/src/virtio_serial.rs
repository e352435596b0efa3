//! Virtio-serial ports, seen from inside a guest.
//!
//! A port can be open once at a time, so one descriptor serves both directions. While the host's end is closed, a port
//! reads as ended (zero bytes) and polls as hung up, and comes back when the host opens its end again.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Deadline, Error, Stream};

/// Where ports are looked for.
#[derive(Debug, Clone)]
pub struct PortDirs {
    /// Links by name, made by udev.
    pub links: PathBuf,
    /// The kernel's own list: `vportNpM/name`.
    pub class: PathBuf,
    /// Where `vportNpM` devices are.
    pub devices: PathBuf,
}

impl Default for PortDirs {
    fn default() -> Self {
        Self {
            links: "/dev/virtio-ports".into(),
            class: "/sys/class/virtio-ports".into(),
            devices: "/dev".into(),
        }
    }
}

impl PortDirs {
    /// All ports by name, read at once: what [`find`](Self::find) would give for each.
    #[must_use]
    pub fn list(&self) -> BTreeMap<String, PathBuf> {
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        let named = entries(&self.class).filter_map(|entry| {
            let text = fs::read_to_string(entry.path().join("name")).ok()?;
            let name = text.trim_end_matches('\n').to_owned();
            (!name.is_empty()).then(|| (name, self.devices.join(entry.file_name())))
        });
        let linked = entries(&self.links)
            .filter(|entry| entry.path().exists())
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
        named.chain(linked).collect()
    }

    /// The device of the port with this name: udev's link, or what the kernel's list says where there is no udev.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return None;
        }
        let link = self.links.join(name);
        if link.exists() {
            return Some(link);
        }
        let entries = fs::read_dir(&self.class).ok()?;
        entries.flatten().find_map(|entry| {
            let text = fs::read_to_string(entry.path().join("name")).ok()?;
            (text.trim_end_matches('\n') == name).then(|| self.devices.join(entry.file_name()))
        })
    }
}

/// Opens a port for both directions, without waiting for the host.
///
/// # Errors
///
/// [`Error::Io`] with the path (EBUSY: another process has it open), [`Error::Kind`] when it is not a port.
pub fn open(path: &Path) -> Result<Stream, Error> {
    open_with(path, OpenOptions::new().read(true).write(true))
}

/// Opens a port to write to, without waiting for the host.
///
/// # Errors
///
/// As [`open`].
pub fn open_write(path: &Path) -> Result<Stream, Error> {
    open_with(path, OpenOptions::new().write(true))
}

/// Opens a port for both directions, or a FIFO to write to once somebody reads from it.
///
/// # Errors
///
/// [`Error::TimedOut`] when nobody opened the FIFO's other end; else as [`open`].
pub(crate) fn open_to_write(path: &Path, deadline: Deadline) -> Result<Stream, Error> {
    let is_fifo = || path.metadata().is_ok_and(|it| it.file_type().is_fifo());
    if !is_fifo() {
        return open(path);
    }
    loop {
        match open_write(path) {
            Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::ENXIO) => {
                if deadline.has_passed() {
                    let peer = path.display().to_string();
                    return Err(Error::TimedOut { step: "opening", peer });
                }
                // Nothing tells when a reader comes.
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn open_with(path: &Path, options: &mut OpenOptions) -> Result<Stream, Error> {
    let peer = path.display().to_string();
    let failed = |source| Error::Io { step: "opening", peer: peer.clone(), source };
    let file =
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).map_err(failed)?;
    // FIFOs stand in for ports in tests and in nested set-ups; a plain file would swallow data silently.
    let kind = file.metadata().map_err(failed)?.file_type();
    if !(kind.is_char_device() || kind.is_fifo()) {
        return Err(Error::Kind { path: peer, expected: "a virtio-serial port" });
    }
    Stream::new(file.into(), peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_by_name_without_udev() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = PortDirs {
            links: dir.path().join("links"),
            class: dir.path().join("class"),
            devices: dir.path().join("dev"),
        };
        for (port, name) in [("vport1p1", "agent-ctl-path\n"), ("vport2p7", "trace-path-cpu1\n")] {
            fs::create_dir_all(dirs.class.join(port)).unwrap();
            fs::write(dirs.class.join(port).join("name"), name).unwrap();
        }
        assert_eq!(dirs.find("trace-path-cpu1"), Some(dirs.devices.join("vport2p7")));
        assert_eq!(dirs.find("trace-path-cpu"), None);
        assert_eq!(dirs.list()["trace-path-cpu1"], dirs.devices.join("vport2p7"));
        fs::create_dir_all(&dirs.links).unwrap();
        fs::write(dirs.links.join("agent-ctl-path"), "").unwrap();
        assert_eq!(dirs.list()["agent-ctl-path"], dirs.links.join("agent-ctl-path"));
        assert_eq!(dirs.list().len(), 2);
        assert_eq!(dirs.find("../vport1p1"), None);
    }

    #[test]
    fn a_plain_file_is_no_port() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(open(file.path()), Err(Error::Kind { .. })));
    }
}
