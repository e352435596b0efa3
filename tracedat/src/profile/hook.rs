//! Which event starts something and which ends it: `[SYSTEM:]EVENT,FIELD[,PIDFIELD]/[SYSTEM:]EVENT,FIELD[,FLAGS]`.

use std::str::FromStr;

use thiserror::Error;

/// A pair of events: what is measured is the time from one to the other with the same value in its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The event that starts it.
    pub start: HookEvent,
    /// Field of the start that has the process it is about; else it is the one that was running.
    pub pid_field: Option<String>,
    /// The event that ends it.
    pub end: HookEvent,
    /// Start and end happen on the same CPU (`p`).
    pub pinned: bool,
    /// A recording takes stack traces at both (`s`); a report shows what stacks there are.
    pub stacks: bool,
    /// Belongs to no process: to its CPU if it is pinned, else to the whole machine (`g`).
    pub global: bool,
}

/// One end of a [`Hook`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEvent {
    /// Its system; `None` for the first system that has an event of the name.
    pub system: Option<String>,
    /// Its name.
    pub event: String,
    /// The field that start and end have in common.
    pub field: String,
}

/// A hook that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HookError {
    /// The text does not have the form of a hook.
    #[error("hook '{text}' is not [SYSTEM:]EVENT,FIELD[,PIDFIELD]/[SYSTEM:]EVENT,FIELD[,FLAGS]")]
    Form {
        /// The hook.
        text: String,
    },
    /// A flag is none of `p`, `s` and `g`.
    #[error("hook '{text}' has the flag '{flag}', none of p, s, g")]
    Flag {
        /// The hook.
        text: String,
        /// The flag.
        flag: char,
    },
    /// The trace has no such event.
    #[error("no event {event} in the trace")]
    NoEvent {
        /// Its name, with the system if one was given.
        event: String,
    },
    /// The event has no such field with an integer.
    #[error("event {event} has no integer field {field}")]
    NoField {
        /// Name of the event.
        event: String,
        /// Name of the field.
        field: String,
    },
}

impl FromStr for Hook {
    type Err = HookError;

    fn from_str(text: &str) -> Result<Self, HookError> {
        let form = || HookError::Form { text: text.to_owned() };
        let (start, end) = text.split_once('/').ok_or_else(form)?;
        let (start, pid_field) = end_of_hook(start).ok_or_else(form)?;
        let (end, flags) = end_of_hook(end).ok_or_else(form)?;
        let flags = flags.unwrap_or_default();
        if let Some(flag) = flags.chars().find(|flag| !"psg".contains(flag.to_ascii_lowercase())) {
            return Err(HookError::Flag { text: text.to_owned(), flag });
        }
        let has = |flag: char| flags.chars().any(|f| f.eq_ignore_ascii_case(&flag));
        Ok(Self {
            start,
            pid_field: pid_field.map(str::to_owned),
            end,
            pinned: has('p'),
            stacks: has('s'),
            global: has('g'),
        })
    }
}

/// `[SYSTEM:]EVENT,FIELD[,MORE]`.
fn end_of_hook(text: &str) -> Option<(HookEvent, Option<&str>)> {
    let (system, text) = match text.split_once(':') {
        Some((system, text)) => (Some(system.trim()), text),
        None => (None, text),
    };
    let mut words = text.split(',').map(str::trim);
    let (event, field, more) = (words.next()?, words.next()?, words.next());
    let empty = |word: &str| word.is_empty() || word.contains('/');
    if system.is_some_and(empty) || empty(event) || empty(field) || words.next().is_some() {
        return None;
    }
    let event = HookEvent {
        system: system.map(str::to_owned),
        event: event.to_owned(),
        field: field.to_owned(),
    };
    Some((event, more.filter(|more| !more.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hook_has_systems_a_pid_field_and_flags_if_wanted() {
        let hook: Hook = "timer:start,timer,pid/end,timer,pg".parse().unwrap();
        let event = |system: Option<&str>, event: &str| HookEvent {
            system: system.map(str::to_owned),
            event: event.to_owned(),
            field: "timer".to_owned(),
        };
        let expected = Hook {
            start: event(Some("timer"), "start"),
            pid_field: Some("pid".to_owned()),
            end: event(None, "end"),
            pinned: true,
            stacks: false,
            global: true,
        };
        assert_eq!(hook, expected);
        assert_eq!("a,b/c,d".parse::<Hook>().unwrap().pid_field, None);
    }

    #[test]
    fn bad_hooks_are_refused_with_the_form() {
        for text in ["", "a", "a,b", "a,b/", "a/b", "a,b/c", ":a,b/c,d", "a,b/c,d,p,s", "a,/c,d"] {
            let form = HookError::Form { text: text.to_owned() };
            assert_eq!(text.parse::<Hook>(), Err(form), "{text}");
        }
        let flag = HookError::Flag { text: "a,b/c,d,x".to_owned(), flag: 'x' };
        assert_eq!("a,b/c,d,x".parse::<Hook>(), Err(flag));
    }
}
