//! What is recorded: this program once more, with other words. It tells when it began and ended.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, getpid, getppid, sysconf};

use crate::Outcome;

/// The first word that makes this program a load.
pub(crate) const WORD: &str = "load";

/// A kind of work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// None.
    Nothing,
    /// Launches of processes that do nothing, one on each CPU at a time.
    Processes,
    /// Reads and writes of one byte, as `dd bs=1` does.
    Bytes,
    /// Messages between many tasks through pipes, as hackbench sends them: per pair of tasks.
    Messages,
}

/// What a load tells of itself. Times are of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    /// Processor time of the load.
    pub(crate) cpu: Duration,
    /// Processor time of the recorder until the load began, and until it ended.
    pub(crate) recorder: [Duration; 2],
}

impl Kind {
    /// The words that make this program do `count` of it and write into `told`.
    pub(crate) fn command(self, count: u64, told: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        let words = [WORD.into(), self.name().into(), count.to_string().into(), told.into()];
        Ok([vec![std::env::current_exe()?.into_os_string()], words.to_vec()].concat())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Processes => "processes",
            Self::Bytes => "bytes",
            Self::Messages => "messages",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let kinds = [Self::Nothing, Self::Processes, Self::Bytes, Self::Messages];
        let kind = kinds.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| format!("no load '{name}'"))
    }
}

/// Is a load, as the words after [`WORD`] say.
pub(crate) fn be(words: &[String]) -> Outcome<()> {
    let [kind, count, rest @ ..] = words else { return Err("a load is KIND COUNT [FILE]".into()) };
    let (kind, count): (Kind, u64) = (kind.parse()?, count.parse()?);
    let [told] = rest else { return work(kind, count) };
    let began = now()?;
    let before = recorder_cpu()?;
    work(kind, count)?;
    let after = recorder_cpu()?;
    let cpu = own_cpu(UsageWho::RUSAGE_SELF)? + own_cpu(UsageWho::RUSAGE_CHILDREN)?;
    // Written first, so that nothing but its number comes after the end.
    let mut file = fs::File::create(told)?;
    let numbers = [began, cpu, before, after, now()?].map(|time| time.as_nanos().to_string());
    Ok(file.write_all(numbers.join(" ").as_bytes())?)
}

impl Told {
    /// Reads what a load has written.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(path)?;
        let times: Result<Vec<Duration>, _> =
            text.split(' ').map(|word| word.parse().map(Duration::from_nanos)).collect();
        let [began, cpu, before, after, ended] = times?[..] else {
            return Err(format!("{}: not five numbers: {text}", path.display()).into());
        };
        Ok(Self { began, ended, cpu, recorder: [before, after] })
    }
}

/// The monotonic clock, the same in all processes.
pub(crate) fn now() -> Outcome<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}

fn work(kind: Kind, count: u64) -> Outcome<()> {
    match kind {
        Kind::Nothing => Ok(()),
        Kind::Processes => processes(count),
        Kind::Bytes => bytes(count),
        Kind::Messages => messages(count),
    }
}

fn processes(count: u64) -> Outcome<()> {
    let program = std::env::current_exe()?;
    let launchers = std::thread::available_parallelism()?.get() as u64;
    let launch = |count: u64| -> io::Result<()> {
        for _ in 0..count {
            let mut child = Command::new(&program);
            child.args([WORD, "nothing", "0"]).stdout(Stdio::null()).status()?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let launches = (0..launchers).map(|n| (count + n) / launchers);
        let threads: Vec<_> = launches.map(|share| scope.spawn(move || launch(share))).collect();
        join(threads)
    })
}

fn bytes(count: u64) -> Outcome<()> {
    let mut zero = fs::File::open("/dev/zero")?;
    let mut null = fs::File::create("/dev/null")?;
    let mut byte = [0];
    for _ in 0..count {
        zero.read_exact(&mut byte)?;
        null.write_all(&byte)?;
    }
    Ok(())
}

/// Ten groups of twenty senders and twenty receivers; in a group all send to all.
fn messages(count: u64) -> Outcome<()> {
    const GROUPS: u64 = 10;
    const SENDERS: u64 = 20;
    const MESSAGE: [u8; 100] = [b'-'; 100];
    let send = |pipes: &[io::PipeWriter]| -> io::Result<()> {
        for _ in 0..count {
            for mut pipe in pipes {
                pipe.write_all(&MESSAGE)?;
            }
        }
        Ok(())
    };
    let receive = |mut pipe: io::PipeReader| -> io::Result<()> {
        let mut message = MESSAGE;
        for _ in 0..count * SENDERS {
            pipe.read_exact(&mut message)?;
        }
        Ok(())
    };
    let mut groups = Vec::new();
    for _ in 0..GROUPS {
        let pipes: io::Result<Vec<_>> = (0..SENDERS).map(|_| io::pipe()).collect();
        let (readers, writers): (Vec<_>, Vec<_>) = pipes?.into_iter().unzip();
        groups.push((readers, writers));
    }
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (readers, writers) in &mut groups {
            threads.extend(readers.drain(..).map(|pipe| scope.spawn(move || receive(pipe))));
            let writers = &*writers;
            threads.extend((0..SENDERS).map(|_| scope.spawn(move || send(writers))));
        }
        join(threads)
    })
}

fn join(threads: Vec<std::thread::ScopedJoinHandle<'_, io::Result<()>>>) -> Outcome<()> {
    for thread in threads {
        thread.join().map_err(|_| "a thread of the load panicked")??;
    }
    Ok(())
}

fn own_cpu(who: UsageWho) -> Outcome<Duration> {
    let usage = getrusage(who)?;
    let time = |time: TimeVal| -> Outcome<Duration> {
        Ok(Duration::from_secs(u64::try_from(time.tv_sec())?)
            + Duration::from_micros(u64::try_from(time.tv_usec())?))
    };
    Ok(time(usage.user_time())? + time(usage.system_time())?)
}

/// Processor time of the process that started this one, and of all others that it started: one
/// recorder has a process per CPU, the other a thread.
fn recorder_cpu() -> Outcome<Duration> {
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK)?.ok_or("no clock ticks")?;
    let (recorder, load) = (getppid().to_string(), getpid().to_string());
    let mut ticks = 0;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        // Processes come and go.
        let Some(stat) = process_stat(&name) else { continue };
        let fields: Vec<&str> = stat.split(' ').collect();
        // After the name: state, parent, then user and system time at 11 and 12.
        let (Some(&parent), Some(user), Some(system)) =
            (fields.get(1), fields.get(11), fields.get(12))
        else {
            continue;
        };
        let is_recorder = name == *recorder || (parent == recorder && name != *load);
        if is_recorder {
            ticks += user.parse::<u64>()? + system.parse::<u64>()?;
        }
    }
    Ok(Duration::from_secs(1) * u32::try_from(ticks)? / u32::try_from(ticks_per_second)?)
}

/// The fields of a process after its name, which may have spaces in it.
fn process_stat(name: &OsStr) -> Option<String> {
    name.to_str()?.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    let text = fs::read(Path::new("/proc").join(name).join("stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.rsplit_once(") ").map(|(_, fields)| fields.to_owned())
}
