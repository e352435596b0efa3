//! One run of a program, measured from outside.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Outcome, sys};

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// From before its start to after its end.
    pub wall: Duration,
    /// User and system time, of its children too.
    pub cpu: Duration,
    /// Peak of resident memory in bytes; at least that of the process that started it.
    pub memory: u64,
}

/// Runs a command whose output goes to `output`, or nowhere.
///
/// # Errors
///
/// It cannot be run, or does not end well.
pub fn measure(command: &mut Command, output: Option<File>) -> Outcome<Usage> {
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(output.map_or_else(Stdio::null, Stdio::from));
    let started = Instant::now();
    let child = command.spawn()?;
    let (status, usage) = sys::wait4(child.id())?;
    let wall = started.elapsed();
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(Usage { wall, cpu: cpu(&usage)?, memory: u64::try_from(usage.ru_maxrss)? * 1024 })
}

/// Instructions that a command takes under callgrind, on all its threads; none where valgrind is missing.
///
/// # Errors
///
/// It does not end well, or callgrind tells no number.
pub fn instructions(command: &Command) -> Outcome<Option<u64>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => valgrind.env(name, value),
            None => valgrind.env_remove(name),
        };
    }
    let output = match valgrind.stdin(Stdio::null()).stdout(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{valgrind:?}: {}: {told}", output.status).into());
    }
    let collected = told.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.ok_or_else(|| format!("{valgrind:?}: no number: {told}"))?;
    Ok(Some(count.trim().parse()?))
}

/// User and system time.
///
/// # Errors
///
/// It is no time.
pub fn cpu(usage: &libc::rusage) -> Outcome<Duration> {
    Ok(duration(usage.ru_utime)? + duration(usage.ru_stime)?)
}

fn duration(time: libc::timeval) -> Outcome<Duration> {
    let micros = u32::try_from(time.tv_usec)?;
    Ok(Duration::new(u64::try_from(time.tv_sec)?, micros * 1000))
}
