//! A listener that counts, built on the sessions of `trace-transport`; it keeps nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use libtest_mimic::Failed;
use nix::poll::{PollFd, PollFlags, poll};
use trace_transport::session::{
    Extensions, Protocol, Received, Receiver, ReceiverConfig, ReceiverEvent, Sequence,
};
use trace_transport::{Deadline, Stream, tcp, udp};

use crate::common::listener::PATIENCE;

/// What happens to datagrams before the listener has them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    None,
    /// Every seventh is lost, every fifth comes twice, and every third after the next one.
    Some,
}

/// A listener for one client.
pub(crate) struct Listener {
    pub(crate) address: String,
    thread: JoinHandle<Result<Taken, Box<dyn std::error::Error + Send + Sync>>>,
}

/// What it got.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) instances: Vec<String>,
    /// Bytes by stream.
    pub(crate) streams: Vec<u64>,
    pub(crate) tail: Vec<u8>,
}

impl Listener {
    pub(crate) fn start(loss: Loss) -> Result<Self, Failed> {
        let listener = tcp::Listener::bind("127.0.0.1", 0)?;
        let address = listener.address().to_string();
        let thread = thread::spawn(move || {
            let control = accept(&listener)?;
            let receiver = Receiver::new(
                ReceiverConfig { extensions: Extensions::ALL, ..ReceiverConfig::default() },
                Instant::now(),
            );
            Session { control, receiver, loss, streams: Vec::new(), taken: Taken::default() }.run()
        });
        Ok(Self { address, thread })
    }

    pub(crate) fn result(self) -> Result<Taken, Failed> {
        let ended = self.thread.join().map_err(|_| "the listener panicked")?;
        ended.map_err(|error| format!("the listener: {error}").into())
    }
}

fn accept(listener: &tcp::Listener) -> io::Result<Stream> {
    loop {
        if let Some((stream, _)) = listener.accept().map_err(io::Error::other)? {
            return Ok(stream);
        }
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, Deadline::after(PATIENCE).poll_timeout())?;
    }
}

/// A stream of data on its way in.
enum Way {
    Port(tcp::Listener),
    Connection(Stream, u64),
    Datagrams(udp::Receiver, Box<Lossy>),
    Ended(u64),
}

impl Way {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Port(port) => Some(port.as_fd()),
            Self::Connection(stream, _) => Some(stream.as_fd()),
            Self::Datagrams(receiver, _) => Some(receiver.as_fd()),
            Self::Ended(_) => None,
        }
    }
}

/// Datagrams on a bad way.
struct Lossy {
    sequence: Sequence,
    seen: u64,
    late: Option<Vec<u8>>,
    loss: Loss,
}

impl Lossy {
    fn take(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.seen += 1;
        if self.loss == Loss::Some {
            if self.seen.is_multiple_of(7) {
                return Ok(());
            }
            if self.seen.is_multiple_of(3) && self.late.is_none() {
                self.late = Some(datagram.to_vec());
                return Ok(());
            }
            if self.seen.is_multiple_of(5) {
                self.arrive(datagram)?;
            }
        }
        self.arrive(datagram)?;
        if let Some(late) = self.late.take() {
            self.arrive(&late)?;
        }
        Ok(())
    }

    fn arrive(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.sequence.arrive(datagram).map_err(io::Error::other)?;
        while self.sequence.next_piece().is_some() {}
        Ok(())
    }

    fn end(&mut self, bytes: u64) -> io::Result<Received> {
        if let Some(late) = self.late.take() {
            self.arrive(&late)?;
        }
        self.sequence.end(bytes).map_err(io::Error::other)?;
        while self.sequence.next_piece().is_some() {}
        Ok(self.sequence.received())
    }
}

struct Session {
    control: Stream,
    receiver: Receiver,
    loss: Loss,
    streams: Vec<Way>,
    taken: Taken,
}

/// What an event asks for.
enum Asked {
    Ports(usize, Protocol, u32),
    End,
    Nothing,
}

