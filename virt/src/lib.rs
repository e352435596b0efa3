//! Tracing of virtual machines from their host, over plain virtio-serial: no network, no vsock.
//!
//! ```text
//!            guest                        QEMU                       host
//!  ┌──────────────────────────┐                        ┌──────────────────────────────────┐
//!  │ client ── agent-ctl-path ├── control messages ────┤ agent-ctl-path ─ server          │
//!  │   │                      │                        │                    │ server-ctl  │
//!  │ recorder ─ trace-path-   ├── sub-buffers ─────────┤ trace-path-cpuN.out ─► host      │
//!  │            cpuN          │   (spliced all the way)│                        │         │
//!  └──────────────────────────┘                        └────────────────────────┼─────────┘
//!                                                               sinks, samples ─┘
//! ```
//!
//! * [`setup`] makes a guest's FIFOs and tells what its VM needs.
//! * [`libvirt`] gives a domain what it needs, and [`qmp`] speaks with QEMU itself.
//! * [`doctor`] finds out why a guest cannot be recorded.
//! * [`server`] is the process that QEMU and host tools connect to, and [`identity`] how it tells guests apart.
//! * [`client`] runs in the guest and is handed what records ([`client::GuestRecorder`]).
//! * [`agent`] is the same over vsock and TCP, and speaks trace-cmd's agent protocol.
//! * [`host`] records a guest: it gives the head of its trace, moves its data to descriptors, and compares clocks.
//! * [`time_sync`] turns probes into samples with a stated error.
//! * [`vcpu`] finds the host's threads that run a guest's CPUs, and how KVM makes their counters.
//! * [`wish`] is what a guest says that starts a recording by itself.
//!
//! Nothing here knows what a recording contains: heads, tails and data are bytes. Bytes from a guest are hostile: they name
//! no path and no size that is allocated, and every step that waits for a guest has a deadline.

pub mod agent;
pub mod client;
pub mod doctor;
pub mod host;
pub mod identity;
mod input;
#[cfg(feature = "lab")]
pub mod lab;
pub mod libvirt;
mod out_queue;
pub mod protocol;
pub mod qmp;
pub mod server;
pub mod setup;
pub mod stop;
mod sys;
pub mod time_sync;
pub mod vcpu;
mod waiting;
pub mod wish;
