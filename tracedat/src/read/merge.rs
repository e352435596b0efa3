//! One stream of records out of many, by time.

mod live;

pub use live::{Late, LiveCpu, LiveMerge};

use std::sync::Arc;

use super::Reader;
use super::ahead::ReadAhead;
use super::cpu_data::{CpuStream, Shared};
use super::damage::Damage;
use super::tournament::Tournament;
use crate::clock::{ClockCorrection, ClockOptions};
use crate::compress::Codec;
use crate::error::ReadError;
use crate::metadata::{Metadata, Warning};
use crate::ring_buffer::Record;
use crate::source::ReadAt;

/// Bytes of a file that are held for all CPUs together, and limits of what one CPU has of it.
const WINDOWS: usize = 8 << 20;
const WINDOW_MIN: usize = 16 << 10;
const WINDOW_MAX: usize = 256 << 10;

/// The records of one file, oldest first, over all CPUs and buffers. Records of the same time
/// come in the order of buffers, then CPUs.
pub struct Records {
    streams: Streams,
    clock: ClockOptions,
}

impl Records {
    pub(super) fn new(source: Arc<dyn ReadAt>, codec: Codec, metadata: &Metadata) -> Self {
        let count: usize = metadata.buffers.iter().map(|buffer| buffer.cpus.len()).sum();
        let window = (WINDOWS / count.max(1)).clamp(WINDOW_MIN, WINDOW_MAX);
        let mut streams = Vec::with_capacity(count);
        for (index, buffer) in (0..).zip(&metadata.buffers) {
            let header_page = metadata.header_page;
            for data in buffer.cpus.iter().filter(|data| data.size > 0) {
                let stream = CpuStream::new(data, buffer, index, header_page, metadata.abi, window);
                streams.push(Stream { file: 0, sleeps: false, cpu: stream });
            }
        }
        let files = vec![Shared::new(source, codec, metadata.abi)];
        let mut records =
            Self { streams: Streams::new(streams, files), clock: ClockOptions::default() };
        records.set_clock(metadata, &ClockOptions::default());
        records
    }

    /// The next record, `None` after the last. It borrows the stream's memory until the next call.
    ///
    /// # Errors
    ///
    /// The file cannot be read. Data that does not decode is skipped and gives a warning.
    #[allow(clippy::should_implement_trait, reason = "lends, unlike an iterator")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        Ok(self.streams.next()?.map(|stream| stream.cpu.record()))
    }

    /// The record that comes next on a CPU of a buffer, without taking it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn peek_cpu(&mut self, buffer: u32, cpu: u32) -> Result<Option<Record<'_>>, ReadError> {
        self.streams.peek(0, buffer, cpu)
    }

    /// Leaves only records from `from` up to `to`, both included, as [`Record::time`] has them, and starts over with the
    /// first of these. What was left before makes no difference; `0` and [`u64::MAX`] leave all.
    ///
    /// Of each CPU little more is read than the sub-buffers that have these times. They are found by halving,
    /// since the kernel writes the sub-buffers of a CPU in the order of time: uncompressed, some headers
    /// are read; compressed, the sizes of all chunks are, and some chunks are decompressed. Where sub-buffers are seen
    /// that are not in this order, where the correction of stamps does not keep it, and with
    /// [`Damage::AsFound`], the data of the CPU is read from its start instead. What is damaged in places that are not
    /// read is not told.
    ///
    /// ```
    /// # use tracedat::testing::{TraceBuilder, Workload};
    /// # let trace = TraceBuilder::new(Workload::new(1)).build();
    /// let tracedat::Reader { mut records, .. } = tracedat::Reader::parse(trace)?;
    /// let start = records.next()?.map_or(0, |first| first.time);
    /// let (from, to) = (start + 100_000, start + 200_000);       // nanoseconds
    /// records.between(from, to)?;
    /// while let Some(record) = records.next()? {
    ///     assert!((from..=to).contains(&record.time));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn between(&mut self, from: u64, to: u64) -> Result<(), ReadError> {
        self.streams.between(from, to)
    }

    /// Goes to the first record that is not before `time`, forwards or backwards, as [`Records::between`] does.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn seek(&mut self, time: u64) -> Result<(), ReadError> {
        self.between(time, u64::MAX)
    }

    /// Times of the first and the last record that a CPU of a buffer has, `None` without any; only what
    /// is around the two is read. All records start over after that.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn times_of_cpu(&mut self, buffer: u32, cpu: u32) -> Result<Option<(u64, u64)>, ReadError> {
        self.streams.times(0, buffer, cpu)
    }

    /// Has compressed data read and decompressed before it is wanted, by so many more threads.
    pub fn read_ahead(&mut self, threads: usize) {
        self.streams.read_ahead(threads);
    }

    /// Takes all records of a CPU of a buffer, one after the other.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn visit_cpu(
        &mut self,
        buffer: u32,
        cpu: u32,
        mut visit: impl FnMut(&Record<'_>),
    ) -> Result<(), ReadError> {
        self.streams.visit(0, buffer, cpu, &mut visit)
    }

    /// Takes the record that [`Records::peek_cpu`] shows.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn skip_cpu(&mut self, buffer: u32, cpu: u32) -> Result<(), ReadError> {
        self.streams.skip(0, buffer, cpu)
    }

    /// Goes to a sub-buffer of a CPU, counted from 0; its first record is that CPU's next.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn seek_cpu(&mut self, buffer: u32, cpu: u32, sub_buffer: u64) -> Result<(), ReadError> {
        self.streams.seek(0, buffer, cpu, sub_buffer)
    }

    /// Sets how [`Record::time`] is made of ticks; before the first record is taken.
    pub fn set_clock(&mut self, metadata: &Metadata, options: &ClockOptions) {
        self.clock = options.clone();
        self.correct(metadata);
    }

    pub(super) fn set_damage(&mut self, damage: Damage) {
        for shared in &mut self.streams.files {
            shared.damage = damage;
        }
    }

    /// Makes the corrections of all CPUs.
    fn correct(&mut self, metadata: &Metadata) {
        for Stream { cpu, .. } in &mut self.streams.streams {
            cpu.correction = ClockCorrection::new(metadata, &self.clock, cpu.cpu);
        }
    }

    /// What could not be read so far.
    pub fn warnings(&self) -> &[Warning] {
        self.streams.warnings(0)
    }
}

