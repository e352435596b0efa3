//! How well a guest's clock is known: stored, shown, kept, and passed over by other readers.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use common::{Case, check, success, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements;
use tracedat::clock::{ClockSample, ErrorSample, TimeError, TimeShift};
use tracedat::testing::{FormatTexts, SubBufferBuilder};
use tracedat::write::{BufferData, CpuSource, Head, Settings, System, Version, Writer, option};
use tracedat::{Abi, ByteOrder, Reader};

const CASES: &[Case] = &[
    Case { name: "guest_events_have_their_bound", needs: || Ok(()), test: shown },
    Case { name: "json_has_it_as_a_number", needs: || Ok(()), test: json },
    Case { name: "what_is_made_of_a_file_keeps_it", needs: || Ok(()), test: kept },
    Case {
        name: "the_reference_passes_it_over",
        needs: || requirements::reference().map(drop),
        test: read_by_the_reference,
    },
];

const ABI: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
const TICK: u16 = 700;
const PAGE: usize = 4096;
const FORMAT: &str = "name: tick\nID: 700\nformat:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
    \tfield:unsigned int number;\toffset:8;\tsize:4;\tsigned:0;\n\n\
    print fmt: \"number %u\", REC->number\n";

fn main() -> ExitCode {
    common::run(CASES)
}

fn event(number: u32) -> Vec<u8> {
    let mut bytes = TICK.to_le_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(7_i32.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes
}

/// The events of one CPU, at 2000 ns and every 1000 ns from there.
fn write(
    path: &Path,
    version: Version,
    clock: Option<(TimeShift, TimeError)>,
) -> Result<(), Failed> {
    let texts = FormatTexts { abi: ABI };
    let id = if clock.is_some() { 0x22 } else { 0x11 };
    let mut options =
        vec![option::trace_clock("local [mono]"), option::trace_id(id, ABI.byte_order)];
    if let Some((shift, error)) = clock {
        options.push(option::time_shift(&shift, ABI.byte_order));
        options.push(option::time_error(&error, ABI.byte_order));
    }
    let head = Head {
        header_page: texts.header_page(PAGE).into_bytes(),
        header_event: texts.header_event().into_bytes(),
        systems: vec![System {
            name: "test".to_owned(),
            formats: vec![FORMAT.as_bytes().to_vec()],
        }],
        cmdlines: b"7 ticker\n".to_vec(),
        cpus: 1,
        options,
        ..Head::default()
    };
    let page = SubBufferBuilder::little_endian_64().timestamp(2000).event(0, &event(0));
    let page = page.event(1000, &event(1)).event(1000, &event(2)).build();
    let mut data = page.as_slice();
    let cpus = vec![CpuSource::from_reader(0, &mut data, PAGE as u64)];
    let buffer = BufferData { name: "", clock: "mono", page_size: PAGE as u32, cpus };
    let settings = Settings { version, ..Settings::new(ABI, PAGE as u32) };
    Writer::create(fs::File::create(path)?, settings, &head)?.finish(&[], vec![buffer])?;
    Ok(())
}

/// A guest whose clock is 500 ns behind the host's: known to 100 ns at 1000, to 300 at 3000, less well in between.
fn folder(version: Version) -> Result<TempDir, Failed> {
    let dir = TempDir::new()?;
    let sample = |time| ClockSample { time, offset: 500, scaling: 1, fraction_bits: 0 };
    let samples = vec![sample(1000), sample(3000)];
    let shift = TimeShift { peer: 0x11, interpolate: true, cpus: vec![samples.clone()] };
    let bounds = vec![
        ErrorSample { time: 1000, error: 100, between: 5000 },
        ErrorSample { time: 3000, error: 300, between: 0 },
    ];
    let clock = (shift, TimeError { cpus: vec![bounds] });
    write(&dir.path().join("trace.dat"), version, None)?;
    write(&dir.path().join("trace-vm.dat"), version, Some(clock))?;
    Ok(dir)
}

fn report(dir: &Path, words: &[&str]) -> Command {
    let mut command = trace_cmd();
    command.current_dir(dir).args(["report", "-t", "--ts-error"]).args(words);
    command.args(["-i", "trace.dat", "-i", "trace-vm.dat"]);
    command
}

fn shown() -> Result<(), Failed> {
    let dir = folder(Version::V7)?;
    let text = success(&mut report(dir.path(), &[]))?;
    let expected = "   trace.dat: cpus=1
   trace.dat: clock: not corrected
trace-vm.dat: cpus=1
trace-vm.dat: clock: corrected to the host's within ±5100ns, ±5100ns most of the time
   trace.dat:           ticker-7     [000] .....     0.000002000:               tick:                 number 0
trace-vm.dat:           ticker-7     [000] .....     0.000002500:       ±5200ns tick:                 number 0
   trace.dat:           ticker-7     [000] .....     0.000003000:               tick:                 number 1
trace-vm.dat:           ticker-7     [000] .....     0.000003500:        ±300ns tick:                 number 1
   trace.dat:           ticker-7     [000] .....     0.000004000:               tick:                 number 2
trace-vm.dat:           ticker-7     [000] .....     0.000004500:       ±3001ns tick:                 number 2
";
    check(text == expected, || text.clone())
}

fn json() -> Result<(), Failed> {
    let dir = folder(Version::V7)?;
    let text = success(&mut report(dir.path(), &["--json"]))?;
    let line = r#"{"file":"trace-vm.dat","ts":2500,"ts_error":5200,"cpu":0,"#;
    check(text.lines().any(|text| text.starts_with(line)), || text.clone())?;
    check(text.matches("ts_error").count() == 3, || text.clone())
}

fn kept() -> Result<(), Failed> {
    let dir = folder(Version::V7)?;
    let error = |name: &str| -> Result<_, Failed> {
        let data = Reader::open(dir.path().join(name))?.metadata;
        Ok((data.time_shift().cloned(), data.time_error()))
    };
    let run = |words: &[&str]| success(trace_cmd().current_dir(dir.path()).args(words));
    run(&["convert", "--file-version", "6", "-i", "trace-vm.dat", "-o", "six.dat"])?;
    run(&["convert", "--file-version", "7", "-i", "six.dat", "-o", "seven.dat"])?;
    run(&["split", "-i", "trace-vm.dat", "-o", "part.dat", "-e", "2"])?;
    let whole = error("trace-vm.dat")?;
    check(whole.1.is_some(), || "no TIME_ERROR".to_owned())?;
    for name in ["six.dat", "seven.dat", "part.dat"] {
        check(error(name)? == whole, || name.to_owned())?;
    }
    let text = run(&["dump", "--options", "-i", "trace-vm.dat"])?;
    let told = "TimeError, 56 bytes]\n0x1 [CPU count]\n2 [samples count for CPU 0]\n\t100 5000 1000 [bound,";
    check(text.contains(told), || text.clone())
}

fn read_by_the_reference() -> Result<(), Failed> {
    let reference = requirements::reference()?;
    for version in [Version::V6, Version::V7] {
        let dir = folder(version)?;
        let mut command = reference.reader();
        command.current_dir(dir.path()).args([
            "report",
            "-t",
            "-i",
            "trace.dat",
            "-i",
            "trace-vm.dat",
        ]);
        let text = success(&mut command)?;
        let corrected: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("trace-vm.dat: ") && line.contains("tick:"))
            .collect();
        let times = ["0.000002500", "0.000003500", "0.000004500"];
        check(
            corrected.len() == 3
                && times.iter().zip(&corrected).all(|(time, line)| line.contains(time)),
            || text.clone(),
        )?;
    }
    Ok(())
}
