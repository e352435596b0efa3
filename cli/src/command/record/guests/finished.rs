//! What a guest brought.

use std::path::PathBuf;
use std::time::Duration;

use trace_virt::host::SessionEnd;
use trace_virt::time_sync::Sample;
use trace_virt::vcpu::VcpuThreads;
use tracedat::Abi;
use tracedat::layout::OptionId;
use tracedat::metadata::VirtualCpu;
use tracedat::write::{self, Placement};

use super::running::{Exec, Started};

/// What a guest brought.
#[derive(Debug)]
pub(crate) struct FinishedGuest {
    pub(crate) name: String,
    /// Its file, if there is one.
    pub(crate) path: Option<PathBuf>,
    pub(crate) trace_id: u64,
    pub(crate) end: SessionEnd,
    pub(crate) cpus: Vec<GuestCpu>,
    /// The host's threads that run them.
    pub(crate) threads: VcpuThreads,
    /// Where data is, by instance and CPU.
    pub(crate) placements: Vec<Placement>,
    /// Events that its kernel lost, as far as it told.
    pub(crate) lost_events: u64,
    pub(crate) exec: Exec,
    pub(crate) started: Started,
    pub(crate) samples: Vec<Sample>,
    /// By how much its corrected time may be wrong; `None` where the clocks were not compared.
    pub(crate) clock_error: Option<u64>,
    /// How often an agent of the C version told its clock, which states no bound.
    pub(crate) vcpu_samples: usize,
    /// What it told this machine, its guest, for its own file; `None` of a guest.
    pub(super) own_options: Option<Vec<(OptionId, Vec<u8>)>>,
    /// What the samples count: `ns`, or cycles.
    pub(crate) unit: &'static str,
    /// How often and how long its command waited for this side.
    pub(crate) held: Option<(u32, Duration)>,
    pub(crate) problems: Vec<String>,
    /// Whether not all that came could be written.
    pub(crate) has_failed: bool,
}

/// What became of the data of one of its CPUs.
#[derive(Debug)]
pub(crate) struct GuestCpu {
    pub(crate) cpu: u32,
    /// Bytes that came and are not in the file.
    pub(crate) discarded: u64,
    /// Bytes that the guest sent and that never came; not known of a guest that did not tell its end.
    pub(crate) missing: Option<u64>,
}

impl FinishedGuest {
    /// Whether anything that was to be recorded is missing, or may be.
    pub(crate) fn has_losses(&self) -> bool {
        let is_whole = |cpu: &GuestCpu| cpu.discarded == 0 && cpu.missing == Some(0);
        self.lost_events > 0 || !self.cpus.iter().all(is_whole)
    }

    /// Bytes that came and are not in the file.
    pub(crate) fn discarded_bytes(&self) -> u64 {
        self.cpus.iter().map(|cpu| cpu.discarded).fold(0, u64::saturating_add)
    }

    /// Bytes that the guest sent and that never came, where that is known.
    pub(crate) fn missing_bytes(&self) -> Option<u64> {
        self.cpus.iter().try_fold(0, |sum: u64, cpu| Some(sum.saturating_add(cpu.missing?)))
    }

    /// What the file of this machine says of it.
    pub(crate) fn options(&self) -> Vec<(OptionId, Vec<u8>)> {
        self.own_options.clone().unwrap_or_else(|| vec![self.option()])
    }

    fn option(&self) -> (OptionId, Vec<u8>) {
        let thread = |cpu| self.threads.get(cpu).unwrap_or(-1);
        let cpus = self.cpus.iter().map(|one| VirtualCpu { cpu: one.cpu, pid: thread(one.cpu) });
        let cpus = cpus.collect();
        let guest =
            tracedat::metadata::Guest { name: self.name.clone(), trace_id: self.trace_id, cpus };
        write::option::guest(&guest, Abi::NATIVE.byte_order)
    }
}
