//! QEMU's command line for a guest.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::options::{Accel, GuestOptions};

/// The port over which the guest's init script takes commands.
pub(super) const SHELL_PORT: &str = "lab-shell";

/// Where things of one running guest are.
#[derive(Debug)]
pub(super) struct GuestDir {
    path: PathBuf,
}

impl GuestDir {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The guest's serial console.
    pub(super) fn console(&self) -> PathBuf {
        self.path.join("console.log")
    }

    /// What QEMU says.
    pub(super) fn messages(&self) -> PathBuf {
        self.path.join("qemu.log")
    }

    pub(super) fn initramfs(&self) -> PathBuf {
        self.path.join("initramfs")
    }

    pub(super) fn qmp_socket(&self) -> PathBuf {
        self.path.join("qmp.sock")
    }

    /// The host's end of a port.
    pub(super) fn port_socket(&self, port: &str) -> PathBuf {
        self.path.join(format!("{port}.port"))
    }
}

/// Returns all arguments. The trace ports' FIFOs have to exist when QEMU starts.
pub(super) fn arguments(
    options: &GuestOptions,
    kernel: &Path,
    directory: &GuestDir,
) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    let path = |path: PathBuf| escape(&path.to_string_lossy());

    add(&["-name", &escape(&options.name), "-M", &options.machine]);
    match options.accel {
        Accel::Tcg => add(&["-accel", "tcg,thread=multi", "-cpu", "max"]),
        Accel::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
    }
    add(&["-smp", &options.cpus.to_string(), "-m", &options.memory_mb.to_string()]);
    add(&["-nodefaults", "-display", "none"]);
    if !options.reboot {
        add(&["-no-reboot"]);
    }
    add(&["-chardev", &format!("file,id=console,path={}", path(directory.console()))]);
    add(&["-serial", "chardev:console"]);
    add(&["-qmp", &format!("unix:{},server=on,wait=off", path(directory.qmp_socket()))]);
    add(&["-kernel", &kernel.to_string_lossy()]);
    add(&["-initrd", &directory.initramfs().to_string_lossy()]);
    add(&["-append", &format!("console=ttyS0 quiet panic=-1 {}", options.kernel_args)]);

    // A bus of its own leaves the first one as virt-server's set-up describes it.
    if let Some(virt_dir) = &options.virt_dir {
        add_words(&mut arguments, trace_ports(virt_dir, options));
    }
    add_words(&mut arguments, ["-device".into(), "virtio-serial-pci,id=lab-serial".into()]);
    let ports = [SHELL_PORT].into_iter().chain(options.extra_ports.iter().map(String::as_str));
    for (number, name) in (1..).zip(ports) {
        let socket = path(directory.port_socket(name));
        add_words(
            &mut arguments,
            [
                "-chardev".into(),
                format!("socket,id=lab{number},path={socket},server=on,wait=off"),
                "-device".into(),
                format!(
                    "virtserialport,bus=lab-serial.0,nr={number},chardev=lab{number},name={name}"
                ),
            ],
        );
    }
    add_words(&mut arguments, options.qemu_args.iter().cloned());
    arguments
}

fn add_words(arguments: &mut Vec<OsString>, words: impl IntoIterator<Item = String>) {
    arguments.extend(words.into_iter().map(OsString::from));
}

/// The control port and one data port for each vCPU.
fn trace_ports(virt_dir: &Path, options: &GuestOptions) -> Vec<String> {
    let port = |number: u32, chardev: String, name: &str| {
        let device = format!(
            "virtserialport,bus=virtio-serial0.0,nr={number},chardev=charchannel{number},name={name}"
        );
        ["-chardev".to_owned(), chardev, "-device".to_owned(), device]
    };
    let control = escape(&virt_dir.join("agent-ctl-path").to_string_lossy());
    let mut words = vec!["-device".to_owned(), "virtio-serial-pci,id=virtio-serial0".to_owned()];
    // With `reconnect`, QEMU starts without a server, and comes back to it.
    let chardev = format!("socket,id=charchannel1,path={control},reconnect=1");
    words.extend(port(1, chardev, "agent-ctl-path"));
    for cpu in 0..options.cpus {
        let name = format!("trace-path-cpu{cpu}");
        let fifo = escape(&virt_dir.join(&options.name).join(&name).to_string_lossy());
        let chardev = format!("pipe,id=charchannel{},path={fifo}", cpu + 2);
        words.extend(port(cpu + 2, chardev, &name));
    }
    words
}

/// QEMU takes a doubled comma for one that does not end a property.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &GuestOptions) -> String {
        let words = arguments(options, Path::new("/boot/vmlinuz"), &GuestDir::new("/tmp/a,b"));
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_vcpu_gets_a_data_port() {
        let mut options = GuestOptions::new("guest1");
        options.cpus = 2;
        options.virt_dir = Some("/virt".into());
        let line = line(&options);
        for expected in [
            "-name guest1 ",
            "-chardev socket,id=charchannel1,path=/virt/agent-ctl-path,reconnect=1 ",
            "nr=1,chardev=charchannel1,name=agent-ctl-path ",
            "-chardev pipe,id=charchannel2,path=/virt/guest1/trace-path-cpu0 ",
            "-chardev pipe,id=charchannel3,path=/virt/guest1/trace-path-cpu1 ",
            "nr=3,chardev=charchannel3,name=trace-path-cpu1 ",
        ] {
            assert!(line.contains(expected), "{expected} in {line}");
        }
    }

    #[test]
    fn commas_in_paths_do_not_end_a_property() {
        assert!(line(&GuestOptions::new("g")).contains("path=/tmp/a,,b/lab-shell.port,server=on"));
    }
}
