//! The kernel's texts on their way into the file: read and compressed while it is recorded.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tracedat::Abi;
use tracedat::compress::Codec;
use tracedat::write::{PackedHead, PackedText, TextPacker, WriteError};
use tracefs::{Capture, EventSelection, TracingDir, capture};

use super::file;
use super::local::kernel_error;
use crate::error::Error;

/// Pieces of symbols that are read and not compressed yet.
const PIECES: usize = 64;

/// The texts, and how the file has them.
#[derive(Clone)]
pub(crate) struct Texts {
    /// Without the symbols, if those are compressed.
    pub(crate) capture: Arc<Capture>,
    /// `None` where nobody has made them so before; then who writes them does.
    pub(crate) packed: Option<Arc<PackedHead>>,
}

impl Texts {
    /// Reads all but the symbols, and waits for those.
    pub(crate) fn read(
        dir: &TracingDir,
        events: Option<&EventSelection>,
        symbols: PendingSymbols,
    ) -> Result<Self, Error> {
        let failed = |error| Error::failure("event formats cannot be written").because(error);
        let order = Abi::NATIVE.byte_order;
        let read = |kallsyms| Capture::read_with(dir, events, kallsyms).map_err(kernel_error);
        match symbols {
            PendingSymbols::Plain(thread) => read(joined(thread)?).map(Self::from),
            PendingSymbols::Packed(codec, thread) => {
                let capture = read(Vec::new())?;
                let head = PackedHead::new(&file::texts(&capture), codec, order).map_err(failed)?;
                let head = match joined(thread)?.map_err(failed)? {
                    Some(symbols) => head.with_kallsyms(symbols),
                    None => head,
                };
                Ok(Self { capture: Arc::new(capture), packed: Some(Arc::new(head)) })
            }
        }
    }
}

impl From<Capture> for Texts {
    fn from(capture: Capture) -> Self {
        Self { capture: Arc::new(capture), packed: None }
    }
}

/// The kernel's symbols on their way. They take longer than all else, and depend on nothing, so they
/// are asked for before anything else is known.
pub(crate) enum PendingSymbols {
    Plain(JoinHandle<Vec<u8>>),
    Packed(Codec, JoinHandle<Result<Option<PackedText>, WriteError>>),
}

impl PendingSymbols {
    /// Reads them in a thread, and compresses them in another for a file with `codec`, if there is
    /// one.
    pub(crate) fn spawn(codec: Option<Codec>) -> Result<Self, Error> {
        let Some(codec) = codec else {
            let read = || capture::Symbols::open().flatten().collect();
            return Ok(Self::Plain(spawned("trace-symbols", read)?));
        };
        let (taken, pieces) = mpsc::sync_channel::<Vec<u8>>(PIECES);
        let mut symbols = capture::Symbols::open();
        let read = move || symbols.try_for_each(|piece| taken.send(piece));
        // Who does not want them any more has the reason.
        drop(spawned("trace-symbols", read)?);
        let pack = move || {
            let mut packer = TextPacker::new(codec)?;
            pieces.iter().try_for_each(|piece| packer.add(&piece))?;
            packer.finish(Abi::NATIVE.byte_order)
        };
        Ok(Self::Packed(codec, spawned("trace-pack", pack)?))
    }
}

/// Texts that are on their way, or here.
pub(crate) enum PendingTexts {
    Reading(JoinHandle<Result<Texts, Error>>),
    Here(Texts),
    Failed,
}

impl PendingTexts {
    /// Reads in a thread.
    pub(crate) fn spawn(
        dir: &TracingDir,
        events: Option<EventSelection>,
        symbols: PendingSymbols,
    ) -> Result<Self, Error> {
        let dir = dir.clone();
        let read = move || Texts::read(&dir, events.as_ref(), symbols);
        spawned("trace-texts", read).map(Self::Reading)
    }

    /// The texts, once they are here.
    pub(crate) fn ready(&mut self) -> Option<Texts> {
        let is_ready = match self {
            Self::Reading(thread) => thread.is_finished(),
            Self::Here(_) => true,
            Self::Failed => false,
        };
        // What went wrong is told at the end, where they cannot be done without.
        if is_ready { self.wait().ok() } else { None }
    }

    /// Waits for them.
    pub(crate) fn wait(&mut self) -> Result<Texts, Error> {
        *self = match std::mem::replace(self, Self::Failed) {
            Self::Reading(thread) => Self::Here(joined(thread)??),
            other => other,
        };
        match self {
            Self::Here(texts) => Ok(texts.clone()),
            _ => Err(unreadable()),
        }
    }
}

fn spawned<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| Error::failure("cannot start a thread").because(error))
}

fn joined<T>(thread: JoinHandle<T>) -> Result<T, Error> {
    thread.join().map_err(|_| unreadable())
}

fn unreadable() -> Error {
    Error::failure("event formats of this kernel could not be read")
}
