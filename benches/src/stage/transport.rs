//! Messages to bytes and back; a whole session over loopback, from the first connection to all data in files.

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use trace_transport::message::{Decoder, MAX_DATA, Message};
use trace_transport::session::{
    Extensions, Numbering, Protocol, Sender, SenderConfig, SequenceHeader, Timeouts, Version,
};
use trace_transport::{Deadline, tcp, udp};

use super::Work;
use crate::Outcome;
use crate::session::{Sending, accept, receive};
use crate::workload::{Source, Traces};

/// How long a step of a session may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Datagrams that are sent at once.
const BATCH: usize = 64;

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    let source = traces.all().next().ok_or("no trace")?;
    let session = Rc::new(Session::new(source)?);
    Ok(vec![codec()?, session.work("tcp", Protocol::Tcp), session.work("udp", Protocol::Udp)])
}

fn codec() -> Outcome<Work> {
    const MESSAGES: u64 = 1000;
    let payload = [0x5a; MAX_DATA];
    let mut decoder = Decoder::new();
    let mut bytes = Vec::new();
    let run = move || {
        for _ in 0..MESSAGES {
            bytes.clear();
            Message::SendData(&payload).encode(&mut bytes).expect("a message of usual size");
            assert_eq!(decoder.push(&bytes), bytes.len());
            let frame = decoder.next_frame().expect("a whole message").expect("a whole message");
            match black_box(Message::decode(&frame)) {
                Ok(Message::SendData(data)) => assert_eq!(data.len(), payload.len()),
                other => panic!("{other:?}"),
            }
        }
    };
    Ok(Work::new("codec", MESSAGES, MESSAGES * MAX_DATA as u64, run))
}

/// What is sent.
struct Session {
    events: u64,
    page_size: u32,
    head: Vec<u8>,
    /// Sub-buffers of each CPU.
    cpus: Vec<Vec<u8>>,
}

impl Session {
    fn new(source: &Source) -> Outcome<Self> {
        let (metadata, trace) = (source.open()?.metadata, &source.trace);
        let cpus: Vec<Vec<u8>> = trace.cpus(&metadata).map(<[u8]>::to_vec).collect();
        let first = metadata.buffers.iter().flat_map(|buffer| &buffer.cpus).next();
        // What is before the data need not be a head here: nobody looks into it.
        let head = trace.file[..first.ok_or("no CPU")?.offset as usize].to_vec();
        Ok(Self { events: trace.events, page_size: metadata.page_size, head, cpus })
    }

    fn work(self: &Rc<Self>, name: &str, protocol: Protocol) -> Work {
        let (session, bytes) = (Rc::clone(self), self.cpus.iter().map(Vec::len).sum::<usize>());
        let run = move || {
            let received = session.run(protocol).expect("a session over loopback");
            assert_eq!(received, bytes as u64);
        };
        Work::new(name, self.events, bytes as u64, run).unsteady()
    }

    /// Returns the bytes that came, and those that the listener says are lost.
    fn run(&self, protocol: Protocol) -> Outcome<u64> {
        let listener = tcp::Listener::bind("127.0.0.1", 0)?;
        let port = listener.address().port();
        let listening = std::thread::spawn(move || {
            let received = accept(&listener).and_then(receive);
            let received = received.map_err(|error| error.to_string())?;
            Ok(received.iter().map(|stream| stream.bytes).sum::<u64>())
        });
        let config = SenderConfig {
            cpus: u32::try_from(self.cpus.len())?,
            page_size: self.page_size,
            protocol,
            version: Version::V3,
            extensions: Extensions::ALL,
            key: None,
            timeouts: Timeouts { finish: PATIENCE, ..Timeouts::default() },
        };
        let sender = Sender::new(config, Instant::now())?;
        let mut session = Sending::new(tcp::connect("127.0.0.1", port, soon())?, sender);
        let opened = session.open(&self.head)?;
        let streams = (0..).zip(&self.cpus).zip(&opened.ports);
        for ((stream, bytes), &port) in streams {
            match opened.protocol {
                Protocol::Udp => self.send_datagrams(stream, bytes, port)?,
                _ => tcp::connect("127.0.0.1", port, soon())?.write_all(bytes, soon())?,
            }
        }
        let lengths: Vec<u64> = self.cpus.iter().map(|bytes| bytes.len() as u64).collect();
        let lost = session.close(&lengths)?;
        let received: Result<u64, String> = listening.join().map_err(|_| "the listener panics")?;
        Ok(received? + lost)
    }

    fn send_datagrams(&self, stream: u32, bytes: &[u8], port: u16) -> Outcome<()> {
        let mut sender = udp::Sender::connect(([127, 0, 0, 1], port).into())?;
        let mut numbering = Numbering::new(stream);
        for batch in bytes.chunks(BATCH * self.page_size as usize) {
            let mut headers = [[0; SequenceHeader::SIZE]; BATCH];
            let pages = batch.chunks(self.page_size as usize);
            let mut datagrams = Vec::with_capacity(BATCH);
            for (header, page) in headers.iter_mut().zip(pages) {
                *header = numbering.next_header(page.len());
                datagrams.push([&header[..], page]);
            }
            sender.send(&datagrams, soon())?;
        }
        Ok(())
    }
}

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}
