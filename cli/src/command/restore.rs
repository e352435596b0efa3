//! `trace-cmd restore`: makes a trace of the files that an interrupted recording left.

use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tracedat::layout::OptionId;
use tracedat::ring_buffer::HeaderPage;
use tracedat::write::{self, BufferData, CpuSource, Head, Settings, System, Writer};
use tracedat::{Abi, Reader};
use tracefs::{Capture, TracingDir, capture};

use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;
use crate::progress::Progress;

const AFTER_HELP: &str = "\
A CPU-FILE holds the sub-buffers of one CPU. Its CPU is the number after .cpu at the end of its name; where a \
name has none, the files are those of CPU 0, 1 and so on.

Examples:
  trace-cmd restore trace.dat.cpu0 trace.dat.cpu1      recorded by the running kernel
  trace-cmd restore -c -o box.dat                      what is known of another machine
  trace-cmd restore -i box.dat trace.dat.cpu0          with its data";

/// Definition of `restore`.
pub(crate) fn command() -> Command {
    let path = |name: &'static str, value: &'static str| {
        Arg::new(name).value_name(value).value_parser(value_parser!(PathBuf))
    };
    Command::new("restore")
        .about("Make a trace of the files that an interrupted recording left")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("create")
                .short('c')
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["input", "files"])
                .help("Only write what is known about this machine, for -i"),
        )
        .arg(path("tracing", "DIR").short('t').help("A copy of the tracing directory to read"))
        .arg(path("kallsyms", "FILE").short('k').help("A copy of /proc/kallsyms to read"))
        .arg(
            path("output", "FILE")
                .short('o')
                .help("The file to write [default: trace.dat, with -c trace-partial.dat]"),
        )
        .arg(
            path("input", "FILE")
                .short('i')
                .conflicts_with_all(["tracing", "kallsyms"])
                .help("What 'restore -c' wrote on the machine that recorded"),
        )
        .arg(
            path("files", "CPU-FILE")
                .num_args(1..)
                .required_unless_present("create")
                .help("Data of the CPUs"),
        )
}

/// Runs `restore`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let path = |name| matches.get_one::<PathBuf>(name);
    let is_partial = matches.get_flag("create");
    let default = PathBuf::from(if is_partial { "trace-partial.dat" } else { "trace.dat" });
    let target = path("output").unwrap_or(&default);
    let files: Vec<PathBuf> = matches.get_many("files").into_iter().flatten().cloned().collect();
    // Looked at before anything is overwritten.
    for source in files.iter().chain(path("input")) {
        if is_same(source, target) {
            let message = format!("{} would be overwritten", source.display());
            return Err(Error::usage(message).hint("choose another place with -o FILE"));
        }
    }
    let cpus = cpu_numbers(&files)?;
    let opened = files.iter().map(|path| File::open(path).map_err(|e| unreadable(path, e)));
    let opened: Vec<File> = opened.collect::<Result<_, _>>()?;
    let head = match path("input") {
        Some(path) => fs::read(path).map_err(|error| unreadable(path, error))?,
        None => machine_head(path("tracing"), path("kallsyms"))?,
    };
    let mut out = output::stdout();
    if is_partial {
        fs::write(target, &head).map_err(|error| unwritable(target).because(error))?;
        writeln!(out, "{}: no data yet, for 'trace-cmd restore -i'", target.display())?;
    } else {
        let bytes = join(target, path("input"), &head, &cpus, &opened)?;
        writeln!(out, "{}: {bytes} bytes of {} CPUs", target.display(), cpus.len())?;
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// Writes head and data; returns the bytes of data.
fn join(
    target: &Path,
    input: Option<&PathBuf>,
    head: &[u8],
    cpus: &[u32],
    files: &[File],
) -> Result<u64, Error> {
    let named = input.map_or_else(|| "this machine".to_owned(), |path| path.display().to_string());
    let unusable = || Error::new(Exit::BadData, format!("cannot use the head of {named}"));
    let metadata =
        Reader::parse(head.to_owned()).map_err(|error| unusable().because(error))?.metadata;
    // Nothing is written before it is known that the head can be gone on with.
    Writer::resume(Cursor::new(head.to_owned())).map_err(|error| unusable().because(error))?;
    if metadata.buffers.iter().any(|buffer| buffer.cpus.iter().any(|cpu| cpu.size > 0)) {
        return Err(Error::usage(format!("{named} has data already"))
            .hint("make a head without data with 'trace-cmd restore -c'"));
    }
    let order = metadata.abi.byte_order;
    let needed = cpus.iter().map(|cpu| cpu.saturating_add(1)).max().unwrap_or_default();
    let options: Vec<_> = (metadata.cpus < needed)
        .then(|| write::option::cpu_count(needed, order))
        .into_iter()
        .collect();

    let mut sources = Vec::new();
    let mut total = 0_u64;
    for (&cpu, file) in cpus.iter().zip(files) {
        let size = file.metadata().map_err(|error| unwritable(target).because(error))?.len();
        total = total.saturating_add(size);
        sources.push(CpuSource::from_file(cpu, file, 0, size));
    }
    let clock = metadata.trace_clock().unwrap_or("local");
    let page_size = metadata.header_page.sub_buffer_size();
    let data = vec![BufferData { name: "", clock, page_size, cpus: sources }];

    let written = || -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(target)?;
        file.write_all(head)?;
        let target = target.to_owned();
        let _progress = Progress::start("restore", total, move || {
            fs::metadata(&target).map_or(0, |file| file.len())
        });
        let placed = Writer::resume(file)?.finish(&options, data)?;
        Ok(placed.iter().map(|one| one.size).sum())
    };
    written().map_err(|error| unwritable(target).because(error))
}

