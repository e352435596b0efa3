//! Version 6: all metadata in a fixed order, then the data of the CPUs.

use super::head::{Head, Walk, header_info, place_since};
use super::section::{Place, Storage};
use crate::error::{DecodeError, ReadError};
use crate::layout::{OptionId, v6};
use crate::metadata::{Buffer, CpuData, OptionValue, selected_clock};

/// Longest name of a system or instance that is looked for.
const NAME_MAX: usize = 4096;

/// Longest name of a clock that is believed.
const CLOCK_MAX: u64 = 1 << 16;

pub(super) fn read(walk: &mut Walk<'_>, head: &mut Head) -> Result<(), ReadError> {
    header_info(walk, head)?;
    let start = walk.position();
    skip_texts(walk)?;
    head.places.ftrace_events = Some(place_since(walk, start));
    let start = walk.position();
    for _ in 0..walk.u32()? {
        walk.str0(NAME_MAX)?;
        skip_texts(walk)?;
    }
    head.places.event_formats = Some(place_since(walk, start));
    let start = walk.position();
    let size = walk.u32()?;
    walk.skip(u64::from(size))?;
    head.places.kallsyms = Some(place_since(walk, start));
    let start = walk.position();
    let size = walk.u32()?;
    walk.skip(u64::from(size))?;
    head.places.printk = Some(place_since(walk, start));
    let start = walk.position();
    let size = walk.u64()?;
    let texts = walk.position();
    walk.skip(size)?;
    let told = walk.position();
    head.places.cmdlines = Some(place_since(walk, start));
    let mut instances = Vec::new();
    let (cpus, mut tag) = (walk.u32()?, walk.array()?);
    head.cpus = cpus;
    if !TAGS.contains(&&tag) {
        let here = walk.position();
        if let Some(end) = end_of_cmdlines(walk, texts, told)? {
            head.warn(texts, format!("{} bytes of command lines, not {size} as told", end - texts));
            walk.seek(end);
            head.places.cmdlines = Some(place_since(walk, start));
            (head.cpus, tag) = (walk.u32()?, walk.array()?);
        } else {
            walk.seek(here);
        }
    }
    if tag == *v6::OPTIONS {
        instances = options(walk, head)?;
        tag = walk.array()?;
    }
    match &tag {
        v6::LATENCY => {
            skip_clock_before_text(walk);
            let (offset, len) = (walk.position(), walk.len.saturating_sub(walk.position()));
            head.places.latency = Some(Place { offset, len, storage: Storage::Plain });
        }
        v6::FLYRECORD => {
            let buffer = buffer(walk, head, String::new(), head.cpus)?;
            head.buffers.push(buffer);
        }
        _ => {
            let offset = walk.position() - v6::TAG_LEN as u64;
            let expected = "options, flyrecord or latency";
            return Err(DecodeError::Unexpected { offset, expected }.into());
        }
    }
    for instance in instances {
        walk.seek(instance.offset);
        let found = walk
            .expect(v6::FLYRECORD, "flyrecord")
            .and_then(|()| buffer(walk, head, instance.name.clone(), instance.cpus));
        match found {
            Ok(buffer) => head.buffers.push(buffer),
            Err(error) => {
                let message = format!("instance {:?} left out: {error}", instance.name);
                head.warn(instance.offset, message);
            }
        }
    }
    Ok(())
}

/// What may come behind the number of CPUs.
const TAGS: [&[u8; v6::TAG_LEN]; 3] = [v6::OPTIONS, v6::FLYRECORD, v6::LATENCY];

/// How far command lines may be from their end as told.
const CMDLINES_SLACK: u64 = 64 << 10;

