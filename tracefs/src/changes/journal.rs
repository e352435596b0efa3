//! Journals of processes that are gone, and the repair of what they left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::RestoreError;
use super::line::quote;
use super::undo::{Undo, run_all};
use crate::error::Error;
use crate::sys;
use crate::tracing_dir::TracingDir;

const VERSION: &str = "tracefs journal 1";
const SUFFIX: &str = ".journal";

/// No journal is longer: one names every event of the kernel a few times at most.
const LIMIT: u64 = 16 << 20;

/// What a process that is gone had changed and not put back.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tracefs::TracingDir::find_or_mount()?;
/// let found = tracefs::Journal::stale(&dir, std::path::Path::new("/run/trace-cmd"))?;
/// for journal in found.journals {
///     println!("process {} left {} changes", journal.pid(), journal.changes().count());
///     journal.repair()?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    process: ProcessId,
    dir: TracingDir,
    undos: Vec<Undo>,
    /// Held, so that no two repair at once.
    lock: Flock<File>,
}

/// Journals that were found.
#[derive(Debug, Default)]
pub struct StaleJournals {
    /// Those that can be repaired, oldest process first.
    pub journals: Vec<Journal>,
    /// Files that are no journals, or not to be trusted; nothing of them was carried out.
    pub unreadable: Vec<Error>,
}

impl Journal {
    /// Finds the journals in the directory `journals` whose process is gone and that are about
    /// `dir`. A directory that is missing has none.
    ///
    /// # Errors
    /// [`Error::Journal`] when the directory cannot be read.
    pub fn stale(dir: &TracingDir, journals: &Path) -> Result<StaleJournals, Error> {
        let failed = |source| Error::Journal { path: journals.to_owned(), source };
        let mut found = StaleJournals::default();
        let entries = match fs::read_dir(journals) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(source) => return Err(failed(source)),
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(process) = ProcessId::of_file_name(name) else { continue };
            if process.is_alive() {
                continue;
            }
            match Self::open(&path, process, dir) {
                Ok(journal) => found.journals.extend(journal),
                Err(error) => found.unreadable.push(error),
            }
        }
        found.journals.sort_by_key(|journal| (journal.process.start, journal.path.clone()));
        Ok(found)
    }

    /// The process that made the changes.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Where the journal is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What would be done, a line for each change, last one first.
    pub fn changes(&self) -> impl Iterator<Item = String> {
        self.undos.iter().rev().filter_map(|undo| undo.to_line(&self.dir))
    }

    /// Puts everything back, and removes the journal.
    ///
    /// # Errors
    /// What could not be put back; all of it is tried, and what failed stays in the journal.
    pub fn repair(self) -> Result<(), RestoreError> {
        let Self { path, process, dir, undos, lock } = self;
        let (failed, mut errors) = run_all(undos);
        let left = if failed.is_empty() {
            fs::remove_file(&path)
        } else {
            let lines = failed.iter().filter_map(|undo| undo.to_line(&dir));
            let lines: String = lines.map(|line| line + "\n").collect();
            fs::write(&path, head(process, &boot_id(), &dir) + &lines)
        };
        if let Err(source) = left {
            errors.push(Error::Journal { path, source });
        }
        drop(lock);
        if errors.is_empty() { Ok(()) } else { Err(RestoreError { errors }) }
    }

    /// Reads a journal and locks it; `None` if somebody else has it, or it is about another
    /// directory.
    fn open(path: &Path, process: ProcessId, dir: &TracingDir) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Journal { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let opened =
            options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
        let metadata = lock.metadata().map_err(failed)?;
        // It may have been repaired and removed just now.
        if !fs::symlink_metadata(path).is_ok_and(|now| now.ino() == metadata.ino()) {
            return Ok(None);
        }
        let refused = |line, reason| Error::BadJournal { path: path.to_owned(), line, reason };
        if !metadata.is_file() || metadata.uid() != sys::user_id() {
            return Err(refused(0, "not a file of this user"));
        }
        if metadata.len() > LIMIT {
            return Err(refused(0, "longer than any journal"));
        }
        let mut text = String::new();
        (&*lock).take(LIMIT).read_to_string(&mut text).map_err(failed)?;
        let undos = read(&text, process, dir).map_err(|(line, why)| refused(line, why))?;
        Ok(undos.map(|undos| Self {
            path: path.to_owned(),
            process,
            dir: dir.clone(),
            undos,
            lock,
        }))
    }
}

