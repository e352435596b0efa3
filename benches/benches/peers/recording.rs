//! One recording, with all its figures.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use trace_benches::measure::measure;
use trace_virt::lab::TracefsLock;
use trace_virt::lab::requirements;
use tracedat::Reader;

use crate::load::{self, Kind, Told};
use crate::programs::{Program, Programs};
use crate::tracing::Tracing;
use crate::{Outcome, output};

/// What is recorded, how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) program: Program,
    /// Options of `record`.
    pub(crate) words: &'a [&'a str],
    pub(crate) load: Kind,
    pub(crate) count: u64,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recording {
    /// From exec to the load.
    pub(crate) start: Duration,
    /// How long the load took.
    pub(crate) load: Duration,
    /// From the end of the load to the recorder's exit.
    pub(crate) finish: Duration,
    /// Processor time of the recorder while the load ran.
    pub(crate) cpu: Duration,
    /// The same from its start to its exit.
    pub(crate) all_cpu: Duration,
    /// Size of the file in bytes.
    pub(crate) file: u64,
    /// What the file says about its events.
    pub(crate) content: Content,
}

impl Recording {
    /// Sub-buffers, uncompressed, in 10⁹ bytes.
    pub(crate) fn gigabytes(&self) -> f64 {
        self.content.bytes as f64 / 1e9
    }

    /// Seconds of processor time per gigabyte while the load ran.
    pub(crate) fn cpu_per_gigabyte(&self) -> f64 {
        self.cpu.as_secs_f64() / self.gigabytes()
    }

    /// The same, start and end of the recorder included.
    pub(crate) fn all_cpu_per_gigabyte(&self) -> f64 {
        self.all_cpu.as_secs_f64() / self.gigabytes()
    }
}

/// What is in a file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Content {
    pub(crate) events: u64,
    /// Events the kernel had to drop, on all CPUs.
    pub(crate) lost: u64,
    /// Sub-buffers, uncompressed.
    pub(crate) bytes: u64,
}

/// Records into `file`, alone with the kernel's tracing, which is put back.
pub(crate) fn record(programs: &Programs, plan: Plan<'_>, file: &Path) -> Outcome<Recording> {
    let told_file = file.with_extension("told");
    let mut command = programs.recorder(plan.program)?;
    command.arg("record").args(plan.words).arg("-o").arg(file);
    let load: Vec<OsString> = plan.load.command(plan.count, &told_file)?;
    command.args(load);

    let lock = TracefsLock::take()?;
    let tracing = Tracing::read(&requirements::tracefs()?);
    let exec = load::now()?;
    let ran = measure(&mut command, None);
    let exit = load::now()?;
    let put_back = tracing.put_back();
    let usage = ran?;
    put_back.map_err(|error| format!("{command:?}: {error}"))?;
    drop(lock);

    let told = Told::read(&told_file)?;
    fs::remove_file(&told_file)?;
    let [before, after] = told.recorder;
    Ok(Recording {
        start: told.began.saturating_sub(exec),
        load: told.ended.saturating_sub(told.began),
        finish: exit.saturating_sub(told.ended),
        cpu: after.saturating_sub(before),
        all_cpu: usage.cpu.saturating_sub(told.cpu),
        file: fs::metadata(file)?.len(),
        content: content(programs, file)?,
    })
}

/// Reads what is in a file.
pub(crate) fn content(programs: &Programs, file: &Path) -> Outcome<Content> {
    // Our reader, for the files of both.
    let text = output(programs.reader(Program::Ours).args(["report", "--stat"]).arg(file))?;
    let counters = text.lines().filter_map(|line| line.split_once(": ")).filter_map(
        |(name, value)| match name {
            "overrun" | "commit overrun" | "dropped events" => value.trim().parse::<u64>().ok(),
            _ => None,
        },
    );
    let bytes = text.lines().filter_map(data_size).sum();
    if bytes == 0 {
        return Err(format!("no data in {}: {text}", file.display()).into());
    }
    // Not the counter of events read, which may count those of earlier recordings too.
    let events = output(Command::new(std::env::current_exe()?).arg(COUNT).arg(file))?.parse()?;
    Ok(Content { events, lost: counters.sum(), bytes })
}

/// The first word that makes this program count events: in a process of its own, as the peak memory
/// of one that is started is at least that of the one that starts it.
pub(crate) const COUNT: &str = "count";

/// Prints the number of events in the file that `words` name.
pub(crate) fn count(words: &[String]) -> Outcome<()> {
    let [file] = words else { return Err("count is followed by a file".into()) };
    let Reader { mut records, .. } = Reader::open(file)?;
    let mut events = 0u64;
    while records.next()?.is_some() {
        events += 1;
    }
    print!("{events}");
    Ok(())
}

/// `8192 bytes in size`, or `5127 bytes in size (32768 uncompressed)`.
fn data_size(line: &str) -> Option<u64> {
    let (size, rest) = line.trim().split_once(" bytes in size")?;
    let uncompressed =
        rest.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(" uncompressed)"));
    uncompressed.unwrap_or(size).parse().ok()
}
