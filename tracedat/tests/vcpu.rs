//! What becomes of a virtual CPU's time, in traces of which it is known.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tracedat::Reader;
use tracedat::testing::Story;
use tracedat::vcpu::{self, Times, Unit, VcpuTimes, VcpuUse};

const HLT: i32 = 12;
const IO: i32 = 30;
/// States of a task that leaves its processor: ready, preempted, asleep.
const READY: u64 = 0;
const PREEMPTED: u64 = 0x100;
const ASLEEP: u64 = 1;

/// Each event of a story comes 1000 ns after the one before.
fn uses(story: &Story) -> Vec<VcpuUse> {
    let Reader { metadata, mut records } = Reader::parse(story.build()).unwrap();
    let mut times = VcpuTimes::new(&metadata);
    while let Some(record) = records.next().unwrap() {
        times.add(&record);
    }
    times.finish()
}

fn times(change: impl FnOnce(&mut Times)) -> Times {
    let mut times = Times::default();
    change(&mut times);
    times
}

fn by(vcpu: &VcpuUse) -> Vec<(i32, u64)> {
    vcpu.preempted_by.iter().map(|(pid, _, time)| (*pid, *time)).collect()
}

#[test]
fn a_story_of_kvm_is_told_to_the_nanosecond() {
    let story = Story::default()
        .guest("vm", &[41])
        .switch(0, READY, 41) // 1 us: its first event, it was not there before
        .kvm_entry(41, 0) // 2
        .wait(9000)
        .kvm_exit(41, 0, IO) // 12
        .kvm_entry(41, 0) // 13
        .kvm_exit(41, 0, HLT) // 14
        .switch(41, ASLEEP, 0) // 15
        .wait(4000)
        .wake(0, 41) // 20
        .switch(0, READY, 41) // 21
        .kvm_entry(41, 0) // 22
        .kvm_exit(41, 0, 1) // 23
        .switch(41, PREEMPTED, 7) // 24
        .wait(5000)
        .switch(7, READY, 8) // 30
        .wait(1000)
        .switch(8, READY, 41) // 32
        .kvm_entry(41, 0); // 33
    let [vcpu] = &uses(&story)[..] else { panic!("one virtual CPU") };
    let expected = times(|times| {
        times.in_guest = 10_000 + 1000 + 1000;
        times.in_host = 1000 + 1000 + 1000 + 1000 + 1000 + 1000;
        times.halted = 5000;
        (times.woken, times.wakeups) = (1000, 1);
        (times.preempted, times.preemptions) = (8000, 1);
    });
    assert_eq!(vcpu.times, expected);
    assert_eq!(vcpu.times.total(), 32_000);
    let exits: Vec<_> =
        vcpu.exits.iter().map(|(name, time, n)| (name.as_str(), *time, *n)).collect();
    assert_eq!(
        exits,
        [("EXTERNAL_INTERRUPT", 2000, 1), ("HLT", 2000, 1), ("IO_INSTRUCTION", 1000, 1)]
    );
    assert_eq!(by(vcpu), [(7, 6000), (8, 2000), (0, 1000)]);
    let longest: Vec<_> =
        vcpu.longest.iter().map(|p| (p.start, p.duration, p.by.0, p.woken)).collect();
    assert_eq!(longest, [(24_000, 8000, 7, false), (20_000, 1000, 0, true)]);
}

#[test]
fn without_events_of_kvm_a_thread_with_a_processor_runs_the_guest() {
    let story = Story::default()
        .guest("vm", &[41, 42])
        .on(1)
        .switch(42, ASLEEP, 0) // 1: it ran
        .on(0)
        .wait(2000)
        .switch(41, READY, 7) // 4: so did the other
        .switch(7, ASLEEP, 41) // 5
        .wake_on(1, 41, 42) // 6
        .on(1)
        .switch(0, READY, 42); // 7
    let [first, second] = &uses(&story)[..] else { panic!("two") };
    assert_eq!(
        first.times,
        times(|times| {
            times.in_guest = 3000 + 2000;
            (times.preempted, times.preemptions) = (1000, 1);
        })
    );
    assert_eq!((by(first), by(second)), (vec![(7, 1000)], vec![(0, 1000)]));
    assert_eq!(
        second.times,
        times(|times| {
            times.blocked = 5000;
            (times.woken, times.wakeups) = (1000, 1);
        })
    );
}