/// The first lines of a journal.
pub(super) fn head(process: ProcessId, boot: &str, dir: &TracingDir) -> String {
    let ProcessId { pid, start } = process;
    let dir = quote(&dir.path().to_string_lossy());
    format!("{VERSION}\nprocess {pid} started {start}\nboot {boot}\ntracing {dir}\n")
}

/// Reads a journal: line and cause of what is wrong, `None` for another tracing directory. A last
/// line without end was never finished, so its change was never made.
fn read(
    text: &str,
    process: ProcessId,
    dir: &TracingDir,
) -> Result<Option<Vec<Undo>>, (usize, &'static str)> {
    let whole = text.rfind('\n').map_or("", |end| text.get(..=end).unwrap_or_default());
    let mut lines = whole.lines();
    let expected = head(process, &boot_id(), dir);
    for (number, wanted) in (1..).zip(expected.lines()) {
        let Some(line) = lines.next() else {
            // The process died before it changed anything.
            return Ok(Some(Vec::new()));
        };
        if line == wanted {
            continue;
        }
        return match number {
            1 => Err((number, "not a journal of this version")),
            2 => Err((number, "another process than the file's name says")),
            // Nothing is left of what was changed before the machine was started anew.
            3 if line.starts_with("boot ") => Ok(Some(Vec::new())),
            4 if line.starts_with("tracing \"") => Ok(None),
            _ => Err((number, "not the head of a journal")),
        };
    }
    let first = expected.lines().count() + 1;
    let read = |(number, line)| Undo::from_line(line, dir).map_err(|why| (number, why));
    (first..).zip(lines).map(read).collect::<Result<Vec<_>, _>>().map(Some)
}

/// A process, told from others that had its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessId {
    pid: u32,
    /// Clock ticks from the start of the machine to that of the process.
    start: u64,
}

impl ProcessId {
    pub(super) fn own() -> io::Result<Self> {
        let pid = std::process::id();
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (_, start) = state_and_start(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, start })
    }

    pub(super) fn file_name(self, number: u32) -> String {
        format!("{}-{}-{number}{SUFFIX}", self.pid, self.start)
    }

    fn of_file_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(SUFFIX)?.split('-');
        let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next()?.parse::<u32>().ok()?;
        parts.next().is_none().then_some(Self { pid, start })
    }

    fn is_alive(self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else { return false };
        // A zombie changes nothing any more, and puts nothing back.
        state_and_start(&stat)
            .is_some_and(|(state, start)| start == self.start && !matches!(state, "Z" | "X"))
    }
}

/// State and start time, from the text of `/proc/PID/stat`.
fn state_and_start(stat: &str) -> Option<(&str, u64)> {
    // The name of the process, in brackets, may hold any sign.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?;
    Some((state, words.nth(18)?.parse().ok()?))
}

/// What tells one start of the machine from the next.
pub(super) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() { "unknown".to_owned() } else { id.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        assert!(!ProcessId { start: own.start + 1, ..own }.is_alive());
        assert_eq!(ProcessId::of_file_name(&own.file_name(3)), Some(own));
        for odd in ["", ".journal", "1-2.journal", "1-2-3-4.journal", "a-2-3.journal", "1-2-3"] {
            assert_eq!(ProcessId::of_file_name(odd), None, "{odd:?}");
        }
        let stat = "42 (a) b) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(state_and_start(stat), Some(("Z", 4711)));
        assert_eq!(state_and_start("42 (a) R 1"), None);
    }

    #[test]
    fn heads_are_checked_line_by_line() {
        let dir = TracingDir::at("/t");
        let process = ProcessId { pid: 42, start: 4711 };
        let head = head(process, &boot_id(), &dir);
        let change = "write \"tracing_on\" \"1\"\n";
        let read = |text: &str| read(text, process, &dir);
        assert_eq!(read(&(head.clone() + change)).unwrap().unwrap().len(), 1);
        assert_eq!(read(&(head.clone() + change + "write \"x")).unwrap().unwrap().len(), 1);
        assert_eq!(read(&head[..40]).unwrap().unwrap().len(), 0);
        let other = head.replace("\"/t\"", "\"/u\"") + change;
        assert_eq!(read(&other), Ok(None));
        let before = head.replace(&boot_id(), "another") + change;
        assert_eq!(read(&before).unwrap().unwrap().len(), 0);
        assert_eq!(read(&head.replace("42", "43")).unwrap_err().0, 2);
        assert_eq!(read(&head.replace("journal 1", "journal 2")).unwrap_err().0, 1);
        assert_eq!(read(&(head + change + "nonsense\n")).unwrap_err().0, 6);
    }
}
