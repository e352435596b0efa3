//! One run of a program, measured from outside.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Outcome, sys};

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// From before its start to after its end.
    pub(crate) wall: Duration,
    /// User and system time, of its children too.
    pub(crate) cpu: Duration,
    /// Peak of resident memory in bytes.
    pub(crate) memory: u64,
}

/// Runs a command whose output goes to `output`, or nowhere.
pub(crate) fn measure(command: &mut Command, output: Option<File>) -> Outcome<Usage> {
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

/// The time until the first line of an event can be read; what follows is not waited for.
pub(crate) fn first_event_line(command: &mut Command) -> Outcome<Duration> {
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    let is_event = |line: &str| line.contains("] ") && line.contains(": ");
    let found = lines.by_ref().map_while(Result::ok).find(|line| is_event(line));
    let wall = started.elapsed();
    // The closed pipe ends it.
    drop(lines);
    child.wait()?;
    found.map(|_| wall).ok_or_else(|| format!("{command:?}: no event").into())
}

/// Runs every contender `rounds` times, in turn, each round beginning with another.
pub(crate) fn take_turns<C: Copy, R, const N: usize>(
    rounds: usize,
    contenders: [C; N],
    mut run: impl FnMut(C) -> Outcome<R>,
) -> Outcome<[Vec<R>; N]> {
    let mut results = [const { Vec::new() }; N];
    for round in 0..rounds {
        for turn in 0..N {
            let index = (round + turn) % N;
            results[index].push(run(contenders[index])?);
        }
    }
    Ok(results)
}

/// The median of one figure of some runs.
pub(crate) fn median<R>(runs: &[R], figure: impl Fn(&R) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// User and system time.
pub(crate) fn cpu(usage: &libc::rusage) -> Outcome<Duration> {
    Ok(duration(usage.ru_utime)? + duration(usage.ru_stime)?)
}

fn duration(time: libc::timeval) -> Outcome<Duration> {
    let micros = u32::try_from(time.tv_usec)?;
    Ok(Duration::new(u64::try_from(time.tv_sec)?, micros * 1000))
}
