//! Records while they are recorded: sub-buffers come CPU by CPU, and go out as records by time.

use std::sync::Arc;

use super::{Candidate, Merged, Stream, Streams};
use crate::clock::{ClockCorrection, ClockOptions, TimeShift};
use crate::compress::Codec;
use crate::error::ReadError;
use crate::metadata::{Metadata, Warning};
use crate::read::cpu_data::{CpuStream, Shared};
use crate::ring_buffer::Record;

/// The records of traces that are still recorded, oldest first over all CPUs, buffers and machines.
///
/// A record is *due*, and comes out, when nothing older can come any more. That is so when every CPU has
/// brought a record that is younger, or was found empty twice since the record came: the first time may have been
/// before a record that is older was written, the second cannot. What one machine brought says nothing of the CPUs of
/// another, whose clock is not quite the same. A CPU that cannot be read for a while, or of which nobody says that it is
/// empty, would hold all others up, so [`release`](Self::release) lets records go without waiting for it. What it brings
/// later comes out at once, behind younger records, and is counted ([`late`](Self::late)); nothing is left out.
///
/// ```
/// use tracedat::read::{LiveMerge, Reader};
/// # use tracedat::testing::{TraceBuilder, Workload};
/// # let head = TraceBuilder::new(Workload::new(1)).build();
/// # let sub_buffer = tracedat::testing::SubBufferBuilder::little_endian_64().timestamp(5).event(0, b"data").build();
/// let metadata = Reader::parse(head)?.metadata;
/// let mut records = LiveMerge::new([&metadata]);
/// let cpu = records.cpu(0, 0, 1).expect("a CPU of the first buffer");
/// records.feed(cpu, &sub_buffer);
/// while let Some((_file, record)) = records.next()? {
///     println!("{}", record.time); // not yet: other CPUs may have older ones
/// }
/// records.finish();
/// assert!(records.next()?.is_some());
/// # Ok::<(), tracedat::ReadError>(())
/// ```
pub struct LiveMerge {
    streams: Streams,
    /// Of each stream.
    progress: Vec<Progress>,
    /// Of each file.
    machines: Vec<Machine>,
    /// What is older is due.
    due: u64,
    /// All that has come is due, but not what comes.
    lets_all_go: bool,
    is_complete: bool,
    /// Time of the youngest record that came out.
    last: u64,
}

/// What is known of the records of a file.
#[derive(Clone, Copy, Debug, Default)]
struct Machine {
    /// Behind the youngest record that has come.
    newest: u64,
    /// By how much its times may be wrong.
    clock_error: u64,
    late: Late,
}

/// Records that came out behind younger ones, as those were not to wait any longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Late {
    /// How many.
    pub records: u64,
    /// By how much at most, in units of the corrected clock.
    pub most: u64,
}

impl Machine {
    /// Notes that a record comes out. One that is older than the last by no more than its clock may be wrong is not late.
    fn see(&mut self, time: u64, last: &mut u64) {
        let behind = last.saturating_sub(time);
        if behind > self.clock_error {
            self.late.records = self.late.records.saturating_add(1);
            self.late.most = self.late.most.max(behind);
        }
        *last = (*last).max(time);
    }
}

/// A CPU of a [`LiveMerge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveCpu(usize);

/// How far a CPU has been read.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// All its records that are older than this have come.
    read_to: u64,
    /// What that will be when it is next found empty.
    read_to_next: u64,
}

