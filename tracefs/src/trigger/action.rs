//! What a histogram does besides counting, and when.

use std::fmt;

use crate::event::EventName;

/// A condition and what is done when it holds: `onmatch(sched.sched_waking).trace(lat,$us)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistHandler {
    /// When.
    pub condition: HistCondition,
    /// What.
    pub action: HistAction,
}

/// When a histogram acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistCondition {
    /// An entry of this event has the same key.
    OnMatch(EventName),
    /// This variable, written with its `$`, is larger than ever before under its key.
    OnMax(String),
    /// This variable, written with its `$`, has another value than before under its key.
    OnChange(String),
}

/// What a histogram does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistAction {
    /// Makes a synthetic event of these fields and variables.
    Trace {
        /// Name of the synthetic event.
        event: String,
        /// One for each of its fields, in their order: `pid`, `$lat`.
        arguments: Vec<String>,
    },
    /// Keeps these fields beside the variable.
    Save(Vec<String>),
    /// Takes a snapshot.
    Snapshot,
}

impl fmt::Display for HistHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.condition, self.action)
    }
}

impl fmt::Display for HistCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnMatch(event) => write!(f, "onmatch({}.{})", event.system, event.event),
            Self::OnMax(variable) => write!(f, "onmax({variable})"),
            Self::OnChange(variable) => write!(f, "onchange({variable})"),
        }
    }
}

impl fmt::Display for HistAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trace { event, arguments } => {
                write!(f, "trace({event}")?;
                arguments.iter().try_for_each(|argument| write!(f, ",{argument}"))?;
                f.write_str(")")
            }
            Self::Save(fields) => write!(f, "save({})", fields.join(",")),
            Self::Snapshot => f.write_str("snapshot()"),
        }
    }
}
