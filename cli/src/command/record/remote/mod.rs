//! The data of this machine on its way to a listener.
//!
//! `control` speaks with the listener, `link` carries the data of a CPU, `delivery` says what became of it.

mod control;
mod delivery;
mod link;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trace_transport::session::{
    self, Extensions, Nonce, Opened, Protocol, Received, SenderConfig, SessionKey, Timeouts,
    Version,
};
use trace_transport::{Address, Key, nonce};
use tracedat::compress::Codec;
use tracedat::write::Version as FileVersion;
use tracefs::{CpuLedger, Sink, capture};

use self::control::Control;
use self::link::{Link, Ports};
use super::args::RemoteArgs;
use super::file::{Extra, Format, head_bytes, page_size, tail_bytes};
use super::local::{Machine, RecordedBuffer, SinkRequest};
use crate::error::Error;
use crate::output::tell;

pub(crate) use delivery::Delivery;
use delivery::{CpuDelivery, Fate};

/// A recording that goes to a listener.
pub(crate) struct Remote {
    control: Control,
    opened: Opened,
    format: Format,
    peer_timeout: Duration,
    /// By stream.
    links: Vec<Link>,
    /// The stream of each instance's first CPU; none of one that the listener does not take.
    first_streams: Vec<Option<usize>>,
}

/// A buffer that the listener is told of.
struct Declared<'a> {
    cpus: u32,
    page_size: u32,
    request: Option<&'a SinkRequest>,
}

impl Remote {
    /// Connects, agrees on what is sent how, and connects each CPU. Returns the sinks, by instance and CPU.
    ///
    /// # Errors
    /// Nobody listens there, or not to what is wanted.
    pub(crate) fn create(
        args: &RemoteArgs,
        format: Format,
        requests: &[SinkRequest],
    ) -> Result<(Self, Vec<Vec<Sink>>), Error> {
        let top = Declared::top(requests)?;
        let (control, opened) =
            Control::open(&args.address, config(args, &top)?, args.peer_timeout)?;
        let format = agreed_format(format, &opened, &args.address);
        let (links, first_streams) = (Vec::new(), Vec::new());
        let mut remote =
            Self { control, opened, format, peer_timeout: args.peer_timeout, links, first_streams };
        let ports = remote.opened.ports.clone();
        let mut top_sinks = remote.connect(&top, &ports)?;
        let mut all = Vec::with_capacity(requests.len());
        for request in requests {
            let first = remote.links.len();
            let (first, sinks) = match &request.name {
                None => (Some(0), std::mem::take(&mut top_sinks)),
                Some(_) if remote.opened.extensions.instances => {
                    let ports = remote.control.instance(&session::Instance {
                        name: request.name.clone().unwrap_or_default(),
                        clock: request.clock.clone(),
                        cpus: request.cpus.clone(),
                        page_size: page_size(request.sub_buffer_size)?,
                    })?;
                    let declared = Declared::further(request)?;
                    (Some(first), remote.connect(&declared, &ports)?)
                }
                Some(_) => (None, Vec::new()),
            };
            remote.first_streams.push(first);
            all.push(sinks);
        }
        remote.tell_what_is_left_out(requests)?;
        Ok((remote, all))
    }

