//! The recorder in a thread of its own, so that setting tracing up never delays an answer to the host.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use nix::sys::eventfd::{EfdFlags, EventFd};
use trace_transport::message::MAX_DATA;
use trace_transport::{Deadline, Stream};

use super::{
    Backlog, ClientError, GuestRecorder, GuestRecording, ReadyRecording, RecordingEnd, Refusal,
};
use crate::time_sync::Clock;

/// How long a data port may be full before anything was recorded: nobody reads it at the host.
const MARK_TIME: Duration = Duration::from_secs(60);
/// Pieces of the head that are read ahead.
const AHEAD: usize = 8;

/// What the recorder shall do; each session has a number.
pub(crate) enum Job {
    Start {
        session: u64,
        args: Vec<String>,
        data: Vec<Stream>,
        mark: Vec<u8>,
    },
    /// All of it but to begin.
    Prepare {
        session: u64,
        args: Vec<String>,
        data: Vec<Stream>,
        mark: Vec<u8>,
    },
    /// Once it is ready; `clock` is read then.
    Begin {
        session: u64,
        clock: Option<Clock>,
    },
    Stop {
        session: u64,
    },
    Abort,
}

/// What the recorder did.
pub(crate) enum Report {
    Ready {
        sub_buffer_size: u32,
    },
    Started {
        sub_buffer_size: u32,
        backlog: Option<Backlog>,
        trace_id: u64,
        /// What the clock said then.
        time: Option<u64>,
    },
    Refused(Refusal),
    Head(Vec<u8>),
    HeadEnd,
    HeadFailed(String),
    Stopped(Result<RecordingEnd, String>),
    /// Nothing is recorded any more.
    Aborted,
}

#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Sender<Job>,
    reports: Receiver<(u64, Report)>,
    wake: Arc<EventFd>,
    /// The last session that is not wanted any more.
    cancelled: Arc<AtomicU64>,
    sessions: AtomicU64,
}

impl Worker {
    pub(crate) fn spawn(recorder: Box<dyn GuestRecorder>) -> Result<Self, ClientError> {
        const ACTION: &str = "starting the recorder's thread";
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_flags(flags)
            .map_err(|errno| ClientError::Io { action: ACTION, source: errno.into() })?;
        let wake = Arc::new(wake);
        let cancelled = Arc::new(AtomicU64::new(0));
        let (jobs, job_receiver) = unbounded();
        let (report_sender, reports) = bounded(AHEAD);
        let thread = Thread {
            recorder,
            jobs: job_receiver,
            reports: report_sender,
            wake: wake.clone(),
            cancelled: cancelled.clone(),
            stage: Stage::Idle,
        };
        thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || thread.run())
            .map_err(|source| ClientError::Io { action: ACTION, source })?;
        Ok(Self { jobs, reports, wake, cancelled, sessions: AtomicU64::new(0) })
    }

    pub(crate) fn send(&self, job: Job) -> Result<(), ClientError> {
        self.jobs.send(job).map_err(|_| ClientError::Recorder)
    }

    /// Ends a session as soon as possible; `Report::Aborted` follows.
    pub(crate) fn abort(&self, session: u64) -> Result<(), ClientError> {
        self.cancelled.store(session, Ordering::Release);
        self.send(Job::Abort)
    }

    pub(crate) fn next(&self) -> Result<Option<(u64, Report)>, ClientError> {
        match self.reports.try_recv() {
            Ok(report) => Ok(Some(report)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ClientError::Recorder),
        }
    }

    /// Waits for the next report.
    pub(crate) fn wait(&self, time: Duration) -> Option<(u64, Report)> {
        self.reports.recv_timeout(time).ok()
    }

    /// A number that no session had.
    pub(crate) fn new_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// To be called by who leaves reports for later: what woke for them is over.
    pub(crate) fn wake_again(&self) {
        let _ = self.wake.write(1);
    }

    /// To be called before looking for reports, so that none is missed.
    pub(crate) fn clear_wake(&self) {
        let _ = self.wake.read();
    }
}

impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

struct Thread {
    recorder: Box<dyn GuestRecorder>,
    jobs: Receiver<Job>,
    reports: Sender<(u64, Report)>,
    wake: Arc<EventFd>,
    cancelled: Arc<AtomicU64>,
    stage: Stage,
}

enum Stage {
    Idle,
    Ready(ReadyRecording),
    Running(Box<dyn GuestRecording>),
}

impl Stage {
    /// What there is, to be ended.
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Idle)
    }

    /// Puts everything back.
    fn abort(&mut self) {
        if let Self::Running(recording) = self.take() {
            recording.abort();
        }
    }
}

