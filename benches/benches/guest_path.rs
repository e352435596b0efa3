//! What the kernel of a guest does to hand its sub-buffers to the host: functions that are called per
//! sub-buffer over virtio-serial, TCP and UDP, counted by the function tracer of the guest.
//!
//! Each recording is held while the ring buffer fills, so that what is counted is the path and nothing
//! else: once all that the recorder's thread calls (interrupts that come meanwhile included), and once all
//! that the guest calls until the last sub-buffer is on its way.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};
use trace_virt::lab::{self, Guest, GuestOptions, Missing};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Markers that are written, of [`MARKER_LEN`] bytes each; some four fill a sub-buffer.
const MARKERS: u32 = 1000;
const MARKER_LEN: u32 = 960;
/// An emulated machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(240);
/// What the listener says.
const LISTENER: &str = "listener.log";
const EVENT: &str = "sched:sched_process_exec";

fn main() -> ExitCode {
    // `--test` of other benchmarks is what is done here anyway: once.
    if std::env::args().any(|word| word.contains("baseline")) {
        return ExitCode::SUCCESS;
    }
    if let Err(missing) = requirements() {
        println!("guest_path: skipped: {missing}");
        return ExitCode::SUCCESS;
    }
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest_path: {error}");
            ExitCode::FAILURE
        }
    }
}

fn requirements() -> Result<(), Missing> {
    requirements::root()?;
    requirements::tracefs()?;
    requirements::guest()
}

fn bench() -> Outcome<()> {
    let lab = Lab::boot()?;
    println!("| path | sub-buffers | functions in the recorder's thread | in all of the guest |");
    println!("| --- | --- | --- | --- |");
    let mut most = BTreeMap::new();
    for (name, path) in
        [("virtio-serial", Way::Port), ("TCP", Way::Network(true)), ("UDP", Way::Network(false))]
    {
        let counted = lab.measure(path).map_err(|error| format!("{name}: {error}"))?;
        let per = |functions: u64| functions as f64 / counted.sub_buffers as f64;
        println!(
            "| {name} | {} | {:.1} | {:.1} |",
            counted.sub_buffers,
            per(counted.own),
            per(counted.all)
        );
        most.insert(name, counted.most);
    }
    for (name, most) in most {
        println!("\n{name}, what the recorder's thread calls most:\n{most}");
    }
    Ok(())
}

/// How data goes to the host.
#[derive(Clone, Copy, Debug)]
enum Way {
    Port,
    /// By TCP rather than UDP.
    Network(bool),
}

struct Counted {
    sub_buffers: u64,
    own: u64,
    all: u64,
    most: String,
}

/// A guest with both ways to the host.
struct Lab {
    guest: Guest,
    program: PathBuf,
    out: TempDir,
    /// Of the listener.
    port: String,
    _processes: Vec<Running>,
    _lock: TracefsLock,
}

impl Lab {
    fn boot() -> Outcome<Self> {
        // First, as making it may take long.
        let program = lab::static_binary()?;
        let lock = TracefsLock::take()?;
        let out = TempDir::new()?;
        let server = Running::start(
            Command::new(&program).args(["virt-server", "--virt-dir"]).arg(out.path()),
        )?;
        let mut listen = Command::new(&program);
        listen.args(["listen", "-p", "0", "--bind", "127.0.0.1", "-d"]).arg(out.path());
        let listener = Running::start(listen.arg("-l").arg(out.path().join(LISTENER)))?;
        let mut port = None;
        wait("the listener", || {
            let said = std::fs::read_to_string(out.path().join(LISTENER)).unwrap_or_default();
            let address =
                said.split_once("Listening on ").and_then(|(_, rest)| rest.split_once('\n'));
            port = address.and_then(|(address, _)| Some(address.rsplit_once(':')?.1.to_owned()));
            Ok(port.is_some())
        })?;
        let port = port.ok_or("no port")?;

        // One CPU: kernels that patch their code while another emulated one runs it may die of it.
        let mut options = GuestOptions::new("path");
        options.virt_dir = Some(out.path().to_owned());
        options.trace_cmd = Some(program.clone());
        options.client_args = Some(Vec::new());
        options.modules = ["failover", "net_failover", "virtio_net"].map(str::to_owned).to_vec();
        options.qemu_args = ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"]
            .map(str::to_owned)
            .to_vec();
        let guest = Guest::boot(options)?;
        guest.wait_ready(PATIENCE)?;
        guest.run(
            "ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.2.2",
        )?;
        let _processes = vec![server, listener];
        Ok(Self { guest, program, out, port, _processes, _lock: lock })
    }

