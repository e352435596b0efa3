//! Host and guest against each other on simulated clocks.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Mark, SyncEvent, SyncGuest, SyncGuestEvent, SyncHost};
use crate::session::SessionError;

const PATIENCE: Duration = Duration::from_secs(5);

/// A link whose every way takes a time of its own, and machines whose clocks differ.
struct World {
    host: SyncHost,
    guest: SyncGuest,
    now: u64,
    offset: i64,
    host_stamps: Vec<(Mark, u64)>,
    guest_stamps: Vec<(Mark, u64)>,
    start: Instant,
}

impl World {
    fn new(offset: i64) -> Self {
        Self {
            host: SyncHost::new(PATIENCE),
            guest: SyncGuest::new(PATIENCE),
            now: 1 << 40,
            offset,
            host_stamps: Vec::new(),
            guest_stamps: Vec::new(),
            start: Instant::now(),
        }
    }

    /// Lets both go on until neither has anything to say; `delay` gives each way's time, `piece` the bytes moved at once.
    fn run(
        &mut self,
        piece: usize,
        mut delay: impl FnMut() -> u64,
    ) -> Result<Option<(u64, i64)>, SessionError> {
        let mut result = None;
        loop {
            while let Some(event) = self.host.next_event()? {
                match event {
                    SyncEvent::Mark(mark) => self.host_stamps.push((mark, self.now)),
                    SyncEvent::Stamps => {
                        let stamps = std::mem::take(&mut self.host_stamps);
                        self.host.stamps(&stamps)?;
                    }
                    SyncEvent::Offset { time, offset } => result = Some((time, offset)),
                }
            }
            while let Some(event) = self.guest.next_event(self.start)? {
                let guest_now = self.now.wrapping_sub(self.offset.cast_unsigned());
                match event {
                    SyncGuestEvent::Mark(mark) => self.guest_stamps.push((mark, guest_now)),
                    SyncGuestEvent::Stamps => {
                        let stamps = std::mem::take(&mut self.guest_stamps);
                        self.guest.stamps(&stamps)?;
                    }
                    SyncGuestEvent::Round(_) => self.guest_stamps.clear(),
                    SyncGuestEvent::Stop => {}
                }
            }
            let out = self.host.output();
            let moved = self.guest.push(&out[..out.len().min(piece)]);
            self.host.sent(moved);
            let out = self.guest.output();
            let back = self.host.push(&out[..out.len().min(piece)]);
            self.guest.sent(back);
            if moved == 0 && back == 0 {
                return Ok(result);
            }
            self.now += delay();
        }
    }
}

#[test]
fn the_fastest_probe_counts_and_stop_ends_it() {
    for offset in [0, 5_000_000_000, -7] {
        let mut world = World::new(offset);
        world.host.begin(0, world.start).unwrap();
        let mut turns = 0;
        let (time, found) = world
            .run(usize::MAX, || {
                turns += 1;
                if turns == 400 { 2 } else { 1000 }
            })
            .unwrap()
            .unwrap();
        // Half of a way of 1000 at most, as the fast turn may be one way only.
        assert!((found - offset).abs() <= 500, "{found} for {offset}");
        assert!(time > 0);
        world.host.stop().unwrap();
        assert_eq!(world.run(usize::MAX, || 1).unwrap(), None);
        assert_eq!(world.host.next_event().unwrap(), None);
    }
}

#[test]
fn a_second_round_goes_over_the_same_connection() {
    let mut world = World::new(77);
    for vcpu in 0..2 {
        world.host.begin(vcpu, world.start).unwrap();
        let error = world.host.begin(vcpu, world.start).unwrap_err();
        assert!(matches!(error, SessionError::OutOfOrder { .. }), "{error}");
        assert_eq!(world.run(7, || 0).unwrap().unwrap().1, 77);
    }
}

#[test]
fn a_guest_that_is_silent_is_late() {
    let mut host = SyncHost::new(PATIENCE);
    let now = Instant::now();
    assert!(host.next_deadline().is_none());
    host.begin(3, now).unwrap();
    assert!(host.on_time(now).is_ok());
    let error = host.on_time(now + PATIENCE).unwrap_err();
    assert_eq!(error, SessionError::TimedOut { step: "START" });
}

