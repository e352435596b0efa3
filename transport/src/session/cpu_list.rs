//! Lists of CPUs as the kernel writes them: `0-3,7`.

use super::SessionError;

/// `0-3,7` of ascending numbers.
pub(super) fn format(cpus: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = cpus.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|&next| last.checked_add(1) == Some(next)) {
            last = next;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if last > first {
            text.push('-');
            text.push_str(&last.to_string());
        }
    }
    text
}

/// The ascending numbers of `text`, of which there must be `count`.
pub(super) fn parse(text: &str, count: u32) -> Result<Vec<u32>, SessionError> {
    let bad = || SessionError::CpuList { text: super::text::clean(text), count };
    let mut cpus = Vec::new();
    let mut least = 0;
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| super::text::number("CPU", text).map_err(|_| bad());
        let (first, last) = (number(first)?, number(last)?);
        let room = count as usize - cpus.len();
        if first < least || last < first || (last - first) as usize >= room {
            return Err(bad());
        }
        cpus.extend(first..=last);
        least = last.checked_add(1).ok_or_else(bad)?;
    }
    if cpus.len() == count as usize { Ok(cpus) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back() {
        for (cpus, text) in
            [(&[][..], ""), (&[0, 1, 2, 3, 7], "0-3,7"), (&[5], "5"), (&[1, 3, 4], "1,3-4")]
        {
            assert_eq!(format(cpus), text);
            assert_eq!(parse(text, cpus.len() as u32).unwrap(), cpus);
        }
    }

    #[test]
    fn lists_that_are_none_or_too_long_are_refused() {
        for (text, count) in [
            ("0-4294967295", 4),
            ("4294967295", 1),
            ("3-0", 4),
            ("0,0", 2),
            ("-1", 1),
            ("0-3", 3),
            ("0-3", 5),
            ("a", 1),
            ("0-1-2", 3),
        ] {
            assert!(parse(text, count).is_err(), "{text}");
        }
    }
}
