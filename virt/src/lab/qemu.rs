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

    /// The monitor of those who look after the guest.
    pub(super) fn watch_socket(&self) -> PathBuf {
        self.path.join("watch.sock")
    }

    /// The host's end of a port.
    pub(super) fn port_socket(&self, port: &str) -> PathBuf {
        self.path.join(format!("{port}.port"))
    }
}

/// Returns all arguments; `trace_ports` are those that the set-up of the guest asks for.
pub(super) fn arguments(
    options: &GuestOptions,
    trace_ports: Vec<String>,
    kernel: Option<&Path>,
    directory: &GuestDir,
) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    let path = |path: PathBuf| escape(&path.to_string_lossy());

    add(&["-name", &escape(&options.name), "-M", &options.machine]);
    match options.accel {
        Accel::Tcg => add(&["-accel", "tcg,thread=multi", "-cpu", "max"]),
        // A KVM that runs in a VM itself may refuse that register.
        Accel::Kvm => add(&["-accel", "kvm", "-cpu", "host,-arch-capabilities"]),
    }
    add(&["-smp", &options.cpus.to_string(), "-m", &options.memory_mb.to_string()]);
    add(&["-nodefaults", "-display", "none"]);
    if !options.reboot {
        add(&["-no-reboot"]);
    }
    add(&["-chardev", &format!("file,id=console,path={}", path(directory.console()))]);
    add(&["-serial", "chardev:console"]);
    for socket in [directory.qmp_socket(), directory.watch_socket()] {
        add(&["-qmp", &format!("unix:{},server=on,wait=off", path(socket))]);
    }
    if let Some(kernel) = kernel {
        add(&["-kernel", &kernel.to_string_lossy()]);
        add(&["-initrd", &directory.initramfs().to_string_lossy()]);
        add(&["-append", &format!("console=ttyS0 quiet panic=-1 {}", options.kernel_args)]);
    }

    add_words(&mut arguments, trace_ports);
    // A bus of its own leaves the others as the set-up describes them.
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

/// Returns the names of all virtio-serial ports that the guest starts with.
pub(super) fn port_names(arguments: &[OsString]) -> Vec<String> {
    let words = arguments.iter().filter_map(|word| word.to_str());
    let ports = words.filter_map(|word| word.strip_prefix("virtserialport,"));
    ports
        .filter_map(|port| port.split(',').find_map(|property| property.strip_prefix("name=")))
        .map(str::to_owned)
        .collect()
}

fn add_words(arguments: &mut Vec<OsString>, words: impl IntoIterator<Item = String>) {
    arguments.extend(words.into_iter().map(OsString::from));
}

/// QEMU takes a doubled comma for one that does not end a property.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &GuestOptions, trace_ports: &[&str]) -> String {
        let trace_ports = trace_ports.iter().map(|&word| word.to_owned()).collect();
        let directory = GuestDir::new("/tmp/a,b");
        let words = arguments(options, trace_ports, Some(Path::new("/boot/vmlinuz")), &directory);
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ports_of_the_lab_are_on_a_bus_behind_those_for_tracing() {
        let mut options = GuestOptions::new("guest1");
        options.extra_ports = vec!["marker".into()];
        let line = line(&options, &["-device", "virtio-serial-pci,id=trace-serial0"]);
        assert!(line.starts_with("-name guest1 "), "{line}");
        let expected = "id=trace-serial0 -device virtio-serial-pci,id=lab-serial ";
        assert!(line.contains(expected), "{line}");
        assert!(line.contains("bus=lab-serial.0,nr=2,chardev=lab2,name=marker"), "{line}");
    }

    #[test]
    fn all_ports_have_names_to_be_waited_for() {
        let mut options = GuestOptions::new("guest1");
        options.extra_ports = vec!["marker".into()];
        options.qemu_args = vec!["-device".into(), "virtserialport,nr=9,name=pipe0".into()];
        let words = arguments(&options, Vec::new(), None, &GuestDir::new("/tmp"));
        assert_eq!(port_names(&words), [SHELL_PORT, "marker", "pipe0"]);
    }

    #[test]
    fn commas_in_paths_do_not_end_a_property() {
        let line = line(&GuestOptions::new("g"), &[]);
        assert!(line.contains("path=/tmp/a,,b/lab-shell.port,server=on"), "{line}");
    }
}
