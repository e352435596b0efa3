//! Builds a `trace-cmd` that runs in a guest without libraries.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::command;
use super::error::{LabError, file};
use super::kernel::lock;

/// cargo needs the target spelled out, or the flags would apply to build scripts too.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Returns the path of a statically linked `trace-cmd`, built when its sources are newer.
///
/// `$TRACE_LAB_BINARY` names one that is already built. Otherwise cargo makes it, once per
/// process, in a target directory of its own, so that its flags do not make the other builds stale;
/// several processes may ask at once.
///
/// # Errors
///
/// [`LabError::Program`] with the compiler's messages.
pub fn static_binary() -> Result<PathBuf, LabError> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = std::env::var_os("TRACE_LAB_BINARY") {
        return Ok(path.into());
    }
    if let Some(path) = BUILT.get() {
        return Ok(path.clone());
    }
    let path = build()?;
    Ok(BUILT.get_or_init(|| path).clone())
}

fn build() -> Result<PathBuf, LabError> {
    let cache = super::cache_dir();
    let _lock = lock(&cache, "static.lock")?;
    let target_dir = cache.join("static");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--release", "--locked", "--package", "trace-cmd", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(super::workspace_dir())
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        // What the last optimizations take is more than a test gains by them.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        // A test run's own settings are not for this build.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    command::output(&mut build)?;
    let binary = target_dir.join(TARGET).join("release/trace-cmd");
    std::fs::metadata(&binary).map_err(file("reading", &binary))?;
    Ok(binary)
}
