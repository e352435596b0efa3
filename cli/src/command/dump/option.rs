//! Options, each as its kind wants to be read.

use std::io::{self, Write};

use tracedat::Metadata;
use tracedat::layout::{OptionId, SECTION_HEADER_LEN, SectionHeader, SectionId};
use tracedat::metadata::OptionValue;

use super::part::section_line;
use super::{Pages, Problem};

/// Prints the options of version 7, section after section; returns how many there are, ends of
/// lists included.
pub(super) fn print_chain(
    data: &Metadata,
    pages: &Pages<'_>,
    strings: &[u8],
    out: &mut dyn Write,
) -> Result<usize, Problem> {
    let full = pages.has("options");
    let lists: Vec<&(u64, SectionHeader)> =
        data.sections.iter().filter(|(_, header)| header.id == SectionId::OPTIONS).collect();
    let mut count = 0;
    for (index, (at, header)) in lists.iter().copied().enumerate() {
        if full {
            out.write_all(section_line(*at, header, strings).as_bytes())?;
        }
        let start = at.saturating_add(SECTION_HEADER_LEN as u64);
        let len = if header.is_compressed() {
            u64::from(data.compressed_header(*at)?.uncompressed)
        } else {
            header.size
        };
        let of_list =
            |option: &&OptionValue| option.offset >= start && option.offset - start <= len;
        for option in data.options().iter().filter(of_list) {
            print(data, pages, option, Some(strings), out)?;
            count += 1;
        }
        count += 1;
        if full {
            let next = lists.get(index + 1).map_or(0, |(at, _)| *at);
            writeln!(out, "\t\t[Option DONE, 8 bytes]\n{next}")?;
            if next != 0 {
                out.write_all(b"\n\n")?;
            }
        }
    }
    Ok(count)
}

/// Prints one option.
pub(super) fn print(
    data: &Metadata,
    pages: &Pages<'_>,
    option: &OptionValue,
    strings: Option<&[u8]>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let full = pages.has("options");
    if matches!(option.id, OptionId::BUFFER | OptionId::BUFFER_TEXT) {
        return print_buffer(data, pages, option, strings, out);
    }
    if option.id == OptionId::TRACE_CLOCK && !full && pages.has("clock") {
        return print_line(&option.data, out);
    }
    if !full {
        return Ok(());
    }
    let (id, size) = (option.id, option.data.len());
    let Some(name) = name(id) else {
        return writeln!(out, " {} {size}\t[Unknown option, size - skipping]", id.0);
    };
    write!(out, "\t\t[Option {name}, {size} bytes]")?;
    let number = |at| number(data, &option.data, at);
    match id {
        OptionId::HEADER_INFO
        | OptionId::FTRACE_EVENTS
        | OptionId::EVENT_FORMATS
        | OptionId::KALLSYMS
        | OptionId::PRINTK
        | OptionId::CMDLINES
        | OptionId::BTF_FILE
        | OptionId::MODULES_FILE => return writeln!(out, " @ {}", number(0)),
        _ => writeln!(out)?,
    }
    match id {
        OptionId::TRACE_ID => writeln!(out, "0x{:X}", number(0)),
        OptionId::CPU_COUNT => writeln!(out, "{}", signed(data, &option.data, 0)),
        OptionId::TSC_TO_NSEC => {
            let (mult, shift) = (signed(data, &option.data, 0), signed(data, &option.data, 4));
            writeln!(out, "{mult} {shift} {} [multiplier, shift, offset]", number(8))
        }
        OptionId::GUEST => print_guest(data, option, out),
        OptionId::TIME_SHIFT => print_time_shift(data, option, out),
        OptionId::TIME_ERROR => print_time_error(data, out),
        _ => print_line(&option.data, out),
    }
}

/// As the reference calls it; `None` for those it does not know.
fn name(id: OptionId) -> Option<&'static str> {
    Some(match id {
        OptionId::DATE => "DATE",
        OptionId::CPU_STAT => "CPUSTAT",
        OptionId::TRACE_CLOCK => "TRACECLOCK",
        OptionId::UNAME => "UNAME",
        OptionId::HOOK => "HOOK",
        OptionId::OFFSET => "OFFSET",
        OptionId::CPU_COUNT => "CPUCOUNT",
        OptionId::VERSION => "VERSION",
        OptionId::PROC_MAPS => "PROCMAPS",
        OptionId::TRACE_ID => "TRACEID",
        OptionId::TIME_SHIFT => "TimeShift",
        OptionId::GUEST => "GUEST",
        OptionId::TSC_TO_NSEC => "TSC2NSEC",
        OptionId::HEADER_INFO => "HEADERS",
        OptionId::FTRACE_EVENTS => "FTRACE EVENTS",
        OptionId::EVENT_FORMATS => "EVENT FORMATS",
        OptionId::KALLSYMS => "KALLSYMS",
        OptionId::PRINTK => "PRINTK",
        OptionId::CMDLINES => "CMDLINES",
        // The reference came before these.
        OptionId::BTF_FILE => "BTF",
        OptionId::LAST_BOOT_INFO => "LAST BOOT INFO",
        OptionId::MODULES_FILE => "MODULES",
        OptionId::TIME_ERROR => "TimeError",
        _ => return None,
    })
}

/// A text up to its NUL.
fn print_line(text: &[u8], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(text.split(|&byte| byte == 0).next().unwrap_or_default())?;
    out.write_all(b"\n")
}

