//! What costs memory and few clients need at the same time: as many as there are processors.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use trace_transport::udp::Slab;
use tracedat::WriteError;
use tracedat::compress::{Codec, Compressor};

/// Benches that all clients share. Who finds none free waits for one.
#[derive(Debug)]
pub(super) struct Workshop {
    free: Mutex<Vec<Bench>>,
    returned: Condvar,
}

/// The tools of one who works.
#[derive(Debug, Default)]
pub(super) struct Bench {
    compressors: Vec<(Codec, Compressor)>,
    /// Room for datagrams.
    pub(super) slab: Option<Slab>,
}

impl Workshop {
    pub(super) fn new() -> Self {
        let count = available_parallelism().map_or(1, usize::from) + 1;
        let free = (0..count).map(|_| Bench::default()).collect();
        Self { free: Mutex::new(free), returned: Condvar::new() }
    }

    /// Lends a bench.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Bench) -> T) -> T {
        let mut lent = Lent { workshop: self, bench: self.take() };
        work(&mut lent.bench)
    }

    fn take(&self) -> Bench {
        let mut free = self.lock();
        loop {
            match free.pop() {
                Some(bench) => return bench,
                None => free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bench>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Comes back, whatever happens.
struct Lent<'a> {
    workshop: &'a Workshop,
    bench: Bench,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.workshop.lock().push(std::mem::take(&mut self.bench));
        self.workshop.returned.notify_one();
    }
}

impl Bench {
    /// What compresses with a codec.
    ///
    /// # Errors
    /// When it is not in this build.
    pub(super) fn compressor(&mut self, codec: Codec) -> Result<&mut Compressor, WriteError> {
        let at = match self.compressors.iter().position(|(of, _)| *of == codec) {
            Some(at) => at,
            None => {
                self.compressors.push((codec, codec.compressor()?));
                self.compressors.len() - 1
            }
        };
        Ok(&mut self.compressors[at].1)
    }
}
