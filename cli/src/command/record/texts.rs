//! The kernel's texts on their way into the file: read and compressed while it is recorded.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tracedat::Abi;
use tracedat::compress::Codec;
use tracedat::write::PackedHead;
use tracefs::Capture;
use tracefs::capture::PendingCapture;

use super::file;
use super::local::kernel_error;
use crate::error::Error;

/// The texts, and how the file has them.
#[derive(Clone)]
pub(crate) struct Texts {
    pub(crate) capture: Arc<Capture>,
    /// `None` where nobody has made them so before; then who writes them does.
    pub(crate) packed: Option<Arc<PackedHead>>,
}

impl From<Capture> for Texts {
    fn from(capture: Capture) -> Self {
        Self { capture: Arc::new(capture), packed: None }
    }
}

/// Texts that are on their way, or here.
pub(crate) enum PendingTexts {
    Reading(JoinHandle<Result<Texts, tracefs::Error>>),
    Here(Texts),
    Failed,
}

impl PendingTexts {
    /// Reads in a thread, and compresses for a file with `codec`, if there is one.
    pub(crate) fn spawn(capture: PendingCapture, codec: Option<Codec>) -> Result<Self, Error> {
        let read = move || {
            let mut texts = Texts::from(capture.finish()?);
            let pack = |codec| {
                let head = file::texts(&texts.capture);
                // What goes wrong here is told by who writes it.
                PackedHead::new(&head, codec, Abi::NATIVE.byte_order).ok().map(Arc::new)
            };
            texts.packed = codec.and_then(pack);
            Ok(texts)
        };
        let thread = thread::Builder::new().name("trace-texts".to_owned()).spawn(read);
        thread
            .map(Self::Reading)
            .map_err(|error| Error::failure("cannot start a thread").because(error))
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
            Self::Reading(thread) => match thread.join() {
                Ok(texts) => Self::Here(texts.map_err(kernel_error)?),
                Err(_) => Self::Failed,
            },
            other => other,
        };
        match self {
            Self::Here(texts) => Ok(texts.clone()),
            _ => Err(Error::failure("event formats of this kernel could not be read")),
        }
    }
}
