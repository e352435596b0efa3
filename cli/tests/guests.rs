//! Several guests recorded at once, and what happens to guests and servers meanwhile: on real guests.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use common::disk::Disk;
use common::virt::{Monitor, Server, alone};
use common::{Case, check, success, trace_cmd, values, with_guest};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};
use trace_virt::lab::{self, Flavor, Guest, GuestOptions, Missing};

const CASES: &[Case] = &[
    Case {
        name: "root_files_are_whole_whatever_happens_to_a_guest",
        needs: with_guest,
        test: faults,
    },
    Case {
        name: "root_clocks_that_are_set_change_no_times",
        needs: with_guest,
        test: clocks_are_set,
    },
    Case { name: "root_several_guests_start_together", needs: with_guest, test: together },
    Case {
        name: "root_a_guest_with_the_kernel_of_real_machines_is_recorded",
        needs: with_full_guest,
        test: full_kernel,
    },
];

const BOOT: Duration = Duration::from_secs(240);
/// For what takes seconds on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long `record` lets guests that are ready wait for others, in microseconds.
const PATIENCE_AT_START: u64 = 10_000_000;
/// Makes enough events for data to leave the guest. Not of `/proc`: a process that ends between
/// being listed and being looked at makes `ls` fail.
const WORK: &str =
    "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do ls -l /sys/module /dev >/dev/null; done";

fn main() -> ExitCode {
    common::run(CASES)
}

fn with_full_guest() -> Result<(), Missing> {
    requirements::root()?;
    requirements::tracefs()?;
    requirements::guest_with(Flavor::Full)
}

fn full_kernel() -> Result<(), Failed> {
    let _alone = alone();
    let (virt_dir, out) = (TempDir::new()?, TempDir::new()?);
    let _server = Server::start(virt_dir.path())?;
    let guest = Guest::boot(GuestOptions {
        kernel: Flavor::Full,
        memory_mb: 512,
        ..options("full", virt_dir.path())?
    })?;
    guest.wait_ready(BOOT)?;
    let version = guest.run("uname -r")?;
    check(!version.contains("cloud"), || version.clone())?;
    Server::wait_for_client(virt_dir.path())?;
    let _lock = TracefsLock::take()?;
    let (host, of_guest) = (out.path().join("trace.dat"), out.path().join("trace-full.dat"));
    let mut record = trace_cmd();
    record.args(["record", "--virt-dir"]).arg(virt_dir.path()).arg("-o").arg(&host);
    record.args(["-e", "sched_switch", "--dom", "full", "-e", "sched_process_exec"]);
    success(record.args(["--exec", "ls", "/", ";"]))?;
    let report = success(trace_cmd().args(["report", "-i"]).arg(&host).arg("-i").arg(&of_guest))?;
    let of = |file: &str, event: &str| {
        report.lines().any(|line| line.contains(&format!("{file}:")) && line.contains(event))
    };
    check(of("trace.dat", "sched_switch:") && of("trace-full.dat", "filename=/bin/ls"), || {
        report.clone()
    })
}

fn options(name: &str, virt_dir: &Path) -> Result<GuestOptions, Failed> {
    let mut options = GuestOptions::new(name);
    options.memory_mb = 256;
    options.virt_dir = Some(virt_dir.to_owned());
    options.trace_cmd = Some(lab::static_binary()?);
    options.client_args = Some(vec!["--allow-exec".to_owned()]);
    Ok(options)
}

/// A `record` that runs.
struct Recording {
    record: Child,
    out: PathBuf,
    /// What it says; not on the disk of its files.
    said: TempDir,
}

