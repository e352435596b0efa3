//! A recording of this machine: sets tracefs up, moves sub-buffers to sinks, puts tracefs back.
//!
//! The same on a host, where sinks are files, and in a guest, where they are virtio ports.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracedat::compress::Codec;
use tracefs::buffer_control::BufferSize;
use tracefs::{
    Changes, EventSelection, Instance, Ledger, PidFilter, Priority, Recorder, RecorderOptions,
    Sink, TracingDir, capture,
};

use super::args::{Args, RecorderArgs};
use super::status::Progress;
use super::texts::{PendingSymbols, PendingTexts, Texts};
use crate::command::peer_timeout;
use crate::command::tracing_plan::{Applied, Choices, MachinePlan};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

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
    /// How the file compresses the kernel's texts, where they go to one.
    pub(crate) codec: Option<Codec>,
    /// The task that prints what comes at once. It is left out as the recorder is.
    pub(crate) printer: Option<i32>,
    /// The kernel's texts are read before the sinks are made, for who needs them at once; what reading them does is
    /// not traced then.
    pub(crate) texts_first: bool,
    /// The task of the command.
    pub(crate) command: Option<i32>,
    /// KiB that a CPU's ring buffer is enlarged to at most where no size was asked for.
    pub(crate) most_buffer_kb: Option<u64>,
}

/// A recording that only waits to begin. Dropping it puts tracefs back.
pub(crate) struct ReadyRecording {
    // As in what it becomes.
    running: Vec<Running>,
    applied: Applied,
    own: Option<Changes>,
    symbols: PendingSymbols,
    formats: Option<EventSelection>,
    codec: Option<Codec>,
    texts_first: bool,
    priority: Priority,
}

/// A running recording. Dropping it puts tracefs back and loses what was not yet read.
pub(crate) struct LocalRecording {
    // Recorders end before tracefs is put back: an instance in use cannot be removed.
    running: Vec<Running>,
    texts: PendingTexts,
    changes: Changes,
    /// What is put back also where the rest is kept; then only the rest is in `changes`.
    own: Option<Changes>,
    dir: TracingDir,
    events: EventSelection,
    priority: Priority,
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
    /// Tracefs on its way back to what it was.
    pub(crate) restoring: Restoring,
}

/// Puts tracefs back, in a thread. Dropping it waits for its end.
pub(crate) struct Restoring {
    /// Closing it says that nobody uses the ring buffers any more.
    drained: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<Option<Error>>>,
    /// What no thread could be had for.
    left: Option<Restore>,
}

/// What is put back.
struct Restore {
    changes: Changes,
    /// If there is any, only this, and the rest stays.
    own: Option<Changes>,
}

impl Restoring {
    /// Begins with events, and goes on with all else when [`go_on`](Self::go_on) or
    /// [`finish`](Self::finish) says so.
    fn start(restore: Restore, priority: Priority) -> Self {
        let (drained, is_drained) = mpsc::channel();
        let (give, given) = mpsc::channel::<Restore>();
        let run = move || {
            // Until then what is traced is slow, and who waits for the end has to wait.
            let _ = priority.of_helpers().apply();
            let mut restore = given.recv().ok()?;
            if restore.own.is_none() {
                restore.changes.restore_events();
            }
            // An error is what it waits for: the other end is closed.
            let _: Result<(), _> = is_drained.recv();
            restore.run()
        };
        let thread = thread::Builder::new().name("trace-restore".to_owned()).spawn(run).ok();
        let left = give.send(restore).err().map(|unsent| unsent.0);
        Self { drained: Some(drained), thread, left }
    }

    /// Nobody uses the ring buffers any more.
    fn go_on(&mut self) {
        self.drained = None;
    }

    /// Waits for it. Why tracefs could not be put back, which is no reason to lose the recording.
    pub(crate) fn finish(mut self) -> Option<Error> {
        self.end()
    }

    fn end(&mut self) -> Option<Error> {
        self.go_on();
        if let Some(left) = self.left.take() {
            return left.run();
        }
        let failed = || Some(Error::failure("tracing may not be as it was before"));
        self.thread.take().and_then(|thread| thread.join().unwrap_or_else(|_| failed()))
    }
}

