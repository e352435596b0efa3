//! Recordings of the running kernel: read alike by the C trace-cmd and by ours, and nothing left behind.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use common::load::{LOAD, losing_record};
use common::{
    Case, check, complaint, stderr, success, trace_cmd, tracing_state, with_reference, with_tracefs,
};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};
use trace_virt::lab::{Missing, Reference};

const CASES: &[Case] = &[
    Case {
        name: "root_reports_are_the_same_bytes_as_the_references",
        needs: with_reference,
        test: same_reports,
    },
    Case {
        name: "root_filters_and_buffer_sizes_reach_the_kernel",
        needs: with_tracefs,
        test: filters,
    },
    Case { name: "root_json_of_every_event_is_read_by_python", needs: with_python, test: json },
    Case { name: "root_lost_events_are_counted_and_said", needs: with_tracefs, test: losses },
    Case {
        name: "root_statistics_are_those_of_the_recording",
        needs: with_tracefs,
        test: statistics,
    },
    Case {
        name: "root_ctrl_c_ends_a_recording_and_its_file_is_whole",
        needs: with_tracefs,
        test: ctrl_c,
    },
    Case { name: "root_refusals_leave_nothing_behind", needs: with_tracefs, test: refusals },
    Case {
        name: "root_without_root_or_tracefs_the_way_out_is_named",
        needs: with_tracefs,
        test: no_access,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn with_python() -> Result<(), Missing> {
    with_tracefs()?;
    match Command::new("python3").args(["-c", ""]).output() {
        Ok(_) => Ok(()),
        Err(_) => Err(Missing::Program { program: "python3", package: "python3" }),
    }
}

fn same_reports() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let dir = requirements::tracefs()?;
    let reference = requirements::reference()?.exact()?;
    let out = TempDir::new()?;
    for words in [
        "-e all",
        "-e sched -e irq",
        "-e syscalls --file-version 6",
        "-e sched -C mono --date",
        "-e sched -B foo -e irq",
        "-e sched -B foo -e irq --file-version 6",
        "-B foo -e sched --compression none",
        "-e sched:sched_sw* -e irq/softirq_entry -e sys_enter_openat",
        "-C x86-tsc -e sched",
    ] {
        let file = out.path().join("trace.dat");
        let before = tracing_state(&dir);
        let words: Vec<&str> = words.split(' ').collect();
        let mut record = trace_cmd();
        record.arg("record").args(&words).arg("-o").arg(&file).args(["sh", "-c", LOAD]);
        let said = success(&mut record)?;
        check(said.contains("CPU0 data recorded at offset=0x"), || said.clone())?;
        let after = tracing_state(&dir);
        check(before == after, || format!("{words:?} changed tracefs: {before:#?} {after:#?}"))?;
        for option in [None, Some("-t"), Some("-R"), Some("-l")] {
            compare(&reference, &file, option)
                .map_err(|error| format!("{words:?}: {}", message(&error)))?;
        }
        let left: Vec<PathBuf> =
            fs::read_dir(out.path())?.flatten().map(|entry| entry.path()).collect();
        check(left == [file], || format!("left behind: {left:?}"))?;
    }
    Ok(())
}

fn message(failed: &Failed) -> String {
    failed.message().unwrap_or_default().to_owned()
}

fn compare(reference: &Reference, file: &Path, option: Option<&str>) -> Result<(), Failed> {
    let theirs = success(reference.reader().arg("report").args(option).arg("-i").arg(file))?;
    let mut report = trace_cmd();
    let report = report.env("TRACE_CMD_COMPAT", "3.1.6").env("TZ", "UTC");
    let ours = success(report.arg("report").args(option).arg("-i").arg(file))?;
    check(theirs.lines().count() > 10, || format!("{} lines only", theirs.lines().count()))?;
    let Some(number) = theirs.lines().zip(ours.lines()).position(|(a, b)| a != b) else {
        return check(theirs == ours, || "one of the reports ends early".to_owned());
    };
    let line = |text: &str| text.lines().nth(number).unwrap_or_default().to_owned();
    Err(format!("report {option:?}, line {number}:\n{}\n{}", line(&theirs), line(&ours)).into())
}

/// Counts lines, and tells those that say something else than the text of the same record.
const READ_JSON: &str = r"
import json, sys
events = 0
for line in sys.stdin.buffer:
    o = json.loads(line.decode('utf-8'))
    if 'lost' in o or 'losses' in o:
        continue
    events += 1
    f = o['fields']
    if o['event'] == 'sched_waking':
        said = 'comm=%s pid=%d prio=%d target_cpu=%03d' % (f['comm'], f['pid'], f['prio'], f['target_cpu'])
        assert o['text'] == said, (o, said)
    if o['event'] == 'sys_enter' and o['system'] == 'raw_syscalls':
        said = 'NR %d (%s)' % (f['id'], ', '.join('%x' % a for a in f['args']))
        assert o['text'] == said, (o, said)
print(events)
";

fn json() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let out = TempDir::new()?;
    let (file, lines) = (out.path().join("trace.dat"), out.path().join("lines.json"));
    let mut record = trace_cmd();
    record.args(["record", "-q", "-e", "all", "-o"]).arg(&file).args(["sh", "-c", LOAD]);
    success(&mut record)?;
    let mut report = trace_cmd();
    report.args(["report", "--json=text"]).arg(&file).stdout(fs::File::create(&lines)?);
    success(&mut report)?;
    let mut python = Command::new("python3");
    let counted = success(python.args(["-c", READ_JSON]).stdin(fs::File::open(&lines)?))?;
    let text = success(trace_cmd().args(["report", "-R"]).arg(&file))?;
    let wanted = text.lines().skip(1).filter(|line| line.contains(": ")).count();
    let counted: usize = counted.trim().parse()?;
    check(counted > 1000 && counted == wanted, || format!("{counted} objects, {wanted} lines"))
}

