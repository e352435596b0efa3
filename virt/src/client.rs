//! The client in the guest.
use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Which commands the host may run in this guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExecPolicy {
    /// None: the default.
    #[default]
    Deny,
    /// Any.
    Any,
    /// Those whose first word is exactly one of these.
    Only(Vec<String>),
}

/// What records in the guest.
pub trait GuestRecorder: Send {
    /// Checks the `record` arguments, sets tracing up and starts moving each CPU's sub-buffers into
    /// `data[cpu]`, or says why not (a text for the person at the host). On refusal nothing is left changed.
    ///
    /// The descriptors are non-blocking: a full one means wait with `poll`, and be ready to be stopped while waiting.
    fn start(
        &mut self,
        args: &[String],
        data: Vec<OwnedFd>,
    ) -> Result<Box<dyn GuestRecording>, String>;
}

/// A running recording in the guest. Dropping it without [`stop`](Self::stop) must also stop tracing and put everything back.
pub trait GuestRecording: Send {
    /// Bytes per sub-buffer on the data ports.
    fn sub_buffer_size(&self) -> u32;
    /// What the host's file needs before the CPU data; sent while the recording already runs.
    fn head(&mut self) -> Result<Box<dyn Read + Send>, String>;
    /// Stops tracing, flushes, puts everything back. All data has been written to the ports when this returns.
    fn stop(self: Box<Self>) -> Result<RecordingEnd, String>;
    /// The host is gone and nobody drains the ports: stop at once, lose what is left, put everything back.
    fn abort(self: Box<Self>);
}

/// How a recording in the guest ended.
#[derive(Debug, Clone, Default)]
pub struct RecordingEnd {
    /// Bytes written to each CPU's port.
    pub bytes: Vec<u64>,
    /// What the host's file needs after the CPU data (statistics, command lines …), opaque here.
    pub tail: Vec<u8>,
}

/// How the client runs.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Commands the host may run.
    pub exec: ExecPolicy,
    /// Version text shown to the host.
    pub version: String,
    /// Where ports are found; default: `/dev/virtio-ports` and `/sys/class/virtio-ports`.
    pub ports: Option<PathBuf>,
}

/// Something worth a log line.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The host's server answers.
    Connected,
}

/// Why the client could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No such port.
    #[error("no virtio port {name:?}")]
    NoPort {
        /// Its name.
        name: String,
    },
}

/// The waiting side in the guest.
pub struct Client {}

impl Client {
    /// Finds the control port.
    pub fn new(
        options: ClientOptions,
        recorder: Box<dyn GuestRecorder>,
    ) -> Result<Self, ClientError> {
        let _ = (options, recorder);
        unimplemented!()
    }
    /// Serves the host until `stop` becomes readable.
    pub fn run(
        self,
        stop: BorrowedFd<'_>,
        log: &mut dyn FnMut(ClientEvent),
    ) -> Result<(), ClientError> {
        let _ = (stop, log);
        unimplemented!()
    }
}
