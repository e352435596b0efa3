//! A disk that gets full: who sends then is told why, what came before can be read, and others keep theirs.

use std::net::{SocketAddr, UdpSocket};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use trace_virt::lab::requirements;
use tracedat::compress::Codec;
use tracedat::testing::Workload;
use tracedat::write::Version;

use crate::common::check;
use crate::common::disk::Disk;
use crate::common::listener::{Listener, eventually};
use crate::recorder::{Kind, Recorder, record};
use crate::trace::{Trace, report_of_both};

const FULL: &str = "No space left on device";
/// What is left of the disk.
const FREE: u64 = 200 << 10;

fn listener(disk: &Disk) -> Result<Listener, Failed> {
    Listener::start_in(TempDir::new_in(disk.root())?, &["--bind", "127.0.0.1", "-p", "0"])
}

/// More than what is left, compressed or not.
fn large(seed: u64, version: Version, codec: Codec) -> Result<Trace, Failed> {
    Trace::of(Workload { events_per_cpu: 20_000, ..Workload::new(seed) }, version, codec)
}

pub(crate) fn disk() -> Result<(), Failed> {
    let disk = Disk::tmpfs("24m")?;
    let mut listener = listener(&disk)?;
    let port = listener.port()?;
    let small = Trace::new(200)?;
    let before = record(port, &small, &Kind::default())?;
    for (seed, is_udp, version, codec) in [
        (201, false, Version::V7, Codec::None),
        (202, false, Version::V7, Codec::Zstd),
        (203, false, Version::V6, Codec::None),
        (204, true, Version::V7, Codec::None),
        (205, true, Version::V7, Codec::Zstd),
    ] {
        let large = large(seed, version, codec)?;
        let kind = Kind { is_udp, ..Kind::default() };
        let mut flood = Recorder::open("127.0.0.1", port, &large, &kind)?;
        let name = flood.port()?;
        flood.head(&large)?;
        let mut beside = Recorder::open("127.0.0.1", port, &small, &Kind::default())?;
        let name_beside = beside.port()?;
        beside.head(&small)?;
        // With the file there is room for what is written at its end.
        for name in [name, name_beside] {
            eventually("there is no file", || Ok(listener.file(name).exists()))?;
        }
        let filler = disk.fill(FREE)?;
        // It is broken off.
        let _ = if is_udp { send_datagrams(&flood, &large)? } else { flood.send(&large) };
        let error = flood.next().err().unwrap_or_default();
        check(error.contains(FULL), || format!("{seed}: {error}"))?;
        let outcome = listener.outcome(name)?;
        check(outcome.contains("ended early") && outcome.contains(FULL), || outcome.clone())?;
        let count = large.is_begun_in(&listener.file(name))?;
        check(count > 100, || format!("{seed}: {count} records: {outcome}"))?;
        if requirements::reference().is_ok_and(|reference| reference.exact().is_ok()) {
            report_of_both(&listener.file(name))?;
        }
        small.is_in(&listener.file(before))?;
        drop(filler);
        beside.send(&small)?;
        let account = beside.close(&small)?;
        check(account.bytes == small.size() && account.lost == 0, || format!("{account:?}"))?;
        small.is_in(&listener.file(name_beside))?;
    }
    listener.is_idle()?;
    check(listener.names()?.len() == 11, || format!("{:?}", listener.names()))?;
    listener.end(Signal::SIGTERM)
}

/// Over the loopback; what the socket cannot hold is lost.
fn send_datagrams(recorder: &Recorder, trace: &Trace) -> Result<Result<(), String>, Failed> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let ports = recorder.opened.ports.clone();
    Ok(recorder.send_datagrams(trace, |stream, bytes| {
        let to = SocketAddr::from(([127, 0, 0, 1], ports[stream as usize]));
        socket.send_to(bytes, to).map(drop).map_err(|error| error.to_string())
    }))
}

/// Whose file cannot even begin is told so, and leaves nothing.
pub(crate) fn from_the_start() -> Result<(), Failed> {
    let disk = Disk::tmpfs("8m")?;
    let mut listener = listener(&disk)?;
    let port = listener.port()?;
    let trace = Trace::new(210)?;
    // Not for a head, and not for what is behind it.
    for free in [0, 512 << 10] {
        let filler = disk.fill(free)?;
        let mut recorder = Recorder::open("127.0.0.1", port, &trace, &Kind::default())?;
        let name = recorder.port()?;
        let told = match recorder.head(&trace) {
            Ok(()) => recorder.next().err().unwrap_or_default(),
            Err(error) => error,
        };
        let outcome = listener.outcome(name)?;
        check(outcome.contains(FULL) && outcome.contains("nothing to keep"), || outcome.clone())?;
        check(told.contains(FULL), || format!("{free}: {told}"))?;
        listener.is_idle()?;
        check(listener.names()?.is_empty(), || format!("{free}: {:?}", listener.names()))?;
        drop(filler);
    }
    let name = record(port, &trace, &Kind::default())?;
    trace.is_in(&listener.file(name))?;
    listener.end(Signal::SIGTERM)
}
