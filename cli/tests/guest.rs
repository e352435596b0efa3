//! Host and a real guest recorded as one, and the guests that cannot be.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::Duration;

use common::ping_pong::in_order;
use common::virt::{Server, alone};
use common::{Case, check, complaint, stderr, success, trace_cmd, tracing_state, with_guest};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};
use trace_virt::lab::{self, Guest, GuestOptions};
use tracedat::Reader;
use tracedat::metadata::Metadata;

const CASES: &[Case] = &[
    Case { name: "root_host_and_guest_are_one_trace", needs: with_guest, test: one_trace },
    Case {
        name: "root_guests_that_refuse_or_do_not_answer_say_why",
        needs: with_guest,
        test: refusals,
    },
];

/// Ping-pongs between host and guest.
const ROUNDS: u32 = 1000;
/// Set for the copy of this program that is the host's side of the ping-pong.
const PING_SOCKET: &str = "TRACE_TEST_PING_SOCKET";
/// For what takes a moment, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(240);
const PORT: &str = "ping-pong";

fn main() -> ExitCode {
    if let Some(socket) = std::env::var_os(PING_SOCKET) {
        return match ping(Path::new(&socket)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ping-pong: {error}");
                ExitCode::FAILURE
            }
        };
    }
    common::run(CASES)
}

/// Marker, message to the guest, answer, marker.
fn ping(socket: &Path) -> std::io::Result<()> {
    let mut marker = File::options().write(true).open("/sys/kernel/tracing/trace_marker")?;
    let mut to = UnixStream::connect(socket)?;
    to.set_read_timeout(Some(PATIENCE))?;
    let mut from = BufReader::new(to.try_clone()?);
    let mut line = String::new();
    for round in 1..=ROUNDS {
        marker.write_all(format!("ping {round} sent").as_bytes())?;
        to.write_all(format!("{round}\n").as_bytes())?;
        line.clear();
        from.read_line(&mut line)?;
        marker.write_all(format!("ping {round} answered").as_bytes())?;
        if line.trim() != round.to_string() {
            return Err(std::io::Error::other(format!("{line:?} came for {round}")));
        }
    }
    // The recording ends with this program: the guest's has nothing but to exit by then.
    line.clear();
    from.read_line(&mut line)?;
    if line == "over\n" {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("{line:?} at the end")))
    }
}

/// The guest's side: marker, then the answer, beside a task that wants its processor. Reading line by line from a port wants
/// one descriptor; as long as nobody is at the other end, there is nothing to read. It is asked to end when the recording
/// does, and exits as it would anyway.
const PONG: &str = "trap '' TERM; (while :; do :; done) & hog=$!; exec 3<>/dev/virtio-ports/ping-pong; \
    while :; do read -r n <&3 || { sleep 0.05; continue; }; \
    echo ping $n in guest >/sys/kernel/tracing/trace_marker; echo $n >&3; \
    [ $n = 1000 ] && kill -9 $hog && echo over >&3 && exit 7; done";

/// A task of the host that wants a processor.
struct Load(Child);

