//! `attach`: two traces that know each other afterwards, and files that stay whole.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use common::{Case, check, complaint, success, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements;
use tracedat::metadata::TscToNsec;
use tracedat::testing::{FormatTexts, SubBufferBuilder};
use tracedat::write::{BufferData, CpuSource, Head, Settings, System, Version, Writer, option};
use tracedat::{Abi, ByteOrder, Reader};

const CASES: &[Case] = &[
    Case { name: "host_and_guest_are_on_one_clock", needs: || Ok(()), test: one_clock },
    Case { name: "each_vcpu_has_its_offset", needs: || Ok(()), test: offsets },
    Case { name: "what_cannot_be_attached_stays_as_it_is", needs: || Ok(()), test: refused },
    Case {
        name: "the_reference_reads_both_files",
        needs: || requirements::reference().map(drop),
        test: read_by_the_reference,
    },
];

const ABI: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
const ENTRY: u16 = 700;
const PAGE: usize = 4096;

fn main() -> ExitCode {
    common::run(CASES)
}

/// An event with one number.
fn format(name: &str, field: &str) -> Vec<u8> {
    let common = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";
    format!(
        "name: {name}\nID: {ENTRY}\nformat:\n{common}\tfield:unsigned int {field};\toffset:8;\tsize:4;\
         \tsigned:0;\n\nprint fmt: \"{field} %u\", REC->{field}\n"
    )
    .into_bytes()
}

