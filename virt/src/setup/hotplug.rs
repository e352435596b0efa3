//! Adds to a running VM the ports that it lacks; what fails half-way is taken back.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::machine::{self, Machine};
use super::{CONTROL_PORT, GuestName, SetupError, VirtDir, vm};
use crate::qmp::{Qmp, QmpError};

/// How long a removed port may keep its character device.
const RELEASE_TIME: Duration = Duration::from_secs(60);
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// Why ports could not be added to a running VM.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HotplugError {
    /// The names of the ports cannot be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// QEMU could not be asked what is there.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// The socket is that of another VM.
    #[error("the VM is {found:?}: its server would not know it as {guest}")]
    OtherVm {
        /// The guest to set up.
        guest: String,
        /// What QEMU says.
        found: String,
    },
    /// The VM has a control port that leads to another server.
    #[error("the VM's port {CONTROL_PORT} leads to {path}")]
    Elsewhere {
        /// The path of its socket.
        path: String,
    },
    /// Neither the VM's controllers nor its buses take what is missing.
    #[error(
        "the VM has no room for {missing} more ports ({room} are free, and it takes no further controller{why})"
    )]
    NoRoom {
        /// How many ports are missing.
        missing: usize,
        /// How many it could take.
        room: usize,
        /// QEMU's own words.
        why: String,
    },
    /// QEMU refused a port.
    #[error("adding port {port} ({})", taken_back(left))]
    Port {
        /// The port.
        port: String,
        /// What QEMU said.
        source: Box<QmpError>,
        /// Things that were added and could not be taken back.
        left: Vec<String>,
    },
}

fn taken_back(left: &[String]) -> String {
    match left {
        [] => "what was added before is taken back".to_owned(),
        left => format!("these could not be taken back: {}", left.join(", ")),
    }
}

/// What adding ports did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HotplugReport {
    /// Ports added now.
    pub added: Vec<String>,
    /// Ports that were there.
    pub existing: Vec<String>,
    /// Controllers added for them.
    pub controllers: Vec<String>,
}

impl VirtDir {
    /// Adds the ports that a running VM lacks. Its FIFOs have to be there. Running it twice changes nothing.
    ///
    /// # Errors
    ///
    /// The VM is another one or has no room, or QEMU refuses; nothing is left half added then.
    pub fn hotplug(
        &self,
        guest: &GuestName,
        cpus: u32,
        qmp: &mut Qmp,
    ) -> Result<HotplugReport, HotplugError> {
        let ports = vm::ports(&self.guest_dir(guest), cpus)?;
        let name = qmp.execute("query-name", &json!({}))?;
        let name = name.get("name").and_then(Value::as_str).unwrap_or_default();
        if name != guest.as_str() {
            let (guest, found) = (guest.to_string(), name.to_owned());
            return Err(HotplugError::OtherVm { guest, found });
        }
        let machine = Machine::read(qmp)?;
        let socket = vm::plain(&self.agent_socket())?.to_owned();
        let leads_to = machine.port(None).and_then(|port| machine.socket_of(port));
        if let Some(path) = leads_to.filter(|&path| path != socket) {
            return Err(HotplugError::Elsewhere { path: path.to_owned() });
        }

        let mut report = HotplugReport::default();
        let mut missing = Vec::new();
        for (index, port) in ports.into_iter().enumerate() {
            let name = port.data.clone().unwrap_or_else(|| CONTROL_PORT.to_owned());
            let cpu = index.checked_sub(1).and_then(|cpu| cpu.try_into().ok());
            match machine.port(cpu) {
                Some(port) => report.existing.push(port.name.clone()),
                None => {
                    let backend = match &port.data {
                        None => socket_backend(&socket, json!({ "reconnect": 1 })),
                        Some(name) => pipe_backend(vm::plain(&self.guest_dir(guest).join(name))?),
                    };
                    missing.push(Missing { index, name, backend });
                }
            }
        }
        let mut adding = Adding { qmp, machine, added: Vec::new() };
        let buses = adding.find_room(missing.len())?;
        report.controllers =
            adding.added.iter().filter_map(Added::controller).map(str::to_owned).collect();
        for (port, bus) in missing.into_iter().zip(buses) {
            if let Err(source) = adding.port(&port, &bus) {
                let left = adding.take_back();
                return Err(HotplugError::Port { port: port.name, source: source.into(), left });
            }
            report.added.push(port.name);
        }
        Ok(report)
    }
}

struct Missing {
    index: usize,
    name: String,
    backend: Value,
}

fn pipe_backend(path: &str) -> Value {
    json!({ "type": "pipe", "data": { "device": path } })
}

/// The server may start later, stop and come back: `reconnect` says so.
fn socket_backend(path: &str, reconnect: Value) -> Value {
    let mut data = reconnect;
    data["addr"] = json!({ "type": "unix", "data": { "path": path } });
    data["server"] = json!(false);
    json!({ "type": "socket", "data": data })
}

enum Added {
    Controller(String),
    Chardev(String),
    Port(String),
}

