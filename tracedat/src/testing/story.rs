//! Traces told event by event, of what tasks do.

use std::io::Cursor;

use super::formats::event_id;
use super::{FormatTexts, SubBufferBuilder, TraceBuilder, Workload};
use crate::abi::{Abi, ByteOrder};
use crate::metadata::{Guest, VirtualCpu};
use crate::write::option::RawOption;
use crate::write::{BufferData, CpuSource, Settings, System, Version, Writer, option};

const ABI: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
const SCHED_WAKEUP: u16 = 320;
const IRQ_HANDLER_EXIT: u16 = 152;
const SYS_EXIT: u16 = 348;
const KERNEL_STACK: u16 = 4;
const BEGIN: u16 = 900;
const END: u16 = 901;
const KVM_ENTRY: u16 = 902;
const KVM_EXIT: u16 = 903;

/// Where the function with number 0 starts; the others follow every 4096 bytes.
const FUNCTIONS: u64 = 0xffff_ffff_8100_0000;

/// A trace told event by event, each a microsecond after the one before.
#[derive(Clone, Debug, Default)]
pub struct Story {
    events: Vec<Told>,
    time: u64,
    cpu: u32,
    missed: bool,
    options: Vec<RawOption>,
}

#[derive(Clone, Debug)]
struct Told {
    cpu: u32,
    time: u64,
    missed: bool,
    data: Vec<u8>,
}

impl Story {
    /// Goes on with another CPU.
    #[must_use]
    pub fn on(mut self, cpu: u32) -> Self {
        self.cpu = cpu;
        self
    }

    /// Lets so many nanoseconds pass.
    #[must_use]
    pub fn wait(mut self, nanoseconds: u64) -> Self {
        self.time += nanoseconds;
        self
    }

    /// Loses records on this CPU.
    #[must_use]
    pub fn lose(mut self) -> Self {
        self.missed = true;
        self
    }

    /// Leaves a hook in the trace's options.
    #[must_use]
    pub fn hook(self, text: &str) -> Self {
        self.option(option::hook(text))
    }

    /// Leaves an option in the trace.
    #[must_use]
    pub fn option(mut self, option: RawOption) -> Self {
        self.options.push(option);
        self
    }

    /// Tells in the trace's options which threads run the CPUs of a guest, from 0.
    #[must_use]
    pub fn guest(self, name: &str, threads: &[i32]) -> Self {
        let cpus = (0..).zip(threads).map(|(cpu, &pid)| VirtualCpu { cpu, pid }).collect();
        let guest = Guest { name: name.to_owned(), trace_id: 1, cpus };
        self.option(option::guest(&guest, ABI.byte_order))
    }

    /// `sched_switch`, from a task in a state to another.
    #[must_use]
    pub fn switch(self, prev: i32, state: u64, next: i32) -> Self {
        let mut data = Vec::new();
        put_task(&mut data, prev);
        data.extend(state.to_le_bytes());
        put_task(&mut data, next);
        self.event(event_id::SCHED_SWITCH, prev, &data)
    }

    /// `sched_wakeup` of a task by another.
    #[must_use]
    pub fn wake(self, by: i32, woken: i32) -> Self {
        self.wake_on(0, by, woken)
    }

    /// `sched_wakeup` of a task by another, to run on a CPU.
    #[must_use]
    pub fn wake_on(self, cpu: u32, by: i32, woken: i32) -> Self {
        let mut data = Vec::new();
        put_task(&mut data, woken);
        data.extend(cpu.to_le_bytes());
        self.event(SCHED_WAKEUP, by, &data)
    }

    /// `kernel_stack` with functions by number, the innermost first.
    #[must_use]
    pub fn stack(self, pid: i32, functions: &[u64]) -> Self {
        let mut data = vec![functions.len() as u8, 0, 0, 0, 0, 0, 0, 0];
        data.extend(functions.iter().flat_map(|n| (FUNCTIONS + n * 0x1000 + 0x10).to_le_bytes()));
        self.event(KERNEL_STACK, pid, &data)
    }

    /// `sys_enter`.
    #[must_use]
    pub fn sys_enter(self, pid: i32, number: i64) -> Self {
        let data = [&number.to_le_bytes()[..], &[0; 48]].concat();
        self.event(event_id::SYS_ENTER, pid, &data)
    }

    /// `sys_exit`.
    #[must_use]
    pub fn sys_exit(self, pid: i32, number: i64) -> Self {
        let data = [number.to_le_bytes(), [0; 8]].concat();
        self.event(SYS_EXIT, pid, &data)
    }

    /// `irq_handler_entry`.
    #[must_use]
    pub fn irq_enter(self, pid: i32, irq: i32) -> Self {
        self.pair(event_id::IRQ_HANDLER_ENTRY, pid, irq, 0)
    }

    /// `irq_handler_exit`.
    #[must_use]
    pub fn irq_exit(self, pid: i32, irq: i32) -> Self {
        self.pair(IRQ_HANDLER_EXIT, pid, irq, 1)
    }

    /// `kvm_entry` of a virtual CPU by its thread.
    #[must_use]
    pub fn kvm_entry(self, thread: i32, vcpu: i32) -> Self {
        self.event(KVM_ENTRY, thread, &vcpu.to_le_bytes())
    }

