//! How urgent recording is, compared with what is recorded.

use std::io;

use crate::sys;

/// How urgent a thread is to the scheduler.
///
/// A recorder that waits for its turn among many busy tasks loses what they do meanwhile. So it
/// should go first: it has little to do and sleeps in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Priority {
    /// As the program that records.
    Inherited,
    /// A nice value, -20 (most urgent) to 19.
    Nice(i32),
    /// Real time (`SCHED_FIFO`), 1 to 99: before all that is not.
    Realtime(i32),
}

impl Priority {
    /// The one for threads that work on what a recorder hands them: urgent, but such that they never
    /// keep the recorder from a CPU, nor use up the time that the kernel grants to real time.
    #[must_use]
    pub fn of_helpers(self) -> Self {
        match self {
            Self::Realtime(_) => Self::Nice(-20),
            other => other,
        }
    }

    /// Gives it to the calling thread.
    ///
    /// # Errors
    /// What the system answers: `EPERM` without `CAP_SYS_NICE`, `EINVAL` for a value out of range.
    pub fn apply(self) -> io::Result<()> {
        match self {
            Self::Inherited => Ok(()),
            Self::Nice(value) => sys::set_nice(value),
            Self::Realtime(value) => sys::set_realtime(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        Priority::Inherited.apply().unwrap();
        let refused = std::thread::spawn(|| Priority::Realtime(1000).apply()).join().unwrap();
        assert!(refused.is_err());
        // Being less urgent is never refused.
        std::thread::spawn(|| Priority::Nice(19).apply()).join().unwrap().unwrap();
    }
}
