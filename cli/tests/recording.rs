//! Options of `record`, `start`, `set` and `extract` on the running kernel: each does what it says, the C
//! trace-cmd reads the file alike, and tracing is afterwards as it was.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use common::listener::eventually;
use common::load::{LOAD, losing_record};
use common::{
    Case, check, complaint, stderr, success, trace_cmd, values, with_reference, with_tracefs,
};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements;

const CASES: &[Case] = &[
    Case { name: "root_options_reach_kernel_and_file", needs: with_reference, test: options },
    Case { name: "root_only_the_command_is_traced", needs: with_reference, test: only_command },
    Case { name: "root_a_recording_ends_with_its_tasks", needs: with_tracefs, test: tasks },
    Case { name: "root_the_command_runs_as_its_user", needs: with_tracefs, test: user },
    Case { name: "root_a_cap_keeps_the_end", needs: with_reference, test: cap },
    Case { name: "root_memory_maps_are_stored", needs: with_reference, test: maps },
    Case {
        name: "root_json_tells_what_was_lost_and_fails_if_asked",
        needs: with_tracefs,
        test: loss,
    },
    Case { name: "root_a_daemon_records_until_it_is_told", needs: with_tracefs, test: daemon },
    Case { name: "root_a_dry_run_tells_and_touches_nothing", needs: with_tracefs, test: dry_run },
    Case { name: "root_keeping_leaves_what_was_set", needs: with_tracefs, test: keep },
    Case {
        name: "root_start_set_and_extract_follow_one_another",
        needs: with_reference,
        test: extract,
    },
    Case {
        name: "root_options_without_effect_are_passed_over",
        needs: with_tracefs,
        test: passed_over,
    },
    Case {
        name: "root_what_cannot_be_is_one_line_and_undone",
        needs: with_tracefs,
        test: refusals,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// The lock, the tracing directory with its state, and a directory for files. At the end of a test tracing has to
/// be as it was.
struct Bench {
    tracing: common::bench::Bench,
    /// Events that were on and what `tracing_on` was: whoever was before may have left either.
    was_set: [String; 2],
    out: TempDir,
}

impl Bench {
    fn new() -> Result<Self, Failed> {
        let tracing = common::bench::Bench::new()?;
        let read = |name| fs::read_to_string(tracing.dir.join(name));
        let was_set = [read("set_event")?, read("tracing_on")?];
        let out = TempDir::new()?;
        Ok(Self { tracing, was_set, out })
    }

    /// Ends what was left to go on.
    fn turn_off(&self) -> Result<(), Failed> {
        let [events, on] = &self.was_set;
        fs::write(self.tracing.dir.join("set_event"), events)?;
        Ok(fs::write(self.tracing.dir.join("tracing_on"), on)?)
    }

    fn file(&self) -> std::path::PathBuf {
        self.out.path().join("trace.dat")
    }

    fn control(&self, name: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.tracing.dir.join(name))?.trim_end().to_owned())
    }

    fn is_as_before(&self, what: &str) -> Result<(), Failed> {
        self.tracing.is_as_before(what)
    }

    fn record(&self, words: &[&str], command: &[&str]) -> Result<String, Failed> {
        let mut record = trace_cmd();
        record.arg("record").args(words).arg("-o").arg(self.file()).args(command);
        success(&mut record)
    }

    /// The report, which has to be the reference's too.
    fn report(&self) -> Result<String, Failed> {
        let reference = requirements::reference()?.exact()?;
        let theirs = success(reference.reader().arg("report").arg("-i").arg(self.file()))?;
        let mut report = trace_cmd();
        report.env("TRACE_CMD_COMPAT", "3.1.6").env("TZ", "UTC");
        let ours = success(report.arg("report").arg("-i").arg(self.file()))?;
        let different = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
        check(theirs == ours, || format!("reports differ: {different:?}"))?;
        Ok(ours)
    }
}

