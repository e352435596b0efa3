//! Recordings that cannot be: a full disk, places that cannot be written, wishes that the kernel refuses. One clear
//! line each, a file that can be read or none at all, and tracing as it was.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use common::disk::Disk;
use common::tracefs_state::WritableFiles;
use common::{Case, check, complaint, stderr, success, trace_cmd, with_tracefs};
use libtest_mimic::Failed;
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;
use trace_virt::lab::Missing;
use trace_virt::lab::requirements::{self, TracefsLock};

const CASES: &[Case] = &[
    Case {
        name: "root_a_full_tmpfs_ends_a_recording_whose_file_is_whole",
        needs: with_tracefs,
        test: full_tmpfs,
    },
    Case {
        name: "root_a_full_ext4_ends_a_recording_whose_file_is_whole",
        needs: with_loop_devices,
        test: full_ext4,
    },
    Case {
        name: "root_places_that_cannot_be_written_are_one_line",
        needs: with_tracefs,
        test: places,
    },
    Case {
        name: "root_wishes_that_cannot_be_are_one_line_and_undone",
        needs: with_tracefs,
        test: wishes,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn with_loop_devices() -> Result<(), Missing> {
    with_tracefs()?;
    if !Path::new("/dev/loop-control").exists() {
        return Err(Missing::Program { program: "loop devices", package: "kernel" });
    }
    match Command::new("mkfs.ext4").arg("-V").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(Missing::Program { program: "mkfs.ext4", package: "e2fsprogs" }),
    }
}

fn full_tmpfs() -> Result<(), Failed> {
    full(|| Disk::tmpfs("24m"))
}

fn full_ext4() -> Result<(), Failed> {
    full(|| Disk::ext4(24 << 20))
}

/// Two writers of few bytes, each long enough to fill the disk.
const FLOOD: &str = "flood() { dd if=/dev/zero bs=1 count=700000 of=/dev/null 2>/dev/null; }; \
                     flood & flood; wait";

fn full(make: fn() -> Result<Disk, Failed>) -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let tracing = requirements::tracefs()?;
    let before = WritableFiles::read(&tracing);
    for words in [
        &["--compression", "none"][..],
        &["--compression", "zstd"],
        &["--file-version", "6"],
        &["--compression", "none", "-B", "disk_full"],
        &["--compression", "none", "-m", "100000"],
        &["--file-version", "6", "-m", "100000"],
    ] {
        let disk = make()?;
        let file = disk.root().join("trace.dat");
        let mut record = trace_cmd();
        record.arg("record").arg("-q").args(words).args(["-e", "raw_syscalls", "-o"]).arg(&file);
        // What compresses well needs a smaller disk.
        if words.contains(&"zstd") {
            let disk = statvfs(&disk.root())?;
            let free = disk.blocks_available() * disk.fragment_size();
            fs::write(file.with_file_name("other"), vec![1; free as usize - (6 << 20)])?;
        }
        let output = record.args(["sh", "-c", FLOOD]).output()?;
        fills(&disk, &file, &output).map_err(|error| {
            format!("{words:?}: {}: {}", error.message().unwrap_or_default(), stderr(&output))
        })?;
        before.are_as_in(&tracing)?;
    }
    for words in [&["--compression", "none"][..], &["--compression", "zstd"]] {
        // What is given back can be written to again.
        let disk = make()?;
        let file = disk.root().join("trace.dat");
        let mut record = trace_cmd();
        record.arg("record").arg("-q").args(words).args(["-m", "1000", "-e", "raw_syscalls", "-o"]);
        success(record.arg(&file).args(["sh", "-c", FLOOD]))?;
        let report = success(trace_cmd().arg("report").arg(&file))?;
        check(report.lines().count() > 1000, || format!("{words:?}: less than was kept"))?;
        before.are_as_in(&tracing)?;
    }
    Ok(())
}

