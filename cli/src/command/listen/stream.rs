//! The data of one CPU on its way here: a connection, or datagrams.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use thiserror::Error;
use trace_transport::session::{
    Arrival, Piece, Proof, Received, Sequence, SequenceError, SequenceHeader, same_proof,
};
use trace_transport::udp::{self, Slab};
use trace_transport::{Listener, Peer, Stream};
use tracedat::WriteError;

use super::budget::{Budget, Limit};
use super::sink::{Lane, RegionSink, TakeError, Taken};
use super::workshop::{Bench, Workshop};

/// Bytes of one stream that are taken before others have their turn.
const TURN: usize = 1 << 20;

/// Once all was sent, datagrams that do not come for so long are lost: nothing tells that the last one
/// has come.
const QUIET: Duration = Duration::from_millis(60);

/// Why no more of a client's data can be taken.
#[derive(Debug, Error)]
pub(super) enum StreamError {
    /// What it may write is used up.
    #[error("{}", match .0 {
        Limit::Client => "the limit of bytes for one client is reached",
        Limit::Total => "the limit of bytes for all clients is reached",
    })]
    Limit(Limit),
    /// The file is full or broken.
    #[error("the file cannot be written")]
    File(#[from] WriteError),
    /// Its datagrams make no sense together.
    #[error("CPU {cpu}: bad datagrams")]
    Sequence {
        /// Whose.
        cpu: u32,
        #[source]
        source: SequenceError,
    },
}

/// The data of one CPU.
#[derive(Debug)]
pub(super) struct DataStream {
    /// Its number in the session.
    pub(super) number: u32,
    pub(super) cpu: u32,
    page_size: u32,
    way: Way,
    sink: Option<RegionSink>,
    /// Bytes that were sent, where that is told.
    produced: Option<u64>,
    /// What a connection has to start with.
    token: Option<Proof>,
    /// When something came last, or the end was told.
    last: Instant,
    is_over: bool,
    /// Whether the file did not take all that came: what would come behind that has no place.
    is_cut: bool,
    /// Why a connection ended before its time.
    broken: Option<io::Error>,
    /// What came and is not taken.
    foreign: u64,
    /// Connections of others.
    strangers: u64,
}

#[derive(Debug)]
enum Way {
    /// Nobody has connected, or nobody who has shown that the data is its.
    Waiting {
        listener: Listener,
        callers: Vec<Caller>,
    },
    Connected(Stream),
    Datagrams {
        socket: udp::Receiver,
        /// Where they are numbered.
        sequence: Option<Box<Sequence>>,
        /// Where they come from, once that is known.
        from: Option<SocketAddr>,
    },
}

/// A connection that has to show a token.
#[derive(Debug)]
struct Caller {
    stream: Stream,
    /// What of it has come.
    token: Vec<u8>,
}

/// Connections that may be about to show a token; a further one takes the place of the oldest.
const MAX_CALLERS: usize = 8;

/// What a stream's turn needs of its client.
pub(super) struct Turn<'a, 'b> {
    pub(super) control: &'a Peer,
    pub(super) lane: &'a mut Lane,
    pub(super) workshop: &'a Workshop,
    pub(super) budget: &'a mut Budget<'b>,
    pub(super) now: Instant,
}

impl DataStream {
    /// Waits for a connection.
    pub(super) fn connection(
        number: u32,
        cpu: u32,
        page_size: u32,
        listener: Listener,
        now: Instant,
    ) -> Self {
        let way = Way::Waiting { listener, callers: Vec::new() };
        Self::new(number, cpu, page_size, way, now)
    }

    /// Waits for datagrams.
    pub(super) fn datagrams(
        number: u32,
        cpu: u32,
        page_size: u32,
        socket: udp::Receiver,
        is_numbered: bool,
        now: Instant,
    ) -> Self {
        let sequence = || Box::new(Sequence::new(number, page_size, Sequence::WINDOW));
        let sequence = is_numbered.then(sequence);
        let way = Way::Datagrams { socket, sequence, from: None };
        Self::new(number, cpu, page_size, way, now)
    }