/// The records of several files, oldest first. Records of the same time come in the order of
/// files, then buffers, then CPUs. A guest's times are corrected to those of its host.
pub struct Merge {
    streams: Streams,
}

impl Merge {
    /// Joins open files, before a record of them is taken; gives back what is known about each.
    pub fn new(readers: Vec<Reader>) -> (Vec<Metadata>, Self) {
        let (mut streams, mut files) = (Vec::new(), Vec::new());
        let mut all: Vec<Metadata> = Vec::with_capacity(readers.len());
        for (file, Reader { metadata, mut records }) in readers.into_iter().enumerate() {
            let own = records.streams.streams.into_iter();
            streams.extend(own.map(|stream| Stream { file, ..stream }));
            files.append(&mut records.streams.files);
            all.push(metadata);
        }
        (all, Self { streams: Streams::new(streams, files) })
    }

    /// The next record and the index of its file, `None` after the last.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    #[allow(clippy::should_implement_trait, reason = "lends, unlike an iterator")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<(usize, Record<'_>)>, ReadError> {
        Ok(self.streams.next()?.map(|stream| (stream.file, stream.cpu.record())))
    }

    /// Has compressed data read and decompressed before it is wanted, by so many more threads.
    pub fn read_ahead(&mut self, threads: usize) {
        self.streams.read_ahead(threads);
    }

    /// Leaves only records of some times of all files, as [`Records::between`] does.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn between(&mut self, from: u64, to: u64) -> Result<(), ReadError> {
        self.streams.between(from, to)
    }

    /// The time of the record that comes next.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn next_time(&mut self) -> Result<Option<u64>, ReadError> {
        self.streams.settle()?;
        let winner = self.streams.tournament.winner();
        Ok(winner.and_then(|at| self.streams.streams.get(at)).map(|stream| stream.cpu.time()))
    }

    /// Leaves out CPUs that are not wanted, given the index of the file, the buffer and the CPU: nothing
    /// more is read of them, unless [`Merge::peek_cpu`] asks for one.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn only_cpus(&mut self, wanted: impl Fn(usize, u32, u32) -> bool) -> Result<(), ReadError> {
        self.streams.only(&wanted)
    }

    /// Times of the first and the last record that a CPU of a file's buffer has, as [`Records::times_of_cpu`] tells
    /// them.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn times_of_cpu(
        &mut self,
        file: usize,
        buffer: u32,
        cpu: u32,
    ) -> Result<Option<(u64, u64)>, ReadError> {
        self.streams.times(file, buffer, cpu)
    }

    /// Counts time from the first record, before one is taken; with `top_level`, from the first of
    /// a top-level buffer, so that what instances have before it comes last.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn count_from_start(&mut self, top_level: bool) -> Result<(), ReadError> {
        self.streams.count_from_start(top_level)
    }

    /// The record that comes next on a CPU of a file's buffer, without taking it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn peek_cpu(
        &mut self,
        file: usize,
        buffer: u32,
        cpu: u32,
    ) -> Result<Option<Record<'_>>, ReadError> {
        self.streams.peek(file, buffer, cpu)
    }

    /// Takes the record that [`Merge::peek_cpu`] shows.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn skip_cpu(&mut self, file: usize, buffer: u32, cpu: u32) -> Result<(), ReadError> {
        self.streams.skip(file, buffer, cpu)
    }

    /// Bytes that the sub-buffers of a CPU of a file's buffer have, uncompressed. Of compressed data
    /// only the sizes are read.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn data_size(&mut self, file: usize, buffer: u32, cpu: u32) -> Result<u64, ReadError> {
        let Some(at) = self.streams.find(file, buffer, cpu) else { return Ok(0) };
        let (streams, files) = (&mut self.streams.streams, &mut self.streams.files);
        match (streams.get_mut(at), files.get_mut(file)) {
            (Some(stream), Some(shared)) => stream.cpu.data_size(shared),
            _ => Ok(0),
        }
    }

    /// What could not be read so far in a file.
    pub fn warnings(&self, file: usize) -> &[Warning] {
        self.streams.warnings(file)
    }
}

