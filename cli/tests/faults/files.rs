//! Files that fail: each of tracefs that a recording may use, and its own.

use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;

use crate::bench::{Bench, grouped, line_of};
use crate::common::{check, stderr, trace_cmd};

/// Files that a recording reads or writes, for what [`WORDS`] ask, or because it tells more with them.
const FILES: [&str; 20] = [
    "available_events",
    "available_tracers",
    "buffer_size_kb",
    "buffer_subbuf_size_kb",
    "current_tracer",
    "events/ftrace/function/format",
    "events/header_event",
    "events/header_page",
    "events/sched/sched_process_exec/enable",
    "events/sched/sched_process_exec/format",
    "options/markers",
    "per_cpu/cpu0/stats",
    "per_cpu/cpu0/trace_pipe_raw",
    "printk_formats",
    "saved_cmdlines",
    "saved_tgids",
    "trace",
    "trace_clock",
    "trace_marker",
    "tracing_on",
];

const WORDS: [&str; 12] = [
    "-C",
    "mono",
    "-b",
    "512",
    "-p",
    "nop",
    "-O",
    "nomarkers",
    "-e",
    "sched_process_exec",
    "-s",
    "5000",
];

/// Memory of another process from 0 on: neither can be read nor written.
const FAILING: &str = "mount --bind \"/proc/$SLEEPER/mem\" \"$FILE\" && exec \"$0\" \"$@\"";

/// Can be read, not written.
const REFUSED: &str =
    "mount --bind \"$FILE\" \"$FILE\" && mount -o remount,bind,ro \"$FILE\" && exec \"$0\" \"$@\"";

/// Each file fails with EIO whatever is done.
pub(crate) fn failing() -> Result<(), Failed> {
    // It waits for words that never come, however long this takes.
    let mut sleeper = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let tried = each_of(FAILING, &sleeper.id().to_string());
    sleeper.kill()?;
    sleeper.wait()?;
    let failed = tried?;
    // Whatever tells what was recorded is missed; what only makes it nicer is not.
    for needed in ["trace_clock", "tracing_on", "events/header_page", "per_cpu/cpu0/trace_pipe_raw"]
    {
        check(failed.contains(&needed), || format!("nobody missed {needed}"))?;
    }
    for nice in ["printk_formats", "saved_cmdlines", "saved_tgids", "trace_marker"] {
        check(!failed.contains(&nice), || format!("nothing was recorded without {nice}"))?;
    }
    Ok(())
}

/// Each file can be read only.
pub(crate) fn refused() -> Result<(), Failed> {
    let failed = each_of(REFUSED, "")?;
    let written = [
        "buffer_size_kb",
        "events/sched/sched_process_exec/enable",
        "options/markers",
        "trace_clock",
    ];
    for needed in written {
        check(failed.contains(&needed), || format!("nobody missed {needed}"))?;
    }
    check(!failed.contains(&"events/header_page"), || "what is only read was missed".to_owned())
}

/// Records with each file behind what `script` does to it; returns those without which it failed.
fn each_of(script: &str, sleeper: &str) -> Result<Vec<&'static str>, Failed> {
    let bench = Bench::new()?;
    let mut failed = Vec::new();
    for name in FILES {
        let path = bench.tracing.join(name);
        // Older kernels have fewer.
        if path.exists() && !without(&bench, &path, script, sleeper)? {
            failed.push(name);
        }
    }
    bench.all_is_as_before()?;
    Ok(failed)
}

/// Whether a recording succeeds without a file. If not it names the file, or what it is about.
fn without(bench: &Bench, path: &Path, script: &str, sleeper: &str) -> Result<bool, Failed> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    command.arg(trace_cmd().get_program()).args(["record", "-q", "-o"]).arg(bench.file());
    command.args(WORDS).arg("true").env("LC_ALL", "C");
    command.env("FILE", path).env("SLEEPER", sleeper);
    let output = bench.end(bench.start(grouped(command))?)?;
    let told = |error: &str| Failed::from(format!("{}: {error}", path.display()));
    let report = bench.report().map_err(|error| told(error.message().unwrap_or_default()))?;
    bench.is_as_before().map_err(|error| told(error.message().unwrap_or_default()))?;
    if output.status.success() {
        check(stderr(&output).is_empty(), || format!("{}: {}", path.display(), stderr(&output)))?;
        check(report.is_some(), || format!("{}: no file", path.display()))?;
        return Ok(true);
    }
    let code = output.status.code().ok_or_else(|| told("it was killed"))?;
    check([1, 3].contains(&code), || format!("{}: exit {code}", path.display()))?;
    let line = line_of(&output).map_err(|error| told(error.message().unwrap_or_default()))?;
    let is_named = line.contains(&*path.to_string_lossy())
        || line.contains("event formats")
        || line.contains("ring buffer of CPU 0");
    check(is_named, || format!("{}: {line}", path.display()))?;
    Ok(false)
}

/// RLIMIT_FSIZE, for which the system sends SIGXFSZ.
pub(crate) fn limited() -> Result<(), Failed> {
    let bench = Bench::new()?;
    for blocks in [8, 64, 4096] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
        command.arg(trace_cmd().get_program()).args(["record", "-q", "-o"]).arg(bench.file());
        command.args(["-e", "sched_process_exec", "true"]).env("LC_ALL", "C");
        let output = bench.end(bench.start(grouped(command))?)?;
        let said = stderr(&output);
        check(output.status.code() == Some(1), || format!("{}: {said}", output.status))?;
        // Before that it tells whose data is not there.
        let line = said.lines().last().unwrap_or_default();
        check(line.contains("trace.dat") && line.contains("File too large"), || said.clone())?;
        bench.report()?;
        bench.is_as_before()?;
    }
    bench.all_is_as_before()
}
