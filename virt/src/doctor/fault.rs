//! Everything that can be found, in words, with the next step.

use std::path::PathBuf;

use crate::qmp::QemuVersion;
use crate::setup::DATA_PORTS;

/// Something that keeps a guest from being recorded, or makes less of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nobody set the guest up.
    #[error("no directory {} for guest {guest}", path.display())]
    NoDirectory {
        /// The guest.
        guest: String,
        /// Its path.
        path: PathBuf,
    },
    /// Something is in the way, or may not be looked at.
    #[error("{} cannot be used: {why}", path.display())]
    Unusable {
        /// Its path.
        path: PathBuf,
        /// What the system or the peer said.
        why: String,
    },
    /// A directory without FIFOs.
    #[error("no FIFO for guest {guest}")]
    NoFifos {
        /// The guest.
        guest: String,
    },
    /// One of a pair, or a CPU between others.
    #[error("FIFO {} is missing", path.display())]
    FifoMissing {
        /// The guest.
        guest: String,
        /// Its path.
        path: PathBuf,
        /// CPUs to set the guest up for.
        cpus: u32,
    },
    /// Something else has the name of a FIFO.
    #[error("{} is not a FIFO", path.display())]
    NotFifo {
        /// Its path.
        path: PathBuf,
    },
    /// FIFOs of both names for one CPU.
    #[error("CPU {cpu} has FIFOs of both names, {}{cpu} and {}{cpu}", DATA_PORTS[0], DATA_PORTS[1])]
    BothNames {
        /// The CPU.
        cpu: u32,
    },
    /// Some CPUs have one name, some the other.
    #[error("some FIFOs are called {}N, some {}N", DATA_PORTS[0], DATA_PORTS[1])]
    MixedNames,
    /// The VM has more CPUs than were thought of.
    #[error("guest {guest} has {vcpus} vCPUs but FIFOs for {fifos}")]
    FewerFifos {
        /// The guest.
        guest: String,
        /// CPUs that have FIFOs.
        fifos: u32,
        /// CPUs that the VM has.
        vcpus: u32,
    },
    /// QEMU's user may not search a directory.
    #[error("QEMU's user {uid} may not enter {}", path.display())]
    NotSearchable {
        /// Its path.
        path: PathBuf,
        /// Id of the user.
        uid: u32,
    },
    /// QEMU's user may not use a FIFO that it has to open.
    #[error("QEMU's user {uid} may not read and write {}", path.display())]
    FifoAccess {
        /// The guest.
        guest: String,
        /// Its path.
        path: PathBuf,
        /// Id of the user.
        uid: u32,
    },
    /// QEMU's user may not connect to the server.
    #[error("QEMU's user {uid} may not connect to {}", path.display())]
    SocketAccess {
        /// Its path.
        path: PathBuf,
        /// Id of the user.
        uid: u32,
    },
    /// No server.
    #[error("no virt-server runs for {}", path.display())]
    ServerNotRunning {
        /// Its path.
        path: PathBuf,
    },
    /// A killed server's socket.
    #[error("{} was left by a virt-server that is gone", path.display())]
    StaleSocket {
        /// Its path.
        path: PathBuf,
    },
    /// The server may not be asked, or does not answer.
    #[error("the virt-server does not answer: {why}")]
    Server {
        /// What the system or the peer said.
        why: String,
    },
    /// No QEMU of that name.
    #[error("no VM called {guest} runs")]
    VmNotRunning {
        /// The guest.
        guest: String,
    },
    /// The server takes only one.
    #[error("several VMs are called {guest}: processes {pids:?}")]
    TwoVms {
        /// The guest.
        guest: String,
        /// Ids of their processes.
        pids: Vec<i32>,
    },
    /// The server does not know the VM.
    #[error("the VM of {guest} (process {pid}) is not connected to the virt-server")]
    VmNotConnected {
        /// The guest.
        guest: String,
        /// Id of its process.
        pid: i32,
    },
    /// No port for control messages.
    #[error("the VM has no port {port}")]
    PortMissing {
        /// The guest.
        guest: String,
        /// The port, or several.
        port: String,
        /// CPUs to set the guest up for.
        cpus: u32,
    },
    /// The port's socket or FIFO is another.
    #[error("the VM's port {port} leads to {} instead of {}", found.display(), wanted.display())]
    PortElsewhere {
        /// The port, or several.
        port: String,
        /// What was found.
        found: PathBuf,
        /// What should be there.
        wanted: PathBuf,
    },
    /// The FIFO was made anew after the VM had opened it.
    #[error("the VM has an older {} open than the one that is there now", path.display())]
    FifoReplaced {
        /// Its path.
        path: PathBuf,
    },
    /// The VM gives up when the server is not there.
    #[error("the VM's chardev {chardev} has no 'reconnect'")]
    NoReconnect {
        /// Its id in QEMU.
        chardev: String,
    },
    /// Nobody in the guest answers.
    #[error("no client answers in guest {guest}")]
    NoClient {
        /// The guest.
        guest: String,
    },
    /// The client is older than the host's program.
    #[error("the guest's client is {found:?}, older than {wanted:?} here")]
    ClientTooOld {
        /// What was found.
        found: String,
        /// What should be there.
        wanted: String,
    },
    /// The client's version cannot be told.
    #[error("the guest's client calls itself {found:?}, not {wanted:?}")]
    ClientUnknown {
        /// What was found.
        found: String,
        /// What should be there.
        wanted: String,
    },
    /// CPUs that cannot send.
    #[error("the guest has data ports for {ports} of its {vcpus} CPUs")]
    FewerPorts {
        /// The guest.
        guest: String,
        /// CPUs that have ports.
        ports: u32,
        /// CPUs that the VM has.
        vcpus: u32,
    },
    /// A recording has it.
    #[error("guest {guest} is busy with another recording")]
    Busy {
        /// The guest.
        guest: String,
    },
    /// Clocks have nothing in common.
    #[error(
        "host and guest have no trace clock that could be compared (the guest's: {})",
        list(clocks)
    )]
    NoClock {
        /// Those of the guest.
        clocks: Vec<String>,
    },
    /// The exact clock is missing.
    #[error("the guest has no time stamp counter as a trace clock (x86-tsc)")]
    NoTsc,
    /// No commands for the host.
    #[error("the guest runs no commands for the host")]
    NoExec,
    /// The host's kernel does not trace KVM.
    #[error("the host's kernel has no kvm events in {}", path.display())]
    NoKvmEvents {
        /// Its path.
        path: PathBuf,
    },
    /// No tracing on the host.
    #[error("tracefs is not mounted on {}", path.display())]
    NoTracefs {
        /// Its path.
        path: PathBuf,
    },
    /// QEMU goes on in code that the guest's kernel has patched.
    #[error("QEMU {}.{} emulates {vcpus} vCPUs: the guest may freeze when its events are switched", qemu.major, qemu.minor)]
    StaleCode {
        /// QEMU's version.
        qemu: QemuVersion,
        /// vCPUs of the VM.
        vcpus: u32,
    },
    /// QEMU is confined.
    #[error("QEMU (process {pid}) is confined by {profile}")]
    Confined {
        /// Id of its process.
        pid: i32,
        /// What confines it.
        profile: String,
    },
    /// QEMU could not be asked.
    #[error("QEMU could not be asked: {why}")]
    Qmp {
        /// What the system or the peer said.
        why: String,
    },
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

