//! Recorder and listener on two hosts: network namespaces, with a link between them that goes away.

use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common::bench::Bench;
use crate::common::listener::{Listener, PATIENCE, eventually};
use crate::common::{check, stderr, success, trace_cmd};
use crate::marks::{self, Marks, Pace};
use crate::numbers;

/// Two hosts and the link between them.
struct Hosts {
    recorder: String,
    listener: String,
}

const LISTENER_ADDRESS: &str = "192.0.2.2";

impl Hosts {
    fn new() -> Result<Self, Failed> {
        let pid = std::process::id();
        let hosts =
            Self { recorder: format!("recorder-{pid}"), listener: format!("listener-{pid}") };
        let (one, other) = (&hosts.recorder, &hosts.listener);
        for words in [
            format!("netns add {one}"),
            format!("netns add {other}"),
            format!("link add near netns {one} type veth peer name far netns {other}"),
            format!("-n {one} address add 192.0.2.1/24 dev near"),
            format!("-n {other} address add {LISTENER_ADDRESS}/24 dev far"),
            format!("-n {one} link set near up"),
            format!("-n {other} link set far up"),
        ] {
            ip(&words)?;
        }
        Ok(hosts)
    }

    fn listen(&self, words: &[&str]) -> Result<Listener, Failed> {
        let mut command = on(&self.listener);
        command.args(["listen", "--bind", LISTENER_ADDRESS, "-p", "0"]).args(words);
        Listener::spawn(TempDir::new()?, command)
    }

    /// Records until it is told to end, looking for data a hundred times in a second.
    fn record(&self, listener: &Listener, words: &[&str]) -> Result<Child, Failed> {
        let mut record = on(&self.recorder);
        record.args([
            "record",
            "-N",
            &listener.address,
            "-s",
            "10000",
            "--json",
            "-e",
            "sched_process_exec",
        ]);
        record.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(record.spawn()?)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in [&self.recorder, &self.listener] {
            // Its links go with it.
            let _ = ip(&format!("netns del {host}"));
        }
    }
}

fn ip(words: &str) -> Result<(), Failed> {
    success(Command::new("ip").args(words.split(' '))).map(drop)
}

/// The binary under test, on one of the hosts.
fn on(host: &str) -> Command {
    let binary = trace_cmd();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host]).arg(binary.get_program());
    command.env("LC_ALL", "C");
    command
}

/// The listener's only file, once so many marks can be read in it.
fn file_with(listener: &Listener, count: usize) -> Result<std::path::PathBuf, Failed> {
    let mut found = None;
    eventually("the marks do not come", || {
        let names = listener.names()?;
        let Some(name) = names.iter().find(|name| name.ends_with(".dat")) else { return Ok(false) };
        let file = listener.dir().join(name);
        let is_there = marks::in_file(&file).is_ok_and(|marks| marks.len() >= count);
        found = Some(file);
        Ok(is_there)
    })?;
    found.ok_or_else(|| "no file".into())
}

/// Waits until one who has to end by himself has.
fn end_of(mut child: Child) -> Result<Output, Failed> {
    let ended = eventually("the recorder goes on", || Ok(child.try_wait()?.is_some()));
    if ended.is_err() {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    ended.map(|()| output)
}

/// The link goes away for good: the recorder ends and says so, and the listener's file has all that came.
pub(crate) fn gone() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let hosts = Hosts::new()?;
    let patience = ["--peer-timeout", "5"];
    let mut listener = hosts.listen(&patience)?;
    let child = hosts.record(&listener, &[&patience[..], &["-t"]].concat())?;
    let marks = Marks::start(&bench.dir, Pace::Slow)?;
    let file = file_with(&listener, 100)?;
    let since = Instant::now();
    ip(&format!("-n {} link del far", hosts.listener))?;
    let output = end_of(child)?;
    drop(marks);
    check(since.elapsed() < PATIENCE / 2, || format!("it took {:?}", since.elapsed()))?;
    let text = stderr(&output);
    check(output.status.code() == Some(1), || format!("{}: {text}", output.status))?;
    check(text.contains(&listener.address) && text.contains("timed out"), || text.clone())?;
    let line = listener.wait_for("bytes of trace data")?;
    check(line.contains("ended early") && line.contains("timed out"), || line.clone())?;
    let arrived = marks::in_file(&file)?;
    check(arrived.len() >= 100, || format!("{} marks", arrived.len()))?;
    marks::have_no_gap(&arrived)?;
    listener.end(Signal::SIGTERM)?;
    bench.is_as_before("recording")
}

/// The link goes away for a while: what is lost meanwhile is counted, at both ends and in the file.
pub(crate) fn back() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let hosts = Hosts::new()?;
    let mut listener = hosts.listen(&[])?;
    let child = hosts.record(&listener, &[])?;
    let marks = Marks::start(&bench.dir, Pace::Slow)?;
    let file = file_with(&listener, 100)?;
    let enough = |more: u64| {
        let until = marks.count() + more;
        eventually("no more marks", || Ok(marks.count() >= until))
    };
    ip(&format!("-n {} link set near down", hosts.recorder))?;
    enough(300)?;
    ip(&format!("-n {} link set near up", hosts.recorder))?;
    let before = marks::in_file(&file)?.len();
    file_with(&listener, before + 100)?;
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
    let output = end_of(child)?;
    drop(marks);
    let text = stderr(&output);
    check(output.status.success(), || format!("{}: {text}", output.status))?;
    check(text.contains("lost on the way"), || text.clone())?;
    let json = String::from_utf8_lossy(&output.stdout).into_owned();
    let [sent, arrived, lost] =
        ["sent_bytes", "arrived_bytes", "lost_bytes"].map(|name| numbers(&json, name));
    for ((sent, arrived), lost) in sent.iter().zip(&arrived).zip(&lost) {
        check(arrived + lost == *sent, || format!("{arrived} and {lost} of {sent}"))?;
    }
    let [arrived, lost] = [arrived, lost].map(|bytes| bytes.iter().sum::<u64>());
    check(lost > 0, || json.clone())?;
    let line = listener.wait_for("bytes of trace data")?;
    check(line.contains(&format!(": {arrived} bytes of trace data")), || line.clone())?;
    check(line.contains(&format!("; {lost} bytes in ")), || line.clone())?;
    let dump = success(trace_cmd().args(["dump", "--options", "-i"]).arg(&file))?;
    check(dump.contains("lost on the way"), || dump.clone())?;
    let marks = marks::in_file(&file)?;
    check(marks.windows(2).all(|pair| pair[0] < pair[1]), || format!("{marks:?}"))?;
    check(marks::have_no_gap(&marks).is_err(), || "nothing is missing".to_owned())?;
    listener.end(Signal::SIGTERM)?;
    bench.is_as_before("recording")
}