fn fills(disk: &Disk, file: &Path, output: &Output) -> Result<(), Failed> {
    check(output.status.code() == Some(1), || output.status.to_string())?;
    let said = stderr(output);
    let path = file.to_string_lossy();
    // Beside the account of each CPU.
    let lines: Vec<&str> =
        said.lines().filter(|line| line.contains("No space left on device")).collect();
    check(matches!(lines[..], [line] if line.contains(&*path)), || "not one line".to_owned())?;
    check(said.contains("bytes could not be written"), || "no account".to_owned())?;
    let names = fs::read_dir(disk.root())?.flatten().map(|one| one.file_name());
    let names: Vec<_> = names.filter(|name| name != "lost+found" && name != "other").collect();
    check(names == ["trace.dat"], || format!("{names:?}"))?;
    let count = |text: &str| text.lines().filter(|line| line.contains(": sys_")).count();
    let ours = count(&success(trace_cmd().arg("report").arg(file))?);
    check(ours > 10_000, || format!("{ours} events only"))?;
    if let Ok(reference) = requirements::reference() {
        let theirs = count(&success(reference.reader().arg("report").arg("-i").arg(file))?);
        check(ours == theirs, || format!("{ours} events, and {theirs} for the C trace-cmd"))?;
    }
    Ok(())
}

/// Runs a recording that has to fail with one line, with `parts` in it.
fn fails(record: &mut Command, parts: &[&str]) -> Result<(), Failed> {
    let line = complaint(record)?;
    let missing = parts.iter().find(|part| !line.contains(**part));
    check(missing.is_none(), || format!("no {missing:?} in {line:?}"))
}

fn recording(file: &Path) -> Command {
    let mut record = trace_cmd();
    record.args(["record", "-q", "-e", "sched_process_exec", "-o"]).arg(file);
    record
}

fn places() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let tracing = requirements::tracefs()?;
    let before = WritableFiles::read(&tracing);
    let out = TempDir::new()?;
    let nowhere = out.path().join("no/such/trace.dat");
    fails(recording(&nowhere).arg("true"), &["no/such/trace.dat", "No such file or directory"])?;
    fails(recording(out.path()).arg("true"), &["Is a directory"])?;
    let file = out.path().join("a file");
    fs::write(&file, "a text")?;
    fails(recording(&file.join("trace.dat")).arg("true"), &["Not a directory"])?;
    check(fs::read(&file)? == b"a text", || "the file in the way was changed".to_owned())?;
    before.are_as_in(&tracing)?;

    // Who may do all else: capabilities but the one to write anywhere.
    let closed = out.path().join("closed");
    fs::create_dir(&closed)?;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555))?;
    let mut bound = Command::new("setpriv");
    bound.args(["--bounding-set=-dac_override", "--inh-caps=-all"]);
    bound.arg(env!("CARGO_BIN_EXE_trace-cmd"));
    bound.args(["record", "-q", "-e", "sched_process_exec", "-o"]).arg(closed.join("trace.dat"));
    fails(bound.arg("true"), &["closed/trace.dat", "Permission denied"])?;
    let left = fs::read_dir(&closed)?.count();
    check(left == 0, || format!("{left} files are left"))?;
    before.are_as_in(&tracing)
}

fn wishes() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let tracing = requirements::tracefs()?;
    let before = WritableFiles::read(&tracing);
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    // Each leaves what was set before it to be put back.
    let event = ["-e", "sched_process_exec"];
    for (words, parts) in [
        // More than there is of memory, and what is too large to be a number of bytes.
        (&["-b", "400000000"][..], &["buffer_size_kb", "400000000"][..]),
        (&["-b", "18014398509481984"], &["buffer_size_kb", "Cannot allocate memory"]),
        (&["-B", "one", "-e", "sched", "-b", "400000000"], &["instances/one/buffer_size_kb"]),
        (&["-M", "0"], &["has no CPU"]),
        (&["-B", "one", "-e", "sched", "-B", "two", "-e", "no_event"], &["no event", "no_event"]),
        (
            &["-B", "one", "-e", "sched", "-B", "two", "-e", "sched_switch", "-f", "no_field == 1"],
            &["no_field"],
        ),
        (&["--", "no-such-program-anywhere"], &["no-such-program-anywhere"]),
    ] {
        let mut record = trace_cmd();
        record.args(["record", "-q", "-o"]).arg(&file).args(event).args(words);
        fails(&mut record, parts).map_err(|error| {
            Failed::from(format!("{words:?}: {}", error.message().unwrap_or_default()))
        })?;
        let left = fs::read_dir(out.path())?.count();
        check(left == 0, || format!("{words:?}: {left} files are left"))?;
        before.are_as_in(&tracing)?;
    }
    Ok(())
}
