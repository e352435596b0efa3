//! The packets of one machine: what it is, its events in bundles, its losses.

use rustc_hash::FxHashMap;

use super::PACKET;
use super::event::{EventPlan, write_unknown};
use super::interned::Functions;
use super::wire;
use crate::export::text::append_utf8;
use crate::metadata::Metadata;
use crate::report::number;
use crate::ring_buffer::{MissedEvents, Record};

/// Fields of `TracePacket`.
mod packet {
    pub(super) const FTRACE_EVENTS: u32 = 1;
    pub(super) const PROCESS_TREE: u32 = 2;
    pub(super) const CLOCK_SNAPSHOT: u32 = 6;
    pub(super) const TIMESTAMP: u32 = 8;
    pub(super) const SEQUENCE_ID: u32 = 10;
    pub(super) const TRACK_EVENT: u32 = 11;
    pub(super) const INTERNED_DATA: u32 = 12;
    pub(super) const SEQUENCE_FLAGS: u32 = 13;
    pub(super) const FTRACE_STATS: u32 = 34;
    pub(super) const SYSTEM_INFO: u32 = 45;
    pub(super) const TRACK_DESCRIPTOR: u32 = 60;
    pub(super) const FIRST_ON_SEQUENCE: u32 = 87;
    pub(super) const MACHINE_ID: u32 = 98;
    pub(super) const REMOTE_CLOCK_SYNC: u32 = 107;
    pub(super) const TASK_RENAME: u32 = 120;
}

/// Values of `TracePacket.sequence_flags`.
const STATE_CLEARED: u64 = 1;
const NEEDS_STATE: u64 = 2;

/// Values of `BuiltinClock`.
const REALTIME: u64 = 1;
const MONOTONIC: u64 = 3;
const BOOTTIME: u64 = 6;

/// A bundle becomes a packet when it has so many bytes.
const BUNDLE: usize = 16 << 10;

/// One file.
pub(super) struct Machine<'m> {
    index: u32,
    name: String,
    metadata: &'m Metadata,
    /// The buffer whose events are drawn.
    main_buffer: u32,
    /// Of each buffer.
    plans: Vec<Plans<'m>>,
    bundles: Vec<Bundle>,
    /// Which of them a CPU has.
    places: FxHashMap<u32, usize>,
    functions: Functions,
    /// Time of the last record; `None` before the first.
    last: Option<u64>,
}

/// How the events of a buffer are written, by their number; those of a number without a format as `None`.
#[derive(Default)]
struct Plans<'m>(Vec<Option<Plan<'m>>>);

type Plan<'m> = Option<Box<EventPlan<'m>>>;

/// Events of a CPU that are not written yet, each with its key and length.
struct Bundle {
    cpu: u32,
    events: Vec<u8>,
    /// Whether events were lost before these.
    lost: bool,
    /// Whether the CPU has a track for its losses.
    has_track: bool,
}

impl<'m> Machine<'m> {
    pub(super) fn new(index: u32, name: &str, metadata: &'m Metadata) -> Self {
        let has_data = |cpus: &[crate::metadata::CpuData]| cpus.iter().any(|cpu| cpu.size > 0);
        let main = metadata.buffers.iter().position(|buffer| has_data(&buffer.cpus));
        Self {
            index,
            name: name.to_owned(),
            metadata,
            main_buffer: main.unwrap_or(0) as u32,
            plans: metadata.buffers.iter().map(|_| Plans::default()).collect(),
            bundles: Vec::new(),
            places: FxHashMap::default(),
            functions: Functions::default(),
            last: None,
        }
    }

