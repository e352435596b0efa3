//! Dynamic events: probes of kernel and user code, of other events, and synthetic events.

mod control;
mod fetch_arg;
mod list;
mod probe;
mod synthetic;

pub use fetch_arg::FetchArg;
pub use probe::{Eprobe, Kprobe, Uprobe};
pub use synthetic::{SyntheticEvent, SyntheticField};

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::event::EventName;

/// An event that is made while the kernel runs. `Display` gives the text of `dynamic_events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DynamicEvent {
    /// A place in the kernel, or the return from one.
    Kprobe(Kprobe),
    /// A place in a program or library, or the return from one.
    Uprobe(Uprobe),
    /// Another event, with other fields.
    Eprobe(Eprobe),
    /// An event made by histograms.
    Synthetic(SyntheticEvent),
    /// Of a kind this crate does not make.
    Other {
        /// Its system and name.
        name: EventName,
        /// The kernel's text.
        text: String,
    },
}

/// Kinds of dynamic events. `Display` and `FromStr` use the words of `reset -k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DynamicKind {
    /// `kprobe`
    Kprobe,
    /// `kretprobe`
    Kretprobe,
    /// `uprobe`
    Uprobe,
    /// `uretprobe`
    Uretprobe,
    /// `eprobe`
    Eprobe,
    /// `synth`
    Synthetic,
    /// `other`
    Other,
}

impl DynamicKind {
    /// All kinds. Synthetic events come before what they may be made of.
    pub const ALL: [Self; 7] = [
        Self::Synthetic,
        Self::Eprobe,
        Self::Uretprobe,
        Self::Uprobe,
        Self::Kretprobe,
        Self::Kprobe,
        Self::Other,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::Uprobe => "uprobe",
            Self::Uretprobe => "uretprobe",
            Self::Eprobe => "eprobe",
            Self::Synthetic => "synth",
            Self::Other => "other",
        }
    }
}

impl DynamicEvent {
    /// Its system and name.
    pub fn name(&self) -> EventName {
        match self {
            Self::Kprobe(probe) => probe.name.clone(),
            Self::Uprobe(probe) => probe.name.clone(),
            Self::Eprobe(probe) => probe.name.clone(),
            Self::Synthetic(event) => EventName::new("synthetic", &event.name),
            Self::Other { name, .. } => name.clone(),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> DynamicKind {
        match self {
            Self::Kprobe(probe) if probe.returns => DynamicKind::Kretprobe,
            Self::Kprobe(_) => DynamicKind::Kprobe,
            Self::Uprobe(probe) if probe.returns => DynamicKind::Uretprobe,
            Self::Uprobe(_) => DynamicKind::Uprobe,
            Self::Eprobe(_) => DynamicKind::Eprobe,
            Self::Synthetic(_) => DynamicKind::Synthetic,
            Self::Other { .. } => DynamicKind::Other,
        }
    }

    /// Reads a line of `dynamic_events`, as the kernel shows it.
    pub fn parse(line: &str) -> Option<Self> {
        list::parse_line(line)
    }

    /// The text that takes it away again, for `dynamic_events`.
    pub fn removal(&self) -> String {
        removal(&self.name())
    }

    /// Names are parts of paths in tracefs; what is none would be told by the kernel in riddles.
    fn check(&self) -> Result<(), Error> {
        let name = self.name();
        for (kind, part) in [("a system", &name.system), ("an event", &name.event)] {
            if !is_identifier(part) {
                return Err(Error::InvalidName { kind, name: part.clone() });
            }
        }
        Ok(())
    }
}

/// The text that takes an event of this name away.
pub(crate) fn removal(name: &EventName) -> String {
    format!("-:{}/{}", name.system, name.event)
}

pub(crate) fn is_identifier(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for DynamicEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kprobe(probe) => probe.fmt(f),
            Self::Uprobe(probe) => probe.fmt(f),
            Self::Eprobe(probe) => probe.fmt(f),
            Self::Synthetic(event) => write!(f, "s:{event}"),
            Self::Other { text, .. } => f.write_str(text),
        }
    }
}

impl fmt::Display for DynamicKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for DynamicKind {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|kind| kind.word() == word);
        known.ok_or_else(|| Error::UnknownName {
            kind: "kind of dynamic event",
            name: word.to_owned(),
            available: Self::ALL.iter().map(ToString::to_string).collect(),
        })
    }
}

impl From<Kprobe> for DynamicEvent {
    fn from(probe: Kprobe) -> Self {
        Self::Kprobe(probe)
    }
}

impl From<Uprobe> for DynamicEvent {
    fn from(probe: Uprobe) -> Self {
        Self::Uprobe(probe)
    }
}

impl From<Eprobe> for DynamicEvent {
    fn from(probe: Eprobe) -> Self {
        Self::Eprobe(probe)
    }
}

impl From<SyntheticEvent> for DynamicEvent {
    fn from(event: SyntheticEvent) -> Self {
        Self::Synthetic(event)
    }
}
