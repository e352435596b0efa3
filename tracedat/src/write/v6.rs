//! Version 6: everything in a fixed order, offsets of instances patched at the end.

use std::io::{self, Seek, Write};

use super::cpu_data::{BufferData, Placement, TextData};
use super::head::{Parts, long_text, str0};
use super::live::{Arranged, LiveLayout, Recorded};
use super::output::{Output, count, round_up};
use super::{Settings, WriteError};
use crate::compress::Codec;
use crate::layout::{OptionId, v6};

/// What is to be remembered until the end.
#[derive(Debug)]
pub(super) struct Body {
    cpus: u32,
    has_clock: bool,
}

/// Writes the body up to the options that are known.
pub(super) fn create<W: Write + Seek>(
    output: &mut Output<W>,
    settings: &Settings,
    head: &Parts,
) -> Result<Body, WriteError> {
    if settings.codec != Codec::None {
        return Err(WriteError::NotCompressible { codec: settings.codec });
    }
    output.bytes(&head.header_info)?;
    // Here everything has its place, also what is empty: a count or size of 0.
    let parts: [(&[u8], u64); 5] = [
        (&head.ftrace_events, 4),
        (&head.event_formats, 4),
        (&head.kallsyms, 4),
        (&head.printk_formats, 4),
        (&head.cmdlines, 8),
    ];
    for (part, empty_len) in parts {
        match part {
            [] => output.zeros(empty_len)?,
            part => output.bytes(part)?,
        }
    }
    output.u32(head.cpus)?;
    output.bytes(v6::OPTIONS)?;
    write_options(output, &head.options)?;
    Ok(Body { cpus: head.cpus, has_clock: has_clock(&head.options) })
}

