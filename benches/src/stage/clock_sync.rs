//! Probes of guests' clocks to samples, and times of guests to those of the host.

use trace_virt::time_sync::{Clock, Probe, Round, Sample, estimate};

use super::Work;
use crate::Outcome;
use crate::workload::Traces;

/// A minute with a round each second, of so many probes.
const ROUNDS: u64 = 60;
const PROBES: u64 = 10;

const SECOND: u64 = 1_000_000_000;

pub(super) fn works(_traces: &Traces) -> Outcome<Vec<Work>> {
    Ok([1, 32].into_iter().map(work).collect())
}

fn work(guests: u64) -> Work {
    let rounds: Vec<Vec<Round>> = (0..guests).map(rounds_of).collect();
    let run = move || {
        for (guest, rounds) in (0..).zip(&rounds) {
            let samples = estimate(rounds, Clock::Mono);
            assert!(!samples.is_empty());
            let time = 30 * SECOND;
            let host = Sample::host_time(&samples, guest_time(guest, time)).expect("a time");
            let error = samples.iter().map(|sample| sample.error + sample.between).max();
            assert!(host.abs_diff(time) <= error.expect("a sample"), "{host} is not {time}");
        }
    };
    Work::new(format!("{guests}_guests"), guests * ROUNDS * PROBES, 0, run)
}

/// The clock of a guest is ahead, and runs a little too fast.
fn guest_time(guest: u64, host: u64) -> u64 {
    host + (guest + 1) * SECOND + host / 100_000 * (guest % 7)
}

fn rounds_of(guest: u64) -> Vec<Round> {
    let round = |number: u64| {
        let mut round = Round::default();
        for probe in 0..PROBES {
            // Between 20 and 60 µs there and back, on the way there a part that differs.
            let jitter = (guest * 31 + number * 17 + probe * 7) % 40 * 1000;
            let sent = (number + 1) * SECOND + probe * 100_000;
            let answered = sent + 8000 + jitter / 3;
            let received = sent + 20_000 + jitter;
            round.push(Probe { sent, guest: guest_time(guest, answered), received });
        }
        round
    };
    (0..ROUNDS).map(round).collect()
}
