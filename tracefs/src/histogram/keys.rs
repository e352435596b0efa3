//! The keys of an entry: `call_site: [ffff…] kmalloc, common_pid: bash [ 42]`.

use super::{HistogramKey, KeyValue};

/// Names of the keys, from the trigger: `hist:keys=pid.execname,prio:vals=…` gives `pid`, `prio`.
pub(super) fn key_names(trigger: &str) -> Vec<String> {
    let Some((_, rest)) = trigger.split_once("keys=") else { return Vec::new() };
    let keys = rest.split([':', ' ']).next().unwrap_or_default();
    keys.split(',').map(|key| key.split('.').next().unwrap_or(key).to_owned()).collect()
}

/// Splits keys at the names they are known to have, so that a value may hold any sign.
pub(super) fn split_keys(text: &str, names: &[String]) -> Vec<HistogramKey> {
    let mut keys = Vec::new();
    let mut rest = text;
    let mut coming = names.iter().peekable();
    while let Some(name) = coming.next() {
        let Some(after) = rest.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix(':'))
        else {
            break;
        };
        let end = coming.peek().and_then(|next| after.find(&format!(", {next}:")));
        let (value, tail) = match end {
            Some(end) => after.split_at(end),
            None => (after, ""),
        };
        keys.push(key(name, value));
        rest = tail.strip_prefix(", ").unwrap_or_default();
    }
    // The kernel may show another name than it was given; then the first colon counts.
    if let Some((name, value)) = rest.split_once(':') {
        keys.push(key(name.trim(), value));
    }
    keys
}

fn key(name: &str, value: &str) -> HistogramKey {
    let value = if value.contains('\n') {
        let lines = value.lines().map(str::trim).filter(|line| !line.is_empty());
        KeyValue::Stack(lines.map(str::to_owned).collect())
    } else {
        KeyValue::Text(value.trim().to_owned())
    };
    HistogramKey { name: name.to_owned(), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_trigger() {
        let names = key_names("hist:keys=common_pid.execname,id.syscall,x:vals=hitcount [active]");
        assert_eq!(names, ["common_pid", "id", "x"]);
        assert_eq!(key_names("hist:name=foo"), [""; 0]);
    }

    #[test]
    fn unknown_names_are_still_keys() {
        let keys = split_keys("common_stacktrace:\n   a\n   b", &["stacktrace".to_owned()]);
        assert_eq!(keys[0].name, "common_stacktrace");
        assert_eq!(keys[0].value, KeyValue::Stack(vec!["a".to_owned(), "b".to_owned()]));
        assert!(split_keys("no colon", &[]).is_empty());
    }
}
