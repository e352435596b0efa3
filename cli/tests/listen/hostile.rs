//! Recorders that hang, lie, die or flood cost their own file only.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use trace_transport::Key;
use trace_transport::session::Instance;

use crate::common::check;
use crate::common::listener::{Listener, eventually};
use crate::recorder::{Kind, Recorder, record};
use crate::trace::Trace;

/// The port at this end.
fn own_port(stream: &TcpStream) -> Result<u16, Failed> {
    Ok(stream.local_addr()?.port())
}

/// Opens a session that goes on beside others; [`Beside::end_complete`] ends it.
struct Beside {
    recorder: Recorder,
    trace: Trace,
}

impl Beside {
    fn start(listener: &Listener) -> Result<Self, Failed> {
        let trace = Trace::new(77)?;
        let mut recorder = Recorder::open("127.0.0.1", listener.port()?, &trace, &Kind::default())?;
        recorder.head(&trace)?;
        Ok(Self { recorder, trace })
    }

    fn end_complete(self, listener: &Listener) -> Result<u16, Failed> {
        let port = self.recorder.port()?;
        self.recorder.send(&self.trace)?;
        let account = self.recorder.close(&self.trace)?;
        check(account.bytes == self.trace.size(), || format!("{account:?}"))?;
        self.trace.is_in(&listener.file(port))?;
        Ok(port)
    }
}

/// Bytes that end a session at once, and what the listener says to them.
pub(crate) fn garbage() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let beside = Beside::start(&listener)?;
    let frame = |size: u32, command: u32, fixed: u32, data: &[u8]| {
        [&size.to_be_bytes()[..], &command.to_be_bytes(), &fixed.to_be_bytes(), data].concat()
    };
    let v3 = b"-1V3\x00766679\0\0".as_slice();
    let tinit = |cpus: u32, page: u32| {
        let words = [cpus, page, 1].map(u32::to_be_bytes).concat();
        [v3, &frame(28, 1, 12, &[&words[..], b"tcp\0"].concat())].concat()
    };
    let cases: &[(Vec<u8>, &str)] = &[
        (b"GET / HTTP/1.1\r\n\r\n\0".to_vec(), "number of CPUs"),
        (vec![0xff; 100_000], "version"),
        (b"-1V9\0-1V8\0".to_vec(), "V8"),
        (b"-1V3\x00123456\0\0".to_vec(), "766679"),
        (b"99999\x004096\x000\0".to_vec(), "number of CPUs"),
        (b"0\x004096\x000\0".to_vec(), "number of CPUs"),
        (b"2\x004294967295\x000\0".to_vec(), "page size"),
        (b"2\x004096\x009999\0".to_vec(), "number of options"),
        (tinit(u32::MAX, 4096), "number of CPUs"),
        (tinit(2, 0), "page size"),
        (tinit(2, u32::MAX), "page size"),
        ([v3, &frame(u32::MAX, 1, 12, &[])].concat(), "4294967295"),
        ([v3, &frame(4, 1, 12, &[])].concat(), "message size 4"),
        ([v3, &frame(12, 999, 0, &[])].concat(), "999"),
        ([v3, &frame(12, 0, 0, &[])].concat(), "CLOSE"),
        ([tinit(2, 4096), frame(12, 4, 0, &[])].concat(), "no head"),
        (
            [tinit(2, 4096), frame(22, 3, 0, b"not a head"), frame(12, 4, 0, &[])].concat(),
            "no head of a trace",
        ),
    ];
    for (bytes, said) in cases {
        let mut stream = listener.connect()?;
        let port = own_port(&stream)?;
        // It may be answered before all of it is taken.
        let _ = stream.write_all(bytes);
        let outcome = listener.outcome(port)?;
        check(outcome.contains(said) && outcome.contains("nothing to keep"), || {
            format!("{}: {outcome}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]))
        })?;
    }
    let port = beside.end_complete(&listener)?;
    listener.is_idle()?;
    let names = listener.names()?;
    check(names == [format!("trace.localhost:{port}.dat")], || format!("left: {names:?}"))?;
    listener.end(Signal::SIGTERM)
}

