//! What carries the data of one CPU to the listener.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use trace_transport::session::{Numbering, Proof, SequenceHeader};
use trace_transport::{Address, Deadline, Interest, Stream, hybrid, tcp, udp};
use tracefs::Sink;

use super::control::CONNECT;
use super::delivery::Fate;
use crate::error::Error;

/// Bytes that the kernel holds for each CPU while the listener is busy.
const SEND_BUFFER: usize = 4 << 20;
/// How long a device may have no room for a datagram.
const SEND: Duration = Duration::from_secs(10);
/// How long a listener may take, at the end, to read what is on its way.
const TAKE: Duration = Duration::from_secs(10);
/// How long it gets to read datagrams, of which nobody says when they were read.
const READ: Duration = Duration::from_secs(1);

/// What carries one stream, seen from who started it; its other end is the recorder's sink.
pub(super) enum Link {
    Connection { stream: Stream, is_taken: bool },
    Datagrams,
}

impl Link {
    /// Nothing more is sent: the listener sees the end behind it.
    pub(super) fn end_sending(&mut self) {
        if let Self::Connection { stream, .. } = self {
            // One that is broken has ended.
            let _ = stream.end_sending();
        }
    }

    /// What is known where the listener does not count.
    pub(super) fn fate(&self) -> Fate {
        match self {
            Self::Connection { is_taken: true, .. } => Fate::Taken,
            Self::Connection { .. } | Self::Datagrams => Fate::Unknown,
        }
    }
}

/// Waits until the listener has read each connection to its end: it closes its own side then. Datagrams get some time.
pub(super) fn wait_until_taken(links: &mut [Link]) {
    if links.iter().any(|link| matches!(link, Link::Datagrams)) {
        thread::sleep(READ);
    }
    let deadline = Deadline::after(TAKE);
    for link in links {
        if let Link::Connection { stream, is_taken } = link {
            *is_taken = ends(stream, deadline);
        }
    }
}

