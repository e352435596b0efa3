//! One CPU's data: from its FIFO to where it shall go, in a thread of its own.
//!
//! QEMU keeps the FIFO open, so there is no end of file: the session's mark tells where its data begins and the count
//! the guest sends at the end where it ends. A thread starts to read before the guest is asked to record, because
//! what an earlier session left may fill the way.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use trace_transport::splice::{Moved, Mover};
use trace_transport::{Deadline, Stream};

use crate::protocol::MARK_SIZE;

/// Bytes moved at once.
const STEP: usize = 1 << 20;
/// Bytes copied at once, where they do not go to a descriptor.
const COPY: usize = 256 << 10;
/// How long data may still come from a guest that did not say where it ends, however much that is.
const LAST_TIME: Duration = Duration::from_secs(10);

/// Where one CPU's sub-buffers go.
#[derive(Debug)]
pub struct Sink {
    /// A file (not opened for append), pipe or socket.
    pub to: OwnedFd,
    /// Where in the file to start; `None`: at the descriptor's own position.
    pub offset: Option<u64>,
}

/// The same, or what takes bytes in memory, such as one that compresses them.
pub(super) enum Target {
    Descriptor(Sink),
    Writer(Box<dyn Write + Send>),
}

/// What one CPU's stream brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuReport {
    /// Bytes in the sink.
    pub bytes: u64,
    /// Bytes that came but were not kept (quota, failing sink).
    pub discarded: u64,
    /// Bytes the guest says it sent that never came.
    pub missing: u64,
    /// Bytes that came beyond what the guest says it sent; they are among `bytes`.
    pub excess: u64,
}

/// Numbers shared by all CPUs of a session.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Bytes in sinks so far.
    pub(super) kept: AtomicU64,
    /// Bytes that may be kept.
    pub(super) quota: AtomicU64,
    /// Bytes that came and were not kept.
    pub(super) lost: AtomicU64,
}

impl Totals {
    pub(super) fn with_quota(quota: u64) -> Self {
        Self { quota: AtomicU64::new(quota), ..Self::default() }
    }

    /// Takes up to `wanted` bytes from what may still be kept, leaving most of it to other CPUs.
    fn reserve(&self, wanted: u64) -> u64 {
        let mut quota = self.quota.load(Ordering::Relaxed);
        loop {
            let share = wanted.min((quota / 8).max(4096)).min(quota);
            let (left, order) = (quota - share, Ordering::Relaxed);
            match self.quota.compare_exchange_weak(quota, left, order, order) {
                Ok(_) => return share,
                Err(now) => quota = now,
            }
        }
    }

    fn give_back(&self, unused: u64) {
        self.quota.fetch_add(unused, Ordering::Relaxed);
    }
}

enum Order {
    Target(Target),
    /// The stream is complete at this count; give up when nothing comes for so long.
    EndAt(u64, Duration),
    /// Nobody knows where it ends: what comes within this time, and no more.
    EndWhenQuiet(Duration),
}

#[derive(Debug)]
pub(super) struct Collector {
    orders: Sender<Order>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<(CpuReport, Option<io::Error>)>>,
}

impl Collector {
    pub(super) fn spawn(
        cpu: u32,
        fifo: Stream,
        mark: Option<[u8; MARK_SIZE]>,
        totals: Arc<Totals>,
    ) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (orders, received) = unbounded();
        let discard = OpenOptions::new().write(true).open("/dev/null")?;
        let thread = Thread {
            fifo,
            mark,
            totals,
            orders: received,
            wake: wake.clone(),
            target: None,
            copied: Vec::new(),
            discard: discard.into(),
            end: None,
            deadline: Deadline::NEVER,
            last: Deadline::NEVER,
            patience: Duration::ZERO,
            report: CpuReport::default(),
            error: None,
            mover: Mover::new(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("guest cpu{cpu}"))
            .spawn(move || thread.run())?;
        Ok(Self { orders, wake, thread: Some(thread) })
    }

    pub(super) fn set_target(&self, target: Target) {
        self.order(Order::Target(target));
    }