impl Added {
    fn controller(&self) -> Option<&str> {
        match self {
            Self::Controller(id) => Some(id),
            _ => None,
        }
    }
}

/// Remembers what was added, to take it back.
struct Adding<'a> {
    qmp: &'a mut Qmp,
    machine: Machine,
    added: Vec<Added>,
}

impl Adding<'_> {
    /// A bus for each missing port: those of our controllers, then of new ones, then of any that the VM has.
    fn find_room(&mut self, missing: usize) -> Result<Vec<String>, HotplugError> {
        let rooms = |machine: &Machine, own: bool| -> Vec<String> {
            let controllers = machine.controllers.iter();
            let wanted = controllers.filter(|c| c.id.starts_with(vm::CONTROLLER) == own);
            let buses = wanted.map(|c| std::iter::repeat_n(c.bus(), machine.room(c) as usize));
            buses.flatten().take(missing).collect()
        };
        let mut buses = rooms(&self.machine, true);
        let mut why = String::new();
        while buses.len() < missing {
            match self.controller() {
                Ok(bus) => {
                    buses.extend(std::iter::repeat_n(bus, vm::PORTS_PER_CONTROLLER as usize));
                }
                Err(QmpError::Refused { description, .. }) => {
                    why = format!(": {description}");
                    break;
                }
                Err(error) => {
                    self.take_back();
                    return Err(error.into());
                }
            }
        }
        buses.extend(rooms(&self.machine, false));
        if buses.len() < missing {
            self.take_back();
            return Err(HotplugError::NoRoom { missing, room: buses.len(), why });
        }
        Ok(buses)
    }

    /// Adds a controller and returns its bus. Machines with PCIe take it behind a free port only.
    fn controller(&mut self) -> Result<String, QmpError> {
        let taken = |id: &str| {
            let added = self.added.iter().filter_map(Added::controller);
            self.machine.controllers.iter().map(|c| c.id.as_str()).chain(added).any(|c| c == id)
        };
        let id = (0..).map(|n| format!("{}{n}", vm::CONTROLLER)).find(|id| !taken(id));
        let id = id.unwrap_or_default();
        let mut arguments = json!({ "driver": "virtio-serial-pci", "id": id });
        // One that was filled a moment ago may still be listed as free: QEMU refuses it then.
        if let Some(port) = machine::free_pcie_ports(self.qmp)?.into_iter().next() {
            arguments["bus"] = port.into();
        }
        self.qmp.execute("device_add", &arguments)?;
        let bus = format!("{id}.0");
        self.added.push(Added::Controller(id));
        Ok(bus)
    }

    fn port(&mut self, port: &Missing, bus: &str) -> Result<(), QmpError> {
        let chardev = format!("{}{}", vm::CHARDEV, port.index);
        let in_use = self.machine.ports.iter().any(|port| port.chardev == chardev);
        if !in_use && self.machine.chardevs.contains_key(&chardev) {
            // Left by somebody who did not get as far as the port.
            self.qmp.execute("chardev-remove", &json!({ "id": chardev }))?;
        }
        self.chardev(&chardev, &port.backend)?;
        self.added.push(Added::Chardev(chardev.clone()));
        let id = format!("{}{}", vm::PORT, port.index);
        let device = json!({
            "driver": "virtserialport", "bus": bus, "chardev": chardev, "id": id, "name": port.name,
        });
        self.qmp.execute("device_add", &device)?;
        self.added.push(Added::Port(id));
        Ok(())
    }

    fn chardev(&mut self, id: &str, backend: &Value) -> Result<(), QmpError> {
        let add = |qmp: &mut Qmp, backend: &Value| {
            qmp.execute("chardev-add", &json!({ "id": id, "backend": backend })).map(drop)
        };
        match add(self.qmp, backend) {
            // Newer QEMUs count in milliseconds, under another name.
            Err(QmpError::Refused { description, .. }) if description.contains("reconnect") => {
                let path = backend["data"]["addr"]["data"]["path"].as_str().unwrap_or_default();
                add(self.qmp, &socket_backend(path, json!({ "reconnect-ms": 1000 })))
            }
            result => result,
        }
    }

    /// Removes what was added, last first, and returns what stays.
    fn take_back(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        while let Some(added) = self.added.pop() {
            let (command, id) = match added {
                Added::Chardev(id) => ("chardev-remove", id),
                Added::Controller(id) | Added::Port(id) => ("device_del", id),
            };
            if self.remove(command, &id).is_err() {
                left.push(id);
            }
        }
        left
    }

    /// A device lets go of its character device a moment after it is removed.
    fn remove(&mut self, command: &str, id: &str) -> Result<(), QmpError> {
        let end = Instant::now() + RELEASE_TIME;
        loop {
            match self.qmp.execute(command, &json!({ "id": id })) {
                Err(QmpError::Refused { .. }) if Instant::now() < end => {
                    thread::sleep(RELEASE_PAUSE);
                }
                result => return result.map(drop),
            }
        }
    }
}
