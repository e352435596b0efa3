//! A recording session with a real guest, without the command line tool: what the crate itself does, measured.
//!
//! ```text
//! lab_session host BINARY [SECONDS]   boots a guest with BINARY (this program, statically linked) and records it
//! lab_session torture BINARY          kills, stops and restarts what can be, and records in between
//! ```
//!
//! `host` prints what arrived, how well the clocks were compared, and whether messages between host and guest are ever
//! seen in the wrong order.
#![allow(missing_docs)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trace_transport::{Deadline, Interest, Stream, virtio_serial};
use trace_virt::client::{
    Client, ClientOptions, ExecPolicy, GuestRecorder, GuestRecording, ReadyRecording, RecordingEnd,
    Refusal,
};
use trace_virt::host::{Guest, SessionEvent, Sink, StartRequest};
use trace_virt::lab;
use trace_virt::server::{Server, ServerOptions};
use trace_virt::setup::{GuestName, VirtDir};
use trace_virt::stop::StopSignals;
use trace_virt::time_sync::{Clock, Sample};

const TRACING: &str = "/sys/kernel/tracing";

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["virt-server", "--client", ..] => client(),
        ["echo", port] => echo(port),
        ["host", binary, seconds @ ..] => {
            host(Path::new(binary), seconds.first().map_or(Ok(5), |text| text.parse())?)
        }
        ["torture", binary] => torture(Path::new(binary)),
        _ => Err("usage: lab_session host BINARY [SECONDS] | torture BINARY".into()),
    }
}

/// In the guest: the client with a small recorder.
fn client() -> Result<(), Box<dyn Error>> {
    let stop = StopSignals::new()?;
    let options = ClientOptions {
        exec: ExecPolicy::Any,
        version: "lab_session".to_owned(),
        ..Default::default()
    };
    let client = Client::new(options, Box::new(Recorder))?;
    client.run(stop.as_fd(), &mut |event| eprintln!("{event:?}"))?;
    Ok(())
}

/// In the guest: answers each byte with the time it came.
fn echo(port: &str) -> Result<(), Box<dyn Error>> {
    let path = virtio_serial::PortDirs::default().find(port).ok_or("no such port")?;
    let mut stream = virtio_serial::open(&path)?;
    let mut byte = [0; 1];
    loop {
        match stream.read_some(&mut byte, Deadline::NEVER)? {
            0 => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let now = Clock::Mono.now().ok_or("no clock")?;
                stream.write_all(&now.to_be_bytes(), Deadline::NEVER)?;
            }
        }
    }
}

struct Recorder;

