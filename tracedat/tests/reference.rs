//! What this crate writes is read by the C `trace-cmd`, where that is installed.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tracedat::compress::Codec;
use tracedat::metadata::RecorderStat;
use tracedat::testing::{Generated, TraceBuilder, Workload};
use tracedat::write::{BufferData, CpuSource, Head, Settings, TextData, Version, Writer, option};
use tracedat::{Abi, ByteOrder};

/// Longer than any of these files takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(240);

/// What only the recorder knows of a CPU.
const RECORDER: RecorderStat<'_> = RecorderStat {
    stalls: 2,
    longest_stall: Duration::from_millis(1250),
    discarded_bytes: 4096,
    error: Some("writing the data of CPU 0: No space left on device"),
};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let codecs = reference_codecs();
    let mut trials = Vec::new();
    let mut add = |name: &str, missing: Option<&str>, test: fn() -> Result<(), Failed>| {
        let missing = if codecs.is_none() { Some("needs trace-cmd") } else { missing };
        let missing = missing.map(str::to_owned);
        let trial = Trial::ignorable_test(name, move || match &missing {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => test().map(|()| Completion::Completed),
        });
        trials.push(trial);
    };
    let has = |codec: &str| codecs.as_ref().is_some_and(|list| list.contains(codec));
    let zlib = (!has("zlib")).then_some("the installed trace-cmd has no zlib");
    let zstd = (!has("zstd")).then_some("the installed trace-cmd has no zstd");
    add("version_6", None, || read_back(Version::V6, Codec::None, &Workload::new(1)));
    add("version_6_with_instances", None, || {
        read_back(Version::V6, Codec::None, &with_instances(2))
    });
    add("version_6_big_endian_32", None, || {
        read_back(Version::V6, Codec::None, &on(3, ByteOrder::Big, 4))
    });
    add("statistics", None, statistics);
    add("version_7", None, || read_back(Version::V7, Codec::None, &Workload::new(4)));
    add("version_7_zstd", zstd, || read_back(Version::V7, Codec::Zstd, &Workload::new(5)));
    add("version_7_zlib", zlib, || read_back(Version::V7, Codec::Zlib, &Workload::new(6)));
    add("version_7_zstd_with_instances", zstd, || {
        read_back(Version::V7, Codec::Zstd, &with_instances(7))
    });
    add("version_7_big_endian_64", zstd, || {
        read_back(Version::V7, Codec::Zstd, &on(8, ByteOrder::Big, 8))
    });
    add("version_6_big_endian_64", None, || {
        read_back(Version::V6, Codec::None, &on(15, ByteOrder::Big, 8))
    });
    add("version_6_little_endian_32", None, || {
        read_back(Version::V6, Codec::None, &on(16, ByteOrder::Little, 4))
    });
    add("version_7_big_endian_32", None, || {
        read_back(Version::V7, Codec::None, &on(17, ByteOrder::Big, 4))
    });
    add("version_7_zstd_little_endian_32", zstd, || {
        read_back(Version::V7, Codec::Zstd, &on(18, ByteOrder::Little, 4))
    });
    add("version_6_pages_of_64_kib", None, || {
        read_back(Version::V6, Codec::None, &pages_of_64_kib(19))
    });
    add("version_7_pages_of_64_kib", None, || {
        read_back(Version::V7, Codec::None, &pages_of_64_kib(20))
    });
    add("version_7_zstd_big_endian_pages_of_64_kib", zstd, || {
        let workload = Workload { abi: on(21, ByteOrder::Big, 8).abi, ..pages_of_64_kib(21) };
        read_back(Version::V7, Codec::Zstd, &workload)
    });
    add("version_7_large_sub_buffers", zstd, || {
        let page_size = 16384;
        read_back(Version::V7, Codec::Zstd, &Workload { page_size, ..Workload::new(9) })
    });
    add("version_7_of_several_megabytes", zstd, || {
        let workload = Workload { events_per_cpu: 40_000, odd_entries: false, ..Workload::new(10) };
        read_back(Version::V7, Codec::Zstd, &workload)
    });
    add("resumed_by_another_writer", zstd, resumed);
    add("one_cpu_without_data", None, one_cpu_without_data);
    add("made_without_the_writer_6", None, || made_up(6, Codec::None));
    add("made_without_the_writer_7", zstd, || made_up(7, Codec::Zstd));
    add("latency_text", zstd, latency_text);
    libtest_mimic::run(&args, trials).exit_code()
}