impl Body {
    /// Writes the rest: options, then for each buffer its table, clock and data.
    pub(super) fn finish<W: Write + Seek>(
        self,
        output: &mut Output<W>,
        settings: &Settings,
        options: &[(OptionId, Vec<u8>)],
        buffers: &mut [BufferData<'_>],
    ) -> Result<Vec<Placement>, WriteError> {
        for buffer in &*buffers {
            check_page_size(buffer.name, buffer.page_size, settings)?;
        }
        write_options(output, options)?;
        let has_clock = self.has_clock || has_clock(options);
        let mut patches = Vec::new();
        for buffer in buffers.iter().filter(|buffer| !buffer.name.is_empty()) {
            let mut data = vec![0; 8];
            data.extend_from_slice(str0("buffer", buffer.name)?.as_bytes());
            data.push(0);
            write_option(output, OptionId::BUFFER, &data)?;
            patches.push(output.position() - data.len() as u64);
        }
        output.u16(OptionId::DONE.0)?;

        let mut placed: Vec<Vec<Placement>> = Vec::with_capacity(buffers.len());
        placed.resize_with(buffers.len(), Vec::new);
        // The top-level table comes first and is there also when it is empty.
        match buffers.iter().position(|buffer| buffer.name.is_empty()) {
            Some(top) => {
                placed[top] = self.write_buffer(output, &mut buffers[top], has_clock)?;
            }
            None => {
                let clock = buffers.first().map_or("", |buffer| buffer.clock);
                let page_size = settings.page_size;
                let mut empty = BufferData { name: "", clock, page_size, cpus: Vec::new() };
                self.write_buffer(output, &mut empty, has_clock)?;
            }
        }
        let mut patches = patches.into_iter();
        for (buffer, placed) in buffers.iter_mut().zip(&mut placed) {
            if buffer.name.is_empty() {
                continue;
            }
            if let Some(patch) = patches.next() {
                output.patch(patch, &output.order().put_u64(output.position()))?;
            }
            *placed = self.write_buffer(output, buffer, has_clock)?;
        }
        Ok(placed.into_iter().flatten().collect())
    }

    /// Writes the rest of a head that begins at `base` where the data is there already: options,
    /// then the table and clock of each buffer.
    pub(super) fn close<W: Write + Seek>(
        self,
        output: &mut Output<W>,
        settings: &Settings,
        base: u64,
        layout: &LiveLayout,
        recorded: &[Recorded],
    ) -> Result<Arranged, WriteError> {
        let order = output.order();
        for buffer in &layout.buffers {
            check_page_size(&buffer.name, buffer.page_size, settings)?;
        }
        let mut patches = Vec::new();
        for buffer in layout.buffers.iter().filter(|buffer| !buffer.name.is_empty()) {
            let mut data = vec![0; 8];
            data.extend_from_slice(str0("buffer", &buffer.name)?.as_bytes());
            data.push(0);
            write_option(output, OptionId::BUFFER, &data)?;
            patches.push(output.position() - data.len() as u64);
        }
        output.u16(OptionId::DONE.0)?;

        let clock = |clock: &str| match self.has_clock {
            true => long_text(&bracketed(clock), order),
            false => Vec::new(),
        };
        let top = output.position();
        let top_clock = clock(layout.buffers.first().map_or("", |buffer| &buffer.clock));
        let table_len = v6::TAG_LEN as u64 + 16 * u64::from(self.cpus);
        let head_len = top + table_len + top_clock.len() as u64;
        let limit = layout.head_room().saturating_sub(base);
        if head_len > limit {
            return Err(WriteError::TooLarge {
                what: "head of a recording",
                size: head_len,
                limit,
            });
        }
        let arranged = layout.arrange(base, head_len, recorded)?;
        let mut patches = patches.into_iter();
        for (index, buffer) in layout.buffers.iter().enumerate() {
            let head = arranged.heads.iter().find(|head| head.buffer == index);
            let (at, moved) = head.and_then(|head| head.head).unwrap_or((top, top));
            let mut bytes = v6::FLYRECORD.to_vec();
            let mut free = moved + layout.buffer_head;
            for cpu in 0..self.cpus {
                let place = layout.regions().iter().zip(recorded).zip(&arranged.offsets);
                let mut place = place.filter(|((region, recorded), _)| {
                    region.buffer == index && region.cpu == cpu && recorded.size_on_disk > 0
                });
                let (offset, size) = match place.next() {
                    Some(((_, recorded), &offset)) => (offset, recorded.size_on_disk),
                    None => (free, 0),
                };
                bytes.extend(order.put_u64(offset));
                bytes.extend(order.put_u64(size));
                free = offset + size;
            }
            bytes.extend(clock(&buffer.clock));
            if !buffer.name.is_empty()
                && let Some(patch) = patches.next()
            {
                output.patch(patch, &order.put_u64(moved))?;
            }
            // What the file had here before ends with the block.
            let end = at + bytes.len() as u64;
            bytes.resize(bytes.len() + (end.next_multiple_of(layout.align) - end) as usize, 0);
            output.patch(at, &bytes)?;
        }
        Ok(arranged)
    }

    /// Writes the rest of a latency trace: options, then text up to the end of the file.
    pub(super) fn finish_text<W: Write + Seek>(
        self,
        output: &mut Output<W>,
        options: &[(OptionId, Vec<u8>)],
        texts: &mut [TextData<'_>],
    ) -> Result<(), WriteError> {
        let [text] = texts else {
            return Err(WriteError::NotInVersion6 { what: "latency texts of several buffers" });
        };
        if !text.name.is_empty() {
            return Err(WriteError::NotInVersion6 { what: "latency texts of instances" });
        }
        write_options(output, options)?;
        output.u16(OptionId::DONE.0)?;
        output.bytes(v6::LATENCY)?;
        // Readers take a clock here too, though the documentation has none.
        if self.has_clock || has_clock(options) {
            output.bytes(&long_text(&bracketed(text.clock), output.order()))?;
        }
        let offset = output.position();
        let copied = output.with_inner(|writer| io::copy(&mut text.data, writer))?;
        copied.map(drop).map_err(|source| WriteError::Io { offset, source })
    }

    /// Writes tag, table, clock and data of one buffer. The sizes are known, so nothing is patched.
    fn write_buffer<W: Write + Seek>(
        &self,
        output: &mut Output<W>,
        buffer: &mut BufferData<'_>,
        has_clock: bool,
    ) -> Result<Vec<Placement>, WriteError> {
        let (page_size, order) = (buffer.page_size, output.order());
        let clock = if has_clock { long_text(&bracketed(buffer.clock), order) } else { Vec::new() };
        output.bytes(v6::FLYRECORD)?;
        let table_len = 16 * u64::from(self.cpus);
        let end = output.position() + table_len + clock.len() as u64;
        let placed = self.place(buffer, round_up(end, page_size))?;
        let mut sorted: Vec<usize> = (0..buffer.cpus.len()).collect();
        sorted.sort_by_key(|&index| buffer.cpus[index].cpu);

        let mut free = round_up(end, page_size);
        let mut next = sorted.iter().peekable();
        for cpu in 0..self.cpus {
            let here = next.next_if(|&&index| buffer.cpus[index].cpu == cpu);
            let (offset, size) =
                here.map_or((free, 0), |&index| (placed[index].offset, placed[index].size));
            output.u64(offset)?;
            output.u64(size)?;
            free = offset + size;
        }
        output.bytes(&clock)?;
        output.align(page_size)?;
        for index in sorted {
            buffer.cpus[index].copy_to(buffer.name, page_size, output)?;
        }
        Ok(placed)
    }

    /// Where the data of each source goes: by CPU, from `offset` on.
    fn place(
        &self,
        buffer: &BufferData<'_>,
        mut offset: u64,
    ) -> Result<Vec<Placement>, WriteError> {
        let mut placed = Vec::with_capacity(buffer.cpus.len());
        for source in &buffer.cpus {
            let size = source.padded_size(buffer.page_size)?;
            let (buffer, cpu) = (buffer.name.to_owned(), source.cpu);
            placed.push(Placement { buffer, cpu, offset: 0, size_on_disk: size, size });
        }
        let mut order: Vec<usize> = (0..placed.len()).collect();
        order.sort_by_key(|&index| placed[index].cpu);
        let mut last = None;
        for index in order {
            let cpu = placed[index].cpu;
            if cpu >= self.cpus || last == Some(cpu) {
                let of = buffer.cpus[index].name(buffer.name);
                return Err(WriteError::Cpu { of, cpus: self.cpus });
            }
            last = Some(cpu);
            placed[index].offset = offset;
            offset = offset.checked_add(placed[index].size).ok_or(WriteError::TooLarge {
                what: "data of a CPU",
                size: placed[index].size,
                limit: u64::MAX - offset,
            })?;
        }
        Ok(placed)
    }
}

fn check_page_size(buffer: &str, found: u32, settings: &Settings) -> Result<(), WriteError> {
    if found == settings.page_size {
        return Ok(());
    }
    Err(WriteError::PageSize { buffer: buffer.to_owned(), found, file: settings.page_size })
}

fn write_options<W: Write + Seek>(
    output: &mut Output<W>,
    options: &[(OptionId, Vec<u8>)],
) -> Result<(), WriteError> {
    options.iter().try_for_each(|(id, data)| write_option(output, *id, data))
}

fn write_option<W: Write + Seek>(
    output: &mut Output<W>,
    id: OptionId,
    data: &[u8],
) -> Result<(), WriteError> {
    output.u16(id.0)?;
    output.u32(count("option", data.len())?)?;
    output.bytes(data)
}

/// Whether a reader expects a clock after each table.
fn has_clock(options: &[(OptionId, Vec<u8>)]) -> bool {
    options.iter().any(|(id, _)| *id == OptionId::TRACE_CLOCK)
}

/// The clock as the tracing directory marks the selected one; nothing where it is not known, as
/// readers stumble over empty brackets.
fn bracketed(clock: &str) -> Vec<u8> {
    if clock.is_empty() || clock.contains('[') { clock.into() } else { format!("[{clock}]").into() }
}
