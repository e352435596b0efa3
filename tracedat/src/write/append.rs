//! Adds options to a complete file of version 7.

use std::io::{Read, Seek, Write};

use super::output::Output;
use super::{Body, WriteError, Writer, v7};
use crate::layout::OptionId;

/// Options behind the end of a file, which readers do not see yet: until [`Appended::link`] the
/// file is what it was, with some bytes more.
#[derive(Debug)]
pub struct Appended<W: Write + Seek> {
    output: Output<W>,
    body: v7::Body,
    start: u64,
}

impl<W: Read + Write + Seek> Writer<W> {
    /// Writes options behind the end of the file that `output` holds.
    ///
    /// # Errors
    /// When it is no file of version 7, or is damaged; with the offset. When the output refuses:
    /// cut the file to its old length then.
    pub fn append(output: W, options: &[(OptionId, Vec<u8>)]) -> Result<Appended<W>, WriteError> {
        let Self { mut output, body, .. } = Self::resume(output)?;
        let Body::V7(mut body) = body else {
            return Err(WriteError::NotInVersion6 { what: "more options" });
        };
        let start = body.append(&mut output, options)?;
        output.flush()?;
        Ok(Appended { output, body, start })
    }
}

impl<W: Write + Seek> Appended<W> {
    /// Makes the options part of the file, by eight bytes that are overwritten.
    ///
    /// # Errors
    /// When the output refuses.
    pub fn link(mut self) -> Result<(), WriteError> {
        self.body.link(&mut self.output, self.start)?;
        self.output.flush()
    }
}