impl Fault {
    /// Whether the guest can be recorded all the same.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::MixedNames
                | Self::NoReconnect { .. }
                | Self::ClientUnknown { .. }
                | Self::NoTsc
                | Self::NoExec
                | Self::NoKvmEvents { .. }
                | Self::NoTracefs { .. }
                | Self::StaleCode { .. }
                | Self::Confined { .. }
                | Self::Qmp { .. }
        )
    }

    /// A word for programs, which stays the same.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::NoDirectory { .. } => "no-directory",
            Self::Unusable { .. } => "unusable",
            Self::NoFifos { .. } => "no-fifos",
            Self::FifoMissing { .. } => "fifo-missing",
            Self::NotFifo { .. } => "not-a-fifo",
            Self::BothNames { .. } => "both-names",
            Self::MixedNames => "mixed-names",
            Self::FewerFifos { .. } => "fewer-fifos",
            Self::NotSearchable { .. } => "not-searchable",
            Self::FifoAccess { .. } => "fifo-access",
            Self::SocketAccess { .. } => "socket-access",
            Self::ServerNotRunning { .. } => "server-not-running",
            Self::StaleSocket { .. } => "stale-socket",
            Self::Server { .. } => "server-silent",
            Self::VmNotRunning { .. } => "vm-not-running",
            Self::TwoVms { .. } => "two-vms",
            Self::VmNotConnected { .. } => "vm-not-connected",
            Self::PortMissing { .. } => "port-missing",
            Self::PortElsewhere { .. } => "port-elsewhere",
            Self::FifoReplaced { .. } => "fifo-replaced",
            Self::NoReconnect { .. } => "no-reconnect",
            Self::NoClient { .. } => "no-client",
            Self::ClientTooOld { .. } => "client-too-old",
            Self::ClientUnknown { .. } => "client-unknown",
            Self::FewerPorts { .. } => "fewer-ports",
            Self::Busy { .. } => "busy",
            Self::NoClock { .. } => "no-clock",
            Self::NoTsc => "no-tsc",
            Self::NoExec => "no-exec",
            Self::NoKvmEvents { .. } => "no-kvm-events",
            Self::NoTracefs { .. } => "no-tracefs",
            Self::StaleCode { .. } => "stale-code",
            Self::Confined { .. } => "confined",
            Self::Qmp { .. } => "qmp",
        }
    }

    /// The next step.
    #[must_use]
    pub fn advice(&self) -> String {
        let text = match self {
            Self::NoDirectory { guest, .. } | Self::NoFifos { guest } => {
                return format!("make it: trace-cmd virt-server --dom {guest} -c CPUS");
            }
            Self::FifoMissing { guest, cpus, .. } => {
                return format!("make it: trace-cmd virt-server --dom {guest} -c {cpus}");
            }
            Self::FewerFifos { guest, vcpus, .. } => {
                return format!(
                    "make the others: trace-cmd virt-server --dom {guest} -c {vcpus}; then give the VM their ports"
                );
            }
            Self::NotSearchable { path, .. } => {
                return format!("let it: chmod o+x {}, or give it to QEMU's group", path.display());
            }
            Self::FifoAccess { guest, .. } => {
                return format!(
                    "give them to QEMU's group: trace-cmd virt-server --dom {guest} -g GROUP -p 0660"
                );
            }
            Self::PortMissing { guest, cpus, .. } => {
                return format!(
                    "add it: trace-cmd virt-server --dom {guest} -c {cpus} --hotplug QMP-SOCKET, or --attach \
                     and restart the VM, or start QEMU with what --qemu prints"
                );
            }
            Self::FewerPorts { guest, vcpus, .. } => {
                return format!(
                    "add the others: trace-cmd virt-server --dom {guest} -c {vcpus} --hotplug QMP-SOCKET, or \
                     --attach and restart the VM"
                );
            }
            Self::Unusable { .. } => "look what is there, and whether you need to be root",
            Self::NotFifo { .. } => "move it away and set the guest up again",
            Self::BothNames { .. } => "remove the pair that the VM's configuration does not name",
            Self::MixedNames => "this works; remove the guest and set it up again to have one name",
            Self::SocketAccess { .. } => {
                "start the server for QEMU's group: trace-cmd virt-server -g GROUP"
            }
            Self::ServerNotRunning { .. } | Self::StaleSocket { .. } => {
                "start it: trace-cmd virt-server"
            }
            Self::Server { .. } => {
                "ask as the user that runs it, or restart it: the guests notice nothing"
            }
            Self::VmNotRunning { .. } => "start it; QEMU needs '-name' with this name",
            Self::TwoVms { .. } => "give each VM a name of its own",
            Self::VmNotConnected { .. } => {
                "see what else is wrong; a QEMU without 'reconnect' has to be restarted after the server"
            }
            Self::PortElsewhere { .. } => {
                "change the VM's configuration, or give the --virt-dir that it was made for"
            }
            Self::FifoReplaced { .. } => "restart the VM, so that it opens the new one",
            Self::NoReconnect { .. } => {
                "add 'reconnect=1' to the chardev: without it the VM starts only after the server, and loses it for good"
            }
            Self::NoClient { .. } => "start it in the guest: trace-cmd virt-server --client",
            Self::ClientTooOld { .. } | Self::ClientUnknown { .. } => {
                "install this trace-cmd in the guest"
            }
            Self::Busy { .. } => "wait for it, or end it",
            Self::NoClock { .. } => {
                "load a kernel with the clock 'mono' (4.1 or newer) in the guest"
            }
            Self::NoTsc => {
                "clocks are compared over the control port instead; a TSC that is constant shows with '-cpu host,+invtsc'"
            }
            Self::NoExec => "for 'record --exec', start the client with --allow-exec",
            Self::NoKvmEvents { .. } => "load the module kvm, or record without '-e kvm'",
            Self::NoTracefs { .. } => "mount it: mount -t tracefs nodev /sys/kernel/tracing",
            Self::StaleCode { .. } => {
                "use KVM, one vCPU or QEMU 8.1; 'log nochain' at QEMU's monitor wakes such a guest"
            }
            Self::Confined { .. } => "let its profile reach the directory of the FIFOs and sockets",
            Self::Qmp { .. } => "give the socket of QEMU's '-qmp' option, which nobody else uses",
        };
        text.to_owned()
    }
}
