//! The head of this machine's file as a guest gets it that had this machine recorded: its sections first, its options when
//! the recording ends.

use std::io::Cursor;

use tracedat::Abi;
use tracedat::metadata::Guest;
use tracedat::write::{self, Writer, ahead};

use super::file::{Extra, last_options};
use super::local::{Machine, RecordedBuffer};
use crate::error::Error;

/// What the C version calls the guest, whose name nobody told.
const NAME: &str = "::GUEST::";

/// The whole head, and how much of it was sent.
#[derive(Debug, Default)]
pub(super) struct AheadHead {
    whole: Vec<u8>,
    sent: usize,
}

impl AheadHead {
    /// Gives what goes ahead.
    ///
    /// # Errors
    /// It is no head of version 7.
    pub(super) fn begin(&mut self, head: Vec<u8>) -> Result<Vec<u8>, Error> {
        let (sent, rest) = ahead::split(head).map_err(failed)?;
        self.sent = sent.len();
        self.whole = [&sent[..], &rest].concat();
        Ok(sent)
    }

    /// Gives the rest, with what is known at the end, and who the guest is.
    ///
    /// # Errors
    /// What the encoder refuses, such as a text that is too long.
    pub(super) fn end(
        self,
        machine: &Machine,
        buffers: &[RecordedBuffer],
        guest: u64,
    ) -> Result<Vec<u8>, Error> {
        let guest = Guest { name: NAME.to_owned(), trace_id: guest, cpus: Vec::new() };
        let guest = write::option::guest(&guest, Abi::NATIVE.byte_order);
        let extra = Extra { options: vec![guest], ..Extra::default() };
        let mut whole = Cursor::new(self.whole);
        let add = |whole: &mut Cursor<Vec<u8>>| {
            let mut writer = Writer::resume(whole)?;
            if !machine.cmdlines.is_empty() {
                writer.add_cmdlines(&machine.cmdlines)?;
            }
            writer.end_head_with(&last_options(buffers, &extra))
        };
        add(&mut whole).map_err(failed)?;
        Ok(whole.into_inner().split_off(self.sent))
    }
}

fn failed(error: tracedat::WriteError) -> Error {
    Error::failure("cannot make the head of the trace").because(error)
}
