//! What recorders of these tests send, and how it must be found in files.

use std::io::Cursor;
use std::path::Path;

use libtest_mimic::Failed;
use trace_virt::lab::requirements;
use tracedat::Reader;
use tracedat::compress::Codec;
use tracedat::testing::{Contents, FoundRecord, Generated, TraceBuilder, Workload};
use tracedat::write::{Settings, Version, Writer};

use crate::common::{check, success, trace_cmd};

/// A trace as a network recorder has it.
pub(crate) struct Trace {
    pub(crate) workload: Workload,
    /// The beginning of its file.
    pub(crate) head: Vec<u8>,
    made: Generated,
    records: Vec<FoundRecord>,
}

impl Trace {
    /// Some thousand events on two CPUs.
    pub(crate) fn new(seed: u64) -> Result<Self, Failed> {
        Self::of(Workload::new(seed), Version::V7, Codec::None)
    }

    pub(crate) fn of(workload: Workload, version: Version, codec: Codec) -> Result<Self, Failed> {
        let builder = TraceBuilder::new(workload.clone());
        let settings =
            Settings { version, codec, ..Settings::new(workload.abi, workload.page_size) };
        let made = workload.generate();
        let mut head = Vec::new();
        match version {
            Version::V7 => {
                drop(Writer::create(Cursor::new(&mut head), settings, &builder.head())?);
            }
            // Up to where its data is told.
            Version::V6 => {
                const DATA: &[u8] = b"flyrecord\0";
                head = builder.clone().version(6).build_from(&made);
                let end = head.windows(DATA.len()).position(|bytes| bytes == DATA);
                head.truncate(end.ok_or("no data in a file")?);
            }
        }
        let records = Contents::of(Reader::parse(builder.build_from(&made))?)?.records;
        Ok(Self { workload, head, made, records })
    }

    /// The sub-buffers of each CPU, those of the top buffer first.
    pub(crate) fn streams(&self) -> Vec<&[u8]> {
        let cpus = self.made.buffers.iter().flat_map(|buffer| &buffer.cpus);
        cpus.map(|cpu| cpu.bytes.as_slice()).collect()
    }

    /// Bytes of all sub-buffers.
    pub(crate) fn size(&self) -> u64 {
        self.streams().iter().map(|stream| stream.len() as u64).sum()
    }

    /// Checks that a file has all of it.
    pub(crate) fn is_in(&self, file: &Path) -> Result<(), Failed> {
        let found = records(file)?;
        let (got, of) = (found.len(), self.records.len());
        check(found == self.records, || {
            format!("{}: {got} records, not as the {of} that were sent", file.display())
        })
    }

    /// Checks that a file has the first `counts` bytes of each CPU.
    pub(crate) fn is_cut_in(&self, file: &Path, counts: &[usize]) -> Result<(), Failed> {
        let mut made = self.made.clone();
        let cpus = made.buffers.iter_mut().flat_map(|buffer| &mut buffer.cpus);
        for (cpu, &count) in cpus.zip(counts) {
            cpu.bytes.truncate(
                count / self.workload.page_size as usize * self.workload.page_size as usize,
            );
        }
        let builder = TraceBuilder::new(self.workload.clone());
        let expected = Contents::of(Reader::parse(builder.build_from(&made))?)?.records;
        let found = records(file)?;
        let (got, of) = (found.len(), expected.len());
        check(found == expected, || {
            format!("{}: {got} records, not as the {of} that arrived", file.display())
        })
    }

    /// Checks that a file has of each CPU the first records, and no others. Returns how many.
    pub(crate) fn is_begun_in(&self, file: &Path) -> Result<usize, Failed> {
        let found = records(file)?;
        for cpu in 0..self.workload.cpus {
            let of_cpu = |record: &&FoundRecord| record.cpu == cpu;
            let mut sent = self.records.iter().filter(of_cpu);
            let other = found.iter().filter(of_cpu).find(|record| sent.next() != Some(record));
            check(other.is_none(), || format!("{}: CPU {cpu}: {other:?}", file.display()))?;
        }
        Ok(found.len())
    }
}

fn records(file: &Path) -> Result<Vec<FoundRecord>, Failed> {
    let reader = Reader::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let events = reader.metadata.event_texts().filter(|event| event.system == "sched").count();
    check(events > 0, || format!("{}: no formats of events", file.display()))?;
    let contents = Contents::of(reader)?;
    // A listener that still writes, or was killed, has not completed its file.
    let mut warnings = contents.warnings.iter();
    let is_expected = warnings.all(|warning| warning.message.contains("was not completed"));
    check(is_expected, || format!("{:?}", contents.warnings))?;
    Ok(contents.records)
}

/// The text of a file, which has to be that of the reference too.
pub(crate) fn report_of_both(file: &Path) -> Result<String, Failed> {
    let reference = requirements::reference()?.exact()?;
    let theirs = success(reference.reader().arg("report").arg("-i").arg(file))?;
    let mut report = trace_cmd();
    report.env("TRACE_CMD_COMPAT", "3.1.6").env("TZ", "UTC");
    let ours = success(report.arg("report").arg("-i").arg(file))?;
    let different = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
    check(theirs == ours, || format!("reports differ: {different:?}"))?;
    Ok(ours)
}