/// What it said and how it ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Recording {
    /// Starts it; its files go to `out`, where none is from before.
    fn start(virt_dir: &Path, out: &Path, words: &str) -> Result<Self, Failed> {
        for file in fs::read_dir(out)? {
            fs::remove_file(file?.path())?;
        }
        let mut record = trace_cmd();
        record.args(["record", "--json", "--virt-dir"]).arg(virt_dir);
        record.arg("-o").arg(out.join("trace.dat")).args(words.split_whitespace());
        record.stdin(Stdio::null());
        let said = TempDir::new()?;
        record.stdout(File::create(said.path().join("stdout"))?);
        record.stderr(File::create(said.path().join("stderr"))?);
        Ok(Self { record: record.spawn()?, out: out.to_owned(), said })
    }

    fn said(&self, stream: &str) -> String {
        fs::read_to_string(self.said.path().join(stream)).unwrap_or_default()
    }

    fn file(&self, guest: &str) -> PathBuf {
        self.out.join(format!("trace-{guest}.dat"))
    }

    /// Waits until something holds; says what was waited for when it does not come.
    fn wait_for(
        &mut self,
        what: &str,
        holds: impl Fn(&Self) -> Result<bool, Failed>,
    ) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self)? {
            let ended = self.record.try_wait()?;
            check(ended.is_none() && Instant::now() < deadline, || {
                format!("no {what} ({ended:?}): {}{}", self.said("stdout"), self.said("stderr"))
            })?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until it records.
    fn begun(&mut self, guest: &str) -> Result<(), Failed> {
        self.wait_for("file of the guest", |this| Ok(this.file(guest).exists()))
    }

    /// Has the guest do something, and waits until the host has data of it.
    fn data_of(&mut self, guest: &Guest) -> Result<(), Failed> {
        let blocks = |this: &Self| Ok::<_, Failed>(fs::metadata(this.file(guest.name()))?.blocks());
        let before = blocks(self)?;
        guest.run(WORK)?;
        // In blocks of 512 bytes: more than a chunk, whether it is compressed or not.
        self.wait_for("data of the guest", |this| Ok(blocks(this)? >= before + 16))
    }

    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let pid = i32::try_from(self.record.id())?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    fn stop(self) -> Result<Ended, Failed> {
        self.signal(Signal::SIGINT)?;
        self.end()
    }

    /// Waits for its end.
    fn end(self) -> Result<Ended, Failed> {
        self.end_within(PATIENCE)
    }

    fn end_within(mut self, time: Duration) -> Result<Ended, Failed> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(status) = self.record.try_wait()? {
                let code = status.code();
                return Ok(Ended {
                    code,
                    stdout: self.said("stdout"),
                    stderr: self.said("stderr"),
                });
            }
            check(Instant::now() < deadline, || {
                format!("it does not end: {}{}", self.said("stdout"), self.said("stderr"))
            })?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.record.kill();
        let _ = self.record.wait();
    }
}

impl Ended {
    fn expect(&self, code: i32, end: &str) -> Result<(), Failed> {
        let end = format!("\"end\":\"{end}\"");
        check(self.code == Some(code) && self.stdout.contains(&end), || {
            format!("not {code} and {end}: {:?}: {}{}", self.code, self.stdout, self.stderr)
        })
    }

    /// All that the guest says it sent is in its file.
    fn is_complete(&self) -> Result<(), Failed> {
        self.expect(0, "complete")?;
        let whole = values(&self.stdout, "\"missing_bytes\":").iter().all(|&bytes| bytes == 0);
        check(whole && !self.stdout.contains("\"missing_bytes\":null"), || self.stdout.clone())
    }

    /// The guest went first, and that is told.
    fn is_incomplete(&self, end: &str) -> Result<(), Failed> {
        self.expect(5, end)?;
        check(self.stdout.contains("\"missing_bytes\":null"), || self.stdout.clone())?;
        check(self.stderr.contains("guest1"), || format!("no name: {}", self.stderr))
    }
}

/// Both readers see the same number of events in a file, and some.
fn events(file: &Path) -> Result<(), Failed> {
    let count = |text: &str| text.lines().filter(|line| line.contains(": ")).count();
    let ours = count(&success(trace_cmd().arg("report").arg("-i").arg(file))?);
    check(ours > 0, || format!("no events in {}", file.display()))?;
    if let Ok(reference) = requirements::reference() {
        let theirs = count(&success(reference.reader().arg("report").arg("-i").arg(file))?);
        check(theirs == ours, || format!("{ours} events, {theirs} for the reference"))?;
    }
    Ok(())
}

/// A file that nobody completed is read as it is; the reference reads what `convert` makes of it.
fn events_of_killed(file: &Path) -> Result<(), Failed> {
    success(trace_cmd().arg("report").arg("-i").arg(file))?;
    let converted = file.with_extension("converted");
    success(trace_cmd().arg("convert").arg("-i").arg(file).arg("-o").arg(&converted))?;
    events(&converted)
}

