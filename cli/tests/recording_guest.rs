//! Recordings of what only a kernel with all tracers has, in a guest: functions, graphs, stacks, probes,
//! latencies, snapshots. The C trace-cmd reads each file there too, and tracing is afterwards as it was.

mod common;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use common::{Case, check, success, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements;
use trace_virt::lab::{Guest, GuestOptions, Missing};

const CASES: &[Case] = &[Case {
    name: "root_a_kernel_with_all_tracers_is_recorded",
    needs: with_guest,
    test: all_tracers,
}];

const OURS: &str = env!("CARGO_BIN_EXE_trace-cmd");

fn main() -> ExitCode {
    common::run(CASES)
}

fn with_guest() -> Result<(), Missing> {
    requirements::reference()?.exact()?;
    requirements::guest()
}

/// What a recording may change, where the kernel shows it.
const STATE: &str = "cd /sys/kernel/tracing; for f in tracing_on trace_clock trace_options set_event set_event_pid \
    set_event_notrace_pid set_ftrace_pid set_ftrace_filter set_ftrace_notrace set_graph_function max_graph_depth \
    current_tracer tracing_cpumask buffer_size_kb events/sched/sched_switch/trigger \
    events/sched/sched_switch/filter events/kprobes/own/enable; do echo $f; cat $f; done; ls instances";

/// Words of `record`, what the report must have, and what it must not.
const RECORDINGS: [(&str, &str, &str); 12] = [
    ("-p function -l vfs_read -F -c", "vfs_read", "vfs_write"),
    ("-p function -l 'vfs_*' -n vfs_read", "vfs_", "vfs_read "),
    ("-p function -l '^vfs_(read|open)$' -F -c", "vfs_open", "vfs_write"),
    ("-p function --func-stack -l vfs_open -F -c", "kernel_stack", "vfs_write"),
    ("-p function_graph -g vfs_open --max-graph-depth 2", "vfs_open", "[LOST]"),
    ("-p function_graph -l 'vfs_*' -F -c -O nofuncgraph-irqs", "us", "schedule"),
    ("-e sched_switch -R 'stacktrace if prev_pid > 1'", "kernel_stack", "sched_waking:"),
    (
        "-e sched_switch -R 'hist:keys=next_pid' -e sched_process_exec",
        "sched_process_exec:",
        "[LOST]",
    ),
    ("-e kprobes", "own:", "sched_switch:"),
    ("-B one -p function -l vfs_read -B two -e sched", "one:", "[LOST]"),
    ("--profile", "sys_enter:", "[LOST]"),
    ("-D -e sched", "sched_switch:", "[LOST]"),
];

fn all_tracers() -> Result<(), Failed> {
    let reference = requirements::reference()?.exact()?;
    let mut options = GuestOptions::new("recording");
    options.memory_mb = 1024;
    options.programs = vec![reference.program().into(), OURS.into()];
    let guest = Guest::boot(options)?;
    guest.wait_ready(Duration::from_secs(240))?;
    let run = |words: &str| guest.run(words);
    let out = TempDir::new()?;
    // Read here, where the reference has its plugins.
    let both = || -> Result<String, Failed> {
        let file = out.path().join("own.dat");
        fs::write(&file, guest.read_file("/tmp/own.dat")?)?;
        let theirs = success(reference.reader().arg("report").arg("-i").arg(&file))?;
        let mut report = trace_cmd();
        report.env("TRACE_CMD_COMPAT", "3.1.6").env("TZ", "UTC");
        let ours = success(report.arg("report").arg("-i").arg(&file))?;
        let different = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
        check(theirs == ours, || format!("reports differ: {different:?}"))?;
        check(ours.lines().count() > 1, || ours.clone())?;
        Ok(ours)
    };
    run("echo 1408 >/sys/kernel/tracing/buffer_size_kb; \
         echo 'p:own do_sys_openat2' >>/sys/kernel/tracing/kprobe_events")?;
    let before = run(STATE)?;
    for (words, part, not) in RECORDINGS {
        let command = "sh -c 'for i in 1 2 3; do ls / >/dev/null; done; read x </proc/version; :'";
        run(&format!("cd /tmp; {OURS} record -q {words} -o own.dat {command} 2>&1"))?;
        let after = run(STATE)?;
        check(before == after, || format!("{words} changed tracefs: {before}\n{after}"))?;
        let report = both().map_err(|error| format!("{words}: {error:?}"))?;
        check(report.contains(part), || format!("{words}: no {part:?}: {report:.2000}"))?;
        check(!report.contains(not), || format!("{words}: {not:?}"))?;
    }
    let tracers = run("cat /sys/kernel/tracing/available_tracers")?;
    for tracer in ["wakeup", "wakeup_rt", "irqsoff", "preemptoff"] {
        if tracers.split_whitespace().all(|name| name != tracer) {
            continue;
        }
        run(&format!(
            "cd /tmp; {OURS} record -q -p {tracer} -o own.dat sh -c 'ls /; sleep 1' 2>&1"
        ))?;
        let text = both()?;
        check(text.contains("latency:"), || format!("{tracer}: {text:.2000}"))?;
        check(before == run(STATE)?, || format!("{tracer} changed tracefs"))?;
    }
    // A snapshot stays what it was while tracing goes on.
    run(&format!(
        "{OURS} start -q -p function -l vfs_open; ls / >/dev/null; \
         echo 1 >/sys/kernel/tracing/snapshot; cd /tmp; {OURS} extract -q -s -o own.dat"
    ))?;
    let report = both()?;
    check(report.contains("vfs_open"), || report.clone())?;
    run(&format!(
        "ls / >/dev/null; cd /tmp; {OURS} extract -q -o own.dat; \
         echo 0 >/sys/kernel/tracing/snapshot; {OURS} set -p nop"
    ))?;
    let dump = run(&format!("{OURS} dump --options -i /tmp/own.dat; true"))?;
    check(dump.contains("BTF"), || dump.clone())?;
    both()?;
    guest.power_off(Duration::from_secs(60))?;
    Ok(())
}
