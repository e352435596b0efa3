//! `stream` and `profile` on the running kernel, and on one that has it all; tracing is afterwards as it was.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::listener::eventually;
use common::stream::Stream;
use common::{Case, check, complaint, stderr, success, trace_cmd, tracing_state, with_tracefs};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};
use trace_virt::lab::{Guest, GuestOptions, Missing};

const CASES: &[Case] = &[
    Case {
        name: "root_markers_are_printed_at_once_as_report_prints_them",
        needs: with_tracefs,
        test: markers,
    },
    Case { name: "root_lines_are_in_order_and_losses_told", needs: with_tracefs, test: flood },
    Case { name: "root_what_is_printed_can_be_chosen", needs: with_tracefs, test: chosen },
    Case { name: "root_without_a_reader_it_can_be_ended", needs: with_tracefs, test: no_reader },
    Case { name: "root_a_reader_that_goes_ends_it", needs: with_tracefs, test: closed_pipe },
    Case {
        name: "root_a_profile_has_the_tasks_of_its_command",
        needs: with_tracefs,
        test: profile,
    },
    Case { name: "root_what_cannot_be_followed_is_said", needs: with_tracefs, test: refusals },
    Case {
        name: "root_in_a_guest_joins_are_streamed_and_functions_profiled",
        needs: with_guest,
        test: in_guest,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn with_guest() -> Result<(), Missing> {
    requirements::root()?;
    requirements::guest()
}

/// The lock, and the tracing directory with its state, which has to be the same at the end.
struct Bench {
    _lock: TracefsLock,
    dir: PathBuf,
    before: Vec<String>,
}

impl Bench {
    fn new() -> Result<Self, Failed> {
        let lock = TracefsLock::take()?;
        let dir = requirements::tracefs()?;
        Ok(Self { before: tracing_state(&dir), _lock: lock, dir })
    }

    fn mark(&self, text: &str) -> Result<(), Failed> {
        Ok(fs::write(self.dir.join("trace_marker"), text)?)
    }

    /// Waits until a command has turned this on, and tracing.
    fn wait_for(&self, enable: &str) -> Result<(), Failed> {
        let is_on = |name: &str| -> Result<bool, Failed> {
            Ok(fs::read_to_string(self.dir.join(name))?.trim() == "1")
        };
        eventually("tracing was never turned on", || Ok(is_on(enable)? && is_on("tracing_on")?))
    }

    fn is_as_before(&self, what: &str) -> Result<(), Failed> {
        let after = tracing_state(&self.dir);
        check(self.before == after, || {
            let pairs = self.before.iter().zip(&after).filter(|(a, b)| a != b);
            format!("{what} changed tracefs: {:#?}", pairs.collect::<Vec<_>>())
        })
    }
}

/// A line without what differs from one recording to the next: CPU, flags, time.
fn normal(line: &str) -> String {
    let (task, rest) = line.split_once('[').unwrap_or((line, ""));
    let event = rest.split_once(": ").map_or(rest, |(_, event)| event);
    format!("{task}{event}")
}

const EXEC: &str = "events/sched/sched_process_exec/enable";
const MARKERS: u32 = 10;
/// What a debug build on a machine that does other things may take.
const AT_ONCE: Duration = Duration::from_secs(1);

fn markers() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mark_all = |streamed: &mut dyn FnMut(&str) -> Result<(), Failed>| -> Result<(), Failed> {
        for number in 0..MARKERS {
            let text = format!("followed {number}.");
            bench.mark(&text)?;
            streamed(&text)?;
        }
        Ok(())
    };
    let stream = Stream::start(&["-q", "-e", "sched_process_exec"])?;
    bench.wait_for(EXEC)?;
    // Reading the kernel's texts takes some time before the first line.
    bench.mark("begin")?;
    stream.wait_for("begin")?;
    let mut streamed = Vec::new();
    // Each comes though nothing follows. This machine may have other things to do, but not all the time.
    let mut fastest = Duration::MAX;
    mark_all(&mut |text| {
        let written = Instant::now();
        let (at, line) = stream.wait_for(text)?;
        fastest = fastest.min(at.saturating_duration_since(written));
        streamed.push(normal(&line));
        Ok(())
    })?;
    stream.interrupt()?;
    check(fastest < AT_ONCE, || format!("no line came before {fastest:?}"))?;
    bench.is_as_before("stream")?;

    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    let mut record = trace_cmd();
    let record = record.args(["record", "-q", "-e", "sched_process_exec", "-o"]).arg(&file);
    let recording = record.spawn()?;
    bench.wait_for(EXEC)?;
    mark_all(&mut |_| Ok(()))?;
    kill(Pid::from_raw(i32::try_from(recording.id())?), Signal::SIGINT)?;
    check(recording.wait_with_output()?.status.success(), || "record failed".to_owned())?;
    let report = success(trace_cmd().arg("report").arg(&file))?;
    let recorded = report.lines().filter(|line| line.contains("followed"));
    let recorded: Vec<String> = recorded.map(normal).collect();
    check(streamed == recorded, || format!("{streamed:#?}\n{recorded:#?}"))?;
    bench.is_as_before("record")
}

/// The time of a line, in microseconds; the seconds are too many digits to be anything else.
fn time(line: &str) -> Option<u64> {
    let word = line.split_once("] ")?.1.split_whitespace().nth(1)?.strip_suffix(':')?;
    let (seconds, microseconds) = word.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + microseconds.parse::<u64>().ok()?)
}