fn filters() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    let mut record = trace_cmd();
    record.args([
        "record",
        "-q",
        "-b",
        "4096",
        "-e",
        "sched_process_exec",
        "-e",
        "sched_process_exit",
    ]);
    // A name that nobody else on this machine has.
    let program = out.path().join("eight-times");
    std::os::unix::fs::symlink("/bin/sh", &program)?;
    let load = format!("for i in 1 2 3 4 5 6 7 8; do {} -c :; done", program.display());
    record.args(["-f", "comm == \"eight-times\"", "-o"]).arg(&file).args(["sh", "-c", &load]);
    let said = success(&mut record)?;
    check(said.is_empty(), || format!("-q, and yet: {said}"))?;
    let report = success(trace_cmd().arg("report").arg(&file))?;
    let exits: Vec<&str> =
        report.lines().filter(|line| line.contains("sched_process_exit:")).collect();
    check(exits.len() == 8 && exits.iter().all(|line| line.contains("comm=eight-times")), || {
        format!("{exits:#?}")
    })?;
    check(report.contains("filename=/"), || report.clone())
}

fn losses() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    let output = losing_record(&[], &file).output()?;
    check(output.status.success(), || stderr(&output))?;
    let said: u64 = stderr(&output)
        .lines()
        .filter(|line| line.contains("events lost"))
        .filter_map(|line| line.split(": ").nth(2)?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    let stat = success(trace_cmd().args(["report", "--stat"]).arg(&file))?;
    let counter = |name: &str| -> u64 {
        let values =
            stat.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        values.sum()
    };
    let counted = counter("overrun:") + counter("commit overrun:") + counter("dropped events:");
    check(said == counted, || {
        format!("{said} said, {counted} in the file: {}\n{stat}", stderr(&output))
    })?;
    check(said > 0, || "nothing was lost, so nothing is shown".to_owned())?;
    let report = success(trace_cmd().arg("report").arg(&file))?;
    check(report.contains("EVENTS DROPPED]"), || "no line where events are missing".to_owned())?;
    let json = success(trace_cmd().args(["report", "--json"]).arg(&file))?;
    let overrun: u64 = json
        .lines()
        .filter_map(|line| line.strip_prefix("{\"losses\":{\"overrun\":")?.split(',').next())
        .filter_map(|number| number.parse::<u64>().ok())
        .sum();
    check(overrun == counter("overrun:"), || format!("{overrun} told as JSON\n{stat}"))
}

/// The kernel goes on counting where a buffer is empty already and so is not emptied again.
fn statistics() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    for _ in 0..2 {
        let mut record = trace_cmd();
        record.args(["record", "-q", "-e", "sched_process_exec", "-o"]).arg(&file);
        success(record.args(["sh", "-c", LOAD]))?;
        let stat = success(trace_cmd().args(["report", "--stat"]).arg(&file))?;
        let counts = stat.lines().filter_map(|line| line.strip_prefix("read events: "));
        let counted: usize = counts.filter_map(|count| count.parse::<usize>().ok()).sum();
        let report = success(trace_cmd().arg("report").arg(&file))?;
        let events = report.lines().filter(|line| line.contains("sched_process_exec:")).count();
        check(events >= 9 && counted == events, || format!("{events} in the file\n{stat}"))?;
    }
    Ok(())
}

