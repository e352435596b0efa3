//! The client in the guest: waits for the host and records when it is asked to.
//!
//! ```text
//!  host tool                          client                       recorder
//!   ├ TRACE_REQ(args, exec, mark) ────►│ policy; opens data ports
//!   │                                  ├ mark on each data port
//!   │                                  ├ prepare(args, data ports) ►│ sets tracing up
//!   │◄──────────── TRACE_RESP ─────────┤◄───────────────────────────┤
//!   ├ CONT ───────────────────────────►├ begin ────────────────────►│ records
//!   │◄──────────── BEGUN(time) ────────┤◄───────────────────────────┤
//!   │◄──────────── SEND_DATA … FIN_DATA┤◄── head ───────────────────┤
//!   ├ EXEC ───────────────────────────►│ runs the command
//!   │◄──────────── OUTPUT …, EXEC_EXIT ┤
//!   ├ CLOSE ──────────────────────────►├ stop ─────────────────────►│ flushes, puts all back
//!   │◄──────────── DATA_END per CPU ───┤◄── bytes, tail ────────────┤
//!   │◄──────────── TAIL …, CLOSE_RESP ─┤
//!   ├ TIME_SYNC ──────────────────────►│
//!   │◄──────────── TIME_SYNC ──────────┤ at any time, before all else
//! ```
//!
//! A host that does not ask for it (HOLD) knows no CONT: the guest then begins once it is ready, and TRACE_RESP says so.
//!
//! A HELLO request of the server ends whatever goes on: the recording is aborted and everything put back. So does a host
//! that goes away. What is refused is answered with REFUSE and the reason.

mod brake;
pub(crate) mod exec;
mod policy;
pub(crate) mod request;
mod serve;
mod wishing;
pub(crate) mod worker;

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use trace_transport::Stream;
use trace_transport::virtio_serial::{self, PortDirs};

use crate::setup::CONTROL_PORT;
use crate::wish::Wish;
use serve::{End, Serving};
use wishing::Wishing;
use worker::Worker;

pub use policy::{ExecPolicy, ExecUser, ExecUserError, Refusal};

/// What records in the guest.
pub trait GuestRecorder: Send {
    /// Checks the `record` arguments and does all that comes before tracing is turned on, so that each CPU's sub-buffers
    /// can go into `data[cpu]`; or says why not, in a text for the person at the host. On refusal nothing is left changed.
    ///
    /// The descriptors are non-blocking: where one is full, wait with `poll`, and be ready to be stopped meanwhile.
    ///
    /// # Errors
    ///
    /// Why it is not recorded: what this guest does not allow, or what cannot be done.
    fn prepare(&mut self, args: &[String], data: Vec<OwnedFd>) -> Result<ReadyRecording, Refusal>;
}

/// A recording that only waits to begin. Dropping it must put everything back.
pub struct ReadyRecording {
    sub_buffer_size: u32,
    begin: Box<Begin>,
}

type Begin = dyn FnOnce() -> Result<Box<dyn GuestRecording>, Refusal> + Send;

impl ReadyRecording {
    /// `begin` turns tracing on, in as little time as can be; where it cannot, it leaves nothing changed. A sub-buffer
    /// on the data ports has `sub_buffer_size` bytes.
    #[must_use]
    pub fn new(
        sub_buffer_size: u32,
        begin: impl FnOnce() -> Result<Box<dyn GuestRecording>, Refusal> + Send + 'static,
    ) -> Self {
        Self { sub_buffer_size, begin: Box::new(begin) }
    }
}

/// A running recording in the guest. Dropping it without [`stop`](Self::stop) must stop tracing and put everything back, too.
pub trait GuestRecording: Send {
    /// The number in the head by which other files refer to this one.
    fn trace_id(&self) -> u64;

    /// What the host's file needs before the CPU data; sent while the recording already runs.
    ///
    /// # Errors
    ///
    /// Why it cannot be had; the host ends the session.
    fn head(&mut self) -> Result<Box<dyn Read + Send>, String>;

