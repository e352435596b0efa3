//! Ties the files of a host and of a guest together that were recorded without knowing each other.
//!
//! The host's file tells by its events of `kvm` which thread ran which virtual CPU. It gets an
//! option GUEST with them, the guest's file TIME_SHIFT with the difference of the clocks, and the
//! host's TSC2NSEC: readers then show both on the host's clock.

mod error;
mod vcpus;

pub use error::LinkError;

use std::io::{Read, Seek, Write};

use crate::clock::{ClockSample, TimeShift};
use crate::metadata::{Guest, Metadata, TscToNsec, VirtualCpu};
use crate::read::Records;
use crate::write::option::RawOption;
use crate::write::{Appended, WriteError, Writer, option};

/// Most virtual CPUs of a guest.
const MAX_VCPUS: u32 = 1 << 16;

/// What the files do not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkOptions {
    /// The guest's name.
    pub name: String,
    /// Virtual CPUs of the guest; those that its file tells where `None`.
    pub vcpus: Option<u32>,
    /// What its clock has to do with the host's: one for all virtual CPUs, or one for each.
    pub clocks: Vec<ClockSample>,
    /// The host's threads that run it; all that run virtual CPUs where there are none.
    pub threads: Vec<i32>,
}

/// A host and a guest that belong together, and what their files have to tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What the host's file has to tell.
    pub guest: Guest,
    /// What the guest's file has to tell.
    pub time_shift: TimeShift,
    /// How the host makes nanoseconds of cycles, if it does; the guest has to do the same.
    pub tsc_to_nsec: Option<TscToNsec>,
    host_order: crate::ByteOrder,
    guest_order: crate::ByteOrder,
}

impl Link {
    /// Looks through the host's records for the guest's virtual CPUs.
    ///
    /// # Errors
    ///
    /// The files cannot be tied together, or the host's cannot be read.
    pub fn find(
        host: &Metadata,
        records: &mut Records,
        guest: &Metadata,
        options: &LinkOptions,
    ) -> Result<Self, LinkError> {
        for (machine, metadata) in [("host", host), ("guest", guest)] {
            if metadata.version < 7 {
                return Err(LinkError::Version { machine, version: metadata.version });
            }
        }
        let id = |machine, metadata: &Metadata| {
            metadata.trace_id().ok_or(LinkError::NoTraceId { machine })
        };
        let (peer, trace_id) = (id("host", host)?, id("guest", guest)?);
        if peer == trace_id {
            return Err(LinkError::SameTrace);
        }
        if let Some(known) = host.guests().iter().find(|known| known.trace_id == trace_id) {
            return Err(LinkError::Linked { name: known.name.clone() });
        }
        let count = options.vcpus.unwrap_or(guest.cpus);
        if !(1..=MAX_VCPUS).contains(&count) {
            return Err(LinkError::VcpuCount { count });
        }
        let tsc_to_nsec = host.tsc_to_nsec();
        if tsc_to_nsec.is_none() && guest.tsc_to_nsec().is_some() {
            return Err(LinkError::NoTscToNsec);
        }
        let cpus = vcpus::find(host, records, &options.threads, count)?;
        let name = options.name.clone();
        Ok(Self {
            guest: Guest { name, trace_id, cpus },
            time_shift: TimeShift { peer, interpolate: false, cpus: clocks(options, count)? },
            tsc_to_nsec,
            host_order: host.abi.byte_order,
            guest_order: guest.abi.byte_order,
        })
    }

    /// The virtual CPUs whose thread is not known.
    pub fn unknown_vcpus(&self) -> impl Iterator<Item = u32> {
        self.guest.cpus.iter().filter(|cpu| cpu.pid < 0).map(|cpu| cpu.cpu)
    }

    /// Writes what is to be told behind the ends of both files. Nobody sees it before
    /// [`Linked::commit`].
    ///
    /// # Errors
    ///
    /// A file is damaged or refuses: cut both to their old lengths then.
    pub fn append<H, G>(&self, host: H, guest: G) -> Result<Linked<H, G>, WriteError>
    where
        H: Read + Write + Seek,
        G: Read + Write + Seek,
    {
        let mut options: Vec<RawOption> =
            vec![option::time_shift(&self.time_shift, self.guest_order)];
        options.extend(self.tsc_to_nsec.map(|tsc| option::tsc_to_nsec(&tsc, self.guest_order)));
        let guest = Writer::append(guest, &options)?;
        let host = Writer::append(host, &[option::guest(&self.guest, self.host_order)])?;
        Ok(Linked { host, guest })
    }
}

/// Two files with options that nobody sees yet.
#[derive(Debug)]
pub struct Linked<H: Write + Seek, G: Write + Seek> {
    host: Appended<H>,
    guest: Appended<G>,
}

impl<H: Write + Seek, G: Write + Seek> Linked<H, G> {
    /// Makes the options part of both files, the guest's first: a host's file never names a guest
    /// whose times are not known.
    ///
    /// # Errors
    ///
    /// A file refuses. Each is still one that can be read.
    pub fn commit(self) -> Result<(), WriteError> {
        self.guest.link()?;
        self.host.link()
    }
}

/// The clocks of all virtual CPUs.
fn clocks(options: &LinkOptions, count: u32) -> Result<Vec<Vec<ClockSample>>, LinkError> {
    let given = &options.clocks;
    match given.as_slice() {
        [] => Ok(vec![vec![ClockSample { scaling: 1, ..ClockSample::default() }]; count as usize]),
        [all] => Ok(vec![vec![*all]; count as usize]),
        each if each.len() == count as usize => Ok(each.iter().map(|&one| vec![one]).collect()),
        each => Err(LinkError::ClockCount { clocks: each.len(), vcpus: count }),
    }
}

/// A virtual CPU and its thread, -1 where that is not known.
fn virtual_cpus(pids: impl IntoIterator<Item = Option<i32>>) -> Vec<VirtualCpu> {
    (0..).zip(pids).map(|(cpu, pid)| VirtualCpu { cpu, pid: pid.unwrap_or(-1) }).collect()
}
