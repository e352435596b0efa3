//! Sub-buffers of a guest to files of its host: a whole session of client, server and host tool, where FIFOs stand
//! for the data ports.

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::unistd::pipe;
use tempfile::TempDir;
use trace_transport::virtio_serial::PortDirs;
use trace_transport::{Deadline, Stream, unix};
use trace_virt::client::{
    Client, ClientOptions, GuestRecorder, GuestRecording, ReadyRecording, RecordingEnd, Refusal,
};
use trace_virt::host::{Guest, HostError, Sink, StartRequest};
use trace_virt::server::{Server, ServerOptions};
use trace_virt::setup::{GuestName, SetupOptions, VirtDir};

use super::Work;
use crate::Outcome;
use crate::workload::Traces;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    let source = traces.all().next().ok_or("no trace")?;
    let (metadata, trace) = (source.open()?.metadata, &source.trace);
    let cpus: Vec<Arc<[u8]>> = trace.cpus(&metadata).map(Arc::from).collect();
    let host = Host::new(cpus)?;
    let (events, bytes) = (trace.events, trace.data_bytes);
    let run = move || assert_eq!(host.record().expect("a session"), bytes);
    Ok(vec![Work::new("fifos", events, bytes, run).unsteady()])
}

/// A host with one guest, all in this process.
struct Host {
    dir: VirtDir,
    name: GuestName,
    cpus: usize,
    /// Keeps all FIFOs open both ways, as QEMU does.
    _fifos: Vec<File>,
    _client: Running,
    _server: Running,
    _temp: TempDir,
}

impl Host {
    fn new(cpus: Vec<Arc<[u8]>>) -> Outcome<Self> {
        let temp = TempDir::new()?;
        let (dir, name) = (VirtDir::new(temp.path().join("virt")), GuestName::new("guest")?);
        let links = temp.path().join("ports");
        fs::create_dir(&links)?;
        let count = u32::try_from(cpus.len())?;
        dir.setup(&name, &SetupOptions { cpus: count, ..SetupOptions::default() })?;
        let mut fifos = Vec::new();
        for cpu in 0..count {
            let fifo = dir.data_fifo(&name, cpu).ok_or("no FIFO")?;
            symlink(&fifo, links.join(format!("trace-path-cpu{cpu}")))?;
            fifos.push(File::options().read(true).write(true).open(&fifo)?);
        }
        let guest = name.clone();
        let resolver = Box::new(move |_: &unix::PeerProcess| Some(guest.clone()));
        let server = Server::bind_with(&dir, &ServerOptions::default(), resolver)?;
        let server = Running::start(move |stop| {
            server.run(stop.as_fd(), &mut |_| {}).expect("a server");
        })?;
        let no_class = temp.path().join("none");
        let ports = PortDirs { links, class: no_class.clone(), devices: no_class };
        let options = ClientOptions { ports, ..ClientOptions::default() };
        let qemu = unix::connect(&dir.agent_socket())?;
        let cpus_of_guest = cpus.len();
        let client = Client::over(qemu, options, Box::new(Replayer(cpus)))?;
        let client = Running::start(move |stop| {
            client.run(stop.as_fd(), &mut |_| {}).expect("a client");
        })?;
        let cpus = cpus_of_guest;
        Ok(Self { dir, name, cpus, _fifos: fifos, _client: client, _server: server, _temp: temp })
    }

    /// One session; returns the bytes in the files.
    fn record(&self) -> Outcome<u64> {
        let mut session = self.connect()?.start(&StartRequest::default())?;
        let file = || Ok(Sink { to: tempfile::tempfile()?.into(), offset: None });
        session.collect((0..self.cpus).map(|_| file()).collect::<Outcome<_>>()?, None)?;
        let finished = session.close()?;
        if let Some(problem) = finished.problems.into_iter().next() {
            return Err(problem.into());
        }
        Ok(finished.cpus.iter().map(|cpu| cpu.bytes).sum())
    }

    /// The client may not have said hello yet, or be busy with the end of the last session.
    fn connect(&self) -> Outcome<Guest> {
        let since = Instant::now();
        loop {
            match Guest::connect(&self.dir, &self.name) {
                Ok(guest) => return Ok(guest),
                Err(
                    HostError::NotConnected { .. }
                    | HostError::NoClient { .. }
                    | HostError::Busy { .. },
                ) if since.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The guest's recorder: sends the same sub-buffers each time.
struct Replayer(Vec<Arc<[u8]>>);

struct Replay(Vec<JoinHandle<u64>>);

impl GuestRecorder for Replayer {
    fn prepare(&mut self, _: &[String], data: Vec<OwnedFd>) -> Result<ReadyRecording, Refusal> {
        let streams: Vec<_> = data.into_iter().zip(self.0.iter().cloned()).collect();
        let send = |(fd, bytes): (OwnedFd, Arc<[u8]>)| {
            std::thread::spawn(move || {
                let mut port = Stream::new(fd, "data port").expect("a port");
                let sent = port.write_all(&bytes, Deadline::after(PATIENCE));
                sent.map_or(0, |()| bytes.len() as u64)
            })
        };
        Ok(ReadyRecording::new(4096, move || {
            Ok(Box::new(Replay(streams.into_iter().map(send).collect())))
        }))
    }
}

impl GuestRecording for Replay {
    fn trace_id(&self) -> u64 {
        1
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        Ok(Box::new(Cursor::new(b"head")))
    }

    fn stop(self: Box<Self>) -> Result<RecordingEnd, String> {
        let joined = self.0.into_iter().map(JoinHandle::join).collect::<Result<_, _>>();
        let bytes = joined.map_err(|_| "a sender panics")?;
        Ok(RecordingEnd { bytes, tail: Vec::new() })
    }

    fn abort(self: Box<Self>) {
        // The senders end when their ports do.
        drop(self.0);
    }
}

/// A thread that runs until its pipe is closed.
struct Running {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(run: impl FnOnce(OwnedFd) + Send + 'static) -> Outcome<Self> {
        let (read, write) = pipe()?;
        let thread = std::thread::spawn(move || run(read));
        Ok(Self { stop: Some(write), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been told already.
            let _ = thread.join();
        }
    }
}
