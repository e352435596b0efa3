//! Recording to a listener: processor time of both ends, what is lost on the way, and the end.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use trace_benches::measure::{cpu, measure};
use trace_benches::sys;
use trace_virt::lab::TracefsLock;
use trace_virt::lab::requirements;

use crate::load::{self, Kind, Told};
use crate::measure::{median, take_turns};
use crate::programs::{Program, Programs};
use crate::recording::{Content, content};
use crate::table::{self, Figure};
use crate::tracing::Tracing;
use crate::{Options, Outcome, generated};

/// How long a listener may take for a step.
const PATIENCE: Duration = Duration::from_secs(120);

/// One recording to a listener.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Processor time of the recorder while the load ran.
    recorder: Duration,
    /// All that the listener took.
    listener: Duration,
    /// From the end of the load to a finished file.
    finish: Duration,
    /// Datagrams that found the listener's socket full, and all that came to it.
    dropped: f64,
    datagrams: f64,
    content: Content,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Outcome<()> {
    let rounds = options.rounds.div_ceil(2);
    let count = options.sized(2_000_000);
    let record = |(program, words): (Program, &[&str])| record(programs, program, words, count);
    let plain: &[&str] = &["-t", "--compression", "none"];
    let tcp: &[&str] = &["-t"];
    let all = [(Program::Theirs, tcp), (Program::Ours, plain), (Program::Ours, tcp)];
    let [theirs, plain, packed] = &take_turns(rounds, all, record)?;
    let listener = |run: &Sent| run.listener.as_secs_f64() / run.gigabytes();
    let recorder = |run: &Sent| run.recorder.as_secs_f64() / run.gigabytes();
    let finish = |run: &Sent| run.finish.as_secs_f64();
    let what = format!("record -N -t, {:.2} GB: processor of the recorder", amount(plain));
    compare(&what, Figure::PerGigabyte, theirs, plain, recorder, "1.7");
    compare(
        "… of the listener, uncompressed here",
        Figure::PerGigabyte,
        theirs,
        plain,
        listener,
        "4",
    );
    compare(
        "… of the listener, zstd on both sides",
        Figure::PerGigabyte,
        theirs,
        packed,
        listener,
        "1.7",
    );
    compare("… workload's end to finished file", Figure::Seconds, theirs, plain, finish, "");
    compare("… the same, zstd on both sides", Figure::Seconds, theirs, packed, finish, "");
    let udp: &[&str] = &[];
    let plain: &[&str] = &["--compression", "none"];
    let both = [(Program::Theirs, udp), (Program::Ours, plain)];
    let [theirs, ours] = &take_turns(rounds, both, record)?;
    let lost = |run: &Sent| 100.0 * run.dropped / (run.dropped + run.datagrams).max(1.0);
    compare("record -N, UDP: datagrams lost", Figure::Percent, theirs, ours, lost, "10");
    compare("… processor of the recorder", Figure::PerGigabyte, theirs, ours, recorder, "");
    compare(
        "… of the listener, uncompressed here",
        Figure::PerGigabyte,
        theirs,
        ours,
        listener,
        "",
    );
    generated::run(programs, options)
}

impl Sent {
    fn gigabytes(&self) -> f64 {
        self.content.bytes as f64 / 1e9
    }
}

