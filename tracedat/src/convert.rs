//! Version 6 to 7 and back, and another compression. What is not understood is kept.
//!
//! ```no_run
//! use std::fs::File;
//! use tracedat::compress::Codec;
//! use tracedat::convert::convert;
//! use tracedat::write::Version;
//!
//! let reader = tracedat::Reader::open("trace.dat")?;
//! let output = File::create("small.dat")?;
//! let notes = convert(&reader.metadata, output, Version::V7, Codec::Zstd)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod stream;

use std::io::{Seek, Write};

use thiserror::Error;

use crate::compress::Codec;
use crate::error::ReadError;
use crate::layout::{COMPRESSED, OptionId, SECTION_HEADER_LEN, SectionHeader, SectionId};
use crate::metadata::{Buffer, Metadata, Warning};
use crate::write::{
    BufferData, CopyBody, CpuSource, Parts, SectionCopy, Settings, TextData, Version, WriteError,
    Writer, option,
};
use stream::{ChunkReader, PlainReader};

/// A file that cannot be converted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The input.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The output.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes a trace again, in a version and compression. Returns what could not be kept.
///
/// Data of CPUs is streamed, so memory does not grow with it. Options are copied as they are;
/// sections that no reader of this crate understands are copied, and the options that point to
/// them are corrected. Version 6 has no sections: there these are left out.
///
/// # Errors
/// When the input is damaged, the output refuses, or version 6 cannot hold it; the output is then not complete.
pub fn convert<W: Write + Seek>(
    data: &Metadata,
    output: W,
    version: Version,
    codec: Codec,
) -> Result<Vec<Warning>, ConvertError> {
    let mut notes = Vec::new();
    let extra = extra_sections(data)?;
    let head = parts(data, version, &extra, &mut notes)?;
    let settings = Settings {
        version,
        codec,
        abi: data.abi,
        user_long_size: data.user_long_size,
        page_size: match (version, data.buffers.first()) {
            (Version::V6, Some(buffer)) => buffer.page_size,
            _ => data.page_size,
        },
    };
    let mut writer = Writer::create_from_parts(output, settings, &head)?;
    copy_sections(data, &mut writer, &extra, &mut notes)?;
    if data.buffers.is_empty() {
        finish_texts(data, writer)?;
    } else {
        if data.latency_place().is_some() {
            let message = "text of a latency tracer left out, as there are records".to_owned();
            notes.push(Warning { offset: None, message });
        }
        finish_buffers(data, writer, &mut notes)?;
    }
    Ok(notes)
}

/// A section that is only copied, and the option that points to it.
struct Extra {
    at: u64,
    header: SectionHeader,
    /// Index of the option.
    option: Option<usize>,
}

/// Sections other than those that are written anew.
fn extra_sections(data: &Metadata) -> Result<Vec<Extra>, ReadError> {
    let known = |id: SectionId| {
        id == SectionId::OPTIONS
            || id == SectionId::BUFFER
            || id == SectionId::STRINGS
            || (SectionId::HEADER_INFO.0..=SectionId::BUFFER_TEXT.0).contains(&id.0)
    };
    let mut extra = Vec::new();
    for (at, header) in data.walk_sections()? {
        if !known(header.id) {
            let points = |option: &crate::metadata::OptionValue| {
                option.id.0 == header.id.0 && offset_in(data, &option.data) == Some(at)
            };
            let option = data.options().iter().position(points);
            extra.push(Extra { at, header, option });
        }
    }
    Ok(extra)
}

fn offset_in(data: &Metadata, bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| data.abi.byte_order.u64(*bytes))
}

