//! `sched_wakeup`, `sched_wakeup_new`: `comm:pid [prio] CPU:001`; tells the name of the task.

use super::sched_switch::copy;
use super::{Binding, HandledRecord, Handler, IntField, NeededField, Observer, Order, TextField};
use crate::report::number;

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(SchedWakeup {
        comm: binding.text("comm"),
        pid: binding.needed("pid"),
        prio: binding.needed("prio"),
        success: binding.int("success"),
        target_cpu: binding.int("target_cpu"),
    }))
}

#[derive(Clone)]
struct SchedWakeup {
    comm: Option<TextField>,
    pid: NeededField,
    prio: NeededField,
    success: Option<IntField>,
    target_cpu: Option<IntField>,
}

impl Handler for SchedWakeup {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let data = record.data;
        let Some(pid) = self.pid.get(data, out) else {
            out.push(b'!');
            return record.print_fmt(out);
        };
        if let Some(comm) = self.comm.as_ref().and_then(|f| f.get(data)) {
            out.extend_from_slice(comm);
            out.push(b':');
        }
        number::decimal(out, pid);
        match self.prio.value(data) {
            Some(prio) => {
                out.extend_from_slice(b" [");
                number::decimal(out, prio);
                out.push(b']');
            }
            None => self.prio.complain(out),
        }
        if let Some(success) = self.success.and_then(|f| f.get(data)) {
            out.extend_from_slice(b" success=");
            number::decimal(out, success);
        }
        if let Some(cpu) = self.target_cpu.and_then(|f| f.get(data)) {
            out.extend_from_slice(b" CPU:");
            number::decimal_zeros(out, cpu, 3);
        }
    }

    fn observer(&self) -> Option<Box<dyn Observer>> {
        Some(Box::new(self.clone()))
    }
}

impl Observer for SchedWakeup {
    fn observe(&mut self, record: &mut dyn Order) -> u32 {
        let data = record.data();
        if let (Some(comm), Some(pid)) =
            (self.comm.as_ref().and_then(|f| f.get(data)), self.pid.signed(data))
        {
            let (comm, len) = copy(comm);
            record.learn_comm(pid as i32, &comm[..len]);
        }
        0
    }
}
