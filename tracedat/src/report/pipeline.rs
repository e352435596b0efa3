//! Threads that pull batches, print them side by side, and write them in order.
//!
//! ```text
//! lock ─► pull a batch ─► unlock ─► format ─► its turn? write it, and what waits behind it
//!                                          └► else leave the text for who writes, and go on
//! ```
//!
//! Every thread runs this loop. A thread waits only when too many texts wait for an older one, so
//! memory is bounded by threads × batch, and the text is the same for any number of threads.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use super::batch::Batch;
use super::sequence::{End, Sequencer};
use crate::read::Merged;

/// Turns a batch into text.
pub(crate) trait Format: Sync {
    /// Appends the lines of `batch`.
    fn format(&self, batch: &Batch, out: &mut Vec<u8>);
}

/// Pulls all batches and writes their text to `out`, with `threads` threads in all.
pub(crate) fn run<R: Merged + Send>(
    sequencer: Sequencer<'_, '_, R>,
    format: &impl Format,
    threads: NonZeroUsize,
    out: &mut (dyn Write + Send),
) -> Result<End, io::Error> {
    if threads.get() == 1 {
        run_alone(sequencer, format, out)
    } else {
        run_threads(sequencer, format, threads, out)
    }
}

fn run_alone<R: Merged>(
    mut sequencer: Sequencer<'_, '_, R>,
    format: &impl Format,
    out: &mut dyn Write,
) -> Result<End, io::Error> {
    let mut batch = Batch::default();
    let mut text = Vec::new();
    while sequencer.pull(&mut batch) {
        text.clear();
        format.format(&batch, &mut text);
        out.write_all(&text)?;
    }
    Ok(sequencer.finish())
}

fn run_threads<R: Merged + Send>(
    sequencer: Sequencer<'_, '_, R>,
    format: &impl Format,
    threads: NonZeroUsize,
    out: &mut (dyn Write + Send),
) -> Result<End, io::Error> {
    let sequencer = Mutex::new(sequencer);
    let turns = Turns {
        turn: Mutex::new(Turn {
            next: 0,
            out: Some(out),
            ready: BTreeMap::new(),
            spare: Vec::new(),
            error: None,
        }),
        changed: Condvar::new(),
        max_ready: threads.get().saturating_mul(READY_PER_THREAD),
    };
    let work = || {
        // A thread that ends for any reason lets the others go on or end, never wait for it.
        let _abandon = AbandonOnPanic(&turns);
        let mut batch = Batch::default();
        let mut text = Vec::new();
        while lock_soon(&sequencer).pull(&mut batch) {
            text.clear();
            format.format(&batch, &mut text);
            if !turns.write(batch.sequence, &mut text) {
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
        None => Ok(sequencer.into_inner().unwrap_or_else(PoisonError::into_inner).finish()),
    }
}

/// Texts that may wait for an older one, per thread.
const READY_PER_THREAD: usize = 2;

/// Whose text is written next, and texts that wait for it.
struct Turns<'w> {
    turn: Mutex<Turn<'w>>,
    changed: Condvar,
    max_ready: usize,
}

struct Turn<'w> {
    next: u64,
    /// `None` while a thread writes.
    out: Option<&'w mut (dyn Write + Send)>,
    ready: BTreeMap<u64, Vec<u8>>,
    /// Buffers that are free again.
    spare: Vec<Vec<u8>>,
    error: Option<io::Error>,
}

