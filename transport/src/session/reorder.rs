//! What arrives of one stream of datagrams, in order, and what does not.

use std::collections::BTreeMap;

use super::{MAX_DATAGRAM, Received, SequenceError, SequenceHeader};

/// Puts the datagrams of one stream in order, and knows exactly what is lost.
///
/// ```
/// use trace_transport::session::{Arrival, Numbering, Piece, Sequence};
///
/// let mut numbering = Numbering::new(0);
/// let [a, b, c] = ["one", "two", "three"].map(|text| {
///     [&numbering.next_header(text.len())[..], text.as_bytes()].concat()
/// });
/// let mut sequence = Sequence::new(0, 4096, Sequence::WINDOW);
/// assert_eq!(sequence.arrive(&a)?, Arrival::InOrder(b"one"));
/// assert_eq!(sequence.arrive(&c)?, Arrival::Held);
/// assert_eq!(sequence.next_piece(), None);
/// sequence.end(numbering.bytes())?; // and "two" never came
/// assert_eq!(sequence.next_piece(), Some(Piece::Lost { datagrams: 1, bytes: 3 }));
/// assert_eq!(sequence.next_piece(), Some(Piece::Data(b"three")));
/// let received = sequence.received();
/// assert_eq!((received.bytes, received.lost_bytes), (8, 3));
/// # Ok::<(), trace_transport::session::SequenceError>(())
/// ```
#[derive(Debug)]
pub struct Sequence {
    page_size: u32,
    window: usize,
    /// The first place that is neither delivered nor lost. `bytes_before` is always delivered plus lost.
    next: SequenceHeader,
    /// What came too early, by number.
    held: BTreeMap<u64, Held>,
    held_cost: usize,
    /// What [`next_piece`](Self::next_piece) lends.
    lent: Vec<u8>,
    giving_up: bool,
    /// Bytes of the whole stream, when they are known.
    produced: Option<u64>,
    received: Received,
    stale: u64,
}

#[derive(Debug)]
struct Held {
    bytes_before: u64,
    payload: Vec<u8>,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival<'a> {
    /// These are the stream's next bytes.
    InOrder(&'a [u8]),
    /// It came early, and comes out of [`next_piece`](Sequence::next_piece).
    Held,
    /// It was there before, or is already written off as lost.
    Stale,
}

/// What comes next in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Its bytes.
    Data(&'a [u8]),
    /// A gap.
    Lost {
        /// Datagrams in it; at the end of a stream the least that it takes for these bytes.
        datagrams: u64,
        /// Bytes in it.
        bytes: u64,
    },
}

impl Sequence {
    /// Bytes that are held for what comes late, if nothing else is wanted.
    pub const WINDOW: usize = 256 << 10;

    /// What a datagram costs in memory besides its bytes.
    const OVERHEAD: usize = 128;

    /// A stream of which nothing has come. Datagrams have up to `page_size` bytes; while a gap is open, up to `window`
    /// bytes are held behind it, and one datagram more.
    #[must_use]
    pub fn new(stream: u32, page_size: u32, window: usize) -> Self {
        Self {
            page_size,
            window,
            next: SequenceHeader { stream, number: 0, bytes_before: 0 },
            held: BTreeMap::new(),
            held_cost: 0,
            lent: Vec::new(),
            giving_up: false,
            produced: None,
            received: Received { stream, ..Received::default() },
            stale: 0,
        }
    }