    fn measure(&self, path: Way) -> Outcome<Counted> {
        let file = self.out.path().join("trace-path.dat");
        let mut recorder = None;
        match path {
            Way::Port => {
                let mut record = Command::new(&self.program);
                record.args(["record", "-q", "--virt-dir"]).arg(self.out.path());
                record.arg("-o").arg(self.out.path().join("trace.dat"));
                recorder = Some(Running::start(record.args(["--dom", "path", "-e", EVENT]))?);
            }
            Way::Network(tcp) => {
                let tcp = if tcp { "-t" } else { "" };
                self.guest.run(&format!(
                    "cd /tmp; trace-cmd record -q -N 10.0.2.2:{} {tcp} -e {EVENT} >/tmp/said 2>&1 & echo $! >/tmp/pid",
                    self.port
                ))?;
            }
        }
        let before = files(self.out.path())?;
        let received = self.received_files()?;
        // Processes come and go meanwhile: that one cannot be read says nothing.
        let is_on = format!(
            "cd /sys/kernel/tracing; [ -n \"$(grep -l trace-cpu {TASKS})\" ] && \
             grep -q 1 tracing_on && grep -q 1 events/sched/sched_process_exec/enable"
        );
        wait("the recorder", || Ok(self.guest.output(&is_on, PATIENCE)?.status == 0))?;
        thread::sleep(Duration::from_secs(1));
        let told = self.guest.output(&script(), PATIENCE)?;
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        if told.status != 0 {
            return Err(format!("{text}{}", String::from_utf8_lossy(&told.stderr)).into());
        }
        let file = match recorder.take() {
            Some(recorder) => {
                recorder.end(Signal::SIGINT)?;
                file
            }
            None => {
                self.guest.run("kill -INT $(cat /tmp/pid); while kill -0 $(cat /tmp/pid); do sleep 0.1; done 2>/dev/null")?;
                wait("the listener's file", || Ok(self.received_files()? > received))?;
                let mut files = files(self.out.path())?.into_iter();
                files.find(|file| !before.contains(file)).ok_or("no file of the listener")?
            }
        };
        // A listener that gets no processor for long loses datagrams.
        let least = if matches!(path, Way::Network(false)) { 1 } else { MARKERS };
        self.check(&file, least)?;
        counted(&text)
    }

    /// How many files the listener has completed.
    fn received_files(&self) -> Outcome<usize> {
        let said = std::fs::read_to_string(self.out.path().join(LISTENER))?;
        Ok(said.matches("bytes of trace data").count())
    }

    /// At least so many markers are in the file.
    fn check(&self, file: &Path, least: u32) -> Outcome<()> {
        let mut report = Command::new(&self.program);
        let report = report.args(["report", "-F", "ftrace/print", "-i"]).arg(file).output()?;
        let text = String::from_utf8_lossy(&report.stdout);
        let markers = text.lines().filter(|line| line.contains("print:")).count();
        let all = u64::from(least)..=u64::from(MARKERS);
        if all.contains(&(markers as u64)) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&report.stderr);
        Err(format!("{}: {markers} of {MARKERS} markers: {said}", file.display()).into())
    }
}

fn files(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|end| end == "dat")).collect())
}

/// Names of all threads.
const TASKS: &str = "/proc/[0-9]*/task/[0-9]*/comm";