fn options() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut cases: Vec<(&[&str], &str, &str)> = vec![
        (&["-e", "sched", "-v", "-e", "sched_waking"], "sched_switch:", "sched_waking:"),
        (&["-e", "sched", "-T"], "kernel_stack", "nothing like it"),
        (
            &["-e", "sched", "-O", "stacktrace", "-O", "nostacktrace"],
            "sched_switch:",
            "kernel_stack",
        ),
        (&["-e", "sched_switch", "-R", "stacktrace:2"], "kernel_stack", "sched_waking:"),
        (&["-e", "sched", "-M", "1"], "[000]", "[001]"),
        (&["-e", "sched", "-b", "2000", "--cmdlines-size", "500"], "sched_switch:", "[LOST]"),
        (&["-e", "sched", "-C", "boot", "--ts-offset", "1000"], "sched_switch:", "[LOST]"),
        (&["-e", "sched", "--date", "-C", "mono"], "sched_switch:", "[LOST]"),
        (&["-e", "sched", "-p", "nop", "-s", "2000", "--nice", "5"], "sched_switch:", "[LOST]"),
        (&["-e", "sched", "-s", "0", "-r", "1", "--nosplice"], "sched_switch:", "[LOST]"),
        (&["-e", "sched", "--source", "read", "--file-version", "6"], "sched_switch:", "[LOST]"),
        (&["-e", "sched", "--source", "splice", "-s", "3000"], "sched_switch:", "[LOST]"),
        (&["-e", "sched", "--poll", "--no-filter", "-a"], "trace-cpu", "[LOST]"),
        (&["--profile"], "sys_enter:", "sched_waking:"),
        (&["-i", "-e", "no_such_event", "-e", "irq", "-e", "sched"], "sched_switch:", "[LOST]"),
        (&["-d", "-e", "sched", "--file-version", "6"], "sched_switch:", "[LOST]"),
        (
            &["-e", "sched", "--file-version", "6", "--compression", "zstd"],
            "sched_switch:",
            "[LOST]",
        ),
        (&["-B", "foo", "-e", "sched", "-T", "-M", "2", "-O", "nomarkers"], "foo:", "[000]"),
    ];
    if kernel_is_at_least(6, 10)? {
        cases.push((&["-e", "sched", "--source", "map"], "sched_switch:", "[LOST]"));
    }
    let beside_recorder = load_beside_recorder();
    for (words, part, not) in cases {
        let load = if words.contains(&"--no-filter") { &beside_recorder } else { LOAD };
        bench.record(words, &["sh", "-c", load])?;
        bench.is_as_before(&format!("{words:?}"))?;
        let report = bench.report().map_err(|error| format!("{words:?}: {error:?}"))?;
        check(report.contains(part), || format!("{words:?}: no {part:?}"))?;
        check(!report.contains(not), || format!("{words:?}: {not:?}"))?;
    }
    Ok(())
}

/// Goes on until the recorder's threads have had a processor, which on a busy machine may be after the usual load.
fn load_beside_recorder() -> String {
    let switches = "switches() { cat /proc/$PPID/task/*/status | awk '/^Name:/ { reads = $2 ~ /^trace-cpu/ } \
                    reads && /ctxt_switches/ { sum += $2 } END { print sum + 0 }'; }";
    format!(
        "{switches}; before=$(switches); until [ $(switches) -gt $((before + 2)) ]; do {LOAD}; done"
    )
}

fn kernel_is_at_least(major: u32, minor: u32) -> Result<bool, Failed> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut number = || numbers.next().and_then(Result::ok).ok_or("no release");
    Ok((number()?, number()?) >= (major, minor))
}

