//! Both sides of a network recording's session, in this process.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trace_transport::session::{
    Arrival, Extensions, Opened, Piece, Protocol, Received, Receiver, ReceiverConfig,
    ReceiverEvent, Sender, SenderEvent, Sequence,
};
use trace_transport::splice::{Moved, ToFile};
use trace_transport::{Deadline, Interest, Stream, tcp, udp};

use crate::Outcome;

/// How long either side may take nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Kernel memory for the datagrams of a stream, where it can be had.
const DATAGRAMS: usize = 32 << 20;

/// How long datagrams may be on their way when all has been sent.
const LATE: Duration = Duration::from_millis(500);

/// The recorder's side of the control connection.
#[derive(Debug)]
pub struct Sending {
    control: Stream,
    sender: Sender,
}

impl Sending {
    /// Over a connection that nothing was said on.
    pub fn new(control: Stream, sender: Sender) -> Self {
        Self { control, sender }
    }

    /// Comes to terms with the listener, and sends it the beginning of the file.
    ///
    /// # Errors
    ///
    /// The listener refuses, or is gone.
    pub fn open(&mut self, head: &[u8]) -> Outcome<Opened> {
        let SenderEvent::Opened(opened) = self.next()? else { return Err("not opened".into()) };
        self.put(head)?;
        Ok(opened)
    }

