//! All that a trace has, to compare it with another.

use super::{Generated, Workload};
use crate::abi::Abi;
use crate::error::ReadError;
use crate::layout::OptionId;
use crate::metadata::Warning;
use crate::read::Reader;
use crate::ring_buffer::MissedEvents;
use crate::write::{BufferData, CpuSource, Placement, WriteError, Writer};

/// What a trace has, apart from where it is in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The traced kernel.
    pub abi: Abi,
    /// Size of `long` in the program that recorded, in bytes.
    pub user_long_size: u8,
    /// CPUs of the machine.
    pub cpus: u32,
    /// Name, clock and sub-buffer size of each buffer.
    pub buffers: Vec<(String, String, u32)>,
    /// All texts with their names; those of events with their systems.
    pub texts: Vec<(String, Vec<u8>)>,
    /// The options that are not about places in the file, as they are.
    pub options: Vec<(OptionId, Vec<u8>)>,
    /// The records, oldest first.
    pub records: Vec<FoundRecord>,
    /// What could not be used.
    pub warnings: Vec<Warning>,
}

/// A record apart from the file it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Name of its buffer.
    pub buffer: String,
    /// Its CPU.
    pub cpu: u32,
    /// Its time as recorded.
    pub ticks: u64,
    /// What was lost before it.
    pub missed: MissedEvents,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl Contents {
    /// Reads all of a trace.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(reader: Reader) -> Result<Self, ReadError> {
        let Reader { metadata, mut records } = reader;
        let text = |name: &str, text: &[u8]| (name.to_owned(), text.to_vec());
        let mut texts = vec![
            text("header_page", metadata.header_page_text()),
            text("header_event", metadata.header_event_text()),
            text("kallsyms", metadata.kallsyms_text()),
            text("printk_formats", metadata.printk_text()),
            text("saved_cmdlines", metadata.cmdlines_text()),
        ];
        texts.extend(metadata.latency_text().map(|latency| text("trace", latency)));
        texts.extend(metadata.event_texts().map(|event| text(event.system, event.text)));
        let options = metadata.options().iter().filter(|option| !is_place(option.id));
        let options = options.map(|option| (option.id, option.data.clone())).collect();
        let buffers = metadata.buffers.iter();
        let buffers = buffers
            .map(|buffer| (buffer.name.clone(), buffer.clock.clone(), buffer.page_size))
            .collect();
        let mut found = Vec::new();
        while let Some(record) = records.next()? {
            found.push(FoundRecord {
                buffer: metadata.buffers[record.buffer as usize].name.clone(),
                cpu: record.cpu,
                ticks: record.ticks,
                missed: record.missed,
                data: record.data.to_vec(),
            });
        }
        Ok(Self {
            abi: metadata.abi,
            user_long_size: metadata.user_long_size,
            cpus: metadata.cpus,
            buffers,
            texts,
            options,
            records: found,
            warnings: [metadata.warnings(), records.warnings().to_vec()].concat(),
        })
    }

    /// What differs first between the two, in a few words; `None` when nothing does. The number of
    /// CPUs, where one of the files may not have it, and warnings do not count.
    pub fn difference(&self, other: &Self) -> Option<String> {
        fn in_lists<T: PartialEq + std::fmt::Debug>(
            what: &str,
            a: &[T],
            b: &[T],
        ) -> Option<String> {
            let at = a.iter().zip(b).position(|(a, b)| a != b);
            let at = at.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))?;
            let shown = |list: &[T]| {
                let mut shown = format!("{:?}", list.get(at));
                let end = shown.char_indices().nth(400).map_or(shown.len(), |(end, _)| end);
                shown.truncate(end);
                shown
            };
            let (a, b) = ((shown(a), a.len()), (shown(b), b.len()));
            Some(format!("{what} {at} of {} and {}: {} and {}", a.1, b.1, a.0, b.0))
        }
        let machine = |of: &Self| (of.abi, of.user_long_size);
        in_lists("machine", &[machine(self)], &[machine(other)])
            .or_else(|| in_lists("buffer", &self.buffers, &other.buffers))
            .or_else(|| in_lists("text", &self.texts, &other.texts))
            .or_else(|| in_lists("option", &self.options, &other.options))
            .or_else(|| in_lists("record", &self.records, &other.records))
    }
}

/// Options that are the file's own: CPUs, buffers, sections.
fn is_place(id: OptionId) -> bool {
    matches!(id.0, 3 | 8 | 16..=23 | 25)
}

impl Generated {
    /// Completes a file whose head is written with these events.
    ///
    /// # Errors
    /// Those of [`Writer::finish`].
    pub fn finish<W: std::io::Write + std::io::Seek>(
        &self,
        writer: Writer<W>,
        workload: &Workload,
        options: &[(OptionId, Vec<u8>)],
    ) -> Result<Vec<Placement>, WriteError> {
        let mut data: Vec<Vec<&[u8]>> = Vec::new();
        for buffer in &self.buffers {
            data.push(buffer.cpus.iter().map(|cpu| cpu.bytes.as_slice()).collect());
        }
        let buffers = self.buffers.iter().zip(&mut data).map(|(buffer, data)| {
            let cpus = data.iter_mut().zip(0..).map(|(data, cpu)| {
                let size = data.len() as u64;
                CpuSource::from_reader(cpu, data, size)
            });
            let (name, page_size) = (buffer.name.as_str(), workload.page_size);
            BufferData { name, clock: "local", page_size, cpus: cpus.collect() }
        });
        writer.finish(options, buffers.collect())
    }
}
