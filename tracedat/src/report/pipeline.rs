//! Threads that pull batches, print them side by side, and write them in order.
//!
//! ```text
//! lock ─► pull a batch ─► unlock ─► format into own buffer ─► wait for its turn ─► write
//! ```
//!
//! Every thread runs this loop with one batch and one buffer that it reuses, so memory is bounded by
//! threads × batch, and the text is the same for any number of threads.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::batch::Batch;
use super::sequence::{Records, Sequencer};

/// Turns a batch into text.
pub(crate) trait Format: Sync {
    /// Appends the lines of `batch`.
    fn format(&self, batch: &Batch, out: &mut Vec<u8>);
}

/// Pulls all batches and writes their text to `out`, with `threads` threads in all.
pub(crate) fn run<R: Records + Send>(
    sequencer: Sequencer<'_, '_, R>,
    format: &impl Format,
    threads: NonZeroUsize,
    out: &mut (dyn Write + Send),
) -> Result<Sequenced, io::Error> {
    if threads.get() == 1 {
        run_alone(sequencer, format, out)
    } else {
        run_threads(sequencer, format, threads, out)
    }
}

/// What is left when all records were pulled: the read error, if one ended it.
pub(crate) type Sequenced = Option<crate::error::ReadError>;

fn run_alone<R: Records>(
    mut sequencer: Sequencer<'_, '_, R>,
    format: &impl Format,
    out: &mut dyn Write,
) -> Result<Sequenced, io::Error> {
    let mut batch = Batch::default();
    let mut text = Vec::new();
    while sequencer.pull(&mut batch) {
        text.clear();
        format.format(&batch, &mut text);
        out.write_all(&text)?;
    }
    Ok(sequencer.into_error())
}

fn run_threads<R: Records + Send>(
    sequencer: Sequencer<'_, '_, R>,
    format: &impl Format,
    threads: NonZeroUsize,
    out: &mut (dyn Write + Send),
) -> Result<Sequenced, io::Error> {
    let sequencer = Mutex::new(sequencer);
    let turns =
        Turns { turn: Mutex::new(Turn { next: 0, out, error: None }), changed: Condvar::new() };
    let work = || {
        // A thread that ends for any reason lets the others go on or end, never wait for it.
        let _abandon = AbandonOnPanic(&turns);
        let mut batch = Batch::default();
        let mut text = Vec::new();
        while lock(&sequencer).pull(&mut batch) {
            text.clear();
            format.format(&batch, &mut text);
            if !turns.write(batch.sequence, &text) {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(work);
        }
        work();
    });
    let turn = turns.turn.into_inner().unwrap_or_else(PoisonError::into_inner);
    match turn.error {
        Some(error) => Err(error),
        None => Ok(sequencer.into_inner().unwrap_or_else(PoisonError::into_inner).into_error()),
    }
}

/// Whose text is written next.
struct Turns<'w> {
    turn: Mutex<Turn<'w>>,
    changed: Condvar,
}

struct Turn<'w> {
    next: u64,
    out: &'w mut (dyn Write + Send),
    error: Option<io::Error>,
}

impl Turns<'_> {
    /// Waits until `sequence` is next and writes; false when no more is wanted.
    fn write(&self, sequence: u64, text: &[u8]) -> bool {
        let mut turn = lock(&self.turn);
        while turn.next != sequence && turn.error.is_none() {
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        if turn.error.is_none() {
            match turn.out.write_all(text) {
                Ok(()) => turn.next += 1,
                Err(error) => turn.error = Some(error),
            }
        }
        self.changed.notify_all();
        turn.error.is_none()
    }
}

/// Wakes the other threads when this one panics.
struct AbandonOnPanic<'a, 'w>(&'a Turns<'w>);

impl Drop for AbandonOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.turn).error = Some(io::Error::other("a report thread failed"));
            self.0.changed.notify_all();
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
