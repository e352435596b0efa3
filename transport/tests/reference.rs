//! Our recorder's side against the C `trace-cmd listen`, where that is installed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use trace_transport::session::{
    Extensions, Opened, Protocol, Sender, SenderConfig, SenderEvent, Timeouts, Version,
};

/// Longer than any step takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let is_there = Command::new("trace-cmd").arg("--help").output().is_ok();
    let trial = |name, version, protocol| {
        Trial::ignorable_test(name, move || {
            if !is_there {
                return Ok(Completion::ignored_with("needs trace-cmd"));
            }
            open(version, protocol).map(|()| Completion::Completed)
        })
    };
    let trials = vec![
        trial("v1_udp", Version::V1, Protocol::Udp),
        trial("v1_tcp", Version::V1, Protocol::Tcp),
        trial("v3_udp", Version::V3, Protocol::Udp),
        trial("v3_tcp", Version::V3, Protocol::Tcp),
    ];
    libtest_mimic::run(&one_at_a_time(), trials).exit_code()
}

/// Its listeners all look for free ports from the same one on.
fn one_at_a_time() -> Arguments {
    Arguments { test_threads: Some(1), ..Arguments::from_args() }
}

/// Asks for everything, and gets ports.
fn open(version: Version, protocol: Protocol) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (listener, port) = Listener::start(folder.path())?;
    let mut stream = connect(port)?;
    let config = SenderConfig {
        cpus: 3,
        page_size: 4096,
        protocol,
        version,
        extensions: Extensions::ALL,
        key: None,
        timeouts: Timeouts { step: TIMEOUT, ..Timeouts::default() },
    };
    let mut sender = Sender::new(config, Instant::now())?;
    let opened = loop {
        if let Some(event) = sender.next(Instant::now())? {
            let SenderEvent::Opened(opened) = event else {
                return Err(format!("{event:?}").into());
            };
            break opened;
        }
        let count = stream.write(sender.output())?;
        sender.sent(count);
        if sender.output().is_empty() {
            match stream.read(sender.space()) {
                Ok(0) => sender.hung_up(),
                Ok(count) => sender.filled(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        sender.on_time(Instant::now())?;
    };
    let Opened { ports, extensions, .. } = &opened;
    assert_eq!((opened.version, opened.protocol), (version, protocol));
    assert_eq!((ports.len(), *extensions), (3, Extensions::NONE));
    sender.close(Instant::now())?;
    assert_eq!(sender.next(Instant::now())?, Some(SenderEvent::Done));
    drop(listener);
    Ok(())
}

/// A running `trace-cmd listen`.
struct Listener(Child);

impl Listener {
    fn start(folder: &Path) -> Result<(Self, u16), Failed> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let child = Command::new("trace-cmd")
            .args(["listen", "-p", &port.to_string(), "-d"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok((Self(child), port))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It has children, which outlive it. Where all have ended there is no group any more.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

fn connect(port: u16) -> Result<TcpStream, Failed> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) if start.elapsed() > TIMEOUT => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