fn print_buffer(
    data: &Metadata,
    pages: &Pages<'_>,
    option: &OptionValue,
    strings: Option<&[u8]>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let at = number(data, &option.data, 0);
    let rest = option.data.get(8..).unwrap_or_default();
    let mut texts = rest.splitn(3, |&byte| byte == 0);
    let mut text = || String::from_utf8_lossy(texts.next().unwrap_or_default()).into_owned();
    let (name, clock) = (text(), text());
    let records = option.id == OptionId::BUFFER;
    let size = option.data.len();
    let (full, flyrecord) = (pages.has("options"), pages.has("flyrecord"));
    if let (Some(strings), true) = (strings, flyrecord) {
        let section = data.sections.iter().find(|(offset, _)| *offset == at);
        if let Some((at, header)) = section {
            out.write_all(section_line(*at, header, strings).as_bytes())?;
        }
    }
    if full || flyrecord {
        writeln!(out, "\t\t[Option BUFFER, {size} bytes]\n{at} [offset]\n\"{name}\" [name]")?;
    }
    if strings.is_none() {
        return Ok(());
    }
    let table = texts.next().unwrap_or_default();
    let (page_size, count) = (signed(data, table, 0), signed(data, table, 4));
    if full || flyrecord {
        writeln!(out, "\"{clock}\" [clock]")?;
    }
    if !records {
        if pages.summary {
            writeln!(out, "\t[buffer \"{name}\", \"{clock}\" clock, latency data]")?;
        }
        return Ok(());
    }
    if full || flyrecord {
        writeln!(out, "{page_size} [Page size, bytes]\n{count} [CPUs]:")?;
    }
    let mut total = 0_u64;
    let (cpus, _) = table.get(8..).unwrap_or_default().as_chunks::<20>();
    for cpu in cpus.iter().take(count.max(0) as usize) {
        let (offset, size) = (number(data, cpu, 4), number(data, cpu, 12));
        total = total.wrapping_add(size);
        if full || flyrecord {
            let cpu = signed(data, cpu, 0);
            writeln!(out, "   {cpu} {offset}\t{size}\t[id, data offset and size]")?;
        }
    }
    if pages.summary {
        writeln!(
            out,
            "\t[buffer \"{name}\", \"{clock}\" clock, {page_size} page size, {count} cpus, {total} bytes flyrecord data]"
        )?;
    }
    Ok(())
}

fn print_guest(data: &Metadata, option: &OptionValue, out: &mut dyn Write) -> io::Result<()> {
    let end = option.data.iter().position(|&byte| byte == 0).unwrap_or(option.data.len());
    let (name, rest) = option.data.split_at(end);
    let rest = rest.get(1..).unwrap_or_default();
    out.write_all(name)?;
    let count = signed(data, rest, 8);
    writeln!(out, " [Guest name]\n0x{:X} [trace id]\n{count} [Guest CPUs]", number(data, rest, 0))?;
    let (cpus, _) = rest.get(12..).unwrap_or_default().as_chunks::<8>();
    for cpu in cpus.iter().take(count.max(0) as usize) {
        let (cpu, pid) = (signed(data, cpu, 0), signed(data, cpu, 4));
        writeln!(out, "  {cpu} {pid} [guest cpu, host pid]")?;
    }
    Ok(())
}

fn print_time_shift(data: &Metadata, option: &OptionValue, out: &mut dyn Write) -> io::Result<()> {
    let bytes = &option.data;
    let flags = signed(data, bytes, 8);
    writeln!(out, "0x{:X} [peer's trace id]", number(data, bytes, 0))?;
    writeln!(out, "0x{flags:x} [peer's protocol flags]")?;
    // Of several such options the last one is understood; this one may be another, or damaged.
    let Some(shift) = data.time_shift() else { return Ok(()) };
    writeln!(out, "0x{:x} [peer's CPU count]", shift.cpus.len())?;
    for (cpu, samples) in shift.cpus.iter().enumerate() {
        writeln!(out, "{} [samples count for CPU {cpu}]", samples.len())?;
    }
    for s in shift.cpus.iter().flatten() {
        let (offset, scaling, fraction, time) = (s.offset, s.scaling, s.fraction_bits, s.time);
        writeln!(
            out,
            "\t{offset} {scaling} {fraction} {time}[offset * scaling >> fraction @ time]"
        )?;
    }
    Ok(())
}

fn print_time_error(data: &Metadata, out: &mut dyn Write) -> io::Result<()> {
    let Some(error) = data.time_error() else { return Ok(()) };
    writeln!(out, "0x{:x} [CPU count]", error.cpus.len())?;
    for (cpu, samples) in error.cpus.iter().enumerate() {
        writeln!(out, "{} [samples count for CPU {cpu}]", samples.len())?;
    }
    for s in error.cpus.iter().flatten() {
        writeln!(out, "\t{} {} {} [bound, more up to the next, time]", s.error, s.between, s.time)?;
    }
    Ok(())
}

/// A 64-bit number in the file's byte order, 0 where there is none.
pub(super) fn number(data: &Metadata, bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| data.abi.byte_order.u64(*bytes))
}

/// A 32-bit number as the reference prints it, with a sign.
fn signed(data: &Metadata, bytes: &[u8], at: usize) -> i32 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| data.abi.byte_order.u32(*bytes).cast_signed())
}
