//! Seeded events of several CPUs, packed into sub-buffers, with what a reader must find in them.

use super::{SubBufferBuilder, event_id};
use crate::abi::Abi;
use crate::ring_buffer::MissedEvents;

/// Longest entry that is made, its header and a time extend included.
const LONGEST_ENTRY: usize = 256;

/// What events there shall be. The same values give the same bytes.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Start of all random choices.
    pub seed: u64,
    /// The traced machine.
    pub abi: Abi,
    /// Size of sub-buffers, in bytes.
    pub page_size: u32,
    /// CPUs of every buffer.
    pub cpus: u32,
    /// Events of every CPU and buffer.
    pub events_per_cpu: usize,
    /// Names of the instances besides the top-level buffer.
    pub instances: Vec<String>,
    /// One of so many sub-buffers follows lost events; 0 for none.
    pub missed_every: u64,
    /// Whether time extends, absolute stamps, discarded and long entries occur.
    pub odd_entries: bool,
}

impl Workload {
    /// Two CPUs of a 64-bit little-endian machine with some thousand events and odd entries.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            abi: Abi { byte_order: crate::ByteOrder::Little, long_size: 8 },
            page_size: 4096,
            cpus: 2,
            events_per_cpu: 1000,
            instances: Vec::new(),
            missed_every: 7,
            odd_entries: true,
        }
    }

    /// Makes the events.
    pub fn generate(&self) -> Generated {
        let names = [String::new()].into_iter().chain(self.instances.iter().cloned());
        let buffers = names.enumerate().map(|(index, name)| {
            let cpu = |cpu| Maker::new(self, index as u64, cpu).make();
            GeneratedBuffer { name, cpus: (0..self.cpus).map(cpu).collect() }
        });
        Generated { buffers: buffers.collect() }
    }

    /// The text of `saved_cmdlines` for the tasks that occur.
    pub fn cmdlines(&self) -> String {
        (1..TASKS).map(|task| format!("{} {}\n", pid(task), comm(task))).collect()
    }
}

/// All events.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The top-level buffer first.
    pub buffers: Vec<GeneratedBuffer>,
}

/// Events of a buffer.
#[derive(Clone, Debug)]
pub struct GeneratedBuffer {
    /// Name of the instance, empty for the top-level one.
    pub name: String,
    /// Its CPUs, from 0 on.
    pub cpus: Vec<GeneratedCpu>,
}

/// Events of a CPU.
#[derive(Clone, Debug)]
pub struct GeneratedCpu {
    /// The sub-buffers one after the other.
    pub bytes: Vec<u8>,
    /// What is in them.
    pub records: Vec<GeneratedRecord>,
}

impl GeneratedCpu {
    /// The data of a record.
    pub fn data(&self, record: &GeneratedRecord) -> &[u8] {
        &self.bytes[record.start..record.start + record.len]
    }
}

/// An event and where its data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratedRecord {
    /// Its time.
    pub ticks: u64,
    /// Where its data starts in [`GeneratedCpu::bytes`].
    pub start: usize,
    /// Bytes of its data.
    pub len: usize,
    /// What was lost before it.
    pub missed: MissedEvents,
}

impl Generated {
    /// All events of all buffers.
    pub fn event_count(&self) -> usize {
        self.cpus().map(|cpu| cpu.records.len()).sum()
    }

    /// Bytes of all sub-buffers.
    pub fn byte_count(&self) -> usize {
        self.cpus().map(|cpu| cpu.bytes.len()).sum()
    }

    /// Buffer, CPU and record of all events by time; ties by buffer, then CPU.
    pub fn merged(&self) -> Vec<(u32, u32, GeneratedRecord)> {
        let mut merged = Vec::with_capacity(self.event_count());
        for (buffer, cpus) in self.buffers.iter().enumerate() {
            for (cpu, records) in cpus.cpus.iter().enumerate() {
                let records = records.records.iter();
                merged.extend(records.map(|record| (buffer as u32, cpu as u32, *record)));
            }
        }
        merged.sort_by_key(|&(buffer, cpu, record)| (record.ticks, buffer, cpu));
        merged
    }

    fn cpus(&self) -> impl Iterator<Item = &GeneratedCpu> {
        self.buffers.iter().flat_map(|buffer| &buffer.cpus)
    }
}

