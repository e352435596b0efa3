//! What a reader has to know of a machine, without a file.

use tracedat::metadata::{Buffer, CpuData};
use tracedat::read::{LiveCpu, LiveMerge};
use tracedat::report::ReportInput;
use tracedat::write::LiveBuffer;
use tracedat::{Abi, Metadata, Reader};

use crate::command::record::file::{self, Extra, Format};
use crate::command::record::local::{Machine, SinkRequest};
use crate::command::record::tsc;
use crate::error::Error;

/// What this machine is called among its guests.
const HOST: &str = "host";

/// A machine whose records are followed.
pub(crate) struct FollowedMachine {
    /// What lines call it, where there are several.
    pub(crate) name: String,
    pub(crate) metadata: Metadata,
    /// By buffer as recorded, then CPU: the number of the sender of its sub-buffers.
    pub(super) places: Vec<Place>,
}

/// A CPU of a buffer, and the number of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sender: usize,
    pub(super) buffer: String,
    pub(super) cpu: u32,
}

impl FollowedMachine {
    /// This machine: the head of a file that is never written, with buffers for all that is recorded.
    ///
    /// # Errors
    /// The kernel's texts are not understood.
    pub(super) fn host(
        machine: &Machine,
        requests: &[SinkRequest],
        senders: &[usize],
        tsc_to_nsec: bool,
    ) -> Result<Self, Error> {
        let mut extra = Extra::default();
        if tsc_to_nsec {
            let factor = tsc::factor()?;
            let order = Abi::NATIVE.byte_order;
            extra.options.push(tracedat::write::option::tsc_to_nsec(&factor, order));
        }
        let head = file::head_bytes(machine, &[], &extra, Format::of(7, Some("none"))?)?;
        let reader = Reader::parse(head).map_err(|error| {
            Error::failure("the texts of this kernel are not understood").because(error)
        })?;
        let mut metadata = reader.metadata;
        metadata.buffers = buffers(live_buffers(requests)?);
        let cpus = requests.iter().flat_map(|request| {
            let name = request.name.clone().unwrap_or_default();
            request.cpus.iter().map(move |&cpu| (name.clone(), cpu))
        });
        let places = cpus.zip(senders);
        let places = places.map(|((buffer, cpu), &sender)| Place { sender, buffer, cpu });
        Ok(Self { name: HOST.to_owned(), places: places.collect(), metadata })
    }

    /// As a report has it.
    pub(crate) fn input(&self) -> ReportInput<'_> {
        ReportInput { name: &self.name, metadata: &self.metadata }
    }

    /// A guest, as it told of itself.
    pub(super) fn guest(
        name: &str,
        mut metadata: Metadata,
        sent: Vec<LiveBuffer>,
        places: Vec<Place>,
    ) -> Self {
        let clock = metadata.trace_clock().unwrap_or("local").to_owned();
        metadata.buffers = buffers(sent);
        for buffer in metadata.buffers.iter_mut().filter(|buffer| buffer.clock.is_empty()) {
            buffer.clock.clone_from(&clock);
        }
        Self { name: name.to_owned(), metadata, places }
    }

    /// Its CPUs among the records of all machines, each with the number of its sender.
    pub(super) fn cpus(&self, file: usize, records: &LiveMerge) -> Vec<(usize, LiveCpu)> {
        let of_place = |place: &Place| {
            let mut buffers = (0..).zip(&self.metadata.buffers);
            let (index, _) = buffers.find(|(_, buffer)| buffer.name == place.buffer)?;
            Some((place.sender, records.cpu(file, index, place.cpu)?))
        };
        self.places.iter().filter_map(of_place).collect()
    }
}

fn live_buffers(requests: &[SinkRequest]) -> Result<Vec<LiveBuffer>, Error> {
    let of_request = |request: &SinkRequest| {
        Ok(LiveBuffer {
            name: request.name.clone().unwrap_or_default(),
            clock: request.clock.clone(),
            page_size: file::page_size(request.sub_buffer_size)?,
            cpus: request.cpus.clone(),
        })
    };
    requests.iter().map(of_request).collect()
}

/// The buffers; readers expect the top-level one first, also when it is not recorded.
fn buffers(recorded: Vec<LiveBuffer>) -> Vec<Buffer> {
    let of_buffer = |LiveBuffer { name, clock, page_size, cpus }: LiveBuffer| {
        let cpus = cpus.iter().map(|&cpu| CpuData { cpu, offset: 0, size: 0 });
        Buffer { name, clock, page_size, compressed: false, cpus: cpus.collect() }
    };
    let mut buffers: Vec<Buffer> = recorded.into_iter().map(of_buffer).collect();
    if let Some(first) = buffers.first().filter(|first| !first.name.is_empty()) {
        buffers.insert(0, Buffer { name: String::new(), cpus: Vec::new(), ..first.clone() });
    }
    buffers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_level_buffer_comes_first_also_without_cpus() {
        let request = |name: Option<&str>| SinkRequest {
            name: name.map(str::to_owned),
            clock: "mono".to_owned(),
            sub_buffer_size: 8192,
            cpus: vec![0, 3],
        };
        let names_and_cpus = |requests: &[SinkRequest]| -> Vec<(String, usize)> {
            let buffers = buffers(live_buffers(requests).unwrap());
            assert!(buffers.iter().all(|one| (&*one.clock, one.page_size) == ("mono", 8192)));
            buffers.into_iter().map(|one| (one.name, one.cpus.len())).collect()
        };
        let named = |name: &str, cpus| (name.to_owned(), cpus);
        assert_eq!(
            names_and_cpus(&[request(None), request(Some("a"))]),
            [named("", 2), named("a", 2)]
        );
        assert_eq!(names_and_cpus(&[request(Some("a"))]), [named("", 0), named("a", 2)]);
    }
}
