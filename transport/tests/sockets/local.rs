//! UNIX sockets, FIFOs and what is neither.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use libtest_mimic::Trial;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use trace_transport::{Address, Deadline, Error, Interest, Listener, Peer, fifo};

use super::{can_splice, exchange, soon, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("unix_socket_tells_the_process", unix_socket),
        trial("a_socket_that_a_killed_process_left_is_replaced", stale),
        trial("a_socket_that_is_in_use_is_not_replaced", in_use),
        trial("a_full_queue_ends_at_the_deadline", full_queue),
        trial("a_fifo_waits_for_its_reader", waiting_fifo),
        trial("a_plain_file_is_no_port", plain_file),
        trial("nobody_listens_on_a_port_s_path", no_listening),
    ]
}

fn unix(path: &Path) -> Address {
    Address::Unix(path.to_owned())
}

fn unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let address = unix(&dir.path().join("socket"));
    let listener = Listener::bind(&address).unwrap();
    let (peer, _near, far) = exchange(&listener, &address);
    let Peer::Unix(process) = peer else { panic!("{peer:?}") };
    assert_eq!(process.pid, std::process::id().cast_signed());
    assert_eq!(process.uid, nix::unistd::geteuid().as_raw());
    assert_eq!(can_splice(&far), (true, true));
}

fn stale() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    // The standard library's listener leaves its socket behind.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = Listener::bind(&unix(&path)).unwrap();
    exchange(&listener, &unix(&path));
}

fn in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let kind = |error: Error| match error {
        Error::Io { source, .. } => source.kind(),
        other => panic!("{other}"),
    };
    let first = Listener::bind(&unix(&path)).unwrap();
    assert_eq!(kind(Listener::bind(&unix(&path)).unwrap_err()), ErrorKind::AddrInUse);
    // Being asked left a connection that has gone already; the next one works.
    drop(first.accept().unwrap());
    exchange(&first, &unix(&path));
    let file = dir.path().join("file");
    fs::write(&file, "kept").unwrap();
    assert_eq!(kind(Listener::bind(&unix(&file)).unwrap_err()), ErrorKind::AddrInUse);
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

fn full_queue() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let server =
        socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(server.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&server, Backlog::new(0).unwrap()).unwrap();
    let _first = unix(&path).connect(soon()).unwrap();
    let error = unix(&path).connect(Deadline::after(Duration::from_millis(50))).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
}

fn waiting_fifo() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let address = Address::Path(path.clone());
    let error = address.connect(Deadline::after(Duration::from_millis(30))).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    let writer = thread::spawn(move || address.connect(soon()).unwrap());
    thread::sleep(Duration::from_millis(20));
    let mut reader = fifo::open_read(&path).unwrap();
    let mut writer = writer.join().unwrap();
    assert!(writer.can_splice(Interest::Write));
    writer.write_all(b"page", soon()).unwrap();
    assert_eq!(reader.read_some(&mut [0; 9], soon()).unwrap(), 4);
}

fn plain_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Address::Path(file.path().to_owned()).connect(soon()).unwrap_err();
    assert!(matches!(error, Error::Kind { .. }), "{error}");
}

fn no_listening() {
    let error = Listener::bind(&"/dev/vport0p1".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "/dev/vport0p1 is not a socket's address, to listen on");
}
