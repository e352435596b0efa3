//! What goes wrong with tracefs: where, doing what, with which value, and why.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::error_log::Explanation;
use crate::event::EventName;
use crate::event_pattern::nearest_names;

/// A failure to control or read the kernel's tracing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tracing directory is there, and this user may not enter it.
    #[error("no permission to use {}; run as root", path.display())]
    NotRoot {
        /// The directory.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel has no tracefs.
    #[error(
        "this kernel has no tracefs; it needs CONFIG_TRACING and one tracer or CONFIG_EVENT_TRACING"
    )]
    NoTracefs,
    /// tracefs exists, and cannot be mounted.
    #[error("mounting tracefs on {}; try: mount -t tracefs nodev {}", path.display(), path.display())]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel does not have this control file.
    #[error("{action} {}: not supported by this kernel", path.display())]
    NotSupported {
        /// The control file.
        path: PathBuf,
        /// What was tried.
        action: Action,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel has the file, and does not let this user or system use it (lockdown, permissions).
    #[error("{action} {}: refused by the kernel", path.display())]
    Refused {
        /// The control file.
        path: PathBuf,
        /// What was tried.
        action: Action,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A control file could not be read or written, or did not accept a value.
    #[error("{action} {}{}", path.display(), explained(explanation.as_deref()))]
    Control {
        /// The control file.
        path: PathBuf,
        /// What was tried.
        action: Action,
        /// The kernel's own words, from `error_log`.
        explanation: Option<Box<Explanation>>,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A control file holds what this crate does not understand.
    #[error("{} holds {text:?}, not {expected}", path.display())]
    Unexpected {
        /// The control file.
        path: PathBuf,
        /// What it holds, shortened.
        text: String,
        /// What was expected.
        expected: &'static str,
    },
    /// No event matches a pattern.
    #[error("no event matches '{pattern}'{}", suggested(nearest))]
    UnknownEvent {
        /// The pattern, as asked.
        pattern: String,
        /// Names close to it, best first.
        nearest: Vec<String>,
    },
    /// No function matches a pattern.
    #[error("no function matches '{pattern}'{}", suggested(nearest))]
    UnknownFunction {
        /// The pattern, as asked.
        pattern: String,
        /// Names close to it, best first.
        nearest: Vec<String>,
    },
    /// Stack traces of every function of the kernel were asked for.
    #[error(
        "stack traces of all functions would bring the machine to a halt; filter functions first"
    )]
    UnfilteredStacks,
    /// A pattern that is neither a glob nor a regular expression.
    #[error("'{pattern}' is neither a glob nor a regular expression")]
    InvalidPattern {
        /// The pattern, as asked.
        pattern: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel does not have this clock, tracer or option.
    #[error("no {kind} '{name}'{}", offered(available, name))]
    UnknownName {
        /// What was named: `trace clock`, `tracer`, `trace option`.
        kind: &'static str,
        /// The name, as asked.
        name: String,
        /// What there is.
        available: Vec<String>,
    },
    /// There is no instance of this name.
    #[error("no tracing instance '{name}'")]
    UnknownInstance {
        /// The name, as asked.
        name: String,
    },
    /// A name that cannot be one part of a path.
    #[error("'{name}' is not a name for {kind}")]
    InvalidName {
        /// What was named.
        kind: &'static str,
        /// The name, as asked.
        name: String,
    },
    /// A dynamic event of this name is there, made by somebody else.
    #[error("an event '{name}' exists already")]
    EventExists {
        /// The name.
        name: EventName,
    },
    /// The journal of changes could not be written or read.
    #[error("journal of changes {}", path.display())]
    Journal {
        /// The file, or its directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A journal of changes holds what no journal holds; nothing of it was carried out.
    #[error("journal of changes {}, line {line}: {reason}", path.display())]
    BadJournal {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 for the file itself.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A thread, a descriptor or a system call of the recorder failed before recording began.
    #[error("recording CPU {cpu}: {action}")]
    Recorder {
        /// The CPU.
        cpu: u32,
        /// What was tried.
        action: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    /// Whether the kernel lacks or refuses the file, so a caller who was not asked for it may go on.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::NotSupported { .. } | Self::Refused { .. })
    }
}

/// What was done to a control file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Reading it.
    Read,
    /// Writing this value, replacing what was there.
    Write(String),
    /// Writing this value, keeping what was there.
    Append(String),
    /// Truncating it.
    Clear,
    /// Making a directory.
    Create,
    /// Removing a directory.
    Remove,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("reading"),
            Self::Write(value) => write!(f, "writing {value:?} to"),
            Self::Append(value) => write!(f, "appending {value:?} to"),
            Self::Clear => f.write_str("clearing"),
            Self::Create => f.write_str("creating"),
            Self::Remove => f.write_str("removing"),
        }
    }
}

fn explained(explanation: Option<&Explanation>) -> String {
    explanation.map(|e| format!(" (kernel: {e})")).unwrap_or_default()
}

fn offered(available: &[String], asked: &str) -> String {
    let all = available.join(" ");
    match suggested(&nearest_names(available.iter().cloned(), asked)) {
        near if near.is_empty() => format!("; available: {all}"),
        near => format!("{near} available: {all}"),
    }
}

fn suggested(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}
