//! The package on a machine with systemd: its services do their work, come back, and go.

use std::fs;

use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements::TracefsLock;

use crate::common::listener::eventually;
use crate::common::{check, stderr, success};
use crate::machine::Machine;
use crate::{BINARY, make_package};

const SERVICES: [&str; 3] =
    ["trace-cmd-listen.service", "trace-cmd-virt-server.service", "trace-cmd-virt-client.service"];

pub(crate) fn services() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let package = make_package(dir.path())?;
    let machine = Machine::boot()?;
    fs::copy(&package, machine.path("/tmp/package.deb"))?;
    machine.run(&["dpkg", "-i", "/tmp/package.deb"])?;
    sound(&machine)?;
    listen(&machine)?;
    virt_server(&machine)?;
    machine.run(&["dpkg", "--purge", "trace-cmd-rs"])?;
    let is_active = [&["systemctl", "is-active"][..], &SERVICES].concat();
    let left = machine.output(&is_active)?;
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    check(left.lines().all(|state| state == "inactive"), || {
        format!("after the package is gone: {left}")
    })
}

/// systemd has nothing to say against them, and nobody runs one unasked.
fn sound(machine: &Machine) -> Result<(), Failed> {
    for service in SERVICES {
        let unit = format!("/usr/lib/systemd/system/{service}");
        let verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", &unit];
        let output = machine.output(&verify)?;
        let said = stderr(&output);
        check(output.status.success() && !said.contains("trace-cmd"), || said.clone())?;
        let shown =
            machine.run(&["systemctl", "show", "-p", "UnitFileState,ActiveState", service])?;
        check(shown.contains("=disabled") && shown.contains("=inactive"), || shown.clone())?;
    }
    Ok(())
}

fn listen(machine: &Machine) -> Result<(), Failed> {
    let listen = SERVICES[0];
    machine.run(&["systemctl", "start", listen])?;
    waits_for_recorders(machine, 1)?;
    // Of ten points of exposure; 9.6 is a service without any bounds.
    machine.run(&["systemd-analyze", "security", "--no-pager", "--threshold=45", listen])?;

    let lock = TracefsLock::take()?;
    let mut record = machine.in_its_network(BINARY);
    record.args(["record", "-N", "127.0.0.1:12345", "-t", "-e", "sched", "ls"]);
    success(&mut record)?;
    drop(lock);
    eventually("the file is not complete", || {
        Ok(journal(machine, listen)?.contains("bytes of trace data"))
    })?;
    let report = "trace-cmd report -i /var/lib/trace-cmd-listen/*.dat";
    let text = machine.run(&["sh", "-c", report])?;
    check(text.contains("sched_switch:"), || text.clone())?;

    machine.run(&["systemctl", "kill", "--signal=KILL", listen])?;
    waits_for_recorders(machine, 2)
}

/// For so many times since the boot.
fn waits_for_recorders(machine: &Machine, times: usize) -> Result<(), Failed> {
    eventually("it does not listen", || {
        let log = journal(machine, SERVICES[0])?;
        Ok(log.matches("Listening on 127.0.0.1:12345").count() == times)
    })
}

fn journal(machine: &Machine, service: &str) -> Result<String, Failed> {
    machine.run(&["journalctl", "--no-pager", "-u", service])
}

fn virt_server(machine: &Machine) -> Result<(), Failed> {
    let [_, server, client] = SERVICES;
    machine.run(&["systemctl", "start", server])?;
    eventually("it serves nobody", || Ok(journal(machine, server)?.contains("serving guests")))?;
    let status = machine.run(&["trace-cmd", "virt-server", "--status"])?;
    check(status.starts_with("no guests"), || status.clone())?;
    machine.run(&["systemd-analyze", "security", "--no-pager", "--threshold=45", server])?;
    virt_client(machine, client)
}

/// It is for guests with ports, and opens the one on which the host speaks.
fn virt_client(machine: &Machine, client: &str) -> Result<(), Failed> {
    machine.run(&["systemctl", "start", client])?;
    let shown = machine.run(&["systemctl", "show", "-p", "ActiveState,ConditionResult", client])?;
    check(shown.contains("=inactive") && shown.contains("ConditionResult=no"), || shown.clone())?;
    let port = "/dev/virtio-ports/agent-ctl-path";
    machine.run(&["mkdir", "/dev/virtio-ports"])?;
    machine.run(&["mkfifo", port])?;
    machine.run(&["systemctl", "start", client])?;
    eventually("it does not open its port", || {
        let pid = machine.run(&["systemctl", "show", "--value", "-p", "MainPID", client])?;
        // It may have gone, or not be there yet.
        let files = fs::read_dir(machine.path(&format!("/proc/{}/fd", pid.trim())));
        let Ok(files) = files else { return Ok(false) };
        // Seen from here it has no /dev.
        let mut links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        Ok(links.any(|link| link.ends_with("virtio-ports/agent-ctl-path")))
    })
}
