//! Data is written once and to one file, the end does not wait for it, and what is lost is told.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::load::{flood, losing_record};
use common::{Case, check, stderr, success, trace_cmd, values, with_tracefs};
use libtest_mimic::Failed;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements::TracefsLock;

const CASES: &[Case] = &[
    Case { name: "root_data_is_written_once_and_to_one_file", needs: with_tracefs, test: once },
    Case { name: "root_a_cap_is_one_write_too", needs: with_tracefs, test: capped },
    Case { name: "root_what_is_lost_is_told_by_cpu", needs: with_tracefs, test: ledger },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// What one recording took.
struct Taken {
    /// Bytes of its file.
    size: u64,
    /// Bytes of sub-buffers, kept or not.
    recorded: u64,
    /// Bytes that its file took of the disk at most.
    most: u64,
    /// Bytes that its process caused to be written to a disk.
    written: u64,
    /// From the end of its command to its own.
    ending: Duration,
}

fn once() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let out = TempDir::new()?;
    let small = record(out.path(), 50_000, &[])?;
    let large = large(out.path(), &[])?;
    for Taken { size, written, ending, .. } in [&small, &large] {
        let [size, written] = [size, written].map(|&bytes| bytes as f64 / 1e6);
        println!(
            "{size:.1} MB: {written:.1} MB written, {ending:?} from the command's end to exit"
        );
    }
    // Nobody writes a tmpfs to a disk.
    if statfs(out.path())?.filesystem_type() != TMPFS_MAGIC {
        check(large.written >= large.size / 2, || "writes are not counted".to_owned())?;
        check(large.written as f64 <= 1.05 * large.size as f64, || {
            format!("{} bytes written for {}", large.written, large.size)
        })?;
    }
    Ok(())
}

fn capped() -> Result<(), Failed> {
    const CAP: [&str; 2] = ["-m", "1024"];
    let _lock = TracefsLock::take()?;
    let out = TempDir::new()?;
    let small = record(out.path(), 50_000, &CAP)?;
    let large = large(out.path(), &CAP)?;
    for Taken { size, recorded, most, written, ending } in [&small, &large] {
        let [size, recorded, most, written] =
            [size, recorded, most, written].map(|&bytes| bytes as f64 / 1e6);
        println!(
            "{recorded:.1} MB recorded, {size:.1} kept: {written:.1} MB written, {most:.1} MB of the disk, \
             {ending:?} from the command's end to exit"
        );
    }
    check(large.size < large.recorded / 4, || format!("{} bytes are kept", large.size))?;
    check(large.most < large.recorded / 2, || format!("{} bytes of the disk", large.most))?;
    // Pages that were given back before they were written are counted, too.
    check(large.written as f64 <= 1.05 * (large.recorded + large.size) as f64, || {
        format!("{} bytes written for {}", large.written, large.recorded)
    })
}

/// Records so much that the beginning and the end of the file do not count.
fn large(dir: &Path, way: &[&str]) -> Result<Taken, Failed> {
    const ENOUGH: u64 = 100 << 20;
    // Where the disk is slow or the machine busy, part of it is lost.
    for count in [500_000, 2_000_000, 8_000_000] {
        let taken = record(dir, count, way)?;
        if taken.recorded >= ENOUGH {
            return Ok(taken);
        }
        println!("only {} bytes of {count} writes were recorded", taken.recorded);
    }
    Err("that shows nothing".into())
}

/// Records in a way that is given, too.
fn record(dir: &Path, count: u32, way: &[&str]) -> Result<Taken, Failed> {
    let (file, end) = (dir.join("trace.dat"), dir.join("end"));
    let _ = fs::remove_file(&file);
    let command = format!("{}; date +%s%N >{}", flood(count), end.display());
    let mut record = trace_cmd();
    record.args(["record", "--json", "--compression", "none", "-b", "32768", "-e", "raw_syscalls"]);
    record.args(way).arg("-o").arg(&file).args(["sh", "-c", &command]);
    record.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = record.spawn()?;
    let Seen { others, most } = watch(&child, dir)?;
    let ended = SystemTime::now().duration_since(UNIX_EPOCH)?;
    // It is not reaped yet, so its account is still there.
    let io = fs::read_to_string(format!("/proc/{}/io", child.id()))?;
    let output = child.wait_with_output()?;
    check(output.status.success(), || stderr(&output))?;
    check(others.is_empty(), || format!("beside the output: {others:?}"))?;
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    let command_ended = Duration::from_nanos(fs::read_to_string(&end)?.trim().parse()?);
    Ok(Taken {
        size: fs::metadata(&file)?.len(),
        recorded: values(&String::from_utf8_lossy(&output.stdout), "\"bytes\":").iter().sum(),
        most,
        written: written.ok_or("no account of what was written")?.trim().parse()?,
        ending: ended.saturating_sub(command_ended),
    })
}

/// What was seen of a recording.
#[derive(Default)]
struct Seen {
    /// Files beside the output.
    others: Vec<String>,
    /// Bytes of the disk that the output took at most.
    most: u64,
}

/// Looks at the directory of a recording until its end.
fn watch(child: &Child, dir: &Path) -> Result<Seen, Failed> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    let mut seen = Seen::default();
    while waitid(Id::Pid(pid), flags)? == WaitStatus::StillAlive {
        for entry in fs::read_dir(dir)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !["trace.dat", "end"].contains(&name.as_str()) {
                seen.others.push(name);
            }
        }
        if let Ok(output) = fs::metadata(dir.join("trace.dat")) {
            seen.most = seen.most.max(output.blocks() * 512);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(seen)
}

fn ledger() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    let output = losing_record(&["--json", "--fail-on-loss"], &file).output()?;
    check(output.status.code() == Some(6), || format!("{}: {}", output.status, stderr(&output)))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let stat = success(trace_cmd().args(["report", "--stat"]).arg(&file))?;
    let mut lost = 0;
    for (key, name) in [
        ("\"overrun\":", "overrun:"),
        ("\"commit_overrun\":", "commit overrun:"),
        ("\"dropped_events\":", "dropped events:"),
    ] {
        let by_cpu: Vec<u64> = stat
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix(name)?.trim().parse().ok())
            .collect();
        let told = values(&said, key);
        check(!told.is_empty() && told == by_cpu, || format!("{key} {told:?}, {name} {by_cpu:?}"))?;
        lost += told.iter().sum::<u64>();
    }
    let told: u64 = values(&said, "\"lost_events\":").iter().sum();
    check(lost > 0 && told == lost, || format!("{told} told, {lost} in the file"))?;
    let (bytes, sizes) = (values(&said, "\"bytes\":"), values(&said, "\"size\":"));
    check(bytes == sizes, || format!("{bytes:?} recorded, {sizes:?} in the file"))
}
