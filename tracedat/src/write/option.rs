//! Makes options: each function returns the identifier and the data as it is in the file.
//!
//! Numbers are in the file's byte order, which is that of the traced machine. The option BUFFER is
//! made by the writer itself, as only it knows the offsets.

use crate::abi::ByteOrder;
use crate::clock::{ClockSample, TimeError, TimeShift};
use crate::layout::OptionId;
use crate::metadata::{Guest, ProcMaps, RecorderStat, TscToNsec};

/// An option: what it tells, and its data.
pub type RawOption = (OptionId, Vec<u8>);

/// Microseconds to add to the clock's to make wall-clock time. Negative ones cannot be told and
/// become 0.
pub fn date(offset_us: i64) -> RawOption {
    (OptionId::DATE, str0(&format!("{:#x}", offset_us.max(0))))
}

/// The same, wrong by `uncertainty_us` microseconds at most: a second text, behind the one that other readers take.
pub fn date_within(offset_us: i64, uncertainty_us: u64) -> RawOption {
    let (id, mut data) = date(offset_us);
    data.extend(str0(&uncertainty_us.to_string()));
    (id, data)
}

/// The text of `per_cpu/cpuN/stats` of one CPU, and behind it what the recorder has to say.
pub fn cpu_stat(cpu: u32, stats: &str, recorder: &RecorderStat<'_>) -> RawOption {
    let lines = recorder.lines();
    let end = if lines.is_empty() || stats.is_empty() || stats.ends_with('\n') { "" } else { "\n" };
    (OptionId::CPU_STAT, str0(&format!("CPU: {cpu}\n{stats}{end}{lines}")))
}

/// Heads the statistics of an instance; those of its CPUs follow.
pub fn cpu_stat_heading(instance: &str) -> RawOption {
    (OptionId::CPU_STAT, str0(&format!("\nBuffer: {instance}\n\n")))
}

/// The text of `trace_clock`, the selected clock in brackets. In version 6 this option is what
/// makes readers expect the clock of each buffer.
pub fn trace_clock(text: &str) -> RawOption {
    (OptionId::TRACE_CLOCK, str0(text))
}

/// System, node, release and machine of the traced kernel.
pub fn uname(sysname: &str, nodename: &str, release: &str, machine: &str) -> RawOption {
    (OptionId::UNAME, str0(&format!("{sysname} {nodename} {release} {machine}")))
}

/// A pair of events that a profile measures: the text of a [`Hook`](crate::profile::Hook).
pub fn hook(text: &str) -> RawOption {
    (OptionId::HOOK, str0(text))
}

/// Nanoseconds to add to all time stamps.
pub fn offset(ns: i64) -> RawOption {
    (OptionId::OFFSET, str0(&ns.to_string()))
}

/// CPUs of the machine.
pub fn cpu_count(cpus: u32, order: ByteOrder) -> RawOption {
    (OptionId::CPU_COUNT, order.put_u32(cpus).to_vec())
}

/// Version of the program that records.
pub fn version(text: &str) -> RawOption {
    (OptionId::VERSION, str0(text))
}

/// Address ranges of a process.
pub fn proc_maps(maps: &ProcMaps<'_>) -> RawOption {
    let ProcMaps { pid, name, lines } = maps;
    let count = lines.lines().count();
    let end = if lines.is_empty() || lines.ends_with('\n') { "" } else { "\n" };
    (OptionId::PROC_MAPS, str0(&format!("{pid:x} {count:x} {name}\n{lines}{end}")))
}

/// What names this trace in files of other machines.
pub fn trace_id(id: u64, order: ByteOrder) -> RawOption {
    (OptionId::TRACE_ID, order.put_u64(id).to_vec())
}

/// Correction of a guest's clock to its host's. The bits after the point follow all samples, as
/// old readers know nothing of them.
pub fn time_shift(shift: &TimeShift, order: ByteOrder) -> RawOption {
    let mut data = order.put_u64(shift.peer).to_vec();
    data.extend_from_slice(&order.put_u32(u32::from(shift.interpolate)));
    data.extend_from_slice(&order.put_u32(shift.cpus.len() as u32));
    for cpu in &shift.cpus {
        data.extend_from_slice(&order.put_u32(cpu.len() as u32));
        for part in [time, offset_bits, scaling] {
            data.extend(cpu.iter().flat_map(|sample| order.put_u64(part(sample))));
        }
    }
    let samples = shift.cpus.iter().flatten();
    data.extend(samples.flat_map(|sample| order.put_u64(sample.fraction_bits)));
    (OptionId::TIME_SHIFT, data)
}

/// How wrong that correction may be.
pub fn time_error(error: &TimeError, order: ByteOrder) -> RawOption {
    let mut data = order.put_u32(error.cpus.len() as u32).to_vec();
    for cpu in &error.cpus {
        data.extend_from_slice(&order.put_u32(cpu.len() as u32));
        let numbers = cpu.iter().flat_map(|sample| [sample.time, sample.error, sample.between]);
        data.extend(numbers.flat_map(|number| order.put_u64(number)));
    }
    (OptionId::TIME_ERROR, data)
}

/// A guest traced together with this host; a thread that is not known is -1.
pub fn guest(guest: &Guest, order: ByteOrder) -> RawOption {
    let mut data = str0(&guest.name);
    data.extend_from_slice(&order.put_u64(guest.trace_id));
    data.extend_from_slice(&order.put_u32(guest.cpus.len() as u32));
    for virtual_cpu in &guest.cpus {
        data.extend_from_slice(&order.put_u32(virtual_cpu.cpu));
        data.extend_from_slice(&order.put_u32(virtual_cpu.pid.cast_unsigned()));
    }
    (OptionId::GUEST, data)
}