fn ends(stream: &mut Stream, deadline: Deadline) -> bool {
    loop {
        match stream.read_some(&mut [0; 64], deadline) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// Where the ports of a listener are.
pub(super) enum Ports<'a> {
    Tcp(SocketAddr),
    Other(&'a Address),
}

impl<'a> Ports<'a> {
    /// On the machine at the other end of the control connection, whatever its name is resolved to next time.
    pub(super) fn of(control: &Stream, address: &'a Address) -> Result<Self, Error> {
        match address {
            Address::Tcp { .. } => tcp::peer_address(control)
                .map(Self::Tcp)
                .ok_or_else(|| Error::failure(format!("lost the listener {address}"))),
            other => Ok(Self::Other(other)),
        }
    }

    /// A connection, which starts with `token` where there is a key.
    pub(super) fn connection(
        &self,
        port: u16,
        token: Option<Proof>,
        peer_timeout: Duration,
    ) -> Result<(Link, Sink), Error> {
        let failed = |error| Error::failure("cannot open a way for data").because(error);
        let deadline = Deadline::after(CONNECT);
        let mut stream = self.address(port).connect(deadline).map_err(failed)?;
        // What is not TCP has a writer that knows its patience.
        let _ = tcp::set_peer_timeout(&stream, peer_timeout);
        if let Some(token) = token {
            stream.write_all(&token, deadline).map_err(failed)?;
        }
        let other = || -> io::Result<Stream> {
            // What cannot be had is done without: the listener must be faster then.
            let _ = stream.grow_send_buffer(SEND_BUFFER);
            let fd = stream.as_fd().try_clone_to_owned()?;
            Stream::new(fd, stream.peer()).map_err(io::Error::other)
        };
        let link =
            other().map_err(|error| Error::failure("cannot open a way for data").because(error))?;
        let sink = if stream.can_splice(Interest::Write) {
            Sink::Fd(stream.into_fd())
        } else {
            Sink::Writer(Box::new(Large { stream, patience: peer_timeout }))
        };
        Ok((Link::Connection { stream: link, is_taken: false }, sink))
    }

    /// Datagrams of one sub-buffer each, numbered if the listener counts them.
    pub(super) fn datagrams(
        &self,
        port: u16,
        numbered: Option<u32>,
        page_size: u32,
    ) -> Result<(Link, Sink), Error> {
        let Self::Tcp(mut to) = *self else {
            return Err(Error::failure("datagrams go over IP only").hint("leave -t out, or use -N"));
        };
        to.set_port(port);
        let sender = udp::Sender::connect(to)
            .map_err(|error| Error::failure("cannot open a way for data").because(error))?;
        let numbering = numbered.map(Numbering::new);
        let page_size = page_size as usize;
        let sink = Sink::Writer(Box::new(Datagrams { sender, numbering, page_size }));
        Ok((Link::Datagrams, sink))
    }

    fn address(&self, port: u16) -> Address {
        match self {
            Self::Tcp(SocketAddr::V6(peer)) if peer.scope_id() != 0 => {
                Address::Tcp { host: format!("{}%{}", peer.ip(), peer.scope_id()), port }
            }
            Self::Tcp(peer) => Address::Tcp { host: peer.ip().to_string(), port },
            Self::Other(Address::Vsock { cid, .. }) => {
                Address::Vsock { cid: *cid, port: port.into() }
            }
            Self::Other(Address::Hybrid { path, .. }) => {
                Address::Hybrid { path: path.clone(), port: port.into() }
            }
            Self::Other(Address::Unix(path)) => {
                Address::Unix(hybrid::listening_path(path, port.into()))
            }
            Self::Other(other) => (*other).clone(),
        }
    }
}

/// Many sub-buffers at once, for sockets that would make a packet of each page.
struct Large {
    stream: Stream,
    /// How long the listener may take nothing at all.
    patience: Duration,
}

impl Write for Large {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(count) = self.stream.try_write(bytes)? {
                return Ok(count);
            }
            if !self.stream.wait(Interest::Write, Deadline::after(self.patience))? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Datagrams handed over at once.
const BATCH: usize = 64;

/// A datagram for each sub-buffer.
struct Datagrams {
    sender: udp::Sender,
    numbering: Option<Numbering>,
    page_size: usize,
}

impl Write for Datagrams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for batch in bytes.chunks(self.page_size.saturating_mul(BATCH).max(1)) {
            self.send(batch)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Datagrams {
    fn send(&mut self, batch: &[u8]) -> io::Result<()> {
        let mut heads = [[0; SequenceHeader::SIZE]; BATCH];
        let mut datagrams: [[&[u8]; 2]; BATCH] = [[&[], &[]]; BATCH];
        let pages = batch.chunks(self.page_size.max(1));
        let count = pages.len();
        let slots = datagrams.iter_mut().zip(&mut heads);
        for ((datagram, head), page) in slots.zip(pages) {
            let head: &[u8] = match &mut self.numbering {
                Some(numbering) => {
                    *head = numbering.next_header(page.len());
                    head
                }
                None => &[],
            };
            *datagram = [head, page];
        }
        let datagrams = datagrams.get(..count).unwrap_or_default();
        self.sender.send(datagrams, Deadline::after(SEND)).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(receiver: &udp::Receiver, count: usize) -> Vec<Vec<u8>> {
        let mut slab = udp::Slab::new();
        let mut all = Vec::new();
        let deadline = std::time::Instant::now() + Duration::from_secs(240);
        while all.len() < count && std::time::Instant::now() < deadline {
            let batch = receiver.receive(&mut slab).unwrap();
            all.extend(batch.datagrams().map(|datagram| datagram.bytes.to_vec()));
        }
        all
    }

    #[test]
    fn each_sub_buffer_is_a_datagram_and_counted_where_that_is_wanted() {
        let pages: Vec<u8> = (0..70_u8).flat_map(|page| [page; 128]).collect();
        for numbered in [None, Some(5)] {
            let receiver = udp::Receiver::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
            let ports = Ports::Tcp(receiver.address());
            let port = receiver.address().port();
            let (_, sink) = ports.datagrams(port, numbered, 128).unwrap();
            let Sink::Writer(mut writer) = sink else { panic!("{sink:?}") };
            writer.write_all(&pages).unwrap();
            let all = received(&receiver, 70);
            assert_eq!(all.len(), 70);
            for (number, datagram) in all.iter().enumerate() {
                let payload = if numbered.is_some() {
                    let (head, payload) = SequenceHeader::split(datagram).unwrap();
                    let bytes_before = 128 * number as u64;
                    let expected =
                        SequenceHeader { stream: 5, number: number as u64, bytes_before };
                    assert_eq!(head, expected);
                    payload
                } else {
                    datagram
                };
                assert_eq!(payload, [number as u8; 128]);
            }
        }
    }
}
