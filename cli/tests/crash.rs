//! `kill -9` of a recording at any moment: what has the output's name can be read, nothing that reached the
//! disk is missing, nobody and no other file is left, and tracing is put back by who comes next.
//!
//! `CRASH_RECORDINGS` of them are killed, at moments that follow from `CRASH_SEED`.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use common::tracefs_state::WritableFiles;
use common::{Case, check, stderr, success, trace_cmd, with_tracefs};
use libtest_mimic::Failed;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};
use trace_virt::lab::{Missing, Reference};

const CASES: &[Case] = &[
    Case {
        name: "root_recordings_killed_at_any_moment_lose_nothing_and_leave_nothing",
        needs: with_tracefs,
        test: killed,
    },
    Case {
        name: "root_recordings_killed_where_blocks_cannot_be_renumbered",
        needs: with_tmpfs,
        test: killed_on_tmpfs,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// A tmpfs, whose files are closed up by copying.
const SHARED_MEMORY: &str = "/dev/shm";

fn with_tmpfs() -> Result<(), Missing> {
    with_tracefs()?;
    match statfs(SHARED_MEMORY).map(|found| found.filesystem_type()) {
        Ok(TMPFS_MAGIC) => Ok(()),
        _ => Err(Missing::Program { program: "a tmpfs on /dev/shm", package: "initscripts" }),
    }
}

const RECORDINGS: u64 = 40;
const SEED: u64 = 4711;

/// The options of each kind of file.
const FORMATS: [&[&str]; 3] =
    [&["--compression", "zstd"], &["--compression", "none"], &["--file-version", "6"]];

/// Keeps two sub-buffers, or the last whole one.
const CAP: [&str; 2] = ["-m", "8"];

/// Between two markers.
const TICK: Duration = Duration::from_millis(10);
/// Longest that is waited for anything.
const PATIENCE: Duration = Duration::from_secs(240);
/// Markers of this length: seven of them fill a sub-buffer of 4 KiB.
const MARKER_LEN: usize = 500;
const MARKERS_OF_SUB_BUFFER: u64 = 7;
/// Sub-buffers that may wait for their turn where each is compressed by itself.
const WAITING: u64 = 4;
/// What is compressed together.
const SUB_BUFFERS_OF_CHUNK: u64 = 10;

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn part_of(&mut self, time: Duration) -> Duration {
        Duration::from_micros(self.below(time.as_micros() as u64))
    }
}

fn number(variable: &str, otherwise: u64) -> Result<u64, Failed> {
    std::env::var(variable).map_or(Ok(otherwise), |text| Ok(text.parse()?))
}

/// When a recording is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// So long after its start; most often before it traces.
    Starting(Duration),
    /// So long after its file has its name.
    Recording(Duration),
    /// So long after Ctrl-C.
    Closing(Duration),
    /// Not at all.
    Never,
}

/// One recording to be made.
#[derive(Debug)]
struct Plan {
    format: usize,
    instances: usize,
    with_top: bool,
    with_command: bool,
    is_capped: bool,
    moment: Moment,
}

/// What a recording that was not killed takes.
#[derive(Clone, Copy)]
struct Times {
    to_start: Duration,
    to_close: Duration,
}

/// The directories that are used.
struct Place {
    tracing: PathBuf,
    out: TempDir,
}

impl Place {
    fn file(&self) -> PathBuf {
        self.out.path().join("trace.dat")
    }

    fn instance(&self, number: usize) -> PathBuf {
        self.tracing.join("instances").join(instance_name(number))
    }
}

fn instance_name(number: usize) -> String {
    format!("crash{number}")
}

fn killed() -> Result<(), Failed> {
    kill_all(TempDir::new()?, number("CRASH_RECORDINGS", RECORDINGS)?, false)
}

fn killed_on_tmpfs() -> Result<(), Failed> {
    let recordings = number("CRASH_RECORDINGS", RECORDINGS)? / 4;
    kill_all(TempDir::new_in(SHARED_MEMORY)?, recordings, true)
}

