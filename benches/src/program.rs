//! The program of this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

/// A release build of `trace-cmd`. To see that a benchmark works any build will do, the newest there is.
///
/// # Errors
///
/// It cannot be built.
pub fn our_binary(any: bool) -> Outcome<PathBuf> {
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

/// A command of that program as it is by default, whatever the environment says.
pub fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_remove("TRACE_CMD_COMPAT").env("LC_ALL", "C").env("TZ", "UTC");
    command
}
