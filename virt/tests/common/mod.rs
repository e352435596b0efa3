//! A host with guests in one process: connections to the server's socket stand for QEMUs, FIFOs for data ports.
#![allow(dead_code, missing_docs, clippy::unwrap_used, reason = "each test program uses a part")]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trace_transport::virtio_serial::PortDirs;
use trace_transport::{Deadline, Stream, unix};
use trace_virt::client::{
    Client, ClientOptions, ExecPolicy, GuestRecorder, GuestRecording, ReadyRecording, RecordingEnd,
    Refusal,
};
use trace_virt::host::{Finished, Guest, GuestSession, HostError, Sink, StartRequest};
use trace_virt::server::{Server, ServerOptions};
use trace_virt::setup::{GuestName, SetupOptions, VirtDir};

pub(crate) fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

/// How long a loaded machine may take for what takes no time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

/// A thread that runs until its pipe is closed.
pub(crate) struct Running {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(run: impl FnOnce(OwnedFd) + Send + 'static) -> Self {
        // Commands that are run meanwhile do not hold it open.
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let thread = std::thread::spawn(move || run(read));
        Self { stop: Some(write), thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.unwrap();
            }
        }
    }
}

/// A host with a set-up guest.
pub(crate) struct Lab {
    pub(crate) dir: VirtDir,
    pub(crate) names: Arc<Mutex<VecDeque<&'static str>>>,
    /// What QEMU does: keeps all FIFOs open both ways.
    pub(crate) fifos: Vec<File>,
    pub(crate) temp: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new(cpus: u32) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = VirtDir::new(temp.path().join("virt"));
        let mut lab = Self { dir, names: Arc::default(), fifos: Vec::new(), temp };
        let ports = lab.temp.path().join("ports");
        std::fs::create_dir(&ports).unwrap();
        lab.set_up("guest1", cpus);
        for cpu in 0..cpus {
            let fifo = lab.dir.data_fifo(&name("guest1"), cpu).unwrap();
            std::os::unix::fs::symlink(&fifo, ports.join(format!("trace-path-cpu{cpu}"))).unwrap();
        }
        lab
    }

    /// One more guest.
    pub(crate) fn set_up(&mut self, guest: &str, cpus: u32) {
        self.dir.setup(&name(guest), &SetupOptions { cpus, ..Default::default() }).unwrap();
        for cpu in 0..cpus {
            let fifo = self.dir.data_fifo(&name(guest), cpu).unwrap();
            self.fifos.push(File::options().read(true).write(true).open(&fifo).unwrap());
        }
    }

    pub(crate) fn server(&self) -> Running {
        let names = self.names.clone();
        let resolver = Box::new(move |process: &unix::PeerProcess| {
            assert_eq!(process.pid, std::process::id().cast_signed());
            let next = names.lock().unwrap().pop_front();
            match next {
                Some("") => None,
                next => Some(name(next.unwrap_or("guest1"))),
            }
        });
        let server = Server::bind_with(&self.dir, &ServerOptions::default(), resolver).unwrap();
        Running::start(move |stop| server.run(stop.as_fd(), &mut |_| {}).unwrap())
    }

    pub(crate) fn qemu(&self) -> Stream {
        unix::connect(&self.dir.agent_socket()).unwrap()
    }

    pub(crate) fn options(&self, exec: ExecPolicy) -> ClientOptions {
        let links = self.temp.path().join("ports");
        ClientOptions {
            exec,
            exec_user: None,
            version: "test 1.0".to_owned(),
            ports: PortDirs { links, class: "/nonexistent".into(), devices: "/nonexistent".into() },
        }
    }

    pub(crate) fn client(&self, exec: ExecPolicy, recorder: FakeRecorder) -> Running {
        let client = Client::over(self.qemu(), self.options(exec), Box::new(recorder)).unwrap();
        Running::start(move |stop| client.run(stop.as_fd(), &mut |_| {}).unwrap())
    }

    pub(crate) fn connect(&self) -> Result<Guest, HostError> {
        Guest::connect(&self.dir, &name("guest1"))
    }

    pub(crate) fn start(&self, request: &StartRequest) -> (GuestSession, Vec<PathBuf>) {
        let mut session = self.connect().unwrap().start(request).unwrap();
        let paths = self.collect(&mut session, None);
        (session, paths)
    }

    pub(crate) fn collect(&self, session: &mut GuestSession, quota: Option<u64>) -> Vec<PathBuf> {
        let paths: Vec<_> =
            (0..session.cpus).map(|cpu| self.temp.path().join(format!("cpu{cpu}"))).collect();
        let sink = |path: &PathBuf| Sink { to: File::create(path).unwrap().into(), offset: None };
        session.collect(paths.iter().map(sink).collect(), quota).unwrap();
        paths
    }
}

