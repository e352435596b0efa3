//! `report --profile` prints what the reference prints, and refuses hooks that make no sense.

mod common;

use std::fs;
use std::process::{Command, ExitCode};

use common::{Case, check, complaint, success, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements;
use tracedat::testing::Story;

const CASES: &[Case] = &[
    Case {
        name: "profile_is_that_of_the_reference",
        needs: || requirements::reference().map(drop),
        test: like_reference,
    },
    Case { name: "bad_hooks_are_refused_with_the_reason", needs: || Ok(()), test: bad_hooks },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// A story in which no two things take the same time: the reference prints those in any order.
fn story() -> Story {
    let mut story = Story::default().hook("begin,b/end,b,g");
    for round in 1..40_u64 {
        let (cpu, state) = ((round % 3) as u32, [1, 0, 2, 0x100, 0x81][round as usize % 5]);
        let (task, other) = ((round % 4) as i32 + 1, (round % 4) as i32 + 5);
        story = story
            .on(cpu)
            .sys_enter(task, round as i64 % 6)
            .stack(task, &[round % 3, round % 4, round % 5, round % 2])
            .irq_enter(task, round as i32 % 2)
            .wait(17 * round)
            .irq_exit(task, round as i32 % 2)
            .begin(task, 3, 4)
            .wait(7 * round * round)
            .sys_exit(task, round as i64 % 6)
            .stack(task, &[round % 3, 7, 8])
            .switch(task, state, other)
            .stack(task, &[9, round % 2, 10, round % 3])
            .wait(29 * round)
            .wake(other, task)
            .stack(other, &[11, round % 2])
            .on(cpu + 1)
            .wait(11 * round)
            .end(other, 3, 4)
            .switch(other, 1, task);
        if round % 16 == 0 {
            story = story.lose();
        }
    }
    story
}

fn like_reference() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let path = dir.path().join("story.dat");
    fs::write(&path, story().build())?;
    let options: [&[&str]; 6] = [
        &[],
        &["-G"],
        &["--cpu", "1"],
        &["-F", "sched"],
        &["-H", "begin,a/end,a"],
        &["-G", "-H", "story:begin,a/story:end,a,gp"],
    ];
    for words in options {
        let report = |mut command: Command| {
            success(command.args(["report", "--profile"]).args(words).arg("-i").arg(&path))
        };
        let mut reference = Command::new("/usr/bin/trace-cmd");
        reference.env("LC_ALL", "C");
        let expected = report(reference)?;
        // It tells first how it understood the hooks.
        let lines = expected.lines().filter(|line| !line.starts_with("start "));
        let expected: Vec<&str> = lines.collect();
        let text = report(trace_cmd())?;
        check(expected.len() > 20, || format!("{words:?}: {expected:?}"))?;
        check(text.lines().eq(expected.iter().copied()), || {
            format!("{words:?}:\n{text}\ninstead of\n{}", expected.join("\n"))
        })?;
    }
    Ok(())
}

fn bad_hooks() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let path = dir.path().join("story.dat");
    fs::write(&path, story().build())?;
    for (hook, reason) in [
        ("begin", "hook 'begin' is not [SYSTEM:]EVENT,FIELD"),
        ("begin,a/end,a,x", "has the flag 'x'"),
        ("begin,a/nowhere,a", "no event nowhere in the trace"),
        ("begin,c/end,a", "event begin has no integer field c"),
    ] {
        let mut command = trace_cmd();
        command.args(["report", "--profile", "-H", hook, "-i"]).arg(&path);
        let line = complaint(&mut command)?;
        check(line.contains(reason), || line)?;
    }
    Ok(())
}