/// Each event is in the instance it was recorded in, for both readers.
fn instances(file: &Path) -> Result<(), Failed> {
    let mut readers = vec![trace_cmd()];
    readers.extend(requirements::reference().ok().map(|reference| reference.reader()));
    for mut reader in readers {
        let text = success(reader.arg("report").arg("-i").arg(file))?;
        for (event, instance) in
            [("sched_process_exec:", ""), ("sys_enter:", "calls:"), ("sched_switch:", "tasks:")]
        {
            let mut lines = text.lines().filter(|line| line.contains(event)).peekable();
            let is_there = lines.peek().is_some();
            let starts_so = |line: &str| match instance {
                "" => !line.contains("calls:") && !line.contains("tasks:"),
                name => line.contains(name),
            };
            check(is_there && lines.all(starts_so), || {
                format!("{event} not in '{instance}': {text}")
            })?;
        }
    }
    events(file)
}

/// A disk that gets full costs what comes then, and that is told.
fn full_disk(virt_dir: &Path, guest: &Guest) -> Result<(), Failed> {
    Server::wait_until_ready(virt_dir, guest.name())?;
    let disk = Disk::tmpfs("80m")?;
    let out = &disk.root();
    let words = "--compression none --dom guest1 -e raw_syscalls -e sched";
    let mut recording = Recording::start(virt_dir, out, words)?;
    recording.begun("guest1")?;
    recording.data_of(guest)?;
    let filler = disk.fill(0)?;
    guest.run(WORK)?;
    recording.signal(Signal::SIGINT)?;
    let ended = recording.end()?;
    drop(filler);
    let file = out.join("trace-guest1.dat");
    check(ended.code == Some(1) && ended.stderr.contains("guest1"), || {
        format!("{:?}: {}", ended.code, ended.stderr)
    })?;
    events(&file)
}

/// Prints how far apart guests began; none may have before all were ready.
fn start_skew(summary: &str, count: usize) -> Result<(), Failed> {
    let [asked, ready, told, on] = ["asked_us", "ready_us", "told_us", "tracing_on"]
        .map(|name| values(summary, &format!("\"{name}\":")));
    check([&asked, &ready, &told, &on].iter().all(|all| all.len() == count), || {
        summary.to_owned()
    })?;
    let span = |times: &[u64]| {
        let (first, last) = (times.iter().min(), times.iter().max());
        last.zip(first).map_or(0, |(last, first)| last - first)
    };
    println!(
        "{count} guests: asked within {} us, ready within {} us, told to begin within {} us, tracing within {} us",
        span(&asked),
        span(&ready),
        span(&told),
        span(&on) / 1000
    );
    let in_order = ready.iter().max() <= told.iter().min();
    check(in_order || span(&ready) >= PATIENCE_AT_START, || {
        format!("ready at {ready:?} us, told to begin at {told:?} us")
    })
}