/// How cycles become nanoseconds.
pub fn tsc_to_nsec(factor: &TscToNsec, order: ByteOrder) -> RawOption {
    let mut data = order.put_u32(factor.mult).to_vec();
    data.extend_from_slice(&order.put_u32(factor.shift));
    data.extend_from_slice(&order.put_u64(factor.offset));
    (OptionId::TSC_TO_NSEC, data)
}

/// A text up to its first NUL, if it has any, and a NUL.
fn str0(text: &str) -> Vec<u8> {
    let mut data: Vec<u8> = text.bytes().take_while(|&byte| byte != 0).collect();
    data.push(0);
    data
}

fn time(sample: &ClockSample) -> u64 {
    sample.time
}

fn offset_bits(sample: &ClockSample) -> u64 {
    sample.offset.cast_unsigned()
}

fn scaling(sample: &ClockSample) -> u64 {
    sample.scaling
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metadata::VirtualCpu;

    const BIG: ByteOrder = ByteOrder::Big;

    #[test]
    fn texts_end_with_a_single_nul() {
        assert_eq!(date(0x5e1).1, b"0x5e1\0");
        assert_eq!(date(-1).1, b"0x0\0");
        assert_eq!(offset(-5).1, b"-5\0");
        let nothing = RecorderStat::default();
        assert_eq!(cpu_stat(3, "entries: 1\n", &nothing).1, b"CPU: 3\nentries: 1\n\0");
        assert_eq!(cpu_stat_heading("foo").1, b"\nBuffer: foo\n\n\0");
        assert_eq!(uname("Linux", "vm", "6.18", "x86_64").1, b"Linux vm 6.18 x86_64\0");
        assert_eq!(version("1.0\0hidden").1, b"1.0\0");
    }

    #[test]
    fn the_recorder_has_lines_for_what_happened() {
        let all = RecorderStat {
            stalls: 3,
            longest_stall: Duration::from_micros(250_900),
            discarded_bytes: 8192,
            error: Some("no\nroom"),
        };
        let lines = "reader stalls: 3\nlongest reader stall: 250 ms\ndiscarded bytes: 8192\n\
                     recorder error: no room\n\0";
        assert_eq!(
            cpu_stat(1, "entries: 0", &all).1,
            ["CPU: 1\nentries: 0\n", lines].concat().into_bytes()
        );
        let full = RecorderStat { discarded_bytes: 1, ..RecorderStat::default() };
        assert_eq!(cpu_stat(1, "", &full).1, b"CPU: 1\ndiscarded bytes: 1\n\0");
    }

    #[test]
    fn identifiers_are_those_of_the_format() {
        assert_eq!(date(0).0.0, 1);
        assert_eq!(cpu_stat(0, "", &RecorderStat::default()).0.0, 2);
        assert_eq!(trace_clock("").0.0, 4);
        assert_eq!(uname("", "", "", "").0.0, 5);
        assert_eq!(offset(0).0.0, 7);
        assert_eq!(cpu_count(0, BIG).0.0, 8);
        assert_eq!(version("").0.0, 9);
        assert_eq!(trace_id(0, BIG).0.0, 11);
    }

    #[test]
    fn guest_lists_virtual_cpus_with_their_threads() {
        let cpus = vec![VirtualCpu { cpu: 0, pid: 4096 }, VirtualCpu { cpu: 1, pid: -1 }];
        let (id, data) = guest(&Guest { name: "vm".to_owned(), trace_id: 9, cpus }, BIG);
        let expected: &[u8] =
            b"vm\0\0\0\0\0\0\0\0\x09\0\0\0\x02\0\0\0\0\0\0\x10\0\0\0\0\x01\xff\xff\xff\xff";
        assert_eq!((id.0, data.as_slice()), (13, expected));
    }

    #[test]
    fn time_shift_has_its_fractions_after_all_cpus() {
        let sample = |time, offset| ClockSample { time, offset, scaling: 1, fraction_bits: 32 };
        let cpus = vec![vec![sample(10, -3), sample(20, -4)], vec![sample(5, 6)]];
        let (id, data) = time_shift(&TimeShift { peer: 7, interpolate: true, cpus }, BIG);
        let mut expected = Vec::new();
        expected.extend(7_u64.to_be_bytes());
        expected.extend([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]);
        expected.extend([10_i64, 20, -3, -4, 1, 1].into_iter().flat_map(i64::to_be_bytes));
        expected.extend([0, 0, 0, 1]);
        expected.extend([5_i64, 6, 1, 32, 32, 32].into_iter().flat_map(i64::to_be_bytes));
        assert_eq!((id.0, data), (12, expected));
    }

    #[test]
    fn cycles_and_process_maps_are_as_documented() {
        let (id, data) = tsc_to_nsec(&TscToNsec { mult: 2, shift: 3, offset: 4 }, BIG);
        assert_eq!((id.0, data.as_slice()), (14, &b"\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\x04"[..]));
        let maps = ProcMaps { pid: 0x4c2, name: "/bin/sh", lines: "1000 2000 /lib/a\n3 4 /lib/b" };
        let (id, data) = proc_maps(&maps);
        let expected: &[u8] = b"4c2 2 /bin/sh\n1000 2000 /lib/a\n3 4 /lib/b\n\0";
        assert_eq!((id.0, data.as_slice()), (10, expected));
    }
}
