//! A recorded machine as a trace.dat: its head, its options, its CPU data.

use std::io::{Cursor, Write};

use tracedat::Abi;
use tracedat::compress::Codec;
use tracedat::layout::OptionId;
use tracedat::metadata::RecorderStat;
use tracedat::write::{
    self, BufferData, CpuSource, Head, Placement, Settings, System, Version, Writer,
};

use tracefs::CpuLedger;
use tracefs::capture::{self, Capture};

use super::args::Args;
use super::guest_clock::GuestClock;
use super::local::{Machine, RecordedBuffer};
use super::output::Output;
use super::spool::Spool;
use super::summary;
use crate::error::Error;
use crate::exit_code::Exit;

/// The kind of file that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(super) version: Version,
    pub(super) codec: Codec,
}

impl Format {
    /// Reads `--file-version` and `--compression`.
    pub(crate) fn new(args: &Args) -> Result<Self, Error> {
        Self::of(args.file_version, args.compression.as_deref())
    }

    /// A version and the name of a compression; version 6 has none.
    pub(crate) fn of(version: u8, compression: Option<&str>) -> Result<Self, Error> {
        let codec = match (version, compression.unwrap_or("any")) {
            (6, _) => Codec::None,
            (_, "any") => Codec::Zstd,
            (_, name) => Codec::from_name(name)
                .ok_or_else(|| Error::usage(format!("no compression '{name}'")))?,
        };
        Ok(Self { version: if version == 6 { Version::V6 } else { Version::V7 }, codec })
    }

    /// Whether sizes on disk differ from those recorded.
    pub(crate) fn is_compressed(self) -> bool {
        self.codec != Codec::None
    }
}

/// What a file has beside its machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub(crate) trace_id: u64,
    pub(crate) options: Vec<(OptionId, Vec<u8>)>,
    /// Texts of the kernel that few recordings need; version 6 has no place for them.
    pub(crate) sections: Vec<KernelText>,
}

/// A text of the kernel, in a section of its own.
#[derive(Clone, Debug)]
pub(crate) struct KernelText {
    pub(crate) id: OptionId,
    /// The name of its section.
    pub(crate) name: &'static str,
    pub(crate) text: Vec<u8>,
}

/// The file as bytes up to its CPU data: what a guest sends to its host and a recorder to its listener, or all that
/// there is of a file that is never written.
///
/// # Errors
/// What the encoder refuses, such as a text that is too long.
pub(crate) fn head_bytes(
    machine: &Machine,
    buffers: &[RecordedBuffer],
    extra: &Extra,
    format: Format,
) -> Result<Vec<u8>, Error> {
    let head = head(machine, buffers, extra);
    let mut bytes = Cursor::new(Vec::new());
    Writer::create(&mut bytes, settings(machine, format)?, &head)
        .and_then(Writer::end_head)
        .map_err(|error| Error::failure("cannot make the head of the trace").because(error))?;
    Ok(bytes.into_inner())
}

/// The file of a guest: its own head, its sub-buffers, and what the host knows.
pub(crate) struct GuestFile<'a> {
    pub(crate) guest: &'a str,
    pub(crate) head: &'a [u8],
    pub(crate) tail: &'a [u8],
    pub(crate) sub_buffer_size: u32,
}

impl GuestFile<'_> {
    /// Writes the file; returns the guest's trace id too.
    ///
    /// The tail is the head as it was at the end. Both come from the guest: they are read as any
    /// file from elsewhere before a byte goes to disk.
    pub(crate) fn write(
        &self,
        output: &Output,
        spools: &[Spool],
        clock: Option<&GuestClock>,
    ) -> Result<(u64, Vec<Placement>), Error> {
        let parsed = |bytes: &[u8]| tracedat::Reader::parse(bytes.to_vec());
        let (bytes, reader) = match parsed(self.tail) {
            Ok(reader) if !self.tail.is_empty() => (self.tail, reader),
            _ => {
                let reader = parsed(self.head).map_err(|error| {
                    Error::new(Exit::Guest, format!("guest '{}' sent no usable head", self.guest))
                        .because(error)
                })?;
                (self.head, reader)
            }
        };
        let mut file = output.emptied()?;
        file.write_all(bytes).map_err(|error| output.failed(error))?;
        let writer = Writer::resume(file).map_err(|error| output.failed(error))?;
        let sources = spools.iter().map(cpu_source).collect::<Result<_, _>>()?;
        let order = reader.metadata.abi.byte_order;
        let options: Vec<_> = clock
            .into_iter()
            .flat_map(|GuestClock { shift, error }| {
                [write::option::time_shift(shift, order), write::option::time_error(error, order)]
            })
            .collect();
        let clock = reader.metadata.trace_clock().unwrap_or_default().to_owned();
        let size = usize::try_from(self.sub_buffer_size).unwrap_or(usize::MAX);
        let data = vec![buffer_data("", &clock, size, sources)?];
        let placements = writer.finish(&options, data).map_err(|error| output.failed(error))?;
        output.publish()?;
        Ok((reader.metadata.trace_id().unwrap_or_default(), placements))
    }
}

