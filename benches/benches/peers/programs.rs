//! The two programs.

use std::path::PathBuf;
use std::process::Command;

use trace_benches::program;
use trace_virt::lab::{Missing, Reference, requirements};

use crate::{Options, Outcome};

/// One of the programs that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Theirs,
    Ours,
}

pub(crate) const BOTH: [Program; 2] = [Program::Theirs, Program::Ours];

/// Where they are.
#[derive(Debug)]
pub(crate) struct Programs {
    reference: Reference,
    ours: PathBuf,
}

impl Programs {
    /// Asks for the installed trace-cmd and for what it takes to record.
    pub(crate) fn reference() -> Result<Reference, Missing> {
        requirements::recording_reference()?.exact()
    }

    pub(crate) fn new(reference: Reference, options: &Options) -> Outcome<Self> {
        let ours = match &options.ours {
            Some(path) => path.clone(),
            None => program::our_binary(options.test)?,
        };
        Ok(Self { reference, ours })
    }

    /// A command that reads files.
    pub(crate) fn reader(&self, program: Program) -> Command {
        match program {
            Program::Theirs => self.reference.reader(),
            Program::Ours => program::command(&self.ours),
        }
    }

    /// A command that records.
    pub(crate) fn recorder(&self, program: Program) -> Outcome<Command> {
        Ok(match program {
            Program::Theirs => self.reference.recorder()?,
            Program::Ours => self.reader(program),
        })
    }
}