    pub(super) fn end_at(&self, bytes: u64, patience: Duration) {
        self.order(Order::EndAt(bytes, patience));
    }

    pub(super) fn end_when_quiet(&self, patience: Duration) {
        self.order(Order::EndWhenQuiet(patience));
    }

    /// Waits for the end that was ordered.
    pub(super) fn finish(mut self) -> (CpuReport, Option<io::Error>) {
        let joined = self.thread.take().map(JoinHandle::join);
        match joined {
            Some(Ok(result)) => result,
            _ => (
                CpuReport::default(),
                Some(io::Error::other("the collecting thread ended by itself")),
            ),
        }
    }

    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
        let _ = self.wake.write(1);
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.order(Order::EndWhenQuiet(Duration::ZERO));
            let _ = thread.join();
        }
    }
}

struct Thread {
    fifo: Stream,
    mark: Option<[u8; MARK_SIZE]>,
    totals: Arc<Totals>,
    orders: Receiver<Order>,
    wake: Arc<EventFd>,
    target: Option<Target>,
    /// Room for what is copied.
    copied: Vec<u8>,
    discard: OwnedFd,
    /// Bytes in the whole stream, once they are known.
    end: Option<u64>,
    deadline: Deadline,
    /// No progress moves the deadline beyond this.
    last: Deadline,
    patience: Duration,
    report: CpuReport,
    error: Option<io::Error>,
    mover: Mover,
}

enum Woken {
    /// There may be something to do.
    Data,
    TimedOut,
}

impl Thread {
    fn run(mut self) -> (CpuReport, Option<io::Error>) {
        if let Err(error) = self.collect() {
            self.error.get_or_insert(error);
        }
        let came = self.report.bytes + self.report.discarded;
        if let Some(end) = self.end {
            self.report.missing = end.saturating_sub(came);
            self.report.excess = came.saturating_sub(end);
        }
        (self.report, self.error)
    }

    fn collect(&mut self) -> io::Result<()> {
        let Some(first) = self.find_mark()? else { return Ok(()) };
        // The guest records already; what comes before there is a sink waits in the FIFO.
        while self.target.is_none() {
            if matches!(self.wait(false)?, Woken::TimedOut) {
                break;
            }
        }
        self.keep_bytes(&first);
        while self.end.is_none_or(|end| self.came() < end) {
            // Silence alone ends it earlier, and is looked for where nothing waits.
            if self.last.has_passed() {
                return Ok(());
            }
            match self.step() {
                Ok(Moved::Bytes(_)) => {
                    self.take_orders();
                    self.note_progress();
                }
                Ok(Moved::End) => return Ok(()),
                Ok(Moved::SourceEmpty) => {
                    if matches!(self.wait(true)?, Woken::TimedOut) {
                        return Ok(());
                    }
                }
                Ok(Moved::TargetFull) => {
                    if matches!(self.wait_for_sink()?, Woken::TimedOut) {
                        return Ok(());
                    }
                }
                Err(error) => self.lose_sink(error)?,
            }
        }
        Ok(())
    }