fn parts(
    data: &Metadata,
    version: Version,
    extra: &[Extra],
    notes: &mut Vec<Warning>,
) -> Result<Parts, ReadError> {
    let part = |id| data.raw_part(id).map(Option::unwrap_or_default);
    // Version 6 stores a size of 0 where version 7 has no section.
    let text = |id| {
        part(id).map(|body| if body.iter().all(|&byte| byte == 0) { Vec::new() } else { body })
    };
    let mut header_info = crate::layout::HEADER_PAGE.to_vec();
    let size = |text: &[u8]| data.abi.byte_order.put_u64(text.len() as u64);
    header_info.extend(size(data.header_page_text()));
    header_info.extend(data.header_page_text());
    header_info.extend(crate::layout::HEADER_EVENT);
    header_info.extend(size(data.header_event_text()));
    header_info.extend(data.header_event_text());

    let mut options = Vec::new();
    for (index, option) in data.options().iter().enumerate() {
        let pointer = extra.iter().any(|extra| extra.option == Some(index));
        let keep = match option.id {
            // The writer makes these itself.
            OptionId::BUFFER | OptionId::BUFFER_TEXT | OptionId::CPU_COUNT => false,
            id if (OptionId::HEADER_INFO.0..=OptionId::CMDLINES.0).contains(&id.0) => false,
            OptionId::BTF_FILE | OptionId::MODULES_FILE => {
                if !pointer {
                    let message = format!("{} left out: it points to no such section", option.id);
                    notes.push(Warning { offset: Some(option.offset), message });
                }
                false
            }
            _ => !pointer,
        };
        if keep {
            options.push((option.id, option.data.clone()));
        } else if pointer && version == Version::V6 {
            let message = format!("{} left out: version 6 has no sections", option.id);
            notes.push(Warning { offset: Some(option.offset), message });
        }
    }
    // Without this option version 6 has no place for the clock.
    let clock = data.buffers.iter().map(|buffer| &buffer.clock).find(|clock| !clock.is_empty());
    if let Some(clock) = clock
        && version == Version::V6
        && data.trace_clock_text().is_none()
    {
        options.push(option::trace_clock(&format!("[{clock}]")));
    }
    let in_use = |buffer: &Buffer| {
        buffer.cpus.iter().filter(|cpu| cpu.size > 0).map(|cpu| cpu.cpu.saturating_add(1)).max()
    };
    Ok(Parts {
        header_info,
        ftrace_events: part(SectionId::FTRACE_EVENTS)?,
        event_formats: part(SectionId::EVENT_FORMATS)?,
        kallsyms: text(SectionId::KALLSYMS)?,
        printk_formats: text(SectionId::PRINTK)?,
        cmdlines: text(SectionId::CMDLINES)?,
        cpus: data.buffers.iter().filter_map(in_use).max().unwrap_or(0).max(data.cpus),
        options,
    })
}

/// Copies sections that are not understood. Those that are compressed like the known ones change
/// their compression with the file; others can only stay as they are.
fn copy_sections<W: Write + Seek>(
    data: &Metadata,
    writer: &mut Writer<W>,
    extra: &[Extra],
    notes: &mut Vec<Warning>,
) -> Result<(), ConvertError> {
    if writer.settings().version == Version::V6 {
        let unnamed = extra.iter().filter(|extra| extra.option.is_none());
        notes.extend(unnamed.map(|extra| Warning {
            offset: Some(extra.at),
            message: format!("{} left out: version 6 has no sections", extra.header.id),
        }));
        return Ok(());
    }
    let strings = data.section_strings()?;
    for Extra { at, header, option } in extra {
        let text = usize::try_from(header.string).ok().and_then(|start| strings.get(start..));
        let text = text.unwrap_or_default().split(|&byte| byte == 0).next().unwrap_or_default();
        let description = String::from_utf8_lossy(text).into_owned();
        let option = option.and_then(|index| data.options().get(index));
        let pointer = option.map(|option| option.data.clone());
        let body = if header.is_compressed() { data.section_body(*at, header).ok() } else { None };
        let same_codec = writer.settings().codec.name() == data.compression.name;
        if body.is_none() && header.is_compressed() && !same_codec {
            let message = format!("{} left out: it cannot be decompressed", header.id);
            notes.push(Warning { offset: Some(*at), message });
            continue;
        }
        let start = at.saturating_add(SECTION_HEADER_LEN as u64);
        let mut stream = PlainReader::new(data.source(), start, header.size);
        let (flags, body) = match body {
            Some(body) => (header.flags & !COMPRESSED, CopyBody::Whole(body)),
            None => (header.flags, CopyBody::Stream(&mut stream)),
        };
        writer.add_copy(SectionCopy { id: header.id, flags, description, body, pointer })?;
    }
    Ok(())
}

