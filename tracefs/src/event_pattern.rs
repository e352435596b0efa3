//! Patterns of event names, and the names nearest to one that matches nothing.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::event::{EventName, EventSelection};

/// Names proposed at most.
const PROPOSALS: usize = 3;

/// Selects from `events`, which are sorted.
pub(crate) fn select(events: &[EventName], pattern: &str) -> Result<EventSelection, Error> {
    if pattern == "all" && !events.is_empty() {
        return Ok(EventSelection::everything(events));
    }
    let mut selection = EventSelection::default();
    let mut take = |event_glob: &str, keep: &dyn Fn(&EventName) -> bool| {
        for name in events.iter().filter(|name| keep(name)) {
            selection.insert(name.clone(), event_glob == "*");
        }
    };
    match pattern.split_once([':', '/']) {
        Some((system, event)) => {
            // An empty part stands for any, as in the kernel's set_event.
            let system = if system.is_empty() { "*" } else { system };
            let event = if event.is_empty() { "*" } else { event };
            take(event, &|name| matches(system, &name.system) && matches(event, &name.event));
        }
        None if events.iter().any(|name| matches(pattern, &name.system)) => {
            take("*", &|name| matches(pattern, &name.system));
        }
        None => take("", &|name| matches(pattern, &name.event)),
    }
    if selection.is_empty() {
        let nearest = nearest(events, pattern);
        return Err(Error::UnknownEvent { pattern: pattern.to_owned(), nearest });
    }
    Ok(selection)
}

/// Whether a glob with `*`, `?` and `[a-z]` matches all of `name`. Takes time proportional to
/// the product of the lengths, whatever the pattern.
pub fn matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where the last star stood, and how much of the name it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = name.get(from) {
        let step = match glob.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(glob.get(at..).unwrap_or_default(), byte),
            Some(b'\\') => (glob.get(at + 1) == Some(&byte)).then_some(2),
            Some(plain) => (*plain == byte).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(width), _) => {
                at += width;
                from += 1;
            }
            (None, Some((stood, eaten))) => {
                star = Some((stood, eaten + 1));
                at = stood + 1;
                from = eaten + 1;
            }
            (None, None) => return false,
        }
    }
    glob.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// The width of the class `[…]` at the start of `glob`, if it has `byte`. A bracket that is
/// never closed is a bracket.
fn class(glob: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(glob.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    let closed = glob.iter().skip(first + 1).position(|b| *b == b']').map(|i| i + first + 1);
    let Some(end) = closed else { return (byte == b'[').then_some(1) };
    let members = glob.get(first..end).unwrap_or_default();
    let mut found = false;
    let mut rest = members;
    while let [low, tail @ ..] = rest {
        match tail {
            [b'-', high, after @ ..] => {
                found |= (*low..=*high).contains(&byte);
                rest = after;
            }
            _ => {
                found |= *low == byte;
                rest = tail;
            }
        }
    }
    (found != negated).then_some(end + 1)
}

/// Names closest to `pattern`, best first; none that is far off.
fn nearest(events: &[EventName], pattern: &str) -> Vec<String> {
    let asked = pattern.replacen('/', ":", 1);
    let qualified = asked.contains(':');
    let mut candidates = BTreeSet::new();
    for name in events {
        if qualified {
            candidates.insert(name.to_string());
        } else {
            candidates.insert(name.system.clone());
            candidates.insert(name.event.clone());
        }
    }
    let limit = (asked.len() / 4).clamp(1, 4);
    let near = |name: String| {
        let distance = distance(&asked, &name, limit)?;
        Some((distance, name))
    };
    let mut ranked: Vec<(usize, String)> = candidates.into_iter().filter_map(near).collect();
    ranked.sort();
    ranked.into_iter().take(PROPOSALS).map(|(_, name)| name).collect()
}

/// Edits (insert, remove, replace, swap neighbours) from one name to another, up to `limit`.
fn distance(from: &str, to: &str, limit: usize) -> Option<usize> {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    if from.len().abs_diff(to.len()) > limit {
        return None;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            let mut best =
                (at(&last, j) + usize::from(a != b)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if swapped {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    let edits = at(&last, to.len());
    (edits <= limit).then_some(edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<EventName> {
        let names = [
            ("irq", "irq_handler_entry"),
            ("irq", "softirq_entry"),
            ("sched", "sched_switch"),
            ("sched", "sched_wakeup"),
            ("syscalls", "sys_enter_read"),
            ("xen", "sched_wakeup"),
        ];
        names.iter().map(|(system, event)| EventName::new(*system, *event)).collect()
    }

    fn selected(pattern: &str) -> Vec<String> {
        let selection = select(&events(), pattern).unwrap();
        selection.events().map(|name| name.to_string()).collect()
    }

    #[test]
    fn every_form_of_a_pattern_selects() {
        assert_eq!(selected("irq"), ["irq:irq_handler_entry", "irq:softirq_entry"]);
        assert_eq!(selected("sched:sched_switch"), ["sched:sched_switch"]);
        assert_eq!(selected("sched/sched_switch"), ["sched:sched_switch"]);
        assert_eq!(selected("sched_wakeup"), ["sched:sched_wakeup", "xen:sched_wakeup"]);
        assert_eq!(selected("s*:s*_?[a-w]*t*"), ["sched:sched_switch", "syscalls:sys_enter_read"]);
        assert_eq!(selected("*_entry"), ["irq:irq_handler_entry", "irq:softirq_entry"]);
        assert_eq!(selected(":sched_switch"), ["sched:sched_switch"]);
        assert_eq!(selected("all").len(), 6);
    }

    #[test]
    fn whole_systems_are_known_as_such() {
        assert!(select(&events(), "irq").unwrap().is_whole("irq"));
        assert!(select(&events(), "irq:*").unwrap().is_whole("irq"));
        assert!(select(&events(), "s*").unwrap().is_whole("syscalls"));
        assert!(!select(&events(), "irq:*entry").unwrap().is_whole("irq"));
        assert!(select(&events(), "all").unwrap().is_everything());
    }

    #[test]
    fn an_unknown_event_is_answered_with_names_like_it() {
        let near = |pattern: &str| match select(&events(), pattern).unwrap_err() {
            Error::UnknownEvent { nearest, .. } => nearest,
            error => panic!("{error}"),
        };
        assert_eq!(near("shced"), ["sched"]);
        assert_eq!(near("sched:sched_swich"), ["sched:sched_switch"]);
        assert_eq!(near("sched/sched_swtich"), ["sched:sched_switch"]);
        assert_eq!(near("sched_wakeupp"), ["sched_wakeup"]);
        assert_eq!(near("xem"), ["xen"]);
        assert!(near("something_else").is_empty() && near("kvm").is_empty() && near("").is_empty());
    }

    #[test]
    fn globs_match_as_in_a_shell() {
        for (glob, name, expected) in [
            ("*", "", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("?", "", false),
            ("[!a-c]x", "dx", true),
            ("[^a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[ab", "[ab", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
        ] {
            assert_eq!(matches(glob, name), expected, "{glob} {name}");
        }
        let stars = "*a".repeat(500);
        assert!(!matches(&stars, &"a".repeat(499)));
    }
}
