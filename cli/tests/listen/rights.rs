//! What a listener gives up once it listens, and what it does not follow.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use libtest_mimic::Failed;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, getsockname, socket,
};
use tempfile::TempDir;
use trace_transport::Stream;

use crate::common::listener::Listener;
use crate::common::{check, rights, sys, trace_cmd};
use crate::recorder::{Kind, Recorder, record};
use crate::trace::Trace;

/// CAP_NET_ADMIN, CAP_SYS_NICE and CAP_SYS_RESOURCE.
const FOR_SPEED: u64 = 1 << 12 | 1 << 23 | 1 << 24;
const DAC_OVERRIDE: u64 = 1 << 1;

/// Capabilities, new privileges and files elsewhere are gone, unless it was told to keep them.
pub(crate) fn given_up() -> Result<(), Failed> {
    for (words, is_confined) in [(&["--verbose"][..], true), (&["--no-sandbox"], false)] {
        let mut listener = Listener::start(words)?;
        let trace = Trace::new(114)?;
        let name = record(listener.port()?, &trace, &Kind::default())?;
        trace.is_in(&listener.file(name))?;
        let rights = rights::of(listener.pid())?;
        check(rights.is_limited() == is_confined, || format!("{words:?}: {rights:?}"))?;
        if is_confined {
            check(rights.effective & !FOR_SPEED == 0, || format!("{rights:?}"))?;
        }
        // A directory that takes the place of its own is another one.
        let (dir, away) = (listener.dir().to_owned(), TempDir::new()?);
        fs::rename(&dir, away.path().join("old"))?;
        fs::create_dir(&dir)?;
        let sent = record(listener.port()?, &trace, &Kind::default());
        let is_reachable = fs::read_dir(&dir)?.count() == 1;
        // Whoever has no landlock says so.
        let is_told = listener.said().iter().any(|line| line.contains("stay in reach"));
        check(is_reachable == (!is_confined || is_told), || {
            format!("{words:?}: {sent:?}: {:#?}", listener.said())
        })?;
        check(is_reachable == sent.is_ok(), || format!("{words:?}: {sent:?}"))?;
        listener.end(Signal::SIGTERM)?;
    }
    Ok(())
}

/// On kernels that are older, have it switched off, or in containers that refuse it: all else is given up all the same.
pub(crate) fn without_landlock() -> Result<(), Failed> {
    for errno in [Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::EPERM] {
        for verbose in [true, false] {
            let mut command = trace_cmd();
            sys::deny(&mut command, libc::SYS_landlock_create_ruleset, errno);
            command.args(["listen", "--bind", "127.0.0.1", "-p", "0"]);
            command.args(verbose.then_some("--verbose"));
            let mut listener = Listener::spawn(TempDir::new()?, command)?;
            let trace = Trace::new(117)?;
            let name = record(listener.port()?, &trace, &Kind::default())?;
            trace.is_in(&listener.file(name))?;
            let rights = rights::of(listener.pid())?;
            check(rights.effective & !FOR_SPEED == 0, || format!("{errno}: {rights:?}"))?;
            listener.end(Signal::SIGTERM)?;
            let said = listener.said();
            let is_told = said.iter().any(|line| line.contains("files elsewhere stay in reach"));
            check(is_told == verbose, || format!("{errno}: {said:#?}"))?;
        }
    }
    Ok(())
}

/// Root keeps what the directory of somebody else takes, and nothing more.
pub(crate) fn directory_of_another() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700))?;
    chown(dir.path(), Some(4711), Some(4711))?;
    let mut listener = Listener::start_in(dir, &["--bind", "127.0.0.1", "-p", "0"])?;
    let trace = Trace::new(115)?;
    let name = record(listener.port()?, &trace, &Kind::default())?;
    trace.is_in(&listener.file(name))?;
    let rights = rights::of(listener.pid())?;
    check(rights.effective & !FOR_SPEED == DAC_OVERRIDE, || format!("{rights:?}"))?;
    listener.end(Signal::SIGTERM)
}

/// Who may write to its directory cannot have another file written.
pub(crate) fn planted() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let trace = Trace::new(116)?;
    let elsewhere = TempDir::new()?;
    let target = elsewhere.path().join("precious");
    fs::write(&target, "precious")?;
    // The file is named after the port that the connection comes from.
    let control = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(control.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
    let port = getsockname::<SockaddrIn>(control.as_raw_fd())?.port();
    symlink(&target, listener.file(port))?;
    connect(control.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, listener.port()?))?;
    let control = Stream::new(control, "the listener")?;
    let opened = Recorder::on(control, "127.0.0.1", &trace, &Kind::default());
    check(opened.is_err(), || "a link is followed".to_owned())?;
    let line = listener.wait_for("there is a link of that name")?;
    check(line.contains(&format!(":{port}.dat")), || line.clone())?;
    check(fs::read_to_string(&target)? == "precious", || "it is written to".to_owned())?;
    // Others are not disturbed.
    let name = record(listener.port()?, &trace, &Kind::default())?;
    trace.is_in(&listener.file(name))?;
    listener.end(Signal::SIGTERM)
}