/// Writes numbered sub-buffers until it is stopped.
#[derive(Clone, Default)]
pub(crate) struct FakeRecorder {
    pub(crate) head: Vec<u8>,
    pub(crate) stopped: Arc<AtomicUsize>,
    pub(crate) aborted: Arc<AtomicUsize>,
    pub(crate) prepared: Arc<AtomicUsize>,
    /// Prepared, and put back before it began.
    pub(crate) undone: Arc<AtomicUsize>,
    pub(crate) started: Arc<AtomicUsize>,
    pub(crate) lie: i64,
}

pub(crate) struct FakeRecording {
    recorder: FakeRecorder,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<u64>>,
}

impl GuestRecorder for FakeRecorder {
    fn prepare(&mut self, args: &[String], data: Vec<OwnedFd>) -> Result<ReadyRecording, Refusal> {
        if let Some(event) = args.iter().find(|arg| arg.starts_with("no_such")) {
            return Err(Refusal::failed(format!("no event {event}")));
        }
        self.prepared.fetch_add(1, Ordering::SeqCst);
        // Counted back wherever it is dropped before it began.
        let mut undo = Undo { recorder: self.clone(), has_begun: false };
        let is_failing = args.iter().any(|arg| arg == "fails_to_begin");
        Ok(ReadyRecording::new(4096, move || {
            if is_failing {
                return Err(Refusal::failed("tracing stays off"));
            }
            undo.has_begun = true;
            let recorder = undo.recorder.clone();
            recorder.started.fetch_add(1, Ordering::SeqCst);
            let stop = Arc::new(AtomicBool::new(false));
            let writers = data
                .into_iter()
                .enumerate()
                .map(|(cpu, fd)| {
                    let stop = stop.clone();
                    std::thread::spawn(move || write_sub_buffers(cpu, fd, &stop))
                })
                .collect();
            Ok(Box::new(FakeRecording { recorder, stop, writers }))
        }))
    }
}

/// What was set up is put back.
struct Undo {
    recorder: FakeRecorder,
    has_begun: bool,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if !self.has_begun {
            self.recorder.undone.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl GuestRecording for FakeRecording {
    fn trace_id(&self) -> u64 {
        77
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        Ok(Box::new(Cursor::new(self.recorder.head.clone())))
    }

    fn stop(mut self: Box<Self>) -> Result<RecordingEnd, String> {
        self.recorder.stopped.fetch_add(1, Ordering::SeqCst);
        self.stop.store(true, Ordering::SeqCst);
        let lie = self.recorder.lie;
        let counts =
            self.writers.drain(..).map(|writer| writer.join().unwrap().saturating_add_signed(lie));
        Ok(RecordingEnd { bytes: counts.collect(), tail: b"tail".repeat(5000) })
    }

    fn abort(mut self: Box<Self>) {
        self.recorder.aborted.fetch_add(1, Ordering::SeqCst);
        self.stop.store(true, Ordering::SeqCst);
        for writer in self.writers.drain(..) {
            writer.join().unwrap();
        }
    }
}

pub(crate) fn sub_buffer(cpu: usize, number: u64) -> [u8; 4096] {
    let mut bytes = [cpu as u8; 4096];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

pub(crate) fn write_sub_buffers(cpu: usize, fd: OwnedFd, stop: &AtomicBool) -> u64 {
    let mut stream = Stream::new(fd, "data port").unwrap();
    let mut bytes = 0;
    // Each has sent something, even one that is stopped before it first ran.
    for number in 0.. {
        if number > 0 && stop.load(Ordering::SeqCst) {
            break;
        }
        let buffer = sub_buffer(cpu, number);
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            match stream.try_write(rest).unwrap() {
                Some(count) => {
                    bytes += count as u64;
                    rest = &rest[count..];
                }
                None if stop.load(Ordering::SeqCst) => return bytes,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bytes
}

pub(crate) fn assert_clean(finished: &Finished) {
    assert!(finished.problems.is_empty(), "{:?}", finished.problems);
}

pub(crate) fn check_data(paths: &[PathBuf], finished: &Finished) {
    for (cpu, path) in paths.iter().enumerate() {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes.len() as u64, finished.cpus[cpu].bytes);
        assert!(bytes.len() >= 4096, "CPU {cpu} sent nothing");
        for (number, chunk) in bytes.as_chunks::<4096>().0.iter().enumerate() {
            assert!(
                *chunk == sub_buffer(cpu, number as u64),
                "CPU {cpu}: sub-buffer {number} is not what was sent"
            );
        }
    }
}

pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Largest resident size of this process, in bytes.
pub(crate) fn high_water() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
