//! `trace-cmd dump`: prints what a file says about itself, all but its events.

mod option;
mod part;

use std::io::{self, Write};
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tracedat::layout::{OptionId, SectionId};
use tracedat::{ByteOrder, Metadata, ReadError};

use super::data_file;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

/// Name and help of each page.
const PAGES: [(&str, &str); 15] = [
    ("summary", "What the file has, in a few lines (the default)"),
    ("head-page", "Format of sub-buffers"),
    ("head-event", "Format of entries"),
    ("ftrace-events", "Formats of ftrace's own events"),
    ("systems", "Systems and how many events each has"),
    ("events", "Formats of all other events"),
    ("kallsyms", "Addresses of kernel functions"),
    ("printk", "Format strings of trace_printk()"),
    ("cmd-lines", "Names of tasks"),
    ("options", "Options"),
    ("flyrecord", "Where the data of each CPU is"),
    ("clock", "Trace clock"),
    ("sections", "Sections of version 7"),
    ("strings", "Descriptions of sections"),
    ("all", "All of these"),
];

const AFTER_HELP: &str = "\
Examples:
  trace-cmd dump                      what is in trace.dat
  trace-cmd dump --options -i a.dat   options of a.dat
  trace-cmd dump -v a.dat             only whether a.dat can be read";

/// Words and help of `dump`.
pub(crate) fn command() -> Command {
    let page = |(name, help)| {
        let page = Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
        if name == "all" { page.short('a') } else { page }
    };
    Command::new("dump")
        .about("Print what a trace file says about itself")
        .after_help(AFTER_HELP)
        .args(data_file::input_args())
        .arg(
            Arg::new("validate")
                .short('v')
                .long("validate")
                .action(ArgAction::SetTrue)
                .help("Tell whether the file can be read"),
        )
        .args(PAGES.map(page))
}

/// Which pages to print.
struct Pages<'a> {
    matches: &'a ArgMatches,
    summary: bool,
}

impl Pages<'_> {
    /// Whether a page, or all, was asked for.
    fn has(&self, name: &str) -> bool {
        self.matches.get_flag(name) || self.matches.get_flag("all")
    }
}

/// Runs `dump`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let path = data_file::input(matches);
    let any = PAGES.iter().any(|(name, _)| matches.get_flag(name));
    let validate = matches.get_flag("validate");
    let summary = matches.get_flag("summary") || matches.get_flag("all") || !any && !validate;
    let reader = data_file::open(&path)?;
    let pages = Pages { matches, summary };
    let mut out = output::stdout();
    print(&path, &reader.metadata, &pages, &mut out)?;
    if validate {
        writeln!(out, "File {} is a valid trace-cmd file", path.display())?;
    }
    out.flush()?;
    data_file::warn(&path, &reader.metadata);
    Ok(Exit::Success)
}

