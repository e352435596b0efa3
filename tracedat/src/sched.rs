//! Where events of the scheduler have what they tell, for all that follows tasks.

use crate::event_format::EventFormat;
use crate::plugin::{IntField, TextField};

/// A processor goes on with another task.
#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) prev_pid: IntField,
    pub(crate) prev_state: IntField,
    pub(crate) prev_comm: Option<TextField>,
    pub(crate) next_pid: IntField,
    pub(crate) next_comm: Option<TextField>,
}

impl Switch {
    /// The fields of `sched_switch`.
    pub(crate) fn of(format: &EventFormat) -> Option<Self> {
        Some(Self {
            prev_pid: int(format, "prev_pid")?,
            prev_state: int(format, "prev_state")?,
            prev_comm: text(format, "prev_comm"),
            next_pid: int(format, "next_pid")?,
            next_comm: text(format, "next_comm"),
        })
    }
}

/// A task becomes ready.
#[derive(Debug)]
pub(crate) struct Wakeup {
    pub(crate) pid: IntField,
    pub(crate) comm: Option<TextField>,
    pub(crate) target: Option<IntField>,
    success: Option<IntField>,
}

impl Wakeup {
    /// The fields of `sched_wakeup` and `sched_wakeup_new`.
    pub(crate) fn of(format: &EventFormat) -> Option<Self> {
        Some(Self {
            pid: int(format, "pid")?,
            comm: text(format, "comm"),
            target: int(format, "target_cpu"),
            success: int(format, "success"),
        })
    }

    /// Whether the task was ready before; older kernels tell of that too.
    pub(crate) fn is_none(&self, data: &[u8]) -> bool {
        self.success.as_ref().and_then(|success| success.get(data)) == Some(0)
    }
}

fn int(format: &EventFormat, name: &str) -> Option<IntField> {
    IntField::new(format.event_field(name)?, format.abi)
}

fn text(format: &EventFormat, name: &str) -> Option<TextField> {
    Some(TextField::new(format.event_field(name)?, format.abi))
}
