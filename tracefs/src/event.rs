//! Systems and events: list, select by pattern, enable, filter, trigger.

use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, io, mem};

use crate::control_file::ControlFile;
use crate::error::{Action, Error};
use crate::event_pattern;
use crate::instance::Instance;
use crate::tracing_dir::directory_names;

/// An event by system and name. `Display` gives `sched:sched_switch`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    /// The system: `sched`.
    pub system: String,
    /// The event: `sched_switch`.
    pub event: String,
}

/// Whether the kernel said that the value means nothing to it.
fn is_invalid(error: &Error) -> bool {
    matches!(error, Error::Control { source, .. } if source.kind() == io::ErrorKind::InvalidInput)
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
    events: BTreeSet<String>,
}

impl EventSelection {
    /// Every one of `events`.
    pub(crate) fn everything(events: &[EventName]) -> Self {
        let mut selection = Self { everything: true, ..Self::default() };
        events.iter().cloned().for_each(|name| selection.insert(name, true));
        selection
    }

    /// Adds one event; `whole` if all others of its system are added too.
    pub(crate) fn insert(&mut self, name: EventName, whole: bool) {
        let system = self.systems.entry(name.system).or_default();
        system.whole |= whole;
        system.events.insert(name.event);
    }

    /// Adds all events of a system, whatever they are.
    pub(crate) fn insert_system(&mut self, system: &str) {
        self.systems.entry(system.to_owned()).or_default().whole = true;
    }

    /// Adds all events, whatever they are.
    pub(crate) fn insert_everything(&mut self) {
        self.everything = true;
    }

    /// Whether an event is selected, by itself or with its system.
    pub(crate) fn covers(&self, name: &EventName) -> bool {
        self.everything || self.is_whole(&name.system) || self.contains(&name.system, &name.event)
    }

    /// The selection as words: `all`, `sched:*`, `irq:irq_handler_entry`.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.everything.then(|| "all".to_owned()));
        for (system, selection) in &self.systems {
            if selection.whole {
                words.push(format!("{system}:*"));
            } else {
                words.extend(selection.events.iter().map(|event| format!("{system}:{event}")));
            }
        }
        words
    }

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

    /// Whether all events of a system are selected.
    pub fn is_whole(&self, system: &str) -> bool {
        self.systems.get(system).is_some_and(|selection| selection.whole)
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
        self.systems.get(system).is_some_and(|selection| selection.events.contains(event))
    }

    /// Adds another selection to this one.
    pub fn add(&mut self, other: &Self) {
        self.everything |= other.everything;
        for (name, theirs) in &other.systems {
            let ours = self.systems.entry(name.clone()).or_default();
            ours.whole |= theirs.whole;
            ours.events.extend(theirs.events.iter().cloned());
        }
    }

    /// The paths below the instance that stand for what is selected, without their last part.
    fn directories(&self) -> Vec<String> {
        let mut directories = Vec::new();
        for (system, selection) in &self.systems {
            if selection.whole {
                directories.push(format!("events/{system}"));
            } else {
                let of_event = |event| format!("events/{system}/{event}");
                directories.extend(selection.events.iter().map(of_event));
            }
        }
        directories
    }
}

/// Selects single events by name, without asking whether the kernel has them.
impl FromIterator<EventName> for EventSelection {
    fn from_iter<I: IntoIterator<Item = EventName>>(names: I) -> Self {
        let mut selection = Self::default();
        names.into_iter().for_each(|name| selection.insert(name, false));
        selection
    }
}

