//! The running kernel, recorded by the libraries into an instance of its own.

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use tempfile::tempfile;
use trace_virt::lab::{TracefsLock, requirements};
use tracedat::write::{BufferData, CpuSource, Head, Settings, System, Writer};
use tracedat::{Abi, ByteOrder};
use tracefs::{Capture, Instance, PidFilter, Recorder, RecorderOptions, Sink, TracingDir};

use crate::Outcome;

/// What the recording is of: what most machines are traced for.
const SYSTEMS: [&str; 5] = ["sched", "raw_syscalls", "irq", "timer", "kmem"];

/// A ring buffer that nobody else uses, for as long as this value lives.
#[derive(Debug)]
pub struct Tracing {
    dir: TracingDir,
    instance: Instance,
    _lock: TracefsLock,
}

impl Tracing {
    /// Makes an instance with `kilobytes` for each CPU. It does not trace yet.
    ///
    /// # Errors
    ///
    /// What this machine lacks: root, tracefs.
    pub fn start(kilobytes: u64) -> Outcome<Self> {
        requirements::root()?;
        let dir = TracingDir::at(requirements::tracefs()?);
        let lock = TracefsLock::take()?;
        let (instance, _) = dir.create_instance(&format!("benches-{}", std::process::id()))?;
        let tracing = Self { dir, instance, _lock: lock };
        tracing.instance.set_tracing_on(false)?;
        tracing.instance.set_buffer_size_kb(kilobytes)?;
        Ok(tracing)
    }

    /// The instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let name = self.instance.name().unwrap_or_default();
        if let Err(error) = self.dir.remove_instance(name) {
            eprintln!("instance {name} is left: {error}");
        }
    }
}

/// Records this thread at work that is about `events` events; returns the file, uncompressed.
///
/// # Errors
///
/// What this machine lacks, or what the kernel answers.
pub fn record(events: u32) -> Outcome<Vec<u8>> {
    let tracing = Tracing::start(8 << 10)?;
    let instance = tracing.instance();
    for system in SYSTEMS {
        instance.enable(&instance.select(system)?, true)?;
    }
    // Alone, so that it is as much as was asked for on a busy machine too.
    instance.set_pid_filter(PidFilter::Only, &[nix::unistd::gettid().as_raw()])?;
    let cpus = instance.cpus()?;
    let files: Vec<Arc<File>> =
        cpus.iter().map(|_| tempfile().map(Arc::new)).collect::<Result<_, _>>()?;
    let sinks = cpus.iter().zip(&files).map(|(&cpu, file)| {
        let sink = Sink::At { file: file.try_clone()?, offset: 0 };
        std::io::Result::Ok((cpu, sink))
    });
    let sinks = sinks.collect::<Result<_, _>>()?;
    let recorder = Recorder::start(instance, sinks, &RecorderOptions::default())?;
    instance.set_tracing_on(true)?;
    load(events)?;
    instance.set_tracing_on(false)?;
    let ledger = recorder.stop();
    let capture = Capture::read(&tracing.dir, None)?;
    let cmdlines = tracing.dir.file("saved_cmdlines").read()?;

    let abi = own_abi();
    let page_size = u32::try_from(instance.sub_buffer_size()?)?;
    let mut file = Cursor::new(Vec::new());
    let head = head(capture, cmdlines, u32::try_from(cpus.len())?);
    let writer = Writer::create(&mut file, Settings::new(abi, page_size), &head)?;
    let recorded = ledger.cpus.iter().zip(&files);
    let cpus = recorded.map(|(cpu, file)| CpuSource::from_file(cpu.cpu, file, 0, cpu.bytes));
    let buffer = BufferData { name: "", clock: "local", page_size, cpus: cpus.collect() };
    writer.finish(&[], vec![buffer])?;
    Ok(file.into_inner())
}

/// System calls, of which each has an event where it begins and one where it ends.
fn load(events: u32) -> Outcome<()> {
    let (mut zero, mut null) = (File::open("/dev/zero")?, File::create("/dev/null")?);
    let mut byte = [0];
    for number in 0..events.div_ceil(4) {
        zero.read_exact(&mut byte)?;
        null.write_all(&byte)?;
        if number % 64 == 0 {
            // Something that allocates, and lets others run.
            fs::read("/proc/self/stat")?;
            std::thread::yield_now();
        }
    }
    Ok(())
}

fn own_abi() -> Abi {
    let byte_order = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
    Abi { byte_order, long_size: size_of::<libc::c_long>() as u8 }
}

fn head(capture: Capture, cmdlines: Vec<u8>, cpus: u32) -> Head {
    let systems = capture.event_formats.into_iter();
    Head {
        header_page: capture.header_page,
        header_event: capture.header_event,
        ftrace_formats: capture.ftrace_formats,
        systems: systems
            .map(|system| System { name: system.system, formats: system.formats })
            .collect(),
        kallsyms: capture.kallsyms,
        printk_formats: capture.printk_formats,
        cmdlines,
        cpus,
        options: Vec::new(),
    }
}
