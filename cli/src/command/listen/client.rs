//! One recorder that sends: its control connection, its streams, its file.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use thiserror::Error;
use trace_transport::session::{
    Instance, Protocol, Receiver, ReceiverConfig, ReceiverEvent, RefuseCode, SessionError, Start,
    Version,
};
use trace_transport::{Deadline, Peer, Stream};
use tracedat::write::{LiveBuffer, Recorded};

use super::budget::Budget;
use super::ports::{Ports, PortsError};
use super::server::Shared;
use super::sink::{Lane, RegionSink};
use super::stream::{DataStream, StreamError, Turn};
use crate::command::received::{ArrivingHead, ReceivedFile};
use crate::command::record::output::Output;
use crate::error::Error;

/// How long data that was sent may take to come, once the recorder has said that it sent all.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing may come of what was on its way when a recorder went away.
const LAST_PATIENCE: Duration = Duration::from_millis(200);

/// So often it is looked for more of it after that time: with a [turn](DataStream::turn) each, sockets hold no more. On a
/// busy machine the time may have passed before this thread has looked at all.
const LAST_TURNS: u32 = 8;

/// After so long without a word the head of version 1 may be complete, of which nothing tells the end.
const V1_QUIET: Duration = Duration::from_millis(100);

/// Bytes of the text that comes at the end.
const MAX_TAIL: usize = 128 << 20;

/// Why a recording ended before its end.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// It speaks otherwise than it should, or is gone.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Its data cannot be kept.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// No port can be had for its data.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// What it sent is no trace, or cannot be written.
    #[error("{0}")]
    File(Error),
    /// Its connection is broken.
    #[error("the connection is broken")]
    Control(#[source] io::Error),
    /// The data of a CPU broke off.
    #[error("the connection with the data of CPU {cpu} is broken")]
    Data {
        /// Whose.
        cpu: u32,
        #[source]
        source: io::Error,
    },
    /// A buffer that nobody counts with any more.
    #[error("a buffer was declared after the head")]
    LateInstance,
    /// Data that never came.
    #[error("data that was sent did not come")]
    Incomplete,
    /// It may not send.
    #[error("{0}")]
    Refused(String),
    /// This listener ends.
    #[error("the listener was stopped")]
    Stopped,
}

impl ClientError {
    /// Whether nothing more can be written.
    fn is_of_the_file(&self) -> bool {
        matches!(self, Self::Stream(StreamError::File(_)) | Self::File(_))
    }
}

/// What became of a recorder's data.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Where its file is, if there is one.
    pub(super) path: Option<std::path::PathBuf>,
    /// Bytes of sub-buffers in it.
    pub(super) bytes: u64,
    pub(super) lost_bytes: u64,
    pub(super) lost_datagrams: u64,
    /// Connections to its ports that others made.
    pub(super) strangers: u64,
    /// Whether all losses on the way are known.
    pub(super) is_accounted: bool,
    pub(super) error: Option<ClientError>,
}

/// A recorder while it sends.
pub(super) struct Client<'a> {
    shared: &'a Shared,
    peer: Peer,
    control: Stream,
    control_ended: bool,
    receiver: Receiver,
    ports: Ports,
    start: Option<Start>,
    buffers: Vec<LiveBuffer>,
    streams: Vec<DataStream>,
    output: Option<Output>,
    head: Option<ArrivingHead>,
    file: Option<ReceivedFile>,
    tail: Vec<u8>,
    lane: Lane,
    budget: Budget<'a>,
    /// Since when all is said.
    closing: Option<Instant>,
    /// When the head grew last.
    head_grew: Instant,
    /// Why it may not send.
    refusal: Option<(RefuseCode, String)>,
}

