//! What a record of each event tells about calls and tasks.

use super::names::TaskNames;
use super::stacks::Observed;
use crate::abi::{Abi, ByteOrder};
use crate::event_format::{EventFormat, Field};
use crate::metadata::Metadata;
use crate::plugin::IntField;

/// The events of a file by number, looked up when they occur first.
pub(super) struct Kinds<'m> {
    metadata: &'m Metadata,
    byte_order: ByteOrder,
    slots: Vec<Slot>,
}

enum Slot {
    Unseen,
    /// The file has no format for it.
    Unknown,
    Known(Box<Kind>),
}

/// What an event tells.
pub(super) struct Kind {
    id: u16,
    pid: IntField,
    calls: Calls,
    names: Vec<NameFields>,
}

/// Where an event has what it tells about calls.
enum Calls {
    Call { ip: IntField, parent_ip: IntField },
    Enter { func: IntField, depth: IntField },
    Exit { depth: IntField },
    Trace { start: usize },
    Event,
}

/// Where an event has the name of a task.
struct NameFields {
    comm: Field,
    pid: IntField,
    abi: Abi,
}

impl<'m> Kinds<'m> {
    pub(super) fn new(metadata: &'m Metadata) -> Self {
        Self { metadata, byte_order: metadata.abi.byte_order, slots: Vec::new() }
    }

    /// The event of a record; `None` when the file has no format for it.
    #[inline]
    pub(super) fn get(&mut self, data: &[u8]) -> Option<&Kind> {
        let id = self.byte_order.u16(*data.first_chunk()?);
        let at = usize::from(id);
        if !matches!(self.slots.get(at), Some(Slot::Unknown | Slot::Known(_))) {
            self.look_up(id);
        }
        match self.slots.get(at) {
            Some(Slot::Known(kind)) => Some(kind),
            _ => None,
        }
    }

    #[cold]
    fn look_up(&mut self, id: u16) {
        let at = usize::from(id);
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || Slot::Unseen);
        }
        let event = self.metadata.event_by_id(id);
        let kind = event.and_then(|event| Kind::new(id, &event.format));
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = kind.map_or(Slot::Unknown, |kind| Slot::Known(Box::new(kind)));
        }
    }
}

impl Kind {
    fn new(id: u16, format: &EventFormat) -> Option<Self> {
        let pid = IntField::new(format.common_field("common_pid")?, format.abi)?;
        let int = |name: &str| IntField::new(format.event_field(name)?, format.abi);
        let name = |comm: &str, pid: &str| {
            let comm = format.event_field(comm)?.clone();
            Some(NameFields { comm, pid: int(pid)?, abi: format.abi })
        };
        let calls = match (format.system.as_str(), format.name.as_str()) {
            ("ftrace", "function") => Calls::Call { ip: int("ip")?, parent_ip: int("parent_ip")? },
            ("ftrace", "funcgraph_entry") => {
                Calls::Enter { func: int("func")?, depth: int("depth")? }
            }
            ("ftrace", "funcgraph_exit") => Calls::Exit { depth: int("depth")? },
            ("ftrace", "kernel_stack") => {
                Calls::Trace { start: format.event_field("caller")?.offset as usize }
            }
            _ => Calls::Event,
        };
        let names = match (format.system.as_str(), format.name.as_str()) {
            ("sched", "sched_switch") => {
                vec![name("prev_comm", "prev_pid"), name("next_comm", "next_pid")]
            }
            ("sched", "sched_wakeup" | "sched_wakeup_new") => vec![name("comm", "pid")],
            _ => Vec::new(),
        };
        Some(Self { id, pid, calls, names: names.into_iter().flatten().collect() })
    }

    /// The task that a record is of.
    #[inline]
    pub(super) fn pid(&self, data: &[u8]) -> Option<i32> {
        Some(self.pid.get(data)? as i32)
    }

    /// What a record tells about calls; `None` when it is too short.
    #[inline]
    pub(super) fn observe<'a>(&self, data: &'a [u8]) -> Option<Observed<'a>> {
        Some(match &self.calls {
            Calls::Event => Observed::Event(self.id),
            Calls::Call { ip, parent_ip } => {
                Observed::Call { function: ip.get(data)?, caller: parent_ip.get(data)? }
            }
            Calls::Enter { func, depth } => {
                Observed::Enter { function: func.get(data)?, depth: depth.get(data)? as u32 }
            }
            Calls::Exit { depth } => Observed::Exit { depth: depth.get(data)? as u32 },
            Calls::Trace { start } => Observed::Trace(data.get(*start..)?),
        })
    }

    /// Tells the names of tasks that a record has.
    #[inline]
    pub(super) fn learn_names(&self, data: &[u8], names: &mut TaskNames) {
        for NameFields { comm, pid, abi } in &self.names {
            if let (Some(pid), Some(comm)) = (pid.get(data), comm.text(*abi, data)) {
                names.learn(pid as i32, comm);
            }
        }
    }
}