/// Recorders that go away: what came is in the file.
pub(crate) fn deaths() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let port = listener.port()?;
    let beside = Beside::start(&listener)?;
    let trace = Trace::new(1)?;
    let mut kept = Vec::new();
    for what in ["control", "data", "both"] {
        let mut recorder = Recorder::open("127.0.0.1", port, &trace, &Kind::default())?;
        let name = recorder.port()?;
        recorder.head(&trace)?;
        let [first, second] = trace.streams()[..] else { return Err("two CPUs".into()) };
        let cut = 3 * 4096 + 100;
        let mut data = recorder.data(0, recorder.opened.ports[0])?;
        let mut other = recorder.data(1, recorder.opened.ports[1])?;
        data.write_all(&first[..cut])?;
        other.write_all(second)?;
        match what {
            "control" => drop(recorder),
            "both" => drop((recorder, data, other)),
            // Its sender says in the end that it sent more.
            _ => {
                drop(data);
                let account = recorder.close(&trace)?;
                let missing = trace.size() - 3 * 4096 - second.len() as u64;
                check(account.lost == missing, || format!("{account:?}, {missing} missing"))?;
            }
        }
        let outcome = listener.outcome(name)?;
        let told = if what == "data" { "bytes lost on the way" } else { "ended early" };
        check(outcome.contains(told), || format!("{what}: {outcome}"))?;
        kept.push((name, [3 * 4096, second.len()]));
    }
    // Before it has said what it is.
    for bytes in [&b""[..], b"-1", b"-1V3\0", b"-1V3\x00766679\0\0"] {
        let mut stream = listener.connect()?;
        stream.write_all(bytes)?;
        let port = own_port(&stream)?;
        drop(stream);
        listener.outcome(port)?;
    }
    beside.end_complete(&listener)?;
    listener.is_idle()?;
    for (port, counts) in kept {
        trace.is_cut_in(&listener.file(port), &counts)?;
    }
    check(listener.names()?.len() == 4, || format!("{:?}", listener.names()))?;
    listener.end(Signal::SIGINT)
}

/// Recorders that say nothing more at some step.
pub(crate) fn hangs() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let port = listener.port()?;
    let trace = Trace::new(2)?;
    let mut hanging = Vec::new();
    for (bytes, step) in [
        (&b""[..], "the version"),
        (b"-1V3", "the version"),
        (b"-1V3\0", "the magic number"),
        (b"-1V3\x00766679\0\0", "TINIT"),
        (b"-1V3\x00766679\0\0\0\0\0", "TINIT"),
        (b"2\x004096\0", "the words of version 1"),
    ] {
        let mut stream = listener.connect()?;
        stream.write_all(bytes)?;
        hanging.push((stream, step));
    }
    let silent = Recorder::open("127.0.0.1", port, &trace, &Kind::default())?;
    let mut half = Recorder::open("127.0.0.1", port, &trace, &Kind::default())?;
    half.put(&trace.head[..100])?;
    for (seed, _) in (10..).zip(0..3) {
        let other = Trace::new(seed)?;
        let name = record(port, &other, &Kind::default())?;
        other.is_in(&listener.file(name))?;
    }
    for (stream, step) in &hanging {
        let outcome = listener.outcome(own_port(stream)?)?;
        check(outcome.contains(&format!("timed out waiting for {step}")), || outcome.clone())?;
    }
    for recorder in [silent, half] {
        let outcome = listener.outcome(recorder.port()?)?;
        check(outcome.contains("timed out waiting for metadata"), || outcome.clone())?;
    }
    listener.is_idle()?;
    check(listener.names()?.len() == 3, || format!("{:?}", listener.names()))?;
    listener.end(Signal::SIGTERM)
}

/// More than may be.
pub(crate) fn floods() -> Result<(), Failed> {
    let mut listener = Listener::start(&["--max-client-size", "64k", "--max-total-size", "1M"])?;
    let port = listener.port()?;
    let trace = Trace::new(3)?;
    check(trace.size() > 64 << 10, || "too small".to_owned())?;
    let mut small = Trace::new(4)?;
    small = Trace::of(
        tracedat::testing::Workload { events_per_cpu: 100, ..small.workload },
        tracedat::write::Version::V7,
        tracedat::compress::Codec::None,
    )?;
    let mut total = 0;
    let mut reached = false;
    for _ in 0..40 {
        let name = record(port, &small, &Kind::default())?;
        small.is_in(&listener.file(name))?;
        total += small.size();
        let mut flood = Recorder::open("127.0.0.1", port, &trace, &Kind::default())?;
        let name = flood.port()?;
        flood.head(&trace)?;
        // It is broken off.
        let _ = flood.send(&trace);
        let outcome = listener.outcome(name)?;
        reached = outcome.contains("for all clients");
        check(reached || outcome.contains("the limit of bytes for one client is reached"), || {
            outcome.clone()
        })?;
        let error = flood.next().err().unwrap_or_default();
        check(error.contains("limit of bytes"), || error)?;
        let size: u64 = outcome
            .split_whitespace()
            .find_map(|word| word.parse().ok())
            .ok_or_else(|| outcome.clone())?;
        check(size <= 64 << 10, || outcome.clone())?;
        total += size;
        check(total <= 1 << 20, || format!("{total} bytes in all"))?;
        if fs::metadata(listener.file(name)).is_ok() {
            tracedat::Reader::open(listener.file(name))?;
        }
        if reached || total + small.size() > 1 << 20 {
            break;
        }
    }
    check(reached || total > (1 << 20) - (small.size() + (64 << 10)), || {
        format!("{total} bytes in all")
    })?;
    listener.end(Signal::SIGTERM)
}

