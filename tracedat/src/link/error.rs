//! Why two files cannot be tied together.

use thiserror::Error;

use crate::error::ReadError;

/// Two files that cannot be tied together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Only version 7 can be added to.
    #[error("the {machine}'s trace has version {version}, options can be added to version 7 only")]
    Version {
        /// Whose file it is.
        machine: &'static str,
        /// Its version.
        version: u16,
    },
    /// Nothing names the trace.
    #[error("the {machine}'s trace has no TRACEID to name it by")]
    NoTraceId {
        /// Whose file it is.
        machine: &'static str,
    },
    /// Both files are of one recording.
    #[error("host and guest have the same TRACEID")]
    SameTrace,
    /// The host's file has the guest already.
    #[error("the host's trace has this guest already, as {name:?}")]
    Linked {
        /// The name there.
        name: String,
    },
    /// Only the guest makes nanoseconds of cycles.
    #[error("the guest's trace has TSC2NSEC, the host's has not")]
    NoTscToNsec,
    /// No machine has as many CPUs.
    #[error("a guest with {count} virtual CPUs")]
    VcpuCount {
        /// How many it shall have.
        count: u32,
    },
    /// Clocks for some virtual CPUs only, or for too many.
    #[error("{clocks} clock offsets for {vcpus} virtual CPUs")]
    ClockCount {
        /// How many clocks were given.
        clocks: usize,
        /// How many virtual CPUs there are.
        vcpus: u32,
    },
    /// The host's file does not tell which thread runs which virtual CPU.
    #[error("the host's trace has no kvm_entry or kvm_exit of {of} with a vcpu_id")]
    NoVcpus {
        /// Whose events were looked for.
        of: String,
    },
    /// A virtual CPU has two threads, so there are two guests.
    #[error("virtual CPU {vcpu} is run by thread {first} and by thread {second}")]
    TwoThreads {
        /// The virtual CPU.
        vcpu: u32,
        /// The thread that came first.
        first: i32,
        /// Another one.
        second: i32,
    },
    /// A virtual CPU that the guest does not have.
    #[error("thread {pid} runs virtual CPU {vcpu}, the guest has {count}")]
    NoSuchVcpu {
        /// The thread.
        pid: i32,
        /// Its virtual CPU.
        vcpu: u64,
        /// How many there are.
        count: u32,
    },
    /// The host's records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
