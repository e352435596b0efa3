//! Where the data of this machine goes.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use tracedat::write::Placement;
use tracefs::{Priority, Sink, TracingDir};

use super::args::Args;
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
    /// Bytes that were recorded and not kept, as `-m` says.
    pub(crate) overwritten: u64,
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
        let kb = args.max_kb;
        let created = LiveFile::create(output, format, trace_id, dir, requests, kb, priority)?;
        Ok((Self::Live(Box::new(created.0)), created.1))
    }

    /// Says what is known before the command runs, to who cannot wait for it.
    pub(crate) fn introduce(
        &mut self,
        local: &mut LocalRecording,
        extra: &Extra,
    ) -> Result<(), Error> {
        match self {
            Self::Live(_) => Ok(()),
            Self::Remote(remote) => remote.introduce(&local.machine()?, extra),
        }
    }

    /// Who may have something to say while it is recorded.
    pub(crate) fn listener(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Live(_) => None,
            Self::Remote(remote) => Some(remote.listener()),
        }
    }

    /// Takes note of that.
    pub(crate) fn take_news(&mut self) -> Result<(), Error> {
        match self {
            Self::Live(_) => Ok(()),
            Self::Remote(remote) => remote.take_news(),
        }
    }

    /// Adds the kernel's texts, once they are read.
    pub(crate) fn describe(&mut self, texts: &Texts) -> Result<(), Error> {
        match self {
            Self::Live(file) => file.describe(texts),
            Self::Remote(_) => Ok(()),
        }
    }

    /// Gives the file its name, if there is something to find in it.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        match self {
            Self::Live(file) => file.publish(),
            Self::Remote(_) => Ok(()),
        }
    }

    /// The recording came to nothing.
    pub(crate) fn abort(self) {
        match self {
            Self::Live(file) => file.abort(),
            // The listener sees that its connection ends.
            Self::Remote(_) => {}
        }
    }

    /// Where the file is that can be read also when it is not completed.
    pub(crate) fn readable(&self) -> Option<PathBuf> {
        match self {
            Self::Live(file) => Some(file.path()),
            Self::Remote(_) => None,
        }
    }

    /// Where the file is, or who has it.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Live(file) => file.path(),
            Self::Remote(remote) => remote.address().to_string().into(),
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
                let live::Closed { placements, problem, overwritten } =
                    file.close(machine, buffers, extra)?;
                Ok(Closed { placements, delivery: None, problem, overwritten })
            }
            Self::Remote(remote) => {
                let (delivery, problem) = remote.close(machine, buffers, extra);
                Ok(Closed {
                    placements: Vec::new(),
                    delivery: Some(delivery),
                    problem,
                    overwritten: 0,
                })
            }
        }
    }
}