/// Where a report takes records from, over all files, oldest first.
pub(crate) trait Merged {
    /// The next record and the index of its file.
    fn next(&mut self) -> Result<Option<(usize, Record<'_>)>, ReadError>;
    /// The same for the next record that is wanted, as far as its CPU and bytes tell; those before it
    /// are left out.
    fn next_wanted(
        &mut self,
        wanted: &mut dyn FnMut(&Candidate<'_>) -> bool,
    ) -> Result<Option<(usize, Record<'_>)>, ReadError>;
    /// The record that follows on a CPU of a buffer, without taking it.
    fn peek_cpu(
        &mut self,
        file: usize,
        buffer: u32,
        cpu: u32,
    ) -> Result<Option<Record<'_>>, ReadError>;
    /// Takes the record that [`Merged::peek_cpu`] shows.
    fn skip_cpu(&mut self, file: usize, buffer: u32, cpu: u32) -> Result<(), ReadError>;
}

impl Merged for &mut Merge {
    #[inline]
    fn next(&mut self) -> Result<Option<(usize, Record<'_>)>, ReadError> {
        Merge::next(self)
    }

    fn next_wanted(
        &mut self,
        wanted: &mut dyn FnMut(&Candidate<'_>) -> bool,
    ) -> Result<Option<(usize, Record<'_>)>, ReadError> {
        Ok(self.streams.next_wanted(wanted)?.map(|stream| (stream.file, stream.cpu.record())))
    }

    fn peek_cpu(
        &mut self,
        file: usize,
        buffer: u32,
        cpu: u32,
    ) -> Result<Option<Record<'_>>, ReadError> {
        self.streams.peek(file, buffer, cpu)
    }

    fn skip_cpu(&mut self, file: usize, buffer: u32, cpu: u32) -> Result<(), ReadError> {
        self.streams.skip(file, buffer, cpu)
    }
}

/// CPUs whose data is read ahead: of more, the chunks would take too much memory.
const MAX_READ_AHEAD: usize = 64;

/// A record that may be wanted.
pub(crate) struct Candidate<'a> {
    pub(crate) file: usize,
    pub(crate) buffer: u32,
    pub(crate) cpu: u32,
    pub(crate) data: &'a [u8],
}

/// A CPU of a file.
struct Stream {
    file: usize,
    /// Whether its records are left out, until somebody asks for one.
    sleeps: bool,
    cpu: CpuStream,
}

impl Stream {
    fn candidate(&self) -> Candidate<'_> {
        let (buffer, cpu, data) = (self.cpu.buffer, self.cpu.cpu, self.cpu.data());
        Candidate { file: self.file, buffer, cpu, data }
    }

    /// Moves to the next record that is wanted.
    #[inline]
    fn advance_to(
        &mut self,
        files: &mut [Shared],
        wanted: &mut dyn FnMut(&Candidate<'_>) -> bool,
    ) -> Result<Option<u64>, ReadError> {
        loop {
            let time = self.advance(files)?;
            if time.is_none() || wanted(&self.candidate()) {
                return Ok(time);
            }
        }
    }

    #[inline]
    fn advance(&mut self, files: &mut [Shared]) -> Result<Option<u64>, ReadError> {
        match files.get_mut(self.file) {
            Some(shared) => self.cpu.advance(shared),
            None => Ok(None),
        }
    }
}

/// All CPUs of all files in the order of ties, and which one is next.
struct Streams {
    streams: Vec<Stream>,
    files: Vec<Shared>,
    tournament: Tournament,
    /// Whether each stream has a record, which may be the one that was lent last.
    has_record: Vec<bool>,
    /// Time and stream of the last record that was lent while some sleep, as far as one was asked for.
    passed: Option<(u64, usize)>,
    state: State,
}

/// What was done last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing: no stream is at its first record yet.
    New,
    /// All streams are at their next record.
    Settled,
    /// The winner's record was lent: it has to move on.
    Lent,
}

impl Streams {
    fn new(streams: Vec<Stream>, files: Vec<Shared>) -> Self {
        let tournament = Tournament::new(streams.len());
        let has_record = vec![false; streams.len()];
        Self { streams, files, tournament, has_record, passed: None, state: State::New }
    }

