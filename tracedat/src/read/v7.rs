//! Version 7: sections that a chain of options points to.

use rustc_hash::FxHashSet;

use super::head::{Head, Walk, header_info};
use super::live;
use super::section::{self, Place, Storage};
use crate::abi::Abi;
use crate::cursor::Cursor;
use crate::error::{DecodeError, ReadError};
use crate::layout::{OptionId, SECTION_HEADER_LEN, SectionHeader, SectionId};
use crate::metadata::{Buffer, CpuData, OptionValue, Warning, selected_clock};

pub(super) fn read(walk: &mut Walk<'_>, head: &mut Head) -> Result<(), ReadError> {
    let start = walk.position();
    let mut next = walk.u64()?;
    if next == 0 {
        let what = "offset of the first options";
        return Err(DecodeError::OutOfRange { offset: start, what, value: 0 }.into());
    }
    let mut seen = FxHashSet::default();
    head.first_section = walk.position();
    while next != 0 {
        if !seen.insert(next) {
            return Err(DecodeError::Loop { offset: next }.into());
        }
        next = match options(walk, head, next) {
            Ok(next) => next,
            // Without those that tell of data there is nothing; without later ones there is less.
            Err(error) if !tells_of_data(head) => return Err(error),
            Err(error) => {
                let message = format!("options from here on left out: {error}");
                let offset = Some(next);
                head.lost.get_or_insert(Warning { offset, message: message.clone() });
                head.warn(next, message);
                0
            }
        };
    }
    let header_info_at = offset_option(head, walk, OptionId::HEADER_INFO);
    if let Some(at) = header_info_at {
        read_header_info(walk, head, at)?;
    }
    for at in 0..head.options.len() {
        let option = head.options[at].clone();
        if let Err(error) = apply(walk, head, &option) {
            if option.id == OptionId::EVENT_FORMATS {
                // Records of unknown events are all that would be left.
                return Err(error);
            }
            let message = format!("{} left out: {error}", option.id);
            if is_text(option.id) {
                let offset = Some(option.offset);
                head.lost.get_or_insert(Warning { offset, message: message.clone() });
            }
            head.warn(option.offset, message);
        }
    }
    if let Some(at) = head.options.iter().position(|option| option.id == OptionId::LIVE) {
        let option = head.options.remove(at);
        live::settle(walk, head, &option)?;
    }
    Ok(())
}

fn is_text(id: OptionId) -> bool {
    [OptionId::FTRACE_EVENTS, OptionId::KALLSYMS, OptionId::PRINTK, OptionId::CMDLINES]
        .contains(&id)
}

fn tells_of_data(head: &Head) -> bool {
    let is_data = |id| id == OptionId::BUFFER || id == OptionId::BUFFER_TEXT;
    head.options.iter().any(|option| is_data(option.id))
}

/// Reads one options section; returns where the next one is.
fn options(walk: &mut Walk<'_>, head: &mut Head, at: u64) -> Result<u64, ReadError> {
    let header = section_header(walk, head, at)?;
    if header.id != SectionId::OPTIONS {
        let expected = "options section";
        return Err(DecodeError::Unexpected { offset: at, expected }.into());
    }
    let place = place(at, &header);
    let abi = Abi { byte_order: walk.byte_order, long_size: 8 };
    let bytes = section::load(walk.source, head.codec, &place, abi)?;
    let mut cursor = Cursor::new(&bytes, place.offset, walk.byte_order);
    while !cursor.is_empty() {
        let id = OptionId(cursor.u16()?);
        let size = cursor.u32()?;
        let offset = cursor.offset();
        let data = cursor.take(u64::from(size))?;
        if id == OptionId::DONE {
            return Ok(Cursor::new(data, offset, walk.byte_order).u64()?);
        }
        head.options.push(OptionValue { id, offset, data: data.to_vec() });
    }
    Ok(0)
}

fn section_header(
    walk: &mut Walk<'_>,
    head: &mut Head,
    at: u64,
) -> Result<SectionHeader, ReadError> {
    walk.seek(at);
    let header = SectionHeader::from_bytes(&walk.array()?, walk.byte_order);
    if head.section_offsets.insert(at) {
        head.sections.push((at, header));
    }
    Ok(header)
}

fn place(at: u64, header: &SectionHeader) -> Place {
    let storage = if header.is_compressed() { Storage::Compressed } else { Storage::Plain };
    let offset = at.saturating_add(SECTION_HEADER_LEN as u64);
    Place { offset, len: header.size, storage }
}