/// Where the data of one CPU comes from.
enum CpuReader<'a> {
    Plain(PlainReader<'a>),
    Chunks(Box<ChunkReader<'a>>),
}

fn finish_buffers<W: Write + Seek>(
    data: &Metadata,
    writer: Writer<W>,
    notes: &mut Vec<Warning>,
) -> Result<(), ConvertError> {
    let mut readers = Vec::new();
    for buffer in &data.buffers {
        let mut of_buffer = Vec::new();
        for cpu in buffer.cpus.iter().filter(|cpu| cpu.size > 0) {
            let left = data.file_size.saturating_sub(cpu.offset);
            let reader = if buffer.compressed {
                let codec = Codec::from_name(&data.compression.name).unwrap_or_default();
                let order = data.abi.byte_order;
                CpuReader::Chunks(Box::new(ChunkReader::new(
                    data.source(),
                    codec,
                    order,
                    cpu.offset,
                )?))
            } else {
                if cpu.size > left {
                    let (cpu, missing) = (cpu.cpu, cpu.size - left);
                    let message = format!("CPU {cpu}: the file ends {missing} bytes too early");
                    notes.push(Warning { offset: Some(data.file_size), message });
                }
                CpuReader::Plain(PlainReader::new(data.source(), cpu.offset, cpu.size.min(left)))
            };
            of_buffer.push((cpu.cpu, reader));
        }
        readers.push(of_buffer);
    }
    let sources = data.buffers.iter().zip(&mut readers).map(|(buffer, readers)| BufferData {
        name: &buffer.name,
        clock: &buffer.clock,
        page_size: buffer.page_size,
        cpus: readers
            .iter_mut()
            .map(|(cpu, reader)| match reader {
                CpuReader::Plain(reader) => {
                    let size = reader.left();
                    CpuSource::from_reader(*cpu, reader, size)
                }
                CpuReader::Chunks(reader) => {
                    let size = reader.size();
                    CpuSource::from_reader(*cpu, reader, size)
                }
            })
            .collect(),
    });
    writer.finish(&[], sources.collect())?;
    Ok(())
}

/// Texts of latency tracers, of all buffers in version 7.
fn finish_texts<W: Write + Seek>(data: &Metadata, writer: Writer<W>) -> Result<(), ConvertError> {
    let clock = data.trace_clock().unwrap_or_default();
    let mut texts = Vec::new();
    if data.version < 7
        && let Some(place) = data.latency_place()
    {
        let text = data.load_place(place)?;
        texts.push((String::new(), clock.to_owned(), text));
    }
    for option in data.options_of(OptionId::BUFFER_TEXT) {
        let Some(at) = offset_in(data, &option.data) else { continue };
        let Some(text) = data.chunked_text(at)? else { continue };
        let names = option.data.get(8..).unwrap_or_default();
        let mut names = names.split(|&byte| byte == 0).map(String::from_utf8_lossy);
        let mut name = || names.next().unwrap_or_default().into_owned();
        texts.push((name(), name(), text));
    }
    let mut readers: Vec<&[u8]> = texts.iter().map(|(_, _, text)| &**text).collect();
    let texts = texts.iter().zip(&mut readers);
    let texts = texts.map(|((name, clock, _), data)| TextData { name, clock, data }).collect();
    Ok(writer.finish_text(&[], texts)?)
}
