//! The file of another machine while its data arrives: its own head, then its sub-buffers, each of
//! which is written once, where it stays.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tracedat::compress::Codec;
use tracedat::layout::{self, OptionId};
use tracedat::source::ReadAt;
use tracedat::write::{
    Head, LiveBuffer, LiveLayout, Placement, Recorded, Region, Settings, Version, Writer,
};
use tracedat::{ByteOrder, Metadata};

use super::record::close_up::close_up;
use super::record::live::{block_size, keep_room};
use super::record::output::Output;
use crate::error::Error;

/// The beginning of a file, while it arrives.
#[derive(Debug)]
pub(crate) struct ArrivingHead {
    output: Output,
    len: u64,
}

/// The tag that version 6 begins with.
const VERSION_6: &[u8; 12] = b"\x17\x08Dtracing6\0";

/// Reads a head that came as a whole, as any file from elsewhere.
///
/// # Errors
/// It is no head of a trace.
pub(crate) fn head_in_memory(mut head: Vec<u8>) -> Result<Metadata, Error> {
    if head.starts_with(VERSION_6) {
        head.extend(layout::v6::LATENCY);
    }
    match tracedat::Reader::parse(head) {
        Ok(reader) => Ok(reader.metadata),
        Err(error) => Err(Error::failure("what came is no head of a trace").because(error)),
    }
}

/// Events that the kernel of a machine says it lost.
pub(crate) fn lost_events(metadata: &Metadata) -> u64 {
    let lost = metadata.cpu_stats().map(|stat| stat.kernel().lost_events());
    lost.fold(0, u64::saturating_add)
}

/// No head is larger: many times what any kernel's formats and symbols take.
const MAX_HEAD: u64 = 128 << 20;

impl ArrivingHead {
    /// Nothing came yet.
    ///
    /// # Errors
    /// When the file cannot be emptied.
    pub(crate) fn new(output: Output) -> Result<Self, Error> {
        output.emptied()?;
        Ok(Self { output, len: 0 })
    }

    /// Adds what came.
    ///
    /// # Errors
    /// When it is too much, or cannot be written.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let len = self.len.saturating_add(bytes.len() as u64);
        if len > MAX_HEAD {
            return Err(Error::failure(format!("a head of more than {} MiB", MAX_HEAD >> 20)));
        }
        let written = self.output.file().write_all_at(bytes, self.len);
        written.map_err(|error| self.output.failed(error))?;
        self.len = len;
        Ok(())
    }

    /// Whether what came so far is a head: the rest may still be on its way.
    pub(crate) fn can_be_read(&self) -> bool {
        close_version_6(&self.output, self.len).is_ok()
            && self.output.reopened().is_ok_and(|file| metadata(file).is_ok())
    }

    /// Nothing more comes that is worth keeping.
    pub(crate) fn abandon(self) {
        self.output.abandon();
    }

    /// The head is complete: makes room for data. Nothing in it is trusted: it is read as any file from
    /// elsewhere. Buffers without a clock have that of the head.
    ///
    /// # Errors
    /// When it is no head of a trace, or cannot be written.
    pub(crate) fn complete(self, buffers: Vec<LiveBuffer>) -> Result<ReceivedFile, Error> {
        let Self { output, len } = self;
        let created = close_version_6(&output, len);
        match created.and_then(|()| ReceivedFile::create(&output, buffers)) {
            Ok(created) => {
                let Created { writer, layout, settings, trace_id } = created;
                Ok(ReceivedFile { output, writer, layout, settings, trace_id })
            }
            Err(error) => {
                output.abandon();
                Err(error)
            }
        }
    }
}

/// A file that data arrives in.
#[derive(Debug)]
pub(crate) struct ReceivedFile {
    output: Output,
    writer: Writer<File>,
    layout: LiveLayout,
    settings: Settings,
    trace_id: Option<u64>,
}

/// A file that is complete.
#[derive(Debug)]
pub(crate) struct Complete {
    /// Where the data of each CPU is.
    pub(crate) placements: Vec<Placement>,
    /// Events that the kernel of its machine says it lost.
    pub(crate) lost_events: u64,
}