/// One guest, one thing after the other.
fn faults() -> Result<(), Failed> {
    const GUEST: &str = "--dom guest1 -e raw_syscalls -e sched";
    let _alone = alone();
    let mut scene = Instant::now();
    let mut done = |name| {
        println!("{name}: {:.1} s", scene.elapsed().as_secs_f32());
        scene = Instant::now();
    };
    let (virt, out) = (TempDir::new()?, TempDir::new()?);
    let (virt_dir, out) = (virt.path(), out.path());
    let mut server = Server::start(virt_dir)?;
    let guest = Guest::boot(GuestOptions { reboot: true, ..options("guest1", virt_dir)? })?;
    guest.wait_ready(BOOT)?;
    Server::wait_for_client(virt_dir)?;
    let _lock = TracefsLock::take()?;
    let start = |words: &str| -> Result<Recording, Failed> {
        // A guest that ends an earlier recording, or was paused, takes a while to answer.
        Server::wait_until_ready(virt_dir, "guest1")?;
        let mut recording = Recording::start(virt_dir, out, words)?;
        recording.begun("guest1")?;
        recording.data_of(&guest)?;
        Ok(recording)
    };
    let file = out.join("trace-guest1.dat");
    done("booted");

    // Another guest that nobody set up, beside it: named, and the others are recorded.
    let recording = start(&format!("-e sched_process_exec --dom guest9 -e sched {GUEST}"))?;
    let ended = recording.stop()?;
    ended.expect(5, "complete")?;
    check(ended.stderr.contains("guest9") && ended.stdout.contains("\"name\":\"guest9\""), || {
        format!("no word of guest9: {}{}", ended.stdout, ended.stderr)
    })?;
    check(!out.join("trace-guest9.dat").exists(), || "a file of nothing".to_owned())?;
    success(trace_cmd().arg("report").arg("-i").arg(out.join("trace.dat")))?;
    events(&file)?;
    done("absent");

    for words in ["", "--compression none "] {
        let recording = start(&format!("{words}{GUEST}"))?;
        recording.signal(Signal::SIGKILL)?;
        check(recording.end()?.code.is_none(), || "it was not killed".to_owned())?;
        events_of_killed(&file)?;
        success(trace_cmd().args(["reset", "--stale"]))?;
    }
    done("recorder killed");

    let traced = |words: &str| -> Result<String, Failed> {
        Server::wait_until_ready(virt_dir, "guest1")?;
        let mut recording = Recording::start(virt_dir, out, words)?;
        recording.begun("guest1")?;
        guest.run(WORK)?;
        recording.stop()?.is_complete()?;
        success(trace_cmd().arg("report").arg("-i").arg(&file))
    };
    let report = traced(
        "--dom guest1 -p function -l ksys_* -n ksys_write -O sym-offset -b 700 -M 1 \
         -e raw_syscalls:sys_enter -f id!=1 -e sched_switch -R stacktrace:3 -T",
    )?;
    let wanted = ["function:", "ksys_read", "sys_enter:", "kernel_stack:"];
    check(wanted.iter().all(|what| report.contains(what)), || report.lines().take(30).collect())?;
    let mut writes = report.lines().filter(|line| line.contains("sys_enter:"));
    check(!writes.any(|line| line.contains("NR 1 (")), || "the filter lets it through".to_owned())?;
    let mut calls = report.lines().filter(|line| line.contains("function:"));
    check(!calls.any(|line| line.contains("ksys_write")), || "-n has no effect".to_owned())?;
    // Of few functions, as an emulated machine is long in changing all.
    let graph = "-p function_graph -l ksys_read -l vfs_read -g ksys_read --max-graph-depth 1";
    let report = traced(&format!("--dom guest1 {graph}"))?;
    check(report.contains("ksys_read()") && !report.contains("vfs_read()"), || {
        report.lines().take(30).collect()
    })?;
    done("options");

    for compression in ["zstd", "none"] {
        let words = "--dom guest1 -e sched_process_exec -B calls -e raw_syscalls -b 500 -B tasks -e sched_switch";
        let recording = start(&format!("--compression {compression} {words}"))?;
        recording.stop()?.is_complete()?;
        instances(&file)?;
    }
    done("instances");

    full_disk(virt_dir, &guest)?;
    done("disk full");

    // What an earlier recording left on the way is in nobody's file.
    let mut monitor = Monitor::connect(&guest)?;
    let mut recording = start(&format!("--compression none {GUEST}"))?;
    monitor.run("stop")?;
    std::thread::sleep(Duration::from_millis(1500));
    monitor.run("cont")?;
    recording.data_of(&guest)?;
    recording.stop()?.is_complete()?;
    events(&file)?;
    done("paused for a while");

    let recording = start(GUEST)?;
    drop(server);
    // Nothing else is recorded, so that ends it.
    recording.end()?.is_incomplete("gone")?;
    events(&file)?;
    server = Server::start(virt_dir)?;
    Server::wait_for_client(virt_dir)?;
    done("server ended");

    let recording = start(&format!("-e sched_process_exec {GUEST}"))?;
    monitor.run("stop")?;
    let ended = recording.stop()?;
    ended.is_incomplete("silent")?;
    events(&file)?;
    monitor.run("cont")?;
    start(GUEST)?.stop()?.is_complete()?;
    done("paused at the end");

    let recording = start(GUEST)?;
    monitor.run("system_reset")?;
    // That is known when it has booted.
    recording.end_within(BOOT)?.is_incomplete("gone")?;
    events(&file)?;
    drop(server);
    server = Server::start(virt_dir)?;
    Server::wait_for_client(virt_dir)?;
    done("rebooted");

    Server::wait_until_ready(virt_dir, "guest1")?;
    let mut recording = Recording::start(virt_dir, out, GUEST)?;
    recording.begun("guest1")?;
    guest.kill();
    let ended = recording.end()?;
    ended.is_incomplete("gone")?;
    success(trace_cmd().arg("report").arg("-i").arg(&file))?;
    done("killed");
    drop(server);
    Ok(())
}