fn only_command() -> Result<(), Failed> {
    let bench = Bench::new()?;
    // A switch from another task to the traced one is that task's event.
    let tasks = |report: &str| -> Vec<String> {
        let lines = report.lines().filter(|line| line.contains(": sys_enter:"));
        let mut names: Vec<_> = lines
            .filter_map(|line| Some(line.trim().rsplit_once("-")?.0.split('-').next()?.to_owned()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    bench.record(&["-F", "-e", "raw_syscalls"], &["sh", "-c", "ls / >/dev/null; :"])?;
    let alone = tasks(&bench.report()?);
    check(alone == ["sh"], || format!("{alone:?}"))?;
    bench.record(&["-F", "-c", "-e", "raw_syscalls"], &["sh", "-c", "ls / >/dev/null; :"])?;
    let with_children = tasks(&bench.report()?);
    check(with_children == ["ls", "sh"], || format!("{with_children:?}"))?;
    // -F belongs to its instance.
    let words = ["-e", "raw_syscalls", "-B", "foo", "-F", "-e", "raw_syscalls"];
    bench.record(
        &words,
        &["sh", "-c", "cat /sys/kernel/tracing/instances/foo/set_event_pid; ls / >/dev/null; :"],
    )?;
    let report = bench.report()?;
    let of_foo: String = report
        .lines()
        .filter(|l| l.starts_with("foo:"))
        .map(|l| format!("{}\n", &l[4..]))
        .collect();
    check(tasks(&of_foo) == ["sh"], || format!("{:?}", tasks(&of_foo)))?;
    check(report.lines().any(|line| line.trim().starts_with("ls-")), || {
        "no ls outside foo".to_owned()
    })?;
    bench.is_as_before("-F")
}

fn tasks() -> Result<(), Failed> {
    let bench = Bench::new()?;
    // It ends when it has nothing more to read.
    let mut task = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let pid = task.id().to_string();
    let mut record = trace_cmd();
    record.args(["record", "-q", "-e", "sched", "-P", &pid, "-o"]).arg(bench.file());
    let mut recording = record.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    // The file gets its name when tracing is on.
    let begun = eventually("it does not record", || {
        Ok(bench.file().exists() || recording.try_wait()?.is_some())
    });
    drop(task.stdin.take());
    task.wait()?;
    let ended = eventually("it outlives its tasks", || Ok(recording.try_wait()?.is_some()));
    if ended.is_err() {
        kill(Pid::from_raw(recording.id().cast_signed()), Signal::SIGINT)?;
    }
    let output = recording.wait_with_output()?;
    begun.and(ended)?;
    check(output.status.success(), || format!("{}: {}", output.status, stderr(&output)))?;
    let report = success(trace_cmd().arg("report").arg(bench.file()))?;
    check(report.contains(&format!("cat-{pid}")), || report.clone())?;
    bench.is_as_before("-P")
}

fn user() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let said = bench.record(
        &["-q", "-e", "sched", "--user", "nobody"],
        &["sh", "-c", "id -un; echo $USER $LOGNAME"],
    )?;
    check(said == "nobody\nnobody nobody\n", || said.clone())?;
    bench.is_as_before("--user")
}

/// Kinds of files that `-m` makes.
const CAPPED: [&[&str]; 3] =
    [&["--compression", "none"], &["--compression", "zstd"], &["--file-version", "6"]];

fn cap() -> Result<(), Failed> {
    const CAP: u64 = 64 << 10;
    let bench = Bench::new()?;
    let flood = "dd if=/dev/zero of=/dev/null bs=1 count=50000 2>/dev/null";
    let steady = format!("{flood}; exec true");
    // What has gathered meanwhile comes at once.
    let stalled = format!("kill -STOP $PPID; {flood}; kill -CONT $PPID; {flood}; exec true");
    let (top, instance): ([&str; 0], _) = ([], ["-B", "capped", "-e", "raw_syscalls"]);
    for format in CAPPED {
        for (more, command) in [(&top[..], &steady), (&instance[..], &steady), (&top[..], &stalled)]
        {
            let words = ["-q", "-e", "raw_syscalls", "-m", "64", "--json"];
            let words = [&words, format, more].concat();
            let said = bench.record(&words, &["sh", "-c", command])?;
            let told = || format!("{words:?} {command}: {said}");
            let report = bench.report().map_err(|error| format!("{}: {error:?}", told()))?;
            let (mut recorded, mut kept) = (0, 0);
            for cpu in said.split("\"cpu\":").skip(1) {
                let of = |key| values(cpu, key).first().copied().unwrap_or(0);
                let (bytes, size) = (of("\"bytes\":"), of("\"size\":"));
                check((bytes.min(CAP / 2)..=CAP).contains(&size), told)?;
                (recorded, kept) = (recorded + bytes, kept + size);
            }
            let gone: u64 = values(&said, "\"overwritten_bytes\":").iter().sum();
            check(gone > 0 && recorded == kept + gone, told)?;
            check(report.lines().count() > 100, || "less than was kept".to_owned())?;
            let left = fs::read_dir(bench.out.path())?.count();
            check(left == 1, || format!("{left} files are left"))?;
        }
    }
    bench.is_as_before("-m")
}

fn maps() -> Result<(), Failed> {
    let bench = Bench::new()?;
    bench.record(&["-q", "-e", "sched", "--proc-map"], &["ls", "/"])?;
    bench.report()?;
    let reference = requirements::reference()?.exact()?;
    let theirs = success(reference.reader().args(["dump", "--options"]).arg(bench.file()))?;
    check(theirs.contains("[Option PROCMAPS") && theirs.contains("/bin/ls\n"), || theirs.clone())?;
    check(theirs.contains("libc.so"), || "the map is not that of the end".to_owned())?;
    bench.is_as_before("--proc-map")
}

fn loss() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let output = losing_record(&["--json", "--fail-on-loss"], &bench.file()).output()?;
    check(output.status.code() == Some(6), || format!("{}: {}", output.status, stderr(&output)))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for key in
        ["\"output\":", "\"buffers\":", "\"instance\":null", "\"lost_events\":", "\"offset\":"]
    {
        check(said.replace(": ", ":").contains(key), || format!("no {key} in {said}"))?;
    }
    bench.record(&["-q", "--fail-on-loss", "-b", "4096", "-e", "sched_process_exec"], &["true"])?;
    bench.is_as_before("--fail-on-loss")
}

fn daemon() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let said = bench.record(&["--daemonize", "-e", "sched"], &[])?;
    let pid: i32 = said.trim().rsplit(' ').next().unwrap_or_default().parse()?;
    let noted = fs::read_to_string("/run/trace-cmd-record.pid")?;
    check(noted.trim() == pid.to_string(), || format!("{noted:?} noted, {said:?} said"))?;
    success(Command::new("sh").args(["-c", LOAD]))?;
    kill(Pid::from_raw(pid), Signal::SIGINT)?;
    eventually("it goes on", || Ok(!Path::new("/run/trace-cmd-record.pid").exists()))?;
    let report = success(trace_cmd().arg("report").arg(bench.file()))?;
    check(report.contains("sched_switch:"), || report.clone())?;
    bench.is_as_before("--daemonize")?;
    let mut record = trace_cmd();
    record.args(["record", "--daemonize", "-e", "no_such_event", "-o"]).arg(bench.file());
    let line = complaint(&mut record)?;
    check(line.contains("no event matches"), || line.clone())
}

