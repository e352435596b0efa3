//! Chunks that are read and decompressed before they are wanted, by threads of their own.
//!
//! A job is a run of chunks of one CPU: more work than waking a thread. Who wants a chunk of a job
//! that nobody began with does it himself, and who would have to wait does another job meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::section;
use crate::compress::{Codec, Decompressor};
use crate::error::ReadError;
use crate::source::ReadAt;

/// Jobs of one CPU that are under way.
pub(super) const JOBS: usize = 2;

/// Bytes that all CPUs may have made: of each CPU what is read, and its jobs.
const MADE: usize = 8 << 20;

/// Bytes of a job: what takes some hundred microseconds.
const JOB_MAX: usize = 640 << 10;

/// A chunk, and how it becomes sub-buffers.
pub(super) struct Chunk {
    pub(super) source: Arc<dyn ReadAt>,
    pub(super) codec: Codec,
    /// Where its compressed bytes are, and how many.
    pub(super) body: u64,
    pub(super) compressed: u64,
    /// Bytes it decompresses to.
    pub(super) size: usize,
}

/// What makes chunks, one after the other.
#[derive(Default)]
pub(super) struct Unpacker {
    packed: Vec<u8>,
    decompressor: Option<(Codec, Decompressor)>,
}

impl Unpacker {
    /// Reads and decompresses a chunk into `out`.
    pub(super) fn unpack(&mut self, chunk: &Chunk, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let Chunk { source, codec, body, compressed, size } = chunk;
        section::read_into(&**source, *body, *compressed, &mut self.packed)?;
        let decompressor = match &mut self.decompressor {
            Some((of, decompressor)) if of == codec => decompressor,
            other => &mut other.insert((*codec, section::decompressor(*codec, *body)?)).1,
        };
        let result = decompressor.decompress_into(&self.packed, *size, out);
        let (offset, compressed) = (*body, *compressed);
        result.map_err(|source| ReadError::Decompress { offset, compressed, source })
    }
}

/// The threads, which end when all handles are gone.
#[derive(Clone)]
pub(super) struct ReadAhead {
    jobs: Sender<Arc<Job>>,
    /// The jobs that nobody began with, for those who would have to wait.
    open: Receiver<Arc<Job>>,
    /// Bytes that the chunks of a job may become.
    pub(super) job_size: usize,
}

impl ReadAhead {
    /// Starts so many threads for so many CPUs; `None` where none is to be had.
    pub(super) fn start(threads: usize, cpus: usize) -> Option<Self> {
        let (jobs, open) = unbounded::<Arc<Job>>();
        let started = (0..threads).map_while(|_| {
            let open = open.clone();
            let work = move || {
                let mut unpacker = Unpacker::default();
                for job in open {
                    job.work(&mut unpacker);
                }
            };
            thread::Builder::new().name("read-ahead".to_owned()).spawn(work).ok()
        });
        let job_size = (MADE / (cpus.max(1) * (JOBS + 1))).min(JOB_MAX);
        (started.count() > 0).then_some(Self { jobs, open, job_size })
    }

    /// What a job is made into, whoever makes it.
    fn finish(&self, job: &Job, unpacker: &mut Unpacker) -> VecDeque<Made> {
        loop {
            job.work(unpacker);
            if let State::Done(made) = &mut *job.lock() {
                return std::mem::take(made);
            }
            // Another thread is at it.
            match self.open.try_recv() {
                Ok(other) => other.work(unpacker),
                Err(_) => return job.wait(),
            }
        }
    }
}

/// A run of chunks.
struct Job {
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    /// Chunks, and buffers that can be used for them.
    Open(Vec<(Chunk, Vec<u8>)>),
    /// A thread is at it.
    Working,
    Done(VecDeque<Made>),
}

/// A chunk that was made.
struct Made {
    body: u64,
    result: Result<(), ReadError>,
    bytes: Vec<u8>,
}

impl Job {
    /// Makes the chunks, unless somebody was faster.
    fn work(&self, unpacker: &mut Unpacker) {
        let mut state = self.lock();
        if !matches!(*state, State::Open(_)) {
            return;
        }
        let State::Open(chunks) = std::mem::replace(&mut *state, State::Working) else { return };
        drop(state);
        let mut finish = Finish { job: self, made: VecDeque::with_capacity(chunks.len()) };
        for (chunk, mut bytes) in chunks {
            let result = unpacker.unpack(&chunk, &mut bytes);
            finish.made.push_back(Made { body: chunk.body, result, bytes });
        }
    }