/// Records to a listener of the same program.
fn record(programs: &Programs, program: Program, words: &[&str], count: u64) -> Outcome<Sent> {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let told_file = dir.path().join("told");
    let listener = Listener::start(programs, program, dir.path())?;
    let mut command = programs.recorder(program)?;
    command.args(["record", "-e", "all", "-N", &format!("127.0.0.1:{}", listener.port)]);
    command.args(words).args(Kind::Bytes.command(count, &told_file)?);

    let lock = TracefsLock::take()?;
    let tracing = Tracing::read(&requirements::tracefs()?);
    let before = Datagrams::read()?;
    let ran = measure(&mut command, None);
    let finished = listener.wait_for_file(program);
    let end = load::now()?;
    let after = Datagrams::read()?;
    let put_back = tracing.put_back();
    let usage = listener.stop()?;
    ran?;
    finished?;
    put_back.map_err(|error| format!("{command:?}: {error}"))?;
    drop(lock);

    let told = Told::read(&told_file)?;
    let [began, ended] = told.recorder;
    Ok(Sent {
        recorder: ended.saturating_sub(began),
        listener: usage,
        finish: end.saturating_sub(told.ended),
        dropped: (after.dropped - before.dropped) as f64,
        datagrams: (after.received - before.received) as f64,
        content: content(programs, &file(dir.path())?)?,
    })
}

/// A listener that runs.
pub(crate) struct Listener {
    child: Child,
    port: u16,
    said: PathBuf,
}

impl Listener {
    pub(crate) fn start(programs: &Programs, program: Program, dir: &Path) -> Outcome<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let said = dir.join("said");
        let mut command = programs.reader(program);
        command.args(["listen", "-p", &port.to_string(), "-d"]).arg(dir);
        command.stdin(Stdio::null()).stdout(File::create(&said)?).stderr(Stdio::null());
        let child = command.spawn()?;
        let listener = Self { child, port, said };
        wait(&format!("{command:?}: it does not listen"), || is_listening(port))?;
        Ok(listener)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the file is complete: one program has a process for each recorder, the other says so.
    pub(crate) fn wait_for_file(&self, program: Program) -> Outcome<()> {
        wait("the listener does not finish its file", || match program {
            Program::Theirs => {
                let path = format!("/proc/{0}/task/{0}/children", self.child.id());
                Ok(fs::read_to_string(path)?.trim().is_empty())
            }
            Program::Ours => Ok(fs::read_to_string(&self.said)?.contains("bytes of trace data")),
        })
    }

    /// Ends it; the processor time that it took.
    pub(crate) fn stop(self) -> Outcome<Duration> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT)?;
        let (_, usage) = sys::wait4(self.child.id())?;
        cpu(&usage)
    }
}

/// Waits for what must come soon.
fn wait(what: &str, mut done: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > deadline {
            return Err(what.into());
        }
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn is_listening(port: u16) -> Outcome<bool> {
    // Local address, remote address, then the state: 0A listens.
    let port = format!(":{port:04X}");
    let listens = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next().is_some_and(|local| local.ends_with(&port));
        is_it && fields.nth(1) == Some("0A")
    };
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    Ok(tables.iter().flatten().any(|table| table.lines().any(listens)))
}

/// The one trace in a directory.
pub(crate) fn file(dir: &Path) -> Outcome<PathBuf> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dat") {
            return Ok(path);
        }
    }
    Err("the listener has written no file".into())
}

/// The kernel's counters.
struct Datagrams {
    received: u64,
    dropped: u64,
}

impl Datagrams {
    fn read() -> Outcome<Self> {
        let text = fs::read_to_string("/proc/net/snmp")?;
        let mut lines = text.lines().filter(|line| line.starts_with("Udp: "));
        let (names, values) = (lines.next().ok_or("no UDP")?, lines.next().ok_or("no UDP")?);
        let value = |name: &str| -> Outcome<u64> {
            let place = names.split(' ').position(|one| one == name);
            let value = place.and_then(|place| values.split(' ').nth(place));
            Ok(value.ok_or("no such counter of UDP")?.parse()?)
        };
        Ok(Self { received: value("InDatagrams")?, dropped: value("RcvbufErrors")? })
    }
}

fn amount(runs: &[Sent]) -> f64 {
    median(runs, Sent::gigabytes)
}

fn compare(
    what: &str,
    unit: fn(f64) -> Figure,
    theirs: &[Sent],
    ours: &[Sent],
    figure: impl Fn(&Sent) -> f64,
    target: &str,
) {
    table::line(what, unit, median(theirs, &figure), median(ours, &figure), target);
}
