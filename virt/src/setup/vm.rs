//! What the VM's configuration needs: controllers, the control port, a data port per CPU.

use std::path::Path;

use super::{CONTROL_PORT, DATA_PORTS, GuestName, MAX_CPUS, SetupError, VirtDir, fifos};

/// Usable ports of a virtio-serial controller: it has 31, and number 0 is the console's.
pub(super) const PORTS_PER_CONTROLLER: u32 = 30;
/// Ids of ours in QEMU, each followed by a number.
pub(super) const CONTROLLER: &str = "trace-serial";
pub(super) const CHARDEV: &str = "trace-char";
pub(super) const PORT: &str = "trace-port";

/// One port, in the order the guest gets them: the control port, then CPU 0, 1 ….
pub(super) struct Port {
    controller: u32,
    number: u32,
    /// `None` for the control port.
    pub(super) data: Option<String>,
}

pub(super) fn ports(dir: &Path, cpus: u32) -> Result<Vec<Port>, SetupError> {
    if cpus == 0 || cpus > MAX_CPUS {
        return Err(SetupError::Cpus { cpus });
    }
    let port = |index: u32, data| Port {
        controller: index / PORTS_PER_CONTROLLER,
        number: index % PORTS_PER_CONTROLLER + 1,
        data,
    };
    let mut ports = vec![port(0, None)];
    for cpu in 0..cpus {
        let name = fifos::data_name(dir, cpu).unwrap_or_else(|| format!("{}{cpu}", DATA_PORTS[0]));
        ports.push(port(cpu + 1, Some(name)));
    }
    Ok(ports)
}

pub(super) fn qemu_args(
    dir: &VirtDir,
    guest: &GuestName,
    cpus: u32,
) -> Result<Vec<String>, SetupError> {
    let guest_dir = dir.guest_dir(guest);
    let control = option_path(&dir.agent_socket())?;
    let mut args = Vec::new();
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    for (index, port) in ports(&guest_dir, cpus)?.into_iter().enumerate() {
        let controller = format!("{CONTROLLER}{}", port.controller);
        if port.number == 1 {
            option("-device", format!("virtio-serial-pci,id={controller}"));
        }
        let chardev = format!("{CHARDEV}{index}");
        let name = match port.data {
            None => {
                // The server may start later, stop and come back.
                option("-chardev", format!("socket,id={chardev},path={control},reconnect=1"));
                CONTROL_PORT.to_owned()
            }
            Some(name) => {
                let path = option_path(&guest_dir.join(&name))?;
                option("-chardev", format!("pipe,id={chardev},path={path}"));
                name
            }
        };
        option(
            "-device",
            format!(
                "virtserialport,bus={controller}.0,nr={},chardev={chardev},id={PORT}{index},name={name}",
                port.number
            ),
        );
    }
    Ok(args)
}

/// A channel of a libvirt domain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Channel {
    /// What the port is called in the guest.
    pub name: String,
    /// Where it leads: a socket, or FIFOs without the direction.
    pub path: String,
    /// The element for `<devices>`.
    pub xml: String,
}

impl Channel {
    /// Its name, and what a CPU's may be called besides.
    pub(crate) fn names(&self) -> Vec<String> {
        let cpu = DATA_PORTS.iter().find_map(|prefix| self.name.strip_prefix(prefix));
        let others = cpu.into_iter().flat_map(|cpu| DATA_PORTS.map(|port| format!("{port}{cpu}")));
        std::iter::once(self.name.clone()).chain(others).collect()
    }
}

