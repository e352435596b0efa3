//! A recorder made of a session, whose every step can be left out.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::Failed;
use trace_transport::session::{
    Extensions, Instance, Numbering, Opened, Protocol, Received, Sender, SenderConfig, SenderEvent,
    SessionKey, Timeouts, Version,
};
use trace_transport::{Deadline, Key, Stream, nonce, tcp};

use crate::common::listener::PATIENCE;
use crate::trace::Trace;

/// What a recorder is like.
#[derive(Clone, Default)]
pub(crate) struct Kind {
    pub(crate) is_udp: bool,
    pub(crate) is_plain: bool,
    pub(crate) key: Option<Arc<Key>>,
    pub(crate) v1: bool,
}

/// One that has its ports.
pub(crate) struct Recorder {
    control: Stream,
    sender: Sender,
    pub(crate) opened: Opened,
    host: String,
}

/// What the listener has, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) lost_datagrams: u64,
}

impl Recorder {
    /// Connects to `host`, and agrees on all that a trace needs.
    pub(crate) fn open(host: &str, port: u16, trace: &Trace, kind: &Kind) -> Result<Self, String> {
        let control = tcp::connect(host, port, Deadline::after(PATIENCE)).map_err(text)?;
        Self::on(control, host, trace, kind)
    }

    /// The same on a connection that is there.
    pub(crate) fn on(
        control: Stream,
        host: &str,
        trace: &Trace,
        kind: &Kind,
    ) -> Result<Self, String> {
        let key = match &kind.key {
            Some(key) => {
                let key = Arc::clone(key);
                let prove = Arc::new(move |role: &[u8], a: &_, b: &_| key.proof(role, a, b));
                Some(SessionKey { prove, nonce: nonce().map_err(text)? })
            }
            None => None,
        };
        let config = SenderConfig {
            cpus: trace.workload.cpus,
            page_size: trace.workload.page_size,
            protocol: if kind.is_udp { Protocol::Udp } else { Protocol::Tcp },
            version: if kind.v1 { Version::V1 } else { Version::V3 },
            extensions: if kind.is_plain { Extensions::NONE } else { Extensions::ALL },
            key,
            timeouts: Timeouts { step: PATIENCE, metadata: PATIENCE, finish: PATIENCE },
        };
        let sender = Sender::new(config, Instant::now()).map_err(text)?;
        let opened = Opened {
            version: Version::V3,
            protocol: Protocol::Tcp,
            extensions: Extensions::NONE,
            ports: Vec::new(),
        };
        let mut recorder = Self { control, sender, opened, host: host.to_owned() };
        match recorder.next()? {
            SenderEvent::Opened(opened) => recorder.opened = opened,
            other => return Err(format!("not opened: {other:?}")),
        }
        Ok(recorder)
    }