    /// How full its ring buffers are, where the host's command shall wait before they overflow. Asked often.
    fn backlog(&self) -> Option<Backlog> {
        None
    }

    /// Stops tracing, flushes, puts everything back and closes the data ports. All data has been written to them when
    /// this returns.
    ///
    /// # Errors
    ///
    /// What could not be saved.
    fn stop(self: Box<Self>) -> Result<RecordingEnd, String>;

    /// The host is gone and nobody drains the ports: stops at once, loses what is left, puts everything back and closes
    /// the data ports.
    fn abort(self: Box<Self>);
}

/// Tells how full the fullest of some ring buffers is, in percent.
pub type Backlog = Box<dyn Fn() -> u8 + Send>;

/// How a recording in the guest ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordingEnd {
    /// Bytes written to each CPU's port.
    pub bytes: Vec<u64>,
    /// What the host's file needs after the CPU data (statistics, command lines …), opaque here.
    pub tail: Vec<u8>,
}

/// How the client runs.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// Commands the host may run.
    pub exec: ExecPolicy,
    /// Whom they run as; as the client unless given.
    pub exec_user: Option<ExecUser>,
    /// Version text shown to the host.
    pub version: String,
    /// Where ports are found.
    pub ports: PortDirs,
}

/// A recording that somebody in the guest wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnRecording {
    /// What the host is told.
    pub wish: Wish,
    /// The command whose end is that of the recording; without words, it goes on until it is stopped.
    pub command: Vec<String>,
}

/// Something worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// No server on the host; waiting for one.
    Waiting,
    /// The host's server asked who is here, and was answered.
    Connected,
    /// A recording runs.
    Started {
        /// Its arguments.
        args: Vec<String>,
    },
    /// A request was refused.
    Refused {
        /// Why.
        reason: String,
    },
    /// The host's command runs.
    Executing {
        /// The command.
        command: Vec<String>,
    },
    /// A recording was stopped as the host asked.
    Stopped,
    /// The host went away or started over; the recording was aborted.
    Aborted,
}