/// Controllers and addresses are left to libvirt, which adds controllers as ports run out: the domain may have channels
/// of its own, whose places are not known here.
pub(super) fn libvirt_channels(
    dir: &VirtDir,
    guest: &GuestName,
    cpus: u32,
) -> Result<Vec<Channel>, SetupError> {
    let guest_dir = dir.guest_dir(guest);
    // libvirt would change the owner of the socket, and does not start the VM where there is none yet. That of a user
    // changes no owners, and does not know the word.
    let label = match nix::unistd::geteuid().is_root() {
        true => "    <seclabel model='dac' relabel='no'/>\n",
        false => "",
    };
    let channel = |port: Port| match port.data {
        // `reconnect` lets the server start later, stop and come back.
        None => {
            let path = plain(&dir.agent_socket())?.to_owned();
            let xml = format!(
                "<channel type='unix'>\n  <source mode='connect' path='{}'>\n    \
                 <reconnect enabled='yes' timeout='1'/>\n{label}  </source>\n  \
                 <target type='virtio' name='{CONTROL_PORT}'/>\n</channel>\n",
                escaped(&path),
            );
            Ok(Channel { name: CONTROL_PORT.to_owned(), path, xml })
        }
        Some(name) => {
            let path = plain(&guest_dir.join(&name))?.to_owned();
            let xml = format!(
                "<channel type='pipe'>\n  <source path='{}'/>\n  <target type='virtio' name='{name}'/>\n</channel>\n",
                escaped(&path),
            );
            Ok(Channel { name, path, xml })
        }
    };
    ports(&guest_dir, cpus)?.into_iter().map(channel).collect()
}

/// QEMU doubles a comma that is part of a value.
fn option_path(path: &Path) -> Result<String, SetupError> {
    Ok(plain(path)?.replace(',', ",,"))
}

fn escaped(path: &str) -> String {
    path.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;")
}

pub(super) fn plain(path: &Path) -> Result<&str, SetupError> {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(text),
        _ => Err(SetupError::Path { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemu_gets_a_socket_and_a_pipe_per_cpu() {
        let dir = VirtDir::new("/v,d");
        let args = qemu_args(&dir, &GuestName::new("g1").unwrap(), 2).unwrap();
        assert_eq!(
            args,
            [
                "-device",
                "virtio-serial-pci,id=trace-serial0",
                "-chardev",
                "socket,id=trace-char0,path=/v,,d/agent-ctl-path,reconnect=1",
                "-device",
                "virtserialport,bus=trace-serial0.0,nr=1,chardev=trace-char0,id=trace-port0,name=agent-ctl-path",
                "-chardev",
                "pipe,id=trace-char1,path=/v,,d/g1/trace-path-cpu0",
                "-device",
                "virtserialport,bus=trace-serial0.0,nr=2,chardev=trace-char1,id=trace-port1,name=trace-path-cpu0",
                "-chardev",
                "pipe,id=trace-char2,path=/v,,d/g1/trace-path-cpu1",
                "-device",
                "virtserialport,bus=trace-serial0.0,nr=3,chardev=trace-char2,id=trace-port2,name=trace-path-cpu1",
            ]
        );
    }

    #[test]
    fn many_cpus_get_more_controllers_and_no_port_twice() {
        let args = qemu_args(&VirtDir::default(), &GuestName::new("g").unwrap(), 64).unwrap();
        let controllers: Vec<_> =
            args.iter().filter(|a| a.starts_with("virtio-serial-pci")).collect();
        assert_eq!(controllers.len(), 3);
        let mut places: Vec<_> = args
            .iter()
            .filter_map(|a| a.strip_prefix("virtserialport,"))
            .map(|a| a.split(",chardev").next().unwrap())
            .collect();
        assert_eq!(places.len(), 65);
        assert!(!places.iter().any(|p| p.ends_with("nr=0") || p.ends_with("nr=31")));
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 65);
    }

    #[test]
    fn libvirt_gets_all_cpus_and_escaped_paths() {
        let dir = VirtDir::new("/a'b&c");
        let xml = dir.libvirt_xml(&GuestName::new("g<1").unwrap(), 33).unwrap();
        assert_eq!(xml.matches("<channel type='pipe'>").count(), 33);
        assert!(xml.contains("path='/a&apos;b&amp;c/g&lt;1/trace-path-cpu32'"), "{xml}");
        assert!(
            xml.contains("<source mode='connect' path='/a&apos;b&amp;c/agent-ctl-path'>"),
            "{xml}"
        );
    }
}