/// Sets the wall clock of who runs it an hour ahead, and then two back; programs are started meanwhile. Clocks are
/// compared every second: what is put back sooner nobody sees.
const SET_CLOCK: &str = "/bin/ls -d /; date -s @$(($(date +%s) + 3600)); /bin/ls -d /; sleep 4; \
                         date -s @$(($(date +%s) - 7200)); /bin/ls -d /; sleep 2";

/// Wall clocks are set while a machine records, and while it is recorded by another: no event moves by more than is
/// stated.
fn clocks_are_set() -> Result<(), Failed> {
    let _alone = alone();
    let (virt, out) = (TempDir::new()?, TempDir::new()?);
    let _server = Server::start(virt.path())?;
    let guest = Guest::boot(options("guest1", virt.path())?)?;
    guest.wait_ready(BOOT)?;
    Server::wait_for_client(virt.path())?;

    let record = "trace-cmd record -q --date -e sched_process_exec -o /tmp/set.dat";
    let began = guest.run(&format!("date +%s; {record} sh -c '{SET_CLOCK}' >/dev/null"))?;
    let began: f64 = began.trim().parse()?;
    let report = guest.run("trace-cmd report -i /tmp/set.dat")?;
    let own = times(&report, "filename=/bin/ls");
    check(own.len() == 3 && own.is_sorted(), || report.clone())?;
    // Wall time is that of the start.
    let is_near = |time: &f64| (0.0..PATIENCE.as_secs_f64()).contains(&(time - began));
    check(own.iter().all(is_near), || format!("{began}: {report}"))?;
    a_host_that_is_set(&guest)?;

    let _lock = TracefsLock::take()?;
    // One that is not set, and one that is.
    for clock in ["mono", "tai"] {
        Server::wait_until_ready(virt.path(), "guest1")?;
        let words = format!("-C {clock} -e sched_process_exec --dom guest1 -e sched_process_exec");
        let mut recording = Recording::start(virt.path(), out.path(), &words)?;
        recording.begun("guest1")?;
        success(&mut Command::new("true"))?;
        guest.run(SET_CLOCK)?;
        success(&mut Command::new("true"))?;
        let ended = recording.stop()?;
        ended.is_complete()?;
        let bounds = values(&ended.stdout, "\"clock_error\":");
        let [bound] = bounds[..] else { return Err(ended.stdout.into()) };
        let bound = bound as f64 / 1e9;
        check(clock == "tai" || bound < PATIENCE.as_secs_f64(), || format!("{bound} s"))?;
        let mut report = trace_cmd();
        report.arg("report").arg("-i").arg(out.path().join("trace.dat"));
        let report = success(report.arg("-i").arg(out.path().join("trace-guest1.dat")))?;
        let (host, of_guest) = (times(&report, "/true "), times(&report, "filename=/bin/ls"));
        let around = host.first().zip(host.last()).ok_or_else(|| report.clone())?;
        let is_near = |time: &f64| (around.0 - bound..=around.1 + bound).contains(time);
        check(of_guest.len() == 3 && of_guest.iter().all(is_near), || {
            format!("{clock}: {around:?}, wrong by up to {bound} s: {report}")
        })?;
        events(&out.path().join("trace-guest1.dat"))?;
    }
    Ok(())
}

