//! Texts of the kernel: a line with the size, and the text when it was asked for.

use std::io::{self, Write};

use tracedat::Metadata;
use tracedat::cursor::Cursor;
use tracedat::layout::{NO_STRING, SectionHeader, SectionId};

use super::{Pages, Problem};

/// Prints a part, after `line` with its section when more than the summary is printed.
pub(super) fn print(
    data: &Metadata,
    pages: &Pages<'_>,
    id: SectionId,
    line: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), Problem> {
    let asked: &[&str] = match id {
        SectionId::HEADER_INFO => &["head-page", "head-event"],
        SectionId::FTRACE_EVENTS => &["ftrace-events"],
        SectionId::EVENT_FORMATS => &["systems", "events"],
        SectionId::KALLSYMS => &["kallsyms"],
        SectionId::PRINTK => &["printk"],
        SectionId::CMDLINES => &["cmd-lines"],
        _ => return Ok(()),
    };
    let full = asked.iter().any(|name| pages.has(name));
    if !full && !pages.summary {
        return Ok(());
    }
    if let Some(line) = line.filter(|_| full) {
        out.write_all(line.as_bytes())?;
    }
    let text = |what: &str, text: &[u8], out: &mut dyn Write| print_text(what, text, full, out);
    match id {
        SectionId::HEADER_INFO => print_headers(data, pages, out)?,
        SectionId::FTRACE_EVENTS | SectionId::EVENT_FORMATS => {
            print_formats(data, pages, id, out)?;
        }
        SectionId::KALLSYMS => text("Kallsyms", data.kallsyms_text(), out)?,
        SectionId::PRINTK => text("Trace printk", data.printk_text(), out)?,
        _ => text("Saved command lines", data.cmdlines_text(), out)?,
    }
    Ok(())
}

fn print_text(what: &str, text: &[u8], full: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\t[{what}, {} bytes]", text.len())?;
    if full && !text.is_empty() {
        out.write_all(text)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn print_headers(data: &Metadata, pages: &Pages<'_>, out: &mut dyn Write) -> io::Result<()> {
    let headers = [
        ("head-page", "Header page", data.header_page_text()),
        ("head-event", "Header event", data.header_event_text()),
    ];
    for (page, what, text) in headers {
        let full = pages.has(page);
        if full || pages.summary {
            print_text(what, text, full, out)?;
        }
    }
    Ok(())
}

fn print_formats(
    data: &Metadata,
    pages: &Pages<'_>,
    id: SectionId,
    out: &mut dyn Write,
) -> Result<(), Problem> {
    let Some(body) = data.raw_part(id)? else { return Ok(()) };
    let mut body = Cursor::new(&body, 0, data.abi.byte_order);
    if id == SectionId::FTRACE_EVENTS {
        let count = body.u32()?;
        writeln!(out, "\t[Ftrace format, {count} events]")?;
        return print_events(&mut body, count, pages.has("ftrace-events"), out);
    }
    let count = body.u32()?;
    writeln!(out, "\t[Events format, {count} systems]")?;
    let (systems, events) = (pages.has("systems"), pages.has("events"));
    for _ in 0..if systems || events { count } else { 0 } {
        let name = body.str0()?;
        let count = body.u32()?;
        if systems {
            out.write_all(b"\t\t")?;
            out.write_all(name)?;
            writeln!(out, " {count} [system, events]")?;
        }
        print_events(&mut body, count, events, out)?;
    }
    Ok(())
}

fn print_events(
    body: &mut Cursor<'_>,
    count: u32,
    print: bool,
    out: &mut dyn Write,
) -> Result<(), Problem> {
    for _ in 0..count {
        let size = body.u64()?;
        let text = body.take(size)?;
        if print {
            out.write_all(text)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// The line of a section before what it holds.
pub(super) fn section_line(at: u64, header: &SectionHeader, strings: &[u8]) -> String {
    let (id, flags, size) = (header.id.0, header.flags, header.size);
    let name = description(header, strings);
    format!("\t[Section {id} @ {at}: \"{name}\", flags 0x{flags:X}, {size} bytes]\n")
}

/// All sections, one line each.
pub(super) fn print_sections(
    data: &Metadata,
    sections: &[(u64, SectionHeader)],
    strings: &[u8],
    out: &mut dyn Write,
) -> Result<(), Problem> {
    for (at, header) in sections {
        let (id, flags, size) = (header.id.0, header.flags, header.size);
        let name = description(header, strings);
        write!(out, "\t[Section {id:2} @ {at:<16}\t\"{name}\", flags 0x{flags:X}, ")?;
        if !header.is_compressed() {
            writeln!(out, "{size} bytes]")?;
        } else if header.id == SectionId::BUFFER || header.id == SectionId::BUFFER_TEXT {
            writeln!(out, "{size} compressed bytes]")?;
        } else {
            let sizes = data.compressed_header(*at)?;
            let (compressed, uncompressed) = (sizes.compressed, sizes.uncompressed);
            writeln!(out, "{compressed} compressed, {uncompressed} uncompressed]")?;
        }
    }
    Ok(())
}

/// The descriptions in one section, with where they start in all of them.
pub(super) fn print_strings(
    strings: &[u8],
    offset: &mut usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "\t[String @ offset]")?;
    for string in strings.split_inclusive(|&byte| byte == 0) {
        let text = string.strip_suffix(b"\0").unwrap_or(string);
        writeln!(out, "\t\t\"{}\" @ {offset}", String::from_utf8_lossy(text))?;
        *offset += string.len();
    }
    Ok(())
}

/// What a section's header calls it.
fn description(header: &SectionHeader, strings: &[u8]) -> String {
    if header.string == NO_STRING {
        return "Unknown".to_owned();
    }
    let rest = usize::try_from(header.string).ok().and_then(|start| strings.get(start..));
    let name = rest.unwrap_or_default().split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