fn event(pid: i32, number: u32) -> Vec<u8> {
    let mut bytes = ENTRY.to_le_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(pid.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes
}

/// A file with the sub-buffer of one CPU, or of two.
fn write(
    path: &Path,
    version: Version,
    (system, event): (&str, Vec<u8>),
    trace_id: u64,
    cpus: &[SubBufferBuilder],
) -> Result<(), Failed> {
    let texts = FormatTexts { abi: ABI };
    let factor = TscToNsec { mult: 1 << 30, shift: 31, offset: 0 };
    let mut options =
        vec![option::trace_clock("local [x86-tsc]"), option::trace_id(trace_id, ABI.byte_order)];
    if system == "kvm" {
        options.push(option::tsc_to_nsec(&factor, ABI.byte_order));
    }
    let head = Head {
        header_page: texts.header_page(PAGE).into_bytes(),
        header_event: texts.header_event().into_bytes(),
        systems: vec![System { name: system.to_owned(), formats: vec![event] }],
        cmdlines: b"41 qemu/0\n42 qemu/1\n7 guest\n".to_vec(),
        cpus: cpus.len() as u32,
        options,
        ..Head::default()
    };
    let pages: Vec<Vec<u8>> = cpus.iter().map(|cpu| cpu.clone().build()).collect();
    let mut data: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
    let sources = (0..).zip(&mut data);
    let cpus = sources.map(|(cpu, page)| CpuSource::from_reader(cpu, page, PAGE as u64)).collect();
    let buffer = BufferData { name: "", clock: "x86-tsc", page_size: PAGE as u32, cpus };
    let settings = Settings { version, ..Settings::new(ABI, PAGE as u32) };
    Writer::create(fs::File::create(path)?, settings, &head)?.finish(&[], vec![buffer])?;
    Ok(())
}

/// The host enters vCPU 1 at 2000 cycles and vCPU 0 at 6000; the guest's counters are 1000 and
/// 3000 behind it, and it has an event on each at 3000 and 5000 of the host.
fn folder(version: Version) -> Result<TempDir, Failed> {
    let dir = TempDir::new()?;
    let page = SubBufferBuilder::little_endian_64;
    let host = page().timestamp(2000).event(0, &event(42, 1)).event(4000, &event(41, 0));
    let kvm = ("kvm", format("kvm_entry", "vcpu_id"));
    write(&dir.path().join("trace.dat"), version, kvm, 0x11, &[host])?;
    let first = page().timestamp(2000).event(0, &event(7, 100));
    let second = page().timestamp(2000).event(0, &event(7, 200));
    let guest = ("test", format("tick", "number"));
    write(&dir.path().join("trace-vm.dat"), version, guest, 0x22, &[first, second])?;
    Ok(dir)
}

fn attach(dir: &Path, words: &[&str]) -> Command {
    let mut command = trace_cmd();
    command.current_dir(dir).arg("attach").args(words);
    command
}

const BOTH: &[&str] = &["-s", "1000", "-s", "3000", "trace.dat", "trace-vm.dat", "41", "42"];

fn one_clock() -> Result<(), Failed> {
    let dir = folder(Version::V7)?;
    let told = success(&mut attach(dir.path(), BOTH))?;
    check(told == "vm: vCPU 0 is thread 41\nvm: vCPU 1 is thread 42\n", || told.clone())?;
    let words = ["report", "-t", "-i", "trace.dat", "-i", "trace-vm.dat"];
    let text = success(trace_cmd().current_dir(dir.path()).args(words))?;
    let events: Vec<&str> = text.lines().filter(|line| line.contains("0.0000")).collect();
    // Two cycles are a nanosecond.
    let expected = ["0.000001000: kvm_entry", "0.000001500: tick", "0.000002500: tick"];
    let expected = expected.into_iter().chain(["0.000003000: kvm_entry"]);
    check(events.len() == 4 && events.iter().zip(expected).all(|(e, x)| e.contains(x)), || text)
}

fn offsets() -> Result<(), Failed> {
    let dir = folder(Version::V7)?;
    let words = ["-c", "3", "-s", "-7,4,2,9", "--name", "x", "trace.dat", "trace-vm.dat"];
    let told = attach(dir.path(), &words).output()?;
    check(common::stderr(&told).contains("vCPU 2"), || common::stderr(&told))?;
    let host = Reader::open(dir.path().join("trace.dat"))?.metadata;
    let guest = Reader::open(dir.path().join("trace-vm.dat"))?.metadata;
    let [known] = host.guests() else { return Err("one guest".into()) };
    let pids: Vec<i32> = known.cpus.iter().map(|cpu| cpu.pid).collect();
    check((&*known.name, known.trace_id) == ("x", 0x22) && pids == [41, 42, -1], || {
        format!("{known:?}")
    })?;
    let Some(shift) = guest.time_shift() else { return Err("no TIME_SHIFT".into()) };
    let sample = |cpu: usize| shift.cpus[cpu].first().copied();
    check(shift.peer == 0x11 && shift.cpus.len() == 3 && sample(0) == sample(2), || {
        format!("{shift:?}")
    })?;
    let one = sample(1).ok_or("no sample")?;
    let values = (one.offset, one.scaling, one.fraction_bits, one.time);
    check(values == (-7, 4, 2, 9), || format!("{values:?}"))?;
    check(guest.tsc_to_nsec() == host.tsc_to_nsec(), || "another factor".to_owned())
}

fn refused() -> Result<(), Failed> {
    let dir = folder(Version::V7)?;
    let dir = dir.path();
    let files = || -> Result<_, Failed> {
        Ok((fs::read(dir.join("trace.dat"))?, fs::read(dir.join("trace-vm.dat"))?))
    };
    let before = files()?;
    for (words, parts) in [
        (&["trace.dat", "trace-vm.dat", "43"][..], &["thread 43", "-e kvm"][..]),
        (&["trace-vm.dat", "trace.dat", "41"], &["TSC2NSEC"]),
        (&["trace.dat", "trace.dat", "41"], &["same TRACEID"]),
        (&["-c", "1", "trace.dat", "trace-vm.dat"], &["virtual CPU 1", "-c"]),
        (&["-s", "1", "-s", "2", "-c", "3", "trace.dat", "trace-vm.dat"], &["2 clock offsets"]),
        (&["-s", "soon", "trace.dat", "trace-vm.dat"], &["soon"]),
        (&["trace.dat", "no.dat"], &["no.dat"]),
    ] {
        let line = complaint(&mut attach(dir, words))?;
        for part in parts {
            check(line.contains(part), || format!("no {part:?} in: {line}"))?;
        }
        check(files()? == before, || format!("changed by {words:?}"))?;
    }
    success(&mut attach(dir, BOTH))?;
    let again = complaint(&mut attach(dir, BOTH))?;
    check(again.contains("already") && again.contains("\"vm\""), || again.clone())?;

    let old = folder(Version::V6)?;
    let line = complaint(&mut attach(old.path(), BOTH))?;
    check(line.contains("version 6") && line.contains("trace-cmd convert"), || line.clone())
}

fn read_by_the_reference() -> Result<(), Failed> {
    let reference = requirements::reference()?;
    let dir = folder(Version::V7)?;
    success(&mut attach(dir.path(), BOTH))?;
    let mut command = reference.reader();
    let words = ["report", "-t", "-i", "trace.dat", "-i", "trace-vm.dat"];
    let text = success(command.current_dir(dir.path()).args(words))?;
    let ours =
        success(trace_cmd().current_dir(dir.path()).env("TRACE_CMD_COMPAT", "3.1.6").args(words))?;
    // The reference misses a field of kvm_entry, which ours does without.
    let events = |text: &str| -> Vec<String> {
        let events = text.lines().filter(|line| line.contains("0.0000"));
        events.filter_map(|line| Some(line.rsplit_once(": ")?.0.to_owned())).collect()
    };
    check(events(&text).len() == 4 && events(&text) == events(&ours), || format!("{text}\n{ours}"))
}