impl Session {
    fn run(mut self) -> Result<Taken, Box<dyn std::error::Error + Send + Sync>> {
        let mut protocol = Protocol::Tcp;
        let mut produced: Vec<u64> = Vec::new();
        loop {
            while let Some(event) = self.receiver.next(Instant::now())? {
                let asked = match event {
                    ReceiverEvent::Start(start) => {
                        protocol = start.protocol;
                        Asked::Ports(start.cpus as usize, protocol, start.page_size)
                    }
                    ReceiverEvent::Instance(instance) => {
                        self.taken.instances.push(instance.name);
                        Asked::Ports(instance.cpus.len(), protocol, instance.page_size)
                    }
                    ReceiverEvent::Tail(bytes) => {
                        self.taken.tail.extend_from_slice(bytes);
                        Asked::Nothing
                    }
                    ReceiverEvent::DataEnd { stream, bytes } => {
                        let at = stream as usize;
                        produced.resize(produced.len().max(at + 1), 0);
                        produced[at] = bytes;
                        Asked::Nothing
                    }
                    ReceiverEvent::Close => Asked::End,
                    ReceiverEvent::Metadata(_)
                    | ReceiverEvent::MetadataEnd
                    | ReceiverEvent::TailEnd => Asked::Nothing,
                };
                match asked {
                    Asked::Ports(count, protocol, page_size) => {
                        self.open(count, protocol, page_size)?;
                    }
                    Asked::End => {
                        self.end(&produced)?;
                        return Ok(self.taken);
                    }
                    Asked::Nothing => {}
                }
            }
            self.flush()?;
            self.wait()?;
            match self.control.try_read(self.receiver.space())? {
                Some(0) => self.receiver.hung_up(),
                Some(count) => self.receiver.filled(count),
                None => {}
            }
            self.read_data()?;
        }
    }

    fn open(
        &mut self,
        count: usize,
        protocol: Protocol,
        page_size: u32,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut ports = Vec::new();
        for _ in 0..count {
            let way = if protocol == Protocol::Udp {
                let any: SocketAddr = "127.0.0.1:0".parse()?;
                let receiver = udp::Receiver::bind(any, 32 << 20)?;
                ports.push(receiver.address().port());
                let number = u32::try_from(self.streams.len())?;
                let sequence = Sequence::new(number, page_size, Sequence::WINDOW);
                let lossy = Lossy { sequence, seen: 0, late: None, loss: self.loss };
                Way::Datagrams(receiver, Box::new(lossy))
            } else {
                let port = tcp::Listener::bind("127.0.0.1", 0)?;
                ports.push(port.address().port());
                Way::Port(port)
            };
            self.streams.push(way);
        }
        Ok(self.receiver.ports(&ports, Instant::now())?)
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = self.receiver.output();
        let soon = Deadline::after(PATIENCE);
        self.control.write_all(bytes, soon).map_err(io::Error::other)?;
        let count = bytes.len();
        self.receiver.sent(count);
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let fds = self.streams.iter().filter_map(Way::fd).chain([self.control.as_fd()]);
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, Deadline::after(PATIENCE).poll_timeout())? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Takes all that is there.
    fn read_data(&mut self) -> io::Result<()> {
        let mut slab = udp::Slab::new();
        let mut buffer = vec![0; 64 << 10];
        for way in &mut self.streams {
            match way {
                Way::Port(port) => {
                    if let Some((stream, _)) = port.accept().map_err(io::Error::other)? {
                        *way = Way::Connection(stream, 0);
                    }
                }
                Way::Connection(stream, bytes) => match stream.try_read(&mut buffer)? {
                    Some(0) => *way = Way::Ended(*bytes),
                    Some(count) => *bytes += count as u64,
                    None => {}
                },
                Way::Datagrams(receiver, lossy) => loop {
                    let batch = receiver.receive(&mut slab).map_err(io::Error::other)?;
                    if batch.is_empty() {
                        break;
                    }
                    for datagram in batch.datagrams() {
                        lossy.take(datagram.bytes)?;
                    }
                },
                Way::Ended(_) => {}
            }
        }
        Ok(())
    }

    /// All was sent; on the loopback device that means that it is here.
    fn end(&mut self, produced: &[u64]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.read_data()?;
        while self.streams.iter().any(|way| matches!(way, Way::Port(_) | Way::Connection(..))) {
            self.read_data()?;
        }
        let mut all = Vec::new();
        for (stream, way) in self.streams.iter_mut().enumerate() {
            let bytes = produced.get(stream).copied().unwrap_or_default();
            let number = u32::try_from(stream)?;
            all.push(match way {
                Way::Datagrams(_, lossy) => lossy.end(bytes)?,
                Way::Ended(had) => Received {
                    stream: number,
                    bytes: *had,
                    lost_bytes: bytes.saturating_sub(*had),
                    lost_datagrams: 0,
                },
                Way::Port(_) | Way::Connection(..) => continue,
            });
        }
        self.taken.streams = all.iter().map(|received| received.bytes).collect();
        self.receiver.finish(&all)?;
        self.flush()?;
        Ok(())
    }
}
