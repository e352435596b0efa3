//! Where the data of this machine goes.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use tracedat::write::Placement;
use tracefs::{Priority, Sink, TracingDir};

use super::args::Args;
use super::capped::CappedFile;
use super::file::{Extra, Format};
use super::live::{self, LiveFile};
use super::local::{LocalRecording, Machine, RecordedBuffer, SinkRequest};
use super::output::Output;
use super::remote::{Delivery, Remote};
use super::texts::Texts;
use crate::error::Error;

/// The file of this machine while it is recorded.
pub(crate) enum Destination {
    /// Data goes where it stays.
    Live(Box<LiveFile>),
    /// Only the end of it is kept.
    Capped(CappedFile),
    /// Data goes to a listener, which writes the file.
    Remote(Box<Remote>),
}

/// A destination that is complete.
pub(crate) struct Closed {
    /// Where the data of each CPU is.
    pub(crate) placements: Vec<Placement>,
    /// What a listener has of it.
    pub(crate) delivery: Option<Delivery>,
    /// Why not all that was recorded is there.
    pub(crate) problem: Option<Error>,
}

impl Destination {
    /// Prepares the file, or the way to the listener. Returns the sinks, by instance and CPU.
    pub(crate) fn create(
        args: &Args,
        output: Option<Output>,
        format: Format,
        trace_id: u64,
        dir: &TracingDir,
        requests: &[SinkRequest],
        priority: Priority,
    ) -> Result<(Self, Vec<Vec<Sink>>), Error> {
        if let Some(remote) = &args.remote {
            let (remote, sinks) = Remote::create(remote, format, requests)?;
            return Ok((Self::Remote(Box::new(remote)), sinks));
        }
        let output = output.ok_or_else(|| Error::failure("there is no file to record into"))?;
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

    /// Says what is known before the command runs, to who cannot wait for it.
    pub(crate) fn introduce(
        &mut self,
        local: &mut LocalRecording,
        extra: &Extra,
    ) -> Result<(), Error> {
        match self {
            Self::Live(_) | Self::Capped(_) => Ok(()),
            Self::Remote(remote) => remote.introduce(&local.machine()?, extra),
        }
    }

    /// Who may have something to say while it is recorded.
    pub(crate) fn listener(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Live(_) | Self::Capped(_) => None,
            Self::Remote(remote) => Some(remote.listener()),
        }
    }

    /// Takes note of that.
    pub(crate) fn take_news(&mut self) -> Result<(), Error> {
        match self {
            Self::Live(_) | Self::Capped(_) => Ok(()),
            Self::Remote(remote) => remote.take_news(),
        }
    }

    /// Adds the kernel's texts, once they are read.
    pub(crate) fn describe(&mut self, texts: &Texts) -> Result<(), Error> {
        match self {
            Self::Live(file) => file.describe(texts),
            Self::Capped(_) | Self::Remote(_) => Ok(()),
        }
    }

    /// Gives the file its name, if there is something to find in it.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        match self {
            Self::Live(file) => file.publish(),
            Self::Capped(_) | Self::Remote(_) => Ok(()),
        }
    }

    /// The recording came to nothing.
    pub(crate) fn abort(self) {
        match self {
            Self::Live(file) => file.abort(),
            Self::Capped(file) => file.into_output().abandon(),
            // The listener sees that its connection ends.
            Self::Remote(_) => {}
        }
    }

    /// Where the file is that can be read also when it is not completed.
    pub(crate) fn readable(&self) -> Option<PathBuf> {
        match self {
            Self::Live(file) => Some(file.path()),
            Self::Capped(_) | Self::Remote(_) => None,
        }
    }

    /// Where the file is, or who has it.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Live(file) => file.path(),
            Self::Capped(file) => file.output().path().to_owned(),
            Self::Remote(remote) => remote.address().to_string().into(),
        }
    }

    /// Bytes that were recorded and not kept, as `-m` says.
    pub(crate) fn overwritten(&self) -> u64 {
        match self {
            Self::Live(_) | Self::Remote(_) => 0,
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
            Self::Live(file) => {
                let live::Closed { placements, problem } = file.close(machine, buffers, extra)?;
                Ok(Closed { placements, delivery: None, problem })
            }
            Self::Capped(file) => {
                let placements = file.close(machine, buffers, extra)?;
                Ok(Closed { placements, delivery: None, problem: None })
            }
            Self::Remote(remote) => {
                let (delivery, problem) = remote.close(machine, buffers, extra);
                Ok(Closed { placements: Vec::new(), delivery: Some(delivery), problem })
            }
        }
    }
}