/// More than may be at the same time, and those from elsewhere.
pub(crate) fn crowds() -> Result<(), Failed> {
    let mut listener = Listener::start(&["--max-clients", "2", "--allow", "127.0.0.1/32"])?;
    let port = listener.port()?;
    let (one, two) = (Beside::start(&listener)?, Beside::start(&listener)?);
    let trace = Trace::new(5)?;
    let error = Recorder::open("127.0.0.1", port, &trace, &Kind::default()).err();
    let error = error.unwrap_or_default();
    check(error.contains("as many clients as it may have"), || error)?;
    one.end_complete(&listener)?;
    eventually("its place is not free", || Ok(record(port, &trace, &Kind::default()).is_ok()))?;
    two.end_complete(&listener)?;
    listener.end(Signal::SIGTERM)?;

    let mut listener = Listener::start(&["--allow", "192.0.2.0/24"])?;
    let mut stream = listener.connect()?;
    let _ = stream.write_all(b"-1V3\0");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    check(answer.is_empty(), || format!("{answer:?}"))?;
    listener.wait_for("it is not among those allowed")?;
    check(listener.names()?.is_empty(), || format!("{:?}", listener.names()))?;
    listener.end(Signal::SIGTERM)
}

fn key_file(dir: &Path, name: &str, byte: u8) -> Result<Arc<Key>, Failed> {
    let path = dir.join(name);
    fs::write(&path, [byte; 32])?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(Arc::new(Key::read(&path)?))
}

/// Who does not know the key gets nothing, and disturbs nobody who does.
pub(crate) fn keys() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let (right, wrong) = (key_file(dir.path(), "right", 1)?, key_file(dir.path(), "wrong", 2)?);
    let path = dir.path().join("right");
    let mut listener = Listener::start(&["--key-file", &path.to_string_lossy()])?;
    let port = listener.port()?;
    let trace = Trace::new(6)?;
    let with = |key: Option<&Arc<Key>>| Kind { key: key.map(Arc::clone), ..Kind::default() };
    let name = record(port, &trace, &with(Some(&right)))?;
    trace.is_in(&listener.file(name))?;
    let plain = Kind { is_plain: true, ..Kind::default() };
    let v1 = Kind { v1: true, ..Kind::default() };
    for (kind, ours) in [(&with(Some(&wrong)), "another key"), (&with(None), "a key is required")] {
        let error = Recorder::open("127.0.0.1", port, &trace, kind).err().unwrap_or_default();
        check(error.contains(ours), || error)?;
    }
    for kind in [&plain, &v1] {
        check(Recorder::open("127.0.0.1", port, &trace, kind).is_err(), || "let in".to_owned())?;
    }
    listener.wait_for("the other side has no key, and here one is required")?;

    // Others connect to its ports first: without a token, with a wrong one, with that of another
    // stream.
    let mut recorder = Recorder::open("127.0.0.1", port, &trace, &with(Some(&right)))?;
    let name = recorder.port()?;
    recorder.head(&trace)?;
    let ports = recorder.opened.ports.clone();
    let silent = TcpStream::connect(("127.0.0.1", ports[0]))?;
    let mut liar = TcpStream::connect(("127.0.0.1", ports[0]))?;
    liar.write_all(&[7; 5000])?;
    let mut another = recorder.data(1, ports[0])?;
    another.write_all(&[7; 5000])?;
    recorder.send(&trace)?;
    let account = recorder.close(&trace)?;
    check(account.bytes == trace.size() && account.lost == 0, || format!("{account:?}"))?;
    trace.is_in(&listener.file(name))?;
    drop((silent, liar, another));
    listener.is_idle()?;
    check(listener.names()?.len() == 2, || format!("{:?}", listener.names()))?;
    listener.end(Signal::SIGTERM)
}

