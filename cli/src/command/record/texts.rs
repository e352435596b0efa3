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
    pub(crate) packed: Option<Arc<PackedHead>>,
}

impl Texts {
    /// Reads all but the symbols, which are taken as they come, and compresses for a file with
    /// `codec`, if there is one.
    pub(crate) fn read(
        dir: &TracingDir,
        events: Option<&EventSelection>,
        symbols: PendingSymbols,
        codec: Option<Codec>,
    ) -> Result<Self, Error> {
        let read = |kallsyms| Capture::read_with(dir, events, kallsyms).map_err(kernel_error);
        let Some(codec) = codec else { return read(symbols.plain()).map(Self::from) };
        let capture = read(Vec::new())?;
        let packed = pack(&capture, symbols, codec).map_err(|error| {
            Error::failure("the kernel's texts cannot be written").because(error)
        })?;
        Ok(Self { capture: Arc::new(capture), packed: Some(Arc::new(packed)) })
    }
}

fn pack(
    capture: &Capture,
    symbols: PendingSymbols,
    codec: Codec,
) -> Result<PackedHead, WriteError> {
    let order = Abi::NATIVE.byte_order;
    let head = PackedHead::new(&file::texts(capture), codec, order)?;
    let mut packer = TextPacker::new(codec)?;
    symbols.0.into_iter().try_for_each(|piece| packer.add(&piece))?;
    Ok(match packer.finish(order)? {
        Some(symbols) => head.with_kallsyms(symbols),
        None => head,
    })
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
        codec: Option<Codec>,
    ) -> Result<Self, Error> {
        let dir = dir.clone();
        let read = move || Texts::read(&dir, events.as_ref(), symbols, codec);
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
            Self::Reading(thread) => Self::Here(thread.join().map_err(|_| unreadable())??),
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
