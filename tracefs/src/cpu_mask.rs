//! Sets of CPUs, and the kernel's two texts for them: `3,ffffffff` and `0-3,5`.

use std::fmt;

use crate::error::Error;
use crate::instance::Instance;

/// CPUs beyond this are not believed: a list from a file is not to allocate without bound.
const LIMIT: u32 = 1 << 16;

/// A set of CPUs. `Display` gives the hexadecimal form that `tracing_cpumask` takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuMask {
    words: Vec<u32>,
}

impl CpuMask {
    /// Reads `f`, or `3,ffffffff`: groups of 32 bits, highest first.
    pub fn parse_mask(text: &str) -> Option<Self> {
        let groups = text.trim().rsplit(',').map(|group| {
            let plain = matches!(group.len(), 1..=8);
            plain.then(|| u32::from_str_radix(group, 16).ok()).flatten()
        });
        let mut mask = Self { words: groups.collect::<Option<_>>()? };
        mask.normalize();
        Some(mask)
    }

    /// Reads `0-3,5`, as in `/sys/devices/system/cpu/possible`.
    pub fn parse_list(text: &str) -> Option<Self> {
        let mut mask = Self::default();
        for range in text.trim().split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            if first > last || last >= LIMIT {
                return None;
            }
            (first..=last).for_each(|cpu| mask.insert(cpu));
        }
        Some(mask)
    }

    /// Adds a CPU.
    ///
    /// # Panics
    /// Not for CPUs below 65536; others are left out.
    pub fn insert(&mut self, cpu: u32) {
        if cpu >= LIMIT {
            return;
        }
        let index = (cpu / 32) as usize;
        if self.words.len() <= index {
            self.words.resize(index + 1, 0);
        }
        if let Some(word) = self.words.get_mut(index) {
            *word |= 1 << (cpu % 32);
        }
    }

    /// Whether a CPU is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        self.words.get((cpu / 32) as usize).is_some_and(|word| word & (1 << (cpu % 32)) != 0)
    }

    /// The CPUs of the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.words).flat_map(|(index, word)| {
            (0..32).filter(move |bit| word & (1 << bit) != 0).map(move |bit| index * 32 + bit)
        })
    }

    /// How many CPUs are in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no CPU is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    fn normalize(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }
}

impl FromIterator<u32> for CpuMask {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut mask = Self::default();
        cpus.into_iter().for_each(|cpu| mask.insert(cpu));
        mask
    }
}

impl fmt::Display for CpuMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.words.iter().rev().skip_while(|word| **word == 0);
        match words.next() {
            Some(word) => write!(f, "{word:x}")?,
            None => f.write_str("0")?,
        }
        words.try_for_each(|word| write!(f, ",{word:08x}"))
    }
}

impl Instance {
    /// The CPUs that are traced.
    ///
    /// # Errors
    /// What the kernel answers, or [`Error::Unexpected`].
    pub fn cpu_mask(&self) -> Result<CpuMask, Error> {
        let file = self.file("tracing_cpumask");
        let text = file.read_text()?;
        CpuMask::parse_mask(&text).ok_or_else(|| file.unexpected(&text, "a CPU mask"))
    }

    /// Traces these CPUs only.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_cpu_mask(&self, mask: &CpuMask) -> Result<(), Error> {
        self.file("tracing_cpumask").write(&mask.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_lists_name_the_same_cpus() {
        let mask = CpuMask::parse_mask("3,00000000,8000000f\n").unwrap();
        assert_eq!(mask.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 31, 64, 65]);
        assert_eq!(CpuMask::parse_list("0-3,31,64-65\n").unwrap(), mask);
        assert_eq!(mask.to_string(), "3,00000000,8000000f");
        assert_eq!((mask.len(), mask.contains(64), mask.contains(63)), (7, true, false));
        assert_eq!(CpuMask::default().to_string(), "0");
        assert_eq!(CpuMask::parse_mask("00,00000003").unwrap().to_string(), "3");
    }

    #[test]
    fn text_that_names_no_cpus_is_refused() {
        for odd in ["", "g", "123456789", "1,,2"] {
            assert_eq!(CpuMask::parse_mask(odd), None, "{odd:?}");
        }
        for odd in ["3-1", "x", "1-", "0-4294967295", "70000"] {
            assert_eq!(CpuMask::parse_list(odd), None, "{odd:?}");
        }
        assert!(CpuMask::parse_list("").unwrap().is_empty());
    }
}