    #[inline]
    fn next(&mut self) -> Result<Option<&Stream>, ReadError> {
        self.settle()?;
        let Some(winner) = self.tournament.winner() else { return Ok(None) };
        self.state = State::Lent;
        Ok(self.streams.get(winner))
    }

    /// The same, if the record's time is one that is due.
    fn next_due(&mut self, is_due: impl Fn(u64) -> bool) -> Result<Option<&Stream>, ReadError> {
        self.settle()?;
        let winner = self.tournament.winner().and_then(|winner| self.streams.get(winner));
        let due = winner.filter(|stream| is_due(stream.cpu.time()));
        if due.is_some() {
            self.state = State::Lent;
        }
        Ok(due)
    }

    /// The same for those that are wanted.
    fn next_wanted(
        &mut self,
        wanted: &mut dyn FnMut(&Candidate<'_>) -> bool,
    ) -> Result<Option<&Stream>, ReadError> {
        // Streams may stand at one that is not wanted, as others may have looked for it.
        loop {
            if self.state == State::Lent
                && let Some(winner) = self.tournament.winner()
                && let Some(stream) = self.streams.get_mut(winner)
            {
                self.state = State::Settled;
                match stream.advance_to(&mut self.files, wanted) {
                    Ok(Some(time)) => self.tournament.advance_winner(Some(time)),
                    ended => self.end(winner, ended.err())?,
                }
            }
            self.settle()?;
            let Some(winner) = self.tournament.winner() else { return Ok(None) };
            self.state = State::Lent;
            if self.streams.get(winner).is_some_and(|stream| wanted(&stream.candidate())) {
                return Ok(self.streams.get(winner));
            }
        }
    }

    fn read_ahead(&mut self, threads: usize) {
        if self.streams.len() > MAX_READ_AHEAD {
            return;
        }
        let ahead = ReadAhead::start(threads, self.streams.len());
        for shared in &mut self.files {
            shared.ahead.clone_from(&ahead);
        }
    }

    /// Brings every stream to its next record.
    #[inline]
    fn settle(&mut self) -> Result<(), ReadError> {
        match self.state {
            State::Settled => Ok(()),
            State::New => self.start(),
            State::Lent => {
                self.state = State::Settled;
                let Some(winner) = self.tournament.winner() else { return Ok(()) };
                let Some(stream) = self.streams.get_mut(winner) else { return Ok(()) };
                match stream.advance(&mut self.files) {
                    Ok(Some(time)) => {
                        self.tournament.advance_winner(Some(time));
                        Ok(())
                    }
                    ended => self.end(winner, ended.err()),
                }
            }
        }
    }

    #[cold]
    fn start(&mut self) -> Result<(), ReadError> {
        self.state = State::Settled;
        let mut times = Vec::with_capacity(self.streams.len());
        let mut failed = None;
        for (stream, has_record) in self.streams.iter_mut().zip(&mut self.has_record) {
            let next = if stream.sleeps { Ok(None) } else { stream.advance(&mut self.files) };
            let time = next.unwrap_or_else(|error| {
                failed = Some(error);
                None
            });
            *has_record = time.is_some();
            times.push(time);
        }
        self.tournament.start(times.into_iter());
        failed.map_or(Ok(()), Err)
    }

    #[cold]
    fn count_from_start(&mut self, top_level: bool) -> Result<(), ReadError> {
        self.settle()?;
        let with_record = || self.streams.iter().zip(&self.has_record).filter(|(_, has)| **has);
        let first = with_record()
            .filter(|(stream, _)| !top_level || stream.cpu.buffer == 0)
            .map(|(stream, _)| stream.cpu.record().time)
            .min();
        let Some(first) = first else { return Ok(()) };
        for stream in &mut self.streams {
            stream.cpu.count_from(first);
        }
        let times = self.streams.iter().zip(&self.has_record);
        let times = times.map(|(stream, has)| has.then(|| stream.cpu.record().time));
        self.tournament.start(times);
        Ok(())
    }

    fn between(&mut self, from: u64, to: u64) -> Result<(), ReadError> {
        (self.state, self.passed) = (State::New, None);
        for Stream { file, cpu, sleeps } in &mut self.streams {
            match self.files.get_mut(*file) {
                Some(_) if *sleeps => cpu.want(from, to),
                Some(shared) => cpu.narrow(from, to, shared)?,
                None => {}
            }
        }
        Ok(())
    }

    fn only(&mut self, wanted: &dyn Fn(usize, u32, u32) -> bool) -> Result<(), ReadError> {
        if self.state == State::Lent {
            self.settle()?;
        }
        for at in 0..self.streams.len() {
            let Some(Stream { file, sleeps, cpu }) = self.streams.get_mut(at) else { continue };
            if !*sleeps && !wanted(*file, cpu.buffer, cpu.cpu) {
                *sleeps = true;
                if let Some(has_record) = self.has_record.get_mut(at) {
                    *has_record = false;
                }
                // Whoever is not at a first record yet is passed over when the others go there.
                if self.state != State::New {
                    self.tournament.advance(at, None);
                }
            }
        }
        Ok(())
    }

    /// Brings a stream that sleeps to where the others are.
    #[cold]
    fn wake(&mut self, at: usize) -> Result<(), ReadError> {
        let (passed, files) = (self.passed, &mut self.files);
        let Some(stream) = self.streams.get_mut(at) else { return Ok(()) };
        stream.sleeps = false;
        let Some(shared) = files.get_mut(stream.file) else { return Ok(()) };
        stream.cpu.narrow_from(passed.map_or(0, |(time, _)| time), shared)?;
        self.advance(at)?;
        while let (Some(stream), Some(passed)) = (self.streams.get(at), passed)
            && self.has_record.get(at).copied().unwrap_or(false)
            && (stream.cpu.time(), at) <= passed
        {
            self.advance(at)?;
        }
        Ok(())
    }

    fn times(
        &mut self,
        file: usize,
        buffer: u32,
        cpu: u32,
    ) -> Result<Option<(u64, u64)>, ReadError> {
        let Some(at) = self.find(file, buffer, cpu) else { return Ok(None) };
        let (Some(stream), Some(shared)) = (self.streams.get_mut(at), self.files.get_mut(file))
        else {
            return Ok(None);
        };
        let times = stream.cpu.first_and_last(shared)?;
        self.between(0, u64::MAX)?;
        Ok(times)
    }

    #[cold]
    fn end(&mut self, stream: usize, error: Option<ReadError>) -> Result<(), ReadError> {
        self.tournament.advance(stream, None);
        if let Some(has_record) = self.has_record.get_mut(stream) {
            *has_record = false;
        }
        error.map_or(Ok(()), Err)
    }

    fn find(&self, file: usize, buffer: u32, cpu: u32) -> Option<usize> {
        let key = |stream: &Stream| (stream.file, stream.cpu.buffer, stream.cpu.cpu);
        self.streams.binary_search_by_key(&(file, buffer, cpu), key).ok()
    }

    /// A stream at its next record.
    fn awake(&mut self, file: usize, buffer: u32, cpu: u32) -> Result<Option<usize>, ReadError> {
        if self.state == State::Lent
            && let Some(winner) = self.tournament.winner()
            && let Some(stream) = self.streams.get(winner)
        {
            self.passed = Some((stream.cpu.time(), winner));
        }
        self.settle()?;
        let Some(at) = self.find(file, buffer, cpu) else { return Ok(None) };
        if self.streams.get(at).is_some_and(|stream| stream.sleeps) {
            self.wake(at)?;
        }
        Ok(Some(at))
    }

    fn peek(
        &mut self,
        file: usize,
        buffer: u32,
        cpu: u32,
    ) -> Result<Option<Record<'_>>, ReadError> {
        let Some(at) = self.awake(file, buffer, cpu)? else { return Ok(None) };
        let has_record = self.has_record.get(at).copied().unwrap_or(false);
        Ok(self.streams.get(at).filter(|_| has_record).map(|stream| stream.cpu.record()))
    }

