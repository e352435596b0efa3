//! Where it listens, as whom, and where it says what.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use tempfile::TempDir;
use trace_transport::{Deadline, Stream, unix};

use crate::common::listener::{Listener, PATIENCE, eventually};
use crate::common::{check, complaint, free_port, trace_cmd};
use crate::recorder::{Kind, Recorder, record};
use crate::trace::Trace;

/// The words that name a listener's files and its log.
pub(crate) fn files() -> Result<(), Failed> {
    let log = TempDir::new()?;
    let log = log.path().join("log");
    let log_name = log.to_string_lossy().into_owned();
    let dir = TempDir::new()?;
    let port = free_port()?;
    let mut listen = trace_cmd();
    listen.args(["listen", "--bind", "127.0.0.1", "-p", &port.to_string(), "-o", "base"]);
    listen.args(["--verbose", "-l", &log_name, "-d"]).arg(dir.path());
    listen.stdout(std::process::Stdio::null());
    let mut child = listen.spawn()?;
    let sent = (|| {
        let trace = Trace::new(110)?;
        let mut name = 0;
        eventually("nobody listens", || match record(port, &trace, &Kind::default()) {
            Ok(port) => {
                name = port;
                Ok(true)
            }
            Err(_) => Ok(false),
        })?;
        trace.is_in(&dir.path().join(format!("base.localhost:{name}.dat")))
    })();
    kill(Pid::from_raw(child.id().try_into()?), Signal::SIGTERM)?;
    let status = child.wait()?;
    sent?;
    check(status.success(), || status.to_string())?;
    let text = fs::read_to_string(&log)?;
    for part in [
        "Listening on",
        "V3 with 2 CPUs, sub-buffers of 4096 bytes, over TCP",
        "bytes of trace data",
    ] {
        check(text.contains(part), || format!("no {part:?} in {text}"))?;
    }
    for (words, part) in [
        (&["listen", "-p", "70000"][..], "65535"),
        (&["listen", "-p", "0", "-o", "../x"], "-o ../x"),
        (&["listen", "-p", "0", "-d", "/nowhere"], "/nowhere"),
        (&["listen", "--bind", "127.0.0.1", "-p", "0", "--user", "no-such-user"], "no-such-user"),
    ] {
        let line = complaint(trace_cmd().args(words))?;
        check(line.contains(part), || line)?;
    }
    Ok(())
}

/// Files of a listener that gave root up are its user's.
pub(crate) fn user() -> Result<(), Failed> {
    let nobody = User::from_name("nobody")?.ok_or("no user 'nobody'")?;
    let dir = TempDir::new()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
    let words = ["--bind", "127.0.0.1", "-p", "0", "--user", "nobody"];
    let mut listener = Listener::start_in(dir, &words)?;
    let trace = Trace::new(111)?;
    let name = record(listener.port()?, &trace, &Kind::default())?;
    let file = listener.file(name);
    trace.is_in(&file)?;
    check(fs::metadata(&file)?.uid() == nobody.uid.as_raw(), || "it is root's".to_owned())?;
    check(listener.status("Uid")? == u64::from(nobody.uid.as_raw()), || "still root".to_owned())?;
    listener.end(Signal::SIGTERM)
}

/// A daemon is found by its pid file, which goes with it.
pub(crate) fn daemon() -> Result<(), Failed> {
    const PID_FILE: &str = "/run/trace-cmd-net.pid";
    let dir = TempDir::new()?;
    let log = dir.path().join("log");
    let port = free_port()?;
    let mut listen = trace_cmd();
    listen.args(["listen", "-D", "--bind", "127.0.0.1", "-p", &port.to_string(), "-l"]).arg(&log);
    listen.arg("-d").arg(dir.path());
    check(listen.status()?.success(), || "it does not start".to_owned())?;
    let mut pid = None;
    eventually("no pid file", || {
        pid = fs::read_to_string(PID_FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
        Ok(pid.is_some())
    })?;
    let pid = pid.ok_or("no pid")?;
    let command = fs::read(format!("/proc/{pid}/cmdline"))?;
    let is_ours = String::from_utf8_lossy(&command).contains(&dir.path().to_string_lossy()[..]);
    check(is_ours, || format!("another listener is there, process {pid}"))?;
    let trace = Trace::new(112)?;
    let sent = record(port, &trace, &Kind::default());
    kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    trace.is_in(&dir.path().join(format!("trace.localhost:{}.dat", sent?)))?;
    eventually("the pid file stays", || Ok(!Path::new(PID_FILE).exists()))
}

/// Sends a trace on a control connection whose data goes as `data` says.
fn send(
    control: Stream,
    trace: &Trace,
    data: impl Fn(u16) -> Result<Stream, trace_transport::Error>,
) -> Result<(), Failed> {
    let soon = || Deadline::after(PATIENCE);
    let mut recorder = Recorder::on(control, "", trace, &Kind::default())?;
    recorder.head(trace)?;
    for (&port, bytes) in recorder.opened.ports.iter().zip(trace.streams()) {
        data(port)?.write_all(bytes, soon())?;
    }
    let account = recorder.close(trace)?;
    check(account.bytes == trace.size() && account.lost == 0, || format!("{account:?}"))
}

/// The only trace in the directory of a listener.
fn only_trace(listener: &Listener) -> Result<std::path::PathBuf, Failed> {
    let names = listener.names()?;
    let mut traces = names.iter().filter(|name| name.ends_with(".dat"));
    match (traces.next(), traces.next()) {
        (Some(name), None) => Ok(listener.dir().join(name)),
        _ => Err(format!("{names:?}").into()),
    }
}

/// UNIX sockets, and those of virtual machines' vsock, whose ports are sockets beside.
pub(crate) fn unix_sockets() -> Result<(), Failed> {
    for port in [None, Some(7000)] {
        let place = TempDir::new()?;
        let path = place.path().join("socket");
        let mut address = format!("unix:{}", path.display());
        if let Some(port) = port {
            address.push_str(&format!(":{port}"));
        }
        let mut listener = Listener::start_in(TempDir::new()?, &["--bind", &address])?;
        let trace = Trace::new(113)?;
        let beside = |port: u32| {
            let mut name = path.clone().into_os_string();
            name.push(format!("_{port}"));
            name
        };
        let control = match port {
            None => unix::connect(&path)?,
            Some(port) => unix::connect(Path::new(&beside(port)))?,
        };
        send(control, &trace, |port| unix::connect(Path::new(&beside(port.into()))))?;
        trace.is_in(&only_trace(&listener)?)?;
        listener.end(Signal::SIGTERM)?;
        let left = fs::read_dir(place.path())?.count();
        check(left == 0, || format!("{left} sockets left"))?;
    }
    Ok(())
}
