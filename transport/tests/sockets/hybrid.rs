//! Hybrid vsock, with a virtual machine monitor that is played.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libtest_mimic::Trial;
use trace_transport::{Address, Deadline, Error, Listener, Peer, Stream};

use super::{exchange, soon, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("hybrid_vsock_to_a_guest", to_a_guest),
        trial("hybrid_vsock_from_a_guest", from_a_guest),
        trial("hybrid_vsock_refusals_are_told", refusals),
        trial("hybrid_vsock_silence_ends_at_the_deadline", silence),
    ]
}

/// Plays the monitor for one connection; hands the connection and the line it got on to `answer`.
fn monitor<T: Send + 'static>(
    path: &Path,
    answer: impl FnOnce(UnixStream, String) -> T + Send + 'static,
) -> JoinHandle<T> {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&socket).read_line(&mut line).unwrap();
        answer(socket, line)
    })
}

fn connect(path: &Path, deadline: Deadline) -> Result<Stream, Error> {
    Address::Hybrid { path: path.to_owned(), port: 823 }.connect(deadline)
}

fn to_a_guest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.vsock");
    let monitor = monitor(&path, |mut socket, line| {
        // The guest's first bytes may come with the answer.
        socket.write_all(b"OK 1073741824\ntracecmd").unwrap();
        line
    });
    let mut stream = connect(&path, soon()).unwrap();
    assert_eq!(monitor.join().unwrap(), "CONNECT 823\n");
    let mut greeting = [0; 16];
    assert_eq!(stream.read_some(&mut greeting, soon()).unwrap(), 8);
    assert_eq!(&greeting[..8], b"tracecmd");
    assert_eq!(stream.peer(), format!("unix:{}:823", path.display()));
}

fn from_a_guest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.vsock");
    let listener = Listener::bind(&Address::Hybrid { path, port: 1234 }).unwrap();
    let there = Address::Unix(dir.path().join("vm.vsock_1234"));
    let (peer, ..) = exchange(&listener, &there);
    assert!(matches!(peer, Peer::Unix(process) if process.pid > 0), "{peer:?}");
}

fn refusals() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hangs-up");
    let hung_up = monitor(&path, |socket, _| drop(socket));
    let error = connect(&path, soon()).unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    hung_up.join().unwrap();

    for (name, answer, told) in [
        ("no", &b"NO 823\n"[..], "NO 823"),
        ("endless", &[b'x'; 4096], &*"x".repeat(64)),
        ("cut", b"OK\n", "OK"),
    ] {
        let path = dir.path().join(name);
        let monitor = monitor(&path, move |mut socket, _| {
            let _ = socket.write_all(answer);
        });
        let error = connect(&path, soon()).unwrap_err();
        let address = path.display();
        assert_eq!(
            error.to_string(),
            format!("connecting to unix:{address}:823: answered {told:?} instead of \"OK\"")
        );
        monitor.join().unwrap();
    }
}

fn silence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silent");
    let monitor = monitor(&path, |socket, _| socket);
    let error = connect(&path, Deadline::after(Duration::from_millis(100))).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    // On a busy machine the time may have passed before anybody connected: that it would wait for.
    drop(monitor);
}
