//! vsock, where the kernel has a loopback for it.

use std::time::Duration;

use libtest_mimic::{Completion, Trial};
use trace_transport::{Access, Address, Deadline, Error, Listener, Peer, vsock};

use super::{can_splice, exchange, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        // Asked only when it is its turn: a kernel may take seconds to say that nobody is there.
        Trial::ignorable_test("vsock_loopback", || match missing() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => {
                loopback();
                Ok(Completion::Completed)
            }
        }),
        trial("vsock_says_what_the_kernel_lacks", lacks),
    ]
}

const ANY_PORT: u32 = u32::MAX;

fn to_myself(port: u32, deadline: Deadline) -> Result<(), Error> {
    Address::Vsock { cid: vsock::CID_LOCAL, port }.connect(deadline).map(drop)
}

fn missing() -> Option<&'static str> {
    let Ok(listener) = Listener::bind(&Address::Vsock { cid: vsock::CID_ANY, port: ANY_PORT })
    else {
        return Some("needs vsock in the kernel");
    };
    let Address::Vsock { port, .. } = listener.address() else {
        return Some("needs vsock in the kernel");
    };
    let answer = to_myself(*port, Deadline::after(Duration::from_secs(3)));
    answer.err().map(|_| "needs vsock_loopback")
}

fn loopback() {
    let listener = Listener::bind(&Address::Vsock { cid: vsock::CID_ANY, port: ANY_PORT }).unwrap();
    let &Address::Vsock { port, .. } = listener.address() else { panic!() };
    let (peer, _near, far) = exchange(&listener, &Address::Vsock { cid: vsock::CID_LOCAL, port });
    let Peer::Vsock { cid, port } = peer else { panic!("{peer:?}") };
    assert_eq!(cid, vsock::CID_LOCAL);
    assert_eq!(peer.label(), format!("V1:{port}"));
    assert_eq!(can_splice(&far), (false, false));
    let only_guests: Access = ["vsock:3".parse().unwrap()].into_iter().collect();
    assert!(!only_guests.allows(&peer));
}

/// Nobody listens on this port, so whatever the kernel has, the error says why there is no connection.
fn lacks() {
    let error = to_myself(ANY_PORT - 1, Deadline::after(Duration::from_secs(3))).unwrap_err();
    match &error {
        Error::Unsupported { .. } => assert!(error.to_string().contains("modprobe"), "{error}"),
        Error::Closed { .. } | Error::Io { .. } | Error::TimedOut { .. } => {
            assert!(error.to_string().starts_with("connecting to vsock:1:"), "{error}");
        }
        other => panic!("{other}"),
    }
}