fn print(
    path: &Path,
    data: &Metadata,
    pages: &Pages<'_>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let damaged = |error| data_file::cannot_read(path, error);
    if pages.summary {
        print_start(path, data, out)?;
    }
    if data.version < 7 {
        let parts = [
            SectionId::HEADER_INFO,
            SectionId::FTRACE_EVENTS,
            SectionId::EVENT_FORMATS,
            SectionId::KALLSYMS,
            SectionId::PRINTK,
            SectionId::CMDLINES,
        ];
        for id in parts {
            part::print(data, pages, id, None, out).map_err(|error| error.in_file(path))?;
        }
        if pages.summary {
            writeln!(out, "\t{} [CPUs with tracing data]", data.cpus)?;
        }
        let mut options = 0;
        for value in data.options() {
            option::print(data, pages, value, None, out)?;
            options += 1;
        }
        if pages.summary || pages.has("options") {
            writeln!(out, "\t[{options} options]")?;
        }
        return Ok(print_data_of_version_6(data, pages, out)?);
    }
    let strings = data.section_strings().map_err(damaged)?;
    let all = data.walk_sections().map_err(damaged)?;
    if pages.has("strings") {
        let mut offset = 0;
        for (at, header) in all.iter().filter(|(_, header)| header.id == SectionId::STRINGS) {
            let strings = data.section_body(*at, header).map_err(damaged)?;
            part::print_strings(&strings, &mut offset, out)?;
        }
    }
    if pages.has("sections") {
        part::print_sections(data, &all, &strings, out).map_err(|error| error.in_file(path))?;
    }
    let options = option::print_chain(data, pages, &strings, out).map_err(|e| e.in_file(path))?;
    if pages.summary || pages.has("options") {
        writeln!(out, "\t[{options} options]")?;
    }
    // The one named last comes first.
    let pointers =
        data.options().iter().rev().filter(|option| {
            (OptionId::HEADER_INFO.0..=OptionId::CMDLINES.0).contains(&option.id.0)
        });
    for pointer in pointers {
        let at = option::number(data, &pointer.data, 0);
        let found = data.sections.iter().find(|(offset, _)| *offset == at);
        let Some((at, header)) = found.filter(|(_, header)| header.id.0 == pointer.id.0) else {
            continue;
        };
        let line = part::section_line(*at, header, &strings);
        part::print(data, pages, header.id, Some(&line), out).map_err(|e| e.in_file(path))?;
    }
    if pages.summary || pages.has("sections") {
        writeln!(out, "\t[{} sections]", all.len())?;
    }
    Ok(())
}

fn print_start(path: &Path, data: &Metadata, out: &mut dyn Write) -> io::Result<()> {
    let (order, name) = match data.abi.byte_order {
        ByteOrder::Little => (0, "Little"),
        ByteOrder::Big => (1, "Big"),
    };
    writeln!(out, "\n Tracing meta data in file {}:\n\t[Initial format]", path.display())?;
    writeln!(out, "\t\t{}\t[Version]", data.version)?;
    writeln!(out, "\t\t{order}\t[{name} endian]")?;
    writeln!(out, "\t\t{}\t[Bytes in a long]", data.user_long_size)?;
    writeln!(out, "\t\t{}\t[Page size, bytes]", data.page_size)?;
    if data.version >= 7 {
        writeln!(out, "\t\t{}\t[Compression algorithm]", data.compression.name)?;
        writeln!(out, "\t\t{}\t[Compression version]", data.compression.version)?;
    }
    Ok(())
}

/// The table of CPUs, or the name of what stands there instead; then the clock.
fn print_data_of_version_6(
    data: &Metadata,
    pages: &Pages<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let flyrecord = pages.has("flyrecord");
    let Some(buffer) = data.buffers.iter().find(|buffer| buffer.name.is_empty()) else {
        if pages.summary {
            writeln!(out, "\t[Latency tracing data]")?;
        }
        return Ok(());
    };
    if pages.summary || flyrecord {
        writeln!(out, "\t[Flyrecord tracing data]")?;
    }
    for cpu in buffer.cpus.iter().filter(|_| flyrecord) {
        write!(out, "\t {:10} ", cpu.offset)?;
        match cpu.size {
            0 => write!(out, "{:10}", "")?,
            size => write!(out, "{size:10}")?,
        }
        writeln!(out, "\t[offset, size of cpu {}]", cpu.cpu)?;
    }
    let has_clock = data.options_of(OptionId::TRACE_CLOCK).next().is_some();
    if !(pages.summary || pages.has("clock")) {
        return Ok(());
    }
    out.write_all(b"\t[Tracing clock]\n\t\t")?;
    if has_clock {
        out.write_all(&data.raw_clock_text().unwrap_or_default())?;
        out.write_all(b"\n")?;
    } else {
        out.write_all(b" No tracing clock saved in the file\n")?;
    }
    Ok(())
}

/// What keeps a page from being printed.
enum Problem {
    File(ReadError),
    Output(io::Error),
}

impl Problem {
    fn in_file(self, path: &Path) -> Error {
        match self {
            Self::File(error) => data_file::cannot_read(path, error),
            Self::Output(error) => error.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        Self::File(error)
    }
}

impl From<tracedat::DecodeError> for Problem {
    fn from(error: tracedat::DecodeError) -> Self {
        Self::File(error.into())
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