/// Where command lines end that are not as long as told: a recorder over the network tells their size before it reads
/// them, and the kernel may have learned of more tasks in between.
fn end_of_cmdlines(walk: &mut Walk<'_>, texts: u64, told: u64) -> Result<Option<u64>, ReadError> {
    let from = texts.max(told.saturating_sub(CMDLINES_SLACK));
    walk.seek(from);
    let near = walk.bytes((told - from).saturating_add(CMDLINES_SLACK).min(walk.len - from))?;
    let tag = near.windows(v6::TAG_LEN).position(|bytes| TAGS.iter().any(|tag| bytes == *tag));
    // The number of CPUs stands before it.
    Ok(tag.and_then(|at| at.checked_sub(size_of::<u32>())).map(|at| from + at as u64))
}

/// Moves past the clock that writers put before the text of a latency tracer too, though the
/// documentation has none there: its size, then a clock in brackets. A text begins with `#`.
fn skip_clock_before_text(walk: &mut Walk<'_>) {
    let start = walk.position();
    let size = walk.u64().ok().filter(|size| (2..CLOCK_MAX).contains(size));
    let clock = size.and_then(|size| walk.bytes(size).ok()).unwrap_or_default();
    if selected_clock(&String::from_utf8_lossy(&clock)).is_none() {
        walk.seek(start);
    }
}

/// Moves past texts: their number, then each with its size.
fn skip_texts(walk: &mut Walk<'_>) -> Result<(), ReadError> {
    for _ in 0..walk.u32()? {
        let size = walk.u64()?;
        walk.skip(size)?;
    }
    Ok(())
}

/// An instance that an option announces.
struct Instance {
    offset: u64,
    name: String,
    cpus: u32,
}

/// Reads the options up to the end of the list. A CPU count belongs to the instance before it.
fn options(walk: &mut Walk<'_>, head: &mut Head) -> Result<Vec<Instance>, ReadError> {
    let mut instances: Vec<Instance> = Vec::new();
    loop {
        let id = OptionId(walk.u16()?);
        if id == OptionId::DONE {
            break;
        }
        let size = walk.u32()?;
        let offset = walk.position();
        let data = walk.bytes(u64::from(size))?;
        match id {
            OptionId::BUFFER => match data.split_first_chunk() {
                Some((at, name)) => {
                    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
                    let name = String::from_utf8_lossy(name).into_owned();
                    let offset = walk.byte_order.u64(*at);
                    instances.push(Instance { offset, name, cpus: head.cpus });
                }
                None => head.warn(offset, "buffer without offset left out".to_owned()),
            },
            OptionId::CPU_COUNT => {
                let count = data.first_chunk().map(|count| walk.byte_order.u32(*count));
                match (count, instances.last_mut()) {
                    (Some(count), Some(instance)) => instance.cpus = count,
                    (Some(count), None) => head.cpus = count,
                    (None, _) => head.warn(offset, "CPU count of no number left out".to_owned()),
                }
            }
            _ => {}
        }
        head.options.push(OptionValue { id, offset, data });
    }
    Ok(instances)
}

/// Reads a buffer's table of CPUs, and its clock where the file has a list of clocks.
fn buffer(
    walk: &mut Walk<'_>,
    head: &mut Head,
    name: String,
    count: u32,
) -> Result<Buffer, ReadError> {
    let mut cpus = Vec::new();
    for cpu in 0..count {
        let (offset, size) = (walk.u64()?, walk.u64()?);
        cpus.push(CpuData { cpu, offset, size });
    }
    let mut clock = head.clock().unwrap_or_default();
    if head.options.iter().any(|option| option.id == OptionId::TRACE_CLOCK) {
        let offset = walk.position();
        head.clock_text_at.get_or_insert(offset);
        match walk.u64() {
            Ok(size @ 1..CLOCK_MAX) => {
                if let Ok(text) = walk.bytes(size) {
                    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
                    let text = String::from_utf8_lossy(text);
                    selected_clock(&text).unwrap_or(text.trim()).clone_into(&mut clock);
                }
            }
            Ok(0) => {}
            _ => head.warn(offset, "clock after the table of CPUs left out".to_owned()),
        }
    }
    let page_size = head.page_size;
    Ok(Buffer { name, clock, page_size, compressed: false, cpus })
}
