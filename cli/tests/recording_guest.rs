//! Recordings of what only a kernel with all tracers has, in a guest: functions, graphs, stacks, probes,
//! synthetic events, latencies, snapshots, events that come and go with their module. The C trace-cmd reads
//! each file and records some of it there too, and tracing is afterwards as it was.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{Case, check, success, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::{Flavor, Guest, GuestOptions, Missing, Reference, requirements};

const CASES: &[Case] = &[
    Case {
        name: "root_a_kernel_with_all_tracers_is_recorded",
        needs: with_guest,
        test: all_tracers,
    },
    Case { name: "root_latencies_are_recorded", needs: with_latencies, test: latencies },
];

const OURS: &str = env!("CARGO_BIN_EXE_trace-cmd");

/// For a command in a guest of a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    common::run(CASES)
}

fn with_guest() -> Result<(), Missing> {
    requirements::reference()?.exact()?;
    requirements::guest()
}

fn with_latencies() -> Result<(), Missing> {
    requirements::reference()?.exact()?;
    requirements::guest_with(Flavor::RealTime)
}

/// What a recording may change, where the kernel shows it.
const STATE: &str = "cd /sys/kernel/tracing; for f in tracing_on trace_clock trace_options set_event set_event_pid \
    set_event_notrace_pid set_ftrace_pid set_ftrace_filter set_ftrace_notrace set_graph_function max_graph_depth \
    current_tracer tracing_cpumask buffer_size_kb events/sched/sched_switch/trigger \
    events/sched/sched_wakeup/trigger events/sched/sched_switch/filter dynamic_events events/kprobes/own/enable; \
    do echo $f; cat $f; done; ls instances";

/// Something to record.
struct Recording {
    /// Words of `record`.
    words: &'static str,
    /// What the report has.
    parts: &'static [&'static str],
    /// What it has not.
    not: &'static str,
    /// Whether the C trace-cmd records it too, and gets the same events.
    compared: bool,
}

