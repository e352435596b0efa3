//! The way of sub-buffers from the threads of all CPUs, of this machine and of guests, to the one that takes their
//! records.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracefs::recorder::Follower;

/// Bytes that may be on their way. When more are, recorders wait, and what the ring buffers cannot hold is lost,
/// and told to be.
const MAX_BYTES: usize = 32 << 20;

/// What comes of one CPU.
#[derive(Debug)]
pub(super) struct News {
    /// The number of its sender.
    pub(super) place: usize,
    /// When it was sent.
    pub(super) at: Instant,
    /// Sub-buffers; `None` when there are no more for now.
    pub(super) sub_buffers: Option<Box<[u8]>>,
}

/// What it counts for.
fn size(sub_buffers: Option<&[u8]>) -> usize {
    size_of::<News>() + sub_buffers.map_or(0, <[u8]>::len)
}

/// Makes the ends of CPUs' threads.
#[derive(Clone)]
pub(super) struct Channel {
    news: mpsc::Sender<News>,
    room: Arc<Room>,
    places: Arc<AtomicUsize>,
}

/// The end of one CPU's thread.
pub(super) struct Sender {
    place: usize,
    news: mpsc::Sender<News>,
    room: Arc<Room>,
}

/// Where all comes out. Once it is dropped, nobody waits for room any more.
pub(super) struct Arrivals {
    news: Receiver<News>,
    room: Arc<Room>,
}

/// A channel that nobody uses yet.
pub(super) fn open() -> (Channel, Arrivals) {
    let (news, receiver) = mpsc::channel();
    let room = Arc::new(Room::default());
    let channel = Channel { news, room: Arc::clone(&room), places: Arc::default() };
    (channel, Arrivals { news: receiver, room })
}

impl Channel {
    /// One for another CPU.
    pub(super) fn sender(&self) -> Sender {
        let place = self.places.fetch_add(1, Ordering::Relaxed);
        Sender { place, news: self.news.clone(), room: Arc::clone(&self.room) }
    }
}

impl Sender {
    /// Its number: 0 of the first, 1 of the next.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Sends sub-buffers, or the word that there are no more.
    ///
    /// # Errors
    /// Nobody takes them any more.
    pub(super) fn send(&self, sub_buffers: Option<Box<[u8]>>) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        if !self.room.take(size(sub_buffers.as_deref())) {
            return Err(gone());
        }
        let news = News { place: self.place, at: Instant::now(), sub_buffers };
        self.news.send(news).map_err(|_| gone())
    }
}

impl Follower for Sender {
    fn take(&mut self, sub_buffers: &[u8]) -> io::Result<()> {
        self.send(Some(sub_buffers.into()))
    }

    fn caught_up(&mut self) -> io::Result<()> {
        self.send(None)
    }
}

impl Arrivals {
    /// Waits for the next; [`RecvTimeoutError::Disconnected`] once there is no sender any more.
    pub(super) fn wait(&self, limit: Duration) -> Result<News, RecvTimeoutError> {
        self.news
            .recv_timeout(limit)
            .inspect(|news| self.room.give(size(news.sub_buffers.as_deref())))
    }

    /// Those that are here, up to so many.
    pub(super) fn here(&self, most: usize) -> impl Iterator<Item = News> {
        self.news
            .try_iter()
            .take(most)
            .inspect(|news| self.room.give(size(news.sub_buffers.as_deref())))
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.room.close();
    }
}

/// Room for what is on its way. Who waits longest for it gets it first, so that no CPU falls behind the others.
#[derive(Default)]
struct Room {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    used: usize,
    /// How many have come for room, and how many of them got it.
    came: u64,
    served: u64,
    is_closed: bool,
}

impl Room {
    /// Waits for some; false when it is of no use.
    fn take(&self, size: usize) -> bool {
        let mut state = self.state();
        let turn = state.came;
        state.came += 1;
        let waits = |state: &mut State| {
            (state.served != turn || state.used >= MAX_BYTES) && !state.is_closed
        };
        let state = self.changed.wait_while(state, waits);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.used += size;
        state.served += 1;
        if state.served != state.came {
            self.changed.notify_all();
        }
        !state.is_closed
    }

    fn give(&self, size: usize) {
        let mut state = self.state();
        let was_full = state.used >= MAX_BYTES;
        state.used = state.used.saturating_sub(size);
        if was_full {
            self.changed.notify_all();
        }
    }

    fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers are as good after a panic as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_waits_for_room_gets_it_or_hears_that_nobody_takes_more() {
        let (channel, arrivals) = open();
        let (first, second) = (channel.sender(), channel.sender());
        drop(channel);
        assert_eq!((first.place(), second.place()), (0, 1));
        first.send(Some(vec![1; MAX_BYTES].into())).unwrap();
        let waiting = thread::spawn(move || second.send(None).map(|()| second));
        thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished());
        assert_eq!(arrivals.wait(Duration::MAX).unwrap().place, 0);
        let second = waiting.join().unwrap().unwrap();
        assert_eq!(arrivals.wait(Duration::from_secs(60)).unwrap().place, 1);
        first.send(Some(vec![1; MAX_BYTES].into())).unwrap();
        let waiting = thread::spawn(move || second.send(None));
        thread::sleep(Duration::from_millis(30));
        drop(arrivals);
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