impl Instance {
    /// Names of the systems that have events, sorted.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn systems(&self) -> Result<Vec<String>, Error> {
        let mut systems: Vec<String> = self.events()?.into_iter().map(|name| name.system).collect();
        systems.dedup();
        Ok(systems)
    }

    /// All events that can be enabled, sorted.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn events(&self) -> Result<Vec<EventName>, Error> {
        let mut events = match self.tracing_dir().file("available_events").read_text() {
            Ok(text) => parse_names(&text),
            Err(Error::NotSupported { .. }) => self.events_by_directory()?,
            Err(error) => return Err(error),
        };
        events.sort_unstable();
        events.dedup();
        Ok(events)
    }

    fn events_by_directory(&self) -> Result<Vec<EventName>, Error> {
        let mut events = Vec::new();
        let root = self.path().join("events");
        for system in directory_names(&root)? {
            for event in directory_names(&root.join(&system))? {
                if root.join(&system).join(&event).join("enable").exists() {
                    events.push(EventName::new(&system, event));
                }
            }
        }
        Ok(events)
    }

    /// The events that are enabled, sorted.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn enabled_events(&self) -> Result<BTreeSet<EventName>, Error> {
        let listed = parse_names(&self.file("set_event").read_text()?);
        Ok(listed.into_iter().filter(|name| !self.is_on_for_triggers_only(name)).collect())
    }

    /// The kernel lists an event that is off as if it were on when it has a trigger.
    fn is_on_for_triggers_only(&self, name: &EventName) -> bool {
        self.event_file(name, "enable").read_text().is_ok_and(|state| state == "0*")
    }

    /// Resolves `system`, `system:event`, `system/event`, `event` or `all`, with globs
    /// (`*`, `?`, `[a-z]`) in either part. A word alone is a system, else an event of any system.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] with the nearest names when nothing matches.
    pub fn select(&self, pattern: &str) -> Result<EventSelection, Error> {
        select_from(&self.events()?, pattern)
    }

    /// Takes out of a selection what the kernel no longer has, as when a module was unloaded, and
    /// returns it.
    pub fn take_removed(&self, selection: &mut EventSelection) -> EventSelection {
        let mut removed = EventSelection::default();
        let events = self.path().join("events");
        if !events.is_dir() {
            // Then tracefs is gone, and whether its events are cannot be known.
            return removed;
        }
        selection.systems.retain(|system, selected| {
            let directory = events.join(system);
            if !directory.is_dir() {
                let gone = SystemSelection { whole: true, events: mem::take(&mut selected.events) };
                removed.systems.insert(system.clone(), gone);
                return false;
            }
            let is_gone = |event: &String| !directory.join(event).is_dir();
            let gone: Vec<String> =
                selected.events.iter().filter(|e| is_gone(e)).cloned().collect();
            for event in gone {
                selected.events.remove(&event);
                removed.insert(EventName::new(system, &event), false);
            }
            selected.whole || !selected.events.is_empty()
        });
        removed
    }

    /// Enables or disables what is selected, in as few writes as possible.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn enable(&self, selection: &EventSelection, on: bool) -> Result<(), Error> {
        let value = if on { "1" } else { "0" };
        if selection.everything {
            return self.file("events/enable").write(value);
        }
        let write = |directory: &String| self.file(&format!("{directory}/enable")).write(value);
        selection.directories().iter().try_for_each(write)
    }

    /// The filter of an event, if it has one.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn event_filter(&self, name: &EventName) -> Result<Option<String>, Error> {
        let text = self.event_file(name, "filter").read_text()?;
        // A filter that was refused is shown with the cause, and filters nothing.
        Ok((text != "none" && !text.contains("\nparse_error: ")).then_some(text))
    }

    /// Sets the filter of what is selected; `None` removes it. Of several events, those that
    /// have the fields are filtered, and there must be one.
    ///
    /// # Errors
    /// What the kernel answers, with its explanation.
    pub fn set_event_filter(
        &self,
        selection: &EventSelection,
        filter: Option<&str>,
    ) -> Result<(), Error> {
        let value = filter.unwrap_or("0");
        let (mut taken, mut refused) = (false, None);
        for directory in selection.directories() {
            match self.file(&format!("{directory}/filter")).write(value) {
                Ok(()) => taken = true,
                Err(error) if is_invalid(&error) => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = refused.filter(|_| !taken) {
            return Err(error);
        }
        if filter.is_none() {
            return Ok(());
        }
        // Some kernels take a filter of a system also when none of its events has the fields.
        let whole = || selection.systems().filter(|system| selection.is_whole(system));
        let Some(system) = whole().next() else { return Ok(()) };
        let is_filtered = |name: EventName| matches!(self.event_filter(&name), Ok(Some(_)));
        let mut events = selection.events().filter(|name| selection.is_whole(&name.system));
        if events.any(is_filtered) {
            return Ok(());
        }
        let refused = io::Error::from_raw_os_error(libc::EINVAL);
        let file = self.file(&format!("events/{system}/filter"));
        Err(file.error(Action::Write(value.to_owned()), refused))
    }

    /// The triggers of an event.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn event_triggers(&self, name: &EventName) -> Result<Vec<String>, Error> {
        let text = self.event_file(name, "trigger").read_text()?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(lines.map(str::to_owned).collect())
    }

    /// Adds a trigger to an event; one that begins with `!` removes it.
    ///
    /// # Errors
    /// What the kernel answers, with its explanation.
    pub fn add_event_trigger(&self, name: &EventName, trigger: &str) -> Result<(), Error> {
        self.event_file(name, "trigger").append(trigger)
    }

    /// The `format` text of an event.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn event_format(&self, name: &EventName) -> Result<Vec<u8>, Error> {
        self.event_file(name, "format").read()
    }

    /// A control file of an event: `enable`, `filter`, `trigger`, `format`, `id`.
    pub fn event_file(&self, name: &EventName, file: &str) -> ControlFile {
        self.file(&format!("events/{}/{}/{file}", name.system, name.event))
    }
}

/// Resolves a pattern as [`Instance::select`] does, against events that were listed before by
/// [`Instance::events`]: the kernel takes milliseconds to make that list, so several patterns
/// share one.
///
/// # Errors
/// [`Error::UnknownEvent`] with the nearest names when nothing matches.
pub fn select_from(events: &[EventName], pattern: &str) -> Result<EventSelection, Error> {
    event_pattern::select(events, pattern)
}

/// Reads `system:event` lines; those that name a module to come are no events yet.
fn parse_names(text: &str) -> Vec<EventName> {
    let name = |line: &str| {
        let (system, event) = line.trim().split_once(':')?;
        let plain = |part: &str| !part.is_empty() && !part.contains([':', '/', '*']);
        (plain(system) && plain(event)).then(|| EventName::new(system, event))
    };
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_modules_to_come_are_not_events() {
        let names = parse_names("sched:sched_switch\n*:*:mod:kvm\nx\nirq:irq_handler_entry\n");
        let words: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["sched:sched_switch", "irq:irq_handler_entry"]);
    }

    #[test]
    fn selections_add_up_and_write_little() {
        let mut one = EventSelection::default();
        one.insert(EventName::new("sched", "sched_switch"), false);
        one.insert(EventName::new("irq", "irq_handler_entry"), false);
        let mut other = EventSelection::default();
        other.insert(EventName::new("sched", "sched_waking"), true);
        one.add(&other);
        assert_eq!(one.directories(), ["events/irq/irq_handler_entry", "events/sched"]);
        assert_eq!(one.len(), 3);
        assert!(one.contains("sched", "sched_waking"));
        assert!(one.is_whole("sched") && !one.is_whole("irq") && !one.is_everything());
    }
}
