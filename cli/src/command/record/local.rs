//! A recording of this machine: sets tracefs up, moves sub-buffers to sinks, puts tracefs back.
//!
//! The same on a host, where sinks are files, and in a guest, where they are virtio ports.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracefs::buffer_control::BufferSize;
use tracefs::capture::{self, PendingCapture};
use tracefs::{
    Capture, Changes, Instance, Ledger, PidFilter, Priority, Recorder, RecorderOptions, Sink,
    TracingDir, Way,
};

use super::args::{Args, RecorderArgs};
use crate::command::tracing_plan::{Applied, Choices, MachinePlan};
use crate::error::Error;
use crate::exit_code::Exit;

/// How is recorded, on all instances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) choices: Choices,
    /// Tracing is left as it was set.
    pub(crate) keep_after: bool,
    pub(crate) all_formats: bool,
    pub(crate) recorder: RecorderArgs,
    /// What the recorder does itself is recorded too.
    pub(crate) no_filter: bool,
    /// The task that prints what comes at once. It is left out as the recorder is.
    pub(crate) printer: Option<i32>,
    /// The task of the command.
    pub(crate) command: Option<i32>,
}

/// A running recording. Dropping it puts tracefs back and loses what was not yet read.
pub(crate) struct LocalRecording {
    // Recorders end before tracefs is put back: an instance in use cannot be removed.
    running: Vec<Running>,
    capture: Capturing,
    changes: Changes,
    /// What is put back also where the rest is kept; then only the rest is in `changes`.
    own: Option<Changes>,
    dir: TracingDir,
}

/// The kernel's texts: on their way, or here.
enum Capturing {
    Pending(PendingCapture),
    Done(Arc<Capture>),
    Failed,
}

struct Running {
    instance: Instance,
    recorder: Recorder,
}

/// A finished recording: all that its file needs beside the sub-buffers.
pub(crate) struct Recorded {
    pub(crate) machine: Machine,
    /// One per recorded instance; the top-level one, if recorded, is the first.
    pub(crate) buffers: Vec<RecordedBuffer>,
    /// Why tracefs could not be put back, which is no reason to lose the recording.
    pub(crate) unrestored: Option<Error>,
}

/// What a reader has to know about the machine.
pub(crate) struct Machine {
    pub(crate) capture: Arc<Capture>,
    pub(crate) cmdlines: Vec<u8>,
    pub(crate) trace_clock: Vec<u8>,
    pub(crate) cpus: u32,
    pub(crate) sub_buffer_size: usize,
}

/// What became of one instance.
pub(crate) struct RecordedBuffer {
    /// `None` for the top-level instance.
    pub(crate) name: Option<String>,
    /// The kernel's counters as text, by CPU.
    pub(crate) stats: Vec<String>,
    pub(crate) ledger: Ledger,
}

/// An instance that asks for the sinks of its CPUs.
#[derive(Clone)]
pub(crate) struct SinkRequest {
    /// `None` for the top-level instance.
    pub(crate) name: Option<String>,
    pub(crate) clock: String,
    pub(crate) sub_buffer_size: usize,
    pub(crate) cpus: Vec<u32>,
}

impl SinkRequest {
    /// What an instance needs.
    pub(crate) fn of(instance: &Instance) -> Result<Self, Error> {
        Ok(Self {
            name: instance.name().map(str::to_owned),
            clock: instance.trace_clocks().map(|clocks| clocks.current).unwrap_or_default(),
            sub_buffer_size: instance.sub_buffer_size().map_err(kernel_error)?,
            cpus: instance.cpus().map_err(kernel_error)?,
        })
    }
}

/// Gives the sinks of all instances, by CPU. All that can be wrong with events, clocks and filters
/// is known then, and nothing is traced yet.
pub(crate) type MakeSinks<'a> =
    &'a mut dyn FnMut(&TracingDir, &[SinkRequest]) -> Result<Vec<Vec<Sink>>, Error>;

