//! What the kernel does when a function is called.

use std::fmt;

use crate::event::EventName;

/// A command of `set_ftrace_filter`. `Display` gives the kernel's text: `schedule:traceoff:3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionCommand {
    /// The function, or a glob.
    pub function: String,
    /// What is done.
    pub action: FunctionAction,
    /// How many times; `None` is without end.
    pub count: Option<u64>,
}

/// What a call does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionAction {
    /// Lets the ring buffers take events.
    TraceOn,
    /// Keeps events out of the ring buffers.
    TraceOff,
    /// Takes a snapshot.
    Snapshot,
    /// Records a stack trace.
    Stacktrace,
    /// Prints the ring buffers to the console.
    Dump,
    /// Prints the ring buffer of this CPU to the console.
    CpuDump,
    /// Enables an event.
    EnableEvent(EventName),
    /// Disables an event.
    DisableEvent(EventName),
}

impl FunctionCommand {
    /// A command without end.
    pub fn new(function: impl Into<String>, action: FunctionAction) -> Self {
        Self { function: function.into(), action, count: None }
    }

    /// Reads the kernel's text, as `Display` writes it; nothing for what is no such command, as the functions of a module
    /// (`kvm_*:mod:kvm`).
    pub fn parse(text: &str) -> Option<Self> {
        // The kernel would take a second word for something else.
        if text.contains(char::is_whitespace) {
            return None;
        }
        let mut words = text.split(':');
        let (function, command) = (words.next().filter(|word| !word.is_empty())?, words.next()?);
        let mut event = || Some(EventName::new(words.next()?, words.next()?));
        let action = match command {
            "traceon" => FunctionAction::TraceOn,
            "traceoff" => FunctionAction::TraceOff,
            "snapshot" => FunctionAction::Snapshot,
            "stacktrace" => FunctionAction::Stacktrace,
            "dump" => FunctionAction::Dump,
            "cpudump" => FunctionAction::CpuDump,
            "enable_event" => FunctionAction::EnableEvent(event()?),
            "disable_event" => FunctionAction::DisableEvent(event()?),
            _ => return None,
        };
        let count = match words.next() {
            Some(count) => Some(count.parse().ok()?),
            None => None,
        };
        words.next().is_none().then(|| Self { function: function.to_owned(), action, count })
    }

    /// Limits how many times it acts.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// The text that takes it away again.
    pub fn removal(&self) -> String {
        // What has a count is found only when told that there is one, whatever is left of it.
        let count = if self.count.is_some() { ":0" } else { "" };
        format!("!{}:{}{count}", self.function, self.action)
    }
}

/// The text that takes a command away, from the line the kernel shows for it:
/// `schedule:traceoff:count=3`.
pub(crate) fn removal_of_shown_command(line: &str) -> String {
    let line = line.trim();
    match line.rsplit_once(":count=") {
        Some((command, _)) => format!("!{command}:0"),
        None => format!("!{}", line.strip_suffix(":unlimited").unwrap_or(line)),
    }
}

impl fmt::Display for FunctionCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.function, self.action)?;
        match self.count {
            Some(count) => write!(f, ":{count}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FunctionAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TraceOn => f.write_str("traceon"),
            Self::TraceOff => f.write_str("traceoff"),
            Self::Snapshot => f.write_str("snapshot"),
            Self::Stacktrace => f.write_str("stacktrace"),
            Self::Dump => f.write_str("dump"),
            Self::CpuDump => f.write_str("cpudump"),
            Self::EnableEvent(event) => write!(f, "enable_event:{event}"),
            Self::DisableEvent(event) => write!(f, "disable_event:{event}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_the_kernel_reads_them() {
        let off = FunctionCommand::new("do_exit", FunctionAction::TraceOff);
        assert_eq!(
            (off.to_string().as_str(), off.removal().as_str()),
            ("do_exit:traceoff", "!do_exit:traceoff")
        );
        let event = EventName::new("sched", "sched_switch");
        let enable = FunctionCommand::new("schedule", FunctionAction::EnableEvent(event)).times(2);
        assert_eq!(enable.to_string(), "schedule:enable_event:sched:sched_switch:2");
        assert_eq!(enable.removal(), "!schedule:enable_event:sched:sched_switch:0");
    }

    #[test]
    fn commands_are_read_as_they_are_written() {
        for text in [
            "do_exit:traceoff",
            "vfs_*:stacktrace:5",
            "schedule:enable_event:sched:sched_switch:2",
            "f:dump",
        ] {
            assert_eq!(FunctionCommand::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "do_exit",
            ":traceoff",
            "kvm_*:mod:kvm",
            "f:enable_event:sched",
            "f:traceoff:",
            "f:traceoff:-1",
            "f:traceoff:1:2",
            "f:traceof",
            "f:enable_event:sched:sched_switch g",
        ] {
            assert_eq!(FunctionCommand::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_shows_can_be_taken_away() {
        for (shown, removal) in [
            ("do_exit:traceoff:unlimited", "!do_exit:traceoff"),
            ("schedule:stacktrace:count=3", "!schedule:stacktrace:0"),
        ] {
            assert_eq!(removal_of_shown_command(shown), removal);
        }
    }
}
