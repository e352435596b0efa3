//! The report as text.

use std::io::{self, Write};

use super::{Preemption, Times, VcpuUse};

/// Lines of a list that are printed.
const LISTED: usize = 8;

impl Times {
    /// The sum of all states.
    pub fn total(&self) -> u64 {
        let ready = self.preempted.saturating_add(self.woken);
        let asleep = self.halted.saturating_add(self.blocked);
        let on = self.in_guest.saturating_add(self.in_host);
        on.saturating_add(ready).saturating_add(asleep).saturating_add(self.unknown)
    }
}

/// What time stamps count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, printed as seconds.
    Nanoseconds,
    /// What nobody has told the length of, as the processor's cycles.
    Ticks,
}

/// Prints what became of the time of virtual CPUs. `time` makes the text of a time stamp.
///
/// # Errors
///
/// The text cannot be written.
pub fn print(
    uses: &[VcpuUse],
    unit: Unit,
    time: &dyn Fn(u64) -> String,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (at, vcpu) in uses.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        vcpu.print(unit, time, out)?;
    }
    Ok(())
}

impl Unit {
    /// The number, and what it counts.
    fn text(self, width: usize, length: u64) -> String {
        match self {
            Self::Nanoseconds => format!("{:>width$} s", Seconds(length).to_string()),
            Self::Ticks => format!("{length:>width$} ticks"),
        }
    }
}

impl VcpuUse {
    fn print(
        &self,
        unit: Unit,
        time: &dyn Fn(u64) -> String,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let guest = if self.guest.is_empty() { String::new() } else { format!("{}: ", self.guest) };
        match self.thread {
            ..0 => write!(out, "{guest}vCPU {}, thread not known", self.cpu)?,
            thread => write!(out, "{guest}vCPU {}, thread {thread}", self.cpu)?,
        }
        let times = &self.times;
        let total = times.total();
        writeln!(out, ", {}", unit.text(0, total))?;
        if total > 0 && times.unknown == total {
            return writeln!(out, "  no event tells what it did");
        }
        let line = |out: &mut dyn Write, name: &str, time: u64, more: &str| {
            let share = time as f64 * 100.0 / total.max(1) as f64;
            writeln!(out, "  {name:<18} {} {share:>5.1} %{more}", unit.text(16, time))
        };
        line(out, "in guest", times.in_guest, "")?;
        let exits: u64 = self.exits.iter().map(|(.., count)| count).sum();
        line(out, "in host", times.in_host, &format!("  {exits} exits"))?;
        for (reason, time, count) in self.exits.iter().take(LISTED) {
            writeln!(out, "    {reason:<20} {}  {count} times", unit.text(12, *time))?;
        }
        rest(self.exits.len(), out)?;
        line(out, "preempted", times.preempted, &format!("  {} times", times.preemptions))?;
        line(out, "woken, not running", times.woken, &format!("  {} times", times.wakeups))?;
        line(out, "halted", times.halted, "")?;
        line(out, "blocked", times.blocked, "")?;
        if times.unknown > 0 {
            line(out, "not known", times.unknown, "")?;
        }
        if !self.preempted_by.is_empty() {
            writeln!(out, "  who had its processor while it was ready")?;
        }
        for (pid, comm, time) in self.preempted_by.iter().take(LISTED) {
            let name = task(*pid, &comm.to_string());
            writeln!(out, "    {name:<23} {}", unit.text(9, *time))?;
        }
        rest(self.preempted_by.len(), out)?;
        if !self.longest.is_empty() {
            writeln!(out, "  longest times it was ready and did not run")?;
        }
        for Preemption { start, duration, by: (pid, comm), woken } in &self.longest {
            let how = if *woken { "woken, behind" } else { "preempted by" };
            let (start, name) = (time(*start), task(*pid, &comm.to_string()));
            writeln!(out, "    {start}  {}  {how} {name}", unit.text(12, *duration))?;
        }
        Ok(())
    }
}

fn rest(len: usize, out: &mut dyn Write) -> io::Result<()> {
    match len.saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(out, "    and {more} more"),
    }
}

/// A task as lines of a report have it.
fn task(pid: i32, comm: &str) -> String {
    match pid {
        0 if comm.is_empty() => "nobody known".to_owned(),
        0 => "<idle>".to_owned(),
        pid => format!("{comm}-{pid}"),
    }
}

/// Nanoseconds as seconds.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
