//! Probes of two clocks, the estimate that is made of them, and what a reader interpolates.

use trace_virt::time_sync::{Clock, Probe, Round, Sample, estimate};

/// A byte with the clock, then probes of three numbers each, as distances to the one before; a round ends with every eighth.
///
/// # Panics
/// When samples are out of order, time runs backwards between them, or a probe lies outside of the bound.
pub fn run(data: &[u8]) {
    let Some((&bits, data)) = data.split_first() else { return };
    let guest = if bits & 1 != 0 { Clock::Tai } else { Clock::Mono };
    let mut rounds = vec![Round::default()];
    let mut sent = 0_u64;
    let mut guest_time = 0_u64;
    let (probes, _) = data.as_chunks::<12>();
    for (number, probe) in probes.iter().enumerate() {
        let (words, _) = probe.as_chunks::<4>();
        let [later, guest_later, trip] = [0, 1, 2].map(|at| u32::from_le_bytes(words[at]));
        // The size of a step is in its lowest bits, so that hours and nanoseconds both occur.
        let grow = |word: u32| u64::from(word >> 5) << (word & 31);
        sent = sent.wrapping_add(grow(later));
        guest_time = guest_time.wrapping_add(grow(guest_later));
        let received = sent.saturating_add(grow(trip));
        let round = rounds.last_mut().expect("there is one");
        round.push(Probe { sent, guest: guest_time, received });
        sent = received;
        if number % 8 == 7 {
            rounds.push(Round::default());
        }
    }
    let samples = estimate(&rounds, guest);
    assert!(samples.is_sorted_by_key(|sample| sample.guest_time), "{samples:?}");
    for pair in samples.windows(2) {
        let [a, b] = pair else { continue };
        let middle = a.guest_time.midpoint(b.guest_time);
        let times = [a.guest_time, middle, b.guest_time]
            .map(|time| Sample::host_time(&samples, time).unwrap_or_default());
        assert!(times.is_sorted(), "{times:?} of {a:?} and {b:?}");
    }
    for time in [0, u64::MAX] {
        std::hint::black_box(Sample::host_time(&samples, time));
    }
}