fn dry_run() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let words = [
        "--dry-run",
        "-e",
        "sched_switch",
        "-f",
        "prev_pid > 1",
        "-B",
        "foo",
        "-b",
        "64",
        "-e",
        "irq",
    ];
    let said = bench.record(&words, &["true"])?;
    for line in [
        "events/sched/sched_switch/filter: (prev_pid > 1)",
        "instances/foo: made, if missing",
        "instances/foo/buffer_size_kb: 64",
        "instances/foo/events/irq/enable: 1",
        "run: true",
    ] {
        check(said.lines().any(|other| other == line), || format!("no {line:?}: {said}"))?;
    }
    check(!bench.file().exists(), || "a file was made".to_owned())?;
    bench.is_as_before("--dry-run")
}

fn keep() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let ran = keep_and_go_on(&bench);
    bench.turn_off()?;
    ran?;
    bench.is_as_before("-K and what was put back")
}

fn keep_and_go_on(bench: &Bench) -> Result<(), Failed> {
    bench.record(&["-q", "-k", "-e", "irq"], &["true"])?;
    let on = bench.control("events/irq/enable")?;
    // What is on already is recorded with -K, and turned off meanwhile without.
    let see = ["cat", "/sys/kernel/tracing/events/irq/enable"];
    let with = bench.record(&["-q", "-K", "-e", "sched"], &see)?;
    let without = bench.record(&["-q", "-e", "sched"], &see)?;
    let still_on = bench.control("events/irq/enable")?;
    check(on == "1" && still_on == "1", || format!("-k left {on:?}, then {still_on:?}"))?;
    check(with == "1\n" && without == "0\n", || format!("-K {with:?}, without {without:?}"))
}