    /// Connects the streams of one buffer.
    fn connect(&mut self, buffer: &Declared<'_>, ports: &[u16]) -> Result<Vec<Sink>, Error> {
        let place = Ports::of(self.control.stream(), self.control.address())?;
        let mut sinks = Vec::new();
        for &port in ports {
            let stream = self.links.len();
            let number = u32::try_from(stream).unwrap_or(u32::MAX);
            let (link, sink) = match self.opened.protocol {
                Protocol::Udp => {
                    let numbered = self.opened.extensions.sequence.then_some(number);
                    place.datagrams(port, numbered, buffer.page_size)?
                }
                Protocol::Tcp | Protocol::Vsock => {
                    place.connection(port, self.control.data_token(number), self.peer_timeout)?
                }
            };
            self.links.push(link);
            sinks.push(sink);
        }
        let Some(request) = buffer.request else { return Ok(Vec::new()) };
        // CPUs that do not exist have a stream in the top buffer, and nothing to send.
        let of_cpu = |(index, sink)| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let wanted = request.name.is_some() || request.cpus.contains(&index);
            wanted.then_some(sink)
        };
        Ok(sinks.into_iter().enumerate().filter_map(of_cpu).collect())
    }

    fn tell_what_is_left_out(&self, requests: &[SinkRequest]) -> Result<(), Error> {
        let left_out =
            requests.iter().zip(&self.first_streams).filter(|(_, first)| first.is_none());
        let names: Vec<&str> =
            left_out.filter_map(|(request, _)| request.name.as_deref()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (address, names_text) = (self.control.address(), names.join(", "));
        let what = format!("the listener {address} keeps the top-level buffer only");
        if names.len() == requests.len() {
            return Err(Error::failure(format!("{what}, and nothing of it is recorded"))
                .hint("put events before the first -B, or record into a file"));
        }
        tell(&format!("{what}: {names_text} cannot be sent"));
        Ok(())
    }

    /// Sends the beginning of the file: all that is known before anything is recorded.
    pub(crate) fn introduce(&mut self, machine: &Machine, extra: &Extra) -> Result<(), Error> {
        let head = head_bytes(machine, &[], extra, self.format)?;
        self.control.send_metadata(&head)
    }

    /// Who is waited for while it is recorded: it speaks only when something is wrong.
    pub(crate) fn listener(&self) -> BorrowedFd<'_> {
        self.control.stream().as_fd()
    }

    /// Takes note of what the listener says while it is recorded.
    ///
    /// # Errors
    /// It wants no more, or is gone.
    pub(crate) fn take_news(&mut self) -> Result<(), Error> {
        self.control.take_news()
    }

    pub(crate) fn address(&self) -> &Address {
        self.control.address()
    }

    /// Ends all streams, sends what is known only now, and waits until the listener has it all. The recorders have
    /// ended.
    pub(crate) fn close(
        mut self,
        machine: &Machine,
        buffers: &[RecordedBuffer],
        extra: &Extra,
    ) -> (Delivery, Option<Error>) {
        let result = self.finish(machine, buffers, extra);
        let (received, problem) = match result {
            Ok(received) => (received, None),
            Err(error) => (HashMap::new(), Some(error)),
        };
        let fate = |stream: usize| {
            let counted = u32::try_from(stream).ok().and_then(|stream| received.get(&stream));
            match counted {
                Some(received) => Fate::Counted(*received),
                None => self.links.get(stream).map_or(Fate::Unknown, Link::fate),
            }
        };
        let cpus = self.streams_of(buffers).map(|(stream, buffer, cpu)| CpuDelivery {
            instance: buffer.name.clone(),
            cpu: cpu.cpu,
            sent: cpu.bytes,
            not_sent: cpu.discarded_bytes,
            fate: fate(stream),
        });
        let cpus = cpus.collect();
        let sees_loss = self.opened.protocol != Protocol::Udp || self.opened.extensions.sequence;
        let delivery = Delivery { listener: self.control.address().to_string(), cpus, sees_loss };
        let unconfirmed = || delivery.unconfirmed();
        let problem = problem.or_else(unconfirmed);
        (delivery, problem)
    }

    /// The stream of each CPU that was sent.
    fn streams_of<'a>(
        &'a self,
        buffers: &'a [RecordedBuffer],
    ) -> impl Iterator<Item = (usize, &'a RecordedBuffer, &'a CpuLedger)> {
        buffers.iter().zip(&self.first_streams).flat_map(|(buffer, first)| {
            let cpus = first.map(|first| {
                buffer.ledger.cpus.iter().enumerate().map(move |(index, cpu)| {
                    let index = if buffer.name.is_some() { index } else { cpu.cpu as usize };
                    (first.saturating_add(index), buffer, cpu)
                })
            });
            cpus.into_iter().flatten()
        })
    }

    /// Returns what the listener says it has, by stream; one of the C version says nothing.
    fn finish(
        &mut self,
        machine: &Machine,
        buffers: &[RecordedBuffer],
        extra: &Extra,
    ) -> Result<HashMap<u32, Received>, Error> {
        self.control.take_news()?;
        for link in &mut self.links {
            link.end_sending();
        }
        if !self.opened.extensions.accounts {
            // It takes what has arrived when it is told to close, and no more.
            link::wait_until_taken(&mut self.links);
            return self.control.finish(&[], &[]);
        }
        let mut produced = vec![0_u64; self.links.len()];
        for (stream, _, cpu) in self.streams_of(buffers) {
            if let Some(bytes) = produced.get_mut(stream) {
                *bytes = cpu.bytes.saturating_add(cpu.discarded_bytes);
            }
        }
        let tail = tail_bytes(machine, buffers, extra, self.format)?;
        self.control.finish(&produced, &tail)
    }
}

impl<'a> Declared<'a> {
    /// The top-level buffer, which a listener always has, recorded or not.
    fn top(requests: &'a [SinkRequest]) -> Result<Self, Error> {
        let top = requests.iter().find(|request| request.name.is_none());
        let any = top.or(requests.first());
        let cpus = match top {
            Some(top) => top.cpus.iter().max().map_or(0, |last| last.saturating_add(1)),
            None => capture::possible_cpus(),
        };
        let page_size = page_size(any.map_or(4096, |request| request.sub_buffer_size))?;
        Ok(Self { cpus, page_size, request: top })
    }

    fn further(request: &'a SinkRequest) -> Result<Self, Error> {
        let cpus = u32::try_from(request.cpus.len()).unwrap_or(u32::MAX);
        let page_size = page_size(request.sub_buffer_size)?;
        Ok(Self { cpus, page_size, request: Some(request) })
    }
}

fn config(args: &RemoteArgs, top: &Declared<'_>) -> Result<SenderConfig, Error> {
    Ok(SenderConfig {
        cpus: top.cpus,
        page_size: top.page_size,
        protocol: match args.address {
            Address::Tcp { .. } if args.tcp => Protocol::Tcp,
            Address::Tcp { .. } => Protocol::Udp,
            _ => Protocol::Vsock,
        },
        version: Version::V3,
        extensions: Extensions::ALL,
        key: args.key_file.as_deref().map(session_key).transpose()?,
        timeouts: Timeouts {
            step: args.peer_timeout,
            finish: args.peer_timeout,
            ..Timeouts::default()
        },
    })
}

fn session_key(path: &Path) -> Result<SessionKey, Error> {
    let failed = |error| Error::failure("cannot use the key").because(error);
    let key = Key::read(path).map_err(failed)?;
    let nonce = nonce().map_err(failed)?;
    let prove = move |role: &[u8], ours: &Nonce, theirs: &Nonce| key.proof(role, ours, theirs);
    Ok(SessionKey { prove: Arc::new(prove), nonce })
}

/// What the listener can take.
fn agreed_format(format: Format, opened: &Opened, address: &Address) -> Format {
    if opened.version == Version::V3 || format.version == FileVersion::V6 {
        return format;
    }
    tell(&format!("the listener {address} is an old one: its file will be of version 6"));
    Format { version: FileVersion::V6, codec: Codec::None }
}