/// Data that is not its session's: from another host, or a second connection to a port.
pub(crate) fn strangers() -> Result<(), Failed> {
    let mut listener = Listener::start_in(TempDir::new()?, &["--bind", "0.0.0.0", "-p", "0"])?;
    let port = listener.port()?;
    let trace = Trace::new(8)?;
    let mut recorder = Recorder::open("127.0.0.1", port, &trace, &Kind::default())?;
    let name = recorder.port()?;
    recorder.head(&trace)?;
    let ports = recorder.opened.ports.clone();
    let [first, second] = trace.streams()[..] else { return Err("two CPUs".into()) };
    // From another address of loopback.
    let stranger = bound_to("127.0.0.2")?;
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], ports[0]));
    if let Ok(mut stranger) = stranger.connect(to) {
        let _ = stranger.write_all(&[7; 5000]);
    }
    let mut data = recorder.data(0, ports[0])?;
    data.write_all(&first[..4096])?;
    eventually("the first connection is not taken", || {
        match TcpStream::connect(("127.0.0.1", ports[0])) {
            Err(_) => Ok(true),
            Ok(mut again) => {
                let _ = again.write_all(&[7; 5000]);
                Ok(false)
            }
        }
    })?;
    data.write_all(&first[4096..])?;
    drop(data);
    recorder.data(1, ports[1])?.write_all(second)?;
    let account = recorder.close(&trace)?;
    check(account.bytes == trace.size(), || format!("{account:?}"))?;
    trace.is_in(&listener.file(name))?;
    listener.end(Signal::SIGTERM)
}

/// A socket whose connections come from an address of this host.
struct Bound(std::os::fd::OwnedFd);

fn bound_to(address: &str) -> Result<Bound, Failed> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let address = std::net::SocketAddrV4::new(address.parse()?, 0);
    bind(fd.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(Bound(fd))
}

impl Bound {
    fn connect(self, to: std::net::SocketAddr) -> Result<TcpStream, Failed> {
        use nix::sys::socket::{SockaddrStorage, connect};
        use std::os::fd::AsRawFd;
        connect(self.0.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok(TcpStream::from(self.0))
    }
}

/// Names of buffers are data, their counts are checked, and so are the tails of files.
pub(crate) fn instances() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let port = listener.port()?;
    let name = "../../../etc/passwd";
    let workload =
        tracedat::testing::Workload { instances: vec![name.to_owned()], ..Trace::new(9)?.workload };
    let trace = Trace::of(workload, tracedat::write::Version::V7, tracedat::compress::Codec::Zstd)?;
    let instance = |name: &str, cpus: Vec<u32>, page_size| Instance {
        name: name.to_owned(),
        clock: "local".to_owned(),
        cpus,
        page_size,
    };
    let mut recorder = Recorder::open("127.0.0.1", port, &trace, &Kind::default())?;
    let file = listener.file(recorder.port()?);
    let ports = recorder.instance(&instance(name, vec![0, 1], 4096))?;
    recorder.head(&trace)?;
    recorder.send(&trace)?;
    recorder.send_to(&ports, 2, &trace)?;
    let account = recorder.close(&trace)?;
    check(account.bytes == trace.size(), || format!("{account:?}"))?;
    trace.is_in(&file)?;
    for (bad, said) in [
        (instance("late", vec![0], u32::MAX), "page size"),
        (instance("many", (0..1362).collect(), 4096), "number of CPUs"),
    ] {
        let mut recorder = Recorder::open("127.0.0.1", port, &trace, &Kind::default())?;
        let mut error = String::new();
        // Up to 4096 streams there may be.
        for _ in 0..4 {
            if let Err(told) = recorder.instance(&bad) {
                error = told;
                break;
            }
        }
        check(error.contains(said), || format!("{said}: {error:?}"))?;
    }
    let mut late = Recorder::open("127.0.0.1", port, &trace, &Kind::default())?;
    late.head(&trace)?;
    let error = late.instance(&instance("late", vec![0], 4096)).err().unwrap_or_default();
    check(error.contains("after the head"), || error)?;
    listener.is_idle()?;
    // Whose head had come has a file, though nothing in it.
    check(listener.names()?.len() == 2, || format!("{:?}", listener.names()))?;
    listener.end(Signal::SIGTERM)
}