/// Fills the ring buffer while the recorder is held, and counts while it delivers.
fn script() -> String {
    format!(
        "cd /sys/kernel/tracing; \
         task=$(grep -l trace-cpu {TASKS} | head -n 1); pid=${{task#/proc/}}; tid=${{pid#*/task/}}; \
         pid=${{pid%%/*}}; tid=${{tid%%/*}}; \
         mkdir instances/own instances/all || exit 1; \
         for i in own all; do echo 0 >instances/$i/tracing_on; echo 32768 >instances/$i/buffer_size_kb; done; \
         echo $tid >instances/own/set_ftrace_pid; \
         for i in own all; do echo function >instances/$i/current_tracer || exit 1; done; \
         stat=per_cpu/cpu0/stats; \
         at() {{ while read name of value rest; do [ \"$name $of\" = \"$1\" ] && echo $value; done <$stat; }}; \
         left() {{ while read name value; do [ $name = entries: ] && echo $value; done <$stat; }}; \
         kill -STOP $pid; first=$(at 'read events:'); \
         dd if=/dev/zero bs={MARKER_LEN} count={MARKERS} 2>/dev/null | tr '\\0' x | \
         dd bs={MARKER_LEN} iflag=fullblock of=trace_marker 2>/dev/null; filled=$(left); \
         for i in own all; do echo 1 >instances/$i/tracing_on; done; kill -CONT $pid; \
         n=0; until [ $(left) -lt 8 ] || [ $((n += 1)) -gt 1500 ]; do sleep 0.1; done; \
         for i in own all; do echo 0 >instances/$i/tracing_on; done; \
         echo filled $filled left $(left); \
         for i in own all; do while read name value; do case $name in entries:|overrun:) echo $i $name $value;; esac; \
         done <instances/$i/$stat; done; \
         grep -v '^#' instances/own/trace | sed -e 's/.*: //' -e 's/ <-.*//' | sort | uniq -c | sort -rn | head -n 12; \
         for i in own all; do echo nop >instances/$i/current_tracer; rmdir instances/$i; done"
    )
}

/// Reads what the script tells.
fn counted(text: &str) -> Outcome<Counted> {
    let (mut numbers, mut most) = (BTreeMap::new(), String::new());
    let mut delivered = None;
    for line in text.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["filled", filled, "left", left] => {
                delivered = Some(filled.parse::<u64>()?.saturating_sub(left.parse()?));
            }
            [instance @ ("own" | "all"), name, value] => {
                numbers.insert((instance, name), value.parse::<u64>()?);
            }
            _ => most = format!("{most}{line}\n"),
        }
    }
    let number = |instance, name| {
        let number = numbers.get(&(instance, name)).copied();
        number.ok_or_else(|| format!("no {name} of {instance}: {text}"))
    };
    if number("own", "overrun:")? > 0 || number("all", "overrun:")? > 0 {
        return Err("the instances that count are too small".into());
    }
    // As many as fit behind the header of a sub-buffer; an event has some 24 bytes beside its text.
    let sub_buffers =
        delivered.ok_or("nothing was delivered")? / u64::from(4080 / (MARKER_LEN + 24));
    let (own, all) = (number("own", "entries:")?, number("all", "entries:")?);
    if sub_buffers == 0 || own == 0 || all < own {
        return Err(format!("implausible: {text}").into());
    }
    Ok(Counted { sub_buffers, own, all, most })
}

fn wait(what: &str, mut is_there: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let until = Instant::now() + PATIENCE;
    while !is_there()? {
        if Instant::now() > until {
            return Err(format!("{what} does not come").into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A process that is ended with the benchmark.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Outcome<Self> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(quiet.spawn()?))
    }

    fn end(mut self, signal: Signal) -> Outcome<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), signal)?;
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the recorder: {status}").into()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).map(Pid::from_raw);
        if matches!(self.0.try_wait(), Ok(None))
            && let Ok(pid) = pid
        {
            let _ = kill(pid, Signal::SIGTERM);
            let _ = self.0.wait();
        }
    }
}
