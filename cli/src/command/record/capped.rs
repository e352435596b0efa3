//! The file of a recording with `-m`: each CPU goes through a ring on disk, and is written at the end.

use tracedat::write::{BufferData, CpuSource, Placement, Writer};
use tracefs::Sink;

use super::file::{self, Extra, Format};
use super::local::{Machine, RecordedBuffer, SinkRequest};
use super::output::Output;
use super::ring::{Ring, RingReader};
use super::spool::Spool;
use crate::error::Error;

/// A file that will have the end of a recording.
pub(crate) struct CappedFile {
    output: Output,
    format: Format,
    buffers: Vec<CappedBuffer>,
}

struct CappedBuffer {
    request: SinkRequest,
    rings: Vec<Ring>,
    /// Removed at the end.
    _spools: Vec<Spool>,
}

impl CappedFile {
    /// Makes the rings beside `place`, and the sinks into them, by instance and CPU.
    pub(crate) fn create(
        output: Output,
        format: Format,
        place: &std::path::Path,
        max_kb: u64,
        requests: &[SinkRequest],
    ) -> Result<(Self, Vec<Vec<Sink>>), Error> {
        let mut buffers = Vec::new();
        let mut sinks = Vec::new();
        for request in requests {
            let mut place = place.as_os_str().to_owned();
            if let Some(name) = &request.name {
                place.push(format!(".{name}"));
            }
            let mut buffer =
                CappedBuffer { request: request.clone(), rings: Vec::new(), _spools: Vec::new() };
            let mut of_buffer = Vec::new();
            for &cpu in &request.cpus {
                let spool = Spool::create(place.as_ref(), cpu)?;
                let file = spool.file().try_clone().map_err(|error| output.failed(error))?;
                let ring = Ring::new(file, max_kb, request.sub_buffer_size);
                let writer = ring.writer().map_err(|error| output.failed(error))?;
                of_buffer.push(Sink::Writer(Box::new(writer)));
                buffer.rings.push(ring);
                buffer._spools.push(spool);
            }
            buffers.push(buffer);
            sinks.push(of_buffer);
        }
        Ok((Self { output, format, buffers }, sinks))
    }

    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    pub(super) fn into_output(self) -> Output {
        self.output
    }

    /// Bytes that were overwritten by younger ones, of all CPUs.
    pub(crate) fn overwritten(&self) -> u64 {
        self.buffers.iter().flat_map(|buffer| &buffer.rings).map(Ring::overwritten).sum()
    }

    /// Writes the file.
    pub(crate) fn close(
        &self,
        machine: &Machine,
        recorded: &[RecordedBuffer],
        extra: &Extra,
    ) -> Result<Vec<Placement>, Error> {
        let failed = |error| self.output.failed(error);
        let head = file::head(machine, recorded, extra);
        let settings = file::settings(machine, self.format)?;
        let writer = Writer::create(self.output.emptied()?, settings, &head).map_err(failed)?;
        let mut readers: Vec<Vec<RingReader<'_>>> = Vec::new();
        for buffer in &self.buffers {
            readers.push(buffer.rings.iter().map(Ring::reader).collect());
        }
        let mut data = Vec::new();
        if self.buffers.iter().all(|buffer| buffer.request.name.is_some()) {
            // Readers expect the top-level buffer first, also when it was not recorded.
            let page_size = file::page_size(machine.sub_buffer_size)?;
            data.push(BufferData { name: "", clock: "local", page_size, cpus: Vec::new() });
        }
        for (buffer, readers) in self.buffers.iter().zip(&mut readers) {
            let SinkRequest { name, clock, sub_buffer_size, cpus } = &buffer.request;
            let sources = readers.iter_mut().zip(&buffer.rings).zip(cpus);
            let sources = sources
                .map(|((reader, ring), &cpu)| CpuSource::from_reader(cpu, reader, ring.len()));
            data.push(BufferData {
                name: name.as_deref().unwrap_or_default(),
                clock,
                page_size: file::page_size(*sub_buffer_size)?,
                cpus: sources.collect(),
            });
        }
        let placements = writer.finish(&[], data).map_err(failed)?;
        self.output.publish()?;
        Ok(placements)
    }
}