/// What becomes of a complete head.
struct Created {
    writer: Writer<File>,
    layout: LiveLayout,
    settings: Settings,
    trace_id: Option<u64>,
}

/// Version 6 as it is sent ends before the tag of its data, which readers ask for; without data, any
/// will do.
fn close_version_6(output: &Output, len: u64) -> Result<(), Error> {
    let mut start = [0; VERSION_6.len()];
    let is_version_6 = output.file().read_exact_at(&mut start, 0).is_ok() && start == *VERSION_6;
    if is_version_6 {
        let written = output.file().write_all_at(layout::v6::LATENCY, len);
        written.map_err(|error| output.failed(error))?;
    }
    Ok(())
}

/// What `file` tells about its trace.
fn metadata(file: File) -> Result<Metadata, Error> {
    let source: Arc<dyn ReadAt> = Arc::new(file);
    match tracedat::Reader::from_source(source) {
        Ok(reader) => Ok(reader.metadata),
        Err(error) => Err(Error::failure("what came is no head of a trace").because(error)),
    }
}

impl ReceivedFile {
    fn create(output: &Output, mut buffers: Vec<LiveBuffer>) -> Result<Created, Error> {
        let metadata = metadata(output.reopened()?)?;
        let unusable = |error| Error::failure("what came is no usable head").because(error);
        let settings = Settings::of(&metadata).map_err(unusable)?;
        for buffer in buffers.iter_mut().filter(|buffer| buffer.clock.is_empty()) {
            metadata.trace_clock().unwrap_or("local").clone_into(&mut buffer.clock);
        }
        let failed = |error| output.failed(error);
        let layout = LiveLayout::new(buffers, block_size(output)?).map_err(failed)?;
        let file = output.reopened()?;
        let mut writer = match settings.version {
            Version::V7 => Writer::resume(file).map_err(unusable)?,
            // Version 6 has no place for what is not known yet; its head is written at the end.
            Version::V6 => {
                // Texts are read when they are asked for.
                let head = Head::of(&metadata);
                output.emptied()?;
                let settings = Settings { version: Version::V7, ..settings };
                Writer::create(file, settings, &head).map_err(failed)?
            }
        };
        writer.reserve(&layout).map_err(failed)?;
        Ok(Created { writer, layout, settings, trace_id: metadata.trace_id() })
    }

    /// Takes room on the disk for what is written at the end, so that a full one is no reason to lose it.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn keep_room(&self) -> Result<(), Error> {
        keep_room(&self.output, self.writer.head_len())
    }

    /// Where the data of each CPU goes, by buffer, then CPU.
    pub(crate) fn regions(&self) -> &[Region] {
        self.layout.regions()
    }

    /// The file once more, to write to its regions.
    pub(crate) fn opened(&self) -> Result<File, Error> {
        self.output.reopened()
    }

    /// How its data is compressed.
    pub(crate) fn codec(&self) -> Codec {
        self.settings.codec
    }

    /// The byte order of its machine.
    pub(crate) fn byte_order(&self) -> ByteOrder {
        self.settings.abi.byte_order
    }

    /// What ties it to the files of other machines.
    pub(crate) fn trace_id(&self) -> Option<u64> {
        self.trace_id
    }

    /// Gives the file its name: what arrived is worth being found.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        self.output.publish()
    }

    /// Where it is.
    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    /// Completes the file. `tail` is the head as its machine told it again at the end, or empty;
    /// `options` is what is known here.
    ///
    /// # Errors
    /// With the file as it was while data arrived.
    pub(crate) fn close(
        self,
        tail: &[u8],
        options: Vec<(OptionId, Vec<u8>)>,
        recorded: &[Recorded],
    ) -> Result<Complete, Error> {
        let Self { output, mut writer, layout: regions, settings, .. } = self;
        let failed = |error| output.failed(error);
        // The file is the memory of what came first.
        let head = metadata(output.reopened()?)?;
        // A tail that cannot be read tells nothing more than the head did.
        let tail = Some(tail).filter(|tail| !tail.is_empty());
        let tail = tail.and_then(|tail| head_in_memory(tail.to_vec()).ok());
        let tail = tail.as_ref().unwrap_or(&head);
        let lost_events = lost_events(tail);
        let closing = if settings.version == Version::V6 {
            let mut whole = completed(Head::of(&head), Head::of(tail));
            whole.options.extend(options);
            writer.close_as_version_6(&whole, &regions, recorded)
        } else {
            let mut more = added(&Head::of(&head), Head::of(tail));
            let mut all = std::mem::take(&mut more.options);
            all.extend(options);
            let cmdlines = std::mem::take(&mut more.cmdlines);
            if !cmdlines.is_empty() {
                writer.add_cmdlines(&cmdlines).map_err(failed)?;
            }
            writer.add_head(&more).map_err(failed)?;
            writer.close(&all, &regions, recorded)
        };
        let placements = close_up(&output, closing.map_err(failed)?)?;
        Ok(Complete { placements, lost_events })
    }
}

