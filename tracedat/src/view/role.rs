//! What events mean for the picture.

use crate::event_format::EventFormat;
use crate::sched::{Switch, Wakeup};

/// Where an event has what it tells.
#[derive(Debug)]
pub(super) enum Role {
    Switch(Switch),
    Wakeup(Wakeup),
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
        Some(match (format.system.as_str(), format.name.as_str()) {
            ("sched", "sched_switch") => Self::Switch(Switch::of(format)?),
            ("sched", "sched_wakeup" | "sched_wakeup_new") => Self::Wakeup(Wakeup::of(format)?),
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
