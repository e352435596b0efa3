//! Asks the server of this host who its guests are: `server_status [DIR]`.

use std::error::Error;
use std::path::Path;

use trace_virt::host;
use trace_virt::setup::VirtDir;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1);
    let dir = VirtDir::locate(directory.as_deref().map(Path::new));
    for guest in dir.guests()? {
        println!("{guest} is set up with {} CPUs", dir.cpus(&guest)?);
    }
    for guest in host::status(&dir)? {
        println!("{} is there ({:?}), its QEMU is process {}", guest.name, guest.state, guest.qemu);
        if let Some(client) = &guest.client {
            println!("    client {} with {} CPUs", client.version, client.cpus);
        }
        if let Some(session) = &guest.session {
            println!("    process {} records it: {} bytes so far", session.pid, session.bytes);
        }
    }
    Ok(())
}
