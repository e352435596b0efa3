//! Wakes a guest that QEMU keeps in code which is no more.
//!
//! A kernel that switches an event on or off patches its own code: it writes a breakpoint, and then the new instruction. QEMU before
//! 8.1 may translate such a place for one vCPU while another vCPU patches it, and then keeps the breakpoint for good: all vCPUs
//! that come there take it, find no reason for it, go back, and take it again. Translating with other flags looks at the memory anew.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use crate::qmp::{Qmp, QmpError};

const PERIOD: Duration = Duration::from_millis(250);
/// For each command; a QEMU that is stopped says nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// Looks at once after the first that saw a vCPU there, and how many of them must see it as well: it is there a tenth of its time.
const MORE_LOOKS: usize = 40;
const ENOUGH: usize = 2;
/// The beginning of the handler, which nothing else jumps into.
const HANDLER_BYTES: u64 = 11;
/// How long the guest runs in the other translation.
const OTHER_FLAGS: Duration = Duration::from_secs(2);

/// Looks after one guest until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// `socket` is a monitor that nobody else uses.
    pub(super) fn start(guest: String, socket: PathBuf) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let mut qmp = None;
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                qmp = qmp.take().or_else(|| Qmp::connect(&socket, PATIENCE).ok());
                let Some(monitor) = &mut qmp else { continue };
                match look_after(monitor, || stopped.recv_timeout(OTHER_FLAGS)) {
                    Ok(true) => eprintln!(
                        "guest {guest}: QEMU ran code that was no more; it translated all anew"
                    ),
                    Ok(false) => {}
                    Err(_) => qmp = None,
                }
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether the guest had to be helped.
fn look_after<T>(qmp: &mut Qmp, wait: impl FnOnce() -> T) -> Result<bool, QmpError> {
    let registers = say(qmp, "info registers -a")?;
    let Some(table) = interrupt_table(&registers) else { return Ok(false) };
    let gate = say(qmp, &format!("x/2gx {:#x}", table.wrapping_add(3 * 16)))?;
    let Some(handler) = handler(&gate) else { return Ok(false) };
    let beginning = handler..handler.saturating_add(HANDLER_BYTES);
    let is_there =
        |registers: &str| instruction_pointers(registers).any(|at| beginning.contains(&at));
    if !is_there(&registers) {
        return Ok(false);
    }
    let mut seen = 0;
    for _ in 0..MORE_LOOKS {
        seen += usize::from(is_there(&say(qmp, "info registers -a")?));
    }
    if seen < ENOUGH {
        return Ok(false);
    }
    // Blocks that do not jump into each other are kept apart from those that do.
    say(qmp, "log nochain")?;
    wait();
    say(qmp, "log none")?;
    Ok(true)
}

fn say(qmp: &mut Qmp, line: &str) -> Result<String, QmpError> {
    let text = qmp.execute("human-monitor-command", &json!({ "command-line": line }))?;
    Ok(text.as_str().unwrap_or_default().to_owned())
}

/// `RIP=ffffffff8509c597 RFL=…`, one for each vCPU.
fn instruction_pointers(registers: &str) -> impl Iterator<Item = u64> {
    let words = registers.split_ascii_whitespace();
    words.filter_map(|word| u64::from_str_radix(word.strip_prefix("RIP=")?, 16).ok())
}

/// `IDT=     fffffe0000000000 00000fff`: of a kernel, all vCPUs have the same.
fn interrupt_table(registers: &str) -> Option<u64> {
    let (_, table) = registers.split_once("IDT=")?;
    let table = u64::from_str_radix(table.split_ascii_whitespace().next()?, 16).ok()?;
    (table >> 63 == 1).then_some(table)
}

/// A gate in long mode, `ADDRESS: 0x85c0ee0000100ba0 0x00000000ffffffff`: the address is in its bits 0, 48, and 64 on.
fn handler(gate: &str) -> Option<u64> {
    let (_, words) = gate.split_once(": ")?;
    let mut words = words
        .split_ascii_whitespace()
        .map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let (low, high) = (words.next()??, words.next()??);
    Some((low & 0xffff) | ((low >> 48) << 16) | (high << 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handler_is_put_together_from_its_parts() {
        let gate = "fffffe0000000030: 0x85c0ee0000100ba0 0x00000000ffffffff\r\n";
        assert_eq!(handler(gate), Some(0xffff_ffff_85c0_0ba0));
        assert_eq!(handler("fffffe0000000030: Cannot access memory\r\n"), None);
        assert_eq!(handler(""), None);
    }

    #[test]
    fn registers_of_all_vcpus_are_looked_at() {
        let registers = "\r\nCPU#0\r\nRIP=ffffffff8509c597 RFL=00000296 [--S-AP-] CPL=0\r\nIDT=     fffffe0000000000 00000fff\r\n\
                         \r\nCPU#1\r\nRIP=ffffffff85c00ba0 RFL=00000096 [--S-AP-] CPL=0\r\nIDT=     fffffe0000000000 00000fff\r\n";
        assert_eq!(
            instruction_pointers(registers).collect::<Vec<_>>(),
            [0xffff_ffff_8509_c597, 0xffff_ffff_85c0_0ba0]
        );
        assert_eq!(interrupt_table(registers), Some(0xffff_fe00_0000_0000));
        // The firmware's.
        assert_eq!(interrupt_table("IDT=     0000000000000000 000003ff"), None);
    }
}
