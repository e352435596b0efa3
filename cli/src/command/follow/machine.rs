//! What a reader has to know of this machine, without a file.

use tracedat::metadata::{Buffer, CpuData};
use tracedat::{Abi, Metadata, Reader};

use crate::command::record::file::{self, Extra, Format};
use crate::command::record::local::{Machine, SinkRequest};
use crate::command::record::tsc;
use crate::error::Error;

/// Reads the head of a file that is never written, with buffers for all that is recorded.
///
/// # Errors
/// The kernel's texts are not understood.
pub(super) fn metadata(
    machine: &Machine,
    requests: &[SinkRequest],
    tsc_to_nsec: bool,
) -> Result<Metadata, Error> {
    let mut extra = Extra::default();
    if tsc_to_nsec {
        let factor = tsc::factor()?;
        extra.options.push(tracedat::write::option::tsc_to_nsec(&factor, Abi::NATIVE.byte_order));
    }
    let head = file::head_bytes(machine, &[], &extra, Format::of(7, Some("none"))?)?;
    let reader = Reader::parse(head).map_err(|error| {
        Error::failure("the texts of this kernel are not understood").because(error)
    })?;
    let mut metadata = reader.metadata;
    metadata.buffers = buffers(requests)?;
    Ok(metadata)
}

/// The buffers; readers expect the top-level one first, also when it is not recorded.
fn buffers(requests: &[SinkRequest]) -> Result<Vec<Buffer>, Error> {
    let of_request = |request: &SinkRequest| -> Result<Buffer, Error> {
        let cpus = request.cpus.iter().map(|&cpu| CpuData { cpu, offset: 0, size: 0 });
        Ok(Buffer {
            name: request.name.clone().unwrap_or_default(),
            clock: request.clock.clone(),
            page_size: file::page_size(request.sub_buffer_size)?,
            compressed: false,
            cpus: cpus.collect(),
        })
    };
    let mut buffers = requests.iter().map(of_request).collect::<Result<Vec<_>, _>>()?;
    if let Some(first) = buffers.first().filter(|first| !first.name.is_empty()) {
        buffers.insert(0, Buffer { name: String::new(), cpus: Vec::new(), ..first.clone() });
    }
    Ok(buffers)
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
            let buffers = buffers(requests).unwrap();
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
