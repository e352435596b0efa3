//! Sub-buffers as they are recorded, of which only the last ones are kept.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::region::RegionFile;
use super::{Recorded, WriteError};

/// Takes the sub-buffers of one CPU, whole ones each time, and keeps as many of the last ones as the
/// region is capped to.
#[derive(Debug)]
pub struct EndSink {
    region: RegionFile,
    kept: Kept,
}

/// What an [`EndSink`] has kept so far.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<Recorded>>);

impl EndSink {
    /// Starts to write to a region.
    pub fn new(region: RegionFile) -> Self {
        Self { region, kept: Kept::default() }
    }

    /// Tells what is kept, also when the sink is gone.
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }
}

impl Kept {
    /// What is in the region.
    pub fn recorded(&self) -> Recorded {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for EndSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.region.room() == 0 {
            self.region.begin_half().map_err(refusal)?;
        }
        // Many sub-buffers may come at once; who writes comes again with what is left.
        let room = usize::try_from(self.region.room()).unwrap_or(usize::MAX);
        let now = bytes.get(..room).unwrap_or(bytes);
        let appended = self.region.append(now, now.len() as u64, 0);
        *self.kept.0.lock().unwrap_or_else(PoisonError::into_inner) = self.region.recorded();
        appended.map_err(refusal)?;
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn refusal(error: WriteError) -> io::Error {
    match error {
        WriteError::Io { source, .. } => source,
        other => io::Error::other(other),
    }
}
