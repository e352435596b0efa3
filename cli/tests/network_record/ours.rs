//! Who may record to a listener, all by command lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements;

use crate::common::bench::Bench;
use crate::common::listener::Listener;
use crate::common::{check, complaint, is_kept, shown_of, stderr, success};
use crate::{EVENTS, LOAD, record};

const KEY: &str = "a long line that nobody else knows, and nobody guesses";

fn key_file(dir: &Path, name: &str, text: &str) -> Result<String, Failed> {
    let path = dir.join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path.to_string_lossy().into_owned())
}

/// The right key records; a wrong one and none are told. What the key is stands nowhere.
pub(crate) fn keys() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let dir = TempDir::new()?;
    let right = key_file(dir.path(), "right", KEY)?;
    let wrong = key_file(dir.path(), "wrong", "another line that is as long as it has to be")?;
    let mut listener = Listener::start(&["--key-file", &right, "--verbose"])?;

    let mut command = record(&listener.address, &["--key-file", &right]);
    command.args(EVENTS).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let line = listener.wait_for("sub-buffers of")?;
    let shown = [shown_of(listener.pid())?, shown_of(pid)?];
    kill(pid, Signal::SIGINT)?;
    let output = child.wait_with_output()?;
    check(output.status.success(), || stderr(&output))?;
    check(line.contains("over TCP"), || line.clone())?;
    let outcome = listener.wait_for("bytes of trace data")?;
    check(!outcome.contains("ended early"), || outcome)?;
    is_kept(KEY, &shown.concat())?;
    is_kept(KEY, &[output.stdout, output.stderr, listener.said().join("\n").into_bytes()])?;
    for name in listener.names()? {
        is_kept(KEY, &[fs::read(listener.dir().join(name))?])?;
    }

    for (words, part) in [
        (&["--key-file", wrong.as_str()][..], "another key"),
        (&["-t"], "a key is required"),
        (&[], "a key is required"),
    ] {
        let mut record = record(&listener.address, words);
        let line = complaint(record.args(EVENTS).args(["sh", "-c", LOAD]))?;
        check(line.contains(part), || line.clone())?;
    }
    // A listener without a key cannot prove that it is the right one.
    let plain = Listener::start(&[])?;
    let mut command = record(&plain.address, &["--key-file", &right]);
    let line = complaint(command.args(EVENTS).args(["sh", "-c", LOAD]))?;
    check(line.contains("key"), || line.clone())?;
    let files = listener.names()?.len();
    check(files == 1, || format!("{:?}", listener.names()))?;
    listener.end(Signal::SIGTERM)?;
    bench.is_as_before("recording")
}

/// The C version knows no keys: it ends, and the listener says why.
pub(crate) fn reference_without_key() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let dir = TempDir::new()?;
    let key = key_file(dir.path(), "key", KEY)?;
    let mut listener = Listener::start(&["--key-file", &key])?;
    let reference = requirements::recording_reference()?;
    let mut command = reference.recorder()?;
    command.args(["record", "-N", &listener.address, "-t"]).args(EVENTS);
    let state = ["set_event", "tracing_on"].map(|name| bench.dir.join(name));
    let before = state.each_ref().map(fs::read);
    let output = command.args(["sh", "-c", LOAD]).stdin(Stdio::null()).output()?;
    // It leaves its events on, and tracing off.
    for (file, text) in state.iter().zip(before) {
        fs::write(file, text?)?;
    }
    check(!output.status.success(), || "it thinks that it has recorded".to_owned())?;
    listener.wait_for("the other side has no key, and here one is required")?;
    listener.is_idle()?;
    check(listener.names()?.is_empty(), || format!("{:?}", listener.names()))?;
    listener.end(Signal::SIGTERM)?;
    bench.is_as_before("recording")
}

/// By address over TCP, by user over a UNIX socket.
pub(crate) fn access() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let place = TempDir::new()?;
    let socket = format!("unix:{}", place.path().join("socket").display());
    let tcp = &["--bind", "127.0.0.1", "-p", "0"][..];
    let unix = &["--bind", &socket][..];
    for (bind, allowed, other) in
        [(tcp, "127.0.0.0/8", "192.0.2.0/24"), (unix, "uid:0", "uid:65534")]
    {
        for (rule, may) in [(allowed, true), (other, false)] {
            let words = [bind, &["--allow", rule]].concat();
            let mut listener = Listener::start_in(TempDir::new()?, &words)?;
            let mut record = record(&listener.address, if bind == tcp { &["-t"] } else { &[] });
            let record = record.args(EVENTS).args(["sh", "-c", LOAD]);
            if may {
                success(record)?;
                let line = listener.wait_for("bytes of trace data")?;
                check(!line.contains("ended early"), || line.clone())?;
            } else {
                let line = complaint(record)?;
                check(line.contains("has gone"), || line.clone())?;
                listener.wait_for("it is not among those allowed")?;
                check(listener.names()?.is_empty(), || format!("{:?}", listener.names()))?;
            }
            listener.end(Signal::SIGTERM)?;
        }
    }
    bench.is_as_before("recording")
}