/// Why the client could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The VM has no such port, or its driver is not loaded.
    #[error(
        "no virtio-serial port {name:?}; the VM needs the arguments that `trace-cmd virt-server --dom` prints"
    )]
    NoPort {
        /// Its name.
        name: &'static str,
    },
    /// A port can be open once.
    #[error("another client has the port {}", path.display())]
    Busy {
        /// The port.
        path: PathBuf,
    },
    /// The port cannot be opened.
    #[error(transparent)]
    Port(#[from] trace_transport::Error),
    /// No server has the other end of the port.
    #[error("no virt-server runs on the host")]
    NoServer,
    /// The host does not take the recording.
    #[error("the host does not record this guest: {reason}")]
    HostRefused {
        /// In its words.
        reason: String,
    },
    /// It said nothing.
    #[error("the host's virt-server does not answer; it may be too old")]
    HostSilent,
    /// It ended the recording, or went away.
    #[error("the host ended the recording; the log of its virt-server says why")]
    HostGone,
    /// It was to end before it began.
    #[error("interrupted before anything was recorded")]
    Interrupted,
    /// The recording of this guest's own failed here.
    #[error("{reason}")]
    OwnRecording {
        /// Why.
        reason: String,
    },
    /// The recorder's thread ended.
    #[error("the recorder ended by itself")]
    Recorder,
    /// The system refused.
    #[error("{action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// The waiting side in the guest.
pub struct Client {
    options: ClientOptions,
    stream: Stream,
    /// A port comes back after a hang-up, a socket does not.
    is_port: bool,
    worker: Worker,
}

impl Client {
    /// Opens the control port.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoPort`], or it cannot be opened.
    pub fn new(
        options: ClientOptions,
        recorder: Box<dyn GuestRecorder>,
    ) -> Result<Self, ClientError> {
        let path =
            options.ports.find(CONTROL_PORT).ok_or(ClientError::NoPort { name: CONTROL_PORT })?;
        let stream = match virtio_serial::open(&path) {
            Err(trace_transport::Error::Io { source, .. })
                if source.kind() == io::ErrorKind::ResourceBusy =>
            {
                return Err(ClientError::Busy { path });
            }
            opened => opened?,
        };
        Ok(Self { worker: Worker::spawn(recorder)?, options, stream, is_port: true })
    }

    /// Serves whoever is at the other end of a stream that is already open, until it is closed.
    ///
    /// # Errors
    ///
    /// The recorder's thread cannot be started.
    pub fn over(
        stream: Stream,
        options: ClientOptions,
        recorder: Box<dyn GuestRecorder>,
    ) -> Result<Self, ClientError> {
        Ok(Self { worker: Worker::spawn(recorder)?, options, stream, is_port: false })
    }

    /// Serves the host until `stop` becomes readable; a host that goes away is waited for.
    ///
    /// # Errors
    ///
    /// Waiting fails, or the recorder is gone.
    pub fn run(
        mut self,
        stop: BorrowedFd<'_>,
        log: &mut dyn FnMut(ClientEvent),
    ) -> Result<(), ClientError> {
        loop {
            if self.is_port && !self.wait_for_host(stop, log)? {
                return Ok(());
            }
            let mut serving =
                Serving::new(&mut self.stream, &self.options, &self.worker, None, log);
            match serving.run(stop)? {
                End::HostGone if self.is_port => {}
                _ => return Ok(()),
            }
        }
    }

    /// Has the host record this guest once: with what the recorder was made for, while the command runs or until `stop`
    /// becomes readable. Requests of the host's own are refused meanwhile.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoServer`], [`ClientError::HostRefused`] and others: nothing, or not all, was recorded.
    pub fn record(
        mut self,
        own: OwnRecording,
        stop: BorrowedFd<'_>,
        log: &mut dyn FnMut(ClientEvent),
    ) -> Result<(), ClientError> {
        let failed =
            |errno: nix::Error| ClientError::Io { action: "asking the host", source: errno.into() };
        if self.is_port && is_hung_up(self.stream.as_fd()).map_err(failed)? {
            return Err(ClientError::NoServer);
        }
        let wishing = Wishing::new(own)?;
        let mut serving =
            Serving::new(&mut self.stream, &self.options, &self.worker, Some(wishing), log);
        match serving.run(stop)? {
            End::Done => Ok(()),
            End::Stop => Err(ClientError::Interrupted),
            End::HostGone => Err(ClientError::HostGone),
            End::Silent => Err(ClientError::HostSilent),
            End::Refused(reason) => Err(ClientError::HostRefused { reason }),
            End::Failed(reason) => Err(ClientError::OwnRecording { reason }),
        }
    }

    /// Waits until the host's end of the port is open; false when asked to stop.
    ///
    /// A port whose host end is closed polls as hung up all the time. Edge-triggered waiting wakes only when that
    /// changes, so waiting costs nothing.
    fn wait_for_host(
        &self,
        stop: BorrowedFd<'_>,
        log: &mut dyn FnMut(ClientEvent),
    ) -> Result<bool, ClientError> {
        // Were a change ever missed, the client would still notice.
        const AT_LEAST_EVERY_MS: u16 = 10_000;
        let failed = |errno: nix::Error| ClientError::Io {
            action: "waiting for the host",
            source: errno.into(),
        };
        if !is_hung_up(self.stream.as_fd()).map_err(failed)? {
            return Ok(true);
        }
        log(ClientEvent::Waiting);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        epoll.add(&self.stream, EpollEvent::new(edge, 0)).map_err(failed)?;
        epoll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, 1)).map_err(failed)?;
        loop {
            let mut events = [EpollEvent::empty(); 2];
            let count = match epoll.wait(&mut events, EpollTimeout::from(AT_LEAST_EVERY_MS)) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            if events.iter().take(count).any(|event| event.data() == 1) {
                return Ok(false);
            }
            if !is_hung_up(self.stream.as_fd()).map_err(failed)? {
                return Ok(true);
            }
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.options)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

fn is_hung_up(fd: BorrowedFd<'_>) -> nix::Result<bool> {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO)?;
    Ok(fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}