/// Kills recordings into `out`; only while they are closed, if so.
fn kill_all(out: TempDir, recordings: u64, only_closing: bool) -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let seed = number("CRASH_SEED", SEED)?;
    println!("{recordings} recordings, CRASH_SEED={seed}");
    let place = Place { tracing: requirements::tracefs()?, out };
    // What others left is not to be taken for ours.
    success(trace_cmd().args(["reset", "--stale"]))?;
    let before = WritableFiles::read(&place.tracing);
    let mut random = Random(seed.max(1));
    let mut times = Vec::new();
    for format in 0..FORMATS.len() {
        let plan = Plan {
            format,
            instances: 4,
            with_top: true,
            with_command: false,
            is_capped: false,
            moment: Moment::Never,
        };
        times.push(one(&place, &plan, &before).map_err(|error| told(&plan, &error))?);
        let plan = Plan { is_capped: true, ..plan };
        one(&place, &plan, &before).map_err(|error| told(&plan, &error))?;
    }
    let mut readable = 0;
    for index in 0..recordings {
        let kind = if only_closing { 2 } else { index % 3 };
        let plan = plan(&mut random, kind, &times);
        one(&place, &plan, &before).map_err(|error| told(&plan, &error))?;
        readable += u64::from(place.file().exists());
    }
    println!("{readable} of them left a file");
    check(readable > recordings / 3, || "most were killed before there was a file".to_owned())
}

fn told(plan: &Plan, error: &Failed) -> Failed {
    format!("{plan:?}: {}", error.message().unwrap_or_default()).into()
}

fn plan(random: &mut Random, kind: u64, times: &[Times]) -> Plan {
    let format = random.below(FORMATS.len() as u64) as usize;
    let Times { to_start, to_close } = times[format];
    let moment = match kind {
        0 => Moment::Starting(random.part_of(to_start * 3 / 2)),
        1 => Moment::Recording(random.part_of(Duration::from_millis(600))),
        _ => Moment::Closing(random.part_of(to_close)),
    };
    Plan {
        format,
        instances: 1 + random.below(4) as usize,
        with_top: random.below(2) == 0,
        with_command: !matches!(moment, Moment::Closing(_)) && random.below(4) == 0,
        is_capped: random.below(2) == 0,
        moment,
    }
}

/// Runs `spawn` as before, and then stays on this CPU: there markers have one order, and only the last ones can
/// be missing.
fn pinned<T>(spawn: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    let this = Pid::from_raw(0);
    let mut all = CpuSet::new();
    (0..CpuSet::count()).try_for_each(|cpu| all.set(cpu))?;
    sched_setaffinity(this, &all)?;
    let spawned = spawn()?;
    let mut one = CpuSet::new();
    one.set(nix::sched::sched_getcpu()?)?;
    sched_setaffinity(this, &one)?;
    Ok(spawned)
}

/// Makes a recording, and looks at what is left of it.
fn one(place: &Place, plan: &Plan, before: &WritableFiles) -> Result<Times, Failed> {
    let _ = fs::remove_file(place.file());
    let (mut recorder, started) = (pinned(|| start(place, plan))?, Instant::now());
    let group = recorder.id();
    let mut markers = Markers::new(place);
    let followed = follow(place, plan, &mut recorder, started, &mut markers);
    if followed.is_err() || plan.moment != Moment::Never {
        // It may have ended just before.
        let _ = kill(Pid::from_raw(recorder.id().cast_signed()), Signal::SIGKILL);
    }
    let output = recorder.wait_with_output()?;
    let times = followed.map_err(|error| {
        Failed::from(format!("{}: {}", error.message().unwrap_or_default(), stderr(&output)))
    })?;
    nobody_is_left(group)?;
    let left: Vec<_> = fs::read_dir(place.out.path())?.flatten().map(|one| one.path()).collect();
    check(left.iter().all(|path| *path == place.file()), || format!("left behind: {left:?}"))?;
    if plan.moment == Moment::Never {
        check(output.status.success(), || stderr(&output))?;
    }
    if left.is_empty() {
        let early = matches!(plan.moment, Moment::Starting(_));
        check(early, || "the file is gone".to_owned())?;
    } else {
        is_whole(place, plan, &markers)?;
    }
    success(trace_cmd().args(["reset", "--stale"]))?;
    before.are_as_in(&place.tracing)?;
    Ok(times)
}

