//! What QEMU's monitor says to a client.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use trace_virt::qmp::Qmp;

/// The greeting, and the answers to everything that is asked.
///
/// # Panics
/// When the list of vCPUs is not in their order.
pub fn run(data: &[u8]) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let socket = temp.path().join("qmp");
    let listener = UnixListener::bind(&socket).expect("a socket in it");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Ok((mut stream, _)) = listener.accept() else { return };
            // Who does not like the beginning does not wait for the rest.
            let _ = stream.write_all(data);
            let _ = stream.shutdown(Shutdown::Write);
            let mut asked = Vec::new();
            let _ = stream.read_to_end(&mut asked);
        });
        let mut qmp = match Qmp::connect(&socket, Duration::from_secs(20)) {
            Ok(qmp) => qmp,
            Err(error) => return drop(std::hint::black_box(error.to_string())),
        };
        match qmp.cpus() {
            Ok(cpus) => assert!(cpus.is_sorted_by_key(|cpu| cpu.vcpu), "{cpus:?}"),
            Err(error) => drop(std::hint::black_box(error.to_string())),
        }
    });
}