impl Turns<'_> {
    /// Writes the text now, or leaves it to the thread that writes what comes before; false when no
    /// more is wanted. `text` is another buffer afterwards.
    fn write(&self, sequence: u64, text: &mut Vec<u8>) -> bool {
        let mut turn = lock(&self.turn);
        // Who holds the oldest text never waits here, so there is always one to go on.
        while turn.next != sequence && turn.ready.len() >= self.max_ready && turn.error.is_none() {
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        if turn.error.is_some() {
            return false;
        }
        let spare = turn.spare.pop().unwrap_or_default();
        turn.ready.insert(sequence, std::mem::replace(text, spare));
        let Some(out) = turn.out.take() else { return true };
        loop {
            let next = turn.next;
            let Some(ready) = turn.ready.remove(&next).filter(|_| turn.error.is_none()) else {
                break;
            };
            drop(turn);
            let result = out.write_all(&ready);
            turn = lock(&self.turn);
            turn.spare.push(ready);
            match result {
                Ok(()) => turn.next += 1,
                Err(error) => turn.error = Some(error),
            }
            self.changed.notify_all();
        }
        turn.out = Some(out);
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

/// Locks what is held for less time than going to sleep and being woken takes.
fn lock_soon<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for _ in 0..SPINS {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(error)) => return error.into_inner(),
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
    lock(mutex)
}

/// Some hundred microseconds, in which a batch is pulled.
const SPINS: u32 = 4000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ReadError;
    use crate::read::Candidate;
    use crate::report::{ReportOptions, number};
    use crate::ring_buffer::{MissedEvents, Record};

    /// So many records, each with its number as data.
    struct Counter {
        next: u32,
        end: u32,
        data: [u8; 4],
    }

    impl Merged for Counter {
        fn next(&mut self) -> Result<Option<(usize, Record<'_>)>, ReadError> {
            if self.next == self.end {
                return Ok(None);
            }
            self.data = self.next.to_le_bytes();
            self.next += 1;
            let record = Record {
                data: &self.data,
                behind: &[],
                ticks: u64::from(self.next),
                time: u64::from(self.next),
                cpu: self.next % 3,
                buffer: 0,
                missed: MissedEvents::None,
                starts_sub_buffer: false,
            };
            Ok(Some((0, record)))
        }

        fn next_wanted(
            &mut self,
            _: &mut dyn FnMut(&Candidate<'_>) -> bool,
        ) -> Result<Option<(usize, Record<'_>)>, ReadError> {
            self.next()
        }

        fn peek_cpu(&mut self, _: usize, _: u32, _: u32) -> Result<Option<Record<'_>>, ReadError> {
            Ok(None)
        }

        fn skip_cpu(&mut self, _: usize, _: u32, _: u32) -> Result<(), ReadError> {
            Ok(())
        }
    }

    struct Numbers;

    impl Format for Numbers {
        fn format(&self, batch: &Batch, out: &mut Vec<u8>) {
            for (index, header) in batch.headers.iter().enumerate() {
                let data = batch.data(header).try_into().map_or(0, u32::from_le_bytes);
                assert_eq!(u64::from(data), batch.first_record + index as u64);
                number::decimal(out, u64::from(data));
                out.push(b'\n');
            }
        }
    }

    fn text(end: u32, threads: usize, out: &mut (dyn Write + Send)) -> io::Result<()> {
        let options = ReportOptions::default();
        let sequencer = Sequencer::new(Counter { next: 0, end, data: [0; 4] }, &[], &options);
        let threads = NonZeroUsize::new(threads).unwrap();
        run(sequencer, &Numbers, threads, out).map(|end| assert!(end.error.is_none()))
    }

    #[test]
    fn text_is_the_same_for_any_number_of_threads() {
        let expected: String = (0..50_000).map(|n| format!("{n}\n")).collect();
        for threads in [1, 2, 3, 8] {
            let mut out = Vec::new();
            text(50_000, threads, &mut out).unwrap();
            assert!(out == expected.as_bytes(), "{threads} threads");
        }
    }

    #[test]
    fn no_record_is_no_text() {
        for threads in [1, 2] {
            let mut out = Vec::new();
            text(0, threads, &mut out).unwrap();
            assert!(out.is_empty());
        }
    }

    /// Takes so many bytes, then its reader is gone.
    struct Pipe(usize);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn closed_pipe_stops_every_thread() {
        for threads in [1, 2, 8] {
            let error = text(u32::MAX, threads, &mut Pipe(100_000)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[test]
    fn other_cpus_are_left_out() {
        let options = ReportOptions { cpus: Some(vec![1]), ..ReportOptions::default() };
        let counter = Counter { next: 0, end: 9, data: [0; 4] };
        let mut sequencer = Sequencer::new(counter, &[], &options);
        let mut batch = Batch::default();
        let mut times = Vec::new();
        while sequencer.pull(&mut batch) {
            times.extend(batch.headers.iter().map(|header| header.time));
        }
        assert_eq!(times, [1, 4, 7]);
    }
}
