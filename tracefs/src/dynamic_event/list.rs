//! Lines of `dynamic_events`, as the kernel shows them.

use super::{DynamicEvent, Eprobe, FetchArg, Kprobe, SyntheticEvent, Uprobe};
use crate::event::EventName;

pub(super) fn parse_line(line: &str) -> Option<DynamicEvent> {
    let line = line.trim();
    let (head, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (kind, name) = head.split_once(':')?;
    if kind == "s" {
        let (_, text) = line.split_once(':')?;
        return SyntheticEvent::parse(text).map(DynamicEvent::Synthetic);
    }
    let (system, event) = name.split_once(['/', '.'])?;
    let name = EventName::new(system, event);
    let parsed = match kind.split_at_checked(1)? {
        ("p", "") => place(&name, rest, None),
        ("r", digits) => place(&name, rest, Some(digits)),
        ("e", "") => eprobe(&name, rest),
        _ => None,
    };
    Some(parsed.unwrap_or_else(|| DynamicEvent::Other { name, text: line.to_owned() }))
}

/// A kprobe or uprobe; for a return, the digits behind its letter.
fn place(name: &EventName, rest: &str, returns: Option<&str>) -> Option<DynamicEvent> {
    let name = name.clone();
    let max_active = match returns {
        None | Some("") => None,
        Some(digits) => Some(digits.parse().ok()?),
    };
    if !rest.starts_with('/') {
        let (location, args) = first_word(rest);
        let (location, args) = (location.to_owned(), fetch_args(args));
        let returns = returns.is_some();
        return Some(Kprobe { name, location, returns, max_active, args }.into());
    }
    // Paths may have spaces and colons; the offset begins with 0x.
    let (path, rest) = rest.split_once(":0x")?;
    let (offset, args) = first_word(rest);
    let (offset, counter) = match offset.split_once('(') {
        Some((offset, counter)) => (offset, Some(hex(counter.strip_suffix(')')?)?)),
        None => (offset, None),
    };
    let mut probe = Uprobe::new(name.event.clone(), path, hex(offset)?);
    probe.name = name;
    probe.reference_counter = counter;
    probe.returns = returns.is_some();
    probe.args = fetch_args(args);
    Some(probe.into())
}

fn eprobe(name: &EventName, rest: &str) -> Option<DynamicEvent> {
    let (rest, filter) = split_filter(rest);
    let (event, args) = first_word(rest);
    let (system, event) = event.split_once(['.', '/'])?;
    let event = EventName::new(system, event);
    Some(Eprobe { name: name.clone(), event, args: fetch_args(args), filter }.into())
}

/// What stands before the word `if`, and the filter behind it.
fn split_filter(text: &str) -> (&str, Option<String>) {
    let split = text.match_indices("if").find_map(|(at, word)| {
        let (before, rest) = (text.get(..at)?, text.get(at + word.len()..)?);
        let before = before.strip_suffix(char::is_whitespace)?;
        Some((before, rest.strip_prefix(char::is_whitespace)?.to_owned()))
    });
    split.map_or((text, None), |(before, filter)| (before, Some(filter)))
}

fn first_word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

fn fetch_args(text: &str) -> Vec<FetchArg> {
    text.split_whitespace().map(FetchArg::parse).collect()
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamic_event::DynamicKind;
    use proptest::prelude::*;

    #[test]
    fn what_the_kernel_shows_is_what_it_takes() {
        for (line, kind) in [
            ("p:kprobes/open do_sys_open+4 dfd=%di:s32 file=+0(%si):ustring", DynamicKind::Kprobe),
            ("r8:kprobes/opened do_sys_open ret=$retval", DynamicKind::Kretprobe),
            ("p:uprobes/main /bin/bash:0x4710 a=%di", DynamicKind::Uprobe),
            ("r:uprobes/main_ret /opt/my app:0x4710(0x20)", DynamicKind::Uretprobe),
            (
                "e:eprobes/file syscalls.sys_enter_openat f=+0($filename):ustring if dfd > 0",
                DynamicKind::Eprobe,
            ),
            ("s:lat pid_t pid; u64 us", DynamicKind::Synthetic),
            ("f:fprobes/x vfs_read%return ret=$retval", DynamicKind::Other),
            ("t:tracepoints/x sched_switch", DynamicKind::Other),
        ] {
            let event = DynamicEvent::parse(line).unwrap();
            assert_eq!((event.kind(), event.to_string().as_str()), (kind, line));
        }
    }

    #[test]
    fn offsets_are_read_with_their_zeros() {
        let line = "p:uprobes/p_bash /bin/bash:0x00000000000042c0 arg1=%ip";
        let DynamicEvent::Uprobe(probe) = DynamicEvent::parse(line).unwrap() else {
            panic!("not a uprobe");
        };
        assert_eq!((probe.offset, probe.args[0].fetch.as_str()), (0x42c0, "%ip"));
        assert_eq!(DynamicEvent::Uprobe(probe).removal(), "-:uprobes/p_bash");
    }

    #[test]
    fn what_is_not_understood_keeps_its_text_and_garbage_is_nothing() {
        let odd = DynamicEvent::parse("rx:kprobes/a b").unwrap();
        assert_eq!(odd.kind(), DynamicKind::Other);
        assert_eq!(odd.removal(), "-:kprobes/a");
        for garbage in ["", "p", "p:", "p:x y", ":/ x", "s:x", "\u{e4}:a/b c "] {
            let parsed = DynamicEvent::parse(garbage);
            assert!(
                matches!(parsed, None | Some(DynamicEvent::Other { .. })),
                "{garbage:?} {parsed:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_once_and_for_all(line in "[prse]?[0-9]{0,3}:?[a-z./]{0,8} [ -~]{0,40}") {
            if let Some(event) = DynamicEvent::parse(&line) {
                let again = DynamicEvent::parse(&event.to_string());
                prop_assert_eq!(again.map(|event| event.kind()), Some(event.kind()));
            }
        }
    }
}
