//! What a guest's time stamps have to do with the host's: measured, or as KVM says.

use std::path::Path;

use trace_virt::time_sync::{self, Sample};
use trace_virt::vcpu::{KvmVm, TscToHost};
use tracedat::clock::{ClockSample, ErrorSample, TimeError, TimeShift};

/// Ticks by which no agent is wrong: some seconds.
const ANOTHER_MACHINE: u64 = 1 << 33;

/// What the host found out about a guest's clock.
pub(crate) struct GuestClock {
    pub(crate) shift: TimeShift,
    pub(crate) error: TimeError,
}

/// The counters of a guest's CPUs, where both machines record those.
pub(crate) struct Counters {
    process: i32,
    cpus: Vec<TscToHost>,
}

impl Counters {
    /// Those of a guest with so many CPUs; `None` where KVM does not tell of all of them.
    pub(crate) fn read(process: i32, cpus: u32) -> Option<Self> {
        let vms = KvmVm::of_process(Path::new(KvmVm::DEBUGFS), process);
        let [vm] = vms.as_slice() else { return None };
        let counters = vm.counters().ok()?;
        let of_cpu = |cpu| counters.iter().find(|(known, _)| *known == cpu)?.1.to_host();
        let cpus = (0..cpus).map(of_cpu).collect::<Option<_>>()?;
        Some(Self { process, cpus })
    }

    /// Whether they can be those of the CPUs whose clocks an agent compared; how wrong that may be nobody tells.
    pub(crate) fn agree_with(&self, vcpu_samples: &[Vec<time_sync::ClockSample>]) -> bool {
        self.cpus.iter().zip(vcpu_samples).all(|(counter, samples)| {
            samples.iter().all(|sample| {
                let measured = sample.time.wrapping_add_signed(sample.offset);
                counter.apply(sample.time).abs_diff(measured) < ANOTHER_MACHINE
            })
        })
    }

    /// Whether they still are as they were, and agree with what was measured: a guest may set its counters.
    fn hold(&self, samples: &[Sample]) -> bool {
        let now = Self::read(self.process, self.cpus.len() as u32);
        now.is_some_and(|now| now.cpus == self.cpus)
            && samples.iter().all(|sample| self.cpus.iter().any(|counter| agrees(counter, sample)))
    }
}

fn agrees(counter: &TscToHost, sample: &Sample) -> bool {
    let measured = sample.guest_time.wrapping_add_signed(sample.offset);
    let apart = counter.apply(sample.guest_time).abs_diff(measured);
    apart <= sample.error.saturating_add(counter.error)
}

impl GuestClock {
    /// As KVM says, where that holds; else as it was measured.
    pub(crate) fn new(
        samples: &[Sample],
        counters: Option<&Counters>,
        host_trace_id: u64,
        cpus: u32,
    ) -> Option<Self> {
        match counters {
            Some(counters) if counters.hold(samples) => {
                Some(Self::exact(&counters.cpus, host_trace_id))
            }
            _ => Self::measured(samples, host_trace_id, cpus),
        }
    }

    /// The host's time of a guest's.
    pub(crate) fn to_host(&self, guest_time: u64) -> u64 {
        self.shift.to_host(0, guest_time)
    }

    /// The largest bound there is.
    pub(crate) fn worst(&self) -> u64 {
        let samples = self.error.cpus.iter().flatten();
        samples.map(|sample| sample.error.saturating_add(sample.between)).max().unwrap_or(0)
    }

    fn exact(counters: &[TscToHost], peer: u64) -> Self {
        let sample = |counter: &TscToHost| ClockSample {
            time: 0,
            offset: counter.offset,
            scaling: counter.scaling,
            fraction_bits: counter.fraction_bits.into(),
        };
        let error = |counter: &TscToHost| ErrorSample { time: 0, error: counter.error, between: 0 };
        let cpus = counters.iter().map(|counter| vec![sample(counter)]).collect();
        let errors = counters.iter().map(|counter| vec![error(counter)]).collect();
        Self {
            shift: TimeShift { peer, interpolate: false, cpus },
            error: TimeError { cpus: errors },
        }
    }

    /// All vCPUs read one clock, so each gets the same samples; readers interpolate between them.
    fn measured(samples: &[Sample], peer: u64, cpus: u32) -> Option<Self> {
        if samples.is_empty() {
            return None;
        }
        let errors = samples.iter().map(|sample| ErrorSample {
            time: sample.guest_time,
            error: sample.error,
            between: sample.between,
        });
        let error = TimeError { cpus: vec![errors.collect()] };
        let samples = samples.iter().map(|sample| ClockSample {
            time: sample.guest_time,
            offset: sample.offset,
            scaling: 1,
            fraction_bits: 0,
        });
        let cpus = vec![samples.collect(); cpus as usize];
        Some(Self { shift: TimeShift { peer, interpolate: true, cpus }, error })
    }
}

/// The clocks of vCPUs as an agent of the C version told them, each for itself.
pub(crate) fn of_vcpus(told: &[Vec<time_sync::ClockSample>], peer: u64) -> Option<TimeShift> {
    let sample = |one: &time_sync::ClockSample| ClockSample {
        time: one.time,
        offset: one.offset,
        scaling: 1,
        fraction_bits: 0,
    };
    let cpus: Vec<Vec<_>> = told.iter().map(|cpu| cpu.iter().map(sample).collect()).collect();
    let is_empty = cpus.iter().all(Vec::is_empty);
    (!is_empty).then_some(TimeShift { peer, interpolate: true, cpus })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(offset: i64) -> TscToHost {
        TscToHost { offset, scaling: 1, fraction_bits: 0, error: 0 }
    }

    #[test]
    fn what_was_measured_must_agree_with_what_kvm_says() {
        let sample = Sample { guest_time: 5000, offset: 110, error: 10, between: 0 };
        assert!(agrees(&counter(100), &sample) && agrees(&counter(120), &sample));
        assert!(!agrees(&counter(99), &sample) && !agrees(&counter(121), &sample));
    }

    #[test]
    fn each_cpu_has_its_own_counter_and_all_have_one_measured_clock() {
        let exact = GuestClock::exact(&[counter(7), counter(-9)], 1);
        let offsets: Vec<_> =
            exact.shift.cpus.iter().map(|cpu| (cpu.len(), cpu[0].offset)).collect();
        assert_eq!((offsets, exact.shift.interpolate), (vec![(1, 7), (1, -9)], false));
        assert_eq!(exact.error.cpus.len(), 2);
        let sample = Sample { guest_time: 5000, offset: 110, error: 10, between: 3 };
        // No such process: what was measured counts.
        let gone = Counters { process: -1, cpus: vec![counter(110)] };
        let measured = GuestClock::new(&[sample], Some(&gone), 1, 2).unwrap();
        assert_eq!((measured.shift.interpolate, measured.shift.cpus.len()), (true, 2));
        let bound = ErrorSample { time: 5000, error: 10, between: 3 };
        assert_eq!(measured.error.samples(1), [bound]);
        assert!(GuestClock::new(&[], None, 1, 2).is_none());
    }
}