impl Restore {
    fn run(self) -> Option<Error> {
        let restored = match self.own {
            Some(own) => {
                self.changes.keep();
                own.restore()
            }
            None => self.changes.restore(),
        };
        let failed = |error| Error::failure("tracing is not as it was before").because(error);
        restored.err().map(failed)
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What a reader has to know about the machine.
pub(crate) struct Machine {
    pub(crate) texts: Texts,
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

impl ReadyRecording {
    /// Does all that comes before tracing is turned on.
    ///
    /// # Errors
    /// An unknown event, clock or filter, or what the kernel refuses; everything is put back.
    pub(crate) fn new(
        plan: &MachinePlan,
        settings: &Settings,
        sinks: MakeSinks<'_>,
    ) -> Result<Self, Error> {
        let symbols = PendingSymbols::spawn()?;
        let mut applied = Applied::prepared(plan, settings.choices, settings.command)?;
        let requests =
            applied.instances.iter().map(SinkRequest::of).collect::<Result<Vec<_>, _>>()?;
        let options = recorder_options(&settings.recorder)?;
        // With -k what was asked for stays, and not what only the recorder needs.
        let mut own = settings.keep_after.then(Changes::new);
        let has_many_events = plan.traces_functions() || fills_itself(&applied.events);
        for instance in &applied.instances {
            let changes = own.as_mut().unwrap_or(&mut applied.changes);
            if settings.recorder.sleep.is_some_and(|sleep| sleep.is_zero()) {
                // Zero percent wakes at every event.
                let wake = changes.set_buffer_percent(instance, 0);
                wake.or_else(unless_unavailable)?;
            }
            if has_many_events && plan.buffer_kb(instance.name()).is_none() {
                enlarge_buffer(instance, changes, settings.most_buffer_kb);
            }
        }
        // Not beside anything: where processors are emulated, one that changes code which another runs can
        // keep both from getting on.
        applied.switch()?;
        let sinks = sinks(&applied.dir, &requests)?;
        let running = start_recorders(applied.instances.clone(), requests, sinks, &options)?;
        if !settings.no_filter && (has_many_events || settings.printer.is_some()) {
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
        let Settings { codec, texts_first, .. } = *settings;
        let priority = options.priority;
        Ok(Self { running, applied, own, symbols, formats, codec, texts_first, priority })
    }

    /// Bytes in a sub-buffer of the first recorded instance.
    pub(crate) fn sub_buffer_size(&self) -> Result<u32, Error> {
        let size = self.running.first().map(|one| one.instance.sub_buffer_size());
        let size = size.transpose().map_err(kernel_error)?.unwrap_or_default();
        u32::try_from(size).map_err(|_| Error::failure(format!("a sub-buffer of {size} bytes")))
    }

    /// Turns tracing on.
    ///
    /// # Errors
    /// What the kernel refuses; everything is put back.
    pub(crate) fn begin(self) -> Result<LocalRecording, Error> {
        let Self { running, mut applied, own, symbols, formats, codec, texts_first, priority } =
            self;
        let texts = if texts_first {
            // Who prints at once needs them first, and what reading them does is of no interest.
            let texts = Texts::read(&applied.dir, formats.as_ref(), symbols, codec, drop)?;
            applied.begin()?;
            PendingTexts::Here(texts)
        } else {
            applied.begin()?;
            // Read while tracing goes on: the symbols alone take longer than starting does.
            PendingTexts::spawn(&applied.dir, formats, symbols, codec)?
        };
        let Applied { dir, changes, events, .. } = applied;
        Ok(LocalRecording { running, texts, changes, own, dir, events, priority })
    }
}

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
        ReadyRecording::new(plan, settings, sinks)?.begin()
    }

    /// Whether every sink has failed, so that going on is useless.
    pub(crate) fn has_failed(&self) -> bool {
        !self.running.is_empty() && self.running.iter().all(|one| one.recorder.is_finished())
    }

    /// Whether a sink has failed.
    pub(crate) fn has_failure(&self) -> bool {
        self.running.iter().any(|one| one.recorder.has_failure())
    }

    /// Whether the kernel's texts are still read.
    pub(crate) fn reads_texts(&self) -> bool {
        !self.texts.are_read()
    }

    /// What came of the kernel's texts since this was asked before.
    pub(crate) fn texts(&mut self) -> Option<Texts> {
        self.texts.ready()
    }

    /// How much was recorded and lost so far.
    pub(crate) fn progress(&self) -> Progress {
        let recorders = || self.running.iter().map(|one| &one.recorder);
        Progress {
            bytes: recorders().map(Recorder::bytes).sum(),
            lost: recorders().map(Recorder::lost_events).sum(),
            guests: 0,
        }
    }

    /// Has what was delivered written to the disk, so that the end does not wait for it.
    pub(crate) fn write_back(&mut self) {
        for one in &mut self.running {
            one.recorder.write_back();
        }
    }

    /// Waits for what was read of the kernel, and adds what can be said before the end.
    pub(crate) fn machine(&mut self) -> Result<Machine, Error> {
        let texts = self.texts.wait()?;
        Machine::new(&self.dir, self.running.first().map(|one| &one.instance), texts)
    }

    /// Tells how full the fullest ring buffer of a CPU is, in percent.
    pub(crate) fn backlog(&self) -> impl Fn() -> u8 + Send + use<> {
        let mut buffers = Vec::new();
        for Running { instance, .. } in &self.running {
            for cpu in instance.cpus().unwrap_or_default() {
                if let Ok(BufferSize::Same(kb) | BufferSize::NotExpanded(kb)) =
                    instance.cpu_buffer_size(cpu)
                {
                    buffers.push((instance.clone(), cpu, kb.saturating_mul(1024).max(1)));
                }
            }
        }
        move || {
            let percent = buffers.iter().filter_map(|(instance, cpu, size)| {
                let bytes = instance.buffer_stats(*cpu).ok()?.bytes;
                u8::try_from((u128::from(bytes) * 100 / u128::from(*size)).min(100)).ok()
            });
            percent.max().unwrap_or(0)
        }
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

    /// Stops tracing, takes what is left, puts tracefs back. Says which events went away meanwhile.
    ///
    /// # Errors
    /// What a reader needs could not be read. Data that was recorded stays in the sinks.
    pub(crate) fn stop(self) -> Result<Recorded, Error> {
        let Self { running, mut texts, mut changes, own, dir, mut events, priority } = self;
        for one in &running {
            changes.set_tracing_on(&one.instance, false).map_err(kernel_error)?;
        }
        // The kernel waits for all CPUs many times meanwhile; data is taken and the file is made.
        let mut restoring = Restoring::start(Restore { changes, own }, priority);
        let first = running.first().map(|one| one.instance.clone());
        let mut buffers = Vec::new();
        for Running { instance, recorder } in running {
            let ledger = recorder.stop();
            // A buffer that was empty was not emptied again, and goes on counting what is read.
            let stats = ledger.cpus.iter().map(|one| {
                instance.buffer_stats_text(one.cpu).map(|text| one.stats.worded_as(&text))
            });
            let stats = stats.collect::<Result<_, _>>().map_err(kernel_error)?;
            let name = instance.name().map(str::to_owned);
            buffers.push(RecordedBuffer { name, stats, ledger });
        }
        tell_removed(&dir.top().take_removed(&mut events));
        let seen = Seen::now(&dir, first.as_ref())?;
        restoring.go_on();
        let machine = Machine::seen(seen, texts.wait()?);
        Ok(Recorded { machine, buffers, restoring })
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
            codec: None,
            printer: None,
            texts_first: args.remote.is_some(),
            command: None,
            most_buffer_kb: None,
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

fn start_recorders(
    instances: Vec<Instance>,
    requests: Vec<SinkRequest>,
    sinks: Vec<Vec<Sink>>,
    options: &RecorderOptions,
) -> Result<Vec<Running>, Error> {
    let each = instances.into_iter().zip(requests).zip(sinks);
    let start = |((instance, request), sinks): ((Instance, SinkRequest), Vec<Sink>)| {
        let sinks = request.cpus.into_iter().zip(sinks).collect();
        let recorder = Recorder::start(&instance, sinks, options).map_err(kernel_error)?;
        Ok(Running { instance, recorder })
    };
    each.map(start).collect()
}

/// Systems whose events tell of others than the task that is running, so that there are not very many,
/// and few of the recorder's own. Leaving those out has its price: the kernel takes tens of
/// milliseconds to end it.
const OF_OTHERS: [&str; 8] =
    ["sched", "irq", "irq_vectors", "timer", "power", "ipi", "thermal", "workqueue"];

/// Whether the recorder would record much of itself.
fn fills_itself(events: &EventSelection) -> bool {
    events.systems().any(|system| !OF_OTHERS.contains(&system))
}

/// KiB of a CPU's ring buffer that outlast the pauses of a busy machine, and of all CPUs together. It
/// is set before tracing begins: the kernel does not trace while it makes a buffer larger.
const USUAL_BUFFER_KB: u64 = 4096;
const ALL_BUFFERS_KB: u64 = 512 << 10;

/// Gives a ring buffer of the usual size to an instance that has a smaller one. A kernel that has no
/// memory for it leaves it as it was.
fn enlarge_buffer(instance: &Instance, changes: &mut Changes, most: Option<u64>) {
    let cpus = instance.cpus().map_or(1, |cpus| cpus.len().max(1) as u64);
    let wanted = USUAL_BUFFER_KB.min(ALL_BUFFERS_KB / cpus).min(most.unwrap_or(u64::MAX));
    let is_smaller = match instance.buffer_size() {
        Ok(BufferSize::Same(kb) | BufferSize::NotExpanded(kb)) => kb < wanted,
        _ => false,
    };
    if is_smaller {
        let _ = changes.set_buffer_size_kb(instance, wanted);
    }
}

/// Says which events went away while they were recorded: with them went what was not yet read.
fn tell_removed(removed: &EventSelection) {
    let words = removed.words();
    let Some(first) = words.first() else { return };
    let others = match words.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    tell(&format!(
        "{first}{others} went away while recorded, as with an unloaded module; \
         the kernel then drops what its ring buffers hold"
    ));
}

fn recorder_options(args: &RecorderArgs) -> Result<RecorderOptions, Error> {
    let mut options = RecorderOptions::default();
    options.way = args.way;
    options.priority = args.priority()?;
    // At the end whoever takes the data has as long as before.
    options.stop_timeout = peer_timeout::DEFAULT;
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

/// What of a machine has to be read before tracefs is put back.
struct Seen {
    cmdlines: Vec<u8>,
    trace_clock: Vec<u8>,
    sub_buffer_size: usize,
}

impl Seen {
    fn now(dir: &TracingDir, instance: Option<&Instance>) -> Result<Self, Error> {
        let top = dir.top();
        let instance = instance.unwrap_or(&top);
        Ok(Self {
            // Names are a comfort: a kernel that keeps none is no reason to lose the recording.
            cmdlines: capture::saved_cmdlines(dir).unwrap_or_default(),
            trace_clock: capture::trace_clock(instance).map_err(kernel_error)?,
            sub_buffer_size: instance.sub_buffer_size().map_err(kernel_error)?,
        })
    }
}

impl Machine {
    /// Adds what can be said now to what was read before.
    pub(crate) fn new(
        dir: &TracingDir,
        instance: Option<&Instance>,
        texts: Texts,
    ) -> Result<Self, Error> {
        Ok(Self::seen(Seen::now(dir, instance)?, texts))
    }

    fn seen(seen: Seen, texts: Texts) -> Self {
        let Seen { cmdlines, trace_clock, sub_buffer_size } = seen;
        Self { texts, cmdlines, trace_clock, cpus: capture::possible_cpus(), sub_buffer_size }
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
