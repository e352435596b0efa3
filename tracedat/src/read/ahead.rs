//! Chunks that are read and decompressed before they are wanted, by a thread of their own.
//!
//! Every CPU has a slot for its next chunk. Who wants a chunk that the thread has not begun with makes
//! it himself, so nobody waits for less than what he would have to do.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::section;
use crate::compress::{Codec, Decompressor};
use crate::error::ReadError;
use crate::source::ReadAt;

/// The way to the thread, which ends when all of them are gone.
#[derive(Clone)]
pub(super) struct ReadAhead(Sender<Arc<Slot>>);

/// A chunk, and how it becomes sub-buffers.
pub(super) struct Chunk {
    pub(super) source: Arc<dyn ReadAt>,
    pub(super) codec: Codec,
    /// Where its compressed bytes are, and how many.
    pub(super) body: u64,
    pub(super) compressed: u64,
    /// Bytes it decompresses to.
    pub(super) size: usize,
}

/// What makes chunks, one after the other.
#[derive(Default)]
pub(super) struct Unpacker {
    packed: Vec<u8>,
    decompressor: Option<(Codec, Decompressor)>,
}

impl Unpacker {
    /// Reads and decompresses a chunk into `out`.
    pub(super) fn unpack(&mut self, chunk: &Chunk, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let Chunk { source, codec, body, compressed, size } = chunk;
        section::read_into(&**source, *body, *compressed, &mut self.packed)?;
        let decompressor = match &mut self.decompressor {
            Some((of, decompressor)) if of == codec => decompressor,
            other => &mut other.insert((*codec, section::decompressor(*codec, *body)?)).1,
        };
        let result = decompressor.decompress_into(&self.packed, *size, out);
        let (offset, compressed) = (*body, *compressed);
        result.map_err(|source| ReadError::Decompress { offset, compressed, source })
    }
}

/// The next chunk of one CPU.
pub(super) struct Slot {
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    /// Nothing is asked for; a buffer that can be used.
    Idle(Vec<u8>),
    Asked(Chunk, Vec<u8>),
    /// The thread is at it.
    Working,
    Done {
        body: u64,
        result: Result<(), ReadError>,
        bytes: Vec<u8>,
    },
}

impl ReadAhead {
    /// Starts the thread; `None` where there is none to be had.
    pub(super) fn start() -> Option<Self> {
        let (sender, slots) = channel::<Arc<Slot>>();
        let work = move || {
            let mut unpacker = Unpacker::default();
            for slot in slots {
                slot.work(&mut unpacker);
            }
        };
        let thread = thread::Builder::new().name("read-ahead".to_owned()).spawn(work);
        thread.ok().map(|_| Self(sender))
    }

    /// Asks for a chunk.
    pub(super) fn ask(&self, slot: &Arc<Slot>, chunk: Chunk) {
        let mut state = slot.lock();
        let buffer = match &mut *state {
            State::Idle(buffer) | State::Asked(_, buffer) | State::Done { bytes: buffer, .. } => {
                std::mem::take(buffer)
            }
            // Of another place in the file; it will not be asked again.
            State::Working => return,
        };
        *state = State::Asked(chunk, buffer);
        drop(state);
        if self.0.send(Arc::clone(slot)).is_err() {
            slot.take(0, &mut Vec::new());
        }
    }
}

impl Slot {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Idle(Vec::new())), done: Condvar::new() })
    }

    /// Gives the chunk whose compressed bytes are at `body`, in exchange for a buffer; `None` when
    /// it is not the one that was asked for, or nobody began with it.
    pub(super) fn take(&self, body: u64, window: &mut Vec<u8>) -> Option<Result<(), ReadError>> {
        let mut state = self.lock();
        while matches!(*state, State::Working) {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut *state, State::Idle(Vec::new())) {
            State::Done { body: of, result, bytes } if of == body => {
                *state = State::Idle(std::mem::replace(window, bytes));
                Some(result)
            }
            State::Idle(bytes) | State::Asked(_, bytes) | State::Done { bytes, .. } => {
                *state = State::Idle(bytes);
                None
            }
            State::Working => None,
        }
    }

    fn work(&self, unpacker: &mut Unpacker) {
        let mut state = self.lock();
        let (chunk, mut bytes) = match std::mem::replace(&mut *state, State::Working) {
            State::Asked(chunk, bytes) => (chunk, bytes),
            // Somebody was faster.
            other => {
                *state = other;
                return;
            }
        };
        drop(state);
        let result = unpacker.unpack(&chunk, &mut bytes);
        *self.lock() = State::Done { body: chunk.body, result, bytes };
        self.done.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[cfg(feature = "zstd")]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_the_same_made_ahead_or_not() {
        let mut file = b"before".to_vec();
        let data: Vec<u8> = (0..40_960_u32).map(|n| (n / 7) as u8).collect();
        Codec::Zstd.compress_into(&data, &mut file).unwrap();
        let compressed = file.len() as u64 - 6;
        let source: Arc<dyn ReadAt> = Arc::new(file);
        let chunk = |size| Chunk {
            source: Arc::clone(&source),
            codec: Codec::Zstd,
            body: 6,
            compressed,
            size,
        };
        let mut alone = Vec::new();
        Unpacker::default().unpack(&chunk(data.len()), &mut alone).unwrap();
        assert!(alone == data);
        let ahead = ReadAhead::start().unwrap();
        let slot = Slot::new();
        let (mut made, mut refused) = (0, 0);
        for round in 0..2000 {
            // Now and then one with another size than it says.
            let size = if round % 10 == 9 { 7 } else { data.len() };
            ahead.ask(&slot, chunk(size));
            if round % 3 == 0 {
                thread::yield_now();
            }
            let mut window = vec![1];
            match slot.take(6, &mut window) {
                Some(Ok(())) => {
                    made += 1;
                    assert!(window == data);
                }
                Some(Err(_)) => {
                    refused += 1;
                    assert_eq!(size, 7);
                }
                None => assert_eq!(window, [1]),
            }
            // Not what was asked for.
            ahead.ask(&slot, chunk(data.len()));
            assert!(slot.take(7, &mut window).is_none());
        }
        assert!(made + refused <= 2000);
    }
}