#[test]
fn who_waits_elsewhere_is_held_up_by_those_who_are_there() {
    let story = Story::default()
        .guest("vm", &[41])
        .on(1)
        .switch(0, READY, 9) // 1: processor 1 has another task
        .on(0)
        .switch(0, READY, 41) // 2
        .switch(41, READY, 7) // 3
        .on(1)
        .wait(1000)
        .switch(9, ASLEEP, 41); // 5: it was taken over there
    let [vcpu] = &uses(&story)[..] else { panic!("one") };
    assert_eq!(by(vcpu), [(7, 2000)]);
    assert_eq!((vcpu.times.preempted, vcpu.times.unknown), (2000, 1000));
}

#[test]
fn what_was_lost_is_not_known() {
    let story = Story::default()
        .guest("vm", &[41])
        .switch(0, READY, 41) // 1
        .switch(41, READY, 7) // 2
        .wait(8000)
        .lose()
        .switch(8, READY, 41) // 11
        .kvm_entry(41, 0) // 12
        .switch(41, ASLEEP, 0) // 13
        .kvm_entry(41, 0) // 14: nobody saw it come back
        .kvm_exit(41, 0, IO); // 15
    let [vcpu] = &uses(&story)[..] else { panic!("one") };
    assert_eq!(vcpu.times.total(), 14_000);
    assert_eq!((vcpu.times.unknown, vcpu.times.preempted), (9000 + 1000, 0));
    assert_eq!(by(vcpu), []);
}

#[test]
fn virtual_cpus_that_nobody_named_are_found_by_their_events() {
    let story = Story::default().kvm_entry(52, 1).kvm_entry(51, 0).kvm_exit(51, 0, IO);
    let uses = uses(&story);
    let found: Vec<_> = uses.iter().map(|vcpu| (vcpu.cpu, vcpu.thread)).collect();
    assert_eq!(found, [(0, 51), (1, 52)]);
    assert_eq!((uses[0].times.in_guest, uses[1].times.in_guest), (1000, 2000));
    // Where a guest is named, others are not of interest.
    let named = Story::default().guest("vm", &[51, -1]).kvm_entry(52, 1).kvm_entry(51, 0);
    let uses = self::uses(&named);
    assert_eq!((uses.len(), uses[1].thread, uses[1].times.total()), (2, -1, 1000));
}

#[test]
fn text_says_who_and_when() {
    let story = Story::default()
        .guest("vm", &[41, -1])
        .switch(0, READY, 41)
        .wait(999_000)
        .switch(41, READY, 17)
        .wait(2_999_000)
        .switch(17, READY, 41)
        .kvm_entry(41, 0);
    let mut text = Vec::new();
    let time = |time| format!("{time}");
    vcpu::print(&uses(&story), Unit::Nanoseconds, &time, &mut text).unwrap();
    let expected = "\
vm: vCPU 0, thread 41, 0.004001000 s
  in guest                0.001000000 s  25.0 %
  in host                 0.000001000 s   0.0 %  0 exits
  preempted               0.003000000 s  75.0 %  1 times
  woken, not running      0.000000000 s   0.0 %  0 times
  halted                  0.000000000 s   0.0 %
  blocked                 0.000000000 s   0.0 %
  who had its processor while it was ready
    task7-17                0.003000000 s
  longest times it was ready and did not run
    1001000   0.003000000 s  preempted by task7-17

vm: vCPU 1, thread not known, 0.004001000 s
  no event tells what it did
";
    assert_eq!(String::from_utf8(text).unwrap(), expected);

    // Cycles of a processor are no seconds.
    let mut text = Vec::new();
    vcpu::print(&uses(&story), Unit::Ticks, &time, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("vm: vCPU 0, thread 41, 4001000 ticks\n"), "{text}");
    let preempted = format!("  {:<18} {:>16} ticks  75.0 %  1 times\n", "preempted", 3_000_000);
    assert!(text.contains(&preempted), "{text}");
    assert!(!text.contains(" s "), "{text}");
}