impl<'a> Client<'a> {
    /// Greets a recorder.
    pub(super) fn new(
        shared: &'a Shared,
        control: Stream,
        peer: Peer,
        config: ReceiverConfig,
        output: Output,
    ) -> Result<Self, ClientError> {
        let now = Instant::now();
        Ok(Self {
            shared,
            peer,
            ports: Ports::beside(&control, &shared.address)?,
            control,
            control_ended: false,
            receiver: Receiver::new(config, now),
            start: None,
            buffers: Vec::new(),
            streams: Vec::new(),
            output: Some(output),
            head: None,
            file: None,
            tail: Vec::new(),
            lane: Lane::new().map_err(ClientError::Control)?,
            budget: Budget::new(shared.limits.client_bytes, &shared.total),
            closing: None,
            head_grew: now,
            refusal: None,
        })
    }

    /// Takes all that it sends, until it ends or has to.
    pub(super) fn run(mut self) -> Outcome {
        let result = self.take_all();
        let error = result.err();
        if let Some(error) = &error {
            self.refuse(error);
            if !error.is_of_the_file() {
                self.take_last(matches!(error, ClientError::Stopped));
            }
        }
        self.finish(error)
    }

    /// Only tells it why it may not send.
    pub(super) fn send_away(mut self, code: RefuseCode, reason: &str) -> Outcome {
        self.refusal = Some((code, reason.to_owned()));
        self.run()
    }

    fn take_all(&mut self) -> Result<(), ClientError> {
        loop {
            let now = Instant::now();
            let mut is_late = false;
            self.send().map_err(ClientError::Control)?;
            if let Some(since) = self.closing {
                self.take_silent(now)?;
                if self.streams.iter().all(|stream| stream.is_over(now)) {
                    return Ok(());
                }
                let progress = self.streams.iter().map(DataStream::last).max();
                is_late = progress.map_or(since, |last| last.max(since)) + CLOSE_PATIENCE <= now;
            }
            self.complete_quiet_head(now)?;
            let ready = self.wait(now, is_late).map_err(ClientError::Control)?;
            if ready.stop {
                return Err(ClientError::Stopped);
            }
            if is_late && ready.streams.is_empty() {
                return Err(ClientError::Incomplete);
            }
            let now = Instant::now();
            if ready.control {
                self.read_control(now)?;
            }
            self.events(now)?;
            self.turns(&ready.streams, now)?;
            self.receiver.on_time(now)?;
        }
    }

    /// Silence counts for streams only where nothing waits: on a busy machine all that was sent may be there
    /// before this thread has looked for the first time.
    fn take_silent(&mut self, now: Instant) -> Result<(), ClientError> {
        let streams = self.streams.iter().enumerate();
        let silent: Vec<usize> =
            streams.filter(|(_, stream)| stream.is_silent(now)).map(|(number, _)| number).collect();
        self.turns(&silent, now)
    }

    /// Waits until something is to be done; who is late only looks.
    fn wait(&self, now: Instant, is_late: bool) -> io::Result<Ready> {
        let mut control = PollFlags::empty();
        if !self.control_ended {
            control |= PollFlags::POLLIN;
        }
        if !self.receiver.output().is_empty() {
            control |= PollFlags::POLLOUT;
        }
        let looks = self.closing.map(|_| self.streams.iter().filter_map(DataStream::next_look));
        let looks = looks.into_iter().flatten().chain(self.receiver.next_deadline());
        let quiet = self.waits_for_quiet().then(|| self.head_grew + V1_QUIET);
        let patience = if is_late { Duration::ZERO } else { CLOSE_PATIENCE };
        let patience = self.closing.map(|since| since.max(now) + patience);
        let until = looks.chain(quiet).chain(patience).min();
        let mut fds = vec![PollFd::new(self.shared.stop.as_fd(), PollFlags::POLLIN)];
        // Of a connection that has ended the end would be told again and again.
        if !control.is_empty() {
            fds.push(PollFd::new(self.control.as_fd(), control));
        }
        let before = fds.len();
        let mut numbers = Vec::new();
        for (number, stream) in self.streams.iter().enumerate() {
            for fd in stream.wants() {
                fds.push(PollFd::new(fd, PollFlags::POLLIN));
                numbers.push(number);
            }
        }
        poll_until(&mut fds, until)?;
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let streams = fds.iter().skip(before).zip(numbers);
        Ok(Ready {
            stop: fds.first().is_some_and(is_ready),
            control: before > 1 && fds.get(1).is_some_and(is_ready),
            streams: streams.filter(|(fd, _)| is_ready(fd)).map(|(_, number)| number).collect(),
        })
    }