fn extract() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let ran = start_to_extract(&bench);
    // Whatever became of it, nothing may be left for others.
    fs::write(bench.tracing.dir.join("events/irq/filter"), "0")?;
    let _ = fs::remove_dir(bench.tracing.dir.join("instances/foo"));
    bench.turn_off()?;
    ran?;
    bench.is_as_before("start and set")
}

fn start_to_extract(bench: &Bench) -> Result<(), Failed> {
    let run = |words: &[&str]| success(trace_cmd().args(words));
    run(&["start", "-e", "sched", "-B", "foo", "-e", "raw_syscalls"])?;
    check(bench.control("events/sched/enable")? == "1", || "start: sched is off".to_owned())?;
    let said =
        run(&["set", "-v", "-e", "sched_waking", "sh", "-c", &format!("{LOAD}; echo done")])?;
    check(said == "done\n", || said.clone())?;
    run(&["set", "-e", "irq", "-f", "vec == 7 || irq == 7"]).err().map_or(Ok(()), |error| {
        check(format!("{error:?}").contains("kernel"), || format!("{error:?}"))
    })?;
    check(bench.control("events/sched/sched_waking/enable")? == "0", || "set -v".to_owned())?;
    check(bench.control("events/sched/sched_switch/enable")? == "1", || {
        "set turned off".to_owned()
    })?;
    let file = bench.file();
    let out = file.to_string_lossy();
    run(&["extract", "-q", "-t", "-B", "foo", "-o", &out])?;
    check(bench.control("tracing_on")? == "1", || "extract left tracing off".to_owned())?;
    let report = bench.report()?;
    check(report.contains("sched_switch:") && report.contains("foo:"), || report.clone())?;
    // A start turns off what was on, empties the buffers, and waits for its command.
    let said = run(&[
        "start",
        "-e",
        "sched_process_exec",
        "-F",
        "-c",
        "sh",
        "-c",
        "ls / >/dev/null; echo ran",
    ])?;
    check(said == "ran\n", || said.clone())?;
    run(&["extract", "-q", "--date", "--compression", "none", "-o", &out])?;
    let report = bench.report()?;
    let execs = report.lines().filter(|line| line.contains("sched_process_exec:")).count();
    check(execs == 2 && !report.contains("sched_switch:"), || report.clone())?;
    // Extracted is gone.
    run(&["extract", "-q", "-o", &out])?;
    check(!bench.report()?.contains("sched_process_exec:"), || "it is still there".to_owned())?;
    fs::write(bench.tracing.dir.join("set_event_pid"), "")?;
    fs::write(bench.tracing.dir.join("options/event-fork"), "0")?;
    run(&["set", "-v", "-B", "foo"])?;
    check(!bench.tracing.dir.join("instances/foo").exists(), || "foo is still there".to_owned())
}