/// Writes a workload, and lets the reference read it with as many lines as there are events.
fn read_back(version: Version, codec: Codec, workload: &Workload) -> Result<(), Failed> {
    let made = workload.generate();
    let trace = TraceBuilder::new(workload.clone());
    let mut file = tempfile::NamedTempFile::new()?;
    let settings = settings(version, codec, workload);
    let writer = Writer::create(file.as_file_mut(), settings, &trace.head())?;
    finish(writer, &made, workload)?;
    expect_events(file.path(), &made)
}

/// The head is written by one writer, sent as bytes, and completed by another one.
fn resumed() -> Result<(), Failed> {
    let workload = with_instances(11);
    let made = workload.generate();
    let mut bytes = std::io::Cursor::new(Vec::new());
    let head = Head { cmdlines: Vec::new(), ..TraceBuilder::new(workload.clone()).head() };
    Writer::create(&mut bytes, settings(Version::V7, Codec::Zstd, &workload), &head)?;

    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(file.as_file_mut(), bytes.get_ref())?;
    let mut writer = Writer::resume(file.as_file_mut())?;
    if writer.settings().codec != Codec::Zstd {
        return Err("the codec is that of the head".into());
    }
    writer.add_cmdlines(workload.cmdlines().as_bytes())?;
    finish(writer, &made, &workload)?;
    expect_events(file.path(), &made)?;
    let report = reference(&["report", "-i"], file.path())?;
    if !report.contains("worker/3-1021") {
        return Err("command lines that came late are not there".into());
    }
    Ok(())
}

fn one_cpu_without_data() -> Result<(), Failed> {
    for version in [Version::V6, Version::V7] {
        let workload = Workload { cpus: 3, ..Workload::new(12) };
        let mut made = workload.generate();
        made.buffers[0].cpus[1].bytes.clear();
        made.buffers[0].cpus[1].records.clear();
        let mut file = tempfile::NamedTempFile::new()?;
        let settings = settings(version, Codec::None, &workload);
        let head = TraceBuilder::new(workload.clone()).head();
        let writer = Writer::create(file.as_file_mut(), settings, &head)?;
        finish(writer, &made, &workload)?;
        expect_events(file.path(), &made)?;
    }
    Ok(())
}

/// The recorder's lines are the kernel's to the reference, which prints them all.
fn statistics() -> Result<(), Failed> {
    for version in [Version::V6, Version::V7] {
        let workload = Workload::new(19);
        let mut file = tempfile::NamedTempFile::new()?;
        let settings = settings(version, Codec::None, &workload);
        let head = TraceBuilder::new(workload.clone()).head();
        let writer = Writer::create(file.as_file_mut(), settings, &head)?;
        finish(writer, &workload.generate(), &workload)?;
        let lines = "CPU: 0\nentries: 0\nreader stalls: 2\nlongest reader stall: 1250 ms\n\
                     discarded bytes: 4096\n\
                     recorder error: writing the data of CPU 0: No space left on device\n";
        for words in [&["report", "--stat", "-i"][..], &["dump", "--options", "-i"]] {
            let said = reference(words, file.path())?;
            if !said.contains(lines) {
                return Err(format!("{words:?}: {said}").into());
            }
        }
    }
    Ok(())
}

/// The test's own builder is held to the same.
fn made_up(version: u8, codec: Codec) -> Result<(), Failed> {
    let workload = with_instances(13);
    let made = workload.generate();
    let file = tempfile::NamedTempFile::new()?;
    let trace = TraceBuilder::new(workload).version(version).codec(codec);
    std::fs::write(file.path(), trace.build_from(&made))?;
    expect_events(file.path(), &made)
}

fn latency_text() -> Result<(), Failed> {
    let text = "# tracer: wakeup\n#\n  line of a latency trace\n";
    let formats =
        [(Version::V6, Codec::None), (Version::V7, Codec::None), (Version::V7, Codec::Zstd)];
    let machines = [(ByteOrder::Little, 8), (ByteOrder::Big, 8), (ByteOrder::Big, 4)];
    let both = machines.into_iter().flat_map(|machine| formats.map(|format| (machine, format)));
    for ((byte_order, long_size), (version, codec)) in both {
        let workload = on(14, byte_order, long_size);
        let mut file = tempfile::NamedTempFile::new()?;
        let head = TraceBuilder::new(workload.clone()).head();
        let writer =
            Writer::create(file.as_file_mut(), settings(version, codec, &workload), &head)?;
        let mut data = text.as_bytes();
        writer.finish_text(&[], vec![TextData { name: "", clock: "local", data: &mut data }])?;
        let report = reference(&["report", "-i"], file.path())?;
        // The reference ends it with a line of its own.
        if !report.trim_end().ends_with(text.trim_end()) {
            return Err(format!("{version:?} {codec} {byte_order:?}: {report:?}").into());
        }
    }
    Ok(())
}

