//! `sched_switch`: `comm:pid [prio] state ==> comm:pid [prio]`; tells the names of both tasks.

use super::{Binding, HandledRecord, Handler, NeededField, Observer, Order, TextField};
use crate::print_fmt::Compat;
use crate::report::number;

/// Letters of a task's state by bit, as 3.1.6 has them.
const LETTERS_3_1_6: &[u8; 8] = b"SDTtZXxW";
/// Letters of a task's state by bit where the print fmt has none.
const LETTERS: &[u8; 8] = b"SDTtXZPI";

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    let states = match binding.compat {
        Compat::V3_1_6 => states_by_bit(LETTERS_3_1_6),
        Compat::V3_4 => states_of_print_fmt(&String::from_utf8_lossy(&binding.format.print_fmt))
            .unwrap_or_else(|| states_by_bit(LETTERS)),
    };
    Some(Box::new(SchedSwitch {
        prev: Task {
            comm: binding.text("prev_comm"),
            pid: binding.needed("prev_pid"),
            prio: binding.needed("prev_prio"),
        },
        next: Task {
            comm: binding.text("next_comm"),
            pid: binding.needed("next_pid"),
            prio: binding.needed("next_prio"),
        },
        prev_state: binding.needed("prev_state"),
        states,
    }))
}

#[derive(Clone)]
struct SchedSwitch {
    prev: Task,
    next: Task,
    prev_state: NeededField,
    states: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone)]
struct Task {
    comm: Option<TextField>,
    pid: NeededField,
    prio: NeededField,
}

impl Task {
    /// `comm:pid`; false, with the reason appended, where there is no pid.
    fn print(&self, data: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(pid) = self.pid.get(data, out) else {
            out.push(b'!');
            return false;
        };
        if let Some(comm) = self.comm.as_ref().and_then(|f| f.get(data)) {
            out.extend_from_slice(comm);
            out.push(b':');
        }
        number::decimal(out, pid);
        true
    }

    /// The priority in brackets, or why there is none.
    fn print_prio(&self, data: &[u8], [open, close]: [&[u8]; 2], out: &mut Vec<u8>) {
        let Some(prio) = self.prio.signed(data) else { return self.prio.complain(out) };
        out.extend_from_slice(open);
        number::signed(out, prio);
        out.extend_from_slice(close);
    }

    fn learn(&self, order: &mut dyn Order) {
        let data = order.data();
        if let (Some(comm), Some(pid)) =
            (self.comm.as_ref().and_then(|f| f.get(data)), self.pid.signed(data))
        {
            let (comm, len) = copy(comm);
            order.learn_comm(pid as i32, &comm[..len]);
        }
    }
}

/// A task's name, apart from the record it came from.
pub(super) fn copy(comm: &[u8]) -> ([u8; 64], usize) {
    let mut copy = [0; 64];
    let len = comm.len().min(copy.len());
    copy[..len].copy_from_slice(&comm[..len]);
    (copy, len)
}

impl SchedSwitch {
    fn print_state(&self, state: u64, out: &mut Vec<u8>) {
        let start = out.len();
        for (mask, letters) in &self.states {
            if state & mask != 0 {
                if out.len() > start {
                    out.push(b'|');
                }
                out.extend_from_slice(letters);
            }
        }
        if out.len() == start {
            out.push(b'R');
        }
    }
}

impl Handler for SchedSwitch {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let data = record.data;
        if !self.prev.print(data, out) {
            return record.print_fmt(out);
        }
        out.push(b' ');
        self.prev.print_prio(data, [b"[", b"] "], out);
        if let Some(state) = self.prev_state.get(data, out) {
            self.print_state(state, out);
        }
        out.extend_from_slice(b" ==> ");
        if !self.next.print(data, out) {
            return record.print_fmt(out);
        }
        self.next.print_prio(data, [b" [", b"]"], out);
    }

    fn observer(&self) -> Option<Box<dyn Observer>> {
        Some(Box::new(self.clone()))
    }
}

impl Observer for SchedSwitch {
    fn observe(&mut self, record: &mut dyn Order) -> u32 {
        self.prev.learn(record);
        self.next.learn(record);
        0
    }
}

fn states_by_bit(letters: &[u8; 8]) -> Vec<(u64, Vec<u8>)> {
    letters.iter().enumerate().map(|(bit, &letter)| (1 << bit, vec![letter])).collect()
}

/// Masks and letters of the `__print_flags(REC->prev_state ...)` in a print fmt.
fn states_of_print_fmt(print_fmt: &str) -> Option<Vec<(u64, Vec<u8>)>> {
    let (_, after) = print_fmt.split_once("__print_flags(REC->prev_state")?;
    // The table ends where the list of pairs does: at the first `)` after a `}`.
    let table = &after[after.find('{')?..];
    let table = &table[..table.rfind('}').map_or(table.len(), |at| at + 1)];
    let mut states = Vec::new();
    for pair in table.split('{').skip(1) {
        let (pair, after) = pair.split_once('}')?;
        let (mask, letters) = pair.split_once(',')?;
        let mask = mask.trim();
        let mask = match mask.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => mask.parse(),
        };
        states.push((mask.ok()?, letters.trim().trim_matches('"').as_bytes().to_vec()));
        if after.trim_start().starts_with(')') {
            break;
        }
    }
    (!states.is_empty()).then_some(states)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_come_from_the_print_fmt() {
        let states = states_of_print_fmt(
            r#""%s%s", (REC->prev_state & 3) ? __print_flags(REC->prev_state & 3, "|", { 0x0001, "S" } , { 2, "D" }) : "R", REC->x ? "{" : "}""#,
        );
        assert_eq!(states, Some(vec![(1, b"S".to_vec()), (2, b"D".to_vec())]));
        assert_eq!(states_of_print_fmt(r#""%d", REC->prev_state"#), None);
    }
}