fn ctrl_c() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let dir = requirements::tracefs()?;
    let before = tracing_state(&dir);
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    let mut record = trace_cmd();
    record.args(["record", "-e", "sched", "-o"]).arg(&file).stdout(Stdio::piped());
    let mut child = record.spawn()?;
    let mut out = BufReader::new(child.stdout.take().ok_or("no output")?);
    // Said once it records.
    let mut said = String::new();
    while !said.contains("Hit Ctrl^C") && out.read_line(&mut said)? > 0 {}
    Command::new("ls").arg("/").stdout(Stdio::null()).status()?;
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    out.read_to_string(&mut said)?;
    let output = child.wait_with_output()?;
    check(output.status.success(), || format!("{}: {said}", output.status))?;
    check(said.contains("Hit Ctrl^C to stop recording"), || said.clone())?;
    let after = tracing_state(&dir);
    check(before == after, || format!("tracefs changed: {before:#?} {after:#?}"))?;
    let report = success(trace_cmd().arg("report").arg(&file))?;
    check(report.lines().count() > 10, || report.clone())
}

fn refusals() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let dir = requirements::tracefs()?;
    let before = tracing_state(&dir);
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    let refused: &[(&[&str], &[&str])] = &[
        (&["-e", "sched_swich"], &["no event matches 'sched_swich'", "sched_switch"]),
        (&["-e", "shed"], &["no event matches 'shed'", "sched"]),
        (&["-e", "sched", "-C", "monotone"], &["no trace clock 'monotone'", "mono"]),
        (&["-e", "sched_switch", "-f", "prev_pdi == 1"], &["prev_pdi", "kernel"]),
        (
            &["-e", "sched", "-B", "foo", "-e", "nothing_like_it"],
            &["no event matches 'nothing_like_it'"],
        ),
        (&["-e", "sched", "no-such-program-anywhere"], &["cannot run 'no-such-program-anywhere'"]),
    ];
    for (words, parts) in refused {
        let mut record = trace_cmd();
        record.args(["record", "-q", "-o"]).arg(&file).args(*words);
        let line = complaint(&mut record)?;
        for part in *parts {
            check(line.contains(part), || format!("{words:?}: {line}"))?;
        }
        let after = tracing_state(&dir);
        check(before == after, || format!("{words:?} changed tracefs: {before:#?} {after:#?}"))?;
    }
    Ok(())
}

fn no_access() -> Result<(), Failed> {
    // The lock also keeps others from meeting the namespace below half way.
    let _lock = TracefsLock::take()?;
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    let mut unprivileged = Command::new("setpriv");
    unprivileged.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    unprivileged.arg(copy_of_binary(out.path())?).args([
        "record",
        "-e",
        "sched",
        "-o",
        "/dev/null",
        "true",
    ]);
    let line = complaint(&mut unprivileged)?;
    check(line.contains("permission") && line.contains("root"), || line.clone())?;

    let mut hidden = Command::new("unshare");
    hidden.args(["--mount", "sh", "-c"]);
    hidden.arg(
        "for d in /sys/kernel/tracing /sys/kernel/debug/tracing /sys/kernel/debug; do umount -l $d 2>/dev/null; done; \
         exec setpriv --bounding-set=-sys_admin --inh-caps=-all \"$0\" \"$@\"",
    );
    hidden
        .arg(env!("CARGO_BIN_EXE_trace-cmd"))
        .args(["record", "-e", "sched", "-o"])
        .arg(&file)
        .arg("true");
    let line = complaint(&mut hidden)?;
    check(line.contains("tracefs") && line.contains("mount"), || line.clone())
}

/// Other users may not enter the directory of the build.
fn copy_of_binary(dir: &Path) -> Result<PathBuf, Failed> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    let copy = dir.join("trace-cmd");
    // By another process: what this one has open to write, a child of another test may have too, and then nobody can
    // run it.
    success(Command::new("cp").arg(env!("CARGO_BIN_EXE_trace-cmd")).arg(&copy))?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}