    /// Takes a datagram, header included. Call [`next_piece`](Self::next_piece) after it until there is none.
    ///
    /// # Errors
    ///
    /// It is not of this stream, or contradicts others. It is then as if it had not come.
    pub fn arrive<'a>(&mut self, datagram: &'a [u8]) -> Result<Arrival<'a>, SequenceError> {
        let (header, payload) = SequenceHeader::split(datagram)?;
        if header.stream != self.next.stream {
            let (got, expected) = (header.stream, self.next.stream);
            return Err(SequenceError::Stream { got, expected });
        }
        if payload.is_empty() {
            return Err(SequenceError::Short { size: datagram.len() });
        }
        if header.number < self.next.number
            || self.produced == Some(self.next.bytes_before)
            || self.held.contains_key(&header.number)
        {
            self.stale += 1;
            return Ok(Arrival::Stale);
        }
        let behind = self.place(header, payload.len())?;
        if header.number == self.next.number {
            self.next = behind;
            self.received.bytes += payload.len() as u64;
            return Ok(Arrival::InOrder(payload));
        }
        self.held_cost += payload.len() + Self::OVERHEAD;
        let held = Held { bytes_before: header.bytes_before, payload: payload.to_vec() };
        self.held.insert(header.number, held);
        Ok(Arrival::Held)
    }

    /// What comes next, as far as it is known: data behind a gap that closed, or the gap when more is held behind it
    /// than the window has, or it was given up.
    pub fn next_piece(&mut self) -> Option<Piece<'_>> {
        let Some(first) = self.held.first_entry() else {
            self.giving_up = false;
            return self.end_piece();
        };
        let (number, bytes_before) = (*first.key(), first.get().bytes_before);
        if number != self.next.number {
            if !self.giving_up && self.held_cost <= self.window {
                return None;
            }
            let piece = self.lose(number - self.next.number, bytes_before);
            self.next.number = number;
            return Some(piece);
        }
        self.lent = first.remove().payload;
        self.held_cost -= self.lent.len() + Self::OVERHEAD;
        // Checked when it came.
        self.next.number += 1;
        self.next.bytes_before += self.lent.len() as u64;
        self.received.bytes += self.lent.len() as u64;
        Some(Piece::Data(&self.lent))
    }

    /// Waits no longer for what is late: [`next_piece`](Self::next_piece) gives all that is held, and the gaps.
    pub fn give_up(&mut self) {
        self.giving_up = !self.held.is_empty();
    }

    /// Takes note that the stream is complete: `produced` bytes were sent, and nothing is on the way any more. What is
    /// missing comes out of [`next_piece`](Self::next_piece) as lost.
    ///
    /// # Errors
    ///
    /// [`SequenceError::MoreThanProduced`].
    pub fn end(&mut self, produced: u64) -> Result<(), SequenceError> {
        let last = self.held.last_key_value().map(|(_, held)| held);
        let arrived = last
            .map_or(self.next.bytes_before, |held| held.bytes_before + held.payload.len() as u64);
        if arrived > produced {
            return Err(SequenceError::MoreThanProduced { arrived, produced });
        }
        self.produced = Some(produced);
        self.give_up();
        Ok(())
    }

    /// Whether a gap is open, behind which data is held.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// What came out so far, and what is lost. After [`end`](Self::end) and the last piece, both together are all that
    /// was produced.
    #[must_use]
    pub fn received(&self) -> Received {
        self.received
    }

    /// Datagrams that came twice, or after they were written off.
    #[must_use]
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// The place behind a new datagram, which must fit between those that are known.
    fn place(&self, header: SequenceHeader, size: usize) -> Result<SequenceHeader, SequenceError> {
        let SequenceHeader { stream, number, bytes_before } = header;
        let contradiction = SequenceError::Contradiction { number, bytes_before };
        let behind = number.checked_add(1).zip(bytes_before.checked_add(size as u64));
        let Some((next_number, next_bytes)) = behind else { return Err(contradiction) };
        let before = self.held.range(..number).next_back();
        let before = before.map_or((self.next.number, self.next.bytes_before), |(number, held)| {
            (number + 1, held.bytes_before + held.payload.len() as u64)
        });
        let after = self.held.range(next_number..).next();
        let after = after.map(|(&number, held)| (number, held.bytes_before));
        let fits = is_gap(before, (number, bytes_before))
            && after.is_none_or(|after| is_gap((next_number, next_bytes), after))
            && self.produced.is_none_or(|produced| next_bytes <= produced);
        if fits {
            Ok(SequenceHeader { stream, number: next_number, bytes_before: next_bytes })
        } else {
            Err(contradiction)
        }
    }

    /// What is missing at the end.
    fn end_piece(&mut self) -> Option<Piece<'_>> {
        let produced = self.produced?;
        let bytes = produced.checked_sub(self.next.bytes_before).filter(|&bytes| bytes > 0)?;
        let datagrams = bytes.div_ceil(u64::from(self.page_size.max(1)));
        Some(self.lose(datagrams, produced))
    }

    fn lose(&mut self, datagrams: u64, end: u64) -> Piece<'static> {
        let bytes = end - self.next.bytes_before;
        self.next.bytes_before = end;
        self.received.lost_bytes += bytes;
        self.received.lost_datagrams = self.received.lost_datagrams.saturating_add(datagrams);
        Piece::Lost { datagrams, bytes }
    }
}

/// Whether the datagrams between two places can have the bytes between them: at least one each, and at most what a
/// datagram holds.
fn is_gap(from: (u64, u64), to: (u64, u64)) -> bool {
    match (to.0.checked_sub(from.0), to.1.checked_sub(from.1)) {
        (Some(datagrams), Some(bytes)) => {
            let most = datagrams.saturating_mul(MAX_DATAGRAM as u64);
            (datagrams..=most).contains(&bytes)
        }
        _ => false,
    }
}
