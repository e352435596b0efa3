//! Names of tasks by pid, from the text of `saved_cmdlines`.
use rustc_hash::FxHashMap;

/// Names of tasks by pid.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    names: FxHashMap<i32, Box<[u8]>>,
    /// Pids that the list had once more.
    again: Vec<i32>,
}

impl Tasks {
    /// Parses the text of `saved_cmdlines`, lines like `123 bash`; lines that are not understood are
    /// left out.
    pub fn parse(text: &[u8]) -> Self {
        let mut names = FxHashMap::default();
        for line in text.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(blank) = line.iter().position(|&byte| byte == b' ') else { continue };
            let pid = std::str::from_utf8(&line[..blank]).ok().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid {
                names.insert(pid, line[blank + 1..].into());
            }
        }
        Self { names, again: Vec::new() }
    }

    /// Parses the same text up to the first line that is not understood, or a NUL. Blanks before a name
    /// do not count, so there has to be one after them.
    pub fn parse_until_damage(text: &[u8]) -> Self {
        let mut names = FxHashMap::default();
        let mut again = Vec::new();
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let line = line.trim_ascii_start();
            let sign = usize::from(line.starts_with(b"-") || line.starts_with(b"+"));
            let digits = line.iter().skip(sign).take_while(|byte| byte.is_ascii_digit()).count();
            let (pid, name) = line.split_at(sign + digits);
            let pid = std::str::from_utf8(pid).ok().and_then(|pid| pid.parse().ok());
            let (Some(pid), name @ [_, ..]) = (pid, name.trim_ascii_start()) else { break };
            if names.insert(pid, name.into()).is_some() {
                again.push(pid);
            }
        }
        Self { names, again }
    }

    /// The name recorded for a pid.
    #[inline]
    pub fn comm(&self, pid: i32) -> Option<&[u8]> {
        self.names.get(&pid).map(|name| &**name)
    }

    /// The pids of the list, in no order; one that it has twice comes twice.
    pub(crate) fn pids(&self) -> impl Iterator<Item = i32> {
        self.names.keys().chain(&self.again).copied()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &[u8])> {
        self.names.iter().map(|(&pid, name)| (pid, &**name))
    }
}

#[cfg(test)]
mod tests {
    use super::Tasks;

    #[test]
    fn names_may_contain_blanks_and_any_byte() {
        let tasks = Tasks::parse(b"12 a b\n7 \xff\nx y\n9\n");
        assert_eq!(tasks.comm(12), Some(&b"a b"[..]));
        assert_eq!(tasks.comm(7), Some(&b"\xff"[..]));
        assert_eq!(tasks.iter().count(), 2);
    }

    #[test]
    fn list_can_end_at_the_first_damaged_line() {
        let names = |text: &[u8]| {
            let tasks = Tasks::parse_until_damage(text);
            (1..=3).map(|pid| tasks.comm(pid).map(<[u8]>::to_vec)).collect::<Vec<_>>()
        };
        let (a, c) = (Some(b"a".to_vec()), Some(b"c d".to_vec()));
        assert_eq!(names(b"1 a\n\n 3  c d\n"), [a.clone(), None, c]);
        for damaged in ["x2 b", "2 ", "2", "\0"] {
            let text = format!("1 a\n{damaged}\n3 c\n");
            assert_eq!(names(text.as_bytes()), [a.clone(), None, None], "{damaged:?}");
        }
        assert_eq!(names(b"1a\n"), [a, None, None]);
        assert_eq!(Tasks::parse_until_damage(b"1 a\n2 b\n1 c\n").pids().count(), 3);
    }
}
