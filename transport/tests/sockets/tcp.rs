//! TCP, IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io::Read, io::Write, thread};

use libtest_mimic::Trial;
use nix::sched::{CloneFlags, unshare};
use trace_transport::{Access, Address, Error, Interest, Listener, Peer, tcp};

use super::{accept, can_splice, exchange, soon, trial, trial_if};

pub(super) fn trials() -> Vec<Trial> {
    let no_v6 = TcpListener::bind("[::1]:0").err().map(|_| "needs IPv6 on loopback");
    let no_reference =
        Command::new("trace-cmd").arg("version").output().err().map(|_| "needs trace-cmd");
    vec![
        trial("tcp_v4", v4),
        trial_if(no_v6, "tcp_v6", v6),
        trial_if(no_v6, "v4_peer_of_a_v6_listener_is_v4", v4_over_v6),
        trial("a_port_is_free_again_at_once", free_at_once),
        trial("a_port_in_use_is_told", in_use),
        trial("a_refused_connection_names_the_address", refused),
        trial("a_peer_that_takes_nothing_is_given_up", silent_peer),
        trial_if(no_namespace(), "root_a_peer_whose_network_is_gone_is_given_up", vanished_peer),
        trial("spliced_to_a_file", spliced),
        trial_if(no_reference, "a_client_is_named_as_the_reference_names_it", named_alike),
    ]
}

fn listener(address: &str) -> Listener {
    Listener::bind(&address.parse().unwrap()).unwrap()
}

fn v4() {
    let listener = listener("127.0.0.1:0");
    let (peer, near, far) = exchange(&listener, listener.address());
    let Peer::Tcp(from) = peer else { panic!("{peer:?}") };
    assert_eq!(from.ip(), Ipv4Addr::LOCALHOST);
    assert_eq!(tcp::peer_address(&far), Some(from));
    let Address::Tcp { port, .. } = listener.address() else { panic!() };
    assert_eq!(tcp::peer_address(&near).map(|it| it.port()), Some(*port));
    assert_eq!(can_splice(&far), (true, true));
    assert!(near.peer().starts_with("127.0.0.1:"), "{}", near.peer());
}

fn v6() {
    let listener = listener("[::1]:0");
    let (peer, ..) = exchange(&listener, listener.address());
    let Peer::Tcp(from) = peer else { panic!("{peer:?}") };
    assert!(from.is_ipv6());
    assert_eq!(peer.to_string(), format!("[::1]:{}", from.port()));
    assert_eq!(peer.label(), format!("::1:{}", from.port()));
}

fn v4_over_v6() {
    let only_v6 = fs::read_to_string("/proc/sys/net/ipv6/bindv6only").unwrap();
    let listener = listener("[::]:0");
    let Address::Tcp { port, .. } = listener.address() else { panic!() };
    let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: *port };
    if only_v6.trim() == "1" {
        assert!(address.connect(soon()).is_err());
        return;
    }
    let (peer, ..) = exchange(&listener, &address);
    let Peer::Tcp(from) = peer else { panic!("{peer:?}") };
    assert_eq!(from.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let rules: Access = ["127.0.0.0/8".parse().unwrap()].into_iter().collect();
    assert!(rules.allows(&peer));
}

fn free_at_once() {
    let first = listener("127.0.0.1:0");
    let address = first.address().clone();
    let near = address.connect(soon()).unwrap();
    let (far, _) = accept(&first);
    // The side that closes first keeps the port in TIME_WAIT.
    drop((far, first));
    drop(near);
    assert_eq!(*Listener::bind(&address).unwrap().address(), address);
}

fn in_use() {
    let first = listener("127.0.0.1:0");
    let error = Listener::bind(first.address()).unwrap_err();
    assert_eq!(error.to_string(), format!("listening on {}", first.address()));
    let Error::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
}