/// Of other commands, or without effect: scripts that have them go on.
fn passed_over() -> Result<(), Failed> {
    const INSTANCE: &str = "passed-over";
    let bench = Bench::new()?;
    for words in [
        "start -k",
        "start -a -t",
        "start -s 100 -r 5",
        "start --date --poll --nosplice --no-filter",
        "start --temp /tmp --nofifos --tsync-interval -1 --ts-offset 3",
        "start -G --by-comm --stderr",
        "start --user nobody",
        "set --temp /tmp --stderr",
    ] {
        let mut setup = trace_cmd();
        setup.args(words.split(' ')).args(["-B", INSTANCE, "-e", "sched_switch"]);
        let output = setup.output()?;
        let said = stderr(&output);
        check(output.status.success(), || format!("{words}: {said}"))?;
        for option in words.split(' ').filter(|word| word.len() > 2 && word.starts_with("--")) {
            check(said.contains(&format!("{option} ")), || format!("{words}: {said}"))?;
        }
        let stat = success(trace_cmd().args(["stat", "--json", "-B", INSTANCE]))?;
        check(stat.contains("sched:sched_switch"), || format!("{words}: {stat}"))?;
        success(trace_cmd().args(["reset", "-B", INSTANCE, "-d"]))?;
        bench.is_as_before(words)?;
    }
    let mut record = trace_cmd();
    record.args(["record", "-G", "--by-comm", "-e", "sched", "-o", "/dev/null", "true"]);
    success(&mut record)?;
    check(!fs::metadata("/dev/null")?.is_file(), || "/dev/null was replaced".to_owned())?;
    bench.is_as_before("a recording that is thrown away")
}

fn refusals() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let file = bench.file();
    let refused: &[(&[&str], &[&str])] = &[
        (&["-e", "sched", "-p", "no_such_tracer"], &["no tracer 'no_such_tracer'", "nop"]),
        (&["-e", "sched", "-O", "no_such_option"], &["no trace option"]),
        (&["-e", "sched_switch", "-R", "frobnicate"], &["trigger"]),
        (&["-e", "sched", "-P", "999999999"], &["cannot trace task 999999999"]),
        (&["-e", "sched", "--user", "no such user", "true"], &["no such user"]),
        (&["-e", "sched", "-B", "foo", "-f", "x"], &["before any -e"]),
        (&["-e", "sched", "-b", "99999999999"], &["buffer_size_kb"]),
        (&["-e", "sched", "-N", "host:1"], &["-o <FILE>", "-N"]),
        (&["-e", "sched", "-M", "0"], &["has no CPU"]),
        (&["-c", "-e", "sched", "true"], &["-c follows"]),
    ];
    for (words, parts) in refused {
        let mut record = trace_cmd();
        record.args(["record", "-q", "-o"]).arg(&file).args(*words);
        let line = complaint(&mut record)?;
        for part in *parts {
            check(line.contains(part), || format!("{words:?}: {line}"))?;
        }
        check(!Path::new(&file).exists(), || format!("{words:?} left a file"))?;
        bench.is_as_before(&format!("{words:?}"))?;
    }
    for (words, part) in [
        (&["start", "-m", "5", "-e", "sched"][..], "-m is not for 'start'"),
        (&["set", "--date", "-e", "sched"], "--date is not for 'set'"),
        (&["set", "-v", "-B", "no_such_instance"], "no_such_instance"),
        (&["extract", "-B", "no_such_instance", "-o", "/dev/null"], "no tracing instance"),
        (&["start"], "no event was specified"),
    ] {
        let line = complaint(trace_cmd().args(words))?;
        check(line.contains(part), || format!("{words:?}: {line}"))?;
        bench.is_as_before(&format!("{words:?}"))?;
    }
    Ok(())
}
