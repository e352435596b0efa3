//! Which of the host's threads runs which virtual CPU.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{LinkError, virtual_cpus};
use crate::metadata::{Metadata, VirtualCpu};
use crate::plugin::IntField;
use crate::read::Records;

/// Where an event has its thread and virtual CPU.
#[derive(Clone, Copy)]
struct Fields {
    pid: IntField,
    vcpu: IntField,
}

/// Looks for `count` virtual CPUs in events of these threads, of all where there are none.
pub(super) fn find(
    host: &Metadata,
    records: &mut Records,
    threads: &[i32],
    count: u32,
) -> Result<Vec<VirtualCpu>, LinkError> {
    let wanted: FxHashSet<i32> = threads.iter().copied().collect();
    let mut events: FxHashMap<u16, Option<Fields>> = FxHashMap::default();
    let mut pids: Vec<Option<i32>> = vec![None; count as usize];
    while let Some(record) = records.next()? {
        let Some(id) = record.data.first_chunk() else { continue };
        let id = host.abi.byte_order.u16(*id);
        let Some(fields) = events.entry(id).or_insert_with(|| Fields::of(host, id)) else {
            continue;
        };
        let (Some(pid), Some(vcpu)) = (fields.pid.get(record.data), fields.vcpu.get(record.data))
        else {
            continue;
        };
        let pid = pid as i32;
        if !wanted.is_empty() && !wanted.contains(&pid) {
            continue;
        }
        let Some(found) = usize::try_from(vcpu).ok().and_then(|vcpu| pids.get_mut(vcpu)) else {
            return Err(LinkError::NoSuchVcpu { pid, vcpu, count });
        };
        let first = *found.get_or_insert(pid);
        if first != pid {
            return Err(LinkError::TwoThreads { vcpu: vcpu as u32, first, second: pid });
        }
    }
    if pids.iter().all(Option::is_none) {
        let named: Vec<String> = threads.iter().map(i32::to_string).collect();
        let of = match named.as_slice() {
            [] => "any thread".to_owned(),
            named => format!("thread {}", named.join(", ")),
        };
        return Err(LinkError::NoVcpus { of });
    }
    Ok(virtual_cpus(pids))
}

impl Fields {
    fn of(host: &Metadata, id: u16) -> Option<Self> {
        let format = &host.event_by_id(id)?.format;
        if format.system != "kvm" || !matches!(&*format.name, "kvm_entry" | "kvm_exit") {
            return None;
        }
        Some(Self {
            pid: IntField::new(format.common_field("common_pid")?, format.abi)?,
            vcpu: IntField::new(format.event_field("vcpu_id")?, format.abi)?,
        })
    }
}
