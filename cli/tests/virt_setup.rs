//! Setting guests up: what is printed is valid, what is applied is there, and twice changes nothing. Seen by real QEMUs,
//! most of them without a kernel, and by a real libvirt.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{Case, check, complaint, success, trace_cmd};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::{self, Guest, GuestOptions, Libvirtd, domain_xml, requirements};

const CASES: &[Case] = &[
    Case { name: "several_guests_and_no_change_the_second_time", needs: || Ok(()), test: several },
    Case {
        name: "libvirt_takes_the_xml_for_any_number_of_cpus",
        needs: || requirements::virt_xml_validate().map(drop),
        test: valid_xml,
    },
    Case {
        name: "qemu_takes_the_arguments_and_connects",
        needs: || requirements::qemu().map(drop),
        test: qemu_boots,
    },
    Case {
        name: "the_doctor_sees_what_a_vm_lacks",
        needs: || requirements::qemu().map(drop),
        test: doctor,
    },
    Case {
        name: "ports_are_added_to_a_running_vm_or_taken_back",
        needs: || requirements::qemu().map(drop),
        test: hotplug,
    },
    Case {
        name: "a_guest_uses_ports_that_it_got_while_it_runs",
        needs: requirements::guest,
        test: hotplug_in_guest,
    },
    Case {
        name: "root_libvirt_domain_gets_its_channels",
        needs: requirements::libvirt,
        test: attach,
    },
];

/// Nothing that is waited for takes this long, however loaded the machine.
const LONG: Duration = Duration::from_secs(240);

/// Two emulated machines at a time keep each other from getting on: cases with VMs come one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() -> ExitCode {
    common::run(CASES)
}

fn virt_server(dir: &Path) -> Command {
    let mut command = trace_cmd();
    command.arg("virt-server").arg("--virt-dir").arg(dir);
    command
}

/// A server that ends with the test.
struct Server {
    process: Child,
    log: std::path::PathBuf,
}

impl Server {
    fn start(dir: &Path) -> Result<Self, Failed> {
        fs::create_dir_all(dir)?;
        let log = dir.join("server.log");
        let process = virt_server(dir).stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
        let server = Self { process, log };
        server.wait_for("serving guests")?;
        Ok(server)
    }

    fn wait_for(&self, words: &str) -> Result<(), Failed> {
        let deadline = Instant::now() + LONG;
        loop {
            let log = fs::read_to_string(&self.log)?;
            if log.contains(words) {
                return Ok(());
            }
            check(Instant::now() < deadline, || format!("no {words:?} in the log: {log}"))?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).map(Pid::from_raw);
        let _ = pid.map(|pid| kill(pid, Signal::SIGTERM));
        let _ = self.process.wait();
    }
}

fn several() -> Result<(), Failed> {
    let temp = TempDir::new()?;
    let dir = temp.path();
    let words = ["--dom", "a", "-c", "2", "-p", "0600", "--dom", "b", "-c", "1"];
    let said = success(virt_server(dir).args(words))?;
    check(said.contains("guest a: 2 CPUs") && said.contains("guest b: 1 CPUs"), || said.clone())?;
    check(said.contains("(5 files made, 0 there before)"), || said.clone())?;
    let again = success(virt_server(dir).args(words))?;
    check(again.contains("(0 files made, 5 there before)"), || again.clone())?;
    // The name of the C trace-cmd makes the same.
    let theirs = success(trace_cmd().args(["setup-guest", "-c", "2", "a", "--virt-dir"]).arg(dir))?;
    check(theirs.contains("(0 files made, 5 there before)"), || theirs.clone())?;

    let line = complaint(virt_server(dir).args(["--qemu", "--dom", "a", "--dom", "b"]))?;
    check(line.contains("one VM"), || line.clone())?;
    let line = complaint(virt_server(dir).args(["--dom", "c"]))?;
    check(line.contains("how many CPUs has guest 'c'"), || line.clone())?;
    let line = complaint(virt_server(dir).args(["--dom", "a", "--hotplug"]).arg(dir.join("none")))?;
    check(line.contains("QMP") && line.contains("No such file"), || line.clone())?;

    let fifo = dir.join("b/trace-path-cpu0.out");
    let vm = File::options().read(true).write(true).open(&fifo)?;
    let line = complaint(virt_server(dir).args(["--dom", "b", "--remove"]))?;
    check(line.contains("is open") && fifo.exists(), || line.clone())?;
    drop(vm);
    success(virt_server(dir).args(["--dom", "a", "--dom", "b", "--remove"]))?;
    let left = fs::read_dir(dir)?.count();
    check(left == 0, || format!("{left} things are left"))
}