    fn wait(&self) -> VecDeque<Made> {
        let mut state = self.lock();
        loop {
            match &mut *state {
                State::Done(made) => return std::mem::take(made),
                _ => state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives what was made to who waits for it, whatever ends the work.
struct Finish<'a> {
    job: &'a Job,
    made: VecDeque<Made>,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        *self.job.lock() = State::Done(std::mem::take(&mut self.made));
        self.job.done.notify_all();
    }
}

/// The chunks of one CPU that were made, or will be.
#[derive(Default)]
pub(super) struct Ahead {
    made: VecDeque<Made>,
    jobs: VecDeque<Arc<Job>>,
    /// Where the chunk behind all jobs is, and how many are left there.
    planned: Option<(u64, u32)>,
    spare: Vec<Vec<u8>>,
}

impl Ahead {
    /// Where the next job starts, if there should be one; `next` is where the next chunk of the CPU
    /// does.
    pub(super) fn wants(&self, next: (u64, u32)) -> Option<(u64, u32)> {
        (self.jobs.len() < JOBS).then(|| self.planned.unwrap_or(next))
    }

    /// Has chunks made, after which comes what is at `planned`.
    pub(super) fn ask(&mut self, pool: &ReadAhead, chunks: Vec<Chunk>, planned: (u64, u32)) {
        let with_buffer = |chunk| (chunk, self.spare.pop().unwrap_or_default());
        let chunks = chunks.into_iter().map(with_buffer).collect();
        let job = Job { state: Mutex::new(State::Open(chunks)), done: Condvar::new() };
        let job = Arc::new(job);
        self.planned = Some(planned);
        self.jobs.push_back(Arc::clone(&job));
        // Without a thread, whoever wants it makes it.
        let _ = pool.jobs.send(job);
    }

    /// Gives the chunk whose compressed bytes are at `body`, in exchange for a buffer; `None` when
    /// it is not the one that was to come next.
    pub(super) fn take(
        &mut self,
        body: u64,
        window: &mut Vec<u8>,
        pool: &ReadAhead,
        unpacker: &mut Unpacker,
    ) -> Option<Result<(), ReadError>> {
        if self.made.is_empty()
            && let Some(job) = self.jobs.pop_front()
        {
            self.made = pool.finish(&job, unpacker);
        }
        match self.made.pop_front() {
            Some(Made { body: of, result, bytes }) if of == body => {
                self.spare.push(std::mem::replace(window, bytes));
                Some(result)
            }
            // Of another place in the file.
            _ => {
                *self = Self { spare: std::mem::take(&mut self.spare), ..Self::default() };
                None
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "zstd")]
mod tests {
    use super::*;

    /// What chunks become, each of another length.
    fn expected() -> Vec<Vec<u8>> {
        (1..50_u32).map(|chunk| (0..chunk * 999).map(|n| (n / 7) as u8).collect()).collect()
    }

    #[test]
    fn chunks_are_the_same_whoever_makes_them() {
        let expected = expected();
        let (mut file, mut places) = (b"before".to_vec(), Vec::new());
        for data in &expected {
            let start = file.len() as u64;
            Codec::Zstd.compress_into(data, &mut file).unwrap();
            places.push((start, file.len() as u64 - start));
        }
        let source: Arc<dyn ReadAt> = Arc::new(file);
        let chunk = |index: usize, size| {
            let (body, compressed) = places[index];
            let source = Arc::clone(&source);
            Chunk { source, codec: Codec::Zstd, body, compressed, size }
        };
        let pool = ReadAhead::start(2, 3).unwrap();
        let mut unpacker = Unpacker::default();
        for round in 0..200 {
            let mut cpus: [Ahead; 3] = Default::default();
            let mut window = Vec::new();
            for first in (0..45).step_by(3) {
                for cpu in &mut cpus {
                    while cpu.wants((0, 0)).is_some() {
                        let from = cpu.planned.map_or(first, |(planned, _)| planned as usize);
                        // Now and then one with another size than it says.
                        let size = |index: usize| match (index + round) % 10 {
                            9 => 7,
                            _ => expected[index].len(),
                        };
                        let run = from..(from + 3).min(49);
                        let next = (run.end as u64, 1);
                        cpu.ask(&pool, run.map(|at| chunk(at, size(at))).collect(), next);
                    }
                }
                if round % 3 == 0 {
                    thread::yield_now();
                }
                for (cpu, index) in cpus.iter_mut().zip(std::iter::repeat(first)) {
                    for index in index..index + 3 {
                        let taken = cpu.take(places[index].0, &mut window, &pool, &mut unpacker);
                        let taken = taken.expect("it comes next");
                        assert_eq!(taken.is_err(), (index + round) % 10 == 9, "{taken:?}");
                        assert!(taken.is_err() || window == expected[index]);
                    }
                }
            }
            // Not what comes next; after that nothing is left of what was asked for.
            assert!(cpus[0].take(1, &mut window, &pool, &mut unpacker).is_none());
            assert!(cpus[0].take(places[45].0, &mut window, &pool, &mut unpacker).is_none());
        }
    }
}
