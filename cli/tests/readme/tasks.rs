//! The tasks of README.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;

use crate::common::check;

/// A command of a task.
#[derive(Debug)]
pub(crate) struct Line {
    /// What is typed.
    pub(crate) command: String,
    /// What README says about where and how long it runs.
    pub(crate) note: String,
}

/// A task: its number and its commands.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) number: u32,
    pub(crate) lines: Vec<Line>,
}

/// Reads all of them; each has a command.
pub(crate) fn read() -> Result<Vec<Task>, Failed> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme)?;
    let (_, tasks) = readme.split_once("\n## Ten tasks\n").ok_or("no tasks")?;
    let tasks = tasks.split("\n## ").next().unwrap_or_default();
    let tasks: Vec<Task> = tasks.split("\n### ").skip(1).map(task).collect::<Result<_, _>>()?;
    check(tasks.len() == 10, || format!("{} tasks", tasks.len()))?;
    Ok(tasks)
}

fn task(text: &str) -> Result<Task, Failed> {
    let (number, _) = text.split_once(". ").ok_or_else(|| format!("no number: {text}"))?;
    let blocks =
        text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines: Vec<Line> = blocks.flat_map(str::lines).map(line).collect();
    check(!lines.is_empty(), || format!("no command in: {text}"))?;
    Ok(Task { number: number.parse()?, lines })
}

fn line(text: &str) -> Line {
    let (command, note) = text.split_once(" # ").unwrap_or((text, ""));
    Line { command: command.trim().to_owned(), note: note.trim().to_owned() }
}