const fn recording(words: &'static str, parts: &'static [&'static str]) -> Recording {
    Recording { words, parts, not: "[LOST]", compared: false }
}

impl Recording {
    const fn without(self, not: &'static str) -> Self {
        Self { not, ..self }
    }

    const fn compared(self) -> Self {
        Self { compared: true, ..self }
    }
}

const RECORDINGS: [Recording; 14] = [
    recording("-p function -l vfs_read -F -c", &["vfs_read"]).without("vfs_write"),
    recording("-p function -l 'vfs_*' -n vfs_read", &["vfs_"]).without("vfs_read "),
    recording("-p function -l '^vfs_(read|open)$' -F -c", &["vfs_open"]).without("vfs_write"),
    recording("-p function --func-stack -l vfs_open -F -c", &["kernel_stack"]).without("vfs_write"),
    recording("-p function -l 'vfs_*' -l vfs_open:stacktrace:5", &["vfs_open", "kernel_stack"]),
    // All functions are too many for an emulated machine.
    recording("-p function_graph -g vfs_open --max-graph-depth 2 -l 'vfs_*'", &["vfs_open"]),
    recording("-p function_graph -l 'vfs_*' -F -c -O nofuncgraph-irqs", &["us"])
        .without("schedule"),
    recording("-e sched_switch -R 'stacktrace if prev_pid > 1'", &["kernel_stack"])
        .without("sched_waking:")
        .compared(),
    recording(
        "-e sched_switch -R 'hist:keys=next_pid' -e sched_process_exec",
        &["sched_process_exec:"],
    ),
    recording(
        "-e kprobes -e uprobes -e eprobes",
        &["own:", "own_return:", "own_entry:", "own_exec:"],
    )
    .without("sched_switch:")
    .compared(),
    // The trigger that makes the event needs the variable of the other one, also while both go.
    recording(
        "-e synthetic -e sched_wakeup -R 'hist:keys=pid:ts0=common_timestamp.usecs' \
         -e sched_switch -R 'hist:keys=next_pid:lat=common_timestamp.usecs-$ts0:\
         onmatch(sched.sched_wakeup).own_delay(next_pid,$lat)'",
        &["own_delay:"],
    )
    .compared(),
    recording("-B one -p function -l vfs_read -B two -e sched", &["one:"]),
    recording("--profile", &["sys_enter:"]),
    recording("-D -e sched", &["sched_switch:"]),
];

/// A guest with both programs, and what they recorded.
struct Lab {
    guest: Guest,
    reference: Reference,
    out: TempDir,
    /// Given back once the guest is gone.
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    fn boot(name: &str, kernel: Flavor, modules: &[&str]) -> Result<Self, Failed> {
        // Two emulated machines at a time keep each other from getting on.
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let reference = requirements::reference()?.exact()?;
        let mut options = GuestOptions::new(name);
        options.kernel = kernel;
        options.memory_mb = 1024;
        // Kernels that patch their code while another emulated CPU runs it panic now and then.
        options.cpus = 1;
        options.modules = modules.iter().map(|&module| module.to_owned()).collect();
        options.programs = vec![reference.program().into(), OURS.into()];
        let guest = Guest::boot(options)?;
        guest.wait_ready(Duration::from_secs(240))?;
        let lab = Self { guest, reference, out: TempDir::new()?, _alone: alone };
        lab.run("echo 1408 >/sys/kernel/tracing/buffer_size_kb")?;
        Ok(lab)
    }

    fn run(&self, words: &str) -> Result<String, Failed> {
        let output = self.guest.output(&format!("cd /tmp; {words}"), LIMIT);
        let output = output.map_err(|error| format!("{words}: {error}"))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        check(output.status == 0, || format!("{words}: status {}: {text}", output.status))?;
        Ok(text)
    }

    /// Records with ours, and says what that said; tracing is afterwards as it was.
    fn record(&self, words: &str, command: &str) -> Result<String, Failed> {
        let before = self.run(STATE)?;
        let said = self.run(&format!("{OURS} record -q {words} -o own.dat {command}"))?;
        let after = self.run(STATE)?;
        check(before == after, || format!("{words} changed tracefs: {before}\n{after}"))?;
        Ok(said)
    }

    /// The report of a file in the guest, which both readers agree on. Read here, where the reference
    /// has its plugins.
    fn report(&self, name: &str) -> Result<String, Failed> {
        let file = self.out.path().join(name);
        fs::write(&file, self.guest.read_file(&format!("/tmp/{name}"))?)?;
        let theirs = success(self.reference.reader().arg("report").arg("-i").arg(&file))?;
        let mut report = trace_cmd();
        report.env("TRACE_CMD_COMPAT", "3.1.6").env("TZ", "UTC");
        let ours = success(report.arg("report").arg("-i").arg(&file))?;
        let different = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
        check(theirs == ours, || format!("{name}: reports differ: {different:?}"))?;
        Ok(ours)
    }

    /// The report of what the reference records.
    fn recorded_by_reference(&self, words: &str, command: &str) -> Result<String, Failed> {
        let program = self.reference.program().display();
        self.run(&format!("{program} record -q {words} -o their.dat {command} >/dev/null 2>&1"))?;
        self.report("their.dat")
    }
}

/// The names of the events in a report: `task-1 [000] 1.000000: name: text`.
fn events(report: &str) -> BTreeSet<&str> {
    fn name(line: &str) -> Option<&str> {
        let (_, event) = line.split_once("] ")?.1.split_once(": ")?;
        event.split_once(':').map(|(name, _)| name)
    }
    report.lines().filter_map(name).collect()
}

fn all_tracers() -> Result<(), Failed> {
    let lab = Lab::boot("recording", Flavor::Virtual, &["null_blk"])?;
    let entry = entry_point(&fs::read("/bin/busybox")?)
        .ok_or_else(|| Failed::from("/bin/busybox is no program"))?;
    lab.run(&format!(
        "cd /sys/kernel/tracing; echo 'p:own do_sys_openat2' >>kprobe_events; \
         echo 'r:own_return vfs_read r=$retval' >>kprobe_events; \
         echo 'p:own_entry /bin/busybox:{entry:#x}' >>uprobe_events; \
         echo 'e:own_exec sched.sched_process_exec p=$pid' >>dynamic_events; \
         echo 's:own_delay pid_t pid; u64 lat' >>dynamic_events"
    ))?;
    for Recording { words, parts, not, compared } in RECORDINGS {
        let command = "sh -c 'for i in 1 2 3; do ls / >/dev/null; done; read x </proc/version; :'";
        lab.record(words, command)?;
        let report = lab.report("own.dat").map_err(|error| format!("{words}: {error:?}"))?;
        for part in parts {
            check(report.contains(part), || format!("{words}: no {part:?}: {report:.2000}"))?;
        }
        check(!report.contains(not), || format!("{words}: {not:?}"))?;
        if compared {
            let theirs = lab.recorded_by_reference(words, command)?;
            let (ours, theirs) = (events(&report), events(&theirs));
            check(ours == theirs, || format!("{words}: {ours:?}, not {theirs:?}"))?;
        }
    }
    module_goes(&lab)?;
    snapshot(&lab)?;
    stack_tracer(&lab)?;
    lab.guest.power_off(LIMIT)?;
    Ok(())
}

/// Where in its file a program begins.
fn entry_point(elf: &[u8]) -> Option<u64> {
    let u64_at = |at: usize| Some(u64::from_le_bytes(elf.get(at..at + 8)?.try_into().ok()?));
    let entry = u64_at(24)?;
    let headers = usize::try_from(u64_at(32)?).ok()?;
    let count = usize::from(*elf.get(56)?);
    (0..count).find_map(|index| {
        let header = headers + index * 56;
        let (offset, address, len) =
            (u64_at(header + 8)?, u64_at(header + 16)?, u64_at(header + 32)?);
        let is_loaded = elf.get(header..header + 4)? == [1, 0, 0, 0];
        let inside = entry.checked_sub(address).filter(|&inside| is_loaded && inside < len)?;
        Some(offset + inside)
    })
}

/// A module is unloaded while its events are recorded, once those that it made are taken.
fn module_goes(lab: &Lab) -> Result<(), Failed> {
    let script = "dd if=/dev/zero of=/dev/nullb0 bs=4k count=64 oflag=direct 2>/dev/null; \
        sum() { cat /sys/kernel/tracing/per_cpu/cpu*/stats | grep -E \"$1\" | tr -dc \"0-9\\n\" | \
        { s=0; while read n; do s=$((s + n)); done; echo $s; }; }; \
        all=$(sum \"^(entries|read events):\"); \
        \
        until [ $(sum \"^read events:\") -ge $all ] || [ $((n += 1)) -gt 1500 ]; do sleep 0.1; done; rmmod null_blk";
    lab.run("rmmod null_blk; insmod /lab/modules/null_blk.ko zoned=1 zone_size=1 gb=1")?;
    let words = "-e nullb -f 'common_pid > 0' -R 'stacktrace if common_pid == 0' -e sched_switch";
    let said = lab.record(words, &format!("sh -c '{script}'"))?;
    check(said.contains("nullb:* went away") && said.lines().count() == 1, || said.clone())?;
    let report = lab.report("own.dat")?;
    let taken = report.lines().filter(|line| line.contains("nullb_zone_op:")).count();
    check(taken == 64 && report.contains("sched_switch:"), || format!("{taken} of 64"))?;
    let left = lab.run("ls /run/trace-cmd/journals")?;
    check(left.is_empty(), || left)
}

/// A snapshot stays what it was while tracing goes on.
fn snapshot(lab: &Lab) -> Result<(), Failed> {
    lab.run(&format!(
        "{OURS} start -q -p function -l vfs_open; ls / >/dev/null; \
         echo 1 >/sys/kernel/tracing/snapshot; {OURS} extract -q -s -o own.dat"
    ))?;
    let report = lab.report("own.dat")?;
    check(report.contains("vfs_open"), || report.clone())?;
    lab.run(&format!(
        "ls / >/dev/null; {OURS} extract -q -o own.dat; \
         echo 0 >/sys/kernel/tracing/snapshot; {OURS} set -p nop"
    ))?;
    let dump = lab.run(&format!("{OURS} dump --options -i own.dat; true"))?;
    check(dump.contains("BTF"), || dump.clone())?;
    lab.report("own.dat").map(drop)
}

/// What one turns on, the other one shows and turns off.
fn stack_tracer(lab: &Lab) -> Result<(), Failed> {
    let theirs = lab.reference.program().display();
    for [starts, shows] in [[OURS, &theirs.to_string()], [&theirs.to_string(), OURS]] {
        let shown = lab.run(&format!(
            "{starts} stack --start >/dev/null; cat /proc/sys/kernel/stack_tracer_enabled; ls / >/dev/null; \
             {starts} stack --stop >/dev/null; {starts} stack >one; {shows} stack >other; \
             cmp one other && cat one; {shows} stack --reset >/dev/null; \
             cat /proc/sys/kernel/stack_tracer_enabled /sys/kernel/tracing/stack_max_size"
        ))?;
        let is_shown = shown.starts_with("1\n") && shown.contains("Depth");
        check(is_shown && shown.ends_with("\n0\n0\n"), || format!("{starts}: {shown}"))?;
    }
    Ok(())
}

/// Latencies are texts of the kernel; what has no largest one is events.
fn latencies() -> Result<(), Failed> {
    let lab = Lab::boot("latencies", Flavor::RealTime, &[])?;
    let tracers = lab.run("cat /sys/kernel/tracing/available_tracers")?;
    let has = |tracer: &str| tracers.split_whitespace().any(|name| name == tracer);
    // A guest that traces all functions too gets nowhere.
    lab.run("echo 0 >/sys/kernel/tracing/options/function-trace")?;
    let mut recorded = 0;
    for tracer in ["wakeup", "wakeup_rt", "wakeup_dl", "irqsoff", "preemptoff", "preemptirqsoff"] {
        if !has(tracer) {
            continue;
        }
        let words = format!("-p {tracer}");
        lab.record(&words, "sh -c 'ls / >/dev/null; sleep 1'")?;
        let ours = lab.report("own.dat")?;
        check(ours.contains(&format!("# tracer: {tracer}\n")), || format!("{tracer}: {ours}"))?;
        if tracer == "wakeup_rt" {
            check(ours.contains("latency:"), || ours.clone())?;
            let theirs = lab.recorded_by_reference(&words, "sh -c 'ls / >/dev/null; sleep 1'")?;
            check(legend(&ours) == legend(&theirs), || format!("{ours}\n{theirs}"))?;
        }
        recorded += 1;
    }
    for tracer in ["hwlat", "osnoise", "timerlat"] {
        if !has(tracer) {
            continue;
        }
        // Until it has something to say, which may have been taken already.
        let command = "sh -c 'until grep -qsE \"^(entries|read events): [1-9]\" \
            /sys/kernel/tracing/per_cpu/cpu*/stats; do sleep 0.2; done'";
        let words = format!("-p {tracer}");
        lab.record(&words, command)?;
        let ours = lab.report("own.dat")?;
        let expected = BTreeSet::from([tracer]);
        check(events(&ours) == expected, || format!("{tracer}: {ours:.2000}"))?;
        if tracer == "timerlat" {
            let theirs = lab.recorded_by_reference(&words, "sleep 1")?;
            check(events(&theirs) == expected, || format!("{tracer}: {theirs:.2000}"))?;
        }
        recorded += 1;
    }
    check(recorded > 0, || format!("no latency tracer among {tracers}"))?;
    lab.guest.power_off(LIMIT)?;
    Ok(())
}

/// The lines of a latency trace that tell what its columns are.
fn legend(report: &str) -> Vec<&str> {
    let lines = report.lines().filter(|line| line.starts_with('#'));
    lines.filter(|line| !line.contains("latency:") && !line.contains("task:")).collect()
}
