//! The small files of the shared corpus, cut and with flipped bits: an error or a report each time, soon,
//! in bounded memory, and nothing panics.
//!
//! The corpus is looked for in `TRACE_CORPUS`, then next to the workspace in `../shared/corpus`. As much
//! is tried as `MALFORMED_SECONDS` allow, 20 unless that says otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod damage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use damage::{Damage, most_memory_kb, read_all};

/// Longer takes only what does not end.
const LIMIT: Duration = Duration::from_secs(240);

/// Most memory that all of it may have used at any time.
const MEMORY_LIMIT_KB: u64 = 1 << 20;

/// Larger files are left out.
const LARGEST_FILE: u64 = 300 << 10;

fn main() -> ExitCode {
    let corpus = std::env::var_os("TRACE_CORPUS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus")),
        PathBuf::from,
    );
    let files = small_files(&corpus.join("data"));
    let arguments = Arguments::from_args();
    if files.is_empty() {
        let absent = Trial::ignorable_test("corpus", || {
            Ok(Completion::ignored_with("no corpus beside the workspace, none in TRACE_CORPUS"))
        });
        return libtest_mimic::run(&arguments, vec![absent]).exit_code();
    }
    let seconds = std::env::var("MALFORMED_SECONDS").ok().and_then(|text| text.parse().ok());
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u32);
    let budget = Duration::from_secs(seconds.unwrap_or(20)) * threads / files.len() as u32;
    let trials = files.into_iter().map(|path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Trial::test(name, move || sweep(&path, budget))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn small_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.metadata().is_ok_and(|file| file.len() < LARGEST_FILE))
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dat"))
        .collect();
    files.sort();
    files
}

/// Cuts and flips by turns until the time is up, at least one of each.
fn sweep(path: &Path, budget: Duration) -> Result<(), Failed> {
    let whole = std::fs::read(path)?;
    let end = Instant::now() + budget;
    let (begun, watch) = mpsc::channel();
    let worker = thread::spawn(move || {
        for seed in 0.. {
            // All lengths are met, spread over the file: the factor has no divisor that they have.
            let cut = seed as usize * 7_368_787 % whole.len().max(1);
            for damage in [Damage::CutTo(cut), Damage::FlipBits { seed }] {
                begun.send(damage).expect("the watchdog waits");
                read_all(damage.apply(&whole));
            }
            if Instant::now() > end {
                break;
            }
        }
    });
    let mut last = Damage::Nothing;
    loop {
        match watch.recv_timeout(LIMIT) {
            Ok(damage) => last = damage,
            Err(RecvTimeoutError::Timeout) => return Err(format!("{last:?}: no end").into()),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.join().map_err(|_| format!("{last:?}: panics"))?;
    match most_memory_kb() {
        Some(memory) if memory > MEMORY_LIMIT_KB => Err(format!("{memory} KB of memory").into()),
        _ => Ok(()),
    }
}
