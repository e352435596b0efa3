//! Reads trace.dat: metadata when opened, records one after the other, oldest first.

mod ahead;
mod cpu_data;
mod damage;
mod halving;
mod head;
mod live;
mod merge;
pub(crate) mod section;
mod sub_buffers;
mod tournament;
mod v6;
mod v7;

pub use damage::{Damage, Unreadable};
pub(crate) use merge::{Candidate, Merged};
pub use merge::{Late, LiveCpu, LiveMerge, Merge, Records};
pub(crate) use sub_buffers::SubBuffers;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::compress::Codec;
use crate::error::ReadError;
use crate::metadata::Metadata;
use crate::source::{self, Kept, ReadAt};

/// An open trace: what is known about it, and its records. Two values, so that a loop can borrow
/// the one while it advances the other.
pub struct Reader {
    /// All but the records.
    pub metadata: Metadata,
    /// The records, oldest first, over all CPUs and buffers.
    pub records: Records,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or its start or metadata are not those of a trace.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let path = path.as_ref();
        let file = File::open(path)
            .map_err(|source| ReadError::Open { path: path.to_path_buf(), source })?;
        Self::from_source(Arc::new(file))
    }

    /// Reads a trace that is in memory.
    ///
    /// # Errors
    ///
    /// Its start or metadata are not those of a trace.
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Self, ReadError> {
        Self::from_source(Arc::new(bytes.into()))
    }

    /// Reads a trace from a stream that need not be seekable: a pipe, a socket, standard input.
    ///
    /// A trace has the data of its CPUs one after the other, and in version 7 what tells where they
    /// are comes last. Records in the order of time need all of that, so the stream is read to its
    /// end first: up to 8 MiB into memory, longer ones into a temporary file without a name (in
    /// `TMPDIR`, else `/tmp`). From there on memory does not grow with the trace.
    ///
    /// A stream that breaks off gives what came before, and a warning with the offset in
    /// [`Metadata::warnings`].
    ///
    /// # Errors
    ///
    /// Its start or metadata are not those of a trace, it breaks off before they are complete, or
    /// the temporary file cannot be written.
    pub fn stream(from: impl Read) -> Result<Self, ReadError> {
        let Kept { source, broken } = source::keep(from)?;
        let opened = Self::from_source(source);
        let Some((offset, source)) = broken else { return opened };
        match opened {
            Ok(reader) => {
                reader.metadata.warn(Some(offset), format!("the stream breaks off: {source}"));
                Ok(reader)
            }
            // That bytes are missing is only the consequence.
            Err(_) => Err(ReadError::Io { offset, source }),
        }
    }

    /// Reads a trace from anything that can be read at offsets.
    ///
    /// # Errors
    ///
    /// Its start or metadata are not those of a trace.
    pub fn from_source(source: Arc<dyn ReadAt>) -> Result<Self, ReadError> {
        let metadata = head::read(&source)?;
        let codec = Codec::from_name(&metadata.compression.name).unwrap_or_default();
        let records = Records::new(source, codec, &metadata);
        Ok(Self { metadata, records })
    }

    /// Looks for damage for which release 3.1.6 reads nothing at all: all texts, and where each CPU's
    /// data starts and ends.
    ///
    /// # Errors
    ///
    /// There is some; [`Damage::LeaveOut`] reads what is around it.
    pub fn check_as_3_1_6(&self) -> Result<(), Unreadable> {
        damage::check(&self.metadata)
    }

    /// Sets what is made of damage; before anything else is asked of the file.
    pub fn set_damage(&mut self, damage: Damage) {
        self.metadata.damage = damage;
        self.records.set_damage(damage);
    }
}
