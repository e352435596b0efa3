//! The way of sub-buffers from the recorder's threads to the one that takes their records.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracefs::Sink;
use tracefs::recorder::Follower;

use crate::command::record::local::SinkRequest;

/// Bytes that may be on their way. When more are, the recorder waits, and what the ring buffers cannot hold is lost,
/// and told to be.
const MAX_BYTES: usize = 32 << 20;

/// What comes of one CPU.
pub(super) struct News {
    /// Its place: instances in their order, and in each the CPUs.
    pub(super) place: usize,
    /// Sub-buffers; `None` when there are no more for now.
    pub(super) sub_buffers: Option<Box<[u8]>>,
}

/// The end of one CPU's thread.
struct Sender {
    place: usize,
    news: SyncSender<News>,
}

impl Follower for Sender {
    fn take(&mut self, sub_buffers: &[u8]) -> io::Result<()> {
        self.send(Some(sub_buffers.into()))
    }

    fn caught_up(&mut self) -> io::Result<()> {
        self.send(None)
    }
}

impl Sender {
    fn send(&self, sub_buffers: Option<Box<[u8]>>) -> io::Result<()> {
        let news = News { place: self.place, sub_buffers };
        self.news.send(news).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Sinks for all CPUs of all instances, and where their sub-buffers come out.
pub(super) fn open(requests: &[SinkRequest]) -> (Vec<Vec<Sink>>, Receiver<News>) {
    let largest = requests.iter().map(|request| request.sub_buffer_size).max();
    let (news, receiver) = sync_channel((MAX_BYTES / largest.unwrap_or(4096).max(1)).max(16));
    let mut place = 0;
    let sinks = requests.iter().map(|request| {
        let of_cpu = |_: &u32| {
            let sender = Sender { place, news: news.clone() };
            place += 1;
            Sink::Follower(Box::new(sender))
        };
        request.cpus.iter().map(of_cpu).collect()
    });
    (sinks.collect(), receiver)
}