impl LiveMerge {
    /// Waits for the records of these traces: of all CPUs that their buffers list. Where the metadata say that
    /// there is data of a CPU does not matter.
    pub fn new<'m>(files: impl IntoIterator<Item = &'m Metadata>) -> Self {
        let (mut streams, mut shared) = (Vec::new(), Vec::new());
        for (file, metadata) in files.into_iter().enumerate() {
            for (index, buffer) in (0..).zip(&metadata.buffers) {
                for data in &buffer.cpus {
                    let (header_page, abi) = (metadata.header_page, metadata.abi);
                    let mut cpu = CpuStream::new(data, buffer, index, header_page, abi, 0).fed();
                    let options = ClockOptions::default();
                    cpu.correction = ClockCorrection::new(metadata, &options, cpu.cpu);
                    streams.push(Stream { file, sleeps: false, cpu });
                }
            }
            shared.push(Shared::new(Arc::new(Vec::new()), Codec::None, metadata.abi));
        }
        let progress = vec![Progress::default(); streams.len()];
        let machines = vec![Machine::default(); shared.len()];
        let streams = Streams::new(streams, shared);
        let (due, lets_all_go, is_complete, last) = (0, false, false, 0);
        Self { streams, progress, machines, due, lets_all_go, is_complete, last }
    }

    /// A CPU of a buffer of a file, to feed it; `None` where the file does not list it.
    pub fn cpu(&self, file: usize, buffer: u32, cpu: u32) -> Option<LiveCpu> {
        self.streams.find(file, buffer, cpu).map(LiveCpu)
    }

    /// Takes sub-buffers of a CPU, which follow those taken before.
    ///
    /// They are kept in memory until their records have come out, see [`held`](Self::held).
    pub fn feed(&mut self, cpu: LiveCpu, sub_buffers: &[u8]) {
        let Some(stream) = self.streams.streams.get_mut(cpu.0) else { return };
        let Some(byte_order) = self.streams.files.get(stream.file).map(Shared::byte_order) else {
            return;
        };
        for sub_buffer in sub_buffers.chunks(stream.cpu.page_size()) {
            if let Some(last) = stream.cpu.last_time(sub_buffer, byte_order) {
                if let Some(machine) = self.machines.get_mut(stream.file) {
                    machine.newest = machine.newest.max(last.saturating_add(1));
                }
                if let Some(progress) = self.progress.get_mut(cpu.0) {
                    progress.read_to = progress.read_to.max(last);
                }
            }
            stream.cpu.feed(sub_buffer);
        }
        self.streams.fed(cpu.0);
        self.find_due();
    }

    /// Notes that a CPU had no more records when it was looked at last.
    pub fn caught_up(&mut self, cpu: LiveCpu) {
        let machine = self.streams.streams.get(cpu.0).map(|stream| stream.file);
        let machine = machine.and_then(|file| self.machines.get(file));
        if let (Some(progress), Some(machine)) = (self.progress.get_mut(cpu.0), machine) {
            progress.read_to = progress.read_to.max(progress.read_to_next);
            progress.read_to_next = machine.newest;
            self.find_due();
        }
    }

    /// Corrects the clock of a file's machine from here on. `error` is by how much that may be wrong, in units of the
    /// host's clock: records that change places with others by no more than that are not counted as late.
    ///
    /// Records that are at the head of their CPU keep their time.
    pub fn set_clock(&mut self, file: usize, shift: &TimeShift, error: u64) {
        for Stream { cpu, .. } in self.streams.streams.iter_mut().filter(|one| one.file == file) {
            cpu.correction = std::mem::take(&mut cpu.correction).shifted_by(shift, cpu.cpu);
        }
        if let Some(machine) = self.machines.get_mut(file) {
            machine.clock_error = error;
        }
    }

    /// The time behind the youngest record that has come, for [`release`](Self::release) some time later.
    pub fn newest(&self) -> u64 {
        self.machines.iter().map(|machine| machine.newest).max().unwrap_or(0)
    }

    /// How many records of a file came out behind younger ones.
    pub fn late(&self, file: usize) -> Late {
        self.machines.get(file).map(|machine| machine.late).unwrap_or_default()
    }

    /// Makes all records due that are older than `time`, whichever CPUs are behind.
    pub fn release(&mut self, time: u64) {
        self.due = self.due.max(time);
    }

    /// The same, but for what is younger than what the `busy` CPUs have brought: more is on its way from these.
    pub fn release_behind(&mut self, time: u64, busy: impl IntoIterator<Item = LiveCpu>) {
        let brought = busy.into_iter().filter_map(|cpu| self.progress.get(cpu.0));
        let time = brought.map(|progress| progress.read_to).fold(time, u64::min);
        self.release(time);
    }

    /// Makes all records due that have come, whatever their times. Those that come later wait as ever.
    pub fn release_all(&mut self) {
        self.lets_all_go = true;
    }

    /// Makes everything due: nothing comes any more.
    pub fn finish(&mut self) {
        self.is_complete = true;
    }

    /// Bytes of the sub-buffers that no record was taken of yet.
    pub fn held(&self) -> usize {
        self.streams.streams.iter().map(|stream| stream.cpu.queued()).sum()
    }

    /// The next record that is due, and the index of its file. `None` when there is none now.
    ///
    /// # Errors
    ///
    /// As [`Merge::next`](super::Merge::next). Data that does not decode is skipped and gives a warning.
    #[allow(clippy::should_implement_trait, reason = "lends, unlike an iterator")]
    pub fn next(&mut self) -> Result<Option<(usize, Record<'_>)>, ReadError> {
        self.take(&mut |_| true)
    }

    fn take(
        &mut self,
        wanted: &mut dyn FnMut(&Candidate<'_>) -> bool,
    ) -> Result<Option<(usize, Record<'_>)>, ReadError> {
        let (due, all) = (self.due, self.is_complete || self.lets_all_go);
        loop {
            match self.streams.next_due(|time| all || time < due)? {
                Some(stream) if !wanted(&stream.candidate()) => {}
                Some(_) => break,
                None => {
                    self.lets_all_go = false;
                    return Ok(None);
                }
            }
        }
        let Some(stream) = self.streams.lent() else { return Ok(None) };
        if let Some(machine) = self.machines.get_mut(stream.file) {
            machine.see(stream.cpu.time(), &mut self.last);
        }
        Ok(Some((stream.file, stream.cpu.record())))
    }

    /// What could not be decoded so far in a file; offsets count the bytes of each CPU.
    pub fn warnings(&self, file: usize) -> &[Warning] {
        self.streams.warnings(file)
    }

    fn find_due(&mut self) {
        let slowest = self.progress.iter().map(|progress| progress.read_to).min();
        self.due = self.due.max(slowest.unwrap_or(0));
    }
}

