//! The kernel's texts on their way into the file: read and compressed while it is recorded.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tracedat::Abi;
use tracedat::compress::Codec;
use tracedat::write::{PackedHead, TextPacker, WriteError};
use tracefs::{Capture, EventSelection, TracingDir, capture};

use super::file;
use super::local::kernel_error;
use crate::error::Error;

/// The texts, and how the file has them.
#[derive(Clone)]
pub(crate) struct Texts {
    /// Without the symbols, if those are compressed.
    pub(crate) capture: Arc<Capture>,
    /// `None` where nobody has made them so before; then who writes them does.
    pub(crate) packed: Option<Packed>,
}

/// The texts as the file has them.
#[derive(Clone)]
pub(crate) struct Packed {
    /// All but the symbols.
    pub(crate) formats: Arc<PackedHead>,
    /// `None` while they are still read.
    pub(crate) symbols: Option<Arc<PackedHead>>,
}

impl Texts {
    /// Reads all but the symbols, which are taken as they come, and compresses for a file with
    /// `codec`, if there is one. `early` gets what there is without the symbols: who has the formats
    /// can read the events.
    pub(crate) fn read(
        dir: &TracingDir,
        events: Option<&EventSelection>,
        symbols: PendingSymbols,
        codec: Option<Codec>,
        early: impl FnOnce(Self),
    ) -> Result<Self, Error> {
        let read = |kallsyms| Capture::read_with(dir, events, kallsyms).map_err(kernel_error);
        let Some(codec) = codec else { return read(symbols.plain()).map(Self::from) };
        let unwritable =
            |error| Error::failure("the kernel's texts cannot be written").because(error);
        let capture = Arc::new(read(Vec::new())?);
        let formats = PackedHead::new(&file::texts(&capture), codec, Abi::NATIVE.byte_order);
        let formats = Arc::new(formats.map_err(unwritable)?);
        let packed = Packed { formats, symbols: None };
        early(Self { capture: capture.clone(), packed: Some(packed.clone()) });
        let symbols = Some(Arc::new(pack(symbols, codec).map_err(unwritable)?));
        Ok(Self { capture, packed: Some(Packed { symbols, ..packed }) })
    }
}

fn pack(symbols: PendingSymbols, codec: Codec) -> Result<PackedHead, WriteError> {
    let mut packer = TextPacker::new(codec)?;
    symbols.0.into_iter().try_for_each(|piece| packer.add(&piece))?;
    let packed = packer.finish(Abi::NATIVE.byte_order)?;
    Ok(packed.map(PackedHead::of_kallsyms).unwrap_or_default())
}

impl From<Capture> for Texts {
    fn from(capture: Capture) -> Self {
        Self { capture: Arc::new(capture), packed: None }
    }
}

/// The kernel's symbols on their way. They take longer than all else, and depend on nothing, so they
/// are asked for before anything else is known.
pub(crate) struct PendingSymbols(mpsc::Receiver<Vec<u8>>);

impl PendingSymbols {
    /// Reads them in a thread.
    pub(crate) fn spawn() -> Result<Self, Error> {
        let (read, pieces) = mpsc::channel();
        // Who does not want them any more has the reason.
        let symbols = move || capture::Symbols::open().try_for_each(|piece| read.send(piece)).ok();
        spawned("trace-symbols", symbols)?;
        Ok(Self(pieces))
    }

    fn plain(self) -> Vec<u8> {
        self.0.iter().collect::<Vec<_>>().concat()
    }
}

/// Texts that are on their way, or here.
pub(crate) enum PendingTexts {
    /// What there is without the symbols comes first.
    Reading {
        early: mpsc::Receiver<Texts>,
        thread: JoinHandle<Result<Texts, Error>>,
    },
    Here(Texts),
    Failed,
}

impl PendingTexts {
    /// Reads in a thread.
    pub(crate) fn spawn(
        dir: &TracingDir,
        events: Option<EventSelection>,
        symbols: PendingSymbols,
        codec: Option<Codec>,
    ) -> Result<Self, Error> {
        let dir = dir.clone();
        let (sender, early) = mpsc::channel();
        // Who waits for all of them has no need of these.
        let early_texts = move |texts| drop(sender.send(texts));
        let read = move || Texts::read(&dir, events.as_ref(), symbols, codec, early_texts);
        Ok(Self::Reading { early, thread: spawned("trace-texts", read)? })
    }

    /// Whether there is more to come.
    pub(crate) fn are_read(&self) -> bool {
        !matches!(self, Self::Reading { .. })
    }

    /// What there is of the texts that was not here before.
    pub(crate) fn ready(&mut self) -> Option<Texts> {
        match self {
            Self::Reading { early, thread } if !thread.is_finished() => early.try_recv().ok(),
            // What went wrong is told at the end, where they cannot be done without.
            Self::Reading { .. } => self.wait().ok(),
            Self::Here(_) | Self::Failed => None,
        }
    }

    /// Waits for them.
    pub(crate) fn wait(&mut self) -> Result<Texts, Error> {
        *self = match std::mem::replace(self, Self::Failed) {
            Self::Reading { thread, .. } => Self::Here(thread.join().map_err(|_| unreadable())??),
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

fn unreadable() -> Error {
    Error::failure("event formats of this kernel could not be read")
}