fn start(place: &Place, plan: &Plan) -> Result<Child, Failed> {
    let mut record = trace_cmd();
    record.args(["record", "-q", "-s", "5000"]).args(FORMATS[plan.format]);
    record.arg("-o").arg(place.file());
    if plan.is_capped {
        record.args(CAP);
    }
    if plan.with_top {
        record.args(["-e", "sched_process_exec"]);
    }
    for number in 0..plan.instances {
        record.args(["-B", &instance_name(number), "-e", "sched_process_exec"]);
        if plan.is_capped {
            // Markers alone, so that it is known how many are kept.
            record.args(["-f", "pid < 0"]);
        }
    }
    if plan.with_command {
        record.args(["sleep", "0.5"]);
    }
    record.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(record.process_group(0).spawn()?)
}

/// Writes markers until the moment has come.
fn follow(
    place: &Place,
    plan: &Plan,
    recorder: &mut Child,
    started: Instant,
    markers: &mut Markers,
) -> Result<Times, Failed> {
    let mut named = None;
    let mut end = match plan.moment {
        Moment::Starting(after) => Some(started + after),
        _ => None,
    };
    let mut interrupted = None;
    loop {
        markers.write()?;
        let now = Instant::now();
        if named.is_none() && place.file().exists() {
            named = Some(now);
            match plan.moment {
                Moment::Recording(after) => end = Some(now + after),
                Moment::Closing(_) | Moment::Never => interrupted = Some(now + 20 * TICK),
                Moment::Starting(_) => {}
            }
        }
        if interrupted.is_some_and(|at| now >= at) {
            let pid = Pid::from_raw(recorder.id().cast_signed());
            kill(pid, Signal::SIGINT)?;
            let to_start = named.map_or(Duration::ZERO, |named| named - started);
            let since = Instant::now();
            match plan.moment {
                Moment::Closing(after) => std::thread::sleep(after),
                _ => {
                    while recorder.try_wait()?.is_none() && since.elapsed() < PATIENCE {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            }
            return Ok(Times { to_start, to_close: since.elapsed() });
        }
        if end.is_some_and(|end| now + TICK >= end) {
            std::thread::sleep(end.unwrap_or(now).saturating_duration_since(now));
            return Ok(Times { to_start: Duration::ZERO, to_close: Duration::ZERO });
        }
        check(started.elapsed() < PATIENCE, || "it does not begin".to_owned())?;
        std::thread::sleep(TICK);
    }
}

/// Markers in the first instance, and how much was taken of the buffers of its CPUs.
struct Markers {
    instance: PathBuf,
    written: u64,
    taken: BTreeMap<PathBuf, Taken>,
}

/// What was taken of the buffer of a CPU: the numbers of events that were seen, from the last on.
#[derive(Default)]
struct Taken([u64; 4]);

impl Taken {
    fn see(&mut self, events: u64) {
        let [last, before, earlier, _] = self.0;
        if events > last {
            self.0 = [events, last, before, earlier];
        }
    }

    /// So many have been written: what comes out of the kernel goes to the file before more is taken. What is taken at
    /// once may be seen in two parts, and the next is on its way as well.
    fn written_out(&self) -> u64 {
        self.0[3]
    }
}

impl Markers {
    fn new(place: &Place) -> Self {
        Self { instance: place.instance(0), written: 0, taken: BTreeMap::new() }
    }

    fn write(&mut self) -> Result<(), Failed> {
        let text = format!("marker {} {:x<MARKER_LEN$}", self.written, "");
        // There is none before, nor after.
        if fs::write(self.instance.join("trace_marker"), text).is_ok() {
            self.written += 1;
        }
        for cpu in fs::read_dir(self.instance.join("per_cpu")).into_iter().flatten().flatten() {
            let stats = fs::read_to_string(cpu.path().join("stats")).unwrap_or_default();
            let read = stats.lines().find_map(|line| line.strip_prefix("read events: "));
            let read = read.map_or(Ok(0), |text| text.trim().parse::<u64>())?;
            self.taken.entry(cpu.path()).or_default().see(read);
        }
        Ok(())
    }

    /// Events that were taken from the kernel and have to be in the file.
    fn written_out(&self) -> u64 {
        self.taken.values().map(Taken::written_out).sum()
    }
}

/// Whether a process of the recorder is left when all could have ended.
fn nobody_is_left(group: u32) -> Result<(), Failed> {
    let since = Instant::now();
    loop {
        let left = processes_of(group);
        if left.is_empty() {
            return Ok(());
        }
        check(since.elapsed() < PATIENCE, || format!("left running: {left:?}"))?;
        std::thread::sleep(TICK);
    }
}

fn processes_of(group: u32) -> Vec<String> {
    let of_group = |stat: &String| {
        let words = stat.rsplit_once(')').map_or("", |(_, words)| words);
        words.split_whitespace().nth(2) == Some(&group.to_string())
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|one| fs::read_to_string(one.path().join("stat")).ok());
    stats.filter(of_group).collect()
}

/// The file can be read, by ours as it is and by the C trace-cmd when it was converted, and has what reached
/// the disk.
fn is_whole(place: &Place, plan: &Plan, markers: &Markers) -> Result<(), Failed> {
    let file = place.file();
    let report = success(trace_cmd().arg("report").arg(&file))?;
    let of_instance: Vec<&str> =
        report.lines().filter(|line| line.starts_with(&instance_name(0))).collect();
    // Those of other buffers have the name of theirs before them.
    let numbers = of_instance
        .iter()
        .filter_map(|line| line.split_once("marker ")?.1.split(' ').next()?.parse::<u64>().ok());
    let numbers: Vec<u64> = numbers.collect();
    let steady = numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    check(steady, || format!("markers are missing in between: {numbers:?}"))?;
    let wanted = match plan.moment {
        Moment::Never if plan.is_capped => markers.written,
        // The first may have been written before the buffer got its size, which empties it.
        Moment::Never => markers.written - numbers.first().copied().unwrap_or(0),
        _ if plan.format == 0 => {
            // A chunk that is not full has not been compressed yet, nor have the last ones.
            let waits = if plan.is_capped { WAITING } else { SUB_BUFFERS_OF_CHUNK };
            let waits = waits * MARKERS_OF_SUB_BUFFER;
            markers.written_out().saturating_sub(waits)
        }
        _ => markers.written_out(),
    };
    // Whoever is killed before it has read the formats leaves events without names.
    let has_names = !of_instance.iter().any(|line| line.contains("[UNKNOWN EVENT]"));
    if plan.is_capped && !has_names {
        check(wanted == 0 || !of_instance.is_empty(), || "nothing was kept".to_owned())?;
    } else if plan.is_capped {
        let (last, kept) = (numbers.last().map_or(0, |last| last + 1), numbers.len() as u64);
        check(last >= wanted, || format!("{last} of {wanted} markers were kept at some time"))?;
        // The first ones may have gone when the buffer got its size.
        let least = if wanted < 4 * MARKERS_OF_SUB_BUFFER { 0 } else { MARKERS_OF_SUB_BUFFER };
        check((least..=2 * MARKERS_OF_SUB_BUFFER).contains(&kept), || {
            format!("{kept} markers are kept, of {wanted}")
        })?;
    } else {
        check(of_instance.len() as u64 >= wanted, || {
            format!("{} of {wanted} events are there", of_instance.len())
        })?;
    }
    read_by_reference(&file)
}

fn read_by_reference(file: &Path) -> Result<(), Failed> {
    let Ok(reference) = requirements::reference().and_then(Reference::exact) else {
        return Ok(());
    };
    let converted = TempDir::new()?;
    let converted = converted.path().join("converted.dat");
    success(trace_cmd().args(["convert", "-i"]).arg(file).arg("-o").arg(&converted))?;
    let theirs = success(reference.reader().arg("report").arg("-i").arg(&converted))?;
    let report = |file: &Path| {
        let mut report: Command = trace_cmd();
        report.env("TRACE_CMD_COMPAT", "3.1.6").env("TZ", "UTC");
        success(report.arg("report").arg("-i").arg(file))
    };
    let events = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains(": ")).map(str::to_owned).collect()
    };
    let (ours, theirs) = (events(&report(file)?), events(&theirs));
    let different = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
    check(ours == theirs, || {
        format!("{} and {} lines, differ first in {different:?}", ours.len(), theirs.len())
    })
}
