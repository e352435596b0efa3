//! What an event costs as there are more events, CPUs and files: processor time and instructions per event, and
//! peak memory. A figure that grows faster than the work is told.

mod files;
mod table;

use std::path::Path;
use std::process::{Command, ExitCode};

use tempfile::TempDir;
use trace_benches::measure::{Usage, instructions, measure};
use trace_benches::options::Options;
use trace_benches::{Outcome, program};

use files::Shape;
use table::Row;

/// How much a figure may be off that of the first line of its block.
const TOLERANCE: f64 = 0.2;

/// Files up to so many events are read under callgrind, too.
const COUNTED: u32 = 100_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, rest)) if first == files::MAKE => files::make(rest),
        _ => bench(&words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("growth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(words: &[String]) -> Outcome<()> {
    let Some(options) = Options::parse(10_000_000, words)? else {
        println!("growth: skipped: the options are for other benchmarks");
        return Ok(());
    };
    let binary = match &options.ours {
        Some(binary) => binary.clone(),
        None => program::our_binary(options.test)?,
    };
    let most = if options.test { 4000 } else { options.events };
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bench = Bench { binary: &binary, dir: dir.path(), options: &options };
    let shape = |events, cpus, files| Shape { events, cpus, files };

    let steps = [most / 100, most / 10, most];
    bench.block("events", &steps.map(|events| shape(events, 4, 1)))?;
    let events = most / 10;
    let many: &[u32] = if options.test { &[1, 64] } else { &[1, 4, 16, 64, 256] };
    bench.block("CPUs", &many.iter().map(|&cpus| shape(events, cpus, 1)).collect::<Vec<_>>())?;
    let many: &[u32] = if options.test { &[1, 8] } else { &[1, 2, 8, 64] };
    bench.block("files", &many.iter().map(|&files| shape(events, 1, files)).collect::<Vec<_>>())
}

struct Bench<'a> {
    binary: &'a Path,
    dir: &'a Path,
    options: &'a Options,
}

/// What is done with the files.
#[derive(Clone, Copy, Debug)]
enum Task {
    Open,
    Report,
    Filter,
    Split,
}

impl Task {
    const ALL: [Self; 4] = [Self::Open, Self::Report, Self::Filter, Self::Split];

    fn name(self) -> &'static str {
        match self {
            Self::Open => "report --stat",
            Self::Report => "report --threads 1",
            Self::Filter => "report --threads 1 -F",
            Self::Split => "split",
        }
    }

    /// Whether the work is the events, and not the file.
    fn is_per_event(self) -> bool {
        !matches!(self, Self::Open)
    }
}

impl Bench<'_> {
    /// One line per shape and task; `what` differs between the shapes.
    fn block(&self, what: &str, shapes: &[Shape]) -> Outcome<()> {
        table::head(what);
        let mut first: Vec<Option<Row>> = vec![None; Task::ALL.len()];
        for shape in shapes {
            let made = files::all(*shape, self.dir)?;
            for (task, first) in Task::ALL.into_iter().zip(&mut first) {
                // Only a report reads several files.
                if matches!(task, Task::Split | Task::Open) && shape.files > 1 {
                    continue;
                }
                let row = self.row(task, *shape, &made.paths)?;
                row.print(task.name(), *first.get_or_insert(row));
            }
        }
        println!();
        Ok(())
    }

    fn row(&self, task: Task, shape: Shape, paths: &[std::path::PathBuf]) -> Outcome<Row> {
        let mut least: Option<Usage> = None;
        for _ in 0..self.options.rounds {
            let usage = measure(&mut self.command(task, paths), None)?;
            least = Some(match least {
                None => usage,
                Some(least) => Usage {
                    wall: least.wall.min(usage.wall),
                    cpu: least.cpu.min(usage.cpu),
                    memory: least.memory.min(usage.memory),
                },
            });
        }
        let usage = least.ok_or("no round")?;
        let counted = shape.events <= COUNTED && !self.options.test;
        let instructions = if counted { instructions(&self.command(task, paths))? } else { None };
        Ok(Row { shape, per_event: task.is_per_event(), usage, instructions })
    }

    fn command(&self, task: Task, paths: &[std::path::PathBuf]) -> Command {
        let mut command = program::command(self.binary);
        match task {
            Task::Open => command.args(["report", "--stat"]),
            Task::Report => command.args(["report", "--threads", "1"]),
            // One event in a hundred or less.
            Task::Filter => command.args(["report", "--threads", "1", "-F"]).arg(files::FILTER),
            Task::Split => command.args(["split", "-o"]).arg(self.dir.join("split.dat")),
        };
        for path in paths {
            command.arg("-i").arg(path);
        }
        command
    }
}