    fn new(number: u32, cpu: u32, page_size: u32, way: Way, now: Instant) -> Self {
        Self {
            number,
            cpu,
            page_size,
            way,
            sink: None,
            produced: None,
            token: None,
            last: now,
            is_over: false,
            is_cut: false,
            broken: None,
            foreign: 0,
            strangers: 0,
        }
    }

    /// What its connection has to start with.
    pub(super) fn expect_token(&mut self, token: Option<Proof>) {
        self.token = token;
    }

    /// Where its data goes; none is taken before.
    pub(super) fn set_sink(&mut self, sink: RegionSink) {
        self.sink = Some(sink);
    }

    /// What to wait for, if there is something to be done then.
    pub(super) fn wants(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (one, callers): (_, &[Caller]) = match &self.way {
            _ if self.is_over => (None, &[]),
            Way::Waiting { listener, callers } => (Some(listener.as_fd()), callers),
            Way::Connected(stream) => (self.sink.as_ref().map(|_| stream.as_fd()), &[]),
            Way::Datagrams { socket, .. } => (self.sink.as_ref().map(|_| socket.as_fd()), &[]),
        };
        one.into_iter().chain(callers.iter().map(|caller| caller.stream.as_fd()))
    }

    /// So many bytes were sent, and no more will be.
    pub(super) fn ends_at(&mut self, produced: u64, now: Instant) {
        self.produced = Some(produced);
        self.last = now;
        if produced == self.delivered() && !matches!(self.way, Way::Datagrams { .. }) {
            self.is_over = true;
        }
    }

    /// All was sent: what is on its way has to come soon.
    pub(super) fn all_was_sent(&mut self, control: &Peer, now: Instant) {
        self.last = now;
        self.admit(control, now);
        if let Way::Waiting { callers, .. } = &self.way {
            // Nobody who has said all connects any more.
            self.is_over = callers.is_empty();
        }
    }

    /// Takes in who has connected, and shown what has to be shown.
    fn admit(&mut self, control: &Peer, now: Instant) {
        let Way::Waiting { listener, callers } = &mut self.way else { return };
        while let Ok(Some((stream, peer))) = listener.accept() {
            if !is_same_host(control, &peer) {
                self.strangers += 1;
                continue;
            }
            if self.token.is_none() {
                (self.way, self.last) = (Way::Connected(stream), now);
                return;
            }
            if callers.len() >= MAX_CALLERS {
                callers.remove(0);
                self.strangers += 1;
            }
            callers.push(Caller { stream, token: Vec::new() });
        }
        let Some(expected) = &self.token else { return };
        let mut at = 0;
        while let Some(Caller { stream, token }) = callers.get_mut(at) {
            match read_token(stream, token, expected) {
                Ok(true) => {
                    let Caller { stream, .. } = callers.swap_remove(at);
                    self.strangers += callers.len() as u64;
                    (self.way, self.last) = (Way::Connected(stream), now);
                    return;
                }
                Ok(false) => at += 1,
                Err(_) => {
                    callers.remove(at);
                    self.strangers += 1;
                }
            }
        }
    }

    /// When something came last.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// Bytes that came, lost ones not counted.
    pub(super) fn delivered(&self) -> u64 {
        self.sink.as_ref().map_or(0, RegionSink::bytes)
    }