    /// The port of its control connection, which its file is named after.
    pub(crate) fn port(&self) -> Result<u16, Failed> {
        Ok(nix::sys::socket::getsockname::<nix::sys::socket::SockaddrStorage>(
            std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&self.control)),
        )
        .ok()
        .and_then(|address| {
            address
                .as_sockaddr_in()
                .map(nix::sys::socket::SockaddrIn::port)
                .or_else(|| address.as_sockaddr_in6().map(nix::sys::socket::SockaddrIn6::port))
        })
        .ok_or("no port")?)
    }

    /// What is said next.
    pub(crate) fn next(&mut self) -> Result<SenderEvent, String> {
        loop {
            if let Some(event) = self.sender.next(Instant::now()).map_err(text)? {
                return Ok(event);
            }
            self.flush()?;
            let space = self.sender.space();
            match self.control.read_some(space, Deadline::after(PATIENCE)).map_err(text)? {
                0 => self.sender.hung_up(),
                count => self.sender.filled(count),
            }
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        let count = self.sender.output().len();
        let sent = self.control.write_all(self.sender.output(), Deadline::after(PATIENCE));
        sent.map_err(text)?;
        self.sender.sent(count);
        Ok(())
    }

    /// Sends a piece of the head, or of what goes behind the data.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let taken = self.sender.put_metadata(bytes).map_err(text)?;
            bytes = &bytes[taken..];
            self.flush()?;
        }
        Ok(())
    }

    /// Sends a whole head.
    pub(crate) fn head(&mut self, trace: &Trace) -> Result<(), String> {
        self.put(&trace.head)?;
        self.sender.end_metadata().map_err(text)?;
        self.flush()
    }

    /// Declares a further buffer; returns its ports.
    pub(crate) fn instance(&mut self, instance: &Instance) -> Result<Vec<u16>, String> {
        self.sender.instance(instance, Instant::now()).map_err(text)?;
        match self.next()? {
            SenderEvent::InstancePorts { ports, .. } => Ok(ports),
            other => Err(format!("no ports: {other:?}")),
        }
    }

    /// A data connection.
    pub(crate) fn data(&self, stream: u32, port: u16) -> Result<TcpStream, String> {
        let to = (self.host.as_str(), port).to_socket_addrs().map_err(text)?.next();
        let mut data = TcpStream::connect(to.ok_or("no address")?).map_err(text)?;
        if let Some(token) = self.sender.data_token(stream) {
            data.write_all(&token).map_err(text)?;
        }
        Ok(data)
    }

    /// Sends the data of the CPUs of the top buffer over connections, and ends them.
    pub(crate) fn send(&self, trace: &Trace) -> Result<(), String> {
        self.send_to(&self.opened.ports, 0, trace)
    }

    /// Sends streams from `first` on to `ports`.
    pub(crate) fn send_to(&self, ports: &[u16], first: u32, trace: &Trace) -> Result<(), String> {
        let streams = trace.streams();
        for (stream, &port) in (first..).zip(ports) {
            let mut data = self.data(stream, port)?;
            data.write_all(streams[stream as usize]).map_err(text)?;
        }
        Ok(())
    }

    /// Sends each sub-buffer in a datagram, to the listener or to what is between.
    pub(crate) fn send_datagrams(
        &self,
        trace: &Trace,
        mut send: impl FnMut(u32, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        for (stream, bytes) in (0..).zip(trace.streams()) {
            let mut numbering = Numbering::new(stream);
            for page in bytes.chunks(trace.workload.page_size as usize) {
                let header = numbering.next_header(page.len());
                let is_numbered = self.opened.extensions.sequence;
                let head: &[u8] = if is_numbered { &header } else { &[] };
                send(stream, &[head, page].concat())?;
            }
        }
        Ok(())
    }

    /// Says that all was sent; returns what of it the listener has.
    pub(crate) fn close(mut self, trace: &Trace) -> Result<Account, String> {
        if self.opened.extensions.accounts {
            let declared = (0..).zip(trace.streams());
            for (stream, bytes) in declared {
                self.sender.data_end(stream, bytes.len() as u64).map_err(text)?;
            }
        }
        self.sender.close(Instant::now()).map_err(text)?;
        self.flush()?;
        let mut account = Account::default();
        loop {
            match self.next()? {
                SenderEvent::Received(Received { bytes, lost_bytes, lost_datagrams, .. }) => {
                    account.bytes += bytes;
                    account.lost += lost_bytes;
                    account.lost_datagrams += lost_datagrams;
                }
                SenderEvent::Done => break,
                other => return Err(format!("not done: {other:?}")),
            }
        }
        self.flush()?;
        Ok(account)
    }
}

/// Sends a whole trace; returns the port its file is named after.
pub(crate) fn record(port: u16, trace: &Trace, kind: &Kind) -> Result<u16, Failed> {
    let mut recorder = Recorder::open("127.0.0.1", port, trace, kind)?;
    let name = recorder.port()?;
    recorder.head(trace)?;
    recorder.send(trace)?;
    let account = recorder.close(trace)?;
    let expected = if kind.is_plain || kind.v1 {
        Account::default()
    } else {
        Account { bytes: trace.size(), ..Account::default() }
    };
    if account == expected {
        Ok(name)
    } else {
        Err(format!("the listener has {account:?} of {}", trace.size()).into())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
