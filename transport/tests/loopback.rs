//! The same exchange over each transport.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use trace_transport::message::Message;
use trace_transport::{Connection, Deadline, Error, Interest, Stream, fifo, tcp, unix};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(240))
}

/// Much data one way, in messages, with an answer at the end.
fn exchange(near: Stream, far: Stream) {
    let (mut near, mut far) = (Connection::new(near), Connection::new(far));
    let sender = std::thread::spawn(move || {
        let payload = [0xa5; 8180];
        for _ in 0..200 {
            near.send(&Message::SendData(&payload), soon()).unwrap();
        }
        near.send(&Message::FinData, soon()).unwrap();
        assert_eq!(near.receive(soon()).unwrap(), Message::CloseResp);
    });
    let mut bytes = 0;
    loop {
        match far.receive(soon()).unwrap() {
            Message::SendData(data) => bytes += data.len(),
            Message::FinData => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bytes, 200 * 8180);
    far.send(&Message::CloseResp, soon()).unwrap();
    sender.join().unwrap();
    assert!(matches!(far.receive(soon()), Err(Error::Closed { .. })));
}

#[test]
fn unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = unix::Listener::bind(&path).unwrap();
    assert!(listener.accept().unwrap().is_none());
    let near = unix::connect(&path).unwrap();
    let (far, process) = listener.accept().unwrap().unwrap();
    assert_eq!(process.pid, std::process::id().cast_signed());
    exchange(near, far);
    drop(listener);
    assert!(!path.exists(), "the socket goes with its listener");
}

#[test]
fn plain_tcp() {
    let listener = tcp::Listener::bind("127.0.0.1", 0).unwrap();
    let near = tcp::connect("127.0.0.1", listener.address().port(), soon()).unwrap();
    let start = Instant::now();
    let (far, _) = loop {
        if let Some(accepted) = listener.accept().unwrap() {
            break accepted;
        }
        assert!(start.elapsed() < Duration::from_secs(240));
    };
    exchange(near, far);
}

#[test]
fn a_fifo_is_read_without_waiting_for_its_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(fifo::open_write(&path).is_err(), "nobody reads yet");
    let mut read = fifo::open_read(&path).unwrap();
    fifo::set_capacity(&read, 64 << 10).unwrap();
    let mut write = fifo::open_write(&path).unwrap();
    write.write_all(b"sub-buffer", soon()).unwrap();
    assert!(read.wait(Interest::Read, soon()).unwrap());
    let mut buffer = [0; 32];
    assert_eq!(read.read_some(&mut buffer, soon()).unwrap(), 10);
    assert_eq!(read.try_read(&mut buffer).unwrap(), None);
    // A second reader would take half of it.
    let error = fifo::open_read(&path).unwrap_err();
    assert!(
        matches!(&error, Error::Io { source, .. } if source.to_string().contains("reads from it")),
        "{error}"
    );
    write.write_all(&[1; 5000], soon()).unwrap();
    assert_eq!(fifo::empty(&mut read).unwrap(), 5000);
    drop(read);
    assert!(fifo::open_read(&path).is_ok());
}

#[test]
fn what_is_no_fifo_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(fifo::open_read(file.path()), Err(Error::Kind { .. })));
}