    /// Takes what is there.
    ///
    /// # Errors
    /// The file or a limit ends it. What the peer does to its connection is no error.
    pub(super) fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), StreamError> {
        let result = match &mut self.way {
            Way::Waiting { .. } => {
                self.admit(turn.control, turn.now);
                Ok(())
            }
            Way::Connected(_) => self.take_bytes(turn),
            Way::Datagrams { .. } => turn.workshop.with(|bench| {
                let mut slab = bench.slab.take().unwrap_or_default();
                let result = self.take_datagrams(&mut slab, bench, turn);
                bench.slab = Some(slab);
                result
            }),
        };
        self.is_cut |= matches!(result, Err(StreamError::File(_)));
        result
    }

    fn take_bytes(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), StreamError> {
        let (Way::Connected(stream), Some(sink)) = (&mut self.way, &mut self.sink) else {
            return Ok(());
        };
        let mut left = TURN;
        while left > 0 {
            let granted = turn.budget.reserve(left).map_err(StreamError::Limit)?;
            let taken = sink.take(&*stream, turn.lane, granted, turn.workshop);
            let count = if let Ok(Taken::Bytes(count)) = taken { count } else { 0 };
            turn.budget.give_back(granted.saturating_sub(count));
            left -= count.min(left);
            match taken {
                Ok(Taken::Bytes(_)) => self.last = turn.now,
                Ok(Taken::Nothing) => break,
                Ok(Taken::End) => {
                    self.is_over = true;
                    break;
                }
                Err(TakeError::Peer(error)) => {
                    (self.broken, self.is_over) = (Some(error), true);
                    break;
                }
                Err(TakeError::File(error)) => return Err(error.into()),
            }
        }
        if self.produced.is_some_and(|produced| sink.bytes() >= produced) {
            self.is_over = true;
        }
        Ok(())
    }

    fn take_datagrams(
        &mut self,
        slab: &mut Slab,
        bench: &mut Bench,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), StreamError> {
        let (Way::Datagrams { socket, sequence, from }, Some(sink)) =
            (&mut self.way, &mut self.sink)
        else {
            return Ok(());
        };
        let host = match turn.control {
            Peer::Tcp(address) => Some(address.ip()),
            _ => None,
        };
        let mut left = TURN;
        let mut write = |sink: &mut RegionSink, bytes: &[u8], bench: &mut Bench| {
            let granted = turn.budget.reserve(bytes.len()).map_err(StreamError::Limit)?;
            if granted < bytes.len() {
                turn.budget.give_back(granted);
                return Err(StreamError::Limit(Limit::Client));
            }
            sink.write(bytes, bench).map_err(StreamError::from)
        };
        while left > 0 {
            let Ok(batch) = socket.receive(slab) else { break };
            if batch.is_empty() {
                break;
            }
            self.last = turn.now;
            for datagram in batch.datagrams() {
                left = left.saturating_sub(datagram.bytes.len());
                let is_known = from.is_none_or(|from| from == datagram.from);
                if !is_known || host.is_some_and(|host| host != datagram.from.ip().to_canonical()) {
                    self.foreign += 1;
                    continue;
                }
                *from = Some(datagram.from);
                let Some(sequence) = sequence else {
                    // What is no sub-buffer would shift all that follows.
                    if datagram.bytes.len() == self.page_size as usize {
                        write(sink, datagram.bytes, bench)?;
                    } else {
                        self.foreign += 1;
                    }
                    continue;
                };
                let len = datagram.bytes.len().checked_sub(SequenceHeader::SIZE);
                if len != Some(self.page_size as usize) {
                    self.foreign += 1;
                    continue;
                }
                match sequence.arrive(datagram.bytes) {
                    Ok(Arrival::InOrder(bytes)) => write(sink, bytes, bench)?,
                    Ok(Arrival::Held | Arrival::Stale) => {}
                    Err(_) => self.foreign += 1,
                }
                while let Some(piece) = sequence.next_piece() {
                    if let Piece::Data(bytes) = piece {
                        write(sink, bytes, bench)?;
                    }
                }
            }
        }
        if let (Some(produced), Some(sequence)) = (self.produced, sequence) {
            let received = sequence.received();
            if received.bytes.saturating_add(received.lost_bytes) >= produced {
                self.is_over = true;
            }
        }
        Ok(())
    }

    /// Whether nothing more will come, once all was sent.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.is_over
            || match &self.way {
                Way::Waiting { .. } | Way::Connected(_) => false,
                Way::Datagrams { sequence, .. } => {
                    let received = sequence.as_ref().map(|sequence| sequence.received());
                    let complete = received.zip(self.produced);
                    complete.is_some_and(|(received, produced)| received.bytes >= produced)
                        || self.is_silent(now)
                }
            }
    }

    /// Whether datagrams have not come for so long that the rest is lost, if nothing waits to be taken.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        !self.is_over
            && matches!(self.way, Way::Datagrams { .. })
            && now.saturating_duration_since(self.last) >= QUIET
    }

    /// When to look again, once all was sent.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let waits = !self.is_over && matches!(self.way, Way::Datagrams { .. });
        waits.then(|| self.last + QUIET)
    }

    /// Takes no more, and writes what waits. Says what is in the file of what was sent.
    pub(super) fn finish(
        &mut self,
        budget: &mut Budget<'_>,
        workshop: &Workshop,
    ) -> (Received, Result<(), StreamError>) {
        self.is_over = true;
        let result = self.finish_data(budget, workshop);
        let mut received = Received { stream: self.number, ..Received::default() };
        let taken = self.delivered();
        let kept = self.sink.as_ref().map_or(0, |sink| sink.recorded().size);
        received.bytes = kept;
        received.lost_bytes = taken.saturating_sub(kept);
        match &self.way {
            Way::Datagrams { sequence: Some(sequence), .. } => {
                let told = sequence.received();
                received.lost_bytes = received.lost_bytes.saturating_add(told.lost_bytes);
                received.lost_datagrams = told.lost_datagrams;
            }
            _ => {
                let sent = self.produced.unwrap_or(taken);
                received.lost_bytes = sent.saturating_sub(kept);
            }
        }
        (received, result)
    }

    fn finish_data(
        &mut self,
        budget: &mut Budget<'_>,
        workshop: &Workshop,
    ) -> Result<(), StreamError> {
        let Some(sink) = self.sink.as_mut().filter(|_| !self.is_cut) else { return Ok(()) };
        if let Way::Datagrams { sequence: Some(sequence), .. } = &mut self.way {
            match self.produced.map(|produced| sequence.end(produced)) {
                Some(Ok(())) => {}
                Some(Err(source)) => {
                    sequence.give_up();
                    return Err(StreamError::Sequence { cpu: self.cpu, source });
                }
                None => sequence.give_up(),
            }
            workshop.with(|bench| {
                while let Some(piece) = sequence.next_piece() {
                    if let Piece::Data(bytes) = piece
                        && budget.reserve(bytes.len()) == Ok(bytes.len())
                    {
                        sink.write(bytes, bench)?;
                    }
                }
                Ok::<(), WriteError>(())
            })?;
        }
        sink.finish(workshop)?;
        Ok(())
    }

    /// What is in the file.
    pub(super) fn recorded(&self) -> tracedat::write::Recorded {
        self.sink.as_ref().map(RegionSink::recorded).unwrap_or_default()
    }

    /// Why its connection ended before its time, if it did.
    pub(super) fn broken(&mut self) -> Option<io::Error> {
        self.broken.take()
    }

    /// Datagrams that were not its sender's, or made no sense.
    pub(super) fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Connections to its port that were not its sender's.
    pub(super) fn strangers(&self) -> u64 {
        self.strangers
    }

    /// Whether losses on the way can be known.
    pub(super) fn is_accounted(&self) -> bool {
        !matches!(self.way, Way::Datagrams { sequence: None, .. })
    }
}

/// Whether data comes from the host that the control connection is with.
fn is_same_host(control: &Peer, data: &Peer) -> bool {
    match (control, data) {
        (Peer::Tcp(one), Peer::Tcp(other)) => one.ip() == other.ip(),
        (Peer::Vsock { cid: one, .. }, Peer::Vsock { cid: other, .. }) => one == other,
        (Peer::Unix(one), Peer::Unix(other)) => one.uid == other.uid,
        _ => false,
    }
}

/// Reads on in the token; true when it is whole and right.
fn read_token(stream: &mut Stream, token: &mut Vec<u8>, expected: &Proof) -> io::Result<bool> {
    while token.len() < expected.len() {
        let mut bytes = [0; size_of::<Proof>()];
        let room = expected.len() - token.len();
        match stream.try_read(&mut bytes[..room])? {
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(count) => token.extend_from_slice(&bytes[..count]),
            None => return Ok(false),
        }
    }
    match token.as_slice().try_into() {
        Ok(token) if same_proof(token, expected) => Ok(true),
        _ => Err(io::Error::new(io::ErrorKind::PermissionDenied, "a wrong token")),
    }
}
