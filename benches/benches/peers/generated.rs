//! Sub-buffers that no kernel has to make, as fast as a listener takes them over TCP.

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::sendfile::sendfile;
use tempfile::TempDir;
use trace_benches::session::Sending;
use trace_transport::session::{Extensions, Protocol, Sender, SenderConfig, Timeouts, Version};
use trace_transport::{Deadline, tcp};
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::write::{Settings, Writer};

use crate::measure::{median, take_turns};
use crate::network::{Listener, file};
use crate::programs::{Program, Programs};
use crate::table::{self, Figure};
use crate::{Options, Outcome};

/// How long a listener may take nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of each CPU.
const STREAM: u64 = 2_000_000_000;

/// What is sent, over and over.
struct Source {
    workload: Workload,
    head: Vec<u8>,
    /// Sub-buffers of each CPU, which the kernel sends without copying them.
    files: Vec<File>,
}

/// Compares how long a gigabyte takes, from the first connection to a finished file.
pub(crate) fn run(programs: &Programs, options: &Options) -> Outcome<()> {
    let source = Source::new()?;
    let stream = options.sized(STREAM);
    let both = [Program::Theirs, Program::Ours];
    let rounds = options.rounds.div_ceil(2);
    let send = |program| source.send(programs, program, stream);
    let [theirs, ours] = &take_turns(rounds, both, send)?;
    let [theirs, ours] = [theirs, ours].map(|runs| median(runs, |&seconds| seconds));
    let what = "generated data over TCP into a file, time for 1 GB (target: 1.67 s)";
    table::line(what, Figure::Seconds, theirs, ours, "");
    Ok(())
}

impl Source {
    fn new() -> Outcome<Self> {
        let workload = Workload { cpus: 2, events_per_cpu: 200_000, ..Workload::new(40) };
        let settings = Settings::new(workload.abi, workload.page_size);
        let mut head = Vec::new();
        drop(Writer::create(
            Cursor::new(&mut head),
            settings,
            &TraceBuilder::new(workload.clone()).head(),
        )?);
        let made = workload.generate();
        let mut files = Vec::new();
        for cpu in made.buffers.iter().flat_map(|buffer| &buffer.cpus) {
            let mut file = tempfile::tempfile()?;
            file.write_all(&cpu.bytes)?;
            files.push(file);
        }
        Ok(Self { workload, head, files })
    }

    /// Sends `stream` bytes or a little more of each CPU; returns the seconds for a gigabyte.
    fn send(&self, programs: &Programs, program: Program, stream: u64) -> Outcome<f64> {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let listener = Listener::start(programs, program, dir.path())?;
        let began = Instant::now();
        let control = tcp::connect("127.0.0.1", listener.port(), soon())?;
        let sender = Sender::new(self.config(program), began)?;
        let mut session = Sending::new(control, sender);
        let opened = session.open(&self.head)?;
        let lengths = thread::scope(|scope| {
            let sending = self.files.iter().zip(&opened.ports);
            let sending: Vec<_> = sending
                .map(|(file, &port)| scope.spawn(move || send_file(file, port, stream)))
                .collect();
            let joined =
                sending.into_iter().map(|one| one.join().map_err(|_| "a sender panics")?);
            joined.collect::<Result<Vec<u64>, Box<dyn std::error::Error + Send + Sync>>>()
        });
        let lengths = lengths.map_err(|error| error.to_string())?;
        let lost = session.close(&lengths)?;
        if lost > 0 {
            return Err(format!("{lost} bytes are lost").into());
        }
        listener.wait_for_file(program)?;
        let seconds = began.elapsed().as_secs_f64();
        listener.stop()?;
        let bytes: u64 = lengths.iter().sum();
        let size = fs::metadata(file(dir.path())?)?.len();
        if program == Program::Ours && size < bytes {
            return Err(format!("{size} bytes in the file, of {bytes}").into());
        }
        Ok(seconds / (bytes as f64 / 1e9))
    }

    fn config(&self, program: Program) -> SenderConfig {
        SenderConfig {
            cpus: self.workload.cpus,
            page_size: self.workload.page_size,
            protocol: Protocol::Tcp,
            version: Version::V3,
            extensions: match program {
                Program::Theirs => Extensions::NONE,
                Program::Ours => Extensions::ALL,
            },
            key: None,
            timeouts: Timeouts { finish: PATIENCE, ..Timeouts::default() },
        }
    }
}

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Sends a file as often as it takes to have sent `least` bytes; returns how many it was.
fn send_file(
    file: &File,
    port: u16,
    least: u64,
) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let socket = std::net::TcpStream::connect(("127.0.0.1", port))?;
    let size = i64::try_from(file.metadata()?.len())?;
    let mut sent = 0;
    while sent < least {
        let mut at = 0;
        while at < size {
            let left = usize::try_from(size - at)?;
            sent += sendfile(&socket, file, Some(&mut at), left)? as u64;
        }
    }
    Ok(sent)
}