/// The offset that an option is.
fn offset_option(head: &Head, walk: &Walk<'_>, id: OptionId) -> Option<u64> {
    let option = head.options.iter().rfind(|option| option.id == id)?;
    Cursor::new(&option.data, option.offset, walk.byte_order).u64().ok()
}

/// Reads the header of the section that an option points to, which must be of the same kind.
fn pointed(
    walk: &mut Walk<'_>,
    head: &mut Head,
    at: u64,
    id: OptionId,
) -> Result<SectionHeader, ReadError> {
    let header = section_header(walk, head, at)?;
    if header.id.0 == id.0 {
        return Ok(header);
    }
    let expected = id.name().unwrap_or("section");
    Err(DecodeError::Unexpected { offset: at, expected }.into())
}

fn read_header_info(walk: &mut Walk<'_>, head: &mut Head, at: u64) -> Result<(), ReadError> {
    let header = pointed(walk, head, at, OptionId::HEADER_INFO)?;
    let abi = Abi { byte_order: walk.byte_order, long_size: 8 };
    let place = place(at, &header);
    let bytes = section::load(walk.source, head.codec, &place, abi)?;
    let mut inner = Walk::new(&bytes, walk.byte_order)?;
    let found = header_info(&mut inner, head).map_err(|error| error.based_at(place.offset));
    head.header_page_at = head.header_page_at.saturating_add(place.offset);
    found
}

/// Takes from an option what the reader has to know.
fn apply(walk: &mut Walk<'_>, head: &mut Head, option: &OptionValue) -> Result<(), ReadError> {
    let mut cursor = Cursor::new(&option.data, option.offset, walk.byte_order);
    let id = option.id;
    match id {
        OptionId::CPU_COUNT => head.cpus = cursor.u32()?,
        OptionId::BUFFER => {
            let buffer = buffer(walk, head, cursor)?;
            head.buffers.push(buffer);
        }
        OptionId::FTRACE_EVENTS
        | OptionId::EVENT_FORMATS
        | OptionId::KALLSYMS
        | OptionId::PRINTK
        | OptionId::CMDLINES
        | OptionId::BUFFER_TEXT => {
            let at = cursor.u64()?;
            let header = pointed(walk, head, at, id)?;
            let mut place = place(at, &header);
            if id == OptionId::BUFFER_TEXT && header.is_compressed() {
                place.storage = Storage::Chunks;
            }
            let places = &mut head.places;
            *match id {
                OptionId::FTRACE_EVENTS => &mut places.ftrace_events,
                OptionId::EVENT_FORMATS => &mut places.event_formats,
                OptionId::KALLSYMS => &mut places.kallsyms,
                OptionId::PRINTK => &mut places.printk,
                OptionId::CMDLINES => &mut places.cmdlines,
                _ => &mut places.latency,
            } = Some(place);
        }
        _ => {}
    }
    Ok(())
}

/// Reads a buffer's option; CPUs that are cut off are left out.
fn buffer(
    walk: &mut Walk<'_>,
    head: &mut Head,
    mut cursor: Cursor<'_>,
) -> Result<Buffer, ReadError> {
    let (start, at) = (cursor.offset(), cursor.u64()?);
    let name = String::from_utf8_lossy(cursor.str0()?).into_owned();
    let clock = String::from_utf8_lossy(cursor.str0()?).into_owned();
    let clock = selected_clock(&clock).map_or_else(|| clock.trim().to_owned(), str::to_owned);
    let page_size = cursor.u32()?;
    if page_size == 0 {
        let (offset, what) = (cursor.offset() - 4, "page size of a buffer");
        return Err(DecodeError::OutOfRange { offset, what, value: 0 }.into());
    }
    let count = cursor.u32()?;
    let mut cpus = Vec::new();
    for _ in 0..count {
        let (Ok(cpu), Ok(offset), Ok(size)) = (cursor.u32(), cursor.u64(), cursor.u64()) else {
            let missing = count as usize - cpus.len();
            head.warn(start, format!("data of {missing} CPUs of buffer {name:?} left out"));
            break;
        };
        cpus.push(CpuData { cpu, offset, size });
    }
    // The data is where the option says; the section only tells whether it is compressed.
    let compressed = match pointed(walk, head, at, OptionId::BUFFER) {
        Ok(header) => header.is_compressed(),
        Err(error) => {
            head.warn(start, format!("buffer {name:?} taken as not compressed: {error}"));
            false
        }
    };
    Ok(Buffer { name, clock, page_size, compressed, cpus })
}
