//! Commands on data files, with made-up traces: what they print, what they write, and that the reference agrees.

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use common::{Case, check, complaint, success, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements;
use tracedat::compress::Codec;
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::write::{Settings, TextData, Writer};

const PAGES: [&str; 15] = [
    "--summary",
    "--head-page",
    "--head-event",
    "--ftrace-events",
    "--systems",
    "--events",
    "--kallsyms",
    "--printk",
    "--cmd-lines",
    "--options",
    "--flyrecord",
    "--clock",
    "--sections",
    "--all",
    "-v",
];

const CASES: &[Case] = &[
    Case { name: "convert_changes_no_line_of_the_report", needs: || Ok(()), test: convert_all },
    Case { name: "convert_keeps_what_it_does_not_know", needs: || Ok(()), test: convert_unknown },
    Case { name: "convert_never_touches_its_input", needs: || Ok(()), test: convert_onto_itself },
    Case { name: "latency_text_is_printed", needs: || Ok(()), test: latency_text },
    Case { name: "dash_is_standard_input", needs: || Ok(()), test: standard_input },
    Case { name: "dump_tells_what_is_in_a_file", needs: || Ok(()), test: dump_summary },
    Case {
        name: "dump_prints_what_the_reference_prints",
        needs: || requirements::reference().map(drop),
        test: dump_like_reference,
    },
    Case {
        name: "reference_reads_what_was_converted",
        needs: || requirements::reference().map(drop),
        test: reference_reads,
    },
    Case {
        name: "options_are_listed_as_the_reference_does",
        needs: || requirements::reference().map(drop),
        test: options_like_reference,
    },
    Case {
        name: "report_prints_formats_and_other_symbols_as_the_reference_does",
        needs: || requirements::reference().map(drop),
        test: report_like_reference,
    },
    Case {
        name: "check_events_tells_by_its_exit_code",
        needs: || Ok(()),
        test: check_events_exit_code,
    },
    Case { name: "errors_name_the_file_and_a_next_step", needs: || Ok(()), test: errors },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn make(dir: &Path, version: u8, codec: Codec) -> Result<PathBuf, Failed> {
    let path = dir.join(format!("{version}-{codec}.dat"));
    fs::write(&path, TraceBuilder::new(Workload::new(7)).version(version).codec(codec).build())?;
    Ok(path)
}

fn inputs(dir: &Path) -> Result<[PathBuf; 3], Failed> {
    Ok([make(dir, 6, Codec::None)?, make(dir, 7, Codec::None)?, make(dir, 7, Codec::Zstd)?])
}

const TARGETS: [&[&str]; 4] = [
    &["--file-version", "6"],
    &["--compression", "none"],
    &["--compression", "zlib"],
    &["--compression", "zstd"],
];

fn report(path: &Path) -> Result<String, Failed> {
    success(trace_cmd().args(["report", "-i"]).arg(path))
}

fn convert(from: &Path, to: &Path, words: &[&str]) -> Result<(), Failed> {
    success(trace_cmd().arg("convert").args(words).arg("-i").arg(from).arg(to)).map(drop)
}

fn reference(words: &[&str], path: &Path) -> Result<String, Failed> {
    success(Command::new("/usr/bin/trace-cmd").env("LC_ALL", "C").args(words).arg(path))
}

fn convert_all() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    for input in inputs(dir.path())? {
        let before = report(&input)?;
        check(before.lines().count() > 100, || format!("short report of {}", input.display()))?;
        for words in TARGETS {
            let output = dir.path().join("out.dat");
            convert(&input, &output, words)?;
            check(report(&output)? == before, || format!("{} {words:?}", input.display()))?;
        }
    }
    Ok(())
}

/// Puts an options section with the option 200 (some bytes), and 201 that points to a section 201, at the end of
/// a file of version 7 without compression.
fn with_unknown(mut file: Vec<u8>) -> Vec<u8> {
    let number =
        |file: &[u8], at: usize| u64::from_le_bytes(std::array::from_fn(|i| file[at + i])) as usize;
    let start = 10 + 2 + 2 + 4 + b"none\0\0".len();
    let mut link = start;
    while number(&file, link) != 0 {
        let section = number(&file, link);
        link = section + 16 + number(&file, section + 8) - 8;
    }
    let section = file.len() as u64;
    file.extend(b"\xc9\0\0\0\xff\xff\xff\xff\x07\0\0\0\0\0\0\0unknown");
    let options = file.len() as u64;
    file.extend(b"\0\0\0\0\xff\xff\xff\xff\x25\0\0\0\0\0\0\0");
    file.extend(b"\xc8\0\x03\0\0\0odd");
    file.extend(b"\xc9\0\x08\0\0\0");
    file.extend(section.to_le_bytes());
    file.extend(b"\0\0\x08\0\0\0\0\0\0\0\0\0\0\0");
    file[link..link + 8].copy_from_slice(&options.to_le_bytes());
    file
}

fn convert_unknown() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let (first, second) = (dir.path().join("first.dat"), dir.path().join("second.dat"));
    fs::write(&first, with_unknown(TraceBuilder::new(Workload::new(7)).build()))?;
    for words in [&["--compression", "none"], &["--compression", "zstd"]] {
        convert(&first, &second, words)?;
        let file = fs::read(&second)?;
        let metadata = tracedat::Reader::parse(file.clone())?.metadata;
        let of = |id| metadata.options().iter().find(|option| option.id.0 == id);
        check(of(200).is_some_and(|option| option.data == b"odd"), || "no odd option".to_owned())?;
        let at = of(201).ok_or("no pointer")?.data.first_chunk().copied().ok_or("short")?;
        let body = u64::from_le_bytes(at) as usize;
        check(file[body] == 201, || format!("{words:?}: no section 201 at {body:#x}"))?;
        check(file[body + 16..].starts_with(b"unknown"), || format!("{words:?}: another body"))?;
    }
    let old = dir.path().join("old.dat");
    let mut to_old = trace_cmd();
    let to_old = to_old.args(["convert", "--file-version", "6", "-i"]).arg(&first).arg(&old);
    let output = to_old.output()?;
    let told = common::stderr(&output);
    check(output.status.success() && told.contains("option 201 left out"), || told.clone())?;
    let metadata = tracedat::Reader::open(&old)?.metadata;
    check(metadata.options().iter().any(|o| o.id.0 == 200), || "no odd option".to_owned())
}