impl Merged for &mut LiveMerge {
    fn next(&mut self) -> Result<Option<(usize, Record<'_>)>, ReadError> {
        LiveMerge::next(self)
    }

    fn next_wanted(
        &mut self,
        wanted: &mut dyn FnMut(&Candidate<'_>) -> bool,
    ) -> Result<Option<(usize, Record<'_>)>, ReadError> {
        self.take(wanted)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;
    use crate::clock::ClockSample;
    use crate::ring_buffer::MissedEvents;
    use crate::testing::{SubBufferBuilder, TraceBuilder, Workload};

    fn metadata(instances: &[&str]) -> Metadata {
        let mut workload = Workload::new(1);
        workload.cpus = 2;
        workload.events_per_cpu = 1;
        workload.instances = instances.iter().map(|name| (*name).to_owned()).collect();
        Reader::parse(TraceBuilder::new(workload).build()).unwrap().metadata
    }

    /// A sub-buffer with records of these times.
    fn at(times: &[u64]) -> Vec<u8> {
        let mut builder = SubBufferBuilder::little_endian_64().timestamp(times[0]);
        let mut before = times[0];
        for &time in times {
            builder = builder.event((time - before) as u32, &(time as u32).to_le_bytes());
            before = time;
        }
        builder.build()
    }

    /// The times that come out now.
    fn due(records: &mut LiveMerge) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some((_, record)) = records.next().unwrap() {
            assert_eq!(record.data, (record.time as u32).to_le_bytes());
            times.push(record.time);
        }
        times
    }

    #[test]
    fn records_come_out_once_all_cpus_are_beyond_them() {
        let metadata = metadata(&[]);
        let mut records = LiveMerge::new([&metadata]);
        let [a, b] = [0, 1].map(|cpu| records.cpu(0, 0, cpu).unwrap());
        assert_eq!(records.cpu(0, 0, 2), None);
        records.feed(a, &at(&[10, 20, 30]));
        assert_eq!(due(&mut records), [0; 0]);
        records.feed(b, &at(&[15, 25]));
        // Another record of 25 may come on the second CPU.
        assert_eq!(due(&mut records), [10, 15, 20]);
        records.feed(b, &[at(&[26]), at(&[40, 50])].concat());
        assert_eq!(records.held(), 2 * 4096);
        assert_eq!(due(&mut records), [25, 26]);
        records.finish();
        assert_eq!(due(&mut records), [30, 40, 50]);
        assert_eq!(records.held(), 0);
    }

    #[test]
    fn cpu_without_records_has_to_be_found_empty_twice() {
        let metadata = metadata(&[]);
        let mut records = LiveMerge::new([&metadata]);
        let [a, b] = [0, 1].map(|cpu| records.cpu(0, 0, cpu).unwrap());
        records.caught_up(b);
        records.feed(a, &at(&[10]));
        records.caught_up(b);
        records.caught_up(a);
        assert_eq!(due(&mut records), [0; 0]);
        // Written before, read only now.
        records.feed(b, &at(&[9]));
        records.caught_up(b);
        records.caught_up(a);
        assert_eq!(due(&mut records), [9, 10]);
    }

    #[test]
    fn cpu_that_is_behind_may_be_left_behind_and_loses_nothing() {
        let metadata = metadata(&["slow"]);
        let mut records = LiveMerge::new([&metadata]);
        let fast = records.cpu(0, 0, 0).unwrap();
        let slow = records.cpu(0, 1, 1).unwrap();
        records.feed(fast, &at(&[10, 20]));
        let mark = records.newest();
        records.feed(fast, &at(&[30]));
        records.release(mark);
        assert_eq!(due(&mut records), [10, 20]);
        records.feed(slow, &at(&[5, 15]));
        assert_eq!(due(&mut records), [5, 15]);
        records.finish();
        assert_eq!(due(&mut records), [30]);
    }

    #[test]
    fn busy_cpus_are_not_left_behind() {
        let metadata = metadata(&[]);
        let mut records = LiveMerge::new([&metadata]);
        let [fast, slow] = [0, 1].map(|cpu| records.cpu(0, 0, cpu).unwrap());
        records.feed(fast, &at(&[10, 20, 30]));
        records.feed(slow, &at(&[15]));
        records.release_behind(30, [fast, slow]);
        assert_eq!(due(&mut records), [10]);
        records.feed(slow, &at(&[18]));
        records.release_behind(30, [fast, slow]);
        assert_eq!(due(&mut records), [15]);
        records.release_behind(30, [fast]);
        assert_eq!(due(&mut records), [18, 20]);
    }

    #[test]
    fn two_machines_are_one_stream() {
        let (host, guest) = (metadata(&[]), metadata(&[]));
        let mut records = LiveMerge::new([&host, &guest]);
        for (file, times) in [(0, [1, 3]), (1, [2, 4])] {
            let cpu = records.cpu(file, 0, 0).unwrap();
            records.feed(cpu, &at(&times));
        }
        records.finish();
        let mut files = Vec::new();
        while let Some((file, _)) = records.next().unwrap() {
            files.push(file);
        }
        assert_eq!(files, [0, 1, 0, 1]);
    }

    #[test]
    fn what_one_machine_brought_says_nothing_of_another() {
        let (host, guest) = (metadata(&[]), metadata(&[]));
        let mut records = LiveMerge::new([&host, &guest]);
        let host = [0, 1].map(|cpu| records.cpu(0, 0, cpu).unwrap());
        let guest = [0, 1].map(|cpu| records.cpu(1, 0, cpu).unwrap());
        // A guest that is ahead, or lies.
        for cpu in guest {
            records.feed(cpu, &at(&[1000]));
        }
        for _ in 0..2 {
            host.iter().for_each(|&cpu| records.caught_up(cpu));
        }
        records.feed(host[0], &at(&[10]));
        assert_eq!(due(&mut records), [0; 0]);
        for _ in 0..2 {
            host.iter().for_each(|&cpu| records.caught_up(cpu));
        }
        assert_eq!(due(&mut records), [10]);
        records.release_all();
        assert_eq!(due(&mut records), [1000, 1000]);
        records.feed(host[1], &at(&[20]));
        assert_eq!(due(&mut records), [0; 0]);
        records.finish();
        assert_eq!(due(&mut records), [20]);
        assert_eq!(records.late(0), Late { records: 1, most: 980 });
        assert_eq!(records.late(1), Late::default());
    }

    #[test]
    fn a_guests_clock_is_corrected_meanwhile_and_its_error_is_no_lateness() {
        let (host, guest) = (metadata(&[]), metadata(&[]));
        let mut records = LiveMerge::new([&host, &guest]);
        let clock = |offset| TimeShift {
            peer: 1,
            interpolate: true,
            cpus: vec![vec![ClockSample { time: 0, offset, scaling: 1, fraction_bits: 0 }]; 2],
        };
        let mut times = |offset, raw: &[u64]| {
            records.set_clock(1, &clock(offset), 5);
            let cpu = records.cpu(1, 0, 0).unwrap();
            records.feed(cpu, &at(raw));
            records.release(u64::MAX);
            let mut times = Vec::new();
            while let Some((_, record)) = records.next().unwrap() {
                times.push(record.time);
            }
            (times, records.late(1))
        };
        assert_eq!(times(-100, &[150, 160]), (vec![50, 60], Late::default()));
        assert_eq!(times(-107, &[164]), (vec![57], Late::default()));
        let late = Late { records: 1, most: 10 };
        assert_eq!(times(-120, &[170, 200]), (vec![50, 80], late));
    }

    #[test]
    fn damage_of_any_byte_has_an_end() {
        let metadata = metadata(&[]);
        let good = at(&[10, 20, 30, 40]);
        for place in 0..64 {
            for value in [0, 0x7f, 0xff, good[place] ^ 1] {
                let mut records = LiveMerge::new([&metadata]);
                let cpu = records.cpu(0, 0, 1).unwrap();
                let mut bad = good.clone();
                bad[place] = value;
                records.feed(cpu, &bad);
                records.caught_up(cpu);
                records.feed(cpu, &good);
                records.finish();
                let mut count = 0;
                while records.next().unwrap().is_some() {
                    count += 1;
                }
                assert!((4..2048).contains(&count), "{count}");
            }
        }
    }

    #[test]
    fn losses_are_told_and_damage_is_left_out() {
        let metadata = metadata(&[]);
        let mut records = LiveMerge::new([&metadata]);
        let cpu = records.cpu(0, 0, 0).unwrap();
        records.feed(cpu, &[7; 5]);
        let lost = SubBufferBuilder::little_endian_64().missed(17).timestamp(8).event(0, b"data");
        records.feed(cpu, &lost.build());
        records.finish();
        let (_, record) = records.next().unwrap().unwrap();
        assert_eq!((record.missed, record.data), (MissedEvents::Exactly(17), &b"data"[..]));
        assert!(records.next().unwrap().is_none());
        assert_eq!(records.warnings(0).len(), 1);
    }
}
