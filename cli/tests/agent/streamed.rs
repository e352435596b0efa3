//! Lines of this machine and of two guests at once, which are this machine as well: what happens is seen by all three.

use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::Bench;
use crate::common::stream::{Stream, are_soon, nanoseconds};
use crate::common::{check, success, trace_cmd};
use crate::peers::{OwnAgent, ReferenceAgent};
use crate::reference::Left;

const MACHINES: [&str; 3] = ["host", "one", "two"];
const ROUNDS: usize = 6;
const END: Duration = Duration::from_secs(240);
/// A line is printed within a second; this machine may have much else to do.
const SOON: Duration = Duration::from_secs(15);

/// Has `ls` run, and waits until all machines had it printed; how long each took.
fn seen_by_all(stream: &Stream, times: &mut Vec<Duration>) -> Result<Vec<String>, Failed> {
    success(Command::new("/bin/ls").arg("/"))?;
    let at = Instant::now();
    let mut lines = Vec::new();
    for _ in MACHINES {
        let (came, line) = stream.wait_for("filename=/bin/ls")?;
        times.push(came.saturating_duration_since(at));
        lines.push(line);
    }
    for name in MACHINES {
        let is_there = lines.iter().any(|line| line.trim_start().starts_with(&format!("{name}: ")));
        check(is_there, || format!("no line of {name}: {lines:#?}"))?;
    }
    Ok(lines)
}

pub(crate) fn together() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &[])?;
    let words = |name, address: &str| {
        format!("-A {address}:{} --name {name} -e sched_process_exec ", agent.port)
    };
    let guests = words("one", "127.0.0.1") + &words("two", "localhost");
    let mut command = trace_cmd();
    command.args(["stream", "-t", "-B", "host", "-e", "sched_process_exec"]);
    let stream = Stream::of(command.args(guests.split_whitespace()))?;
    // Until all have begun, some see nothing.
    let begun = Instant::now();
    while !stream.has_line("host: ")? {
        success(Command::new("/bin/true").arg("x"))?;
        check(begun.elapsed() < END, || stream.said())?;
    }
    let (mut times, mut lines) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        lines.extend(seen_by_all(&stream, &mut times)?);
    }
    stream.signal()?;
    let ended = stream.end(END)?;
    check(ended.status.success(), || format!("{}: {}", ended.status, ended.said))?;
    let error = ended.clock_error()?;
    let stamps: Vec<u64> = lines.iter().filter_map(|line| nanoseconds(line)).collect();
    check(stamps.len() == ROUNDS * MACHINES.len(), || format!("{lines:#?}"))?;
    let is_in_order = stamps.windows(2).all(|two| two[0] <= two[1] + error);
    check(is_in_order || ended.tells_of_late_ones(), || format!("{lines:#?}: {}", ended.said))?;
    are_soon(times, SOON)?;
    agent.stop()?;
    bench.is_as_before()
}

/// The C agent tells of clocks at the end only, which is too late.
pub(crate) fn without_clock() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let left = Left::by_reference(&bench)?;
    let agent = ReferenceAgent::start(bench.out.path())?;
    let mut command = trace_cmd();
    command.args(["stream", "-B", "host", "-e", "sched_process_exec"]);
    command.args(["-A", &format!("127.0.0.1:{}", agent.port), "-e", "sched_process_exec"]);
    let output = command.args(["/bin/ls", "/"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check(output.status.code() == Some(5), || format!("{}: {said}", output.status))?;
    check(said.contains("its clock cannot be compared"), || said.clone())?;
    check(String::from_utf8_lossy(&output.stdout).contains("filename=/bin/ls"), || said.clone())?;
    agent.is_alone()?;
    drop(agent);
    drop(left);
    bench.has_same_instances()
}
