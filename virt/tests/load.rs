//! Many guests on one server at the same time: each has all of its data, and memory stays bounded.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{FakeRecorder, Lab, Running, assert_clean, check_data, high_water, name};
use trace_transport::virtio_serial::PortDirs;
use trace_virt::client::{Client, ClientOptions};
use trace_virt::host::{self, Guest, GuestSession, GuestState, Sink, StartRequest};

const NAMES: [&str; 32] = [
    "g01", "g02", "g03", "g04", "g05", "g06", "g07", "g08", "g09", "g10", "g11", "g12", "g13",
    "g14", "g15", "g16", "g17", "g18", "g19", "g20", "g21", "g22", "g23", "g24", "g25", "g26",
    "g27", "g28", "g29", "g30", "g31", "g32",
];
const CPUS: u32 = 2;
/// Bytes of trace data that each has to bring.
const ENOUGH: u64 = 256 << 10;
/// What server, clients and sessions of a guest may take together.
const MEMORY_OF_GUEST: u64 = 2 << 20;
/// Generous, as the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A guest whose ports are the FIFOs that the host reads.
fn boot(lab: &mut Lab, guest: &'static str) -> Running {
    lab.set_up(guest, CPUS);
    let links = lab.temp.path().join(format!("ports-{guest}"));
    std::fs::create_dir(&links).unwrap();
    for cpu in 0..CPUS {
        let fifo = lab.dir.data_fifo(&name(guest), cpu).unwrap();
        std::os::unix::fs::symlink(&fifo, links.join(format!("trace-path-cpu{cpu}"))).unwrap();
    }
    let nowhere = PathBuf::from("/nonexistent");
    let options = ClientOptions {
        ports: PortDirs { links, class: nowhere.clone(), devices: nowhere },
        ..ClientOptions::default()
    };
    // Connections are taken in the order they are made.
    lab.names.lock().unwrap().push_back(guest);
    let recorder = FakeRecorder { head: b"head".repeat(50_000), ..Default::default() };
    let client = Client::over(lab.qemu(), options, Box::new(recorder)).unwrap();
    Running::start(move |stop| client.run(stop.as_fd(), &mut |_| {}).unwrap())
}

fn start(lab: &Lab, guest: &str, out: &Path) -> (GuestSession, Vec<PathBuf>) {
    let guest_of_host = Guest::connect(&lab.dir, &name(guest)).unwrap();
    let mut session = guest_of_host.start(&StartRequest::default()).unwrap();
    let paths: Vec<_> = (0..CPUS).map(|cpu| out.join(format!("{guest}.cpu{cpu}"))).collect();
    let sinks =
        paths.iter().map(|path| Sink { to: File::create(path).unwrap().into(), offset: None });
    session.collect(sinks.collect(), None).unwrap();
    (session, paths)
}

#[test]
fn thirty_two_guests_are_recorded_at_once() {
    let mut lab = Lab::new(1);
    let _server = lab.server();
    // The highest so far starts over, where the kernel lets it.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = high_water();
    let _clients: Vec<_> = NAMES.iter().map(|guest| boot(&mut lab, guest)).collect();
    let are_ready = || {
        let guests = host::list(&lab.dir).unwrap();
        guests.iter().filter(|guest| guest.state == GuestState::Ready).count() == NAMES.len()
    };
    until("all answer", are_ready);
    let out = tempfile::tempdir().unwrap();
    let sessions: Vec<_> = NAMES.iter().map(|guest| start(&lab, guest, out.path())).collect();
    until("all have brought something", || {
        sessions.iter().all(|(session, _)| session.bytes() >= ENOUGH)
    });
    let finished: Vec<_> =
        sessions.into_iter().map(|(session, paths)| (session.close().unwrap(), paths)).collect();
    // Before the test itself reads what came.
    let each = high_water().saturating_sub(before) / NAMES.len() as u64;
    let mut bytes = 0;
    for (finished, paths) in finished {
        assert_clean(&finished);
        check_data(&paths, &finished);
        bytes += finished.cpus.iter().map(|cpu| cpu.bytes).sum::<u64>();
    }
    println!("{} guests, {} MiB, {} KiB of memory for each", NAMES.len(), bytes >> 20, each >> 10);
    assert!(each < MEMORY_OF_GUEST, "{each} bytes for each");
}
