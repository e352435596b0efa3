//! `record -N` and `listen` over vsock between a guest and its host, which has hybrid vsock: from the guest to the host, and
//! from the host to the guest; the guest's agent, which its host records by; and the C version at one end of what a guest has
//! recorded of its host.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use common::bench::Bench;
use common::listener::{Listener, eventually};
use common::virt::LIBGCC;
use common::{Case, check, stderr, success, trace_cmd};
use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use trace_virt::lab::{Guest, GuestOptions, Missing, VsockDevice, requirements};

const CASES: &[Case] = &[
    Case { name: "root_guest_and_host_record_to_each_other", needs, test: both_ways },
    Case {
        name: "root_the_c_version_at_either_end_of_a_proxy",
        needs: needs_reference,
        test: proxies,
    },
];

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

fn needs_reference() -> Result<(), Missing> {
    needs()?;
    requirements::reference()?.exact().map(drop)
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

/// Host and guest write a marker in turn, so often, and so far from each other: how wrong the C version's clocks are it does
/// not say.
const TURNS: usize = 8;
const BETWEEN: Duration = Duration::from_millis(300);

/// The C version in the guest, ours on the host: either has the other recorded.
fn proxies() -> Result<(), Failed> {
    let reference = requirements::reference()?.exact()?;
    let device = VsockDevice::start()?;
    let mut options = GuestOptions::new("vsock-proxy");
    options.cpus = 1;
    options.programs = vec![OURS.into(), reference.program().into(), LIBGCC.into()];
    device.plug_into(&mut options);
    let guest = Guest::boot(options)?;
    guest.wait_ready(LIMIT)?;
    let c = reference.program().display().to_string();
    c_guest(&guest, &device.path(), &c)?;
    c_host(&guest, &device.path(), &c)
}

/// The guest has its host recorded by our agent.
fn c_guest(guest: &Guest, device: &Path, c: &str) -> Result<(), Failed> {
    let bench = Bench::new()?;
    let address = format!("unix:{}:823", device.display());
    let agent = Agent::start(&["-P", "3", "--bind", &address])?;
    let own = "record -e sched_process_exec -o /tmp/own.dat";
    let command = "sh -c 'touch /tmp/runs; until [ -e /tmp/ends ]; do sleep 0.1; done'";
    run(
        guest,
        &format!(
            "(cd /tmp; {c} {own} --proxy 2:823 -e sched_process_exec {command} >/tmp/record.log; echo $? >/tmp/ended; mv /tmp/ended /tmp/status) 2>>/tmp/record.log &"
        ),
    )?;
    wait_for(guest, "/tmp/runs")?;
    for turn in 0..TURNS {
        run(guest, &format!("echo guest turn {turn} >/sys/kernel/tracing/trace_marker"))?;
        std::thread::sleep(BETWEEN);
        fs::write(bench.dir.join("trace_marker"), format!("host turn {turn}"))?;
        std::thread::sleep(BETWEEN);
    }
    run(guest, "touch /tmp/ends")?;
    wait_for(guest, "/tmp/status")?;
    let said = run(guest, "cat /tmp/status /tmp/record.log")?;
    check(said.starts_with("0\n"), || format!("{said}{}", agent.said()))?;
    agent.stop()?;
    bench.is_as_before("recording for a guest")?;
    for reader in [c, OURS] {
        for files in ["-i own.dat -i own-2.dat", "-i own-2.dat -i own.dat"] {
            let report = run(guest, &format!("cd /tmp; {reader} report {files}"))?;
            let turns = report.lines().filter_map(|line| line.split_once(" turn "));
            let turns: Vec<_> =
                turns.map(|(who, turn)| (who.ends_with("guest"), turn.trim())).collect();
            let told = (0..TURNS).map(|turn| turn.to_string()).collect::<Vec<_>>();
            let wanted: Vec<_> =
                told.iter().flat_map(|turn| [(true, &**turn), (false, turn)]).collect();
            check(turns == wanted, || format!("{reader} {files}: {turns:?}"))?;
        }
    }
    Ok(())
}

/// We have the guest recorded, as if it were our host.
fn c_host(guest: &Guest, device: &Path, c: &str) -> Result<(), Failed> {
    run(guest, &format!("{c} agent -P 2 >/tmp/agent.log 2>&1 &"))?;
    let bench = Bench::new()?;
    let out = TempDir::new()?;
    let address = format!("unix:{}:823", device.display());
    // It says nothing when it listens.
    let mut said = String::new();
    eventually("the C agent does not listen", || {
        let mut record = trace_cmd();
        record.current_dir(out.path()).args(["record", "-e", "sched_process_exec", "--proxy"]);
        record.args([&address, "-e", "sched_process_exec", "-e", "sched_switch", "--name", "vm"]);
        let output = record.args(["/bin/sleep", "1"]).output()?;
        said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        Ok(output.status.success())
    })
    .map_err(|error| format!("{error:?}: {said}"))?;
    check(said.contains("vm: clock compared"), || said.clone())?;
    bench.is_as_before("having a host recorded")?;
    let (own, host) = (out.path().join("trace.dat"), out.path().join("trace-vm.dat"));
    let readers = [trace_cmd(), requirements::reference()?.exact()?.reader()];
    for mut reader in readers {
        let report = success(reader.args(["report", "-i"]).arg(&own).arg("-i").arg(&host))?;
        check(report.contains("filename=/bin/sleep"), || report.clone())?;
        let of_host = report.lines().filter(|line| line.contains("trace-vm.dat:"));
        check(of_host.clone().any(|line| line.contains(" sched_switch:")), || report.clone())?;
    }
    let options = success(trace_cmd().args(["dump", "--options", "-i"]).arg(&own))?;
    check(options.contains("offset * scaling"), || options.clone())
}

fn wait_for(guest: &Guest, path: &str) -> Result<(), Failed> {
    run(guest, &format!("until [ -e {path} ]; do sleep 0.1; done"))?;
    Ok(())
}

/// Our agent on the host.
struct Agent {
    child: std::process::Child,
    dir: TempDir,
}

impl Agent {
    fn start(words: &[&str]) -> Result<Self, Failed> {
        let dir = TempDir::new()?;
        let log = fs::File::create(dir.path().join("log"))?;
        let child = trace_cmd().arg("agent").args(words).stderr(log).spawn()?;
        let agent = Self { child, dir };
        eventually("our agent does not listen", || Ok(agent.said().contains("listening on")))?;
        Ok(agent)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn stop(mut self) -> Result<(), Failed> {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?),
            Signal::SIGINT,
        )?;
        let status = self.child.wait()?;
        check(status.success(), || format!("{status}: {}", self.said()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a command in the guest printed, if it ended well.
fn run(guest: &Guest, command: &str) -> Result<String, Failed> {
    let output = guest.output(&format!("{command} 2>&1"), LIMIT)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    check(output.status == 0, || format!("{command}: {}: {text}", output.status))?;
    Ok(text)
}