    fn skip(&mut self, file: usize, buffer: u32, cpu: u32) -> Result<(), ReadError> {
        let Some(at) = self.awake(file, buffer, cpu)? else { return Ok(()) };
        if !self.has_record.get(at).copied().unwrap_or(false) {
            return Ok(());
        }
        self.advance(at)
    }

    /// Takes all records of a stream without a look at the others.
    fn visit(
        &mut self,
        file: usize,
        buffer: u32,
        cpu: u32,
        visit: &mut impl FnMut(&Record<'_>),
    ) -> Result<(), ReadError> {
        let Some(at) = self.awake(file, buffer, cpu)? else { return Ok(()) };
        if !self.has_record.get(at).copied().unwrap_or(false) {
            return Ok(());
        }
        let (Some(stream), Some(shared)) = (self.streams.get_mut(at), self.files.get_mut(file))
        else {
            return Ok(());
        };
        let ended = loop {
            visit(&stream.cpu.record());
            match stream.cpu.advance(shared) {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        self.end(at, ended)
    }

    fn seek(
        &mut self,
        file: usize,
        buffer: u32,
        cpu: u32,
        sub_buffer: u64,
    ) -> Result<(), ReadError> {
        let Some(at) = self.awake(file, buffer, cpu)? else { return Ok(()) };
        let (Some(stream), Some(shared)) = (self.streams.get_mut(at), self.files.get_mut(file))
        else {
            return Ok(());
        };
        stream.cpu.seek(sub_buffer, shared)?;
        self.advance(at)
    }

    /// The record that was lent last.
    fn lent(&self) -> Option<&Stream> {
        self.streams.get(self.tournament.winner()?)
    }

    /// Comes to the first record of what was put into the queue of a stream.
    fn fed(&mut self, at: usize) {
        // Queues are memory, of which nothing fails to be read.
        let settled = self.settle();
        if settled.is_ok() && !self.has_record.get(at).copied().unwrap_or(true) {
            let _ = self.advance(at);
        }
    }

    /// Moves one stream on, and finds who is next.
    fn advance(&mut self, at: usize) -> Result<(), ReadError> {
        let Some(stream) = self.streams.get_mut(at) else { return Ok(()) };
        match stream.advance(&mut self.files) {
            Ok(Some(time)) => {
                self.tournament.advance(at, Some(time));
                if let Some(has_record) = self.has_record.get_mut(at) {
                    *has_record = true;
                }
                Ok(())
            }
            ended => self.end(at, ended.err()),
        }
    }

    fn warnings(&self, file: usize) -> &[Warning] {
        self.files.get(file).map_or(&[], |shared| &shared.warnings)
    }
}