impl LocalRecording {
    /// Starts to record.
    ///
    /// # Errors
    /// An unknown event, clock or filter, or what the kernel refuses; everything is put back.
    pub(crate) fn start(
        plan: &MachinePlan,
        settings: &Settings,
        sinks: MakeSinks<'_>,
    ) -> Result<Self, Error> {
        let mut applied = Applied::new(plan, settings.choices, settings.command)?;
        let requests =
            applied.instances.iter().map(SinkRequest::of).collect::<Result<Vec<_>, _>>()?;
        let sinks = sinks(&applied.dir, &requests)?;
        let options = recorder_options(&settings.recorder)?;
        // With -k what was asked for stays, and not what only the recorder needs.
        let mut own = settings.keep_after.then(Changes::new);
        let mut running = Vec::new();
        for ((instance, request), sinks) in applied.instances.iter().zip(requests).zip(sinks) {
            if settings.recorder.sleep.is_some_and(|sleep| sleep.is_zero()) {
                // Zero percent wakes at every event.
                let changes = own.as_mut().unwrap_or(&mut applied.changes);
                let wake = changes.set_buffer_percent(instance, 0);
                wake.or_else(unless_unavailable)?;
            }
            let sinks = request.cpus.into_iter().zip(sinks).collect();
            let recorder = Recorder::start(instance, sinks, &options).map_err(kernel_error)?;
            running.push(Running { instance: instance.clone(), recorder });
        }
        if !settings.no_filter {
            for one in &running {
                // What the recorder does itself would fill the trace; kernels before 5.7 cannot
                // leave it out.
                let mut ids = one.recorder.thread_ids().to_vec();
                ids.extend(settings.printer);
                let changes = own.as_mut().unwrap_or(&mut applied.changes);
                let excluded = changes.exclude_pids(&one.instance, &ids);
                excluded.or_else(unless_unavailable)?;
                if plan.traces_functions() {
                    // Taking the calls that taking made would never end.
                    let excluded =
                        changes.add_pids(&one.instance, PidFilter::FunctionsExcept, &ids);
                    excluded.or_else(unless_unavailable)?;
                }
            }
        }
        let formats = (!settings.all_formats).then(|| applied.events.clone());
        let capture = if settings.printer.is_some() {
            // Who prints at once needs them first, and what reading them does is of no interest.
            let capture = Capture::read(&applied.dir, formats.as_ref()).map_err(kernel_error)?;
            applied.begin()?;
            Capturing::Done(Arc::new(capture))
        } else {
            applied.begin()?;
            // Read while tracing goes on: the symbols alone take longer than starting does.
            Capturing::Pending(Capture::spawn(&applied.dir, formats))
        };
        let Applied { dir, changes, .. } = applied;
        Ok(Self { running, capture, changes, own, dir })
    }

    /// Whether every sink has failed, so that going on is useless.
    pub(crate) fn has_failed(&self) -> bool {
        !self.running.is_empty() && self.running.iter().all(|one| one.recorder.is_finished())
    }

    /// The kernel's texts, once they are here.
    pub(crate) fn capture(&mut self) -> Option<Arc<Capture>> {
        let is_ready = match &self.capture {
            Capturing::Pending(pending) => pending.is_ready(),
            Capturing::Done(_) => true,
            Capturing::Failed => false,
        };
        // What went wrong is told at the end, where they cannot be done without.
        if is_ready { self.capture.wait().ok() } else { None }
    }

    /// Has what was delivered written to the disk, so that the end does not wait for it.
    pub(crate) fn write_back(&mut self) {
        for one in &mut self.running {
            one.recorder.write_back();
        }
    }

    /// Waits for what was read of the kernel, and adds what can be said before the end.
    pub(crate) fn machine(&mut self) -> Result<Machine, Error> {
        let capture = self.capture.wait()?;
        Machine::new(&self.dir, self.running.first().map(|one| &one.instance), capture)
    }

    /// Bytes in a sub-buffer of the first recorded instance.
    pub(crate) fn sub_buffer_size(&self) -> Result<u32, Error> {
        let size = self.running.first().map(|one| one.instance.sub_buffer_size());
        let size = size.transpose().map_err(kernel_error)?.unwrap_or_default();
        u32::try_from(size).map_err(|_| Error::failure(format!("a sub-buffer of {size} bytes")))
    }

    /// Stops at once and puts tracefs back; what was recorded may be lost.
    pub(crate) fn abort(self) {
        let Self { running, mut changes, .. } = self;
        for one in running {
            // Nobody is left to tell: the next step is to put everything back.
            let _ = changes.set_tracing_on(&one.instance, false);
            drop(one.recorder.stop());
        }
        let _ = changes.restore();
    }

    /// Stops tracing, takes what is left, puts tracefs back.
    ///
    /// # Errors
    /// What a reader needs could not be read. Data that was recorded stays in the sinks.
    pub(crate) fn stop(self) -> Result<Recorded, Error> {
        let Self { running, mut capture, mut changes, own, dir } = self;
        for one in &running {
            changes.set_tracing_on(&one.instance, false).map_err(kernel_error)?;
        }
        let first = running.first().map(|one| one.instance.clone());
        let mut buffers = Vec::new();
        for Running { instance, recorder } in running {
            let ledger = recorder.stop();
            let stats = ledger.cpus.iter().map(|one| capture::cpu_stats(&instance, one.cpu));
            let stats = stats.collect::<Result<_, _>>().map_err(kernel_error)?;
            let name = instance.name().map(str::to_owned);
            buffers.push(RecordedBuffer { name, stats, ledger });
        }
        let capture = capture.wait()?;
        let machine = Machine::new(&dir, first.as_ref(), capture)?;
        let restored = match own {
            Some(own) => {
                changes.keep();
                own.restore()
            }
            None => changes.restore(),
        };
        let unrestored = restored.err();
        let unrestored = unrestored
            .map(|error| Error::failure("tracing is not as it was before").because(error));
        Ok(Recorded { machine, buffers, unrestored })
    }
}

