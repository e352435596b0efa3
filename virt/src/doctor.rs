//! Finds out why a guest cannot be recorded, or would be recorded with less than there could be.
//!
//! ```no_run
//! # use trace_virt::{doctor::Doctor, setup::{GuestName, VirtDir}};
//! let doctor = Doctor::new(VirtDir::default(), GuestName::new("guest1")?, "trace-cmd 0.1.0");
//! for fault in doctor.examine() {
//!     println!("{fault}; {}", fault.advice());
//! }
//! # Ok::<(), trace_virt::setup::SetupError>(())
//! ```
//!
//! Only looks: what it opens it closes again, and it changes nothing. A step that cannot be looked at (another user's QEMU)
//! is left out rather than guessed.

mod fault;
mod files;
mod host;
mod ports;
mod server;
mod vm;

use std::path::PathBuf;
use std::time::Duration;

use crate::qmp::{QemuVersion, Qmp, QmpError};
use crate::setup::machine::Machine;
use crate::setup::{GuestName, VirtDir};
use vm::Vm;

pub use fault::Fault;

const QMP_TIME: Duration = Duration::from_secs(30);

/// What to examine, and where to look.
#[derive(Debug, Clone)]
pub struct Doctor {
    dir: VirtDir,
    guest: GuestName,
    version: String,
    qmp: Option<PathBuf>,
    proc: PathBuf,
    tracing: PathBuf,
}

/// What QEMU says of itself.
struct Asked {
    machine: Machine,
    vcpus: u32,
    qemu: Option<QemuVersion>,
}

impl Doctor {
    /// Examines a guest of this machine; `version` is what a client of the same age as the host's program says.
    #[must_use]
    pub fn new(dir: VirtDir, guest: GuestName, version: impl Into<String>) -> Self {
        Self {
            dir,
            guest,
            version: version.into(),
            qmp: None,
            proc: "/proc".into(),
            tracing: "/sys/kernel/tracing".into(),
        }
    }

    /// Asks QEMU, too, on its QMP socket: ports that were added while it ran are in no command line.
    #[must_use]
    pub fn with_qmp(mut self, socket: impl Into<PathBuf>) -> Self {
        self.qmp = Some(socket.into());
        self
    }

    /// Everything that was found, the causes before what follows from them.
    #[must_use]
    pub fn examine(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let fifos = files::examine(&self.dir, &self.guest, &mut faults);
        let mut vms = vm::find(&self.proc, &self.guest);
        // A VM of the same name may belong to another directory.
        if vms.iter().any(|vm| ports::belongs(&self.dir, &self.guest, vm)) {
            vms.retain(|vm| ports::belongs(&self.dir, &self.guest, vm));
        }
        let asked = self.ask_qemu(&mut faults);
        if let ([vm], Some(asked)) = (vms.as_mut_slice(), &asked) {
            vm.vcpus = Some(asked.vcpus);
        }
        let server = server::examine(&self.dir, &self.guest, &mut faults);
        match vms.as_slice() {
            [] => faults.push(Fault::VmNotRunning { guest: self.guest.to_string() }),
            [vm] => self.examine_vm(vm, fifos, asked.as_ref(), &server, &mut faults),
            [_, _, ..] => faults.push(Fault::TwoVms {
                guest: self.guest.to_string(),
                pids: vms.iter().map(|vm| vm.pid).collect(),
            }),
        }
        if let Some(info) = &server.client {
            let vcpus = vms.first().and_then(|vm| vm.vcpus);
            server::examine_client(info, &self.version, vcpus, &self.guest, &mut faults);
        }
        host::examine(&self.tracing, vms.iter().any(|vm| vm.kvm), &mut faults);
        faults
    }

    fn examine_vm(
        &self,
        vm: &Vm,
        fifos: Option<u32>,
        asked: Option<&Asked>,
        server: &server::Outcome,
        faults: &mut Vec<Fault>,
    ) {
        if let (Some(fifos), Some(vcpus)) = (fifos, vm.vcpus)
            && fifos > 0
            && fifos < vcpus
            && !faults.iter().any(|fault| matches!(fault, Fault::FewerFifos { .. }))
        {
            let guest = self.guest.to_string();
            faults.push(Fault::FewerFifos { guest, fifos, vcpus });
        }
        let machine = asked.map(|asked| &asked.machine);
        ports::examine(&self.dir, &self.guest, vm, machine, server.connected, faults);
        if let Some(qemu) = asked.and_then(|asked| asked.qemu) {
            host::examine_emulator(vm, qemu, faults);
        }
        files::examine_access(&self.dir, &self.guest, vm, faults);
        if server.running && !server.connected {
            faults.push(Fault::VmNotConnected { guest: self.guest.to_string(), pid: vm.pid });
        }
        if let Some(profile) = &vm.confinement
            && !server.connected
        {
            faults.push(Fault::Confined { pid: vm.pid, profile: profile.clone() });
        }
    }

