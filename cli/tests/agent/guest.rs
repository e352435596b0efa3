//! A real guest, whose agent is reached over vsock by way of its virtual machine monitor's socket.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use trace_virt::lab::requirements::TracefsLock;
use trace_virt::lab::{self, Guest, GuestOptions, Missing, requirements};

use crate::common::{check, stderr, success, trace_cmd};
use crate::peers::until;

const BOOT: Duration = Duration::from_secs(120);
const DEVICE: &str = "vhost-device-vsock";

pub(crate) fn needs() -> Result<(), Missing> {
    requirements::root()?;
    requirements::tracefs()?;
    requirements::guest()?;
    requirements::vsock_device()
}

/// What is between the guest and its host.
struct Device(Child);

impl Device {
    fn start(dir: &Path) -> Result<Self, Failed> {
        let path = |option, name| format!("--{option}={}", dir.join(name).display());
        let log = File::create(dir.join("log"))?;
        let mut device = Command::new(DEVICE);
        device.args(["--guest-cid=3", &path("socket", "vhost"), &path("uds-path", "vm.vsock")]);
        let device = device.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let device = Self(device);
        until("the device's socket", || dir.join("vhost").exists())?;
        Ok(device)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn vsock() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let dir = directory.path();
    let _device = Device::start(dir)?;
    let mut options = GuestOptions::new("vsock-agent");
    options.trace_cmd = Some(lab::static_binary()?);
    options.modules = vec!["vmw_vsock_virtio_transport".to_owned()];
    "q35,memory-backend=mem0".clone_into(&mut options.machine);
    options.qemu_args = [
        "-object",
        &format!("memory-backend-memfd,id=mem0,size={}M,share=on", options.memory_mb),
        "-chardev",
        &format!("socket,id=vsock0,path={}", dir.join("vhost").display()),
        "-device",
        "vhost-user-vsock-pci,chardev=vsock0",
    ]
    .map(str::to_owned)
    .to_vec();
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;
    guest.run("trace-cmd agent --allow-exec --verbose >/run/agent.log 2>&1 &")?;
    until("the agent listens", || {
        guest.run("cat /run/agent.log").is_ok_and(|log| log.contains("listening on vsock:any:823"))
    })?;

    // Host and guest in one command; the guest's marker lies between the host's.
    let _lock = TracefsLock::take()?;
    let mut record = trace_cmd();
    record.current_dir(dir).args(["record", "-e", "sched_process_exec"]);
    let place = format!("unix:{}:823", dir.join("vm.vsock").display());
    record.args(["-A", &place, "-e", "sched_process_exec", "--exec", "sh", "-c"]);
    record.args(["echo in the guest >/sys/kernel/tracing/trace_marker; cat /proc/version", ";"]);
    let output = record.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = || guest.run("cat /run/agent.log").unwrap_or_default();
    check(output.status.success(), || {
        format!("{}: {said}{}{}", output.status, stderr(&output), log())
    })?;
    check(said.contains("Linux version") && said.contains("clock compared"), || said.clone())?;
    let (host, guests) = (dir.join("trace.dat"), dir.join("trace-vm.dat"));
    let text = success(trace_cmd().args(["report", "-i"]).arg(&host).arg("-i").arg(&guests))?;
    check(text.contains("in the guest") && text.contains("trace-vm.dat:"), || text.clone())?;
    let options = success(trace_cmd().args(["dump", "--options", "-i"]).arg(&host))?;
    check(options.contains("\"vm\""), || format!("the host's file names no guest: {options}"))?;
    guest.power_off(Duration::from_secs(20))?;
    Ok(())
}
