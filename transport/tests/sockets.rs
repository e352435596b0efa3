//! Every transport over real sockets of this machine.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "sockets/hybrid.rs"]
mod hybrid;
#[path = "sockets/local.rs"]
mod local;
#[path = "sockets/tcp.rs"]
mod tcp;
#[path = "sockets/udp.rs"]
mod udp;
#[path = "sockets/vsock.rs"]
mod vsock;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Trial};
use trace_transport::{Address, Deadline, Interest, Listener, Peer, Stream};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = [tcp::trials(), local::trials(), hybrid::trials(), udp::trials(), vsock::trials()];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// A test that asserts.
fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        test();
        Ok(())
    })
}

/// A test that counts as skipped when this machine lacks something.
fn trial_if(
    missing: Option<&'static str>,
    name: &str,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match missing {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => {
            test();
            Ok(Completion::Completed)
        }
    })
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(240))
}

fn accept(listener: &Listener) -> (Stream, Peer) {
    let end = soon();
    while !end.has_passed() {
        if let Some(accepted) = listener.accept().unwrap() {
            return accepted;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nobody connected to {}", listener.address());
}

/// Connects to a listener and sends a megabyte each way; returns who connected, and both ends.
fn exchange(listener: &Listener, address: &Address) -> (Peer, Stream, Stream) {
    let mut near = address.connect(soon()).unwrap();
    let (mut far, peer) = accept(listener);
    assert_eq!(far.peer(), peer.to_string());
    let sender = std::thread::spawn(move || {
        near.write_all(&[0x5a; 1 << 20], soon()).unwrap();
        read_exactly(&mut near, 1 << 20, 0xa5);
        near
    });
    read_exactly(&mut far, 1 << 20, 0x5a);
    far.write_all(&[0xa5; 1 << 20], soon()).unwrap();
    (peer, sender.join().unwrap(), far)
}

fn read_exactly(stream: &mut Stream, count: usize, expected: u8) {
    let mut buffer = vec![0; 64 << 10];
    let mut left = count;
    while left > 0 {
        let room = left.min(buffer.len());
        let got = stream.read_some(&mut buffer[..room], soon()).unwrap();
        assert!(got > 0, "the stream ended {left} bytes early");
        assert!(buffer[..got].iter().all(|byte| *byte == expected));
        left -= got;
    }
}

fn can_splice(stream: &Stream) -> (bool, bool) {
    (stream.can_splice(Interest::Read), stream.can_splice(Interest::Write))
}
