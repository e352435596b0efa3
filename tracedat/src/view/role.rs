//! What events mean for the picture.

use crate::event_format::EventFormat;
use crate::plugin::{IntField, TextField};

/// Where an event has what it tells.
#[derive(Debug)]
pub(super) enum Role {
    Switch {
        prev_pid: IntField,
        prev_state: IntField,
        prev_comm: Option<TextField>,
        next_pid: IntField,
        next_comm: Option<TextField>,
    },
    Wakeup {
        pid: IntField,
        comm: Option<TextField>,
        success: Option<IntField>,
    },
    Enter(Interrupt),
    Leave(Interrupt),
}

/// What interrupts a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    Soft = 1,
    Hard = 2,
}

impl Role {
    pub(super) fn of(format: &EventFormat) -> Option<Self> {
        let int = |name| IntField::new(format.event_field(name)?, format.abi);
        let text = |name| Some(TextField::new(format.event_field(name)?, format.abi));
        Some(match (format.system.as_str(), format.name.as_str()) {
            ("sched", "sched_switch") => Self::Switch {
                prev_pid: int("prev_pid")?,
                prev_state: int("prev_state")?,
                prev_comm: text("prev_comm"),
                next_pid: int("next_pid")?,
                next_comm: text("next_comm"),
            },
            ("sched", "sched_wakeup" | "sched_wakeup_new") => {
                Self::Wakeup { pid: int("pid")?, comm: text("comm"), success: int("success") }
            }
            ("irq", "softirq_entry") => Self::Enter(Interrupt::Soft),
            ("irq", "softirq_exit") => Self::Leave(Interrupt::Soft),
            ("irq", "irq_handler_entry") => Self::Enter(Interrupt::Hard),
            ("irq", "irq_handler_exit") => Self::Leave(Interrupt::Hard),
            ("irq_vectors", name) if name.ends_with("_entry") => Self::Enter(Interrupt::Hard),
            ("irq_vectors", name) if name.ends_with("_exit") => Self::Leave(Interrupt::Hard),
            _ => return None,
        })
    }
}
