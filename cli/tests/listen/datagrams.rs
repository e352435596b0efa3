//! Datagrams that are numbered: whatever happens to them on the way, what is in the file and what is told as lost is
//! together all that was sent.

use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use tracedat::Reader;
use tracedat::layout::OptionId;
use tracedat::testing::Workload;
use tracedat::write::Version;

use crate::common::listener::Listener;
use crate::common::{check, trace_cmd};
use crate::recorder::{Kind, Recorder};
use crate::trace::Trace;

/// What a way does to datagrams.
#[derive(Default)]
struct Relay {
    random: u64,
    /// One of so many is dropped, sent twice, or held back.
    drops: u64,
    twice: u64,
    late: u64,
    /// What is held back, and how many datagrams have still to go first.
    held: Option<(SocketAddr, Vec<u8>, u32)>,
    dropped_bytes: u64,
    dropped: u64,
}

impl Relay {
    fn is_one_of(&mut self, many: u64) -> bool {
        // A step of xorshift.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        many > 0 && self.random.is_multiple_of(many)
    }

    fn pass(&mut self, socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) -> Result<(), String> {
        let send = |to: SocketAddr, bytes: &[u8]| {
            socket.send_to(bytes, to).map(drop).map_err(|error| error.to_string())
        };
        if self.is_one_of(self.drops) {
            self.dropped += 1;
            self.dropped_bytes += bytes.len() as u64 - HEADER;
        } else if self.held.is_none() && self.is_one_of(self.late) {
            self.held = Some((to, bytes.to_vec(), 5));
        } else {
            send(to, bytes)?;
            if self.is_one_of(self.twice) {
                send(to, bytes)?;
            }
        }
        match &mut self.held {
            Some((_, _, 0)) => self.release(socket),
            Some((_, _, left)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn release(&mut self, socket: &UdpSocket) -> Result<(), String> {
        let Some((to, bytes, _)) = self.held.take() else { return Ok(()) };
        socket.send_to(&bytes, to).map(drop).map_err(|error| error.to_string())
    }
}

/// Bytes of a datagram before its sub-buffer.
const HEADER: u64 = 24;

/// Sends a trace by way of a relay. Returns the port of its name.
fn send(listener: &Listener, trace: &Trace, relay: &mut Relay) -> Result<u16, Failed> {
    let kind = Kind { is_udp: true, ..Kind::default() };
    let mut recorder = Recorder::open("127.0.0.1", listener.port()?, trace, &kind)?;
    check(recorder.opened.extensions.sequence, || "not numbered".to_owned())?;
    let name = recorder.port()?;
    recorder.head(trace)?;
    let ports = recorder.opened.ports.clone();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    recorder.send_datagrams(trace, |stream, bytes| {
        let to = SocketAddr::from(([127, 0, 0, 1], ports[stream as usize]));
        relay.pass(&socket, to, bytes)
    })?;
    relay.release(&socket)?;
    let account = recorder.close(trace)?;
    check(account.bytes + account.lost == trace.size(), || {
        format!("{account:?} of {}", trace.size())
    })?;
    // A kernel may drop some more.
    check(account.lost >= relay.dropped_bytes, || {
        format!("{account:?}, {} bytes dropped", relay.dropped_bytes)
    })?;
    let outcome = listener.outcome(name)?;
    let lost =
        format!("{} bytes in {} datagrams lost on the way", account.lost, account.lost_datagrams);
    check(outcome.contains(&lost) == (account.lost > 0), || format!("{account:?}: {outcome}"))?;
    is_told(listener, name, account.lost)?;
    Ok(name)
}

/// Checks that the file says of each CPU what it lost, `lost` in all.
fn is_told(listener: &Listener, name: u16, lost: u64) -> Result<(), Failed> {
    let reader = Reader::open(listener.file(name))?;
    let told: u64 = reader
        .metadata
        .options()
        .iter()
        .filter(|option| option.id == OptionId::CPU_STAT)
        .filter_map(|option| {
            let text = String::from_utf8_lossy(&option.data).into_owned();
            let rest = text.split_once("lost on the way: ")?.1.to_owned();
            rest.split_once(' ')?.0.parse::<u64>().ok()
        })
        .sum();
    check(told == lost, || format!("the file tells of {told} lost bytes, {lost} were"))
}

/// A trace that a socket's buffer can hold.
fn small(seed: u64) -> Result<Trace, Failed> {
    Trace::of(
        Workload { events_per_cpu: 2000, missed_every: 0, ..Workload::new(seed) },
        Version::V7,
        tracedat::compress::Codec::None,
    )
}

/// A way that only changes the order, or sends some twice, loses nothing.
pub(crate) fn order() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let trace = small(40)?;
    let mut relay = Relay { random: 41, twice: 5, late: 4, ..Relay::default() };
    let name = send(&listener, &trace, &mut relay)?;
    trace.is_in(&listener.file(name))?;
    listener.end(Signal::SIGTERM)
}

/// What is lost is told exactly.
pub(crate) fn losses() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    for seed in 0..10 {
        let trace = small(50 + seed)?;
        let mut relay =
            Relay { random: 60 + seed, drops: 4, twice: 7, late: 6, ..Relay::default() };
        let name = send(&listener, &trace, &mut relay)?;
        check(relay.dropped > 0, || "nothing was dropped".to_owned())?;
        let mut report = trace_cmd();
        report.args(["report", "-i"]).arg(listener.file(name)).stdout(Stdio::null());
        check(report.status()?.success(), || "it cannot be read".to_owned())?;
    }
    // All of a stream.
    let trace = small(70)?;
    let mut relay = Relay { random: 71, drops: 1, ..Relay::default() };
    send(&listener, &trace, &mut relay)?;
    check(relay.dropped_bytes == trace.size(), || "not all was dropped".to_owned())?;
    listener.end(Signal::SIGTERM)
}

/// Datagrams of others, and such that make no sense, are counted, not taken.
pub(crate) fn foreign() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let trace = small(80)?;
    let kind = Kind { is_udp: true, ..Kind::default() };
    let mut recorder = Recorder::open("127.0.0.1", listener.port()?, &trace, &kind)?;
    let name = recorder.port()?;
    recorder.head(&trace)?;
    let ports = recorder.opened.ports.clone();
    let (socket, other) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    recorder.send_datagrams(&trace, |stream, bytes| {
        let to = SocketAddr::from(([127, 0, 0, 1], ports[stream as usize]));
        let send = |from: &UdpSocket, bytes: &[u8]| {
            from.send_to(bytes, to).map(drop).map_err(|error| error.to_string())
        };
        send(&socket, bytes)?;
        send(&socket, b"too short")?;
        send(&socket, &[0xff; 4096 + 24])?;
        send(&other, bytes)
    })?;
    let account = recorder.close(&trace)?;
    check(account.bytes == trace.size() && account.lost == 0, || format!("{account:?}"))?;
    trace.is_in(&listener.file(name))?;
    let mut report = trace_cmd();
    let text =
        crate::common::success(report.args(["report", "--stat", "-i"]).arg(listener.file(name)))?;
    check(text.contains("foreign datagrams: "), || text)?;
    listener.end(Signal::SIGTERM)
}

/// An old recorder's datagrams have no numbers: that a loss cannot be seen is told.
pub(crate) fn unnumbered() -> Result<(), Failed> {
    let mut listener = Listener::start(&[])?;
    let trace = small(90)?;
    let kind = Kind { is_udp: true, is_plain: true, ..Kind::default() };
    let mut recorder = Recorder::open("127.0.0.1", listener.port()?, &trace, &kind)?;
    let name = recorder.port()?;
    recorder.head(&trace)?;
    let ports = recorder.opened.ports.clone();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    recorder.send_datagrams(&trace, |stream, bytes| {
        let to = SocketAddr::from(([127, 0, 0, 1], ports[stream as usize]));
        socket.send_to(bytes, to).map(drop).map_err(|error| error.to_string())
    })?;
    recorder.close(&trace)?;
    let outcome = listener.outcome(name)?;
    check(outcome.contains("lost on the way cannot be known"), || outcome.clone())?;
    trace.is_in(&listener.file(name))?;
    listener.end(Signal::SIGTERM)
}