    /// `kvm_exit` of a virtual CPU of an Intel machine.
    #[must_use]
    pub fn kvm_exit(self, thread: i32, vcpu: i32, reason: i32) -> Self {
        let data = [reason.to_le_bytes(), 1_i32.to_le_bytes(), vcpu.to_le_bytes()].concat();
        self.event(KVM_EXIT, thread, &data)
    }

    /// `story:begin` with the fields `a` and `b`.
    #[must_use]
    pub fn begin(self, pid: i32, a: i32, b: i32) -> Self {
        self.pair(BEGIN, pid, a, b)
    }

    /// `story:end` with the fields `a` and `b`.
    #[must_use]
    pub fn end(self, pid: i32, a: i32, b: i32) -> Self {
        self.pair(END, pid, a, b)
    }

    fn pair(self, id: u16, pid: i32, a: i32, b: i32) -> Self {
        self.event(id, pid, &[a.to_le_bytes(), b.to_le_bytes()].concat())
    }

    fn event(mut self, id: u16, pid: i32, fields: &[u8]) -> Self {
        self.time += 1000;
        let data = [&id.to_le_bytes()[..], &[0, 0], &pid.to_le_bytes(), fields].concat();
        let missed = std::mem::take(&mut self.missed);
        self.events.push(Told { cpu: self.cpu, time: self.time, missed, data });
        self
    }

    /// The file, of version 6.
    ///
    /// # Panics
    ///
    /// The file cannot be written: the story has an event larger than a sub-buffer.
    pub fn build(&self) -> Vec<u8> {
        let workload = Workload { abi: ABI, ..Workload::new(0) };
        let page_size = workload.page_size;
        let cpus = self.events.iter().map(|told| told.cpu + 1).max().unwrap_or(1);
        let mut head = TraceBuilder::new(Workload { cpus, ..workload }).head();
        let texts = FormatTexts { abi: ABI };
        head.ftrace_formats.push(texts.kernel_stack(KERNEL_STACK).into_bytes());
        for (system, text) in [
            ("sched", texts.sched_wakeup(SCHED_WAKEUP)),
            ("irq", texts.irq_handler_exit(IRQ_HANDLER_EXIT)),
            ("raw_syscalls", texts.sys_exit(SYS_EXIT)),
            ("kvm", texts.numbers("kvm_entry", KVM_ENTRY, &["vcpu_id"])),
            ("kvm", texts.numbers("kvm_exit", KVM_EXIT, &["exit_reason", "isa", "vcpu_id"])),
            ("story", texts.numbers("begin", BEGIN, &["a", "b"])),
            ("story", texts.numbers("end", END, &["a", "b"])),
        ] {
            match head.systems.iter_mut().find(|known| known.name == system) {
                Some(known) => known.formats.push(text.into_bytes()),
                None => head
                    .systems
                    .push(System { name: system.to_owned(), formats: vec![text.into_bytes()] }),
            }
        }
        let functions = (0..16).map(|n| format!("{:016x} T f{n}\n", FUNCTIONS + n * 0x1000));
        head.kallsyms = functions.collect::<String>().into_bytes();
        head.cmdlines.clear();
        head.options.extend(self.options.iter().cloned());
        let settings = Settings { version: Version::V6, ..Settings::new(ABI, page_size) };
        let mut file = Cursor::new(Vec::new());
        let writer = Writer::create(&mut file, settings, &head).expect("a head");
        let data: Vec<Vec<u8>> = (0..cpus).map(|cpu| self.cpu_data(cpu)).collect();
        let mut data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let sources = data.iter_mut().zip(0..).map(|(data, cpu)| {
            let size = data.len() as u64;
            CpuSource::from_reader(cpu, data, size)
        });
        let cpus = sources.collect();
        let buffer = BufferData { name: "", clock: "local", page_size, cpus };
        writer.finish(&[], vec![buffer]).expect("memory takes all");
        file.into_inner()
    }

    fn cpu_data(&self, cpu: u32) -> Vec<u8> {
        let mut data = Vec::new();
        let mut page: Option<(SubBufferBuilder, u64)> = None;
        for told in self.events.iter().filter(|told| told.cpu == cpu) {
            let fits = |(page, last): &(SubBufferBuilder, u64)| {
                let delta = told.time.saturating_sub(*last);
                !told.missed && page.room() >= told.data.len() + 16 && delta < 1 << 27
            };
            let (builder, last) = match page.take() {
                Some(page) if fits(&page) => page,
                full => {
                    data.extend(full.iter().flat_map(|(page, _)| page.build()));
                    let fresh = SubBufferBuilder::new(ABI).timestamp(told.time);
                    (if told.missed { fresh.missed_unknown() } else { fresh }, told.time)
                }
            };
            page = Some((builder.event((told.time - last) as u32, &told.data), told.time));
        }
        data.extend(page.iter().flat_map(|(page, _)| page.build()));
        data
    }
}

/// A name, `task7` for 7, 17 and so on, the pid, and a priority.
fn put_task(data: &mut Vec<u8>, pid: i32) {
    let mut comm = format!("task{}", pid % 10).into_bytes();
    comm.resize(16, 0);
    data.extend(comm);
    data.extend(pid.to_le_bytes());
    data.extend(120_i32.to_le_bytes());
}
