//! Datagrams.

use std::net::SocketAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use trace_transport::udp::{MAX_DATAGRAM, Receiver, Sender, Slab};
use trace_transport::{Deadline, Error};

use super::{soon, trial, trial_if};

pub(super) fn trials() -> Vec<Trial> {
    let no_v6 = std::net::UdpSocket::bind("[::1]:0").err().map(|_| "needs IPv6 on loopback");
    vec![
        trial("udp_keeps_bounds_and_order_on_loopback", || bounds("127.0.0.1:0", false)),
        trial("udp_keeps_bounds_where_datagrams_come_together", || bounds("127.0.0.1:0", true)),
        trial_if(no_v6, "udp_v6", || bounds("[::1]:0", true)),
        trial("udp_drops_of_the_kernel_are_counted", drops),
        trial("udp_takes_from_one_sender_only", one_sender),
        trial_if(no_v6, "udp_v4_to_a_v6_receiver", v4_to_v6),
        trial("udp_too_large_is_refused_before_anything_is_sent", too_large),
        trial("udp_says_that_nobody_listens", nobody),
        trial("udp_buffer_is_as_large_as_it_says", buffer),
    ]
}

fn receiver(address: &str) -> Receiver {
    Receiver::bind(address.parse().unwrap(), 4 << 20).unwrap()
}

/// Whether something came within a while.
fn wait(receiver: &Receiver, patience: Duration) -> bool {
    let mut fds = [PollFd::new(receiver.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::try_from(patience).unwrap()).unwrap() > 0
}

/// All there is until `count` came.
fn receive(receiver: &Receiver, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut slab = Slab::new();
    let mut got = Vec::new();
    while got.len() < count {
        assert!(wait(receiver, Duration::from_secs(240)), "{} of {count} came", got.len());
        let batch = receiver.receive(&mut slab).unwrap();
        for datagram in batch.datagrams() {
            assert!(!datagram.truncated);
            got.push((datagram.from, datagram.bytes.to_vec()));
        }
    }
    got
}

/// Sizes that go together and sizes that do not: runs, a smaller one at a run's end, empty ones, the largest.
const SIZES: &[usize] = &[
    4120,
    4120,
    4120,
    4120,
    4120,
    100,
    0,
    0,
    4120,
    4120,
    9,
    10,
    10,
    11,
    MAX_DATAGRAM,
    1,
    MAX_DATAGRAM,
    0,
];

fn bounds(address: &str, together: bool) {
    let receiver = receiver(address);
    if together {
        receiver.coalesce().unwrap();
    }
    let mut sender = Sender::connect(receiver.address()).unwrap();
    for round in 0..8_u8 {
        let sizes: Vec<usize> = SIZES.iter().chain(&[4104; 90]).copied().collect();
        let payloads: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(at, size)| (0..*size).map(|byte| byte as u8 ^ at as u8 ^ round).collect())
            .collect();
        let parts: Vec<[&[u8]; 2]> = payloads
            .iter()
            .map(|payload| {
                let (head, rest) = payload.split_at(payload.len().min(8));
                [head, rest]
            })
            .collect();
        sender.send(&parts, soon()).unwrap();
        let got = receive(&receiver, sizes.len());
        assert_eq!(got.len(), sizes.len());
        for (at, ((from, bytes), payload)) in got.iter().zip(&payloads).enumerate() {
            assert_eq!(*from, sender.address().unwrap());
            assert!(bytes == payload, "datagram {at}: {} of {} bytes", bytes.len(), payload.len());
        }
    }
    assert_eq!(receiver.dropped().unwrap(), 0);
    assert!(receiver.receive(&mut Slab::new()).unwrap().is_empty());
}

fn drops() {
    let receiver = Receiver::bind("127.0.0.1:0".parse().unwrap(), 64 << 10).unwrap();
    let mut sender = Sender::connect(receiver.address()).unwrap();
    let payload = [7; 4096];
    let sent = 640;
    for _ in 0..10 {
        sender.send(&[[b"", payload.as_slice()]; 64], soon()).unwrap();
    }
    let mut slab = Slab::new();
    let mut received = 0;
    let end = soon();
    // On a busy machine some are on their way even on loopback when their sender goes on.
    let dropped = loop {
        received += receiver.receive(&mut slab).unwrap().datagrams().count();
        let dropped = receiver.dropped().unwrap() as usize;
        assert!(received + dropped <= sent, "{received} received, {dropped} dropped of {sent}");
        if received + dropped == sent {
            break dropped;
        }
        assert!(!end.has_passed(), "{received} received, {dropped} dropped of {sent}");
    };
    assert!(received > 0 && dropped > 0, "{received} received, {dropped} dropped");
}

fn one_sender() {
    let receiver = receiver("127.0.0.1:0");
    let mut wanted = Sender::connect(receiver.address()).unwrap();
    let mut other = Sender::connect(receiver.address()).unwrap();
    receiver.accept_only(wanted.address().unwrap()).unwrap();
    // Its machine answers that this port is closed to it, now or at the next.
    let _ = other.send(&[[b"false", b""]], soon());
    wanted.send(&[[b"true", b""]], soon()).unwrap();
    let got = receive(&receiver, 1);
    assert_eq!(got, [(wanted.address().unwrap(), b"true".to_vec())]);
    assert!(!wait(&receiver, Duration::from_millis(20)));
}

fn v4_to_v6() {
    let receiver = receiver("[::]:0");
    let address = SocketAddr::from(([127, 0, 0, 1], receiver.address().port()));
    let mut sender = Sender::connect(address).unwrap();
    let only_v6 = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only").unwrap();
    if only_v6.trim() == "1" {
        return;
    }
    let from = sender.address().unwrap();
    receiver.accept_only(from).unwrap();
    sender.send(&[[b"mapped", b""]], soon()).unwrap();
    assert_eq!(receive(&receiver, 1), [(from, b"mapped".to_vec())]);
}

fn too_large() {
    let receiver = receiver("127.0.0.1:0");
    let mut sender = Sender::connect(receiver.address()).unwrap();
    let much = vec![0; MAX_DATAGRAM];
    let error = sender.send(&[[b"", b"small"], [b"1", &much]], soon()).unwrap_err();
    assert!(matches!(error, Error::Datagram { size, .. } if size == MAX_DATAGRAM + 1), "{error}");
    assert!(!wait(&receiver, Duration::from_millis(20)));
    assert!(sender.check_size(8 + (64 << 10)).is_err());
    assert!(sender.check_size(8 + 4096).is_ok());
}

fn nobody() {
    let address = receiver("127.0.0.1:0").address();
    let mut sender = Sender::connect(address).unwrap();
    let end = soon();
    let error = loop {
        assert!(!end.has_passed(), "the answer of the closed port has not come");
        if let Err(error) = sender.send(&[[b"x", b""]], Deadline::NEVER) {
            break error;
        }
    };
    assert!(matches!(error, Error::Closed { .. }), "{error}");
}

fn buffer() {
    let small = Receiver::bind("127.0.0.1:0".parse().unwrap(), 64 << 10).unwrap().buffer();
    let large = receiver("127.0.0.1:0").buffer();
    assert!(small >= 64 << 10, "{small}");
    assert!(large > small, "{large}");
}