    /// Skips what an earlier session left; returns what came right behind the mark.
    fn find_mark(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(mark) = self.mark else { return Ok(Some(Vec::new())) };
        let mut window = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.fifo.try_read(&mut buffer)? {
                Some(0) => return Ok(None),
                Some(count) => {
                    window.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    if let Some(at) = window.windows(MARK_SIZE).position(|here| here == mark) {
                        return Ok(window.get(at + MARK_SIZE..).map(<[u8]>::to_vec));
                    }
                    // The mark may be cut by the border of what was read.
                    let keep = window.len().saturating_sub(MARK_SIZE - 1);
                    window.drain(..keep);
                }
                None => {
                    if matches!(self.wait(true)?, Woken::TimedOut) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits for data (if wanted) or an order.
    fn wait(&mut self, data: bool) -> io::Result<Woken> {
        let events = if data { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.fifo.as_fd(), events),
        ];
        let waited = if data { &mut fds[..] } else { &mut fds[..1] };
        match poll(waited, self.deadline.poll_timeout()) {
            Ok(0) => return Ok(Woken::TimedOut),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.take_orders();
        Ok(Woken::Data)
    }

    fn take_orders(&mut self) {
        let _ = self.wake.read();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Target(target) => self.target = Some(target),
                Order::EndAt(end, patience) => {
                    self.end = Some(end);
                    self.patience = patience;
                    self.note_progress();
                }
                Order::EndWhenQuiet(patience) => {
                    self.patience = patience;
                    self.deadline = Deadline::after(patience);
                    self.last = Deadline::after(LAST_TIME);
                }
            }
        }
    }

    /// A stream that is to end may be slow, but not silent.
    fn note_progress(&mut self) {
        if self.deadline != Deadline::NEVER || self.end.is_some() {
            self.deadline = Deadline::after(self.patience).min(self.last);
        }
    }

    fn came(&self) -> u64 {
        self.report.bytes + self.report.discarded
    }

    fn step(&mut self) -> io::Result<Moved> {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.came()));
        let limit = usize::try_from(left).unwrap_or(STEP).min(STEP);
        let granted = if self.target.is_some() { self.totals.reserve(limit as u64) } else { 0 };
        if granted == 0 {
            // For good: what is kept has no holes.
            self.target = None;
        }
        let allowed = usize::try_from(granted).unwrap_or(limit);
        let moved = match &mut self.target {
            None => {
                let moved = self.mover.step(&self.fifo, &self.discard, None, limit)?;
                if let Moved::Bytes(count) = moved {
                    self.discard_count(count as u64);
                }
                return Ok(moved);
            }
            Some(Target::Descriptor(sink)) => {
                self.mover.step(&self.fifo, &sink.to, sink.offset.as_mut(), allowed)
            }
            Some(Target::Writer(_)) => self.copy(allowed),
        };
        let kept = if let Ok(Moved::Bytes(count)) = moved { count as u64 } else { 0 };
        self.keep_count(kept);
        self.totals.give_back(granted - kept.min(granted));
        moved
    }

    /// Reads once and writes that.
    fn copy(&mut self, limit: usize) -> io::Result<Moved> {
        self.copied.resize(limit.min(COPY), 0);
        let count = match self.fifo.try_read(&mut self.copied)? {
            None => return Ok(Moved::SourceEmpty),
            Some(0) => return Ok(Moved::End),
            Some(count) => count,
        };
        if let Some(Target::Writer(writer)) = &mut self.target {
            let bytes = self.copied.get(..count).unwrap_or_default();
            writer.write_all(bytes).inspect_err(|_| self.report.discarded += count as u64)?;
        }
        Ok(Moved::Bytes(count))
    }

    fn keep_count(&mut self, count: u64) {
        self.report.bytes += count;
        self.totals.kept.fetch_add(count, Ordering::Relaxed);
    }

    fn discard_count(&mut self, count: u64) {
        self.report.discarded += count;
        self.totals.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Bytes that were read together with the mark.
    fn keep_bytes(&mut self, all: &[u8]) {
        let wanted = if self.target.is_some() { all.len() as u64 } else { 0 };
        let mut granted = 0;
        while granted < wanted {
            match self.totals.reserve(wanted - granted) {
                0 => break,
                more => granted += more,
            }
        }
        let granted = usize::try_from(granted).unwrap_or(0);
        let (mut bytes, beyond) = all.split_at_checked(granted).unwrap_or((&[], all));
        while !bytes.is_empty()
            && let Some(target) = &mut self.target
        {
            match target.write(bytes) {
                Ok(0) => self.fail_target(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.keep_count(count as u64);
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !matches!(self.wait_for_sink(), Ok(Woken::Data)) {
                        break;
                    }
                }
                Err(error) => self.fail_target(error),
            }
        }
        self.totals.give_back(bytes.len() as u64);
        if !beyond.is_empty() {
            self.target = None;
        }
        self.discard_count((bytes.len() + beyond.len()) as u64);
    }

    fn fail_target(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
        self.target = None;
    }

    fn wait_for_sink(&mut self) -> io::Result<Woken> {
        let Some(Target::Descriptor(sink)) = &self.target else { return Ok(Woken::Data) };
        let mut fds = [
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(sink.to.as_fd(), PollFlags::POLLOUT),
        ];
        match poll(&mut fds, self.deadline.poll_timeout()) {
            Ok(0) => return Ok(Woken::TimedOut),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.take_orders();
        Ok(Woken::Data)
    }

    /// The sink takes no more: go on reading, so that the guest does not stall, and count what is lost.
    fn lose_sink(&mut self, error: io::Error) -> io::Result<()> {
        if error.kind() == io::ErrorKind::Interrupted {
            return Ok(());
        }
        if self.target.take().is_none() {
            return Err(error);
        }
        self.report.discarded += self.mover.pending() as u64;
        self.mover = Mover::new();
        self.error.get_or_insert(error);
        Ok(())
    }
}

impl Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sink = match self {
            Self::Writer(writer) => return writer.write(bytes),
            Self::Descriptor(sink) => sink,
        };
        let count = match &mut sink.offset {
            Some(at) => {
                let raw = i64::try_from(*at).map_err(|_| io::ErrorKind::FileTooLarge)?;
                let count = nix::sys::uio::pwrite(&sink.to, bytes, raw)?;
                *at += count as u64;
                count
            }
            None => nix::unistd::write(&sink.to, bytes)?,
        };
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Mutex;

    use super::*;

    const MARK: [u8; MARK_SIZE] = *b"0123456789abcdef";
    const PATIENCE: Duration = Duration::from_millis(200);

    fn start(quota: u64) -> (Collector, File, Arc<Totals>) {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let totals = Arc::new(Totals::with_quota(quota));
        let stream = Stream::new(read, "fifo").unwrap();
        (Collector::spawn(0, stream, Some(MARK), totals.clone()).unwrap(), write.into(), totals)
    }

    fn sink() -> (Sink, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        (Sink { to: file.reopen().unwrap().into(), offset: Some(4096) }, file)
    }

    #[test]
    fn stale_bytes_are_skipped_and_the_count_ends_the_stream() {
        let (collector, mut guest, totals) = start(u64::MAX);
        guest.write_all(&vec![0xee; 50_000]).unwrap();
        guest.write_all(&MARK[..7]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        guest.write_all(&MARK[7..]).unwrap();
        guest.write_all(b"early").unwrap();
        let (sink, file) = sink();
        collector.set_target(Target::Descriptor(sink));
        guest.write_all(&vec![1; 200_000]).unwrap();
        collector.end_at(200_005, PATIENCE);
        let (report, error) = collector.finish();
        assert!(error.is_none(), "{error:?}");
        assert_eq!(report, CpuReport { bytes: 200_005, ..Default::default() });
        assert_eq!(totals.kept.load(Ordering::Relaxed), 200_005);
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(bytes.len(), 4096 + 200_005);
        assert_eq!(&bytes[4096..4101], b"early");
        assert!(bytes[4101..].iter().all(|&b| b == 1));
    }

    #[test]
    fn a_guest_that_claims_more_than_it_sent_is_not_waited_for_long() {
        let (collector, mut guest, _) = start(u64::MAX);
        guest.write_all(&MARK).unwrap();
        guest.write_all(b"four").unwrap();
        collector.set_target(Target::Descriptor(sink().0));
        collector.end_at(u64::MAX, PATIENCE);
        let (report, _) = collector.finish();
        assert_eq!((report.bytes, report.missing), (4, u64::MAX - 4));
        drop(guest);
    }

    #[test]
    fn a_guest_that_claims_less_than_it_sent_is_found_out() {
        let (collector, mut guest, totals) = start(u64::MAX);
        guest.write_all(&MARK).unwrap();
        collector.set_target(Target::Descriptor(sink().0));
        guest.write_all(&[0; 4096]).unwrap();
        while totals.kept.load(Ordering::Relaxed) < 4096 {
            std::thread::yield_now();
        }
        collector.end_at(1000, PATIENCE);
        let (report, _) = collector.finish();
        assert_eq!((report.bytes, report.excess), (4096, 3096));
    }

    #[test]
    fn what_is_beyond_the_quota_is_counted_and_does_not_stall_the_guest() {
        let (collector, mut guest, _) = start(10_000);
        guest.write_all(&MARK).unwrap();
        let (sink, file) = sink();
        collector.set_target(Target::Descriptor(sink));
        for _ in 0..100 {
            guest.write_all(&[7; 10_000]).unwrap();
        }
        collector.end_at(1_000_000, PATIENCE);
        let (report, error) = collector.finish();
        assert!(error.is_none());
        assert_eq!(report.bytes + report.discarded, 1_000_000);
        assert_eq!(report.bytes, 10_000);
        assert_eq!(file.path().metadata().unwrap().len(), 4096 + 10_000);
    }

    #[test]
    fn a_sink_that_fails_loses_data_and_not_the_guest() {
        let (collector, mut guest, _) = start(u64::MAX);
        guest.write_all(&MARK).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        collector.set_target(Target::Descriptor(Sink { to: full.into(), offset: None }));
        for _ in 0..100 {
            guest.write_all(&[7; 10_000]).unwrap();
        }
        collector.end_at(1_000_000, PATIENCE);
        let (report, error) = collector.finish();
        assert_eq!(error.unwrap().kind(), io::ErrorKind::StorageFull);
        assert_eq!((report.bytes, report.bytes + report.discarded), (0, 1_000_000));
    }

    /// Takes so many bytes, then fails.
    struct Shelf {
        taken: Arc<Mutex<Vec<u8>>>,
        room: usize,
    }

    impl Write for Shelf {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut taken = self.taken.lock().unwrap();
            if taken.len() + bytes.len() > self.room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_writer_gets_what_a_descriptor_would() {
        let (collector, mut guest, _) = start(u64::MAX);
        guest.write_all(&MARK).unwrap();
        guest.write_all(b"early").unwrap();
        let taken = Arc::default();
        let shelf = Shelf { taken: Arc::clone(&taken), room: usize::MAX };
        collector.set_target(Target::Writer(Box::new(shelf)));
        guest.write_all(&vec![1; 600_000]).unwrap();
        collector.end_at(600_005, PATIENCE);
        let (report, error) = collector.finish();
        assert!(error.is_none(), "{error:?}");
        assert_eq!(report, CpuReport { bytes: 600_005, ..Default::default() });
        let taken = taken.lock().unwrap();
        assert!(taken.starts_with(b"early") && taken[5..] == vec![1; 600_000]);
    }

    #[test]
    fn a_writer_that_fails_loses_data_and_not_the_guest() {
        let (collector, mut guest, _) = start(u64::MAX);
        guest.write_all(&MARK).unwrap();
        let taken = Arc::default();
        let shelf = Shelf { taken: Arc::clone(&taken), room: 100_000 };
        collector.set_target(Target::Writer(Box::new(shelf)));
        for _ in 0..100 {
            guest.write_all(&[7; 10_000]).unwrap();
        }
        collector.end_at(1_000_000, PATIENCE);
        let (report, error) = collector.finish();
        assert_eq!(error.unwrap().kind(), io::ErrorKind::StorageFull);
        assert_eq!(report.bytes, taken.lock().unwrap().len() as u64);
        assert_eq!((report.bytes + report.discarded, report.missing), (1_000_000, 0));
    }

    #[test]
    fn without_an_end_what_is_on_its_way_is_taken_and_no_more() {
        let (collector, mut guest, _) = start(u64::MAX);
        guest.write_all(&MARK).unwrap();
        let (sink, file) = sink();
        collector.set_target(Target::Descriptor(sink));
        guest.write_all(&[7; 50_000]).unwrap();
        collector.end_when_quiet(PATIENCE);
        let (report, _) = collector.finish();
        assert_eq!(report, CpuReport { bytes: 50_000, ..Default::default() });
        assert_eq!(file.path().metadata().unwrap().len(), 4096 + 50_000);
    }

    #[test]
    fn dropping_a_collector_ends_its_thread() {
        let (collector, _guest, _) = start(u64::MAX);
        drop(collector);
    }
}