/// What is known about this machine, or about the one whose tracing directory was copied.
fn machine_head(tracing: Option<&PathBuf>, kallsyms: Option<&PathBuf>) -> Result<Vec<u8>, Error> {
    let failed = |error: tracefs::Error| {
        let exit = match error {
            tracefs::Error::NotRoot { .. } | tracefs::Error::Refused { .. } => Exit::Permission,
            _ => Exit::Failure,
        };
        Error::new(exit, "cannot read the tracing directory").because(error)
    };
    let dir = match tracing {
        Some(path) => TracingDir::at(path),
        None => TracingDir::find_or_mount().map_err(failed)?,
    };
    let found = Capture::read(&dir, None).map_err(failed)?;
    let kallsyms = match kallsyms {
        Some(path) => fs::read(path).map_err(|error| unreadable(path, error))?,
        None => found.kallsyms,
    };
    let systems = found.event_formats.into_iter();
    // A copy may lack what a trace can be read without.
    let cpus = dir.top().cpus().unwrap_or_default();
    let mut clock = capture::trace_clock(&dir.top()).unwrap_or_default();
    clock.push(0);
    let head = Head {
        header_page: found.header_page,
        header_event: found.header_event,
        ftrace_formats: found.ftrace_formats,
        systems: systems.map(|one| System { name: one.system, formats: one.formats }).collect(),
        kallsyms,
        printk_formats: found.printk_formats,
        cmdlines: capture::saved_cmdlines(&dir).unwrap_or_default(),
        cpus: cpus.iter().map(|cpu| cpu.saturating_add(1)).max().unwrap_or_default(),
        options: vec![
            (OptionId::TRACE_CLOCK, clock),
            write::option::version(concat!(env!("CARGO_PKG_VERSION"), " ")),
        ],
    };
    let page = HeaderPage::parse(&head.header_page, Abi::NATIVE, 4096);
    let page =
        page.map_err(|error| Error::new(Exit::BadData, "cannot use the copy").because(error))?;
    let settings = Settings::new(Abi::NATIVE, page.sub_buffer_size());
    let mut bytes = Cursor::new(Vec::new());
    Writer::create(&mut bytes, settings, &head)
        .map_err(|error| Error::failure("cannot make the head of the trace").because(error))?;
    Ok(bytes.into_inner())
}

/// The CPUs of the files: from their names when all have a number there, else in their order.
fn cpu_numbers(files: &[PathBuf]) -> Result<Vec<u32>, Error> {
    let named = |path: &PathBuf| path.to_str()?.rsplit_once(".cpu")?.1.parse().ok();
    let numbers: Option<Vec<u32>> = files.iter().map(named).collect();
    let numbers = numbers.unwrap_or_else(|| (0..).take(files.len()).collect());
    for (at, number) in numbers.iter().enumerate() {
        if numbers.iter().take(at).any(|other| other == number) {
            return Err(Error::usage(format!("there are two files of CPU {number}"))
                .hint("name each CPU's file once"));
        }
    }
    Ok(numbers)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (fs::metadata(one), fs::metadata(other)) else { return false };
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::Failure,
    };
    Error::new(exit, format!("cannot read {}", path.display())).because(error)
}

fn unwritable(path: &Path) -> Error {
    Error::failure(format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_told_by_names_or_by_order() {
        let numbers =
            |names: &[&str]| cpu_numbers(&names.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(numbers(&["t.dat.cpu3", "t.dat.cpu0"]).unwrap(), [3, 0]);
        assert_eq!(numbers(&["t.dat.cpu3", "left"]).unwrap(), [0, 1]);
        numbers(&["a.cpu1", "b.cpu1"]).unwrap_err();
    }
}
