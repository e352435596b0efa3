//! Filters of a report: which records are shown.
//!
//! ```text
//! events [: condition]
//! sched_switch: prev_pid == 0 && (next_comm =~ "^ba" || next_prio < 120)
//! irq/.*, timer_start: CPU == 1
//! ```
//!
//! | | |
//! | --- | --- |
//! | events | `SYSTEM/NAME`, or one name of either; basic regular expressions from end to end, separated by commas |
//! | joined | `&&` and `\|\|` from left to right, neither before the other; `!` for one comparison; brackets |
//! | compared | `==` `!=` `<` `<=` `>` `>=`, a field or number on either side; `=~` and `!~` with a basic regular expression |
//! | computed | `+` `-` `*` `/` `%` `<<` `>>` `&` `^` `\|` as in C; true alone when not 0; masks in a comparison need brackets |
//! | constants | `10`, `0x0a`, `012`, `-1`, `'a'`, `"text"`, `'text'` |
//! | special | `COMM` is the task's name, `CPU` the number of the CPU |
//!
//! Case does not matter to regular expressions. Numbers are compared as what they are: signed fields
//! are below 0 where they say so, and `-1` is also what an unsigned field shows for it. A test for a
//! field that an event lacks is false. An address is compared with text by the name of its function.

mod ast;
mod bind;
mod compile;
mod error;
mod eval;
mod lexer;
mod parse;
mod pattern;

use std::fmt;
use std::str::FromStr;

pub use error::{FilterError, FilterErrorKind};
pub use eval::{FilterContext, Program};

use crate::event_format::EventFormat;
use crate::metadata::Metadata;
use ast::Condition;
use pattern::Pattern;

/// A parsed filter.
///
/// ```
/// use tracedat::filter::Filter;
///
/// let filter = Filter::parse("sched_switch: prev_state == 0 && prev_pid != 0")?;
/// assert!(filter.names("sched", "sched_switch") && !filter.names("irq", "irq_handler_entry"));
///
/// let error = Filter::parse("sched_switch: prev_pid ==").unwrap_err();
/// assert_eq!(error.to_string(), "expected a field, a number or a string at column 26");
/// # Ok::<(), tracedat::filter::FilterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
    events: Vec<EventName>,
    condition: Condition,
}

/// Names of events.
#[derive(Clone, Debug)]
struct EventName {
    /// `None`: the name may be that of the system, too.
    system: Option<Pattern>,
    name: Pattern,
}

impl Filter {
    /// Parses a filter.
    ///
    /// # Errors
    ///
    /// Tells what is not understood, and where.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::filter(text)
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it speaks of an event.
    pub fn names(&self, system: &str, name: &str) -> bool {
        let (system, name) = (system.as_bytes(), name.as_bytes());
        self.events.iter().any(|event| match &event.system {
            Some(wanted) => wanted.is_match(system) && event.name.is_match(name),
            None => event.name.is_match(name) || event.name.is_match(system),
        })
    }

    /// Whether it speaks of any event that a file has a format for.
    pub fn names_any(&self, metadata: &Metadata) -> bool {
        metadata.event_texts().any(|format| {
            let rest = format.text.strip_prefix(b"name: ").unwrap_or_default();
            let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            std::str::from_utf8(&rest[..end])
                .is_ok_and(|name| self.names(format.system, name.trim_end()))
        })
    }

    /// What it says about an event; `None` when it does not speak of it.
    pub fn for_event(&self, format: &EventFormat) -> Option<EventFilter> {
        self.names(&format.system, &format.name)
            .then(|| EventFilter { bound: bind::bind(&self.condition, format) })
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

/// What a filter says about one event; displayed with all brackets.
#[derive(Clone, Debug)]
pub struct EventFilter {
    bound: bind::Bound,
}

impl EventFilter {
    /// The program that decides about the event's records.
    pub fn compile(&self) -> Program {
        compile::compile(&self.bound)
    }
}

impl fmt::Display for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.bound, f)
    }
}

#[cfg(test)]
mod tests;
