//! Both ends are ours.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{check, complaint, is_kept, shown_of, stderr, success, values};
use crate::peers::OwnAgent;
use crate::{Bench, EVENTS, LOAD};

const NAME: &str = "127.0.0.1";

pub(crate) fn recorded() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &["--allow-exec=sh"])?;
    // The recording ends with the guest's command, whose output and exit code come here.
    let mut record = bench.record(&agent.address(), &EVENTS);
    let command = format!("{LOAD}; echo out; echo err >&2; exit 7");
    let output = record.args(["--exec", "sh", "-c", &command, ";"]).output()?;
    let (said, told) = (String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output));
    check(output.status.success(), || format!("{}: {said}{told}", output.status))?;
    check(said.starts_with("out\n") && said.contains("clock compared"), || said.clone())?;
    check(told.contains("err\n") && told.contains("exit code 7"), || told.clone())?;
    bench.report(NAME)?;

    // A clock that only the kernel can read, and what was recorded as JSON.
    let mut record = bench.record(&agent.address(), &["-C", "local", "--json", "--fail-on-loss"]);
    let json = success(record.args(EVENTS).args(["sh", "-c", LOAD]))?;
    let sizes = values(&json, "\"size\":");
    check(sizes.iter().sum::<u64>() > 0, || json.clone())?;
    bench.report(NAME)?;
    agent.stop()?;
    bench.is_as_before()
}

pub(crate) fn refused() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &["--allow-exec=echo"])?;
    let refusals: [(&[&str], &str); 4] = [
        (&["-e", "sched_swich", "true"], "sched_switch"),
        (&["-e", "sched", "--exec", "ls", ";", "true"], "only echo"),
        (&["-e", "sched", "-l", "no_such_function*", "-p", "function", "true"], "guest 127.0.0.1"),
        (&["-e", "sched", "-f", "no_field == 1", "true"], "no_field"),
    ];
    for (words, reason) in refusals {
        let line = complaint(&mut bench.record(&agent.address(), words))?;
        check(line.contains(NAME) && line.contains(reason), || line.clone())?;
        bench.has_no_file(NAME)?;
    }
    let nobody = complaint(&mut bench.record("127.0.0.1:1", &["-e", "sched", "true"]))?;
    check(nobody.contains("connecting") && nobody.contains("refused"), || nobody.clone())?;
    agent.stop()?;
    bench.is_as_before()
}

pub(crate) fn busy() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &["--max-sessions", "1"])?;
    let mut record = bench.record(&agent.address(), &["--name", "first", "-e", "sched"]);
    let first = record.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    agent.says("recording: ")?;
    let line = complaint(&mut bench.record(&agent.address(), &["-e", "sched", "true"]))?;
    check(line.contains("busy with another recording"), || line.clone())?;
    kill(Pid::from_raw(i32::try_from(first.id())?), Signal::SIGINT)?;
    let output = first.wait_with_output()?;
    check(output.status.success(), || stderr(&output))?;
    agent.says("the recording is over")?;
    // The place is free again as soon as the first has left.
    crate::peers::until("the agent is free", || {
        bench
            .record(&agent.address(), &["-e", "sched", "true"])
            .output()
            .is_ok_and(|o| o.status.success())
    })?;
    agent.stop()?;
    bench.is_as_before()
}

const KEY: &str = "a key that both know";

pub(crate) fn keyed() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let (key, other) = (bench.out.path().join("key"), bench.out.path().join("other"));
    save(&key, KEY.as_bytes())?;
    save(&other, b"a key that one knows")?;
    let [key, other] = [&key, &other].map(|path| path.to_string_lossy().into_owned());
    let agent = OwnAgent::start(bench.out.path(), &["--key-file", &key])?;
    for clock in ["mono", "local"] {
        let words = ["--key-file", &key, "-C", clock];
        let mut record = bench.record(&agent.address(), &words);
        let output = record.args(EVENTS).args(["sh", "-c", LOAD]).output()?;
        check(output.status.success(), || stderr(&output))?;
        bench.report(NAME)?;
        is_kept(KEY, &[output.stdout, output.stderr, fs::read(bench.file(NAME))?])?;
        fs::remove_file(bench.file(NAME))?;
    }
    for (words, reason) in [
        (&["--key-file", other.as_str()][..], "the other side has another key"),
        (&[], "a key is required here"),
    ] {
        let mut record = bench.record(&agent.address(), words);
        let line = complaint(record.args(["-e", "sched", "true"]))?;
        check(line.contains(reason), || line.clone())?;
        bench.has_no_file(NAME)?;
    }
    is_kept(KEY, &shown_of(agent.pid())?)?;
    is_kept(KEY, &[agent.log().into_bytes()])?;
    agent.stop()?;
    // An agent that has none cannot prove that it knows it.
    let agent = OwnAgent::start(bench.out.path(), &[])?;
    let mut record = bench.record(&agent.address(), &["--key-file", &key]);
    let line = complaint(record.args(["-e", "sched", "true"]))?;
    check(line.contains("key"), || line.clone())?;
    agent.stop()?;
    bench.is_as_before()
}

pub(crate) fn save(path: &Path, key: &[u8]) -> Result<(), Failed> {
    use std::io::Write;
    let mut file = fs::File::options().create_new(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(key)?)
}
