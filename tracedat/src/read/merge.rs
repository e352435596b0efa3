//! One stream of records out of many, by time.

use super::Reader;
use crate::clock::ClockOptions;
use crate::error::ReadError;
use crate::metadata::{Metadata, Warning};
use crate::ring_buffer::Record;

/// The records of one file, oldest first, over all CPUs and buffers. Records of the same time
/// come in the order of buffers, then CPUs.
pub struct Records {}

impl Records {
    /// The next record, `None` after the last. It borrows the stream's memory until the next call.
    ///
    /// # Errors
    ///
    /// The file cannot be read. Data that does not decode is skipped and gives a warning.
    #[allow(clippy::should_implement_trait, reason = "lends, unlike an iterator")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        Ok(None)
    }

    /// The record that comes next on a CPU of a buffer, without taking it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn peek_cpu(&mut self, buffer: u32, cpu: u32) -> Result<Option<Record<'_>>, ReadError> {
        let _ = (buffer, cpu);
        Ok(None)
    }

    /// Takes the record that [`Records::peek_cpu`] shows.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn skip_cpu(&mut self, buffer: u32, cpu: u32) -> Result<(), ReadError> {
        let _ = (buffer, cpu);
        Ok(())
    }

    /// Sets how [`Record::time`] is made of ticks; before the first record is taken.
    pub fn set_clock(&mut self, metadata: &Metadata, options: &ClockOptions) {
        let _ = (metadata, options);
    }

    /// What could not be read so far.
    pub fn warnings(&self) -> &[Warning] {
        &[]
    }
}

/// The records of several files, oldest first. Records of the same time come in the order of
/// files, then buffers, then CPUs. A guest's times are corrected to those of its host, when the
/// host's file comes earlier.
pub struct Merge {}

impl Merge {
    /// Joins open files; gives back what is known about each.
    pub fn new(readers: Vec<Reader>) -> (Vec<Metadata>, Self) {
        (readers.into_iter().map(|reader| reader.metadata).collect(), Self {})
    }

    /// The next record and the index of its file, `None` after the last.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    #[allow(clippy::should_implement_trait, reason = "lends, unlike an iterator")]
    pub fn next(&mut self) -> Result<Option<(usize, Record<'_>)>, ReadError> {
        Ok(None)
    }

    /// The record that comes next on a CPU of a file's buffer, without taking it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn peek_cpu(
        &mut self,
        file: usize,
        buffer: u32,
        cpu: u32,
    ) -> Result<Option<Record<'_>>, ReadError> {
        let _ = (file, buffer, cpu);
        Ok(None)
    }

    /// Takes the record that [`Merge::peek_cpu`] shows.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn skip_cpu(&mut self, file: usize, buffer: u32, cpu: u32) -> Result<(), ReadError> {
        let _ = (file, buffer, cpu);
        Ok(())
    }

    /// What could not be read so far in a file.
    pub fn warnings(&self, file: usize) -> &[Warning] {
        let _ = file;
        &[]
    }
}
