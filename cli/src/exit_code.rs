//! Every exit code, documented here and in the help.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All that was asked for was done. A reader that closed the pipe early counts as done.
    Success = 0,
    /// The work could not be done: kernel, file, guest or peer said no.
    Failure = 1,
    /// The command line is wrong; nothing was touched.
    Usage = 2,
    /// Not permitted; usually root is needed.
    Permission = 3,
    /// An input is not a trace, or is damaged beyond reading.
    BadData = 4,
    /// A guest, its server or its client cannot be reached, or refused.
    Guest = 5,
    /// `record --fail-on-loss`: the file is complete, and some events or bytes are missing in it.
    Lost = 6,
    /// `report --check-events`: not all events are understood. The C version has the same number.
    NotUnderstood = 22,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