#[test]
fn what_the_reference_sent_is_understood() {
    // As recorded: the host's request for vCPU 0, and what the guest answers.
    let request = b"\0\0\0\x22\0\0\0\x09\0\0\0\x14none\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0";
    let start = b"\0\0\0\x28\0\0\0\x09\0\0\0\x14ptp\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\
        \0\0\0\x01\0\0\0\x03";
    let mut guest = SyncGuest::new(PATIENCE);
    let now = Instant::now();
    assert_eq!(guest.push(request), request.len());
    assert_eq!(guest.next_event(now).unwrap(), Some(SyncGuestEvent::Round(0)));
    assert_eq!(guest.output(), start);
    let mut host = SyncHost::new(PATIENCE);
    host.begin(0, now).unwrap();
    assert_eq!(host.output(), request);
    host.sent(request.len());
    host.push(start);
    assert_eq!(host.next_event().unwrap(), None);
    assert_eq!(host.output(), start);
    // An offset 0x61e at the end, and one that is below zero.
    host.push(b"\0\0\0\x20\0\0\0\x09\0\0\0\x14ptp\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05");
    assert_eq!(host.next_event().unwrap(), Some(SyncEvent::Stamps));
    host.stamps(&[]).unwrap();
    host.push(
        b"\0\0\0\x30\0\0\0\x09\0\0\0\x14ptp\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\
        \0\0\x16\x71\x7f\xb9\xfb\x0f\xff\xff\xff\xff\xff\xff\xfd\x07",
    );
    let expected = SyncEvent::Offset { time: 0x1671_7fb9_fb0f, offset: -761 };
    assert_eq!(host.next_event().unwrap(), Some(expected));
}

proptest! {
    #[test]
    fn the_error_is_at_most_half_of_the_fastest_way_there_and_back(
        offset in -1_000_000_000_000_i64..1_000_000_000_000,
        seed in 1_u64..u64::MAX,
        piece in 1_usize..4000,
    ) {
        let mut world = World::new(offset);
        world.host.begin(1, world.start).unwrap();
        let mut state = seed;
        let (mut delays, mut least) = (Vec::new(), u64::MAX);
        let found = world.run(piece, || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            delays.push(state % 10_000);
            state % 10_000
        }).unwrap().unwrap().1;
        for pair in delays.windows(2) {
            least = least.min(pair[0] + pair[1]);
        }
        // A probe takes two turns or more; the fastest is not worse than the mean.
        prop_assert!(found.abs_diff(offset) <= 10_000 * 40 / piece.min(40) as u64 + least);
    }

    #[test]
    fn garbage_is_an_error_or_waits_for_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let now = Instant::now();
        let mut host = SyncHost::new(PATIENCE);
        host.begin(0, now).unwrap();
        host.push(&bytes);
        let mut guest = SyncGuest::new(PATIENCE);
        guest.push(&bytes);
        for _ in 0..20 {
            if host.next_event().is_err() { break }
        }
        for _ in 0..20 {
            if guest.next_event(now).is_err() { break }
        }
        prop_assert!(host.output().len() < 10_000 && guest.output().len() < 10_000);
    }

    #[test]
    fn a_changed_byte_never_hangs_or_breaks_it(at in 0_usize..4000, value: u8, piece in 1_usize..500) {
        let mut world = World::new(1000);
        world.host.begin(0, world.start).unwrap();
        // As much of a round as it takes to get there, changed on its way to the host.
        let mut passed = 0;
        let mut ended = false;
        while !ended {
            let result = (|| -> Result<bool, SessionError> {
                while let Some(event) = world.guest.next_event(world.start)? {
                    if let SyncGuestEvent::Stamps = event {
                        world.guest.stamps(&[])?;
                    }
                }
                while let Some(event) = world.host.next_event()? {
                    match event {
                        SyncEvent::Stamps => world.host.stamps(&[(Mark::Received(1), 5)])?,
                        SyncEvent::Offset { .. } => return Ok(true),
                        SyncEvent::Mark(_) => {}
                    }
                }
                let mut out = world.guest.output().to_vec();
                out.truncate(piece);
                if let Some(byte) = at.checked_sub(passed).and_then(|at| out.get_mut(at)) {
                    *byte = value;
                }
                let taken = world.host.push(&out);
                world.guest.sent(taken);
                passed += taken;
                let there = world.host.output().to_vec();
                let moved = world.guest.push(&there);
                world.host.sent(moved);
                Ok(taken == 0 && moved == 0)
            })();
            ended = !matches!(result, Ok(false));
        }
        prop_assert!(passed < 1 << 20);
    }
}
