//! How long woken tasks waited for a CPU: `report -w`.

use rustc_hash::FxHashMap;

use super::number;
use crate::event_format::EventFormat;
use crate::plugin::IntField;

/// Priorities below are real-time.
const FIRST_NORMAL_PRIO: i64 = 100;

/// What an event means for waiting tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// A task becomes ready to run.
    Wakeup { pid: IntField, prio: Option<IntField>, success: Option<IntField> },
    /// A task gets the CPU.
    Switch { next_pid: IntField },
}

impl Role {
    /// The role of an event, if it has one.
    pub(crate) fn of(format: &EventFormat) -> Option<Self> {
        let field = |name| IntField::new(format.event_field(name)?, format.abi);
        match (format.system.as_str(), format.name.as_str()) {
            ("sched", "sched_wakeup" | "sched_wakeup_new") => Some(Self::Wakeup {
                pid: field("pid")?,
                prio: field("prio"),
                success: field("success"),
            }),
            ("sched", "sched_switch") => Some(Self::Switch { next_pid: field("next_pid")? }),
            _ => None,
        }
    }
}

/// Tasks that wait, and how long others did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakeups {
    waiting: FxHashMap<i64, Waiting>,
    all: Latencies,
    real_time: Latencies,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: u64,
    prio: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Latencies {
    count: u64,
    sum: u64,
    max: Extreme,
    min: Extreme,
}

#[derive(Clone, Copy, Debug, Default)]
struct Extreme {
    latency: u64,
    time: u64,
}

impl Wakeups {
    /// Looks at a record; returns how long the task waited that gets the CPU.
    pub(crate) fn observe(&mut self, role: Role, data: &[u8], time: u64) -> Option<u64> {
        match role {
            Role::Wakeup { pid, prio, success } => {
                if success.and_then(|f| f.get(data)) != Some(0) {
                    let prio = prio.and_then(|f| f.signed(data)).unwrap_or(FIRST_NORMAL_PRIO);
                    self.waiting.insert(pid.signed(data)?, Waiting { since: time, prio });
                }
                None
            }
            Role::Switch { next_pid } => {
                let Waiting { since, prio } = self.waiting.remove(&next_pid.signed(data)?)?;
                let latency = time.wrapping_sub(since);
                self.all.add(latency, time);
                if prio < FIRST_NORMAL_PRIO {
                    self.real_time.add(latency, time);
                }
                Some(latency)
            }
        }
    }

    /// Appends average and extremes, nothing where no task was seen.
    pub(crate) fn print_summary(&self, out: &mut Vec<u8>) {
        if self.all.count == 0 {
            return;
        }
        self.all.print(out);
        if self.real_time.count > 0 {
            out.extend_from_slice(b"RT task timings:\n");
            self.real_time.print(out);
        }
    }
}

impl Latencies {
    fn add(&mut self, latency: u64, time: u64) {
        // Waits that took no time are none to tell of.
        if latency > self.max.latency {
            self.max = Extreme { latency, time };
        }
        if self.count == 0 || latency < self.min.latency {
            self.min = Extreme { latency, time };
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(latency);
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\nAverage wakeup latency: ");
        print_microseconds(self.sum / self.count.max(1), out);
        for (label, extreme) in [("Maximum", self.max), ("Minimum", self.min)] {
            out.extend_from_slice(b"\n");
            out.extend_from_slice(label.as_bytes());
            out.extend_from_slice(b" Latency: ");
            print_microseconds(extreme.latency, out);
            out.extend_from_slice(b" at timestamp: ");
            let time = super::line::microseconds(extreme.time);
            number::decimal(out, time / 1_000_000);
            out.push(b'.');
            number::decimal_zeros(out, time % 1_000_000, 6);
        }
        out.extend_from_slice(b"\n\n");
    }
}

/// Appends nanoseconds as `12.345 usecs`.
pub(crate) fn print_microseconds(nanoseconds: u64, out: &mut Vec<u8>) {
    number::decimal(out, nanoseconds / 1000);
    out.push(b'.');
    number::decimal_zeros(out, nanoseconds % 1000, 3);
    out.extend_from_slice(b" usecs");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_that_took_no_time_are_no_longest_one() {
        let mut latencies = Latencies::default();
        latencies.add(0, 1_000_000);
        assert_eq!((latencies.max.time, latencies.min.time), (0, 1_000_000));
    }

    #[test]
    fn summary_tells_real_time_tasks_apart() {
        let mut latencies = Latencies::default();
        latencies.add(7_070, 1_000_000_499);
        latencies.add(2_504, 2_000_000_500);
        let wakeups =
            Wakeups { all: latencies, real_time: Latencies::default(), ..Wakeups::default() };
        let mut out = Vec::new();
        wakeups.print_summary(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\nAverage wakeup latency: 4.787 usecs\n\
             Maximum Latency: 7.070 usecs at timestamp: 1.000000\n\
             Minimum Latency: 2.504 usecs at timestamp: 2.000001\n\n"
        );
    }
}