impl Thread {
    fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            match job {
                Job::Start { session, args, data, mark } => {
                    if self.prepare(session, &args, data, &mark).is_some() {
                        self.begin(session, None);
                    }
                }
                Job::Prepare { session, args, data, mark } => {
                    if let Some(sub_buffer_size) = self.prepare(session, &args, data, &mark) {
                        self.report(session, Report::Ready { sub_buffer_size });
                    }
                }
                Job::Begin { session, clock } => self.begin(session, clock),
                Job::Stop { session } => {
                    let result = match self.stage.take() {
                        Stage::Running(recording) => recording.stop(),
                        Stage::Ready(_) | Stage::Idle => Err("nothing is recorded".to_owned()),
                    };
                    self.report(session, Report::Stopped(result));
                }
                Job::Abort => {
                    self.stage.abort();
                    let session = self.cancelled.load(Ordering::Acquire);
                    self.report(session, Report::Aborted);
                }
            }
        }
        // The client is gone.
        self.stage.abort();
    }

    /// Bytes per sub-buffer, or nothing where it was refused.
    fn prepare(
        &mut self,
        session: u64,
        args: &[String],
        data: Vec<Stream>,
        mark: &[u8],
    ) -> Option<u32> {
        let marked = self.mark_streams(session, data, mark).map_err(Refusal::failed);
        match marked.and_then(|data| self.recorder.prepare(args, data)) {
            Ok(ready) => {
                let sub_buffer_size = ready.sub_buffer_size;
                self.stage = Stage::Ready(ready);
                Some(sub_buffer_size)
            }
            Err(refusal) => {
                self.report(session, Report::Refused(refusal));
                None
            }
        }
    }

    fn begin(&mut self, session: u64, clock: Option<Clock>) {
        // One that was aborted meanwhile is no more.
        let Stage::Ready(ReadyRecording { sub_buffer_size, begin }) = self.stage.take() else {
            return;
        };
        let begun = begin();
        let time = clock.and_then(Clock::now);
        let mut recording = match begun {
            Ok(recording) => recording,
            Err(refusal) => return self.report(session, Report::Refused(refusal)),
        };
        let (backlog, trace_id) = (recording.backlog(), recording.trace_id());
        self.report(session, Report::Started { sub_buffer_size, backlog, trace_id, time });
        let head = recording.head();
        self.stage = Stage::Running(recording);
        let sent = match head {
            Ok(head) => self.send_head(session, head),
            Err(reason) => Err(reason),
        };
        match sent {
            Ok(()) => self.report(session, Report::HeadEnd),
            Err(reason) => self.report(session, Report::HeadFailed(reason)),
        }
    }

    /// Writes the session's mark in front of the data, so that the host can tell what an earlier session left on the way.
    fn mark_streams(
        &self,
        session: u64,
        data: Vec<Stream>,
        mark: &[u8],
    ) -> Result<Vec<OwnedFd>, String> {
        let deadline = Deadline::after(MARK_TIME);
        let slice = Duration::from_millis(100);
        let mut marked = Vec::with_capacity(data.len());
        for mut stream in data {
            let mut rest = mark;
            while !rest.is_empty() {
                if self.is_cancelled(session) {
                    return Err("the host started over".to_owned());
                }
                match stream.try_write(rest) {
                    Ok(Some(count)) => rest = rest.get(count..).unwrap_or_default(),
                    Ok(None) if deadline.has_passed() => {
                        return Err(format!(
                            "data port {} is full: the host does not read it",
                            stream.peer()
                        ));
                    }
                    Ok(None) => {
                        let soon = deadline.min(Deadline::after(slice));
                        let waited = stream.wait(trace_transport::Interest::Write, soon);
                        waited
                            .map_err(|e| format!("waiting for data port {}: {e}", stream.peer()))?;
                    }
                    Err(e) => return Err(format!("writing to data port {}: {e}", stream.peer())),
                }
            }
            marked.push(stream.into_fd());
        }
        Ok(marked)
    }

    fn send_head(&self, session: u64, mut head: Box<dyn Read + Send>) -> Result<(), String> {
        loop {
            let mut piece = vec![0; MAX_DATA];
            let mut filled = 0;
            // Full messages, whatever the pieces the head is read in.
            while let Some(space) = piece.get_mut(filled..)
                && !space.is_empty()
            {
                match head.read(space) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(format!("reading the head: {e}")),
                }
            }
            if filled == 0 || self.is_cancelled(session) {
                return Ok(());
            }
            piece.truncate(filled);
            self.report(session, Report::Head(piece));
        }
    }

    fn is_cancelled(&self, session: u64) -> bool {
        self.cancelled.load(Ordering::Acquire) >= session
    }

    fn report(&self, session: u64, report: Report) {
        // Without a client nobody wants to know; the loop ends on its own.
        let _ = self.reports.send((session, report));
        let _ = self.wake.write(1);
    }
}