fn refused() {
    let address = listener("127.0.0.1:0").address().clone();
    let error = address.connect(soon()).unwrap_err();
    assert_eq!(error.to_string(), format!("connecting to {address}"));
    let Error::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// To the sender a peer whose window stays shut is one that has vanished.
fn silent_peer() {
    let listener = listener("127.0.0.1:0");
    let mut near = listener.address().connect(soon()).unwrap();
    let (_far, _) = accept(&listener);
    tcp::set_peer_timeout(&near, Duration::from_secs(1)).unwrap();
    while near.try_write(&[0; 64 << 10]).unwrap().is_some() {}
    // The kernel looks at its clock only when it probes, which it does ever more seldom.
    let end = Instant::now() + Duration::from_secs(240);
    loop {
        assert!(Instant::now() < end, "still waiting for a peer that is gone");
        match near.try_write(&[0; 1]) {
            Ok(_) => thread::sleep(Duration::from_millis(20)),
            Err(e) => break assert_eq!(e.kind(), std::io::ErrorKind::TimedOut),
        }
    }
}

fn vanished_peer() {
    // The thread's network ends with it.
    thread::spawn(network_goes_away).join().unwrap();
}

/// Both ends in a network of their own, which goes away: one end has data on its way, the other only waits.
fn network_goes_away() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    ip("up");
    let listener = listener("127.0.0.1:0");
    let mut near = listener.address().connect(soon()).unwrap();
    let (mut far, _) = accept(&listener);
    for stream in [&near, &far] {
        tcp::set_peer_timeout(stream, Duration::from_secs(2)).unwrap();
    }
    near.write_all(b"arrives", soon()).unwrap();
    assert_eq!(far.read_some(&mut [0; 16], soon()).unwrap(), 7);
    ip("down");
    near.write_all(b"is lost", soon()).unwrap();
    for stream in [&mut near, &mut far] {
        let error = stream.read_some(&mut [0; 16], soon()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
    }
}

/// Brings the loopback of this thread's network up or down.
fn ip(state: &str) {
    let status = Command::new("ip").args(["link", "set", "lo", state]).status().unwrap();
    assert!(status.success(), "ip: {status}");
}

fn no_namespace() -> Option<&'static str> {
    if Command::new("ip").arg("-V").output().is_err() {
        return Some("needs ip (Debian package iproute2)");
    }
    let allowed = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join().unwrap();
    allowed.err().map(|_| "needs root, for a network namespace")
}

fn spliced() {
    use trace_transport::splice::{Moved, ToFile};
    let listener = listener("127.0.0.1:0");
    let mut near = listener.address().connect(soon()).unwrap();
    let (far, _) = accept(&listener);
    let sent: Vec<u8> = (0..3 << 20).map(|at: u32| (at / 977) as u8).collect();
    let expected = sent.clone();
    let sender = thread::spawn(move || near.write_all(&sent, soon()).unwrap());
    let mut file = tempfile::tempfile().unwrap();
    let mut to_file = ToFile::new().unwrap();
    let (mut at, mut counted) = (100, 0);
    loop {
        match to_file.step(&far, &file, &mut at, usize::MAX).unwrap() {
            Moved::Bytes(count) => counted += count,
            Moved::SourceEmpty => assert!(far.wait(Interest::Read, soon()).unwrap()),
            Moved::End => break,
            Moved::TargetFull => panic!("a file is never full for a moment"),
        }
    }
    sender.join().unwrap();
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!((counted, at), (3 << 20, 100 + (3 << 20)));
    assert!(bytes[100..] == expected);
}

/// A child that ends with the test.
struct Reference(Child);

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn named_alike() {
    let dir = tempfile::tempdir().unwrap();
    // The kernel gives none of these to others who ask for any.
    let mut ports = (10_000 + (std::process::id() % 20_000) as u16)..32_000;
    let port = ports.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).unwrap();
    let log = dir.path().join("log");
    let _reference = Reference(
        Command::new("trace-cmd")
            .args(["listen", "-p", &port.to_string(), "-d"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let end = soon();
    let mut client = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(client) => break client,
            Err(e) => assert!(!end.has_passed(), "{e}"),
        }
        thread::sleep(Duration::from_millis(10));
    };
    let mut greeting = [0; 8];
    client.read_exact(&mut greeting).unwrap();
    // Of a client that is no tracer the child prints the name, and ends.
    client.write_all(b"nonsense\0").unwrap();
    let peer = Peer::Tcp(client.local_addr().unwrap());
    drop(client);
    let wanted = format!("Connected with {}\n", peer.resolved_label());
    let end = soon();
    loop {
        let said = fs::read_to_string(&log).unwrap();
        if said.contains(&wanted) {
            break;
        }
        assert!(!end.has_passed(), "{said:?} has no {wanted:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
