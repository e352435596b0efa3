//! Statistics of the buffers' CPUs: the kernel's text, and lines of the program that recorded.
//!
//! The text is what the kernel says in `per_cpu/cpuN/stats`, the line `CPU: N` before it. Behind it
//! stands what only the recorder knows, in lines like the kernel's, as old readers print whatever is
//! there.

use std::time::Duration;

use super::option::{OptionValue, text};
use crate::layout::OptionId;

/// Statistics of one CPU's buffer at the end of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuStat<'a> {
    /// Name of the instance, empty for the top-level one.
    pub buffer: &'a str,
    /// The text, `CPU: n` first.
    pub text: &'a str,
}

/// What the kernel counted on one CPU since its buffer was emptied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStat {
    /// Events left in the buffer, not in the file.
    pub entries: u64,
    /// Events overwritten before they were read.
    pub overrun: u64,
    /// Events lost because a nested write would have lapped the buffer.
    pub commit_overrun: u64,
    /// Bytes left in the buffer.
    pub bytes: u64,
    /// Events not taken because the buffer was full and not to be overwritten.
    pub dropped_events: u64,
    /// Events read.
    pub read_events: u64,
}

/// What the program that recorded knows of one CPU and the kernel does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderStat<'a> {
    /// How often it took nothing from the kernel for long, though it was at work.
    pub stalls: u64,
    /// How long the longest of these took; the file has whole milliseconds.
    pub longest_stall: Duration,
    /// Bytes taken from the kernel that are not in the file.
    pub discarded_bytes: u64,
    /// Why the recording of this CPU ended early, if it did; one line.
    pub error: Option<&'a str>,
}

/// Names of the recorder's lines.
const STALLS: &str = "reader stalls";
const LONGEST_STALL: &str = "longest reader stall";
const DISCARDED: &str = "discarded bytes";
const ERROR: &str = "recorder error";

impl<'a> CpuStat<'a> {
    /// The CPU; `None` where the text does not tell.
    pub fn cpu(&self) -> Option<u32> {
        self.value("CPU")?.parse().ok()
    }

    /// The kernel's numbers. Lines that are not there count as zero, unknown ones are passed over.
    pub fn kernel(&self) -> KernelStat {
        KernelStat {
            entries: self.number("entries"),
            overrun: self.number("overrun"),
            commit_overrun: self.number("commit overrun"),
            bytes: self.number("bytes"),
            dropped_events: self.number("dropped events"),
            read_events: self.number("read events"),
        }
    }

    /// What the recorder says. Other programs write nothing of that, which counts as zero.
    pub fn recorder(&self) -> RecorderStat<'a> {
        RecorderStat {
            stalls: self.number(STALLS),
            longest_stall: Duration::from_millis(self.number(LONGEST_STALL)),
            discarded_bytes: self.number(DISCARDED),
            error: self.value(ERROR),
        }
    }

    fn number(&self, name: &str) -> u64 {
        let first = self.value(name).and_then(|value| value.split_whitespace().next());
        first.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        let mut lines = self.text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    }
}

impl KernelStat {
    /// Events lost, in whichever way.
    pub fn lost_events(&self) -> u64 {
        self.overrun.saturating_add(self.commit_overrun).saturating_add(self.dropped_events)
    }
}

impl RecorderStat<'_> {
    /// The lines behind the kernel's: none for what did not happen, so that the text of a recording
    /// without trouble is the kernel's own.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        if self.stalls > 0 {
            let longest = self.longest_stall.as_millis();
            lines += &format!("{STALLS}: {}\n{LONGEST_STALL}: {longest} ms\n", self.stalls);
        }
        if self.discarded_bytes > 0 {
            lines += &format!("{DISCARDED}: {}\n", self.discarded_bytes);
        }
        if let Some(error) = self.error {
            lines += &format!("{ERROR}: {}\n", error.replace(['\n', '\r'], " "));
        }
        lines
    }
}

/// Statistics in file order; a heading before those of an instance names it.
pub(super) fn cpu_stats(options: &[OptionValue]) -> impl Iterator<Item = CpuStat<'_>> {
    let mut buffer = "";
    options.iter().filter(|option| option.id == OptionId::CPU_STAT).filter_map(move |option| {
        let text = text(&option.data);
        if let Some(name) = text.strip_prefix("\nBuffer: ") {
            buffer = name.trim_end();
            return None;
        }
        Some(CpuStat { buffer, text })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(id: OptionId, data: &[u8]) -> OptionValue {
        OptionValue { id, offset: 0x40, data: data.to_vec() }
    }

    #[test]
    fn statistics_belong_to_the_instance_named_before_them() {
        let options = [
            option(OptionId::CPU_STAT, b"CPU: 0\nentries: 1\n\0"),
            option(OptionId::UNAME, b"Linux\0"),
            option(OptionId::CPU_STAT, b"\nBuffer: foo\n\n\0"),
            option(OptionId::CPU_STAT, b"CPU: 0\nentries: 2\n\0"),
        ];
        let stats: Vec<_> = cpu_stats(&options).collect();
        assert_eq!(
            stats,
            [
                CpuStat { buffer: "", text: "CPU: 0\nentries: 1\n" },
                CpuStat { buffer: "foo", text: "CPU: 0\nentries: 2\n" },
            ]
        );
    }

    #[test]
    fn kernel_and_recorder_are_told_apart() {
        let text = "CPU: 3\nentries: 1\noverrun: 20\ncommit overrun: 4\nbytes: 88\n\
                    oldest event ts: 144.6\nnow ts: 145.1\ndropped events: 2\nread events: 9\n\
                    reader stalls: 2\nlongest reader stall: 1250 ms\nof tomorrow: 7\n\
                    discarded bytes: 4096\nrecorder error: writing: No space left on device\n";
        let stat = CpuStat { buffer: "", text };
        assert_eq!(stat.cpu(), Some(3));
        let kernel = KernelStat {
            entries: 1,
            overrun: 20,
            commit_overrun: 4,
            bytes: 88,
            dropped_events: 2,
            read_events: 9,
        };
        assert_eq!((stat.kernel(), stat.kernel().lost_events()), (kernel, 26));
        let recorder = RecorderStat {
            stalls: 2,
            longest_stall: Duration::from_millis(1250),
            discarded_bytes: 4096,
            error: Some("writing: No space left on device"),
        };
        assert_eq!(stat.recorder(), recorder);
    }

    #[test]
    fn what_is_not_told_or_no_number_is_zero() {
        for text in ["", "CPU\n", "reader stalls: many\ndiscarded bytes: -1\noverrun:\n"] {
            let stat = CpuStat { buffer: "", text };
            assert_eq!(stat.cpu(), None);
            assert_eq!(stat.kernel(), KernelStat::default());
            assert_eq!(stat.recorder(), RecorderStat::default());
        }
    }
}
