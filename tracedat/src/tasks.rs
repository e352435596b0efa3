//! Names of tasks by pid, from the text of `saved_cmdlines`.
use rustc_hash::FxHashMap;

/// Names of tasks by pid.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    names: FxHashMap<i32, Box<[u8]>>,
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
        Self { names }
    }

    /// The name recorded for a pid.
    #[inline]
    pub fn comm(&self, pid: i32) -> Option<&[u8]> {
        self.names.get(&pid).map(|name| &**name)
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
}
