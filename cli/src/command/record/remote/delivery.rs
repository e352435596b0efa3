//! What became of the data that was sent: said per CPU, and as JSON.

use std::io::Write;

use trace_transport::session::Received;

use crate::error::Error;
use crate::json::Json;
use crate::output::{self, tell};

/// What became of all that was sent.
pub(crate) struct Delivery {
    /// Who listens.
    pub(super) listener: String,
    pub(super) cpus: Vec<CpuDelivery>,
    /// Whether what is lost on the way can be seen at all.
    pub(super) sees_loss: bool,
}

/// What became of the data of one CPU.
pub(super) struct CpuDelivery {
    pub(super) instance: Option<String>,
    pub(super) cpu: u32,
    /// Bytes that the network took.
    pub(super) sent: u64,
    /// Bytes that it did not take.
    pub(super) not_sent: u64,
    pub(super) fate: Fate,
}

/// How much of it arrived.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// As the listener counts.
    Counted(Received),
    /// All: the listener has read to the end.
    Taken,
    Unknown,
}

impl CpuDelivery {
    fn arrived(&self) -> Option<u64> {
        match self.fate {
            Fate::Counted(received) => Some(received.bytes),
            Fate::Taken => Some(self.sent),
            Fate::Unknown => None,
        }
    }

    /// Bytes that were sent and did not arrive.
    fn lost(&self) -> Option<u64> {
        match self.fate {
            // What was not sent is missing there too, and told by itself.
            Fate::Counted(received) => Some(received.lost_bytes.saturating_sub(self.not_sent)),
            Fate::Taken => Some(0),
            Fate::Unknown => None,
        }
    }

    fn lost_datagrams(&self) -> Option<u64> {
        match self.fate {
            Fate::Counted(received) => Some(received.lost_datagrams),
            Fate::Taken => Some(0),
            Fate::Unknown => None,
        }
    }

    fn place(&self) -> String {
        let instance = self.instance.as_deref().map(|name| format!("{name}: "));
        format!("{}CPU{}", instance.unwrap_or_default(), self.cpu)
    }
}

impl Delivery {
    /// Whether anything is known to be lost on the way.
    pub(crate) fn has_losses(&self) -> bool {
        self.cpus.iter().any(|cpu| cpu.lost().is_some_and(|bytes| bytes > 0))
    }

    /// Why not all can be said to be there, where it could be known.
    pub(super) fn unconfirmed(&self) -> Option<Error> {
        let cpus: Vec<String> = self
            .cpus
            .iter()
            .filter(|cpu| self.sees_loss && cpu.sent > 0 && cpu.arrived().is_none())
            .map(CpuDelivery::place)
            .collect();
        if cpus.is_empty() {
            return None;
        }
        let (listener, cpus) = (&self.listener, cpus.join(", "));
        Some(Error::failure(format!(
            "the listener {listener} did not say that it has all of {cpus}: the end may be missing"
        )))
    }

    /// Prints what each CPU sent.
    pub(crate) fn print(&self) -> Result<(), Error> {
        let mut out = output::stdout();
        for cpu in &self.cpus {
            writeln!(out, "{} data sent to {}", cpu.place(), self.listener)?;
            write!(out, "    {} bytes in size", cpu.sent)?;
            if let Some(arrived) = cpu.arrived() {
                write!(out, " ({arrived} arrived)")?;
            }
            writeln!(out)?;
        }
        if !self.sees_loss {
            writeln!(
                out,
                "Whether datagrams were lost on the way cannot be seen with this listener; -t sends over TCP"
            )?;
        }
        Ok(out.flush()?)
    }

    /// Says what was lost on the way, of every CPU that lost something.
    pub(crate) fn tell_losses(&self) {
        for cpu in &self.cpus {
            let Some(bytes) = cpu.lost().filter(|&bytes| bytes > 0) else { continue };
            let place = cpu.place();
            match cpu.lost_datagrams() {
                Some(count) if count > 0 => tell(&format!(
                    "{place}: {bytes} bytes in {count} datagrams lost on the way; -t sends over TCP"
                )),
                _ => tell(&format!("{place}: {bytes} bytes lost on the way")),
            }
        }
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Json {
        let of_cpu = |cpu: &CpuDelivery| {
            Json::object([
                ("instance", Json::from(cpu.instance.as_deref())),
                ("cpu", u64::from(cpu.cpu).into()),
                ("sent_bytes", cpu.sent.into()),
                ("arrived_bytes", cpu.arrived().into()),
                ("lost_bytes", cpu.lost().into()),
                ("lost_datagrams", cpu.lost_datagrams().into()),
            ])
        };
        Json::object([
            ("listener", Json::from(self.listener.as_str())),
            ("cpus", self.cpus.iter().map(of_cpu).collect()),
        ])
    }
}
