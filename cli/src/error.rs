//! What goes wrong at the terminal: one line that says what, why, and what to do.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use tracedat::ReadError;
use tracedat::report::ReportError;

use crate::exit_code::Exit;

/// A failed command: message, cause, next step, exit code.
#[derive(Debug)]
pub(crate) struct Error {
    exit: Exit,
    message: String,
    hint: Option<String>,
    detail: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of the given kind.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, detail: None, source: None }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The kernel, a file or a peer said no.
    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, message)
    }

    /// Adds what the user can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds lines that are printed below the message as they are.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the cause, printed after the message.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// How the process ends; a closed pipe is no failure, and what the system does not permit one of its own.
    pub(crate) fn exit_code(&self) -> Exit {
        match self.exit {
            _ if self.is_closed_pipe() => Exit::Success,
            Exit::Failure if self.is_caused_by(io::ErrorKind::PermissionDenied) => Exit::Permission,
            exit => exit,
        }
    }

    /// Whether the reader of our output has gone.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.is_caused_by(io::ErrorKind::BrokenPipe)
    }

    /// Whether this stands anywhere in the chain of causes.
    fn is_caused_by(&self, kind: io::ErrorKind) -> bool {
        let mut cause = self.source.as_deref().map(|s| s as &(dyn StdError + 'static));
        while let Some(error) = cause {
            if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == kind) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.message.clone();
        let mut cause = self.source.as_deref().map(|s| s as &(dyn StdError + 'static));
        while let Some(error) = cause {
            let text = error.to_string();
            // Transparent wrappers repeat their source; say each thing once.
            if !line.ends_with(&text) {
                if !line.is_empty() {
                    line.push_str(": ");
                }
                line.push_str(&text);
            }
            cause = error.source();
        }
        if let Some(hint) = &self.hint {
            line.push_str("; ");
            line.push_str(hint);
        }
        f.write_str(&line.replace('\n', " "))?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, "\n{detail}"))
    }
}

impl StdError for Error {}

/// Standard output failed.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::failure("cannot write output").because(error)
    }
}

/// A report ended early.
impl From<ReportError> for Error {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Write(cause) => Self::failure("cannot write the report").because(cause),
            error => Self::new(Exit::BadData, "cannot read on").because(error),
        }
    }
}

/// A trace cannot be read on.
impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::new(Exit::BadData, "cannot read on").because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_line_with_cause_and_next_step() {
        let error = Error::failure("cannot open trace.dat")
            .because(io::Error::from_raw_os_error(2))
            .hint("record one with 'trace-cmd record'");
        assert_eq!(
            error.to_string(),
            "cannot open trace.dat: No such file or directory (os error 2); record one with 'trace-cmd record'"
        );
        assert_eq!(error.exit_code(), Exit::Failure);
    }

    #[test]
    fn what_the_system_does_not_permit_has_an_exit_code_of_its_own() {
        let denied = || io::Error::from_raw_os_error(13);
        assert_eq!(Error::failure("cannot serve").because(denied()).exit_code(), Exit::Permission);
        assert_eq!(Error::usage("bad key").because(denied()).exit_code(), Exit::Usage);
    }

    #[test]
    fn closed_pipe_is_a_quiet_success() {
        let error = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(error.is_closed_pipe());
        assert_eq!(error.exit_code(), Exit::Success);
    }
}