struct Recording {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl GuestRecorder for Recorder {
    fn prepare(&mut self, args: &[String], data: Vec<OwnedFd>) -> Result<ReadyRecording, Refusal> {
        let set = |file: &str, value: &str| {
            fs::write(format!("{TRACING}/{file}"), value).map_err(|e| format!("{file}: {e}"))
        };
        set("trace_clock", "mono")?;
        for event in args {
            set(&format!("events/{event}/enable"), "1")?;
        }
        set("tracing_on", "0")?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (cpu, port) in data.into_iter().enumerate() {
            let path = format!("{TRACING}/per_cpu/cpu{cpu}/trace_pipe_raw");
            let from = File::options()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(path)
                .map_err(|e| e.to_string())?;
            let port = Stream::new(port, "data port").map_err(|e| e.to_string())?;
            let stop = stop.clone();
            threads.push(std::thread::spawn(move || pump(from, port, &stop)));
        }
        let recording = Recording { stop, threads };
        Ok(ReadyRecording::new(4096, move || {
            fs::write(format!("{TRACING}/tracing_on"), "1")
                .map_err(|e| format!("tracing_on: {e}"))?;
            Ok(Box::new(recording))
        }))
    }
}

fn pump(mut from: File, mut port: Stream, stop: &AtomicBool) -> u64 {
    let mut page = [0; 4096];
    let mut bytes = 0;
    loop {
        // Asked before reading, so that what is there at the end is still read.
        let last = stop.load(Ordering::SeqCst);
        match from.read(&mut page) {
            Ok(count) if count > 0 => {
                let mut rest = &page[..count];
                while !rest.is_empty() {
                    match port.try_write(rest) {
                        Ok(Some(count)) => {
                            bytes += count as u64;
                            rest = &rest[count..];
                        }
                        Ok(None) => {
                            let _ = port
                                .wait(Interest::Write, Deadline::after(Duration::from_millis(50)));
                        }
                        Err(_) => return bytes,
                    }
                }
            }
            _ if last => return bytes,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

impl GuestRecording for Recording {
    fn trace_id(&self) -> u64 {
        77
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        Ok(Box::new(Cursor::new(vec![b'h'; 3 << 20])))
    }

    fn stop(mut self: Box<Self>) -> Result<RecordingEnd, String> {
        let _ = fs::write(format!("{TRACING}/tracing_on"), "0");
        self.stop.store(true, Ordering::SeqCst);
        let bytes =
            self.threads.drain(..).map(|thread| thread.join().unwrap_or_default()).collect();
        Ok(RecordingEnd { bytes, tail: b"tail".to_vec() })
    }

    fn abort(self: Box<Self>) {
        let _ = self.stop();
    }
}

fn host(binary: &Path, seconds: u64) -> Result<(), Box<dyn Error>> {
    let temp = tempfile::tempdir()?;
    let dir = VirtDir::new(temp.path().join("virt"));
    let _server = Serving::start(&dir)?;
    let options = guest_options(&dir, binary);
    let begin = Instant::now();
    let vm = lab::Guest::boot(options)?;
    vm.wait_ready(Duration::from_secs(60))?;
    eprintln!("booted in {:?}", begin.elapsed());
    let result = record(&dir, &vm, temp.path(), seconds);
    if result.is_err() {
        eprintln!("{}", vm.console());
    }
    vm.power_off(Duration::from_secs(10))?;
    result
}

fn guest_options(dir: &VirtDir, binary: &Path) -> lab::GuestOptions {
    let mut options = lab::GuestOptions::new("guest1");
    options.cpus = 2;
    options.virt_dir = Some(dir.path().to_owned());
    options.trace_cmd = Some(binary.to_owned());
    options.client_args = Some(Vec::new());
    options.extra_ports = vec!["echo".to_owned()];
    options
}

/// A server in a thread, until it is dropped.
struct Serving {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    fn start(dir: &VirtDir) -> Result<Self, Box<dyn Error>> {
        let (stop, end) = nix::unistd::pipe()?;
        let server = Server::bind(dir, &ServerOptions::default())?;
        let thread = std::thread::spawn(move || {
            let ended = server.run(stop.as_fd(), &mut |event| eprintln!("server: {event:?}"));
            if let Err(error) = ended {
                eprintln!("server: {error}");
            }
        });
        Ok(Self { stop: Some(end), thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn torture(binary: &Path) -> Result<(), Box<dyn Error>> {
    let temp = tempfile::tempdir()?;
    let dir = VirtDir::new(temp.path().join("virt"));
    let mut options = guest_options(&dir, binary);
    options.reboot = true;
    let vm = lab::Guest::boot(options)?;
    vm.wait_ready(Duration::from_secs(60))?;
    let result = harm(&dir, &vm, temp.path());
    if result.is_err() {
        eprintln!("{}", vm.console());
    }
    vm.kill();
    result
}

fn harm(dir: &VirtDir, vm: &lab::Guest, temp: &Path) -> Result<(), Box<dyn Error>> {
    let name = GuestName::new("guest1")?;
    let connect = || Guest::connect(dir, &name);
    let patient = || {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match connect() {
                Ok(guest) => return Ok(guest),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    };
    let step = |text: &str| println!("{text}");
    let request = StartRequest {
        args: vec!["sched".to_owned(), "irq".to_owned()],
        ..StartRequest::default()
    };
    let whole = |what: &str| -> Result<(), Box<dyn Error>> {
        let begin = Instant::now();
        let guest = patient()?;
        let connected = begin.elapsed();
        let mut session = guest.start(&request)?;
        let sinks: Result<Vec<_>, _> = (0..session.cpus)
            .map(|cpu| {
                File::create(temp.join(format!("cpu{cpu}")))
                    .map(|f| Sink { to: f.into(), offset: None })
            })
            .collect();
        session.collect(sinks?, None)?;
        std::thread::sleep(Duration::from_millis(500));
        let finished = session.close()?;
        if !finished.problems.is_empty() {
            return Err(format!("after {what}: {:?}", finished.problems).into());
        }
        for cpu in 0..finished.cpus.len() {
            let bytes = fs::read(temp.join(format!("cpu{cpu}")))?;
            let stamps: Vec<u64> = bytes
                .chunks(4096)
                .filter_map(|page| Some(u64::from_le_bytes(*page.first_chunk::<8>()?)))
                .collect();
            if bytes.is_empty() || bytes.len() % 4096 != 0 || !stamps.is_sorted() {
                return Err(
                    format!("after {what}: CPU {cpu}: {} bytes out of order", bytes.len()).into()
                );
            }
        }
        println!("after {what}: connected in {connected:?}, {:?}", finished.cpus);
        Ok(())
    };
    let client_ticks = || -> Result<u64, Box<dyn Error>> {
        let text = vm.run("cat /proc/$(pidof trace-cmd)/stat")?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        Ok(fields.get(13).ok_or("stat")?.parse::<u64>()?
            + fields.get(14).ok_or("stat")?.parse::<u64>()?)
    };

    step("a guest waits for a server that is not there");
    let before = client_ticks()?;
    std::thread::sleep(Duration::from_secs(3));
    println!("ticks used in 3 s of waiting: {}", client_ticks()? - before);
    let server = Serving::start(dir)?;
    whole("the server started")?;
    drop(server);
    let before = client_ticks()?;
    std::thread::sleep(Duration::from_secs(3));
    println!("ticks used in 3 s of waiting: {}", client_ticks()? - before);
    let server = Serving::start(dir)?;
    whole("the server came back")?;

    step("the server goes away in mid-session");
    let session = patient()?.start(&request)?;
    drop(server);
    let event = session.events().recv_timeout(Duration::from_secs(5))?;
    println!("{event:?}");
    drop(session);
    let _server = Serving::start(dir)?;
    whole("a server lost in mid-session")?;

    step("the host tool goes away with all pipes full");
    let session = patient()?.start(&request)?;
    vm.run("i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done")?;
    drop(session);
    whole("a lost host tool")?;

    step("the client is stopped");
    vm.run("kill -STOP $(pidof trace-cmd)")?;
    let begin = Instant::now();
    let error = connect().map(drop).err().ok_or("a stopped client answered")?;
    println!("{error} ({:?})", begin.elapsed());
    vm.run("kill -CONT $(pidof trace-cmd)")?;
    whole("a stopped client")?;

    step("the client is killed in mid-session and started anew");
    let session = patient()?.start(&request)?;
    vm.run("kill -9 $(pidof trace-cmd); sleep 0.2; (/lab/client </dev/null >/dev/console 2>&1 &)")?;
    println!("{:?}", session.events().recv_timeout(Duration::from_secs(10))?);
    drop(session);
    whole("a killed client")?;

    step("the guest reboots in mid-session");
    let session = patient()?.start(&request)?;
    let _ = vm.run("(sleep 0.3; reboot -f) >/dev/null 2>&1 &");
    println!("{:?}", session.events().recv_timeout(Duration::from_secs(60))?);
    let finished = session.close()?;
    println!("{:?}", finished.problems);
    whole("a reboot")?;
    Ok(())
}

fn record(dir: &VirtDir, vm: &lab::Guest, temp: &Path, seconds: u64) -> Result<(), Box<dyn Error>> {
    vm.run("trace-cmd echo echo </dev/null >/dev/console 2>&1 &")?;
    let mut echo = vm.port("echo")?;
    let name = GuestName::new("guest1")?;
    for run in 0..3 {
        let begin = Instant::now();
        let guest = Guest::connect(dir, &name)?;
        eprintln!("run {run}: connected in {:?}: {:?}", begin.elapsed(), guest.info());
        let begin = Instant::now();
        let mut session = guest.start(&StartRequest {
            args: vec!["sched".to_owned(), "irq".to_owned()],
            exec: Some(
                ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=1M count=20; echo done"]
                    .map(String::from)
                    .to_vec(),
            ),
            trace_id: 7,
            host_clock: Some("mono".to_owned()),
            guest_clock: Some("mono".to_owned()),
            sync_interval: None,
        })?;
        eprintln!(
            "run {run}: started in {:?}, head of {} bytes",
            begin.elapsed(),
            session.head.len()
        );
        let sink = |cpu| -> Result<Sink, Box<dyn Error>> {
            Ok(Sink { to: File::create(temp.join(format!("cpu{cpu}")))?.into(), offset: None })
        };
        let sinks: Result<Vec<_>, _> = (0..session.cpus).map(sink).collect();
        session.collect(sinks?, None)?;
        session.exec();

        let mut messages = Vec::new();
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until || messages.len() < 200 {
            let sent = Clock::Mono.now().ok_or("no clock")?;
            echo.write_all(b"x")?;
            let mut answer = [0; 8];
            echo.read_exact(&mut answer)?;
            let received = Clock::Mono.now().ok_or("no clock")?;
            messages.push((sent, u64::from_be_bytes(answer), received));
            std::thread::sleep(Duration::from_millis(5));
        }
        for event in session.events().try_iter() {
            match event {
                SessionEvent::Output { bytes, .. } => {
                    eprint!("{}", String::from_utf8_lossy(&bytes));
                }
                other => eprintln!("{other:?}"),
            }
        }
        let begin = Instant::now();
        let finished = session.close()?;
        eprintln!("run {run}: closed in {:?}", begin.elapsed());
        for (cpu, report) in finished.cpus.iter().enumerate() {
            let bytes = fs::read(temp.join(format!("cpu{cpu}")))?;
            let stamps: Vec<u64> = bytes
                .as_chunks::<4096>()
                .0
                .iter()
                .filter_map(|page| Some(u64::from_le_bytes(*page.first_chunk::<8>()?)))
                .collect();
            let in_order = stamps.is_sorted();
            println!("CPU {cpu}: {report:?}, {} sub-buffers, in order: {in_order}", stamps.len());
        }
        println!("problems: {:?}; exec {:?}", finished.problems, finished.exec);
        report_clocks(&finished.samples, &messages);
    }
    Ok(())
}

fn report_clocks(samples: &[Sample], messages: &[(u64, u64, u64)]) {
    let errors: Vec<f64> = samples.iter().map(|sample| sample.error as f64 / 1000.0).collect();
    println!("{} samples, error bounds in us: {errors:.1?}", samples.len());
    if let (Some(first), Some(last)) = (samples.first(), samples.last()) {
        let drift = (last.offset - first.offset) as f64
            / (last.guest_time - first.guest_time).max(1) as f64;
        println!("drift {:.3} ppm", drift * 1e6);
    }
    let (mut wrong, mut nearest) = (0, i64::MAX);
    for (sent, guest, received) in messages {
        let Some(at) = Sample::host_time(samples, *guest) else { continue };
        let (before, after) =
            (at.cast_signed() - sent.cast_signed(), received.cast_signed() - at.cast_signed());
        nearest = nearest.min(before).min(after);
        if before <= 0 || after <= 0 {
            wrong += 1;
        }
    }
    let mut trips: Vec<_> = messages.iter().map(|(sent, _, received)| received - sent).collect();
    trips.sort_unstable();
    println!(
        "{} messages, {wrong} in the wrong order, nearest {:.1} us; round trips {:.1} to {:.1} us, median {:.1}",
        messages.len(),
        nearest as f64 / 1000.0,
        trips.first().map_or(0.0, |&t| t as f64 / 1000.0),
        trips.last().map_or(0.0, |&t| t as f64 / 1000.0),
        trips.get(trips.len() / 2).map_or(0.0, |&t| t as f64 / 1000.0),
    );
}
