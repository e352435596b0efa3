//! Ends in the middle: of the listener, well or not, and of a recorder.

use std::io::Write;
use std::net::TcpStream;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::common::listener::{Listener, eventually};
use crate::common::{check, free_port, success, trace_cmd};
use crate::recorder::{Kind, Recorder, record};
use crate::trace::Trace;

/// A recording of which all but the end is sent.
struct Half {
    recorder: Recorder,
    /// Open as long as it lasts.
    _data: Vec<TcpStream>,
    trace: Trace,
    counts: Vec<usize>,
    port: u16,
}

impl Half {
    fn start(listener: &Listener, trace: Trace) -> Result<Self, Failed> {
        let mut recorder = Recorder::open("127.0.0.1", listener.port()?, &trace, &Kind::default())?;
        recorder.head(&trace)?;
        let mut data = Vec::new();
        let mut counts = Vec::new();
        for (stream, &port) in (0..).zip(&recorder.opened.ports) {
            let bytes = trace.streams()[stream as usize];
            let count = bytes.len() / 2;
            let mut connection = recorder.data(stream, port)?;
            connection.write_all(&bytes[..count])?;
            data.push(connection);
            counts.push(count);
        }
        let port = recorder.port()?;
        Ok(Self { recorder, _data: data, trace, counts, port })
    }
}

fn traces() -> Result<Vec<Trace>, Failed> {
    use tracedat::compress::Codec;
    use tracedat::testing::Workload;
    use tracedat::write::Version;
    let of = |seed, version, codec| Trace::of(Workload::new(seed), version, codec);
    Ok(vec![
        of(20, Version::V7, Codec::None)?,
        of(21, Version::V7, Codec::Zstd)?,
        of(22, Version::V6, Codec::None)?,
    ])
}

/// Signals are taken for the end of all recordings.
pub(crate) fn signals() -> Result<(), Failed> {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let port = free_port()?;
        let words = ["--bind", &format!("127.0.0.1:{port}")];
        let mut listener = Listener::start_in(TempDir::new()?, &words)?;
        let halves: Result<Vec<_>, _> =
            traces()?.into_iter().map(|trace| Half::start(&listener, trace)).collect();
        let mut halves = halves?;
        for half in &halves {
            let file = listener.file(half.port);
            eventually("what was sent does not come to the file", || Ok(file.exists()))?;
        }
        let unborn = listener.connect()?;
        listener.end(signal)?;
        for half in &mut halves {
            let error = half.recorder.next().err().unwrap_or_default();
            check(error.contains("the listener was stopped"), || format!("{signal}: {error}"))?;
            half.trace.is_cut_in(&listener.file(half.port), &half.counts)?;
        }
        check(listener.names()?.len() == halves.len(), || format!("{:?}", listener.names()))?;
        // Though connections to it are still open.
        let mut again = Listener::start_in(TempDir::new()?, &words)?;
        record(port, &halves[0].trace, &Kind::default())?;
        again.end(Signal::SIGTERM)?;
        drop((halves, unborn));
    }
    Ok(())
}

/// A listener that is killed leaves files with all that was written.
pub(crate) fn kill() -> Result<(), Failed> {
    let port = free_port()?;
    let words = ["--bind", &format!("127.0.0.1:{port}")];
    let mut listener = Listener::start_in(TempDir::new()?, &words)?;
    let trace = Trace::new(23)?;
    let before = record(port, &trace, &Kind::default())?;
    let half = Half::start(&listener, Trace::new(24)?)?;
    let file = listener.file(half.port);
    // The listener has what has arrived once it is in the file; nothing tells when that is.
    eventually("what was sent does not come to the file", || {
        Ok(half.trace.is_cut_in(&file, &half.counts).is_ok())
    })?;
    listener.signal(Signal::SIGKILL)?;
    listener.wait()?;
    trace.is_in(&listener.file(before))?;
    half.trace.is_cut_in(&file, &half.counts)?;
    let names = listener.names()?;
    check(names.len() == 2, || format!("{names:?}"))?;
    let mut again = Listener::start_in(TempDir::new()?, &words)?;
    record(port, &trace, &Kind::default())?;
    again.end(Signal::SIGTERM)
}

/// The same for compressed data and for version 6.
pub(crate) fn killed_files() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let halves: Result<Vec<_>, _> =
        traces()?.into_iter().map(|trace| Half::start(&listener, trace)).collect();
    let halves = halves?;
    eventually("no file appears", || Ok(listener.names()?.len() == halves.len()))?;
    listener.signal(Signal::SIGKILL)?;
    listener.wait()?;
    for half in &halves {
        let mut report = trace_cmd();
        success(report.args(["report", "-i"]).arg(listener.file(half.port)))?;
    }
    Ok(())
}