    fn ask_qemu(&self, faults: &mut Vec<Fault>) -> Option<Asked> {
        let socket = self.qmp.as_ref()?;
        let ask = || {
            let mut qmp = Qmp::connect(socket, QMP_TIME)?;
            let machine = Machine::read(&mut qmp)?;
            let vcpus = qmp.cpus()?.len().try_into().unwrap_or(u32::MAX);
            Ok::<_, QmpError>(Asked { machine, vcpus, qemu: qmp.version() })
        };
        match ask() {
            Ok(asked) => Some(asked),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                let why = [Some(error.to_string()), source].into_iter().flatten();
                faults.push(Fault::Qmp { why: why.collect::<Vec<_>>().join(": ") });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::thread::JoinHandle;

    use trace_transport::message::{ExecRule, Hello, HelloKind, Message, WordList};
    use trace_transport::{Connection, Deadline, Stream, unix};

    use super::*;
    use crate::host::Guest;
    use crate::server::{Server, ServerOptions};
    use crate::setup::SetupOptions;

    const PID: i32 = 4711;

    /// A host with a guest of two CPUs: its directory, and a `/proc` with its QEMU.
    struct Host {
        dir: VirtDir,
        proc: PathBuf,
        tracing: PathBuf,
        temp: tempfile::TempDir,
    }

    fn guest() -> GuestName {
        GuestName::new("guest1").unwrap()
    }

    impl Host {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let path = |name| temp.path().join(name);
            let dir = VirtDir::new(path("virt"));
            dir.setup(&guest(), &SetupOptions { cpus: 2, ..Default::default() }).unwrap();
            fs::create_dir_all(path("tracing/events/kvm")).unwrap();
            let host = Self { dir, proc: path("proc"), tracing: path("tracing"), temp };
            let words = host.dir.qemu_args(&guest(), 2).unwrap();
            host.vm(PID, &words);
            host
        }

        fn process(&self, pid: i32) -> PathBuf {
            self.proc.join(pid.to_string())
        }

        /// A QEMU with these words behind its name, which has all FIFOs open.
        fn vm(&self, pid: i32, words: &[String]) {
            let process = self.process(pid);
            for name in ["fd", "task/1", "task/2", "attr"] {
                fs::create_dir_all(process.join(name)).unwrap();
            }
            let line = format!(
                "/usr/bin/qemu-system-x86_64\0-name\0guest=guest1,x=y\0{}\0",
                words.join("\0")
            );
            fs::write(process.join("cmdline"), line).unwrap();
            fs::write(process.join("status"), "Uid:\t0 0 0 0\nGid:\t0 0 0 0\nGroups:\t\n").unwrap();
            fs::write(process.join("attr/current"), "unconfined\n").unwrap();
            for cpu in 0..2 {
                fs::write(
                    process.join(format!("task/{}/comm", cpu + 1)),
                    format!("CPU {cpu}/TCG\n"),
                )
                .unwrap();
            }
            self.open_fifos(pid);
        }

        fn open_fifos(&self, pid: i32) {
            for (number, entry) in fs::read_dir(self.dir.guest_dir(&guest())).unwrap().enumerate() {
                symlink(entry.unwrap().path(), self.process(pid).join(format!("fd/{number}")))
                    .unwrap();
            }
        }

        fn close_fifos(&self) {
            fs::remove_dir_all(self.process(PID).join("fd")).unwrap();
            fs::create_dir(self.process(PID).join("fd")).unwrap();
        }

        /// Another command line, with one thing changed.
        fn change(&self, from: &str, to: &str) {
            let path = self.process(PID).join("cmdline");
            let line = fs::read_to_string(&path).unwrap();
            assert!(line.contains(from), "{line}");
            fs::write(path, line.replace(from, to)).unwrap();
        }

        fn fifo(&self, name: &str) -> PathBuf {
            self.dir.guest_dir(&guest()).join(name)
        }

        fn server(&self) -> Running {
            let resolver = Box::new(|_: &unix::PeerProcess| Some(guest()));
            let server = Server::bind_with(&self.dir, &ServerOptions::default(), resolver).unwrap();
            let (read, write) = nix::unistd::pipe().unwrap();
            let thread = std::thread::spawn(move || server.run(read.as_fd(), &mut |_| {}).unwrap());
            Running { stop: Some(write), thread: Some(thread) }
        }

        fn qemu(&self) -> Stream {
            unix::connect(&self.dir.agent_socket()).unwrap()
        }

        /// A client behind the port, which says what version it is and nothing else.
        fn client(&self, version: &'static str) -> JoinHandle<()> {
            let mut connection = Connection::new(self.qemu());
            std::thread::spawn(move || {
                loop {
                    let nonce = match connection.receive(Deadline::NEVER) {
                        Ok(Message::Hello(hello)) => hello.nonce,
                        Ok(_) => continue,
                        Err(_) => return,
                    };
                    let words = WordList::new([version, "mono", "x86-tsc"]).unwrap();
                    let answer = Hello {
                        kind: HelloKind::ANSWER,
                        nonce,
                        cpus: 2,
                        exec: ExecRule::ANY,
                        words: words.words(),
                        ..Hello::request(0)
                    };
                    if connection.send(&Message::Hello(answer), Deadline::NEVER).is_err() {
                        return;
                    }
                }
            })
        }

        fn doctor(&self) -> Doctor {
            let doctor = Doctor::new(self.dir.clone(), guest(), "trace-cmd 0.1.0");
            Doctor { proc: self.proc.clone(), tracing: self.tracing.clone(), ..doctor }
        }

        fn found(&self) -> Vec<&'static str> {
            let faults = self.doctor().examine();
            for fault in &faults {
                assert!(!fault.to_string().is_empty() && !fault.advice().is_empty());
            }
            faults.iter().map(Fault::id).collect()
        }

        /// What is found besides that no server runs.
        fn found_besides(&self) -> Vec<&'static str> {
            let mut found = self.found();
            let place = found.iter().position(|id| *id == "server-not-running").expect("no server");
            found.remove(place);
            found
        }
    }

    struct Running {
        stop: Option<OwnedFd>,
        thread: Option<JoinHandle<()>>,
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.stop = None;
            let result = self.thread.take().unwrap().join();
            if !std::thread::panicking() {
                result.unwrap();
            }
        }
    }

    #[test]
    fn only_the_server_is_missing_where_all_else_is_well() {
        assert_eq!(Host::new().found(), ["server-not-running"]);
    }

    #[test]
    fn directories_and_fifos() {
        let host = Host::new();
        fs::remove_file(host.fifo("trace-path-cpu0.in")).unwrap();
        assert_eq!(host.found_besides(), ["fifo-missing"]);
        File::create(host.fifo("trace-path-cpu0.in")).unwrap();
        assert_eq!(host.found_besides(), ["not-a-fifo"]);

        let host = Host::new();
        for direction in ["in", "out"] {
            fs::remove_file(host.fifo(&format!("trace-path-cpu0.{direction}"))).unwrap();
        }
        assert!(host.found_besides().contains(&"fifo-missing"));
        for direction in ["in", "out"] {
            fs::remove_file(host.fifo(&format!("trace-path-cpu1.{direction}"))).unwrap();
        }
        assert!(host.found_besides().contains(&"no-fifos"));
        fs::remove_dir(host.dir.guest_dir(&guest())).unwrap();
        assert!(host.found_besides().contains(&"no-directory"));
        File::create(host.dir.guest_dir(&guest())).unwrap();
        assert!(host.found_besides().contains(&"unusable"));
    }

    #[test]
    fn names_of_both_kinds() {
        let host = Host::new();
        for direction in ["in", "out"] {
            let theirs = host.fifo(&format!("trace-pipe-cpu1.{direction}"));
            nix::unistd::mkfifo(&theirs, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        assert_eq!(host.found_besides(), ["both-names"]);
        for direction in ["in", "out"] {
            fs::remove_file(host.fifo(&format!("trace-path-cpu1.{direction}"))).unwrap();
        }
        host.change("virt/guest1/trace-path-cpu1", "virt/guest1/trace-pipe-cpu1");
        host.close_fifos();
        host.open_fifos(PID);
        assert_eq!(host.found_besides(), ["mixed-names"]);
    }

    #[test]
    fn more_vcpus_than_fifos() {
        let host = Host::new();
        fs::create_dir(host.process(PID).join("task/3")).unwrap();
        fs::write(host.process(PID).join("task/3/comm"), "CPU 2/KVM\n").unwrap();
        assert_eq!(host.found_besides(), ["fewer-fifos"]);
    }

    #[test]
    fn rights_of_the_user_of_qemu() {
        let host = Host::new();
        let status = "Uid:\t0 0 0 64055\nGid:\t0 0 0 64055\nGroups:\t64056 64057\n";
        fs::write(host.process(PID).join("status"), status).unwrap();
        assert_eq!(host.found_besides(), ["not-searchable"]);
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(host.dir.guest_dir(&guest()), open).unwrap();
        assert!(host.found_besides().is_empty());
        host.close_fifos();
        assert!(host.found_besides().contains(&"fifo-access"));
        host.open_fifos(PID);
        let _server = host.server();
        fs::set_permissions(host.dir.agent_socket(), fs::Permissions::from_mode(0o660)).unwrap();
        assert!(host.found().contains(&"socket-access"));
    }

    #[test]
    fn no_vm_or_several() {
        let host = Host::new();
        host.vm(PID + 1, &[]);
        assert_eq!(host.found_besides(), ["two-vms"]);
        // Without anything of this directory it is somebody else's.
        fs::remove_dir_all(host.process(PID + 1).join("fd")).unwrap();
        assert!(host.found_besides().is_empty());
        fs::remove_dir_all(&host.proc).unwrap();
        assert_eq!(host.found_besides(), ["vm-not-running"]);
        // Another program that looks for the name is no VM.
        fs::create_dir_all(host.process(PID)).unwrap();
        fs::write(host.process(PID).join("cmdline"), "find\0.\0-name\0guest1\0").unwrap();
        assert_eq!(host.found_besides(), ["vm-not-running"]);
    }

    #[test]
    fn ports_of_the_vm() {
        let host = Host::new();
        host.change("name=agent-ctl-path", "name=other");
        assert_eq!(host.found_besides(), ["port-missing"]);

        let host = Host::new();
        host.change("virt/agent-ctl-path", "other/agent-ctl-path");
        host.change(",reconnect=1", "");
        assert_eq!(host.found_besides(), ["port-elsewhere", "no-reconnect"]);

        let host = Host::new();
        host.change("guest1/trace-path-cpu1", "guest2/trace-path-cpu1");
        assert_eq!(host.found_besides(), ["port-elsewhere"]);

        // A port that is not in the command line is there as long as its FIFO is open.
        let host = Host::new();
        host.change("name=trace-path-cpu1", "name=other");
        assert!(host.found_besides().is_empty());
        host.close_fifos();
        assert_eq!(host.found_besides(), ["fifo-replaced", "port-missing"]);
    }

    #[test]
    fn a_server_that_is_gone_or_does_not_know_the_vm() {
        let host = Host::new();
        drop(UnixListener::bind(host.dir.agent_socket()).unwrap());
        assert_eq!(host.found(), ["stale-socket"]);
        let _server = host.server();
        assert_eq!(host.found(), ["vm-not-connected"]);
        fs::write(host.process(PID).join("attr/current"), "libvirt-7 (enforce)\n").unwrap();
        assert_eq!(host.found(), ["vm-not-connected", "confined"]);
        let _qemu = host.qemu();
        assert_eq!(host.found(), ["no-client"]);
    }

    #[test]
    fn a_client_that_is_old_well_or_busy() {
        let host = Host::new();
        let server = host.server();
        let old = host.client("trace-cmd 0.0.9");
        assert_eq!(host.found(), ["client-too-old"]);
        drop(server);
        old.join().unwrap();
        let server = host.server();
        let client = host.client("trace-cmd 0.1.0");
        assert!(host.found().is_empty());
        let session = Guest::connect(&host.dir, &guest()).unwrap();
        assert_eq!(host.found(), ["busy"]);
        drop((session, server));
        client.join().unwrap();
    }

    #[test]
    fn a_host_and_a_qemu_that_cannot_be_asked() {
        let host = Host::new();
        fs::remove_dir(host.tracing.join("events/kvm")).unwrap();
        assert!(host.found_besides().is_empty());
        symlink("anon_inode:kvm-vm", host.process(PID).join("fd/99")).unwrap();
        assert_eq!(host.found_besides(), ["no-kvm-events"]);
        fs::remove_dir(host.tracing.join("events")).unwrap();
        assert_eq!(host.found_besides(), ["no-tracefs"]);
        let silent = host.temp.path().join("qmp");
        let faults = host.doctor().with_qmp(Path::new(&silent)).examine();
        assert!(faults.iter().any(|fault| fault.id() == "qmp" && fault.is_warning()), "{faults:?}");
    }
}