    /// Says how much was sent; waits until the listener has it, where it says so. Returns the bytes that it says are
    /// lost.
    ///
    /// # Errors
    ///
    /// The listener is gone.
    pub fn close(mut self, lengths: &[u64]) -> Outcome<u64> {
        for (stream, &bytes) in (0..).zip(lengths) {
            self.sender.data_end(stream, bytes)?;
        }
        self.sender.close(Instant::now())?;
        self.flush()?;
        let mut lost = 0;
        loop {
            match self.next()? {
                SenderEvent::Received(received) => lost += received.lost_bytes,
                SenderEvent::Done => return Ok(lost),
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Outcome<SenderEvent> {
        loop {
            if let Some(event) = self.sender.next(Instant::now())? {
                return Ok(event);
            }
            self.flush()?;
            match self.control.read_some(self.sender.space(), soon())? {
                0 => self.sender.hung_up(),
                count => self.sender.filled(count),
            }
        }
    }

    fn flush(&mut self) -> Outcome<()> {
        let count = self.sender.output().len();
        self.control.write_all(self.sender.output(), soon())?;
        self.sender.sent(count);
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Outcome<()> {
        while !bytes.is_empty() {
            let taken = self.sender.put_metadata(bytes)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            self.flush()?;
        }
        self.sender.end_metadata()?;
        self.flush()
    }
}

/// Takes one session as a listener does, each stream by a thread of its own into a file without a name; returns
/// what came of each stream.
///
/// # Errors
///
/// The recorder is gone, or something cannot be written.
pub fn receive(mut control: Stream) -> Outcome<Vec<Received>> {
    let config = ReceiverConfig { extensions: Extensions::ALL, ..ReceiverConfig::default() };
    let mut receiver = Receiver::new(config, Instant::now());
    let mut streams: Vec<ReceivedStream> = Vec::new();
    loop {
        let now = Instant::now();
        match receiver.next(now)? {
            Some(ReceiverEvent::Start(start)) => {
                let open = |stream| ReceivedStream::open(stream, start.protocol, start.page_size);
                streams = (0..start.cpus).map(open).collect::<Outcome<_>>()?;
                let ports: Vec<u16> = streams.iter().map(|stream| stream.port).collect();
                receiver.ports(&ports, now)?;
            }
            Some(ReceiverEvent::DataEnd { stream, bytes }) => {
                let stream = streams.get(stream as usize).ok_or("no such stream")?;
                stream.end.store(bytes, Ordering::SeqCst);
            }
            Some(ReceiverEvent::Close) => break,
            Some(_) => {}
            None => {
                flush(&mut receiver, &mut control)?;
                match control.read_some(receiver.space(), soon())? {
                    0 => receiver.hung_up(),
                    count => receiver.filled(count),
                }
            }
        }
    }
    let received: Vec<Received> =
        streams.into_iter().map(ReceivedStream::finish).collect::<Outcome<_>>()?;
    receiver.finish(&received)?;
    flush(&mut receiver, &mut control)?;
    Ok(received)
}

fn flush(receiver: &mut Receiver, control: &mut Stream) -> Outcome<()> {
    let count = receiver.output().len();
    control.write_all(receiver.output(), soon())?;
    receiver.sent(count);
    Ok(())
}

/// A stream that is received.
struct ReceivedStream {
    port: u16,
    /// Bytes there are, once that is known.
    end: Arc<AtomicU64>,
    thread: JoinHandle<Result<Received, String>>,
}

impl ReceivedStream {
    fn open(stream: u32, protocol: Protocol, page_size: u32) -> Outcome<Self> {
        let end = Arc::new(AtomicU64::new(u64::MAX));
        let known = Arc::clone(&end);
        let file = tempfile::tempfile()?;
        let told = |result: Outcome<Received>| result.map_err(|error| error.to_string());
        if protocol == Protocol::Udp {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let receiver = udp::Receiver::bind(any, DATAGRAMS)?;
            // Where it cannot be had each comes alone.
            let _ = receiver.coalesce();
            let port = receiver.address().port();
            let sequence = Sequence::new(stream, page_size, Sequence::WINDOW);
            let receive = move || told(receive_datagrams(&receiver, sequence, &file, &known));
            return Ok(Self { port, end, thread: std::thread::spawn(receive) });
        }
        let listener = tcp::Listener::bind("127.0.0.1", 0)?;
        let port = listener.address().port();
        let receive = move || told(receive_stream(&listener, stream, &file));
        Ok(Self { port, end, thread: std::thread::spawn(receive) })
    }

    fn finish(self) -> Outcome<Received> {
        let received = self.thread.join().map_err(|_| "a receiver panics")??;
        let end = self.end.load(Ordering::SeqCst);
        if received.bytes + received.lost_bytes != end {
            return Err(format!("{received:?} of {end} bytes").into());
        }
        Ok(received)
    }
}

fn receive_stream(listener: &tcp::Listener, stream: u32, file: &File) -> Outcome<Received> {
    let data = accept(listener)?;
    let (mut mover, mut bytes) = (ToFile::new()?, 0);
    loop {
        match mover.step(&data, file, &mut bytes, usize::MAX)? {
            Moved::End => return Ok(Received { stream, bytes, ..Received::default() }),
            Moved::SourceEmpty if !data.wait(Interest::Read, soon())? => {
                return Err("nothing comes".into());
            }
            _ => {}
        }
    }
}

fn receive_datagrams(
    receiver: &udp::Receiver,
    mut sequence: Sequence,
    mut file: &File,
    end: &AtomicU64,
) -> Outcome<Received> {
    use std::io::Write;

    let mut slab = udp::Slab::new();
    let mut quiet_since = Instant::now();
    loop {
        // Before it is looked: on a busy machine much may come until the time is asked for.
        let quiet = quiet_since.elapsed();
        let batch = receiver.receive(&mut slab)?;
        let is_late = batch.is_empty() && quiet > LATE;
        if !batch.is_empty() {
            quiet_since = Instant::now();
        }
        for datagram in batch.datagrams() {
            if let Arrival::InOrder(bytes) = sequence.arrive(datagram.bytes)? {
                file.write_all(bytes)?;
            }
            while let Some(piece) = sequence.next_piece() {
                if let Piece::Data(bytes) = piece {
                    file.write_all(bytes)?;
                }
            }
        }
        let produced = end.load(Ordering::SeqCst);
        let received = sequence.received();
        let all = received.bytes + received.lost_bytes >= produced;
        if all || (produced < u64::MAX && is_late) {
            break;
        }
        if quiet_since.elapsed() > Duration::from_millis(1) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    sequence.end(end.load(Ordering::SeqCst))?;
    while let Some(piece) = sequence.next_piece() {
        if let Piece::Data(bytes) = piece {
            file.write_all(bytes)?;
        }
    }
    Ok(sequence.received())
}

/// Waits for the one who connects.
///
/// # Errors
///
/// Nobody does.
pub fn accept(listener: &tcp::Listener) -> Outcome<Stream> {
    let since = Instant::now();
    loop {
        if let Some((stream, _)) = listener.accept()? {
            return Ok(stream);
        }
        if since.elapsed() > PATIENCE {
            return Err("nobody connects".into());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}