    fn read_control(&mut self, now: Instant) -> Result<(), ClientError> {
        if self.control_ended {
            return Ok(());
        }
        loop {
            let space = self.receiver.space();
            if space.is_empty() {
                return Ok(());
            }
            match self.control.try_read(space) {
                Ok(Some(0)) => {
                    self.control_ended = true;
                    self.receiver.hung_up();
                    return Ok(());
                }
                Ok(Some(count)) => {
                    self.receiver.filled(count);
                    self.events(now)?;
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(ClientError::Control(error)),
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.receiver.output().is_empty() {
            match self.control.try_write(self.receiver.output()) {
                Ok(Some(count)) => self.receiver.sent(count),
                Ok(None) => break,
                // It may have said all that matters before it went.
                Err(_) if self.control_ended || self.closing.is_some() => {
                    self.receiver.sent(usize::MAX);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn events(&mut self, now: Instant) -> Result<(), ClientError> {
        while let Some(event) = self.receiver.next(now)? {
            match event {
                ReceiverEvent::Metadata(bytes) => {
                    let head = match (&mut self.head, self.output.take()) {
                        (Some(head), _) => head,
                        (None, Some(output)) => {
                            let head = ArrivingHead::new(output).map_err(ClientError::File)?;
                            self.head.insert(head)
                        }
                        // Version 1 goes on after what looked complete.
                        (None, None) => return Err(ClientError::LateInstance),
                    };
                    head.add(bytes).map_err(ClientError::File)?;
                    self.head_grew = now;
                }
                ReceiverEvent::Tail(bytes) => {
                    let room = MAX_TAIL.saturating_sub(self.tail.len());
                    self.tail.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                }
                ReceiverEvent::Start(start) => self.start(start, now)?,
                ReceiverEvent::Instance(instance) => self.instance(instance, now)?,
                ReceiverEvent::MetadataEnd => self.complete_head()?,
                ReceiverEvent::TailEnd => {}
                ReceiverEvent::DataEnd { stream, bytes } => {
                    if let Some(stream) = self.streams.get_mut(stream as usize) {
                        stream.ends_at(bytes, now);
                    }
                }
                ReceiverEvent::Close => {
                    self.complete_head()?;
                    for stream in &mut self.streams {
                        stream.all_was_sent(&self.peer, now);
                    }
                    self.closing = Some(now);
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, start: Start, now: Instant) -> Result<(), ClientError> {
        if let Some((_, reason)) = &self.refusal {
            return Err(ClientError::Refused(reason.clone()));
        }
        if start.protocol == Protocol::Udp {
            // The kernel holds what comes only for so long.
            let _ = tracefs::Priority::Nice(-20).apply();
        }
        self.shared.log.verbose(&format!(
            "{}: {} with {} CPUs, sub-buffers of {} bytes, over {}",
            self.peer,
            start.version,
            start.cpus,
            start.page_size,
            match start.protocol {
                Protocol::Udp => "UDP",
                Protocol::Tcp => "TCP",
                Protocol::Vsock => "vsock",
            }
        ));
        let buffer = LiveBuffer {
            name: String::new(),
            clock: String::new(),
            page_size: start.page_size,
            cpus: (0..start.cpus).collect(),
        };
        self.start = Some(start);
        self.open(buffer, now)
    }

    fn instance(&mut self, instance: Instance, now: Instant) -> Result<(), ClientError> {
        if self.output.is_none() && self.head.is_none() {
            return Err(ClientError::LateInstance);
        }
        let Instance { name, clock, cpus, page_size } = instance;
        self.open(LiveBuffer { name, clock, page_size, cpus }, now)
    }

    /// Opens a port for each CPU of a buffer.
    fn open(&mut self, buffer: LiveBuffer, now: Instant) -> Result<(), ClientError> {
        let Some(start) = &self.start else { return Ok(()) };
        let mut ports = Vec::with_capacity(buffer.cpus.len());
        for &cpu in &buffer.cpus {
            let number = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
            let mut stream = if start.protocol.for_page_size(buffer.page_size) == Protocol::Udp {
                let numbered = start.extensions.sequence;
                let (socket, port) = self.ports.datagrams(numbered)?;
                ports.push(port);
                DataStream::datagrams(number, cpu, buffer.page_size, socket, numbered, now)
            } else {
                let (listener, port) = self.ports.connection()?;
                ports.push(port);
                DataStream::connection(number, cpu, buffer.page_size, listener, now)
            };
            stream.expect_token(self.receiver.data_token(number));
            self.streams.push(stream);
        }
        self.buffers.push(buffer);
        self.receiver.ports(&ports, now)?;
        Ok(())
    }

    fn waits_for_quiet(&self) -> bool {
        let is_version_1 = self.start.as_ref().is_some_and(|start| start.version == Version::V1);
        is_version_1 && self.head.is_some()
    }

    /// In version 1 data flows before the end of the head is told: a pause in it is taken for one, if nothing more waits
    /// here and what came can be read.
    fn complete_quiet_head(&mut self, now: Instant) -> Result<(), ClientError> {
        let is_quiet = |client: &Self| {
            client.waits_for_quiet() && now.saturating_duration_since(client.head_grew) >= V1_QUIET
        };
        if !is_quiet(self) {
            return Ok(());
        }
        self.read_control(now)?;
        if is_quiet(self) {
            if self.head.as_ref().is_some_and(ArrivingHead::can_be_read) {
                self.complete_head()?;
            } else {
                self.head_grew = now;
            }
        }
        Ok(())
    }

    fn complete_head(&mut self) -> Result<(), ClientError> {
        let Some(head) = self.head.take() else {
            return match &self.file {
                Some(_) => Ok(()),
                None => Err(ClientError::File(Error::failure("no head of a trace came"))),
            };
        };
        let buffers = std::mem::take(&mut self.buffers);
        let pages: Vec<u32> = buffers
            .iter()
            .flat_map(|buffer| buffer.cpus.iter().map(|_| buffer.page_size))
            .collect();
        let complete = || {
            let file = head.complete(buffers)?;
            file.keep_room()?;
            Ok(file)
        };
        // Heads are large while they are read; one after the other is enough.
        let file = self.shared.one_at_a_time(complete).map_err(ClientError::File)?;
        for ((stream, region), page_size) in self.streams.iter_mut().zip(file.regions()).zip(pages)
        {
            let opened = file.opened().map_err(ClientError::File)?;
            let (codec, order) = (file.codec(), file.byte_order());
            stream.set_sink(RegionSink::new(opened, *region, codec, page_size, order));
        }
        file.publish().map_err(ClientError::File)?;
        self.file = Some(file);
        Ok(())
    }

    fn turns(&mut self, ready: &[usize], now: Instant) -> Result<(), ClientError> {
        let mut turn = Turn {
            control: &self.peer,
            lane: &mut self.lane,
            workshop: &self.shared.workshop,
            budget: &mut self.budget,
            now,
        };
        let mut taken = 0;
        for &number in ready {
            if let Some(stream) = self.streams.get_mut(number) {
                let before = stream.delivered();
                stream.turn(&mut turn)?;
                taken += stream.delivered() - before;
            }
        }
        self.shared.count(taken);
        Ok(())
    }

    /// Takes what is on its way, after a recorder has gone or was sent away: what it had sent before is still in
    /// buffers here, and is taken as long as it comes, unless this listener ends.
    fn take_last(&mut self, is_stopped: bool) {
        let start = Instant::now();
        let end = start + if is_stopped { LAST_PATIENCE } else { CLOSE_PATIENCE };
        let mut quiet = start + LAST_PATIENCE;
        let mut turns = 0;
        while self.file.is_some() && turns < LAST_TURNS {
            let mut fds = Vec::new();
            let mut numbers = Vec::new();
            for (number, stream) in self.streams.iter().enumerate() {
                for fd in stream.wants() {
                    fds.push(PollFd::new(fd, PollFlags::POLLIN));
                    numbers.push(number);
                }
            }
            if Instant::now() >= end {
                turns += 1;
            }
            if fds.is_empty() || poll_until(&mut fds, Some(quiet.min(end))).is_err() {
                return;
            }
            let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
            let ready = fds.iter().zip(numbers).filter(|(fd, _)| is_ready(fd));
            let ready: Vec<usize> = ready.map(|(_, number)| number).collect();
            let before = self.delivered();
            if ready.is_empty() || self.turns(&ready, Instant::now()).is_err() {
                return;
            }
            if self.delivered() > before {
                quiet = Instant::now() + LAST_PATIENCE;
            }
        }
    }

    fn delivered(&self) -> u64 {
        self.streams.iter().map(DataStream::delivered).sum()
    }

    /// Tells the recorder why, where it understands.
    fn refuse(&mut self, error: &ClientError) {
        let code = match error {
            // What it did wrong is answered already.
            ClientError::Session(_) | ClientError::Control(_) | ClientError::Data { .. } => return,
            ClientError::Stream(StreamError::Limit(_)) => RefuseCode::LIMIT,
            ClientError::Stream(StreamError::File(_)) | ClientError::File(_) => RefuseCode::STORAGE,
            ClientError::Stream(StreamError::Sequence { .. }) | ClientError::LateInstance => {
                RefuseCode::PROTOCOL
            }
            ClientError::Ports(_) | ClientError::Incomplete => RefuseCode::FAILED,
            ClientError::Refused(_) => {
                self.refusal.as_ref().map_or(RefuseCode::NOT_ALLOWED, |(code, _)| *code)
            }
            ClientError::Stopped => RefuseCode::STOPPED,
        };
        self.receiver.refuse(code, &one_line(error));
    }

    /// Completes the file with all that came, and tells the recorder what that is.
    fn finish(mut self, mut error: Option<ClientError>) -> Outcome {
        let workshop = &self.shared.workshop;
        let mut received = Vec::with_capacity(self.streams.len());
        for stream in &mut self.streams {
            let (told, result) = stream.finish(&mut self.budget, workshop);
            received.push(told);
            error = error.or(result.err().map(ClientError::from));
            let cpu = stream.cpu;
            error = error.or(stream.broken().map(|source| ClientError::Data { cpu, source }));
        }
        let mut outcome = Outcome {
            path: None,
            bytes: received.iter().map(|one| one.bytes).sum(),
            lost_bytes: received.iter().map(|one| one.lost_bytes).sum(),
            lost_datagrams: received.iter().map(|one| one.lost_datagrams).sum(),
            strangers: self.streams.iter().map(DataStream::strangers).sum(),
            is_accounted: self.streams.iter().all(DataStream::is_accounted),
            error: None,
        };
        if let Some(file) = self.file.take() {
            outcome.path = Some(file.output().path().to_owned());
            let recorded: Vec<Recorded> = self.streams.iter().map(DataStream::recorded).collect();
            let options = super::account::options(&self.streams, &received);
            let tail = std::mem::take(&mut self.tail);
            let close = || file.close(&tail, options, &recorded);
            if let Err(reason) = self.shared.one_at_a_time(close) {
                error = error.or(Some(ClientError::File(reason)));
            }
        } else if let Some(head) = self.head.take() {
            head.abandon();
        }
        match &error {
            None => {
                // It has said its last word already.
                let _ = self.receiver.finish(&received);
            }
            Some(error) => self.refuse(error),
        }
        let last = self.receiver.output();
        if !last.is_empty() {
            let _ = self.control.write_all(last, Deadline::after(Duration::from_secs(5)));
        }
        outcome.error = error;
        outcome
    }
}

/// What is ready.
struct Ready {
    stop: bool,
    control: bool,
    streams: Vec<usize>,
}

/// Polls until a time, or for ever.
fn poll_until(fds: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<()> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // Rounded up: what is due in less than a millisecond is not due yet.
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
        });
        match poll(fds, timeout) {
            Err(nix::Error::EINTR) => {}
            result => return Ok(result.map(|_| ())?),
        }
    }
}

/// An error and its causes in one line.
pub(super) fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
