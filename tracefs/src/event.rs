//! Systems and events: list, select by pattern, enable, filter, trigger.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Error;
use crate::instance::Instance;

/// An event by system and name. `Display` gives `sched:sched_switch`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    /// The system: `sched`.
    pub system: String,
    /// The event: `sched_switch`.
    pub event: String,
}

impl EventName {
    /// Names an event.
    pub fn new(system: impl Into<String>, event: impl Into<String>) -> Self {
        Self { system: system.into(), event: event.into() }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.system, self.event)
    }
}

/// What a pattern selects: everything, whole systems, or single events, so that enabling it
/// takes as few writes as the kernel allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventSelection {
    everything: bool,
    systems: BTreeMap<String, SystemSelection>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SystemSelection {
    whole: bool,
    events: Vec<String>,
}

impl EventSelection {
    /// All selected events, sorted.
    pub fn events(&self) -> impl Iterator<Item = EventName> + '_ {
        self.systems.iter().flat_map(|(system, selection)| {
            selection.events.iter().map(move |event| EventName::new(system, event))
        })
    }

    /// Systems that have a selected event, sorted.
    pub fn systems(&self) -> impl Iterator<Item = &str> {
        self.systems.keys().map(String::as_str)
    }

    /// How many events are selected.
    pub fn len(&self) -> usize {
        self.systems.values().map(|selection| selection.events.len()).sum()
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is every event of the kernel.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether an event is selected.
    pub fn contains(&self, system: &str, event: &str) -> bool {
        self.systems.get(system).is_some_and(|s| s.events.iter().any(|e| e == event))
    }

    /// Adds another selection to this one.
    pub fn add(&mut self, other: &Self) {
        let _ = other;
        unimplemented!()
    }
}

impl Instance {
    /// Names of the event systems, sorted.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn systems(&self) -> Result<Vec<String>, Error> {
        unimplemented!()
    }

    /// All events that can be enabled, sorted.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn events(&self) -> Result<Vec<EventName>, Error> {
        unimplemented!()
    }

    /// The events that are enabled, sorted.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn enabled_events(&self) -> Result<Vec<EventName>, Error> {
        unimplemented!()
    }

    /// Resolves `system`, `system:event`, `system/event`, `event` or `all`, with globs
    /// (`*`, `?`, `[a-z]`) in either part.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] with the nearest names when nothing matches.
    pub fn select(&self, pattern: &str) -> Result<EventSelection, Error> {
        let _ = pattern;
        unimplemented!()
    }

    /// Enables or disables what is selected, in as few writes as possible.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn enable(&self, selection: &EventSelection, on: bool) -> Result<(), Error> {
        let _ = (selection, on);
        unimplemented!()
    }

    /// The filter of an event, if it has one.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn event_filter(&self, name: &EventName) -> Result<Option<String>, Error> {
        let _ = name;
        unimplemented!()
    }

    /// Sets the filter of what is selected; `None` removes it.
    ///
    /// # Errors
    /// What the kernel answers, with its explanation.
    pub fn set_event_filter(
        &self,
        selection: &EventSelection,
        filter: Option<&str>,
    ) -> Result<(), Error> {
        let _ = (selection, filter);
        unimplemented!()
    }

    /// The triggers of an event.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn event_triggers(&self, name: &EventName) -> Result<Vec<String>, Error> {
        let _ = name;
        unimplemented!()
    }

    /// Adds a trigger to an event; one that begins with `!` removes it.
    ///
    /// # Errors
    /// What the kernel answers, with its explanation.
    pub fn add_event_trigger(&self, name: &EventName, trigger: &str) -> Result<(), Error> {
        let _ = (name, trigger);
        unimplemented!()
    }

    /// The `format` text of an event.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn event_format(&self, name: &EventName) -> Result<Vec<u8>, Error> {
        let _ = name;
        unimplemented!()
    }
}
