//! Where sessions record: one in the top-level buffer, those beside it in instances.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trace_transport::Peer;

/// How long a new host waits for one that has all and is about to leave the top-level buffer.
const LEAVING: Duration = Duration::from_secs(30);

/// All places that there are, and who has them.
pub(super) struct Places {
    most: usize,
    taken: Mutex<Vec<Taken>>,
    freed: Condvar,
}

struct Taken {
    place: usize,
    peer: Peer,
    /// All was sent; it will be gone soon.
    is_leaving: bool,
}

/// The top-level buffer.
const TOP: usize = 0;

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), taken: Mutex::default(), freed: Condvar::new() }
    }

    /// The way of a session to its place.
    pub(super) fn turn(&self, peer: Peer) -> Turn<'_> {
        Turn { places: self, peer, place: None }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's way to its place, which it has until this is dropped.
pub(super) struct Turn<'a> {
    places: &'a Places,
    peer: Peer,
    place: Option<usize>,
}

/// Where a session records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// In the top-level buffer.
    Top,
    /// In an instance of this name.
    Instance(String),
}

impl Turn<'_> {
    /// Takes the top-level buffer, or an instance where that is taken. Who is about to leave is waited for.
    ///
    /// # Errors
    ///
    /// Who has all of them, in words.
    pub(super) fn take(&mut self) -> Result<Spot, String> {
        let leaves =
            |taken: &mut Vec<Taken>| taken.iter().any(|one| one.place == TOP && one.is_leaving);
        let waited = self.places.freed.wait_timeout_while(self.places.lock(), LEAVING, leaves);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_free = |place: &usize| taken.iter().all(|one| one.place != *place);
        let Some(place) = (TOP..self.places.most).find(is_free) else {
            let others: Vec<_> = taken.iter().map(|one| one.peer.to_string()).collect();
            let are = if others.len() == 1 { "another recording" } else { "other recordings" };
            return Err(format!("busy with {are}, for {}", others.join(", ")));
        };
        taken.push(Taken { place, peer: self.peer, is_leaving: false });
        self.place = Some(place);
        Ok(match place {
            TOP => Spot::Top,
            place => Spot::Instance(format!("agent-{}-{place}", std::process::id())),
        })
    }

    /// Says that the place is free soon.
    pub(super) fn is_leaving(&self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.iter_mut().find(|one| Some(one.place) == self.place) {
            own.is_leaving = true;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.places.lock().retain(|one| Some(one.place) != self.place);
        self.places.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u32) -> Peer {
        Peer::Vsock { cid: 2, port }
    }

    #[test]
    fn the_first_has_the_top_level_and_others_an_instance_each() {
        let places = Places::new(3);
        let (mut first, mut second, mut third) =
            (places.turn(peer(1)), places.turn(peer(2)), places.turn(peer(3)));
        assert_eq!(first.take(), Ok(Spot::Top));
        let own = std::process::id();
        assert_eq!(second.take(), Ok(Spot::Instance(format!("agent-{own}-1"))));
        assert_eq!(third.take(), Ok(Spot::Instance(format!("agent-{own}-2"))));
        let reason = places.turn(peer(4)).take().unwrap_err();
        assert!(
            reason.starts_with("busy with other recordings")
                && reason.contains(&peer(2).to_string())
        );
        drop(second);
        assert_eq!(places.turn(peer(5)).take(), Ok(Spot::Instance(format!("agent-{own}-1"))));
        drop(first);
        assert_eq!(places.turn(peer(6)).take(), Ok(Spot::Top));
    }

    #[test]
    fn who_is_about_to_leave_is_waited_for() {
        let places = Places::new(1);
        let mut first = places.turn(peer(1));
        assert_eq!(first.take(), Ok(Spot::Top));
        assert!(
            places.turn(peer(2)).take().unwrap_err().starts_with("busy with another recording")
        );
        first.is_leaving();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| places.turn(peer(3)).take());
            drop(first);
            assert_eq!(next.join().unwrap(), Ok(Spot::Top));
        });
    }
}