/// A machine records itself, by its agent too, and is set: the clocks of both sides jump while they are compared.
fn a_host_that_is_set(guest: &Guest) -> Result<(), Failed> {
    let agent = "ip link set lo up; trace-cmd agent --bind 127.0.0.1 -p 8888 >/tmp/agent.log 2>&1 & \
                 until grep -q listening /tmp/agent.log; do sleep 0.2; done";
    let events = "-e sched_process_exec";
    let record = format!(
        "trace-cmd record --json -B host -C tai {events} -o /tmp/host.dat -A 127.0.0.1:8888 --name self {events}"
    );
    let said = guest.run(&format!("{agent}; {record} sh -c '{SET_CLOCK}'; kill -INT $!; wait"))?;
    let bounds = values(&said, "\"clock_error\":");
    let [bound] = bounds[..] else { return Err(said.into()) };
    let bound = bound as f64 / 1e9;
    check(bound < PATIENCE.as_secs_f64(), || format!("{bound} s: {said}"))?;
    let report = guest.run("trace-cmd report -i /tmp/host.dat -i /tmp/host-self.dat")?;
    let (agent, host): (Vec<_>, Vec<_>) =
        report.lines().partition(|line| line.contains("host-self.dat:"));
    let [of_host, of_agent] =
        [host, agent].map(|lines| times(&lines.join("\n"), "filename=/bin/ls"));
    check(of_host.len() == 3 && of_agent.len() == 3, || format!("{said}{report}"))?;
    let mut pairs = of_host.iter().zip(&of_agent);
    // Printed in microseconds.
    check(pairs.all(|(host, agent)| (host - agent).abs() <= bound + 2e-6), || {
        format!("wrong by up to {bound} s: {report}")
    })
}

/// When events were, in seconds.
fn times(report: &str, event: &str) -> Vec<f64> {
    let lines = report.lines().filter(|line| line.contains(event));
    let words = lines.filter_map(|line| line.split_once("] ")?.1.split_whitespace().nth(1));
    words.filter_map(|word| word.trim_end_matches(':').parse().ok()).collect()
}

fn together() -> Result<(), Failed> {
    const NAMES: [&str; 4] = ["guest1", "guest2", "guest3", "guest4"];
    let _alone = alone();
    let (virt, out) = (TempDir::new()?, TempDir::new()?);
    let (virt_dir, out) = (virt.path(), out.path());
    let _server = Server::start(virt_dir)?;
    let mut guests = Vec::new();
    for name in NAMES {
        // One after the other, as emulated machines that boot side by side are late.
        let guest = Guest::boot(options(name, virt_dir)?)?;
        guest.wait_ready(BOOT)?;
        guests.push(guest);
    }
    for name in NAMES {
        Server::wait_for(virt_dir, &format!("guest {name}: its client answers"))?;
    }
    let _lock = TracefsLock::take()?;
    for count in [1, 2, 4] {
        let mut words = "-e sched_process_exec".to_owned();
        for name in NAMES.iter().take(count) {
            words += &format!(" --dom {name} -e sched_process_exec --exec ls -d /{name} / ;");
            Server::wait_until_ready(virt_dir, name)?;
        }
        let ended = Recording::start(virt_dir, out, &words)?.end()?;
        ended.is_complete()?;
        start_skew(&ended.stdout, count)?;
        let mut report = trace_cmd();
        report.args(["report", "-i"]).arg(out.join("trace.dat"));
        for name in NAMES.iter().take(count) {
            let file = out.join(format!("trace-{name}.dat"));
            events(&file)?;
            report.arg("-i").arg(file);
        }
        let all = success(&mut report)?;
        for name in NAMES.iter().take(count) {
            let prefix = format!("trace-{name}.dat:");
            let mut lines = all.lines().filter(|line| line.contains(&prefix));
            check(lines.any(|line| line.contains("filename=/bin/ls")), || {
                format!("nothing of {name}: {all}")
            })?;
        }
    }
    // One of four refuses: the others are recorded, and it is named.
    let mut words = "-e sched_process_exec".to_owned();
    for name in NAMES {
        let event = if name == "guest3" { "no_such_event" } else { "sched_process_exec" };
        words += &format!(" --dom {name} -e {event} --exec ls -d /{name} / ;");
        Server::wait_until_ready(virt_dir, name)?;
    }
    let ended = Recording::start(virt_dir, out, &words)?.end()?;
    ended.expect(5, "complete")?;
    check(ended.stderr.contains("guest3") && ended.stderr.contains("no_such_event"), || {
        ended.stderr.clone()
    })?;
    check(!out.join("trace-guest3.dat").exists(), || "a file of nothing".to_owned())?;
    for name in ["guest1", "guest2", "guest4"] {
        events(&out.join(format!("trace-{name}.dat")))?;
    }
    Ok(())
}
