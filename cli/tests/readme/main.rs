//! The tasks of README, run as they stand there.

#[path = "../common/mod.rs"]
mod common;
mod stage;
mod tasks;

use std::process::ExitCode;

use common::bench::Bench;
use common::{Case, check, made_trace, success, trace_cmd, with_tracefs};
use libtest_mimic::Failed;
use stage::Stage;
use trace_virt::lab::{Missing, VsockDevice, requirements};

const CASES: &[Case] = &[
    Case { name: "every_task_of_readme_is_run", needs: || Ok(()), test: covered },
    Case {
        name: "root_tasks_that_record_are_run",
        needs: with_tracefs,
        test: || on_this_machine(RECORDING),
    },
    Case { name: "tasks_that_look_are_run", needs: || Ok(()), test: look },
    Case { name: "root_tasks_with_other_machines_are_run", needs: with_tracefs, test: others },
    Case { name: "root_tasks_with_guests_are_run", needs: with_guests, test: guests },
];

const RECORDING: &[u32] = &[1, 2, 3, 4, 5, 8];
const LOOKING: &[u32] = &[6];
const OTHERS: &[u32] = &[7];
const GUESTS: &[u32] = &[9, 10];

fn main() -> ExitCode {
    common::run(CASES)
}

fn with_guests() -> Result<(), Missing> {
    with_tracefs()?;
    requirements::guest()?;
    VsockDevice::find()
}

fn covered() -> Result<(), Failed> {
    let mut run: Vec<u32> = [RECORDING, LOOKING, OTHERS, GUESTS].concat();
    run.sort_unstable();
    let numbers: Vec<u32> = tasks::read()?.iter().map(|task| task.number).collect();
    check(numbers == run, || format!("a task of README is not run: {numbers:?} of {run:?}"))
}

/// Runs tasks in their order.
fn run(stage: &mut Stage, numbers: &[u32]) -> Result<(), Failed> {
    let tasks = tasks::read()?;
    tasks.iter().filter(|task| numbers.contains(&task.number)).try_for_each(|task| stage.run(task))
}

/// Runs them on the kernel that runs, which is afterwards as it was.
fn on_this_machine(numbers: &[u32]) -> Result<(), Failed> {
    // What others left would be put back meanwhile.
    success(trace_cmd().args(["reset", "--stale"]))?;
    let bench = Bench::new()?;
    run(&mut Stage::new()?, numbers)?;
    bench.is_as_before("a task")
}

/// Made-up files of a host and its guest.
fn with_files() -> Result<Stage, Failed> {
    let stage = Stage::new()?;
    for (name, seed) in [("trace.dat", 1), ("trace-guest1.dat", 2)] {
        made_trace(&stage.work(), name, seed)?;
    }
    Ok(stage)
}

fn look() -> Result<(), Failed> {
    let mut stage = with_files()?;
    run(&mut stage, LOOKING)
}

fn others() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut stage = with_files()?;
    run(&mut stage, OTHERS)?;
    bench.is_as_before("recording")?;
    let received = stage.received()?;
    let [file] = received.as_slice() else { return Err(format!("{received:?}").into()) };
    let text = success(trace_cmd().args(["report", "-i"]).arg(file))?;
    check(text.contains("sched_switch:"), || text.clone())
}

fn guests() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut stage = Stage::new()?.with_vsock()?;
    run(&mut stage, GUESTS)?;
    bench.is_as_before("recording with guests")?;
    let own = stage.received()?;
    check(own.len() == 1, || format!("what the guest recorded by itself: {own:?}"))?;
    let file = stage.work().join("trace-guest1.dat");
    let text = success(trace_cmd().args(["report", "-i"]).arg(file))?;
    check(text.contains("sched_switch:"), || text.clone())
}
