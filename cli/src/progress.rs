//! How far a long command on files is, in a line on a terminal.
//!
//! A thread of its own asks every now and then; what is asked only counts as it goes, so nothing that
//! is done for an event waits for a terminal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracedat::source::ReadAt;

use crate::status_line::{StatusLine, size};

/// How long something takes before anything is said about it.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the line is written anew.
const INTERVAL: Duration = Duration::from_millis(200);

/// The line, while something goes on. Dropping it leaves an empty line.
pub(crate) struct Progress {
    /// Closing it ends the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows on standard error, if that is a terminal, how many of `total` bytes are done; where
    /// that is 0, how many are.
    pub(crate) fn start(
        action: &'static str,
        total: u64,
        done: impl Fn() -> u64 + Send + 'static,
    ) -> Option<Self> {
        let mut line = StatusLine::on_terminal()?;
        let (end, ended) = mpsc::channel();
        let show = move || {
            let mut pause = PATIENCE;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                line.show(&text(action, done(), total));
                pause = INTERVAL;
            }
        };
        // Where there is no thread for it, the work is done in silence.
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(show).ok()?;
        Some(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It ends by emptying its line.
            let _ = thread.join();
        }
    }
}

fn text(action: &str, done: u64, total: u64) -> String {
    match total {
        0 => format!("{action}: {}", size(done as f64)),
        _ => {
            // What is read twice counts twice.
            let percent = (u128::from(done) * 100 / u128::from(total)).min(99);
            format!("{action}: {percent}% of {}", size(total as f64))
        }
    }
}

/// How much of some files is read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    total: u64,
    read: Arc<AtomicU64>,
}

impl Reading {
    /// Counts what will be read of this file too.
    pub(crate) fn of(&mut self, file: File) -> CountedFile {
        self.total = self.total.saturating_add(file.metadata().map_or(0, |file| file.len()));
        CountedFile { file, read: Arc::clone(&self.read) }
    }

    /// Shows how far it is, where there is something that is counted.
    pub(crate) fn show(&self, action: &'static str) -> Option<Progress> {
        let read = Arc::clone(&self.read);
        let is_counted = self.total > 0;
        is_counted
            .then(|| Progress::start(action, self.total, move || read.load(Ordering::Relaxed)))?
    }
}

/// A file that is counted.
pub(crate) struct CountedFile {
    file: File,
    read: Arc<AtomicU64>,
}

impl ReadAt for CountedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = FileExt::read_at(&self.file, buffer, offset)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_percent_or_bytes() {
        assert_eq!(text("report", 50, 200), "report: 25% of 200 B");
        assert_eq!(text("report", 300, 200), "report: 99% of 200 B");
        assert_eq!(text("report", u64::MAX, 1 << 40), "report: 99% of 1.1 TB");
        assert_eq!(text("extract", 1_500, 0), "extract: 1.5 kB");
    }

    #[test]
    fn what_is_read_is_counted() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10_000).unwrap();
        let mut reading = Reading::default();
        let counted = reading.of(file);
        assert_eq!(counted.read_full_at(&mut [0; 4096], 0).unwrap(), 4096);
        assert_eq!(counted.read_full_at(&mut [0; 4096], 8_192).unwrap(), 1_808);
        assert_eq!((reading.read.load(Ordering::Relaxed), reading.total), (5_904, 10_000));
    }
}