pub(super) fn settings(machine: &Machine, format: Format) -> Result<Settings, Error> {
    let page_size = page_size(machine.sub_buffer_size)?;
    let settings = Settings::new(Abi::NATIVE, page_size);
    Ok(Settings { version: format.version, codec: format.codec, ..settings })
}

pub(crate) fn page_size(bytes: usize) -> Result<u32, Error> {
    u32::try_from(bytes).map_err(|_| Error::failure(format!("a sub-buffer of {bytes} bytes")))
}

fn buffer_data<'a>(
    name: &'a str,
    clock: &'a str,
    sub_buffer_size: usize,
    cpus: Vec<CpuSource<'a>>,
) -> Result<BufferData<'a>, Error> {
    Ok(BufferData { name, clock, page_size: page_size(sub_buffer_size)?, cpus })
}

fn cpu_source(spool: &Spool) -> Result<CpuSource<'_>, Error> {
    Ok(CpuSource::from_file(spool.cpu, spool.file(), 0, spool.size()?))
}

/// All that a file of a whole recording has beside its data.
pub(super) fn head(machine: &Machine, buffers: &[RecordedBuffer], extra: &Extra) -> Head {
    let mut options = first_options(&machine.trace_clock, extra.trace_id, machine.cpus);
    options.extend(last_options(buffers, extra));
    let capture = &machine.texts.capture;
    Head {
        header_page: capture.header_page.clone(),
        header_event: capture.header_event.clone(),
        cmdlines: machine.cmdlines.clone(),
        cpus: machine.cpus,
        options,
        ..texts(capture)
    }
}

/// What is known before anything is recorded.
pub(super) fn first_options(
    trace_clock: &[u8],
    trace_id: u64,
    cpus: u32,
) -> Vec<(OptionId, Vec<u8>)> {
    vec![
        (OptionId::TRACE_CLOCK, terminated(trace_clock)),
        (OptionId::UNAME, terminated(capture::uname().as_bytes())),
        write::option::version(concat!(env!("CARGO_PKG_VERSION"), " ")),
        write::option::trace_id(trace_id, Abi::NATIVE.byte_order),
        write::option::cpu_count(cpus, Abi::NATIVE.byte_order),
    ]
}

/// What is known at the end.
pub(super) fn last_options(buffers: &[RecordedBuffer], extra: &Extra) -> Vec<(OptionId, Vec<u8>)> {
    let mut options = Vec::new();
    for buffer in buffers {
        if let Some(name) = &buffer.name {
            options.push(write::option::cpu_stat_heading(name));
        }
        let cpus = buffer.ledger.cpus.iter().zip(&buffer.stats);
        options.extend(cpus.map(|(cpu, text)| cpu_stat(cpu, text)));
    }
    options.extend(extra.options.iter().cloned());
    options
}

/// The account of a CPU: the kernel's, and what became of its data after that.
fn cpu_stat(cpu: &CpuLedger, kernel: &str) -> (OptionId, Vec<u8>) {
    let error = cpu.error.as_ref().map(summary::in_one_line);
    let recorder = RecorderStat {
        stalls: cpu.stalls.count,
        longest_stall: cpu.stalls.longest,
        discarded_bytes: cpu.discarded_bytes,
        error: error.as_deref(),
    };
    write::option::cpu_stat(cpu.cpu, kernel, &recorder)
}

/// The kernel's texts, which are read while it records.
pub(super) fn texts(capture: &Capture) -> Head {
    let systems = capture.event_formats.iter();
    let systems =
        systems.map(|one| System { name: one.system.clone(), formats: one.formats.clone() });
    Head {
        ftrace_formats: capture.ftrace_formats.clone(),
        systems: systems.collect(),
        kallsyms: capture.kallsyms.clone(),
        printk_formats: capture.printk_formats.clone(),
        ..Head::default()
    }
}

fn terminated(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    bytes.push(0);
    bytes
}
