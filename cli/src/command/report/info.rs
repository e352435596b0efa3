//! What `report` prints instead of events: about the files, not of their records.

use std::io::{self, Write};

use regex_lite::RegexBuilder;
use tracedat::Metadata;
use tracedat::error::ReadError;
use tracedat::layout::OptionId;
use tracedat::metadata::CpuData;
use tracedat::read::Merge;
use tracedat::report::{Report, ReportInput};

use super::args::{Action, ReportArgs};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

/// Prints the page that was asked for.
pub(super) fn print(
    args: &ReportArgs,
    report: &Report,
    inputs: &[ReportInput<'_>],
    records: &mut Merge,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    let mut out = io::BufWriter::new(out);
    let mut exit = Exit::Success;
    if let Action::Cpus { first, last } = args.action {
        print_cpus(args, report, inputs, records, (first, last), &mut out)?;
    } else if args.action == Action::Formats {
        if let Some(input) = inputs.first() {
            print_formats(input.metadata, args.format.as_deref(), &mut out)?;
        }
    } else if let Some(one_page) = page_of_first_file(args.action) {
        // These speak of one file, the first.
        if let Some(input) = inputs.first() {
            exit = one_page(input.metadata, &mut out)?;
        }
    } else {
        for (file, (input, header)) in inputs.iter().zip(report.headers(inputs)).enumerate() {
            out.write_all(&header)?;
            match args.action {
                Action::Statistics => print_statistics(input.metadata, records, file, &mut out)?,
                Action::Uname => print_uname(input.metadata, &mut out)?,
                _ => print_version(input.metadata, &mut out)?,
            }
        }
    }
    out.flush()?;
    Ok(exit)
}

type Page = fn(&Metadata, &mut dyn Write) -> io::Result<Exit>;

fn page_of_first_file(action: Action) -> Option<Page> {
    Some(match action {
        Action::EventNames => print_event_names,
        Action::PrintkFormats => print_printk_formats,
        Action::Functions => print_functions,
        Action::ByteOrder => print_byte_order,
        Action::PageSize => print_page_size,
        Action::CheckEvents => check_events,
        _ => return None,
    })
}

fn print_event_names(metadata: &Metadata, out: &mut dyn Write) -> io::Result<Exit> {
    let mut names: Vec<(&str, &[u8])> = metadata
        .event_texts()
        .filter_map(|format| {
            let name = format.text.strip_prefix(b"name: ")?;
            let end = name.iter().position(|&byte| byte == b'\n')?;
            Some((format.system, &name[..end]))
        })
        .collect();
    names.sort();
    for (system, name) in names {
        out.write_all(system.as_bytes())?;
        out.write_all(b":")?;
        out.write_all(name)?;
        out.write_all(b"\n")?;
    }
    Ok(Exit::Success)
}

/// Prints the formats of a file's events, or of those that the expression is about: `SYSTEM:NAME`, or one of them.
/// ftrace's own are left out, as the reference does.
fn print_formats(
    metadata: &Metadata,
    expression: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let regex = |text: &str| {
        RegexBuilder::new(text).case_insensitive(true).build().map_err(|cause| {
            Error::usage(format!("--event '{text}' is no regular expression")).because(cause)
        })
    };
    let wanted = match expression {
        None => None,
        Some(text) => Some(match text.split_once(':') {
            Some((system, name)) => (regex(system)?, regex(name)?, true),
            None => (regex(text)?, regex(text)?, false),
        }),
    };
    let is_wanted = |system: &str, name: &str| match &wanted {
        None => true,
        Some((systems, names, true)) => systems.is_match(system) && names.is_match(name),
        Some((systems, names, false)) => systems.is_match(system) || names.is_match(name),
    };
    let mut last_system = None;
    for format in metadata.event_texts().filter(|format| format.system != "ftrace") {
        let line = format.text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let name = String::from_utf8_lossy(line.strip_prefix(b"name: ").unwrap_or_default());
        if !is_wanted(format.system, &name) {
            continue;
        }
        if last_system != Some(format.system) {
            writeln!(out, "\nsystem: {}", format.system)?;
            last_system = Some(format.system);
        }
        out.write_all(format.text)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn print_printk_formats(metadata: &Metadata, out: &mut dyn Write) -> io::Result<Exit> {
    for (address, text) in metadata.printk_formats().iter() {
        write!(out, "{address:016x} ")?;
        out.write_all(text)?;
        out.write_all(b"\n")?;
    }
    Ok(Exit::Success)
}

fn print_functions(metadata: &Metadata, out: &mut dyn Write) -> io::Result<Exit> {
    for symbol in metadata.symbols().iter() {
        write!(out, "{:016x} {}", symbol.start, symbol.name)?;
        if let Some(module) = symbol.module {
            write!(out, " [{module}]")?;
        }
        out.write_all(b"\n")?;
    }
    Ok(Exit::Success)
}

fn print_byte_order(metadata: &Metadata, out: &mut dyn Write) -> io::Result<Exit> {
    let name = |order| if order == tracedat::ByteOrder::Big { "big" } else { "little" };
    let (file, host) = (name(metadata.abi.byte_order), name(tracedat::ByteOrder::NATIVE));
    writeln!(out, "file is {file} endian and host is {host} endian")?;
    Ok(Exit::Success)
}

fn print_page_size(metadata: &Metadata, out: &mut dyn Write) -> io::Result<Exit> {
    let host =
        nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    writeln!(out, "file page size is {}, and host page size is {host}", metadata.page_size)?;
    Ok(Exit::Success)
}

/// Names every event whose format or print fmt is not understood.
fn check_events(metadata: &Metadata, _out: &mut dyn Write) -> io::Result<Exit> {
    let mut exit = Exit::Success;
    for format in metadata.event_texts() {
        let name =
            String::from_utf8_lossy(format.text.split(|&b| b == b'\n').next().unwrap_or_default());
        let event = tracedat::event::Event::new(format.system, format.text, metadata.abi);
        let cause = match &event {
            Err(error) => error.to_string(),
            Ok(event) if event.program(true).has_failed() => {
                String::from("the print fmt is not understood")
            }
            Ok(_) => continue,
        };
        let name = name.strip_prefix("name: ").unwrap_or_default();
        tell(&format!("{}:{name}: {cause}", format.system));
        exit = Exit::NotUnderstood;
    }
    Ok(exit)
}

fn print_uname(metadata: &Metadata, out: &mut dyn Write) -> io::Result<()> {
    match metadata.uname() {
        Some(uname) => writeln!(out, "{uname}")?,
        None => writeln!(out, " uname was not recorded in this file")?,
    }
    // The reference goes on with the version.
    print_version(metadata, out)
}

fn print_version(metadata: &Metadata, out: &mut dyn Write) -> io::Result<()> {
    match metadata.version_text() {
        Some(version) => writeln!(out, "{version}"),
        None => writeln!(out, " version was not recorded in this file"),
    }
}

/// More CPUs than any machine has; a damaged file may tell of more.
const MAX_CPUS: u32 = 65_536;

const STATISTICS: &str = "
Kernel buffer statistics:
  Note: \"entries\" are the entries left in the kernel ring buffer and are not
        recorded in the trace data. They should all be zero.

";

fn print_statistics(
    metadata: &Metadata,
    records: &mut Merge,
    file: usize,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut texts = metadata.options_of(OptionId::CPU_STAT).peekable();
    out.write_all(STATISTICS.as_bytes())?;
    if texts.peek().is_none() {
        writeln!(out, " No stats in this file")?;
    } else {
        for option in texts {
            // The last byte ends the text, whatever it is.
            let text = option.data.split_last().map_or(&[][..], |(_, text)| text);
            out.write_all(text.split(|&byte| byte == 0).next().unwrap_or_default())?;
            out.write_all(b"\n")?;
        }
        out.write_all(b"\n")?;
    }
    // The top-level buffer's data; CPUs without any stand there with zeros, but not the last ones.
    let Some(buffer) = metadata.buffers.first().filter(|buffer| buffer.name.is_empty()) else {
        return Ok(());
    };
    // Of compressed data, what it is uncompressed, as it would lie in a file of its own.
    let page_size = u64::from(buffer.page_size);
    let mut next = page_size;
    for cpu in 0..buffer.cpus.last().map_or(0, |data| data.cpu.saturating_add(1)).min(MAX_CPUS) {
        let data = buffer.cpus.iter().find(|data| data.cpu == cpu);
        let (offset, size) = match data {
            None => (0, 0),
            Some(data) if !buffer.compressed => (data.offset, data.size),
            Some(_) => {
                let size = records.data_size(file, 0, cpu).map_err(cannot_read_on)?;
                let offset = next;
                let end = next.saturating_add(size);
                next = end.checked_next_multiple_of(page_size).unwrap_or(u64::MAX);
                (offset, size)
            }
        };
        writeln!(out, "CPU{cpu} data recorded at offset={offset:#x}")?;
        writeln!(out, "    {size} bytes in size")?;
    }
    Ok(())
}

fn cannot_read_on(cause: ReadError) -> Error {
    Error::new(Exit::BadData, "cannot read on").because(cause)
}

/// The first and last time stamp of each CPU of a file.
#[derive(Clone, Copy)]
struct Span {
    cpu: u32,
    first: u64,
    last: u64,
}

fn print_cpus(
    args: &ReportArgs,
    report: &Report,
    inputs: &[ReportInput<'_>],
    records: &mut Merge,
    (first, last): (bool, bool),
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut spans = Vec::new();
    for (file, input) in inputs.iter().enumerate() {
        // Like the reference, of the top-level buffer.
        let cpus = input.metadata.buffers.first().map_or(&[][..], |buffer| &buffer.cpus);
        let mut of_file = Vec::new();
        for &CpuData { cpu, .. } in cpus {
            let times = records.times_of_cpu(file, 0, cpu).map_err(cannot_read_on)?;
            of_file.extend(times.map(|(first, last)| Span { cpu, first, last }));
        }
        spans.push(of_file);
    }
    for ((input, spans), named) in inputs.iter().zip(&mut spans).zip(&args.inputs) {
        writeln!(out, "List of CPUs in {} with data:", named.path.display())?;
        spans.sort_by_key(|span| span.cpu);
        for span in spans {
            write!(out, "  {}", span.cpu)?;
            if first {
                write!(out, "\tFirst event:")?;
                out.write_all(&report.time(input.metadata, span.first))?;
            }
            if last {
                write!(out, "\tLast event:")?;
                out.write_all(&report.time(input.metadata, span.last))?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
