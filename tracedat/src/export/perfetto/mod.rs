//! Traces for Perfetto, in its own format: a stream of packets of protocol buffers.
//!
//! ```text
//! record ─► event (a message) ─► a bundle for each CPU ─► packet
//! ```
//!
//! Each file is a machine, the first one the host. Time stamps go as they are, as those of Perfetto's
//! `BOOTTIME`: those of guests are on the clock of the host already. For `sched`, `irq`, `workqueue` and others
//! that Perfetto draws there are messages with typed fields; all others are generic events with names and values.
//! A message has no place for fields that the kernel got later, such as `group_dead`.

mod event;
mod interned;
mod machine;
mod messages;
mod wire;

use std::io::{self, Write};

use crate::metadata::Metadata;
use crate::ring_buffer::Record;
use machine::Machine;

/// `Trace.packet`.
const PACKET: u32 = 1;

/// Writes a trace for Perfetto.
///
/// ```
/// use tracedat::export::Perfetto;
/// use tracedat::read::{Merge, Reader};
/// # use tracedat::testing::{TraceBuilder, Workload};
/// # let (host, guest) = (TraceBuilder::new(Workload::new(1)).build(), TraceBuilder::new(Workload::new(2)).build());
///
/// let (files, mut records) = Merge::new(vec![Reader::parse(host)?, Reader::parse(guest)?]);
/// let mut trace = Perfetto::new(&[("host", &files[0]), ("guest", &files[1])], Vec::new());
/// while let Some((file, record)) = records.next()? {
///     trace.record(file, &record)?;
/// }
/// let bytes = trace.finish()?;
/// # assert!(bytes.len() > 10_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Perfetto<'m, W> {
    machines: Vec<Machine<'m>>,
    /// Packets that were not written yet.
    packets: Vec<u8>,
    out: W,
}

/// Packets are written when there are so many bytes of them.
const WRITE_AT: usize = 64 << 10;

impl<'m, W: Write> Perfetto<'m, W> {
    /// A trace of these machines, by name, in the order of the files that records come from.
    pub fn new(machines: &[(&str, &'m Metadata)], out: W) -> Self {
        let machines = (0..).zip(machines);
        let machines =
            machines.map(|(index, (name, metadata))| Machine::new(index, name, metadata));
        Self { machines: machines.collect(), packets: Vec::new(), out }
    }

    /// Adds a record of a file. What is held in memory does not grow with their number.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn record(&mut self, file: usize, record: &Record<'_>) -> io::Result<()> {
        let Some(machine) = self.machines.get_mut(file) else { return Ok(()) };
        machine.record(record, &mut self.packets);
        if self.packets.len() >= WRITE_AT {
            self.out.write_all(&self.packets)?;
            self.packets.clear();
        }
        Ok(())
    }

    /// Writes what is left, and what the files say of losses.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        for machine in &mut self.machines {
            machine.finish(&mut self.packets);
        }
        self.out.write_all(&self.packets)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W> std::fmt::Debug for Perfetto<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Perfetto").field("machines", &self.machines.len()).finish_non_exhaustive()
    }
}