fn flood() -> Result<(), Failed> {
    let bench = Bench::new()?;
    // Two writers of one byte each keep both a reader and its buffer too busy.
    let dd = "dd if=/dev/zero of=/dev/null bs=1 count=150000 2>/dev/null";
    let mut stream = trace_cmd();
    stream.args(["stream", "-b", "8", "-e", "raw_syscalls", "--fail-on-loss"]);
    let output = stream.args(["sh", "-c", &format!("{dd} & {dd}; wait")]).output()?;
    check(output.status.code() == Some(6), || format!("{}: {}", output.status, stderr(&output)))?;
    check(stderr(&output).contains("events lost"), || stderr(&output))?;
    let text = String::from_utf8_lossy(&output.stdout);
    check(text.contains("EVENTS DROPPED]"), || "no line where events are missing".to_owned())?;
    let times: Vec<u64> = text.lines().filter_map(time).collect();
    check(times.len() > 1000, || format!("{} lines only", times.len()))?;
    let backwards = times.windows(2).filter(|pair| pair[0] > pair[1]).count();
    // Where the machine keeps one CPU's reader from its work for too long, its lines are late, and told.
    let is_told = stderr(&output).contains("events came late");
    check(backwards == 0 || is_told, || format!("{backwards} of {} lines are late", times.len()))?;
    bench.is_as_before("stream")
}

fn chosen() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let run = |words: &[&str]| -> Result<String, Failed> {
        let text =
            success(trace_cmd().arg("stream").args(words).args(["sh", "-c", "ls / >&2; :"]))?;
        bench.is_as_before(&words.join(" "))?;
        Ok(text)
    };
    let exec = "sched_process_exec";
    let text = run(&["-e", exec, "-e", "sched_process_fork", "--filter", exec])?;
    check(text.contains("filename=/") && !text.contains("fork:"), || text.clone())?;
    let text = run(&["-F", "-c", "-e", exec, "-t"])?;
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.trim_start().split('-').next()).collect();
    check(names == ["sh", "ls"], || text.clone())?;
    let digits = |line: &str| Some(line.split_once("] ")?.1.split_once('.')?.1.find(": ")? - 1);
    check(text.lines().all(|line| digits(line).is_some()), || text.clone())?;
    let text = run(&["-B", "followed", "-e", exec, "--json=text"])?;
    check(text.lines().all(|line| line.starts_with("{\"instance\":\"followed\",\"ts\":")), || {
        text.clone()
    })?;
    check(text.contains("\"text\":\"filename="), || text.clone())?;
    let text = run(&["--dry-run", "-e", exec])?;
    check(text.contains("print events of") && text.contains("run: sh"), || text.clone())
}

fn closed_pipe() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut shell = Command::new("sh");
    let line = "\"$0\" stream -q -e sched | head -n 2";
    let text = success(shell.args(["-c", line, env!("CARGO_BIN_EXE_trace-cmd")]))?;
    check(text.lines().count() == 2, || text.clone())?;
    bench.is_as_before("stream")
}

fn no_reader() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut stream = trace_cmd();
    stream
        .args(["stream", "-q", "-e", "raw_syscalls"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = stream.spawn()?;
    let out = child.stdout.take().ok_or("no output")?;
    bench.wait_for("events/raw_syscalls/enable")?;
    // Nobody reads, so the pipe is soon full.
    let dd = ["if=/dev/zero", "of=/dev/null", "bs=1", "count=20000", "status=none"];
    Command::new("dd").args(dd).status()?;
    thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
    eventually("still waits for its reader", || Ok(child.try_wait()?.is_some()))?;
    drop(out);
    let output = child.wait_with_output()?;
    check(stderr(&output).contains("nobody reads the output"), || stderr(&output))?;
    bench.is_as_before("stream")
}

fn profile() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let out = TempDir::new()?;
    let file = out.path().join("profile");
    let mut command = trace_cmd();
    command.args(["profile", "-o"]).arg(&file).args(["sh", "-c", "sleep 0.2; :"]);
    let said = success(&mut command)?;
    check(said.is_empty(), || said.clone())?;
    bench.is_as_before("profile")?;
    let text = fs::read_to_string(&file)?;
    // Others may sleep, too.
    let mut sleepers = text.split("\ntask: ").filter(|task| task.starts_with("sleep-"));
    let slept = |task: &str| {
        let line = task.lines().find(|line| line.contains("Event: sched_switch:S"))?;
        line.split("Max: ").nth(1)?.split('(').next()?.trim().parse::<u64>().ok()
    };
    let is_ours = |task: &&str| {
        // From the switch to another, which comes after the timer was set; on a busy machine both ends may be late.
        let is_long = slept(task).is_some_and(|max| (100_000_000..100_000_000_000).contains(&max));
        is_long && task.contains("schedule") && task.contains("sys_")
    };
    check(sleepers.any(|task| is_ours(&task)), || text.clone())?;
    let mut command = trace_cmd();
    command.args(["profile", "--by-comm", "-G", "sleep", "0.1"]);
    let text = success(&mut command)?;
    check(text.contains("\ngroup: sleep\n"), || text.clone())?;
    bench.is_as_before("profile --by-comm")?;
    let hook = "sched_process_exec,pid/sched_process_exit,pid";
    let mut command = trace_cmd();
    let output =
        command.args(["profile", "--stderr", "-S", "-H", hook, "sleep", "0.1"]).output()?;
    let text = stderr(&output);
    check(output.status.success() && output.stdout.is_empty(), || text.clone())?;
    check(text.contains("sched_process_exec") && !text.contains("sched_switch"), || text.clone())?;
    bench.is_as_before("profile -S")
}