fn finish<W: Read + std::io::Write + Seek>(
    writer: Writer<W>,
    made: &Generated,
    workload: &Workload,
) -> Result<(), Failed> {
    // One source is a file, the others are readers.
    let mut spool = tempfile::tempfile()?;
    std::io::Write::write_all(&mut spool, b"something before")?;
    let at = spool.stream_position()?;
    std::io::Write::write_all(&mut spool, &made.buffers[0].cpus[0].bytes)?;
    spool.seek(SeekFrom::Start(0))?;

    let mut readers: Vec<Vec<&[u8]>> = Vec::new();
    for buffer in &made.buffers {
        readers.push(buffer.cpus.iter().map(|cpu| cpu.bytes.as_slice()).collect());
    }
    let mut buffers = Vec::new();
    for (buffer, readers) in made.buffers.iter().zip(&mut readers) {
        let mut cpus = Vec::new();
        for (cpu, reader) in readers.iter_mut().enumerate() {
            let size = reader.len() as u64;
            cpus.push(if buffer.name.is_empty() && cpu == 0 {
                CpuSource::from_file(0, &spool, at, size)
            } else {
                CpuSource::from_reader(cpu as u32, reader, size)
            });
        }
        let (name, page_size) = (buffer.name.as_str(), workload.page_size);
        buffers.push(BufferData { name, clock: "local", page_size, cpus });
    }
    let order = workload.abi.byte_order;
    let options =
        [option::trace_id(0x1234_5678, order), option::cpu_stat(0, "entries: 0\n", &RECORDER)];
    let placed = writer.finish(&options, buffers)?;
    let stated: u64 = placed.iter().map(|placement| placement.size).sum();
    if stated != made.byte_count() as u64 {
        return Err(format!("{stated} of {} bytes placed", made.byte_count()).into());
    }
    Ok(())
}

/// Each event is one line that starts with a task and a CPU.
fn expect_events(file: &Path, made: &Generated) -> Result<(), Failed> {
    let summary = reference(&["dump", "--summary", "-i"], file)?;
    if !summary.contains("[Initial format]") {
        return Err(format!("no summary: {summary}").into());
    }
    let report = reference(&["report", "-i"], file)?;
    // Lost events have a line of their own, with a CPU in brackets as well.
    let is_event = |line: &&str| line.contains("] ") && !line.contains("EVENTS DROPPED");
    let events = report.lines().filter(is_event).count();
    if events != made.event_count() {
        return Err(format!("{events} lines for {} events", made.event_count()).into());
    }
    if report.contains("FAILED TO PARSE") || report.contains("UNKNOWN EVENT") {
        return Err("an event is not understood".into());
    }
    Ok(())
}

/// Runs the reference. It must succeed and complain about nothing.
fn reference(args: &[&str], file: &Path) -> Result<String, Failed> {
    let (output, errors) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    let mut child = Command::new("trace-cmd")
        .args(args)
        .arg(file)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(output.reopen()?)
        .stderr(errors.reopen()?)
        .spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            return Err(format!("trace-cmd {args:?} takes more than {TIMEOUT:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let errors = std::fs::read_to_string(errors.path())?;
    if !status.success() || !errors.is_empty() {
        return Err(format!("trace-cmd {args:?}: {status}, {errors}").into());
    }
    Ok(String::from_utf8_lossy(&std::fs::read(output.path())?).into_owned())
}

/// The compressions that the installed reference lists; `None` where there is no reference.
fn reference_codecs() -> Option<String> {
    let output = Command::new("trace-cmd").args(["list", "-c"]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn settings(version: Version, codec: Codec, workload: &Workload) -> Settings {
    Settings { version, codec, ..Settings::new(workload.abi, workload.page_size) }
}

fn with_instances(seed: u64) -> Workload {
    let instances = vec!["one".to_owned(), "two".to_owned()];
    Workload { instances, events_per_cpu: 300, ..Workload::new(seed) }
}

fn pages_of_64_kib(seed: u64) -> Workload {
    Workload { page_size: 1 << 16, ..with_instances(seed) }
}

fn on(seed: u64, byte_order: ByteOrder, long_size: u8) -> Workload {
    Workload { abi: Abi { byte_order, long_size }, ..Workload::new(seed) }
}
