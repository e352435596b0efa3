//! Beginnings of lines kept from one line to the next: most lines repeat the task of their CPU, what
//! it was doing, and the second.

use crate::text;

/// Beginnings that are kept; those of many CPUs share their places.
const PLACES: usize = 128;
/// Longest beginning that is kept.
const MAX_LEN: usize = 48;

/// What lines began with lately.
pub(crate) struct Heads {
    kept: [Kept; PLACES],
}

/// All that a beginning depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadKey {
    /// Flags, preemption count and process, as the record has them.
    pub(crate) common: u64,
    /// The second, where the line has one.
    pub(crate) second: Option<u64>,
    pub(crate) cpu: u32,
    pub(crate) file: u32,
}

impl HeadKey {
    /// Where its text is kept: one task of a CPU has few preemption counts at a time.
    #[inline]
    fn place(&self) -> usize {
        let [flags, preempt_count, ..] = self.common.to_le_bytes();
        let state = usize::from(flags & 1) | usize::from(preempt_count & 3) << 1;
        (state | (self.cpu as usize) << 3) % PLACES
    }
}

#[derive(Clone, Copy)]
struct Kept {
    key: Option<HeadKey>,
    len: u8,
    bytes: [u8; MAX_LEN],
}

impl Heads {
    /// Nothing kept.
    pub(crate) fn new() -> Self {
        Self { kept: [Kept { key: None, len: 0, bytes: [0; MAX_LEN] }; PLACES] }
    }

    /// Appends the beginning of a line, which `print` writes when it is not kept; `print` says
    /// whether it may be.
    #[inline]
    pub(crate) fn append(
        &mut self,
        key: HeadKey,
        out: &mut Vec<u8>,
        print: impl FnOnce(&mut Vec<u8>) -> bool,
    ) {
        let kept = &mut self.kept[key.place()];
        if kept.key == Some(key) {
            text::first(out, &kept.bytes, usize::from(kept.len));
            return;
        }
        let start = out.len();
        if print(out)
            && let Some(text) = out.get(start..)
            && let Some(bytes) = kept.bytes.get_mut(..text.len())
        {
            bytes.copy_from_slice(text);
            kept.len = text.len() as u8;
            kept.key = Some(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HeadKey = HeadKey { common: 0x7_0000, second: Some(5), cpu: 1, file: 0 };

    #[test]
    fn only_the_same_task_on_the_same_cpu_in_the_same_second_repeats() {
        let mut heads = Heads::new();
        let mut out = Vec::new();
        for (key, text, keep) in [
            (KEY, "a", true),
            (KEY, "not printed", true),
            (HeadKey { common: 0x8_0000, ..KEY }, "b", false),
            (KEY, "not printed", true),
            (HeadKey { second: Some(6), ..KEY }, "c", true),
            (HeadKey { second: None, ..KEY }, "d", true),
            (HeadKey { file: 1, ..KEY }, "e", true),
            (HeadKey { cpu: 1 + PLACES as u32, ..KEY }, "f", true),
            (KEY, "g", true),
            (HeadKey { common: 0x7_0001, ..KEY }, "h", true),
            (KEY, "not printed", true),
        ] {
            heads.append(key, &mut out, |out| {
                out.extend_from_slice(text.as_bytes());
                keep
            });
        }
        assert_eq!(out, b"aabacdefghg");
    }

    #[test]
    fn what_is_too_long_is_printed_anew() {
        let mut heads = Heads::new();
        let mut out = Vec::new();
        for _ in 0..2 {
            heads.append(KEY, &mut out, |out| {
                out.extend_from_slice(&[b'x'; MAX_LEN + 1]);
                true
            });
        }
        assert_eq!(out.len(), 2 * (MAX_LEN + 1));
    }
}