fn refusals() -> Result<(), Failed> {
    let bench = Bench::new()?;
    for (words, part) in [
        ("stream", "no event was specified"),
        ("stream -p wakeup", "cannot follow latency tracers"),
        ("stream -e sched -N host:1", "nothing is sent"),
        ("stream --dom guest --virt-dir /nowhere -e sched", "/nowhere"),
        ("stream -e sched -C local --dom guest -e sched", "cannot be compared"),
        ("profile -e sched --dom guest", "record --dom"),
        ("stream -F -e sched", "there is none"),
        ("stream -e no_such_event", "no event matches"),
        ("stream -e sched --filter no_such_event", "no event is named by the filter"),
        ("stream -e sched no-such-program", "there is no such program"),
        ("profile -S", "no event was specified"),
        ("profile -S -H a,b/c,d true", "no event matches 'a'"),
        ("profile -H nonsense true", "hook 'nonsense'"),
        ("profile -o /nowhere/profile true", "cannot write /nowhere/profile"),
    ] {
        let line = complaint(trace_cmd().args(words.split(' ')))?;
        check(line.contains(part), || format!("{words}: {line}"))?;
        bench.is_as_before(words)?;
    }
    Ok(())
}

const JOIN: &str = "SELECT end.next_comm AS comm, TIMESTAMP_DELTA_USECS AS us FROM sched_waking AS start \
                    JOIN sched_switch AS end ON start.pid = end.next_pid WHERE end.next_prio < 200";

fn in_guest() -> Result<(), Failed> {
    let ours = env!("CARGO_BIN_EXE_trace-cmd");
    let mut options = GuestOptions::new("follow");
    options.memory_mb = 1024;
    options.programs = vec![ours.into()];
    let guest = Guest::boot(options)?;
    guest.wait_ready(Duration::from_secs(240))?;
    let run = |words: &str| -> Result<String, Failed> {
        guest.run(words).map_err(|error| format!("{words}: {error}").into())
    };
    let printed = run(&format!("{ours} sqlhist -n wakelat '{JOIN}'"))?;
    check(printed.lines().count() == 3 && printed.starts_with("echo 's:wakelat "), || {
        printed.clone()
    })?;
    // What is printed does the same as -e.
    let triggers = "cd /sys/kernel/tracing; cat dynamic_events; \
                    cat events/sched/sched_waking/trigger events/sched/sched_switch/trigger";
    run(&printed)?;
    let by_shell = run(triggers)?;
    run(&format!("{ours} reset"))?;
    run(&format!("{ours} sqlhist -e -n wakelat '{JOIN}'"))?;
    let by_us = run(triggers)?;
    check(by_shell == by_us && by_us.contains("onmatch(sched.sched_waking)"), || {
        format!("{by_shell}\n{by_us}")
    })?;
    let text = run(&format!("{ours} stream -q -K -e wakelat sleep 0.5"))?;
    let lines = text.lines().filter(|line| line.contains("wakelat:") && line.contains(" us="));
    check(lines.count() > 0, || text.clone())?;
    run(&format!("{ours} reset"))?;
    run(&format!("{ours} sqlhist -e -n worst -m us -T -S next_comm '{JOIN}'"))?;
    let trigger = run("cat /sys/kernel/tracing/events/sched/sched_switch/trigger")?;
    check(trigger.contains("onmax") && trigger.contains("save(next_comm)"), || trigger.clone())?;
    run(&format!("{ours} reset"))?;

    let text = run(&format!("{ours} profile -q sleep 0.3"))?;
    let task = text.split("\ntask: ").find(|task| task.starts_with("sleep-"));
    let task = task.ok_or_else(|| text.clone())?;
    check(task.contains("func: ") && task.contains("sched_switch:S"), || task.to_owned())?;
    let tracer = run("cat /sys/kernel/tracing/current_tracer")?;
    check(tracer.trim() == "nop", || tracer.clone())?;
    let text = run(&format!("{ours} stream -q -p function_graph -g vfs_read wc /etc/passwd"))?;
    check(text.contains("vfs_read() {") || text.contains("vfs_read();"), || text.clone())?;
    guest.power_off(Duration::from_secs(240))?;
    Ok(())
}
