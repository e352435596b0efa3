//! The two programs.

use std::path::{Path, PathBuf};
use std::process::Command;

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
            None => our_binary(options.test)?,
        };
        Ok(Self { reference, ours })
    }

    /// A command that reads files.
    pub(crate) fn reader(&self, program: Program) -> Command {
        match program {
            Program::Theirs => self.reference.reader(),
            Program::Ours => {
                let mut command = Command::new(&self.ours);
                command.env_remove("TRACE_CMD_COMPAT").env("LC_ALL", "C").env("TZ", "UTC");
                command
            }
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

/// A release build. To see that the benchmark works, any build will do, the newest there is.
fn our_binary(any: bool) -> Outcome<PathBuf> {
    let bench = std::env::current_exe()?;
    // TARGET/release/deps/peers-0123456789abcdef
    let target = bench.ancestors().nth(3).ok_or("no target directory above the benchmark")?;
    let at = |profile: &str| target.join(profile).join("trace-cmd");
    let built = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    if any
        && let Some(newest) = [at("debug"), at("release")]
            .into_iter()
            .filter(|path| built(path).is_some())
            .max_by_key(built)
    {
        return Ok(newest);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(workspace).args(["build", "--release", "--locked", "-p", "trace-cmd"]);
    build.arg("--target-dir").arg(target);
    let status = build.status()?;
    if status.success() { Ok(at("release")) } else { Err(format!("{build:?}: {status}").into()) }
}
