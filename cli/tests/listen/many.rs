//! Two hundred recorders at the same time.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use tracedat::compress::Codec;
use tracedat::testing::Workload;
use tracedat::write::Version;

use crate::common::check;
use crate::common::listener::Listener;
use crate::recorder::{Kind, Recorder};
use crate::trace::Trace;

const CLIENTS: usize = 200;

/// KiB of memory that a recorder may cost the listener.
const MOST: u64 = 1024;

/// Over so many seconds each sends its data: `LISTEN_SECONDS`, or at once.
fn duration() -> Duration {
    let seconds = std::env::var("LISTEN_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// Pieces in which the data of a CPU is sent.
const PIECES: u32 = 50;

/// All are connected before the first one ends.
pub(crate) fn plain() -> Result<(), Failed> {
    at_once(Codec::None)
}

pub(crate) fn compressed() -> Result<(), Failed> {
    at_once(Codec::Zstd)
}

fn at_once(codec: Codec) -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let port = listener.port()?;
    let idle = listener.status("VmRSS")?;
    let workload = Workload { events_per_cpu: 4000, ..Workload::new(30) };
    let trace = Arc::new(Trace::of(workload, Version::V7, codec)?);
    let all_are_there = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (trace, all_are_there) = (Arc::clone(&trace), Arc::clone(&all_are_there));
            thread::Builder::new()
                .stack_size(256 << 10)
                .spawn(move || client(port, &trace, &all_are_there))
        })
        .collect::<Result<_, _>>()?;
    let mut ports = Vec::new();
    for client in clients {
        ports.push(client.join().map_err(|_| "a client's thread panics")??);
    }
    let most = listener.status("VmHWM")?;
    listener.is_idle()?;
    for port in ports {
        trace.is_in(&listener.file(port))?;
    }
    let each = (most - idle) / CLIENTS as u64;
    println!("{codec:?}: {idle} KiB idle, {most} KiB at most, {each} KiB for each of {CLIENTS}");
    check(each < MOST, || format!("{each} KiB for each recorder"))?;
    listener.end(Signal::SIGTERM)
}

fn client(port: u16, trace: &Trace, all_are_there: &Barrier) -> Result<u16, String> {
    // Whatever goes wrong, others do not wait for ever.
    let recorder = Recorder::open("127.0.0.1", port, trace, &Kind::default());
    let recorder = recorder.and_then(|mut recorder| {
        recorder.head(trace)?;
        let ports = recorder.opened.ports.clone();
        let data: Result<Vec<_>, String> =
            (0..).zip(ports).map(|(stream, port)| recorder.data(stream, port)).collect();
        Ok((recorder, data?))
    });
    all_are_there.wait();
    let (recorder, data) = recorder?;
    let streams = trace.streams();
    let piece = |bytes: &[u8]| bytes.len().div_ceil(PIECES as usize).max(1);
    let mut left: Vec<_> =
        data.into_iter().zip(streams.iter().map(|bytes| bytes.chunks(piece(bytes)))).collect();
    for _ in 0..PIECES {
        for (data, pieces) in &mut left {
            let bytes = pieces.next().unwrap_or_default();
            std::io::Write::write_all(data, bytes).map_err(|error| error.to_string())?;
        }
        thread::sleep(duration() / PIECES);
    }
    drop(left);
    let name = recorder.port().map_err(|_| "no port")?;
    let account = recorder.close(trace)?;
    if account.bytes == trace.size() && account.lost == 0 {
        Ok(name)
    } else {
        Err(format!("{account:?} of {}", trace.size()))
    }
}