/// A head with what a later one tells instead; a text that is empty there stays.
fn completed(first: Head, later: Head) -> Head {
    fn text<T>(first: Vec<T>, later: Vec<T>) -> Vec<T> {
        if later.is_empty() { first } else { later }
    }
    Head {
        header_page: text(first.header_page, later.header_page),
        header_event: text(first.header_event, later.header_event),
        kallsyms: text(first.kallsyms, later.kallsyms),
        printk_formats: text(first.printk_formats, later.printk_formats),
        cmdlines: all_cmdlines(&first.cmdlines, &later.cmdlines),
        ftrace_formats: text(first.ftrace_formats, later.ftrace_formats),
        systems: text(first.systems, later.systems),
        cpus: later.cpus,
        options: text(first.options, later.options),
    }
}

/// Names of tasks: those of later, and of tasks that the kernel has forgotten since.
fn all_cmdlines(first: &[u8], later: &[u8]) -> Vec<u8> {
    let task = |line: &[u8]| line.split(|&byte| byte == b' ').next().map(<[u8]>::to_vec);
    let lines = |text| <[u8]>::split_inclusive(text, |&byte| byte == b'\n');
    let known: HashSet<_> = lines(later).filter_map(task).collect();
    let forgotten =
        lines(first).filter(|line| task(line).is_some_and(|task| !known.contains(&task)));
    let mut all = later.to_vec();
    if !all.is_empty() && !all.ends_with(b"\n") {
        all.push(b'\n');
    }
    forgotten.for_each(|line| all.extend_from_slice(line));
    all
}

/// What a later head has and the first had not.
fn added(first: &Head, later: Head) -> Head {
    let text = |first: &[u8], later| if first.is_empty() { later } else { Vec::new() };
    let known: HashSet<_> = first.options.iter().collect();
    let options = later.options.into_iter().filter(|option| !known.contains(option));
    let has_formats = !first.systems.is_empty() || !first.ftrace_formats.is_empty();
    Head {
        header_page: text(&first.header_page, later.header_page),
        header_event: text(&first.header_event, later.header_event),
        kallsyms: text(&first.kallsyms, later.kallsyms),
        printk_formats: text(&first.printk_formats, later.printk_formats),
        cmdlines: match first.cmdlines == later.cmdlines {
            true => Vec::new(),
            false => all_cmdlines(&first.cmdlines, &later.cmdlines),
        },
        ftrace_formats: if has_formats { Vec::new() } else { later.ftrace_formats },
        systems: if has_formats { Vec::new() } else { later.systems },
        cpus: later.cpus,
        options: options.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_names_of_tasks_count_and_forgotten_ones_stay() {
        let all = |first: &str, later: &str| {
            String::from_utf8(all_cmdlines(first.as_bytes(), later.as_bytes())).unwrap()
        };
        assert_eq!(all("1 init\n17 sh\n", "17 ls\n18 new\n"), "17 ls\n18 new\n1 init\n");
        assert_eq!(all("1 init\n", "17 a b"), "17 a b\n1 init\n");
        assert_eq!(all("", "17 ls\n"), "17 ls\n");
        assert_eq!(all("1 init\n", ""), "1 init\n");
    }
}
