//! The C version at one end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use libtest_mimic::Failed;
use trace_virt::lab::requirements;

use crate::common::{check, success};
use crate::peers::{OwnAgent, ReferenceAgent, until};
use crate::{Bench, EVENTS, LOAD};

/// Host and guest are one machine here, so their clocks differ by what the comparison is wrong: half of the fastest of
/// 339 ways there and back, on a machine that may have much else to do.
pub(crate) const MAX_OFFSET: i64 = 200_000_000;

pub(crate) fn agent() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let left = Left::by_reference(&bench)?;
    let agent = ReferenceAgent::start(bench.out.path())?;
    let place = format!("127.0.0.1:{}", agent.port);
    for clock in ["mono", "local"] {
        let words = ["-C", clock, "--name", clock];
        let load = once_traced(&bench);
        let said = success(bench.record(&place, &words).args(EVENTS).args(["sh", "-c", &load]))?;
        check(said.contains(&format!("{clock}: 2 CPUs in")) || said.contains("CPUs in"), || {
            said.clone()
        })?;
        agent.is_alone()?;
        same_text(&bench, clock)?;
        let offsets = offsets(&bench.file(clock))?;
        // A round at the start and one at the end, of every CPU.
        let rounds = 2 * std::thread::available_parallelism()?.get();
        check(offsets.len() == rounds, || format!("{clock}: {offsets:?}"))?;
        check(offsets.iter().all(|offset| offset.abs() < MAX_OFFSET), || {
            format!("{clock}: {offsets:?}")
        })?;
    }
    // Without comparisons, and refused by the agent: it closes the connection, which is told in words.
    let words = ["--tsync-interval", "-1", "--name", "alone"];
    let load = once_traced(&bench);
    success(bench.record(&place, &words).args(EVENTS).args(["sh", "-c", &load]))?;
    agent.is_alone()?;
    same_text(&bench, "alone")?;
    check(offsets(&bench.file("alone"))?.is_empty(), || "clocks were compared".to_owned())?;
    let wrong =
        bench.record(&place, &["--name", "wrong", "-e", "no_such_event", "true"]).output()?;
    let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
    check(wrong.status.code() == Some(5) && text.contains("guest 127.0.0.1"), || text)?;
    agent.is_alone()?;
    drop(agent);
    drop(left);
    // What the C agent makes of the rest is its own.
    bench.has_same_instances()
}

/// The load, once events are on: the C agent does not say when they are.
fn once_traced(bench: &Bench) -> String {
    let dir = bench.tracing.dir.display();
    format!(
        "until grep -q 1 {dir}/events/sched/sched_process_exec/enable && grep -q 1 {dir}/events/sched/sched_switch/enable && \
         grep -q 1 {dir}/tracing_on; do sleep 0.05; done; {LOAD}"
    )
}

pub(crate) fn host() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let left = Left::by_reference(&bench)?;
    let agent = OwnAgent::start(bench.out.path(), &[])?;
    for words in [&[][..], &["--tsync-interval", "200"]] {
        let mut record = requirements::reference()?.exact()?.recorder()?;
        record.current_dir(bench.out.path()).args(["record", "-A", &agent.address()]).args(words);
        success(record.args(EVENTS).args(["sh", "-c", LOAD]))?;
        let text = same_text(&bench, "127.0.0.1")?;
        check(text.contains("sched_switch:"), || "no sched_switch".to_owned())?;
        let offsets = offsets(&bench.file("127.0.0.1"))?;
        check(offsets.len() >= 2, || format!("{words:?}: {offsets:?}"))?;
        check(offsets.iter().all(|offset| offset.abs() < MAX_OFFSET), || {
            format!("{words:?}: {offsets:?}")
        })?;
    }
    let is_over = || agent.log().matches("the recording is over").count() == 2;
    until("both recordings are over", is_over).map_err(|_| agent.log())?;
    // A word that no guest takes: the C host has no more than a closed connection, the agent's log has the reason.
    let mut record = requirements::reference()?.exact()?.recorder()?;
    record.current_dir(bench.out.path()).args(["record", "-A", &agent.address()]);
    let output = record.args(["-e", "no_such_event", "true"]).output()?;
    check(!output.status.success(), || "it recorded what is not there".to_owned())?;
    agent.says("no event matches 'no_such_event'")?;
    agent.stop()?;
    drop(left);
    bench.is_as_before()
}

/// Both readers say the same of a file.
pub(crate) fn same_text(bench: &Bench, name: &str) -> Result<String, Failed> {
    let ours = bench.report(name)?;
    let mut reader: Command = requirements::reference()?.exact()?.reader();
    let theirs = success(reader.args(["report", "-i"]).arg(bench.file(name)))?;
    let different = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
    check(theirs == ours, || format!("{name}: reports differ: {different:?}"))?;
    Ok(ours)
}

/// All offsets of a file's TIME_SHIFT, as the C version understands it.
pub(crate) fn offsets(file: &Path) -> Result<Vec<i64>, Failed> {
    let mut reader: Command = requirements::reference()?.exact()?.reader();
    let text = success(reader.args(["dump", "--options", "-i"]).arg(file))?;
    let samples = text.lines().filter(|line| line.contains("scaling >> fraction"));
    let offsets = samples.map(|line| line.split_whitespace().next().unwrap_or_default().parse());
    Ok(offsets.collect::<Result<_, _>>()?)
}

/// Puts back what the C version leaves behind: an instance of its time sync, the clock of the recording, at times more.
pub(crate) struct Left {
    dir: PathBuf,
    before: Vec<(&'static str, String)>,
}

impl Left {
    pub(crate) fn by_reference(bench: &Bench) -> Result<Self, Failed> {
        let dir = bench.tracing.dir.clone();
        let read = |name| Ok((name, fs::read_to_string(dir.join(name))?));
        let before = ["tracing_on", "current_tracer", "events/enable", "trace_clock"].map(read);
        let before: Result<_, io::Error> = before.into_iter().collect();
        Ok(Self { before: before?, dir })
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.dir.join("instances")).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("clock_synch-") {
                let _ = fs::remove_dir(entry.path());
            }
        }
        for (name, text) in &self.before {
            // Of a list, that which stands in brackets.
            let value = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
            let value = value.map_or(text.trim(), |(value, _)| value);
            // Some events are on: which is not told here.
            if value != "X" {
                let _ = fs::write(self.dir.join(name), value);
            }
        }
    }
}