    /// Adds a record; appends packets to `out` when they are full.
    pub(super) fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        if self.last.is_none() {
            self.begin(record.time, out);
        }
        self.last = Some(record.time);
        let at = self.bundle(record.cpu);
        if record.missed != MissedEvents::None {
            self.lost(at, record, out);
        }
        let Self { metadata, main_buffer, plans, bundles, functions, .. } = self;
        let Some(bundle) = bundles.get_mut(at) else { return };
        let id = record.data.first_chunk().map(|id| metadata.abi.byte_order.u16(*id));
        let plan = plans.get_mut(record.buffer as usize).zip(id).and_then(|(plans, id)| {
            let instance = metadata.buffers.get(record.buffer as usize);
            let instance = instance.filter(|_| record.buffer != *main_buffer);
            plans.get(metadata, id, instance.map(|buffer| buffer.name.as_str()))
        });
        const EVENT: u32 = 2;
        wire::message(&mut bundle.events, EVENT, |out| match plan {
            Some(plan) => plan.write(metadata, (record.time, record.data), functions, out),
            None => write_unknown(id, record.time, record.data, out),
        });
        if bundle.events.len() >= BUNDLE {
            self.write_bundle(at, out);
        }
    }

    /// Appends all that is left.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        for at in 0..self.bundles.len() {
            self.write_bundle(at, out);
        }
        match self.last {
            Some(last) => self.clocks(last, out),
            // A machine without records is one nevertheless.
            None => self.begin(0, out),
        }
        self.statistics(out);
    }

    /// The place of a CPU's bundle.
    fn bundle(&mut self, cpu: u32) -> usize {
        *self.places.entry(cpu).or_insert_with(|| {
            let events = Vec::with_capacity(BUNDLE + 1024);
            self.bundles.push(Bundle { cpu, events, lost: false, has_track: false });
            self.bundles.len() - 1
        })
    }

    fn write_bundle(&mut self, at: usize, out: &mut Vec<u8>) {
        const CPU: u32 = 1;
        const LOST_EVENTS: u32 = 3;
        let Some(bundle) = self.bundles.get_mut(at).filter(|bundle| !bundle.events.is_empty())
        else {
            return;
        };
        let names = self.functions.new_entries();
        packet(self.index, NEEDS_STATE, out, |out| {
            if !names.is_empty() {
                wire::bytes(out, packet::INTERNED_DATA, names);
            }
            wire::message(out, packet::FTRACE_EVENTS, |out| {
                wire::uint(out, CPU, u64::from(bundle.cpu));
                out.extend_from_slice(&bundle.events);
                if bundle.lost {
                    wire::uint(out, LOST_EVENTS, 1);
                }
            });
        });
        bundle.events.clear();
        bundle.lost = false;
        self.functions.forget_new();
    }

    /// Marks that something was lost before a record: in its bundle, and as an event on a track of its own.
    fn lost(&mut self, at: usize, record: &Record<'_>, out: &mut Vec<u8>) {
        const UUID: u32 = 1;
        const NAME: u32 = 2;
        const TYPE: u32 = 9;
        const INSTANT: u64 = 3;
        const TRACK_UUID: u32 = 11;
        const EVENT_NAME: u32 = 23;
        self.write_bundle(at, out);
        let Some(bundle) = self.bundles.get_mut(at) else { return };
        let track = u64::from(self.index + 1) << 32 | u64::from(bundle.cpu);
        if !bundle.has_track {
            packet(self.index, 0, out, |out| {
                wire::message(out, packet::TRACK_DESCRIPTOR, |out| {
                    wire::uint(out, UUID, track);
                    wire::message(out, NAME, |out| {
                        out.extend_from_slice(b"Lost events of CPU ");
                        number::decimal(out, u64::from(bundle.cpu));
                        if self.index > 0 {
                            out.extend_from_slice(b" of ");
                            out.extend_from_slice(self.name.as_bytes());
                        }
                    });
                });
            });
        }
        (bundle.lost, bundle.has_track) = (true, true);
        packet(self.index, 0, out, |out| {
            wire::uint(out, packet::TIMESTAMP, record.time);
            wire::message(out, packet::TRACK_EVENT, |out| {
                wire::uint(out, TYPE, INSTANT);
                wire::uint(out, TRACK_UUID, track);
                wire::message(out, EVENT_NAME, |out| {
                    if let MissedEvents::Exactly(count) = record.missed {
                        number::decimal(out, count);
                        out.push(b' ');
                    }
                    out.extend_from_slice(b"events lost");
                });
            });
        });
    }

    /// What the machine is, and who runs on it.
    fn begin(&self, time: u64, out: &mut Vec<u8>) {
        packet(self.index, STATE_CLEARED, out, |out| {
            wire::uint(out, packet::FIRST_ON_SEQUENCE, 1);
            wire::message(out, packet::SYSTEM_INFO, |out| self.system(out));
        });
        self.clocks(time, out);
        packet(self.index, 0, out, |out| {
            wire::uint(out, packet::TIMESTAMP, time);
            wire::message(out, packet::PROCESS_TREE, |out| self.processes(out));
        });
        self.tasks(time, out);
    }

    fn system(&self, out: &mut Vec<u8>) {
        const UTSNAME: u32 = 1;
        const SERVICE_VERSION: u32 = 4;
        const PAGE_SIZE: u32 = 6;
        const CPUS: u32 = 8;
        const MACHINE_NAME: u32 = 17;
        const SYSNAME: u32 = 1;
        const RELEASE: u32 = 3;
        const MACHINE: u32 = 4;
        if let Some(uname) = self.metadata.uname() {
            wire::message(out, UTSNAME, |out| {
                let fields = [Some(SYSNAME), None, Some(RELEASE), Some(MACHINE)];
                for (field, word) in fields.into_iter().zip(uname.split(' ')) {
                    if let Some(field) = field {
                        wire::bytes(out, field, word.as_bytes());
                    }
                }
            });
        }
        if let Some(version) = self.metadata.version_text() {
            wire::bytes(out, SERVICE_VERSION, version.as_bytes());
        }
        wire::uint(out, PAGE_SIZE, u64::from(self.metadata.page_size));
        wire::uint(out, CPUS, u64::from(self.metadata.cpus));
        wire::bytes(out, MACHINE_NAME, self.name.as_bytes());
    }

    /// What other clocks show when that of the time stamps shows `time`. That of a guest agrees with the host's, as its
    /// stamps were corrected.
    fn clocks(&self, time: u64, out: &mut Vec<u8>) {
        const PRIMARY: u32 = 2;
        const SYNCED: u32 = 1;
        const CLIENT: u32 = 2;
        const HOST: u32 = 3;
        let is_wall = self.metadata.date().is_some();
        packet(self.index, 0, out, |out| {
            wire::message(out, packet::CLOCK_SNAPSHOT, |out| {
                clock(BOOTTIME, time, out);
                if is_wall {
                    clock(REALTIME, time, out);
                } else if self.metadata.trace_clock() == Some("mono") {
                    clock(MONOTONIC, time, out);
                }
                wire::uint(out, PRIMARY, BOOTTIME);
            });
        });
        if self.index == 0 {
            return;
        }
        packet(self.index, 0, out, |out| {
            wire::message(out, packet::REMOTE_CLOCK_SYNC, |out| {
                // It takes two pairs to tell an offset.
                for _ in 0..2 {
                    wire::message(out, SYNCED, |out| {
                        wire::message(out, CLIENT, |out| clock(BOOTTIME, time, out));
                        wire::message(out, HOST, |out| clock(BOOTTIME, time, out));
                    });
                }
            });
        });
    }

    /// The processes that the file knows as such.
    fn processes(&self, out: &mut Vec<u8>) {
        const PROCESSES: u32 = 1;
        const PROCESS_PID: u32 = 1;
        const CMDLINE: u32 = 3;
        const THREADS: u32 = 2;
        const TID: u32 = 1;
        const TGID: u32 = 3;
        const THREAD_NAME: u32 = 2;
        for process in self.metadata.proc_maps() {
            wire::message(out, PROCESSES, |out| {
                wire::int(out, PROCESS_PID, i64::from(process.pid));
                wire::bytes(out, CMDLINE, process.name.as_bytes());
            });
            if let Some(comm) = self.metadata.tasks().comm(process.pid) {
                wire::message(out, THREADS, |out| {
                    wire::int(out, TID, i64::from(process.pid));
                    wire::int(out, TGID, i64::from(process.pid));
                    wire::message(out, THREAD_NAME, |out| append_utf8(comm, out));
                });
            }
        }
    }

    /// The names of all tasks. The file does not tell of which process each is, so none is made up.
    fn tasks(&self, time: u64, out: &mut Vec<u8>) {
        const TID: u32 = 1;
        const COMM: u32 = 2;
        let mut tasks: Vec<(i32, &[u8])> = self.metadata.tasks().iter().collect();
        tasks.sort_unstable();
        for (pid, comm) in tasks {
            packet(self.index, 0, out, |out| {
                wire::uint(out, packet::TIMESTAMP, time);
                wire::message(out, packet::TASK_RENAME, |out| {
                    wire::int(out, TID, i64::from(pid));
                    wire::message(out, COMM, |out| append_utf8(comm, out));
                });
            });
        }
    }

    /// What the kernel counted in the main buffer until the end.
    fn statistics(&self, out: &mut Vec<u8>) {
        const PHASE: u32 = 1;
        const END_OF_TRACE: u64 = 2;
        const CPU_STATS: u32 = 2;
        let main = self.metadata.buffers.get(self.main_buffer as usize);
        let name = main.map_or("", |buffer| &buffer.name);
        packet(self.index, 0, out, |out| {
            wire::message(out, packet::FTRACE_STATS, |out| {
                wire::uint(out, PHASE, END_OF_TRACE);
                for stat in self.metadata.cpu_stats().filter(|stat| stat.buffer == name) {
                    let (Some(cpu), kernel) = (stat.cpu(), stat.kernel()) else { continue };
                    wire::message(out, CPU_STATS, |out| {
                        for (field, value) in [
                            (1, u64::from(cpu)),
                            (2, kernel.entries),
                            (3, kernel.overrun),
                            (4, kernel.commit_overrun),
                            (8, kernel.dropped_events),
                            (9, kernel.read_events),
                        ] {
                            wire::uint(out, field, value);
                        }
                    });
                }
            });
        });
    }
}