impl Capturing {
    fn wait(&mut self) -> Result<Arc<Capture>, Error> {
        *self = match std::mem::replace(self, Self::Failed) {
            Self::Pending(pending) => Self::Done(Arc::new(pending.finish().map_err(kernel_error)?)),
            other => other,
        };
        match self {
            Self::Done(capture) => Ok(Arc::clone(capture)),
            _ => Err(Error::failure("event formats of this kernel could not be read")),
        }
    }
}

impl From<&Args> for Settings {
    fn from(args: &Args) -> Self {
        Self {
            choices: args.setup.choices(),
            keep_after: args.keep_after,
            all_formats: args.all_formats,
            recorder: args.recorder.clone(),
            no_filter: args.no_filter,
            printer: None,
            command: None,
        }
    }
}

impl RecorderArgs {
    /// How urgent the recorder is.
    ///
    /// # Errors
    /// What was asked for may not be had.
    pub(crate) fn priority(&self) -> Result<Priority, Error> {
        let (priority, option) = match (self.real_time, self.nice) {
            (Some(priority), _) => (Priority::Realtime(priority), "-r"),
            (None, Some(nice)) => (Priority::Nice(nice), "--nice"),
            (None, None) => return Ok(RecorderOptions::default().priority),
        };
        let tried = thread::spawn(move || priority.apply()).join();
        let tried = tried.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        tried.map(|()| priority).map_err(|error| {
            Error::failure(format!("cannot do as {option} says"))
                .because(error)
                .hint("root may, unless its CPU time is limited")
        })
    }
}

/// KiB of a CPU's ring buffer that outlast the pauses of a busy machine, and of all CPUs together.
const USUAL_BUFFER_KB: u64 = 4096;
const ALL_BUFFERS_KB: u64 = 512 << 10;

/// Gives a ring buffer of the usual size to an instance that has a smaller one. A kernel that has no
/// memory for it leaves it as it was.
fn enlarge_buffer(instance: &Instance, changes: &mut Changes) {
    let cpus = instance.cpus().map_or(1, |cpus| cpus.len().max(1) as u64);
    let wanted = USUAL_BUFFER_KB.min(ALL_BUFFERS_KB / cpus);
    let is_smaller = match instance.buffer_size() {
        Ok(BufferSize::Same(kb) | BufferSize::NotExpanded(kb)) => kb < wanted,
        _ => false,
    };
    if is_smaller {
        let _ = changes.set_buffer_size_kb(instance, wanted);
    }
}

fn recorder_options(args: &RecorderArgs) -> Result<RecorderOptions, Error> {
    let mut options = RecorderOptions::default();
    options.way = if args.no_splice { Way::Read } else { Way::Auto };
    options.priority = args.priority()?;
    if args.poll {
        options.interval = Duration::ZERO;
    } else if let Some(sleep) = args.sleep.filter(|sleep| !sleep.is_zero()) {
        options.interval = sleep;
    }
    Ok(options)
}

fn unless_unavailable(error: tracefs::Error) -> Result<(), Error> {
    if error.is_unavailable() { Ok(()) } else { Err(kernel_error(error)) }
}

impl Machine {
    /// Adds what can be said now to what was read before.
    pub(crate) fn new(
        dir: &TracingDir,
        instance: Option<&Instance>,
        capture: Arc<Capture>,
    ) -> Result<Self, Error> {
        let top = dir.top();
        let instance = instance.unwrap_or(&top);
        Ok(Self {
            capture,
            // Names are a comfort: a kernel that keeps none is no reason to lose the recording.
            cmdlines: capture::saved_cmdlines(dir).unwrap_or_default(),
            trace_clock: capture::trace_clock(instance).map_err(kernel_error)?,
            cpus: capture::possible_cpus(),
            sub_buffer_size: instance.sub_buffer_size().map_err(kernel_error)?,
        })
    }
}

/// A refusal of the kernel, with the exit code it deserves.
pub(crate) fn kernel_error(error: tracefs::Error) -> Error {
    use tracefs::Error as Kernel;
    let (exit, hint) = match &error {
        Kernel::NotRoot { .. } => (Exit::Permission, None),
        Kernel::Refused { .. } => {
            (Exit::Permission, Some("run as root; a locked-down kernel refuses it even then"))
        }
        Kernel::UnknownEvent { nearest, .. } if nearest.is_empty() => {
            (Exit::Failure, Some("'trace-cmd list -e' lists them"))
        }
        _ => (Exit::Failure, None),
    };
    let failed = Error::new(exit, "").because(error);
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}
