//! Triggers: what the kernel does when an event occurs.

mod action;
mod hist;

pub use action::{HistAction, HistCondition, HistHandler};
pub use hist::{HistKey, HistModifier, HistSort, HistState, HistTrigger, HistVariable};

use std::fmt;

use crate::error::Error;
use crate::event::EventName;
use crate::instance::Instance;

/// A trigger of an event. `Display` gives the kernel's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A plain command.
    Command(CommandTrigger),
    /// A histogram.
    Hist(Box<HistTrigger>),
}

/// A command with a count and a filter: `traceoff:3 if pid > 100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTrigger {
    /// What is done.
    pub command: TriggerCommand,
    /// How many times; `None` is without end.
    pub count: Option<u64>,
    /// Which events count, in the language of event filters; `None` for all.
    pub filter: Option<String>,
}

/// What a plain trigger does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriggerCommand {
    /// Lets the ring buffers take events.
    TraceOn,
    /// Keeps events out of the ring buffers.
    TraceOff,
    /// Takes a snapshot.
    Snapshot,
    /// Records a stack trace.
    Stacktrace,
    /// Enables an event.
    EnableEvent(EventName),
    /// Disables an event.
    DisableEvent(EventName),
    /// Lets a paused histogram of an event go on.
    EnableHist(EventName),
    /// Pauses the histogram of an event.
    DisableHist(EventName),
}

impl CommandTrigger {
    /// A command for every event, without end.
    pub fn new(command: TriggerCommand) -> Self {
        Self { command, count: None, filter: None }
    }

    /// Limits how many times it acts.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Acts only on events that a filter lets through.
    #[must_use]
    pub fn only_if(mut self, filter: impl Into<String>) -> Self {
        self.filter = Some(filter.into());
        self
    }
}

impl Trigger {
    /// The text that takes it away again.
    pub fn removal(&self) -> String {
        match self {
            // The kernel finds it by its command; an event has one of each.
            Self::Command(trigger) => format!("!{}", trigger.command),
            Self::Hist(hist) => format!("!{hist}"),
        }
    }
}

impl From<CommandTrigger> for Trigger {
    fn from(trigger: CommandTrigger) -> Self {
        Self::Command(trigger)
    }
}

impl From<HistTrigger> for Trigger {
    fn from(trigger: HistTrigger) -> Self {
        Self::Hist(Box::new(trigger))
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(trigger) => trigger.fmt(f),
            Self::Hist(trigger) => trigger.fmt(f),
        }
    }
}

impl fmt::Display for CommandTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.command.fmt(f)?;
        if let Some(count) = self.count {
            write!(f, ":{count}")?;
        }
        match &self.filter {
            Some(filter) => write!(f, " if {filter}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for TriggerCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TraceOn => f.write_str("traceon"),
            Self::TraceOff => f.write_str("traceoff"),
            Self::Snapshot => f.write_str("snapshot"),
            Self::Stacktrace => f.write_str("stacktrace"),
            Self::EnableEvent(event) => write!(f, "enable_event:{event}"),
            Self::DisableEvent(event) => write!(f, "disable_event:{event}"),
            Self::EnableHist(event) => write!(f, "enable_hist:{event}"),
            Self::DisableHist(event) => write!(f, "disable_hist:{event}"),
        }
    }
}

/// A trigger's text without its filter, which begins at the word `if`. The kernel takes a space or
/// a tab on either side.
pub fn without_filter(text: &str) -> &str {
    let is_blank = |c: char| c == ' ' || c == '\t';
    let begins = text.match_indices("if").find(|&(at, word)| {
        text[..at].ends_with(is_blank) && text[at + word.len()..].starts_with(is_blank)
    });
    begins.map_or(text, |(at, _)| &text[..at]).trim_end()
}