impl<'m> Plans<'m> {
    /// How events of a number are written; `None` when the file has no format for it.
    #[inline]
    fn get(
        &mut self,
        metadata: &'m Metadata,
        id: u16,
        instance: Option<&str>,
    ) -> Option<&EventPlan<'m>> {
        let at = usize::from(id);
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        let plan = self.0.get_mut(at)?.get_or_insert_with(|| {
            Some(Box::new(EventPlan::new(metadata.event_by_id(id)?, instance)))
        });
        plan.as_deref()
    }
}

/// Appends a packet of a machine.
fn packet(machine: u32, flags: u64, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    wire::message(out, PACKET, |out| {
        write(out);
        wire::uint(out, packet::SEQUENCE_ID, u64::from(machine) + 1);
        if flags > 0 {
            wire::uint(out, packet::SEQUENCE_FLAGS, flags);
        }
        if machine > 0 {
            wire::uint(out, packet::MACHINE_ID, u64::from(machine));
        }
    });
}

/// Appends what a clock shows.
fn clock(id: u64, time: u64, out: &mut Vec<u8>) {
    const CLOCKS: u32 = 1;
    const CLOCK_ID: u32 = 1;
    const TIMESTAMP: u32 = 2;
    wire::message(out, CLOCKS, |out| {
        wire::uint(out, CLOCK_ID, id);
        wire::uint(out, TIMESTAMP, time);
    });
}
