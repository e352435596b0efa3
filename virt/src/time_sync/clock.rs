//! Trace clocks that a program can read too.

use std::fmt;

use nix::time::{ClockId, clock_gettime};

use crate::sys;

/// A trace clock that cannot be read outside the kernel, so that two machines' cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "trace clock {clock:?} cannot be compared between machines; mono, mono_raw, boot, tai and x86-tsc can"
)]
pub struct NotComparable {
    /// Its name.
    pub clock: String,
}

/// A trace clock that a program can read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Clock {
    /// `CLOCK_MONOTONIC`.
    Mono,
    /// `CLOCK_MONOTONIC_RAW`.
    MonoRaw,
    /// `CLOCK_BOOTTIME`.
    Boot,
    /// `CLOCK_TAI`.
    Tai,
    /// The processor's time stamp counter, in ticks.
    X86Tsc,
}

impl Clock {
    const ALL: [(Self, &'static str, u32); 5] = [
        (Self::Mono, "mono", 1),
        (Self::MonoRaw, "mono_raw", 2),
        (Self::Boot, "boot", 3),
        (Self::Tai, "tai", 4),
        (Self::X86Tsc, "x86-tsc", 5),
    ];

    /// The clock behind a trace clock's name.
    ///
    /// # Errors
    ///
    /// [`NotComparable`] for `local`, `global`, `counter` and others that only the kernel can read.
    pub fn of_trace_clock(name: &str) -> Result<Self, NotComparable> {
        Self::ALL
            .iter()
            .find(|(clock, known, _)| *known == name && clock.now().is_some())
            .map(|(clock, ..)| *clock)
            .ok_or_else(|| NotComparable { clock: name.to_owned() })
    }

    /// What the trace clock is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// Trace clocks that can be compared on this machine.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().map(|(clock, ..)| clock).filter(|clock| clock.now().is_some())
    }

    /// The time now in ns, or in ticks for [`X86Tsc`](Self::X86Tsc); `None` where this machine has no such clock.
    #[must_use]
    pub fn now(self) -> Option<u64> {
        let id = match self {
            Self::Mono => ClockId::CLOCK_MONOTONIC,
            Self::MonoRaw => ClockId::CLOCK_MONOTONIC_RAW,
            Self::Boot => ClockId::CLOCK_BOOTTIME,
            Self::Tai => ClockId::CLOCK_TAI,
            Self::X86Tsc => return sys::time_stamp_counter(),
        };
        let time = clock_gettime(id).ok()?;
        let seconds = u64::try_from(time.tv_sec()).ok()?;
        let ns = u64::try_from(time.tv_nsec()).ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(ns)
    }

    /// Whether it may be set, so that a time comes twice: by an administrator, or where a machine was moved.
    #[must_use]
    pub fn can_be_set(self) -> bool {
        matches!(self, Self::Tai | Self::X86Tsc)
    }

    pub(super) fn number(self) -> u32 {
        self.entry().2
    }

    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().find(|(.., known)| *known == number).map(|(clock, ..)| *clock)
    }

    fn entry(self) -> (Self, &'static str, u32) {
        let found = Self::ALL.iter().find(|(clock, ..)| *clock == self);
        found.copied().unwrap_or((self, "", 0))
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparable_clocks_advance_and_others_are_named() {
        for name in ["mono", "mono_raw", "boot", "tai"] {
            let clock = Clock::of_trace_clock(name).unwrap();
            assert_eq!(clock.name(), name);
            assert_eq!(Clock::from_number(clock.number()), Some(clock));
            assert!(clock.now().unwrap() <= clock.now().unwrap());
        }
        let error = Clock::of_trace_clock("local").unwrap_err();
        assert!(error.to_string().contains("\"local\""), "{error}");
        assert_eq!(Clock::from_number(99), None);
    }
}
