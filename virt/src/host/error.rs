//! What can go wrong with a guest, and at which step.

use std::fmt;
use std::path::PathBuf;

use crate::protocol::RefuseCode;
use crate::setup::SetupError;
use crate::time_sync::NotComparable;

/// Which step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Reaching the guest through the server.
    Connect,
    /// Asking the guest to record.
    Start,
    /// Receiving the head of its trace.
    Head,
    /// Running a command in it.
    Exec,
    /// Recording.
    Record,
    /// Stopping the recording.
    Close,
    /// Receiving its data.
    Data,
    /// Comparing clocks.
    TimeSync,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Start => "starting the recording",
            Self::Head => "receiving the head of the trace",
            Self::Exec => "running the command",
            Self::Record => "recording",
            Self::Close => "stopping the recording",
            Self::Data => "receiving trace data",
            Self::TimeSync => "comparing clocks",
        })
    }
}

/// Why a guest could not be recorded, or not all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nobody set this guest up.
    #[error("guest {guest}: no directory {}; make it with `trace-cmd virt-server --dom {guest} -c CPUS`", path.display())]
    NoDirectory {
        /// The guest.
        guest: String,
        /// What is missing.
        path: PathBuf,
    },
    /// The guest has more CPUs than FIFOs.
    #[error(
        "guest {guest}: {cpus} CPUs but {fifos} FIFOs; make the others with `trace-cmd virt-server --dom {guest} -c {cpus}` and add their ports to the VM"
    )]
    NoFifo {
        /// The guest.
        guest: String,
        /// CPUs with a port in the guest.
        cpus: u32,
        /// FIFOs at the host.
        fifos: u32,
    },
    /// The guest's directory cannot be used.
    #[error("guest {guest}")]
    Setup {
        /// The guest.
        guest: String,
        /// What is wrong with it.
        source: SetupError,
    },
    /// No server owns the control socket.
    #[error("guest {guest}: no virt-server answers on {}; start `trace-cmd virt-server`", path.display())]
    ServerNotRunning {
        /// The guest.
        guest: String,
        /// The server's socket.
        path: PathBuf,
    },
    /// The guest's QEMU is not connected to the server.
    #[error(
        "guest {guest}: not connected to the virt-server: it does not run, or its VM has no port agent-ctl-path"
    )]
    NotConnected {
        /// The guest.
        guest: String,
    },
    /// The VM is connected, and nobody in it answers.
    #[error(
        "guest {guest}: no client answers in the guest; start `trace-cmd virt-server --client` there"
    )]
    NoClient {
        /// The guest.
        guest: String,
    },
    /// Another session has the guest.
    #[error("guest {guest}: busy with another recording")]
    Busy {
        /// The guest.
        guest: String,
    },
    /// The guest does not do what was asked.
    #[error("guest {guest}: {step}: refused: {reason}")]
    Refused {
        /// The guest.
        guest: String,
        /// What was asked.
        step: Step,
        /// A number for programs.
        code: RefuseCode,
        /// Its own words.
        reason: String,
    },
    /// The guest went away.
    #[error("guest {guest}: {step}: the guest is gone{reason}")]
    Gone {
        /// The guest.
        guest: String,
        /// What went on.
        step: Step,
        /// What the server said, after a colon, or nothing.
        reason: String,
    },
    /// The guest did not do its part in time.
    #[error("guest {guest}: {step}: timed out after {seconds} s")]
    TimedOut {
        /// The guest.
        guest: String,
        /// What went on.
        step: Step,
        /// How long it had.
        seconds: u64,
    },
    /// The guest sent more than it may.
    #[error("guest {guest}: {step}: more than {limit} bytes")]
    TooMuch {
        /// The guest.
        guest: String,
        /// What it sent.
        step: Step,
        /// What it may send.
        limit: u64,
    },
    /// The guest sent something else than was expected.
    #[error("guest {guest}: {step}: unexpected {message}")]
    Unexpected {
        /// The guest.
        guest: String,
        /// What went on.
        step: Step,
        /// What came.
        message: String,
    },
    /// The clocks say nothing about each other.
    #[error("guest {guest}: {step}", step = Step::TimeSync)]
    Clock {
        /// The guest.
        guest: String,
        /// Which clock.
        source: NotComparable,
    },
    /// The guest cannot read the clock it traces with.
    #[error("guest {guest}: {step}: the guest cannot read its clock {clock}", step = Step::TimeSync)]
    GuestClock {
        /// The guest.
        guest: String,
        /// Which clock.
        clock: &'static str,
    },
    /// Data of a CPU did not all arrive.
    #[error("guest {guest}: CPU {cpu}: {missing} bytes of its data are missing")]
    Missing {
        /// The guest.
        guest: String,
        /// The CPU.
        cpu: u32,
        /// How many bytes.
        missing: u64,
    },
    /// More data of a CPU arrived than the guest says it sent.
    #[error("guest {guest}: CPU {cpu}: {excess} bytes more than the guest says it sent")]
    Excess {
        /// The guest.
        guest: String,
        /// The CPU.
        cpu: u32,
        /// How many bytes.
        excess: u64,
    },
    /// Data of a CPU could not be moved.
    #[error("guest {guest}: CPU {cpu}: moving its data")]
    Data {
        /// The guest.
        guest: String,
        /// The CPU.
        cpu: u32,
        /// What the system said.
        source: std::io::Error,
    },
    /// An agent and this side do not agree.
    #[error("guest {guest}: {step}")]
    Session {
        /// The guest.
        guest: String,
        /// What went on.
        step: Step,
        /// What is wrong.
        source: trace_transport::session::SessionError,
    },
    /// An agent closed the connection without a word, as one that is old does when another session has it.
    #[error(
        "guest {guest}: its agent closed the connection: it is busy with another recording, or cannot record this; its own messages say more"
    )]
    ClosedByAgent {
        /// The guest.
        guest: String,
    },
    /// Clocks of host and guest cannot be compared.
    #[error("guest {guest}: {step}: {reason}", step = Step::TimeSync)]
    TimeSync {
        /// The guest.
        guest: String,
        /// Why not.
        reason: String,
    },
    /// A stream failed.
    #[error("guest {guest}: {step}")]
    Stream {
        /// The guest.
        guest: String,
        /// What went on.
        step: Step,
        /// How it failed.
        source: trace_transport::Error,
    },
    /// The system refused.
    #[error("guest {guest}: {step}")]
    Io {
        /// The guest.
        guest: String,
        /// What went on.
        step: Step,
        /// What the system said.
        source: std::io::Error,
    },
}
