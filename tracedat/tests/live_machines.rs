//! Records of several machines, each with a clock of its own, that come late by what the way takes.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::collection::vec;
use proptest::prelude::*;
use tracedat::clock::{ClockSample, TimeShift};
use tracedat::read::{LiveCpu, LiveMerge};
use tracedat::testing::{SubBufferBuilder, TraceBuilder, Workload};
use tracedat::{Metadata, Reader};

/// What a record waits for CPUs of which nothing comes.
const PATIENCE: u64 = 100;
/// Time between two looks at all machines.
const STEP: u64 = 10;
/// What the way takes at most, where all is well.
const LAG: u64 = 50;
const CPUS: u32 = 2;

/// What happens on one CPU, by the host's clock.
#[derive(Clone, Debug)]
struct Cpu {
    file: usize,
    /// When it writes records, in order.
    times: Vec<u64>,
    /// How long each step's data takes to come; looked at again from the start at the end.
    lags: Vec<u64>,
    /// By how much later each record comes than that.
    slower: u64,
}

/// Machine 0 is the host; guest clocks are ahead of it by so much.
fn ahead(file: usize) -> u64 {
    file as u64 * 1_000_000
}

fn metadata() -> Metadata {
    let mut workload = Workload::new(1);
    (workload.cpus, workload.events_per_cpu) = (CPUS, 1);
    Reader::parse(TraceBuilder::new(workload).build()).unwrap().metadata
}

/// Sub-buffers of up to so many records.
fn sub_buffers(times: &[u64], ahead: u64) -> Vec<u8> {
    let of_some = |times: &[u64]| {
        let mut before = times[0];
        let mut builder = SubBufferBuilder::little_endian_64().timestamp(before + ahead);
        for &time in times {
            builder = builder.event((time - before) as u32, &(time as u32).to_le_bytes());
            before = time;
        }
        builder.build()
    };
    times.chunks(3).flat_map(of_some).collect()
}

/// A record that came out: when, of which machine, its time.
type Out = (u64, usize, u64);

/// Feeds what the CPUs write as it comes, and takes what is due after each step.
fn run(cpus: &[Cpu], machines: usize) -> (Vec<Out>, LiveMerge) {
    let metadata: Vec<_> = (0..machines).map(|_| metadata()).collect();
    let mut records = LiveMerge::new(&metadata);
    for file in 1..machines {
        let offset = -i64::try_from(ahead(file)).unwrap();
        let sample = ClockSample { time: 0, offset, scaling: 1, fraction_bits: 0 };
        let cpus = vec![vec![sample]; CPUS as usize];
        records.set_clock(file, &TimeShift { peer: 1, interpolate: true, cpus }, 0);
    }
    let place =
        |at: usize, cpu: &Cpu| -> LiveCpu { records.cpu(cpu.file, 0, at as u32 % CPUS).unwrap() };
    let places: Vec<_> = cpus.iter().enumerate().map(|(at, cpu)| place(at, cpu)).collect();
    let (mut fed, mut fed_at) = (vec![0; cpus.len()], vec![0; cpus.len()]);
    let last = cpus.iter().flat_map(|cpu| cpu.times.last()).max().copied().unwrap_or(0);
    let mut out = Vec::new();
    for step in 0..(last / STEP + 300) {
        let now = step * STEP;
        for (((cpu, place), fed), at) in cpus.iter().zip(&places).zip(&mut fed).zip(&mut fed_at) {
            let lag = cpu.lags[step as usize % cpu.lags.len()];
            let here = (0..).zip(&cpu.times);
            let here = here.take_while(|(count, time)| *time + lag + count * cpu.slower <= now);
            let here = here.count();
            if let Some(new) = cpu.times.get(*fed..here).filter(|new| !new.is_empty()) {
                records.feed(*place, &sub_buffers(new, ahead(cpu.file)));
                (*fed, *at) = (here, now);
            }
            // Only the host's recorder says so, and only of what it sees at once.
            if cpu.file == 0 && lag == 0 {
                records.caught_up(*place);
            }
        }
        let busy = places.iter().zip(&fed_at).filter(|(_, at)| now - **at < PATIENCE);
        records.release_behind(now.saturating_sub(PATIENCE), busy.map(|(place, _)| *place));
        take(&mut records, now, &mut out);
    }
    records.finish();
    take(&mut records, u64::MAX, &mut out);
    (out, records)
}

fn take(records: &mut LiveMerge, now: u64, out: &mut Vec<Out>) {
    while let Some((file, record)) = records.next().unwrap() {
        assert_eq!(record.data, (record.time as u32).to_le_bytes());
        out.push((now, file, record.time));
    }
}

fn cpus(machines: usize, most_lag: u64, slower: u64) -> impl Strategy<Value = Vec<Cpu>> {
    let cpu = (vec(0..60_u64, 0..60), vec(0..=most_lag, 1..12));
    vec(cpu, machines * CPUS as usize).prop_map(move |all| {
        let of_cpu = |(at, (gaps, lags)): (usize, (Vec<u64>, Vec<u64>))| {
            let mut time = 200;
            let later = |gap| {
                time += gap;
                time
            };
            let times = gaps.into_iter().map(later).collect();
            // The host's own data is not on any way.
            let file = at / CPUS as usize;
            Cpu { file, times, lags, slower: if file == 0 { 0 } else { slower } }
        };
        all.into_iter().enumerate().map(of_cpu).collect()
    })
}

fn sorted(cpus: &[Cpu]) -> Vec<(u64, usize)> {
    let all = cpus.iter().flat_map(|cpu| cpu.times.iter().map(|&time| (time, cpu.file)));
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_comes_in_time_comes_out_in_order_and_soon(cpus in cpus(3, LAG, 0)) {
        let (out, records) = run(&cpus, 3);
        prop_assert!(out.windows(2).all(|two| two[0].2 <= two[1].2));
        for (now, _, time) in &out {
            prop_assert!(*now <= time + LAG + PATIENCE + 2 * STEP, "{time} came at {now}");
        }
        let late: u64 = (0..3).map(|file| records.late(file).records).sum();
        prop_assert_eq!(late, 0);
        let mut came: Vec<_> = out.iter().map(|&(_, file, time)| (time, file)).collect();
        came.sort_unstable();
        prop_assert_eq!(came, sorted(&cpus));
    }

    #[test]
    fn cpus_whose_records_keep_coming_are_waited_for(cpus in cpus(3, 0, 10)) {
        let (out, records) = run(&cpus, 3);
        prop_assert!(out.windows(2).all(|two| two[0].2 <= two[1].2));
        let late: u64 = (0..3).map(|file| records.late(file).records).sum();
        prop_assert_eq!(late, 0);
        prop_assert_eq!(out.len(), sorted(&cpus).len());
    }

    #[test]
    fn what_comes_late_comes_out_all_the_same_and_is_counted(cpus in cpus(2, 4 * PATIENCE, 0)) {
        let (out, records) = run(&cpus, 2);
        let mut came: Vec<_> = out.iter().map(|&(_, file, time)| (time, file)).collect();
        came.sort_unstable();
        prop_assert_eq!(came, sorted(&cpus));
        for file in 0..2 {
            let (mut last, mut late, mut most) = (0_u64, 0, 0);
            for &(_, of, time) in &out {
                if of == file && time < last {
                    late += 1;
                    most = last.saturating_sub(time).max(most);
                }
                last = last.max(time);
            }
            let told = records.late(file);
            prop_assert_eq!((told.records, told.most), (late, most));
        }
    }
}