fn convert_onto_itself() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let input = make(dir.path(), 7, Codec::Zstd)?;
    let before = fs::read(&input)?;
    let line = complaint(trace_cmd().args(["convert", "-i"]).arg(&input).arg("-o").arg(&input))?;
    check(line.contains("input and output") && line.contains("-o FILE"), || line.clone())?;
    check(fs::read(&input)? == before, || "the input was changed".to_owned())?;

    // What fails half way leaves nothing behind.
    let cpu = tracedat::Reader::open(&input)?.metadata.buffers[0].cpus[0];
    let mut damaged = before;
    damaged[cpu.offset as usize + 12..][..64].fill(0xff);
    let bad = dir.path().join("damaged.dat");
    fs::write(&bad, damaged)?;
    let output = dir.path().join("out.dat");
    complaint(trace_cmd().args(["convert", "-i"]).arg(&bad).arg(&output))?;
    check(fs::read_dir(dir.path())?.count() == 2, || "files were left".to_owned())
}

/// As release 3.1.6 prints it: the text, and an empty line.
fn latency_text() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let path = dir.path().join("wakeup.dat");
    let text = "# tracer: wakeup\n#\n  a line\n";
    let trace = TraceBuilder::new(Workload::new(7));
    let settings = Settings::new(trace.workload.abi, trace.workload.page_size);
    let writer = Writer::create(File::create(&path)?, settings, &trace.head())?;
    let mut data = text.as_bytes();
    writer.finish_text(&[], vec![TextData { name: "", clock: "local", data: &mut data }])?;
    let expected = format!("cpus=2\n{text}\n");
    for words in TARGETS {
        let output = dir.path().join("out.dat");
        convert(&path, &output, words)?;
        let found = report(&output)?;
        check(found == expected, || format!("{words:?}: {found}"))?;
    }
    let json = success(trace_cmd().args(["report", "--json", "-i"]).arg(&path))?;
    check(json.is_empty(), || json.clone())
}

fn standard_input() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    for input in inputs(dir.path())? {
        let pipe = |words: &[&str]| {
            let mut cat = Command::new("cat").arg(&input).stdout(Stdio::piped()).spawn()?;
            let stdin = cat.stdout.take().ok_or("no pipe")?;
            let text = success(trace_cmd().args(words).current_dir(dir.path()).stdin(stdin))?;
            cat.wait()?;
            Ok::<String, Failed>(text)
        };
        let redirected = |words: &[&str]| {
            let file = File::open(&input)?;
            success(trace_cmd().args(words).current_dir(dir.path()).stdin(file))
        };
        let expected = report(&input)?;
        check(pipe(&["report", "-i", "-"])? == expected, || format!("{} piped", input.display()))?;
        for words in [&["report", "-"][..], &["report"]] {
            check(redirected(words)? == expected, || format!("{} {words:?}", input.display()))?;
        }
        let summary = pipe(&["dump", "-i", "-"])?;
        check(redirected(&["dump"])? == summary, || summary.clone())?;
        check(summary.contains("[Version]"), || summary.clone())?;
        pipe(&["convert", "-i", "-", "out.dat"])?;
        let converted = report(&dir.path().join("out.dat"))?;
        check(converted == expected, || format!("{} converted", input.display()))?;
    }
    // A text at standard input is not taken for a trace that nobody named.
    let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?;
    let line = complaint(trace_cmd().arg("report").current_dir(dir.path()).stdin(file))?;
    check(line.contains("cannot open trace.dat"), || line.clone())
}

