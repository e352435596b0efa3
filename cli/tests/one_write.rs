//! Data is written once and to one file, the end does not wait for it, and what is lost is told.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::load::{flood, losing_record};
use common::{Case, check, stderr, success, trace_cmd, with_tracefs};
use libtest_mimic::Failed;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements::TracefsLock;

const CASES: &[Case] = &[
    Case { name: "root_data_is_written_once_and_to_one_file", needs: with_tracefs, test: once },
    Case { name: "root_what_is_lost_is_told_by_cpu", needs: with_tracefs, test: ledger },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// What one recording took.
struct Taken {
    /// Bytes of its file.
    size: u64,
    /// Bytes that its process caused to be written to a disk.
    written: u64,
    /// From the end of its command to its own.
    ending: Duration,
}

fn once() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let out = TempDir::new()?;
    let small = record(out.path(), 50_000)?;
    let large = record(out.path(), 500_000)?;
    for Taken { size, written, ending } in [&small, &large] {
        let [size, written] = [size, written].map(|&bytes| bytes as f64 / 1e6);
        println!(
            "{size:.1} MB: {written:.1} MB written, {ending:?} from the command's end to exit"
        );
    }
    check(large.size >= 100 << 20, || format!("{} bytes show nothing", large.size))?;
    // Nobody writes a tmpfs to a disk.
    if statfs(out.path())?.filesystem_type() != TMPFS_MAGIC {
        check(large.written >= large.size / 2, || "writes are not counted".to_owned())?;
        check(large.written as f64 <= 1.05 * large.size as f64, || {
            format!("{} bytes written for {}", large.written, large.size)
        })?;
    }
    Ok(())
}

fn record(dir: &Path, count: u32) -> Result<Taken, Failed> {
    let (file, end) = (dir.join("trace.dat"), dir.join("end"));
    let _ = fs::remove_file(&file);
    let command = format!("{}; date +%s%N >{}", flood(count), end.display());
    let mut record = trace_cmd();
    record.args(["record", "-q", "--compression", "none", "-b", "32768", "-e", "raw_syscalls"]);
    record.arg("-o").arg(&file).args(["sh", "-c", &command]).stderr(Stdio::piped());
    let child = record.spawn()?;
    let others = watch(&child, dir)?;
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
        written: written.ok_or("no account of what was written")?.trim().parse()?,
        ending: ended.saturating_sub(command_ended),
    })
}

/// Waits for the end, and returns what was seen in the directory beside the output.
fn watch(child: &Child, dir: &Path) -> Result<Vec<String>, Failed> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    let mut others = Vec::new();
    while waitid(Id::Pid(pid), flags)? == WaitStatus::StillAlive {
        for entry in fs::read_dir(dir)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !["trace.dat", "end"].contains(&name.as_str()) {
                others.push(name);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(others)
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

/// The numbers behind a key, in the order they come.
fn values(json: &str, key: &str) -> Vec<u64> {
    let rest = json.split(key).skip(1);
    let words = rest.filter_map(|rest| rest.trim_start().split([',', '}']).next());
    words.filter_map(|word| word.trim().parse().ok()).collect()
}