/// The text that takes a trigger away, from the line the kernel shows for it:
/// `traceoff:count=3 if pid > 1`, `hist:keys=pid:vals=hitcount:… [active]`.
pub fn removal_of_shown(line: &str) -> String {
    let line = line.trim();
    if line.starts_with("hist:") {
        let text = [" [active]", " [paused]"].iter().find_map(|state| line.strip_suffix(state));
        return format!("!{}", text.unwrap_or(line));
    }
    let command = without_filter(line);
    let command = command.strip_suffix(":unlimited").unwrap_or(command);
    let command = match command.rsplit_once(":count=") {
        Some((name, _)) => name,
        None => command,
    };
    format!("!{command}")
}

/// The text that sets a trigger, from the line the kernel shows for it.
pub(crate) fn text_of_shown(line: &str) -> String {
    if line.starts_with("hist:") {
        let text = removal_of_shown(line);
        return text.strip_prefix('!').unwrap_or(&text).to_owned();
    }
    let line = line.trim();
    let (command, filter) = line.split_at(without_filter(line).len());
    command.replacen(":unlimited", "", 1).replacen(":count=", ":", 1) + filter
}

impl Instance {
    /// Adds a trigger to an event.
    ///
    /// # Errors
    /// `EEXIST` when the event has such a trigger already, or what else the kernel answers, with
    /// its explanation.
    ///
    /// # Kernel support
    /// Triggers exist since Linux 3.14; histograms since 4.7, with variables and actions since
    /// 4.17, and need `CONFIG_HIST_TRIGGERS`.
    pub fn add_trigger(&self, event: &EventName, trigger: &Trigger) -> Result<(), Error> {
        self.event_file(event, "trigger").append_line(&trigger.to_string())
    }

    /// Takes a trigger of an event away.
    ///
    /// # Errors
    /// What the kernel answers; a histogram whose variables another one uses is busy.
    pub fn remove_trigger(&self, event: &EventName, trigger: &Trigger) -> Result<(), Error> {
        self.event_file(event, "trigger").append_line(&trigger.removal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_the_kernel_reads_them() {
        let off = CommandTrigger::new(TriggerCommand::TraceOff).times(3).only_if("pid > 100");
        assert_eq!(off.to_string(), "traceoff:3 if pid > 100");
        assert_eq!(Trigger::from(off).removal(), "!traceoff");
        let event = EventName::new("sched", "sched_switch");
        let enable = CommandTrigger::new(TriggerCommand::EnableEvent(event.clone())).times(1);
        assert_eq!(enable.to_string(), "enable_event:sched:sched_switch:1");
        assert_eq!(Trigger::from(enable).removal(), "!enable_event:sched:sched_switch");
        let pause = Trigger::from(CommandTrigger::new(TriggerCommand::DisableHist(event)));
        assert_eq!(pause.to_string(), "disable_hist:sched:sched_switch");
    }

    #[test]
    fn what_the_kernel_shows_can_be_taken_away_and_set_again() {
        for (shown, removal, text) in [
            ("traceoff:unlimited", "!traceoff", "traceoff"),
            ("stacktrace:count=3 if pid > 1", "!stacktrace", "stacktrace:3 if pid > 1"),
            (
                "traceon:unlimited if comm ~ \"a:count=*\"",
                "!traceon",
                "traceon if comm ~ \"a:count=*\"",
            ),
            (
                "enable_event:sched:sched_switch:count=2",
                "!enable_event:sched:sched_switch",
                "enable_event:sched:sched_switch:2",
            ),
            (
                "hist:keys=pid:vals=hitcount:sort=hitcount:size=2048 if pid > 1 [active]",
                "!hist:keys=pid:vals=hitcount:sort=hitcount:size=2048 if pid > 1",
                "hist:keys=pid:vals=hitcount:sort=hitcount:size=2048 if pid > 1",
            ),
        ] {
            assert_eq!(removal_of_shown(shown), removal);
            assert_eq!(text_of_shown(shown), text);
        }
    }
}
