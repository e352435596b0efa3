//! What a running VM has for virtio-serial, asked of its QEMU.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{CONTROL_PORT, DATA_PORTS};
use crate::qmp::{Qmp, QmpError};

/// A virtio-serial port of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachinePort {
    pub(crate) name: String,
    pub(crate) chardev: String,
    /// Name of the bus it is on.
    pub(crate) bus: String,
}

/// A virtio-serial controller that has a name, so that ports can be added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) id: String,
    pub(crate) max_ports: u32,
}

impl Controller {
    pub(crate) fn bus(&self) -> String {
        format!("{}.0", self.id)
    }
}

/// Ports, controllers and character devices of a VM.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) ports: Vec<MachinePort>,
    pub(crate) controllers: Vec<Controller>,
    /// From label to what QEMU says it is, such as `unix:PATH` or `pipe`.
    pub(crate) chardevs: BTreeMap<String, String>,
}

impl Machine {
    pub(crate) fn read(qmp: &mut Qmp) -> Result<Self, QmpError> {
        let mut machine = Self::default();
        for parent in ["/machine/peripheral", "/machine/peripheral-anon"] {
            let children = qmp.execute("qom-list", &json!({ "path": parent }))?;
            for child in children.as_array().into_iter().flatten() {
                let (Some(id), Some(kind)) = (text(child, "name"), text(child, "type")) else {
                    continue;
                };
                let path = format!("{parent}/{id}");
                if kind.starts_with("child<virtio-serial") {
                    let max_ports = property(qmp, &path, "max_ports")?;
                    let max_ports = max_ports.as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0);
                    // Without an id of its own its bus cannot be told from others.
                    if parent == "/machine/peripheral" {
                        machine.controllers.push(Controller { id: id.to_owned(), max_ports });
                    }
                } else if matches!(kind, "child<virtserialport>" | "child<virtconsole>") {
                    let mut get = |name| {
                        let value = property(qmp, &path, name)?;
                        Ok(value.as_str().unwrap_or_default().to_owned())
                    };
                    let (name, chardev, bus) = (get("name")?, get("chardev")?, get("parent_bus")?);
                    let bus = bus.rsplit('/').next().unwrap_or_default().to_owned();
                    machine.ports.push(MachinePort { name, chardev, bus });
                }
            }
        }
        let chardevs = qmp.execute("query-chardev", &json!({}))?;
        for chardev in chardevs.as_array().into_iter().flatten() {
            if let (Some(label), Some(what)) = (text(chardev, "label"), text(chardev, "filename")) {
                machine.chardevs.insert(label.to_owned(), what.to_owned());
            }
        }
        Ok(machine)
    }

    /// The port of this name; a CPU's may have either of its names.
    pub(crate) fn port(&self, cpu: Option<u32>) -> Option<&MachinePort> {
        match cpu {
            None => self.ports.iter().find(|port| port.name == CONTROL_PORT),
            Some(cpu) => self
                .ports
                .iter()
                .find(|port| DATA_PORTS.iter().any(|prefix| port.name == format!("{prefix}{cpu}"))),
        }
    }

    /// Where a socket port leads, if it is one. While it is connected QEMU does not tell.
    pub(crate) fn socket_of(&self, port: &MachinePort) -> Option<&str> {
        let what = self.chardevs.get(&port.chardev)?;
        let what = what.strip_prefix("disconnected:").unwrap_or(what);
        let path = what.strip_prefix("unix:")?;
        path.split(',').next().filter(|path| !path.is_empty())
    }

    /// How many more ports a controller takes: number 0 is the console's.
    pub(crate) fn room(&self, controller: &Controller) -> u32 {
        let bus = controller.bus();
        let used = self.ports.iter().filter(|port| port.bus == bus).count();
        controller.max_ports.saturating_sub(1).saturating_sub(used.try_into().unwrap_or(u32::MAX))
    }
}

/// Ids of PCIe ports that have nothing behind them, where a device can be added while the VM runs.
pub(super) fn free_pcie_ports(qmp: &mut Qmp) -> Result<Vec<String>, QmpError> {
    const BRIDGE: u64 = 0x0604;
    let buses = qmp.execute("query-pci", &json!({}))?;
    let devices =
        buses.as_array().into_iter().flatten().filter_map(|bus| bus["devices"].as_array());
    let free = devices.flatten().filter(|device| {
        device["class_info"]["class"].as_u64() == Some(BRIDGE)
            && device["pci_bridge"]["devices"].as_array().is_none_or(Vec::is_empty)
    });
    Ok(free
        .filter_map(|device| text(device, "qdev_id"))
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .collect())
}

/// A property of a device; null where this kind of device has none of the name.
fn property(qmp: &mut Qmp, path: &str, name: &str) -> Result<Value, QmpError> {
    match qmp.execute("qom-get", &json!({ "path": path, "property": name })) {
        Err(QmpError::Refused { .. }) => Ok(Value::Null),
        result => result,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, chardev: &str, bus: &str) -> MachinePort {
        MachinePort { name: name.into(), chardev: chardev.into(), bus: bus.into() }
    }

    #[test]
    fn ports_are_found_under_both_names_and_take_room() {
        let controller = Controller { id: "c".into(), max_ports: 4 };
        let machine = Machine {
            ports: vec![port("agent-ctl-path", "a", "c.0"), port("trace-pipe-cpu1", "b", "c.0")],
            controllers: vec![controller.clone()],
            chardevs: [("a", "disconnected:unix:/v/agent-ctl-path"), ("b", "pipe")]
                .map(|(label, what)| (label.to_owned(), what.to_owned()))
                .into(),
        };
        assert_eq!(machine.port(Some(1)).unwrap().chardev, "b");
        assert_eq!(machine.port(Some(0)), None);
        let control = machine.port(None).unwrap();
        assert_eq!(machine.socket_of(control), Some("/v/agent-ctl-path"));
        assert_eq!(machine.socket_of(machine.port(Some(1)).unwrap()), None);
        let connected = [("a".to_owned(), "unix:".to_owned())].into();
        let machine = Machine { chardevs: connected, ..machine };
        assert_eq!(machine.socket_of(machine.port(None).unwrap()), None);
        assert_eq!(machine.room(&controller), 1);
    }
}