/// Tasks there are; number 0 is idle.
const TASKS: u64 = 24;

/// Makes the events of one CPU.
struct Maker<'a> {
    workload: &'a Workload,
    random: Random,
    cpu: u32,
    now: u64,
    task: u64,
    payload: Vec<u8>,
}

impl<'a> Maker<'a> {
    fn new(workload: &'a Workload, buffer: u64, cpu: u32) -> Self {
        let mut random = Random(workload.seed ^ buffer << 32 ^ u64::from(cpu) << 48);
        let now = 1_000_000_000_000 + random.below(1000);
        Self { workload, random, cpu, now, task: 0, payload: Vec::new() }
    }

    fn make(mut self) -> GeneratedCpu {
        let mut made = GeneratedCpu { bytes: Vec::new(), records: Vec::new() };
        while made.records.len() < self.workload.events_per_cpu {
            self.sub_buffer(&mut made);
        }
        made
    }

    fn sub_buffer(&mut self, made: &mut GeneratedCpu) {
        let base = made.bytes.len();
        self.now += self.random.below(2000);
        let mut page = SubBufferBuilder::new(self.workload.abi)
            .size(self.workload.page_size as usize)
            .timestamp(self.now);
        let mut missed = MissedEvents::None;
        if self.workload.missed_every > 0 && self.random.below(self.workload.missed_every) == 0 {
            missed = match self.random.below(3) {
                0 => MissedEvents::Unknown,
                _ => MissedEvents::Exactly(1 + self.random.below(5000)),
            };
            page = match missed {
                MissedEvents::Exactly(count) => page.missed(count),
                _ => page.missed_unknown(),
            };
        }
        let mut first = true;
        while page.room() >= LONGEST_ENTRY && made.records.len() < self.workload.events_per_cpu {
            // The first entry has the time of the sub-buffer itself.
            let mut delta = if first { 0 } else { self.random.below(20_000) as u32 };
            if self.workload.odd_entries && !first {
                (page, delta) = self.odd_entry(page, delta);
            }
            self.now += u64::from(delta);
            self.event();
            let long = self.workload.odd_entries && self.random.below(50) == 0;
            let header = if long || self.payload.len() > 112 { 8 } else { 4 };
            let start = base + page.header_len() + page.committed() + header;
            page = if long {
                page.long_event(delta, &self.payload)
            } else {
                page.event(delta, &self.payload)
            };
            let len = self.payload.len().next_multiple_of(4);
            made.records.push(GeneratedRecord { ticks: self.now, start, len, missed });
            (first, missed) = (false, MissedEvents::None);
        }
        made.bytes.extend_from_slice(&page.build());
    }

    /// Now and then something between events, and the delta that is left for the event.
    fn odd_entry(&mut self, page: SubBufferBuilder, delta: u32) -> (SubBufferBuilder, u32) {
        match self.random.below(60) {
            0 => {
                let ticks = 1 << 27 | self.random.below(1 << 33);
                self.now += ticks;
                (page.time_extend(ticks), 0)
            }
            1 => {
                self.now += u64::from(delta);
                (page.absolute(self.now), 0)
            }
            2 => {
                self.now += u64::from(delta.max(1));
                (page.discarded(delta, 16), 0)
            }
            _ => (page, delta),
        }
    }

    /// Puts the next event's payload together.
    fn event(&mut self) {
        self.payload.clear();
        match self.random.below(100) {
            0..40 => self.sched_switch(),
            40..60 => self.sched_waking(),
            60..70 => self.irq_handler_entry(),
            70..84 => self.kmalloc(),
            84..98 => self.sys_enter(),
            _ => self.print(),
        }
    }

    fn sched_switch(&mut self) {
        let next = self.random.other_task(self.task);
        self.common(event_id::SCHED_SWITCH);
        let state = [0, 1, 2, 0x100][self.random.below(4) as usize];
        self.comm(self.task);
        self.u32(pid(self.task));
        self.u32(120);
        self.long(state);
        self.comm(next);
        self.u32(pid(next));
        self.u32(120);
        self.task = next;
    }

    fn sched_waking(&mut self) {
        let task = self.random.other_task(self.task);
        self.common(event_id::SCHED_WAKING);
        self.comm(task);
        self.u32(pid(task));
        self.u32(120);
        self.u32(self.cpu);
    }

