//! `record -N` and `listen` over vsock between a guest and its host, which has hybrid vsock: from the guest to the host, and
//! from the host to the guest; and the guest's agent, which its host records by.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use common::bench::Bench;
use common::listener::{Listener, eventually};
use common::{Case, check, stderr, success, trace_cmd};
use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use trace_virt::lab::{Guest, GuestOptions, Missing, VsockDevice, requirements};

const CASES: &[Case] =
    &[Case { name: "root_guest_and_host_record_to_each_other", needs, test: both_ways }];

const OURS: &str = env!("CARGO_BIN_EXE_trace-cmd");

/// For a command in a guest of a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(240);

/// The listener's port, on either side.
const PORT: u32 = 5000;

fn main() -> ExitCode {
    common::run(CASES)
}

fn needs() -> Result<(), Missing> {
    common::with_tracefs()?;
    requirements::guest()?;
    VsockDevice::find()
}

fn both_ways() -> Result<(), Failed> {
    let device = VsockDevice::start()?;
    let mut options = GuestOptions::new("vsock-listen");
    options.cpus = 1;
    options.programs = vec![OURS.into()];
    device.plug_into(&mut options);
    // A data port of the name that the C version gives it.
    let virt_dir = TempDir::new()?;
    let fifo = virt_dir.path().join("vm/trace-pipe-cpu0");
    fs::create_dir(virt_dir.path().join("vm"))?;
    for direction in ["in", "out"] {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o660);
        nix::unistd::mkfifo(&fifo.with_extension(direction), mode)?;
    }
    let port = "virtserialport,bus=lab-serial.0,nr=9,chardev=pipe0,name=trace-pipe-cpu0";
    let chardev = format!("pipe,id=pipe0,path={}", fifo.display());
    options.qemu_args.extend(["-chardev".into(), chardev, "-device".into(), port.into()]);
    let guest = Guest::boot(options)?;
    guest.wait_ready(LIMIT)?;
    let address = format!("unix:{}:{PORT}", device.path().display());
    from_guest(&guest, &address)?;
    to_guest(&guest, &address)?;
    by_agent(&guest, &device.path(), virt_dir.path())
}

/// The guest connects to its host by number; the device brings that to the socket beside its own.
fn from_guest(guest: &Guest, address: &str) -> Result<(), Failed> {
    let mut listener = Listener::start_in(TempDir::new()?, &["--bind", address])?;
    let said = run(
        guest,
        &format!(
            "{OURS} record -V 2:{PORT} -e sched_process_exec sh -c '/bin/ls / >/dev/null; /bin/ls / >/dev/null'"
        ),
    )?;
    check(said.contains("data sent to vsock:2:5000"), || said.clone())?;
    let line = listener.wait_for("bytes of trace data")?;
    check(!line.contains("ended early"), || line.clone())?;
    let names = listener.names()?;
    let [file] = names.as_slice() else { return Err(format!("{names:?}").into()) };
    let report = success(trace_cmd().args(["report", "-i"]).arg(listener.dir().join(file)))?;
    let programs = report.lines().filter(|line| line.contains("filename=/bin/ls")).count();
    check(programs == 2, || report.clone())?;
    listener.end(Signal::SIGTERM)
}

/// The host names the socket and the guest's port.
fn to_guest(guest: &Guest, address: &str) -> Result<(), Failed> {
    run(guest, "mkdir /tmp/traces")?;
    run(
        guest,
        &format!("{OURS} listen -V -p {PORT} -D -d /tmp/traces -l /tmp/listen.log --allow vsock:2"),
    )?;
    let bench = Bench::new()?;
    let mut record = trace_cmd();
    record.args(["record", "-N", address, "-e", "sched_process_exec"]);
    let said = success(record.args(["sh", "-c", "/bin/ls / >/dev/null; /bin/ls / >/dev/null"]))?;
    check(said.contains("data sent to unix:"), || said.clone())?;
    bench.is_as_before("recording")?;
    let log = "/tmp/listen.log";
    eventually("the guest's file is not complete", || {
        Ok(run(guest, &format!("cat {log}"))?.contains("bytes of trace data"))
    })?;
    let log = run(guest, &format!("cat {log}"))?;
    check(!log.contains("ended early"), || log.clone())?;
    let report = run(guest, &format!("{OURS} report -i /tmp/traces/*.dat"))?;
    let programs = report.lines().filter(|line| line.contains("filename=/bin/ls")).count();
    check(programs == 2, || report.clone())
}

