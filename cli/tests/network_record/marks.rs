//! Numbered marks in the ring buffer of one CPU: what of them is in a file shows where it has gaps.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::common::{check, success, trace_cmd};

/// How fast marks are made.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// Some hundred in a second.
    Slow,
    /// As many as can be.
    Flood,
}

/// Makes marks on CPU 0 until it is dropped.
pub(crate) struct Marks {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Three marks fill a sub-buffer.
const MARK: usize = 1000;

impl Marks {
    pub(crate) fn start(tracing: &Path, pace: Pace) -> Result<Self, Failed> {
        let mut file = File::options().write(true).open(tracing.join("trace_marker"))?;
        let count = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (counted, stopped) = (Arc::clone(&count), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut first = CpuSet::new();
            // One that wanders leaves marks in several buffers, and the test fails.
            let _ = first.set(0).and_then(|()| sched_setaffinity(Pid::from_raw(0), &first));
            while !stopped.load(Ordering::Relaxed) {
                let number = counted.load(Ordering::Relaxed) + 1;
                let mark = format!("mark={number} {:.<width$}", "", width = MARK);
                // Without tracing there is nobody to take it.
                if file.write_all(mark.as_bytes()).is_ok() {
                    counted.store(number, Ordering::Relaxed);
                }
                if let Pace::Slow = pace {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        Ok(Self { count, stop, thread: Some(thread) })
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The numbers of the marks in a file that can be read, in its order.
pub(crate) fn in_file(file: &Path) -> Result<Vec<u64>, Failed> {
    let text = success(trace_cmd().args(["report", "-i"]).arg(file))?;
    let numbers = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("mark=")?;
        rest.split(' ').next()?.parse().ok()
    });
    Ok(numbers.collect())
}

/// Checks that no mark is missing between the first and the last.
pub(crate) fn have_no_gap(marks: &[u64]) -> Result<(), Failed> {
    let gap = marks.windows(2).find(|pair| pair[1] != pair[0] + 1);
    check(gap.is_none(), || format!("between marks {gap:?} of {}", marks.len()))
}