impl Load {
    fn start() -> Result<Self, Failed> {
        let mut command = Command::new("sh");
        Ok(Self(command.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn boot(virt_dir: &Path, client: Option<&[&str]>) -> Result<Guest, Failed> {
    let mut options = GuestOptions::new("guest1");
    options.cpus = 2;
    options.virt_dir = Some(virt_dir.to_owned());
    options.trace_cmd = Some(lab::static_binary()?);
    options.client_args = client.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
    options.extra_ports = vec![PORT.to_owned()];
    // The names of its threads tell which of them run vCPUs.
    options.qemu_args = vec!["-name".to_owned(), "guest=guest1,debug-threads=on".to_owned()];
    let guest = Guest::boot(options)?;
    guest.wait_ready(PATIENCE)?;
    Ok(guest)
}

fn record(virt_dir: &Path, out: &Path) -> Command {
    let mut record = trace_cmd();
    record.arg("record").arg("--virt-dir").arg(virt_dir).arg("-o").arg(out.join("trace.dat"));
    record
}

fn one_trace() -> Result<(), Failed> {
    let _alone = alone();
    let (virt_dir, out) = (TempDir::new()?, TempDir::new()?);
    let (virt_dir, out) = (virt_dir.path(), out.path());
    // The server may come before or after the guest: here before.
    let server = Server::start(virt_dir)?;
    let guest = boot(virt_dir, Some(&["--allow-exec"]))?;
    Server::wait_for_client(virt_dir)?;
    let lock = TracefsLock::take()?;
    let tracing = requirements::tracefs()?;
    let before = (
        tracing_state(&tracing),
        guest.run("cat /sys/kernel/tracing/tracing_on /sys/kernel/tracing/set_event")?,
    );

    let mut session = record(virt_dir, out);
    let output = ping_pong(&mut session, &guest)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    check(output.status.success(), || format!("{}: {said}{}", output.status, stderr(&output)))?;
    check(stderr(&output).contains("exit code 7"), || {
        format!("no word of the guest's exit code: {}", stderr(&output))
    })?;
    check(said.contains("clock compared"), || said.clone())?;
    let after = (
        tracing_state(&tracing),
        guest.run("cat /sys/kernel/tracing/tracing_on /sys/kernel/tracing/set_event")?,
    );
    check(before == after, || format!("tracefs changed: {before:#?} {after:#?}"))?;
    drop(lock);

    let files = [out.join("trace.dat"), out.join("trace-guest1.dat")];
    let report = both_in_order(&files, &output)?;
    check(report.contains("trace-guest1.dat:") && report.contains("sched_switch:"), || {
        "no events of the guest".to_owned()
    })?;
    threads_are_told(&guest, &files)?;
    if let Ok(reference) = requirements::reference() {
        let theirs = success(reference.reader().args(["report", "-t", "-i"]).arg(&files[1]))?;
        check(theirs.contains("ping 1000 in guest"), || {
            "the reference does not see the guest's last marker".to_owned()
        })?;
    }

    // A second recording, a server that was started anew, and no command anywhere but in the guest.
    drop(server);
    let _server = Server::start(virt_dir)?;
    Server::wait_for_client(virt_dir)?;
    let _lock = TracefsLock::take()?;
    let mut session = record(virt_dir, out);
    session.args(["-e", "sched_switch", "--dom", "guest1", "-e", "syscalls", "--exec", "ls", "/"]);
    let said = success(&mut session)?;
    check(said.contains("\nproc\n"), || format!("no output of the guest's command: {said}"))?;
    let report = success(trace_cmd().args(["report", "-i"]).arg(&files[1]))?;
    check(report.contains("sys_enter_getdents64:"), || report.lines().take(20).collect())?;
    // The guest's kernel is another one: it is recorded and reported there as any.
    let inside = "cd /tmp && trace-cmd record -q -e sched -B own -e irq -o own.dat ls / >/dev/null && \
         trace-cmd report -i own.dat | grep -c -e sched_switch: -e softirq_entry:";
    let events: u32 = guest.run(inside)?.trim().parse()?;
    check(events > 0, || "nothing was recorded by the guest itself".to_owned())?;
    by_ticks(virt_dir, out, &guest)?;
    guest.power_off(PATIENCE)?;
    Ok(())
}

/// Ping-pongs while host and guest are recorded, both with something else to do.
fn ping_pong(record: &mut Command, guest: &Guest) -> Result<Output, Failed> {
    record.args(["-b", "8000", "-e", "sched", "--dom", "guest1", "-b", "8000", "-e", "sched"]);
    record.args(["--exec", "sh", "-c", PONG, ";"]);
    record.arg(std::env::current_exe()?).env(PING_SOCKET, port_socket(guest)?);
    let _hog = Load::start()?;
    Ok(record.output()?)
}

/// Our report, and that of the C version, have the rounds in the order in which they were.
fn both_in_order(files: &[PathBuf; 2], recorded: &Output) -> Result<String, Failed> {
    let report = |mut program: Command| {
        success(program.args(["report", "-t", "-i"]).arg(&files[0]).arg("-i").arg(&files[1]))
    };
    let ours = report(trace_cmd())?;
    let say = |whose: &str, error: &Failed| {
        format!("{whose}: {}: {}", error.message().unwrap_or_default(), stderr(recorded))
    };
    in_order(&ours, ROUNDS).map_err(|error| say("our report", &error))?;
    if let Ok(reference) = requirements::reference() {
        in_order(&report(reference.reader())?, ROUNDS)
            .map_err(|error| say("the reference's", &error))?;
    }
    Ok(ours)
}

/// Both machines count ticks of the processor, an emulated one those of the real one. KVM's word on them is given by the test: no
/// guest boots under KVM everywhere. It says what was measured before: from one recording to the next that is known better,
/// until all that is measured then agrees with it.
fn by_ticks(virt_dir: &Path, out: &Path, guest: &Guest) -> Result<(), Failed> {
    const CPUINFO: &str = "/proc/cpuinfo";
    if !fs::read_to_string(CPUINFO)?.contains("nonstop_tsc") {
        return Ok(());
    }
    let files = [out.join("trace.dat"), out.join("trace-guest1.dat")];
    let measured = ping_pong(record(virt_dir, out).args(["-C", "tsc2nsec"]), guest)?;
    check(measured.status.success(), || format!("{}: {}", measured.status, stderr(&measured)))?;
    both_in_order(&files, &measured)?;
    let (mut least, mut most) = ticks(&files, true)?;
    let mut said = String::new();
    for _ in 0..6 {
        check(least <= most, || format!("bounds do not meet: {least} and {most}"))?;
        let offset = least + (most - least) / 2;
        said = told_by_kvm(virt_dir, out, guest, offset)?;
        if said.contains("wrong by 0 cycles at most") {
            let told = ticks(&files, false)?;
            return check(told == (offset, offset), || format!("{told:?}, and {offset} was told"));
        }
        let now = ticks(&files, true)?;
        (least, most) = (least.max(now.0), most.min(now.1));
    }
    Err(said.into())
}

/// A recording where KVM's word is this offset; what is said of it.
fn told_by_kvm(virt_dir: &Path, out: &Path, guest: &Guest, offset: i64) -> Result<String, Failed> {
    let files = [out.join("trace.dat"), out.join("trace-guest1.dat")];
    let debugfs = format!("/sys/kernel/debug/kvm/{}-11", guest.pid());
    let mut told = "mount -t tmpfs nodev /sys/kernel/debug".to_owned();
    for cpu in 0..2 {
        let vcpu = format!("{debugfs}/vcpu{cpu}");
        let offset = offset.wrapping_neg();
        told.push_str(&format!(" && mkdir -p {vcpu} && echo {offset} >{vcpu}/tsc-offset"));
    }
    let plain = record(virt_dir, out);
    let mut exact = Command::new("unshare");
    exact.args(["-m", "sh", "-c", &format!("{told} && exec \"$0\" \"$@\"")]);
    exact.arg(plain.get_program()).args(plain.get_args());
    let exact = ping_pong(&mut exact, guest)?;
    check(exact.status.success(), || format!("{}: {}", exact.status, stderr(&exact)))?;
    both_in_order(&files, &exact)?;
    Ok(String::from_utf8_lossy(&exact.stdout).into_owned())
}

/// Whether both files are in ticks with one factor; returns the least and the most that may have to be added to the guest's.
fn ticks(files: &[PathBuf; 2], is_measured: bool) -> Result<(i64, i64), Failed> {
    let [host, guest] = [Reader::open(&files[0])?.metadata, Reader::open(&files[1])?.metadata];
    let clock = |metadata: &Metadata| metadata.buffers.first().map(|buffer| buffer.clock.clone());
    let clocks = [clock(&host), clock(&guest)];
    check(clocks.iter().all(|clock| clock.as_deref() == Some("x86-tsc")), || {
        format!("{clocks:?}")
    })?;
    check(host.tsc_to_nsec().is_some() && host.tsc_to_nsec() == guest.tsc_to_nsec(), || {
        format!("{:?} and {:?}", host.tsc_to_nsec(), guest.tsc_to_nsec())
    })?;
    let shift = guest.time_shift().ok_or("no correction")?;
    check(shift.cpus.len() == 2 && shift.interpolate == is_measured, || format!("{shift:?}"))?;
    let error = guest.time_error().ok_or("no bound")?;
    // Where all samples meet: each is as wrong as its bound at most.
    let bounds = shift.cpus[0].iter().zip(&error.cpus[0]);
    let (least, most) = bounds.fold((i64::MIN, i64::MAX), |(least, most), (shift, bound)| {
        let bound = i64::try_from(bound.error).unwrap_or(i64::MAX);
        (
            least.max(shift.offset.saturating_sub(bound)),
            most.min(shift.offset.saturating_add(bound)),
        )
    });
    check(least <= most, || format!("bounds do not meet: {shift:?} {error:?}"))?;
    Ok((least, most))
}

/// The host's file names the threads of the vCPUs, and both files tell what that is good for.
fn threads_are_told(guest: &Guest, files: &[PathBuf; 2]) -> Result<(), Failed> {
    let host = Reader::open(&files[0])?.metadata;
    let told: Vec<_> = host.guests().iter().flat_map(|guest| &guest.cpus).collect();
    check(told.len() == 2, || format!("{told:?}"))?;
    for vcpu in told {
        let comm = format!("/proc/{}/task/{}/comm", guest.pid(), vcpu.pid);
        let comm = fs::read_to_string(&comm).map_err(|error| format!("{comm}: {error}"))?;
        check(comm.trim() == format!("CPU {}/TCG", vcpu.cpu), || format!("{vcpu:?} is {comm}"))?;
    }
    let times = success(trace_cmd().args(["report", "--vcpu", "-i"]).arg(&files[0]))?;
    check(times.contains("guest1: vCPU 1, thread ") && !times.contains("no event"), || {
        times.clone()
    })?;
    let words = ["report", "-q", "--ts-error", "-i"];
    let bounds = success(trace_cmd().args(words).arg(&files[0]).arg("-i").arg(&files[1]))?;
    check(bounds.contains("clock: corrected to the host's within ±"), || {
        bounds.lines().take(9).collect()
    })
}

/// The host's end of the port; the guest gives it out as a connection, the test needs its path.
fn port_socket(guest: &Guest) -> Result<PathBuf, Failed> {
    let path = guest.qmp_socket().with_file_name(format!("{PORT}.port"));
    check(path.exists(), || format!("no {}", path.display()))?;
    Ok(path)
}

fn refusals() -> Result<(), Failed> {
    let _alone = alone();
    let (virt_dir, out) = (TempDir::new()?, TempDir::new()?);
    let (virt_dir, out) = (virt_dir.path(), out.path());
    let guest = boot(virt_dir, None)?;
    // Here the server comes after the guest.
    let _server = Server::start(virt_dir)?;
    let _lock = TracefsLock::take()?;
    let mut unanswered = record(virt_dir, out);
    unanswered.args(["--dom", "guest1", "-e", "sched", "true"]);
    let line = complaint(&mut unanswered)?;
    check(line.contains("guest1") && line.contains("virt-server --client"), || line.clone())?;

    guest.run("trace-cmd virt-server --client >/run/client2.log 2>&1 &")?;
    Server::wait_for_client(virt_dir)?;
    let mut forbidden = record(virt_dir, out);
    forbidden.args(["--dom", "guest1", "-e", "sched", "--exec", "ls", ";", "true"]);
    let line = complaint(&mut forbidden)?;
    check(line.contains("guest1") && line.contains("--allow-exec"), || line.clone())?;
    let mut unknown = record(virt_dir, out);
    unknown.args(["--dom", "guest1", "-e", "sched_swich", "true"]);
    let line = complaint(&mut unknown)?;
    check(line.contains("guest1") && line.contains("sched_switch"), || line.clone())?;
    let mut unmade = record(virt_dir, out);
    unmade.args(["--dom", "guest2", "-e", "sched", "true"]);
    let line = complaint(&mut unmade)?;
    check(line.contains("guest2") && line.contains("virt-server --dom guest2"), || line.clone())?;
    let left: Vec<_> = fs::read_dir(out)?.flatten().map(|entry| entry.file_name()).collect();
    check(left.is_empty(), || format!("left behind: {left:?}"))?;
    guest.power_off(PATIENCE)?;
    Ok(())
}
