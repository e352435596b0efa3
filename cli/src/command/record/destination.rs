//! Where the data of this machine goes.

use std::path::PathBuf;

use tracefs::{Priority, Sink, TracingDir};

use super::args::Args;
use super::capped::CappedFile;
use super::file::{Extra, Format};
use super::live::{Closed, LiveFile};
use super::local::{Machine, RecordedBuffer, SinkRequest};
use super::output::Output;
use super::texts::Texts;
use crate::error::Error;

/// The file of this machine while it is recorded.
pub(crate) enum Destination {
    /// Data goes where it stays.
    Live(Box<LiveFile>),
    /// Only the end of it is kept.
    Capped(CappedFile),
}

impl Destination {
    /// Prepares the file. Returns the sinks, by instance and CPU.
    pub(crate) fn create(
        args: &Args,
        output: Output,
        format: Format,
        trace_id: u64,
        dir: &TracingDir,
        requests: &[SinkRequest],
        priority: Priority,
    ) -> Result<(Self, Vec<Vec<Sink>>), Error> {
        match args.max_kb {
            Some(max_kb) => {
                let place = args.temp_path(output.path());
                let (file, sinks) = CappedFile::create(output, format, &place, max_kb, requests)?;
                Ok((Self::Capped(file), sinks))
            }
            None => {
                let (file, sinks) =
                    LiveFile::create(output, format, trace_id, dir, requests, priority)?;
                Ok((Self::Live(Box::new(file)), sinks))
            }
        }
    }

    /// Adds the kernel's texts, once they are read.
    pub(crate) fn describe(&mut self, texts: &Texts) -> Result<(), Error> {
        match self {
            Self::Live(file) => file.describe(texts),
            Self::Capped(_) => Ok(()),
        }
    }

    /// Gives the file its name, if there is something to find in it.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        match self {
            Self::Live(file) => file.publish(),
            Self::Capped(_) => Ok(()),
        }
    }

    /// The recording came to nothing.
    pub(crate) fn abort(self) {
        match self {
            Self::Live(file) => file.abort(),
            Self::Capped(file) => file.into_output().abandon(),
        }
    }

    /// Where the file is that can be read also when it is not completed.
    pub(crate) fn readable(&self) -> Option<PathBuf> {
        match self {
            Self::Live(file) => Some(file.path()),
            Self::Capped(_) => None,
        }
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Live(file) => file.path(),
            Self::Capped(file) => file.output().path().to_owned(),
        }
    }

    /// Bytes that were recorded and not kept, as `-m` says.
    pub(crate) fn overwritten(&self) -> u64 {
        match self {
            Self::Live(_) => 0,
            Self::Capped(file) => file.overwritten(),
        }
    }

    /// Completes the file. What did not get into it is added to what `buffers` say is discarded.
    pub(crate) fn close(
        self,
        machine: &Machine,
        buffers: &mut [RecordedBuffer],
        extra: &Extra,
    ) -> Result<Closed, Error> {
        match self {
            Self::Live(file) => file.close(machine, buffers, extra),
            Self::Capped(file) => {
                let placements = file.close(machine, buffers, extra)?;
                Ok(Closed { placements, problem: None })
            }
        }
    }
}