    fn irq_handler_entry(&mut self) {
        let name = [&b"nvme0q1\0"[..], b"eth0\0", b"virtio1-requests\0"];
        let name = name[self.random.below(3) as usize];
        self.common(event_id::IRQ_HANDLER_ENTRY);
        self.u32(16 + name.len() as u32);
        // Length and offset of the text, which follows all fields.
        self.u32((name.len() as u32) << 16 | 16);
        self.payload.extend_from_slice(name);
    }

    fn kmalloc(&mut self) {
        self.common(event_id::KMALLOC);
        let size = 8 << self.random.below(8);
        let site = 0x8100_0000 + self.random.below(1 << 20);
        let address = 0x8880_0000 + self.random.below(1 << 24) * 8;
        for value in [site, address, size - self.random.below(8), size, 0xcc0] {
            self.long(value);
        }
        self.u32(u32::MAX);
    }

    fn sys_enter(&mut self) {
        self.common(event_id::SYS_ENTER);
        let number = self.random.below(330);
        self.long(number);
        for _ in 0..6 {
            let argument = self.random.next() >> (self.random.below(8) * 8);
            self.long(argument);
        }
    }

    fn print(&mut self) {
        self.common(event_id::PRINT);
        self.long(0x8123_4567);
        let words = 1 + self.random.below(12);
        for word in 0..words {
            let text = format!("word{word}={} ", self.random.below(1 << 20));
            self.payload.extend_from_slice(text.as_bytes());
        }
        self.payload.extend_from_slice(b"\n\0");
        let len = self.payload.len().next_multiple_of(4);
        self.payload.resize(len, 0);
    }

    fn common(&mut self, id: u16) {
        self.payload.extend_from_slice(&self.workload.abi.byte_order.put_u16(id));
        let flags = [0, 1, 4, 0x11][self.random.below(4) as usize];
        self.payload.extend_from_slice(&[flags, self.random.below(3) as u8]);
        self.u32(pid(self.task));
    }

    fn comm(&mut self, task: u64) {
        let end = self.payload.len() + 16;
        self.payload.extend_from_slice(comm(task).as_bytes());
        self.payload.resize(end, 0);
    }

    fn u32(&mut self, value: u32) {
        self.payload.extend_from_slice(&self.workload.abi.byte_order.put_u32(value));
    }

    /// A `long`, aligned as in the formats.
    fn long(&mut self, value: u64) {
        let Abi { byte_order, long_size } = self.workload.abi;
        let start = self.payload.len().next_multiple_of(long_size.into());
        self.payload.resize(start, 0);
        match long_size {
            4 => self.payload.extend_from_slice(&byte_order.put_u32(value as u32)),
            _ => self.payload.extend_from_slice(&byte_order.put_u64(value)),
        }
    }
}

fn pid(task: u64) -> u32 {
    if task == 0 { 0 } else { 1000 + task as u32 * 7 }
}

fn comm(task: u64) -> String {
    if task == 0 { "swapper".to_owned() } else { format!("worker/{task}") }
}

/// The generator `splitmix64`: small, seeded, good enough for test data.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn other_task(&mut self, task: u64) -> u64 {
        (task + 1 + self.below(TASKS - 1)) % TASKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_events_and_another_one_others() {
        let (a, b) = (Workload::new(1).generate(), Workload::new(1).generate());
        assert_eq!(a.buffers[0].cpus[1].bytes, b.buffers[0].cpus[1].bytes);
        let other = Workload::new(2).generate();
        assert_ne!(a.buffers[0].cpus[1].bytes, other.buffers[0].cpus[1].bytes);
    }

    #[test]
    fn times_never_go_back_and_data_starts_with_a_known_event() {
        let made = Workload::new(3).generate();
        for cpu in &made.buffers[0].cpus {
            assert_eq!(cpu.records.len(), 1000);
            assert!(cpu.records.windows(2).all(|pair| pair[0].ticks <= pair[1].ticks));
            for record in &cpu.records {
                let data = cpu.data(record);
                let id = u16::from_le_bytes([data[0], data[1]]);
                assert!([5, 151, 314, 317, 349, 530].contains(&id), "{id}");
            }
        }
    }
}