fn dump_summary() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let text = success(trace_cmd().args(["dump", "-i"]).arg(make(dir.path(), 7, Codec::Zstd)?))?;
    for part in
        ["\t\t7\t[Version]", "\t\tzstd\t[Compression algorithm]", "sections]", "[buffer \"\""]
    {
        check(text.contains(part), || format!("no {part:?} in {text}"))?;
    }
    let text =
        success(trace_cmd().args(["dump", "--flyrecord"]).arg(make(dir.path(), 6, Codec::None)?))?;
    check(text.contains("[offset, size of cpu 0]"), || text.clone())
}

fn dump_like_reference() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    for input in inputs(dir.path())? {
        // Files of the test have sections without description, which the reference prints from
        // memory that is not its own.
        let output = dir.path().join("out.dat");
        let version = if input.ends_with("6-none.dat") { "6" } else { "7" };
        convert(&input, &output, &["--file-version", version])?;
        for page in PAGES {
            let expected = reference(&["dump", page, "-i"], &output)?;
            let found = success(trace_cmd().args(["dump", page, "-i"]).arg(&output))?;
            check(found == expected, || {
                format!("{} {page}:\n{found}\n{expected}", input.display())
            })?;
        }
    }
    Ok(())
}

fn reference_reads() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    for input in inputs(dir.path())? {
        let before = reference(&["report", "-i"], &input)?;
        for words in TARGETS.iter().filter(|words| !words.contains(&"zlib")) {
            let output = dir.path().join("out.dat");
            convert(&input, &output, words)?;
            let after = reference(&["report", "-i"], &output)?;
            check(after == before, || format!("{} {words:?}", input.display()))?;
        }
    }
    Ok(())
}

fn options_like_reference() -> Result<(), Failed> {
    let expected = success(Command::new("/usr/bin/trace-cmd").arg("options"))?;
    let found = success(trace_cmd().arg("options"))?;
    check(found == expected, || format!("{found}\n{expected}"))
}

fn errors() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let missing = dir.path().join("no.dat");
    let line = complaint(trace_cmd().args(["dump", "-i"]).arg(&missing))?;
    check(line.contains("no.dat") && line.contains("-i FILE"), || line.clone())?;
    let line = complaint(trace_cmd().args(["convert", "-i"]).arg(&missing))?;
    check(line.contains("-o FILE"), || line.clone())?;
    let text = dir.path().join("text.dat");
    fs::write(&text, "no trace\n".repeat(10))?;
    let line = complaint(trace_cmd().args(["dump", "-v"]).arg(&text))?;
    check(line.contains("text.dat") && line.contains("not a trace"), || line.clone())?;
    let words = ["convert", "--file-version", "6", "--compression", "zstd", "-i"];
    let line = complaint(trace_cmd().args(words).arg(&text).arg(&missing))?;
    check(line.contains("version 6 has no compression"), || line.clone())
}

fn report_like_reference() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let input = make(dir.path(), 6, Codec::None)?;
    let symbols = dir.path().join("kallsyms");
    fs::write(&symbols, "ffffffff81000000 T other_text\nffffffff81100800 t half_work\t[mod]\n")?;
    let symbols = symbols.to_str().ok_or("a path that is no UTF-8")?;
    let options: [&[&str]; 9] = [
        &["--events"],
        &["--event", "sched_sw"],
        &["--event", "SCHED"],
        &["--event", "KMEM:^k"],
        &["--event", "no such event"],
        &["--kallsyms", symbols],
        &["-f", "--kallsyms", symbols],
        &["-L"],
        &["--verbose=2"],
    ];
    for words in options {
        let words = [&["report"], words, &["-i"]].concat();
        let expected = reference(&words, &input)?;
        let mut command = trace_cmd();
        let text = success(command.env("TRACE_CMD_COMPAT", "3.1.6").args(&words).arg(&input))?;
        check(text == expected, || format!("{words:?}:\n{text}\ninstead of\n{expected}"))?;
    }
    Ok(())
}

fn check_events_exit_code() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let input = make(dir.path(), 6, Codec::None)?;
    let status = || {
        trace_cmd()
            .args(["report", "--check-events"])
            .arg(&input)
            .output()
            .map(|output| output.status)
    };
    check(status()?.code() == Some(0), || "a good file".to_owned())?;
    // As long as before, so that all offsets still hold.
    let text = fs::read(&input)?;
    let (from, to) = (&b"__get_str(name)"[..], &b"__got_str(name)"[..]);
    let at = text.windows(from.len()).position(|bytes| bytes == from).ok_or("no such format")?;
    fs::write(&input, [&text[..at], to, &text[at + from.len()..]].concat())?;
    check(status()?.code() == Some(22), || "a function that nobody knows".to_owned())
}