fn valid_xml() -> Result<(), Failed> {
    let temp = TempDir::new()?;
    for cpus in ["1", "31", "64"] {
        let channels = success(virt_server(&temp.path().join("a'b&c")).args([
            "--dom",
            "g<1>",
            "-c",
            cpus,
            "--libvirt",
        ]))?;
        let path = temp.path().join("domain.xml");
        fs::write(&path, domain_xml("guest1", cpus.parse()?, &channels))?;
        let mut validate =
            Command::new(requirements::virt_xml_validate().map_err(|e| e.to_string())?);
        success(validate.arg(&path).arg("domain"))?;
        // Without a device that there is not, so that the check is known to check.
        fs::write(&path, domain_xml("guest1", 1, &channels.replace("<target", "<tarmac")))?;
        let mut validate =
            Command::new(requirements::virt_xml_validate().map_err(|e| e.to_string())?);
        let refused = validate.arg(&path).arg("domain").output()?;
        check(!refused.status.success(), || "nonsense was found valid".to_owned())?;
    }
    Ok(())
}

fn firmware(name: &str, qemu_args: Vec<String>) -> Result<Guest, Failed> {
    let mut options = GuestOptions::new(name);
    options.firmware_only = true;
    options.memory_mb = 64;
    options.qemu_args = qemu_args;
    Ok(Guest::boot(options)?)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn qemu_boots() -> Result<(), Failed> {
    let _alone = alone();
    let temp = TempDir::new()?;
    let dir = temp.path();
    for cpus in [1, 31, 64] {
        let name = format!("guest{cpus}");
        let printed =
            success(virt_server(dir).args(["--dom", &name, "-c", &cpus.to_string(), "--qemu"]))?;
        let guest = firmware(&name, words(&printed))?;
        let server = Server::start(dir)?;
        server.wait_for(&format!("guest {name}: QEMU {} is connected", guest.pid()))?;
        let line = complaint(virt_server(dir).args(["--dom", &name, "--remove"]))?;
        check(line.contains("connected to the virt-server"), || line.clone())?;
    }
    Ok(())
}

fn doctor() -> Result<(), Failed> {
    let _alone = alone();
    let temp = TempDir::new()?;
    let dir = temp.path();
    let ill = |words: &[&str]| -> Result<String, Failed> {
        let output = virt_server(dir).args(["--doctor", "examined"]).args(words).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        check(output.status.code() == Some(5), || format!("{}: {said}", output.status))?;
        Ok(said)
    };
    let said = ill(&[])?;
    for words in ["no directory", "no virt-server runs", "no VM called examined", "3 faults"] {
        check(said.contains(words), || format!("no {words:?} in {said}"))?;
    }
    let arguments = success(virt_server(dir).args(["--dom", "examined", "-c", "2", "--qemu"]))?;
    // The VM has the ports of one CPU, and does not come back to a server.
    let fewer: Vec<_> =
        arguments.lines().take(5).map(|line| line.replace(",reconnect=1", "")).collect();
    let server = Server::start(dir)?;
    let guest = firmware("examined", words(&fewer.join(" ")))?;
    server.wait_for("guest examined: QEMU")?;
    let socket = guest.qmp_socket();
    for asked in [&["--qmp".as_ref(), socket.as_os_str()][..], &[]] {
        let asked: Vec<_> = asked.iter().map(|word| word.to_string_lossy()).collect();
        let said = ill(&asked.iter().map(|word| &**word).collect::<Vec<_>>())?;
        for words in ["no port trace-path-cpu1", "no 'reconnect'", "no client answers"] {
            check(said.contains(words), || format!("no {words:?} in {said}"))?;
        }
        check(said.contains("2 faults"), || said.clone())?;
    }
    drop(server);
    let said = ill(&[])?;
    check(said.contains("start it: trace-cmd virt-server"), || said.clone())
}

fn hotplug() -> Result<(), Failed> {
    let _alone = alone();
    let temp = TempDir::new()?;
    let dir = temp.path();
    let plug = |guest: &Guest, words: &[&str]| {
        let mut command = virt_server(dir);
        command.args(words).arg("--hotplug").arg(guest.qmp_socket());
        command
    };
    // Behind a free PCIe port it takes one controller of ours, and has another with 29 free places.
    let port = "-device pcie-root-port,id=spare,chassis=1,slot=1";
    let guest = firmware("guest1", words(port))?;
    let added = success(&mut plug(&guest, &["--dom", "guest1", "-c", "3"]))?;
    let expected = "4 ports added to the running VM with 1 new controllers, 0 there before";
    check(added.contains(expected), || added.clone())?;
    let again = success(&mut plug(&guest, &["--dom", "guest1", "-c", "3"]))?;
    check(again.contains("0 ports added to the running VM, 4 there before"), || again.clone())?;
    let server = Server::start(dir)?;
    server.wait_for("guest guest1: QEMU")?;
    let more = success(&mut plug(&guest, &["--dom", "guest1", "-c", "40"]))?;
    check(more.contains("37 ports added to the running VM, 4 there before"), || more.clone())?;
    let line = complaint(&mut plug(&guest, &["--dom", "guest1", "-c", "64"]))?;
    check(line.contains("no room for 24 more ports (18 are free"), || line.clone())?;
    let line = complaint(&mut plug(&guest, &["--dom", "other", "-c", "1"]))?;
    check(line.contains("the VM is \"guest1\""), || line.clone())?;
    drop((guest, server));

    // QEMU knows the id of CPU 1's port already: what was added before it is taken back.
    let taken = "-device virtio-serial-pci,id=own -chardev null,id=x \
                 -device virtserialport,bus=own.0,chardev=x,id=trace-port2,name=x";
    let guest = firmware("guest2", words(taken))?;
    let line = complaint(&mut plug(&guest, &["--dom", "guest2", "-c", "2"]))?;
    check(line.contains("trace-path-cpu1") && line.contains("taken back"), || line.clone())?;
    let added = success(&mut plug(&guest, &["--dom", "guest2", "-c", "1"]))?;
    check(added.contains("2 ports added to the running VM, 0 there before"), || added.clone())?;

    // The number of CPUs is that of the VM.
    let elsewhere = "-device virtio-serial-pci,id=own -chardev socket,id=x,path=/nonexistent/ctl,reconnect=1 \
                     -device virtserialport,bus=own.0,chardev=x,name=agent-ctl-path";
    let guest = firmware("guest3", words(elsewhere))?;
    let line = complaint(&mut plug(&guest, &["--dom", "guest3"]))?;
    check(line.contains("leads to /nonexistent/ctl"), || line.clone())?;
    check(dir.join("guest3/trace-path-cpu0.out").exists(), || "no FIFO was made".to_owned())
}

fn hotplug_in_guest() -> Result<(), Failed> {
    let _alone = alone();
    let temp = TempDir::new()?;
    let dir = temp.path();
    let server = Server::start(dir)?;
    let mut options = GuestOptions::new("guest1");
    options.trace_cmd = Some(lab::static_binary()?);
    options.qemu_args = words("-device pcie-root-port,id=spare,chassis=1,slot=1");
    let guest = Guest::boot(options)?;
    guest.wait_ready(LONG)?;
    success(virt_server(dir).args(["--dom", "guest1", "--hotplug"]).arg(guest.qmp_socket()))?;
    // The guest sees a new controller and then its ports a moment later.
    let ports = "until link-ports; [ -e /dev/virtio-ports/trace-path-cpu0 ] && \
                 [ -e /dev/virtio-ports/agent-ctl-path ]; do sleep 0.1; done";
    let output = guest.output(ports, LONG)?;
    check(output.status == 0, || format!("the ports do not appear: {}", guest.console()))?;
    guest.run("echo through the port >/dev/virtio-ports/trace-path-cpu0")?;
    let fifo = dir.join("guest1/trace-path-cpu0.out");
    let mut fifo = File::options().read(true).write(true).open(fifo)?;
    let mut line = [0; 17];
    fifo.read_exact(&mut line)?;
    check(line == *b"through the port\n", || String::from_utf8_lossy(&line).into_owned())?;
    let doctor = || {
        let mut command = virt_server(dir);
        command.args(["--doctor", "guest1", "--json", "--qmp"]).arg(guest.qmp_socket());
        command
    };
    let found = doctor().output()?;
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    check(found.status.code() == Some(5), || format!("{}: {said}", found.status))?;
    check(said.contains("no-client") && said.contains("\"recordable\":false"), || said.clone())?;
    guest.run("trace-cmd virt-server --client >/run/client.log 2>&1 &")?;
    server.wait_for("its client answers")?;
    let said = success(&mut doctor())?;
    check(said.contains("\"recordable\":true"), || said.clone())
}

fn attach() -> Result<(), Failed> {
    let _alone = alone();
    let temp = TempDir::new()?;
    let dir = temp.path();
    let libvirtd = Libvirtd::start()?;
    let command = |words: &[&str]| {
        let mut command = virt_server(dir);
        command.args(words).env("LIBVIRT_DEFAULT_URI", libvirtd.uri());
        command
    };
    libvirtd.define("guest1", 3, "")?;
    let said = success(&mut command(&["--dom", "guest1", "--attach"]))?;
    check(said.contains("guest1: 3 CPUs"), || said.clone())?;
    check(said.contains("4 channels added to its domain, 0 there before"), || said.clone())?;
    let said = success(&mut command(&["--dom", "guest1", "--attach"]))?;
    check(said.contains("0 channels added to its domain, 4 there before"), || said.clone())?;

    // It starts before there is a server, and runs with all of them.
    libvirtd.virsh(&["start", "guest1"])?;
    let said = success(&mut command(&["--dom", "guest1", "--attach"]))?;
    check(said.contains("it runs with all of them"), || said.clone())?;
    let server = Server::start(dir)?;
    server.wait_for("guest guest1: QEMU")?;

    // What was printed for it is what another domain starts with; its FIFOs have the other name.
    fs::create_dir(dir.join("guest2"))?;
    for direction in ["in", "out"] {
        let path = dir.join(format!("guest2/trace-pipe-cpu0.{direction}"));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o660))?;
    }
    let printed = success(&mut command(&["--dom", "guest2", "-c", "64", "--libvirt"]))?;
    check(printed.contains("trace-pipe-cpu0") && printed.contains("trace-path-cpu1"), || {
        printed.clone()
    })?;
    libvirtd.define("guest2", 2, &printed)?;
    libvirtd.virsh(&["start", "guest2"])?;
    server.wait_for("guest guest2: QEMU")?;
    let examined = command(&["--doctor", "guest2"]).output()?;
    let said = String::from_utf8_lossy(&examined.stdout).into_owned();
    check(said.contains("no client answers") && said.contains("1 fault\n"), || said.clone())?;

    // libvirt adds no pipes to a VM that runs: the words say so, and its configuration has them.
    libvirtd.define("guest3", 2, "<controller type='virtio-serial' index='0'/>")?;
    libvirtd.virsh(&["start", "guest3"])?;
    let mut setup_guest = trace_cmd();
    setup_guest.args(["setup-guest", "-a", "guest3", "--virt-dir"]).arg(dir);
    let said = success(setup_guest.env("LIBVIRT_DEFAULT_URI", libvirtd.uri()))?;
    check(said.contains("3 channels added") && said.contains("at its next start"), || {
        said.clone()
    })?;

    // Agents of guests are found by name. No domain with a vsock device can start where the kernel has no vhost-vsock.
    libvirtd.define("guest6", 1, "<vsock model='virtio'><cid auto='no' address='33'/></vsock>")?;
    for (name, words) in [
        ("guest6", &["connecting", "vsock:33:823"][..]),
        ("guest1", &["no vsock CID", "virsh edit guest1"]),
        ("guest7.invalid", &["neither libvirt nor", "failed to get domain 'guest7.invalid'"]),
    ] {
        let mut record = trace_cmd();
        record.current_dir(dir).args(["record", "-A", name, "-e", "sched", "true"]);
        let line = complaint(record.env("LIBVIRT_DEFAULT_URI", libvirtd.uri()))?;
        let names_it = line.contains(&format!("guest {name}"));
        check(names_it && words.iter().all(|&words| line.contains(words)), || line.clone())?;
    }

    let line = complaint(&mut command(&["--dom", "guest4", "--attach"]))?;
    check(line.contains("failed to get domain 'guest4'"), || line.clone())?;
    let elsewhere = printed.replace(&*dir.to_string_lossy(), "/elsewhere");
    libvirtd.define("guest5", 2, &elsewhere)?;
    let line = complaint(&mut command(&["--dom", "guest5", "--attach"]))?;
    check(line.contains("leads to /elsewhere/agent-ctl-path instead of"), || line.clone())
}
