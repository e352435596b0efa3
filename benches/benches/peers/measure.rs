//! What is measured of a program besides the time of a whole run, and what is made of several runs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

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
