//! What events mean for virtual CPUs.

use super::Task;
use super::state::{Comm, Reason};
use crate::event_format::EventFormat;
use crate::metadata::Metadata;
use crate::plugin::{IntField, TextField};
use crate::ring_buffer::Record;
use crate::sched::{Switch, Wakeup};

/// What happened.
pub(super) enum Told {
    /// A processor goes on with another task.
    Switch { prev: Task, prev_is_ready: bool, next: Task },
    /// A task becomes ready.
    Wakeup { pid: i32, target: u32 },
    /// A task that is ready goes to another processor.
    Migrate { pid: i32, target: u32 },
    /// A virtual CPU goes on with the guest.
    Entry { thread: i32, vcpu: Option<u32> },
    /// It is back, for a reason.
    Exit { thread: i32, vcpu: Option<u32>, reason: Reason },
}

/// Where an event has what it tells.
#[derive(Debug)]
enum Role {
    Switch(Switch),
    Wakeup(Wakeup),
    Migrate { pid: IntField, target: IntField },
    Entry { thread: IntField, vcpu: Option<IntField> },
    Exit { thread: IntField, vcpu: Option<IntField>, reason: IntField, isa: Option<IntField> },
}

/// The roles of all events of a trace, found when an event first occurs.
#[derive(Debug)]
pub(super) struct Events<'m> {
    metadata: &'m Metadata,
    /// With the buffer that has the event: others that have it too tell the same once more.
    roles: Vec<Option<(u32, Option<Role>)>>,
}

impl<'m> Events<'m> {
    pub(super) fn new(metadata: &'m Metadata) -> Self {
        Self { metadata, roles: Vec::new() }
    }

    /// What a record tells, if it does.
    pub(super) fn told(&mut self, record: &Record<'_>) -> Option<Told> {
        let data = record.data;
        let number = |field: &IntField| field.signed(data).map(|number| number as i32);
        let optional = |field: &Option<IntField>| Some(field.as_ref()?.get(data)? as u32);
        let comm = |field: &Option<TextField>| {
            Comm::new(field.as_ref().and_then(|field| field.get(data)).unwrap_or_default())
        };
        Some(match self.role(record.buffer, data)? {
            Role::Switch(switch) => Told::Switch {
                prev: (number(&switch.prev_pid)?, comm(&switch.prev_comm)),
                // Both ready and preempted tasks have none of these bits.
                prev_is_ready: switch.prev_state.get(data)? & 0xff == 0,
                next: (number(&switch.next_pid)?, comm(&switch.next_comm)),
            },
            Role::Wakeup(wakeup) => {
                if wakeup.is_none(data) {
                    return None;
                }
                let target = optional(&wakeup.target).unwrap_or(record.cpu);
                Told::Wakeup { pid: number(&wakeup.pid)?, target }
            }
            Role::Migrate { pid, target } => {
                Told::Migrate { pid: number(pid)?, target: target.get(data)? as u32 }
            }
            Role::Entry { thread, vcpu } => {
                Told::Entry { thread: number(thread)?, vcpu: optional(vcpu) }
            }
            Role::Exit { thread, vcpu, reason, isa } => Told::Exit {
                thread: number(thread)?,
                vcpu: optional(vcpu),
                // Kernels that do not tell run on Intel's machines, as the handler of the event has it.
                reason: (optional(isa).unwrap_or(1).into(), reason.get(data)?),
            },
        })
    }

    /// The role of a record's event, if it has one.
    #[inline]
    fn role(&mut self, buffer: u32, data: &[u8]) -> Option<&Role> {
        let id = self.metadata.abi.byte_order.u16(*data.first_chunk()?);
        let at = usize::from(id);
        if at >= self.roles.len() {
            self.roles.resize_with(at + 1, || None);
        }
        let metadata = self.metadata;
        let of_event = || metadata.event_by_id(id).and_then(|event| Role::of(&event.format));
        let (first, role) = self.roles.get_mut(at)?.get_or_insert_with(|| (buffer, of_event()));
        role.as_ref().filter(|_| *first == buffer)
    }
}

impl Role {
    fn of(format: &EventFormat) -> Option<Self> {
        let int = |name| IntField::new(format.event_field(name)?, format.abi);
        let thread = || IntField::new(format.common_field("common_pid")?, format.abi);
        Some(match (format.system.as_str(), format.name.as_str()) {
            ("sched", "sched_switch") => Self::Switch(Switch::of(format)?),
            ("sched", "sched_wakeup" | "sched_wakeup_new") => Self::Wakeup(Wakeup::of(format)?),
            ("sched", "sched_migrate_task") => {
                Self::Migrate { pid: int("pid")?, target: int("dest_cpu")? }
            }
            ("kvm", "kvm_entry") => Self::Entry { thread: thread()?, vcpu: int("vcpu_id") },
            ("kvm", "kvm_exit") => Self::Exit {
                thread: thread()?,
                vcpu: int("vcpu_id"),
                reason: int("exit_reason")?,
                isa: int("isa"),
            },
            _ => return None,
        })
    }
}
