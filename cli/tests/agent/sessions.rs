//! Several hosts at once: each gets a file as if it were alone.

use std::fs;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trace_virt::lab::requirements;

use crate::common::{check, complaint, stderr, success, trace_cmd};
use crate::peers::{OwnAgent, until};
use crate::reference::{Left, same_text};
use crate::{Bench, EVENTS, LOAD};

/// A host that records until it is told to stop.
struct Host(Child);

impl Host {
    fn start(mut record: Command, agent: &OwnAgent, number: usize) -> Result<Self, Failed> {
        record.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let host = Self(record.spawn()?);
        until("a recording begins", || agent.log().matches("recording: ").count() == number)?;
        Ok(host)
    }

    fn stop(self) -> Result<(), Failed> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGINT)?;
        self.ended()
    }

    fn ended(self) -> Result<(), Failed> {
        let output = self.0.wait_with_output()?;
        check(output.status.success(), || format!("{}: {}", output.status, stderr(&output)))
    }
}

/// Instances that the agent has made.
fn instances(bench: &Bench) -> usize {
    let entries = fs::read_dir(bench.tracing.dir.join("instances")).into_iter().flatten();
    entries.flatten().filter(|one| one.file_name().to_string_lossy().starts_with("agent-")).count()
}

pub(crate) fn own() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &["--max-sessions", "2"])?;
    let record = |name: &str| {
        let mut record = bench.record(&agent.address(), &["--name", name, "--fail-on-loss"]);
        record.args(EVENTS);
        record
    };
    let first = Host::start(record("first"), &agent, 1)?;
    // What is set for the whole kernel is the first one's.
    let words = ["--name", "deep", "-e", "sched", "--max-graph-depth", "1", "true"];
    let line = complaint(&mut bench.record(&agent.address(), &words))?;
    check(
        line.contains("busy with another recording") && line.contains("max_graph_depth"),
        || line.clone(),
    )?;
    let second = Host::start(record("second"), &agent, 2)?;
    agent.says("beside another recording, in instance agent-")?;
    check(instances(&bench) == 1, || agent.log())?;
    let line = complaint(&mut bench.record(&agent.address(), &["-e", "sched", "true"]))?;
    check(line.contains("busy with other recordings, for 127.0.0.1:"), || line.clone())?;
    bench.has_no_file("127.0.0.1")?;
    // A refusal is logged once.
    check(agent.log().matches("max_graph_depth").count() == 1, || agent.log())?;

    success(Command::new("sh").args(["-c", LOAD]))?;
    // The top-level buffer is free for the third while the second goes on.
    first.stop()?;
    bench.report("first")?;
    let third = Host::start(record("third"), &agent, 3)?;
    success(Command::new("sh").args(["-c", LOAD]))?;
    third.stop()?;
    second.stop()?;
    bench.report("third")?;
    let both = bench.text("second")?;
    let programs = both.lines().filter(|line| line.contains("filename=/bin/ls")).count();
    check(programs == 2 * crate::PROGRAMS, || format!("{programs} programs in the second"))?;
    agent.stop()?;
    check(instances(&bench) == 0, || "an instance is left".to_owned())?;
    bench.is_as_before()
}

/// A host's command that says when it runs, and then waits to be told to end: only then is all tracing as that host wants
/// it, which here is on the same kernel as the agent.
const WAITS: &str = "touch $0.runs; until [ -e $0.ends ] || [ ! -e $0.runs ]; do sleep 0.1; done";

pub(crate) fn mixed() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let left = Left::by_reference(&bench)?;
    let agent = OwnAgent::start(bench.out.path(), &[])?;
    let out = bench.out.path();
    let mut hosts = Vec::new();
    for base in ["first", "ours", "third"] {
        let mut record = match base {
            "ours" => trace_cmd(),
            _ => requirements::reference()?.exact()?.recorder()?,
        };
        record.current_dir(out).args(["record", "-o", &format!("{base}.dat")]);
        record.args(["-A", &agent.address()]).args(EVENTS).args(["sh", "-c", WAITS, base]);
        let host = Host::start(record, &agent, hosts.len() + 1)?;
        until("the host's command runs", || out.join(format!("{base}.runs")).exists())?;
        hosts.push((base, host));
    }
    check(instances(&bench) == 2, || agent.log())?;
    success(Command::new("sh").args(["-c", LOAD]))?;
    for (base, host) in hosts {
        fs::write(out.join(format!("{base}.ends")), "")?;
        host.ended()?;
        // Files are named after the host.
        fs::rename(out.join(format!("{base}-127.0.0.1.dat")), bench.file(base))?;
        same_text(&bench, base)?;
    }
    agent.stop()?;
    drop(left);
    check(instances(&bench) == 0, || "an instance is left".to_owned())?;
    bench.is_as_before()
}