/// Host and guest in one recording, with a command in the guest, whose data comes through its port; and then not.
fn by_agent(guest: &Guest, device: &Path, virt_dir: &Path) -> Result<(), Failed> {
    let log = "/tmp/agent.log";
    run(guest, &format!("{OURS} agent --allow-exec --verbose >{log} 2>&1 &"))?;
    eventually("the agent does not listen", || {
        Ok(run(guest, &format!("cat {log}"))?.contains("listening on vsock:any:823"))
    })?;
    let bench = Bench::new()?;
    let out = TempDir::new()?;
    let address = format!("unix:{}:823", device.display());
    // What somebody left in it is not of this recording.
    let mut fifo =
        fs::File::options().read(true).write(true).open(virt_dir.join("vm/trace-pipe-cpu0.out"))?;
    fifo.write_all(b"left behind")?;
    drop(fifo);
    let mut record = trace_cmd();
    record.current_dir(out.path()).args(["record", "--virt-dir"]).arg(virt_dir);
    record.args(["--fail-on-loss", "-e", "sched_process_exec", "-A", &address]);
    record.args(["-e", "sched_process_exec", "--exec"]);
    record.args([
        "sh",
        "-c",
        "echo in the guest >/sys/kernel/tracing/trace_marker; /bin/uname",
        ";",
    ]);
    let output = record.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    check(output.status.success(), || {
        let log = run(guest, &format!("cat {log}")).unwrap_or_default();
        format!("{}: {said}{}{log}", output.status, stderr(&output))
    })?;
    check(said.contains("Linux\n") && said.contains("clock compared"), || said.clone())?;
    bench.is_as_before("recording by an agent")?;
    let through_ports = |times: usize| -> Result<(), Failed> {
        let log = run(guest, &format!("cat {log}"))?;
        let told = log.matches("data goes through virtio-serial ports").count();
        check(told == times, || log)
    };
    through_ports(1)?;
    let mut plain = trace_cmd();
    plain.current_dir(out.path()).args(["record", "--virt-dir"]).arg(virt_dir);
    plain.args(["--nofifos", "-A", &address, "--name", "plain", "-e", "sched_process_exec"]);
    success(plain.args(["--fail-on-loss", "--exec", "/bin/uname", ";"]))?;
    through_ports(1)?;
    let plain = out.path().join("trace-plain.dat");
    let report = success(trace_cmd().args(["report", "-i"]).arg(plain))?;
    check(report.contains("filename=/bin/uname"), || report.clone())?;
    let (host, guest) = (out.path().join("trace.dat"), out.path().join("trace-vm.dat"));
    let report = success(trace_cmd().args(["report", "-i"]).arg(&host).arg("-i").arg(&guest))?;
    check(report.contains("in the guest") && report.contains("trace-vm.dat:"), || report.clone())?;
    let options = success(trace_cmd().args(["dump", "--options", "-i"]).arg(&host))?;
    check(options.contains("vm [Guest name]"), || {
        format!("the host's file names no guest: {options}")
    })
}

/// What a command in the guest printed, if it ended well.
fn run(guest: &Guest, command: &str) -> Result<String, Failed> {
    let output = guest.output(&format!("{command} 2>&1"), LIMIT)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    check(output.status == 0, || format!("{command}: {}: {text}", output.status))?;
    Ok(text)
}
