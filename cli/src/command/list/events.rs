//! Which events are listed, and what of them.

use std::io::Write;

use regex_lite::Regex;
use tracefs::{Error as KernelError, EventName, Instance, TracingDir};

use super::{List, basic_regex};
use crate::command::record::kernel_error;
use crate::error::Error;

/// Events to be listed.
pub(super) struct Wanted {
    patterns: Vec<Pattern>,
    pub(super) detail: Detail,
}

/// What is printed of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// `system:event`
    Name,
    /// The format, the print format only where it is `full`.
    Format { full: bool },
    /// The filter.
    Filter,
    /// The triggers.
    Triggers,
}

/// An expression of `-e`.
enum Pattern {
    /// Of the system and of the event.
    Both(Regex, Regex),
    /// Of one of them.
    Either(Regex),
}

impl Pattern {
    fn new(text: &str) -> Result<Self, Error> {
        Ok(match text.split_once(':') {
            Some((system, event)) => {
                Self::Both(basic_regex::compile(system)?, basic_regex::compile(event)?)
            }
            None => Self::Either(basic_regex::compile(text)?),
        })
    }

    fn matches(&self, name: &EventName) -> bool {
        match self {
            Self::Both(system, event) => {
                system.is_match(&name.system) && event.is_match(&name.event)
            }
            Self::Either(regex) => regex.is_match(&name.system) || regex.is_match(&name.event),
        }
    }
}

impl Wanted {
    /// The names of all events.
    pub(super) fn names() -> Self {
        Self { patterns: Vec::new(), detail: Detail::Name }
    }

    /// What `-e` and its companions ask for.
    pub(super) fn asked(list: &List<'_>) -> Result<Option<Self>, Error> {
        let detail = match () {
            () if list.asked("format") => Detail::Format { full: list.asked("full") },
            () if list.asked("filters") => Detail::Filter,
            () if list.asked("triggers") => Detail::Triggers,
            () => Detail::Name,
        };
        let Some(texts) = list.matches.get_many::<String>("events") else { return Ok(None) };
        let named = texts.map(String::as_str).filter(|text| !text.is_empty());
        let patterns: Vec<Pattern> = named.map(Pattern::new).collect::<Result<_, _>>()?;
        if patterns.is_empty() && detail != Detail::Name {
            let message = "-F, -R and -l need an event";
            return Err(Error::usage(message).hint("name it with -e REGEX, or all with -e ."));
        }
        Ok(Some(Self { patterns, detail }))
    }

    /// The events, in the kernel's order of systems and of events.
    pub(super) fn select(&self, top: &Instance) -> Result<Vec<EventName>, Error> {
        if self.patterns.is_empty() {
            return all(top.tracing_dir());
        }
        let mut events = Vec::new();
        let mut systems = top.listed_systems().map_err(kernel_error)?;
        // The kernel's own come first.
        systems.sort_by_key(|system| system != "ftrace");
        for system in systems {
            let of_system = top.listed_events(&system).map_err(kernel_error)?;
            let matches = |name: &EventName| self.patterns.iter().any(|p| p.matches(name));
            events.extend(of_system.into_iter().filter(matches));
        }
        Ok(events)
    }
}

/// All that can be enabled, as `available_events` has them.
fn all(dir: &TracingDir) -> Result<Vec<EventName>, Error> {
    let text = dir.file("available_events").read_text().map_err(kernel_error)?;
    let name =
        |line: &str| line.split_once(':').map(|(system, event)| EventName::new(system, event));
    Ok(text.lines().filter_map(name).collect())
}

/// Prints them.
pub(super) fn print(out: &mut impl Write, dir: &TracingDir, wanted: &Wanted) -> Result<(), Error> {
    let top = dir.top();
    for name in wanted.select(&top)? {
        match wanted.detail {
            Detail::Name => writeln!(out, "{name}")?,
            Detail::Format { full } => {
                let format = format(&top, &name, full).map_err(kernel_error)?;
                write!(out, "system: {}\n{format}", name.system)?;
            }
            Detail::Filter => {
                let Some(text) = text(&top, &name, "filter")? else { continue };
                writeln!(out, "{name}\n{text}\n")?;
            }
            Detail::Triggers => {
                let Some(text) = text(&top, &name, "trigger")? else { continue };
                writeln!(out, "{name}\n{text}\n")?;
            }
        }
    }
    Ok(())
}

/// A format up to its print format, which follows if `full`.
pub(super) fn format(top: &Instance, name: &EventName, full: bool) -> Result<String, KernelError> {
    let bytes = top.event_format(name)?;
    let text = String::from_utf8_lossy(&bytes);
    let end = text.find("\nprint fmt:").map_or(text.len(), |newline| newline + 1);
    Ok(if full { text.into_owned() } else { text.get(..end).unwrap_or_default().to_owned() })
}

/// A control file of an event; the kernel's own events have none.
pub(super) fn text(top: &Instance, name: &EventName, file: &str) -> Result<Option<String>, Error> {
    match top.event_file(name, file).read_text() {
        Ok(text) => Ok(Some(text)),
        Err(KernelError::NotSupported { .. }) => Ok(None),
        Err(error) => Err(kernel_error(error)),
    }
}
