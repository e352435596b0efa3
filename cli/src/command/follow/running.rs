//! A recording that runs, and when it ends.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracedat::Metadata;
use tracedat::read::{LiveCpu, LiveMerge};
use tracefs::{TracingDir, Way, capture};

use super::args::FollowArgs;
use super::channel::{self, News};
use super::machine;
use super::output::PatientOutput;
use crate::command::record::args::RecorderArgs;
use crate::command::record::local::{LocalRecording, Recorded, Settings, SinkRequest};
use crate::command::record::summary;
use crate::command::record::wait::{Event, Signals, Tasks};
use crate::command::tracing_plan::MachinePlan;
use crate::command::workload::Workload;
use crate::error::Error;
use crate::exit_code::Exit;

/// How often the ring buffers are looked at. A record of a CPU comes out after two looks at the others.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long it takes to notice that nothing more is wanted.
const TICK: Duration = Duration::from_millis(50);
/// A record waits for CPUs that cannot be read for once to twice as long.
const PATIENCE: Duration = Duration::from_millis(250);
/// Bytes that wait for such CPUs at most.
const MAX_HELD: usize = 64 << 20;
/// Sub-buffers that are taken before records are asked for again.
const MOST_AT_ONCE: usize = 256;

/// A recording whose records are taken while it runs. Dropping it puts tracefs back.
pub(crate) struct Following {
    /// Closed before the recorder is waited for, which may be waiting for room in it.
    news: Option<Receiver<News>>,
    recording: Option<LocalRecording>,
    ending: Option<JoinHandle<Result<Recorded, Error>>>,
    dir: TracingDir,
    requests: Vec<SinkRequest>,
    places: Vec<LiveCpu>,
    signals: Signals,
    workload: Option<Workload>,
    tasks: Tasks,
    has_tasks: bool,
    /// What has come when, to be waited for no longer.
    mark: (Instant, u64),
}

impl Following {
    /// Starts to record, and then the command. Gives what is known about the trace, too.
    ///
    /// # Errors
    /// An unknown event, clock, filter or command, or what the kernel refuses; everything is put back.
    pub(crate) fn start(args: &FollowArgs, plan: &MachinePlan) -> Result<(Self, Metadata), Error> {
        let signals = Signals::take()?;
        Workload::check(&args.command)?;
        let pids = plan.pids();
        let tasks = Tasks::open(&pids)?;
        let mut workload = Workload::hold(&args.command, args.setup.user.as_deref())?;
        let settings = Settings {
            choices: args.setup.choices(),
            keep_after: args.keep_after,
            all_formats: false,
            // Splicing takes only what is full.
            recorder: RecorderArgs {
                way: Way::Read,
                sleep: args.recorder.sleep.or(Some(INTERVAL)),
                ..args.recorder.clone()
            },
            no_filter: args.no_filter,
            codec: None,
            printer: Some(nix::unistd::gettid().as_raw()),
            texts_first: true,
            command: workload.as_ref().map(Workload::pid),
            most_buffer_kb: None,
        };
        let mut opened = None;
        let mut sinks = |dir: &TracingDir, requests: &[SinkRequest]| {
            let (sinks, news) = channel::open(requests);
            opened = Some((dir.clone(), requests.to_vec(), news));
            Ok(sinks)
        };
        let mut recording = LocalRecording::start(plan, &settings, &mut sinks)?;
        let Some((dir, requests, news)) = opened else {
            return Err(Error::failure("nothing is recorded here"));
        };
        let metadata = recording
            .machine()
            .and_then(|machine| machine::metadata(&machine, &requests, plan.tsc_to_nsec));
        let started = metadata.and_then(|metadata| {
            workload.as_mut().map_or(Ok(()), Workload::release).map(|()| metadata)
        });
        let has_tasks = workload.is_none() && !pids.is_empty();
        let following = Self {
            news: Some(news),
            recording: Some(recording),
            ending: None,
            dir,
            requests,
            places: Vec::new(),
            signals,
            workload,
            tasks,
            has_tasks,
            mark: (Instant::now(), 0),
        };
        started.map(|metadata| (following, metadata))
    }

    /// The records of the recording, to be had by [`more`](Self::more).
    pub(crate) fn records(&mut self, metadata: &Metadata) -> LiveMerge {
        let records = LiveMerge::new([metadata]);
        let mut places = Vec::new();
        for request in &self.requests {
            let name = request.name.as_deref().unwrap_or_default();
            let mut buffers = (0..).zip(&metadata.buffers);
            let index = buffers.find(|(_, buffer)| buffer.name == name).map(|(index, _)| index);
            let cpu = |&cpu: &u32| records.cpu(0, index?, cpu);
            places.extend(request.cpus.iter().filter_map(cpu));
        }
        self.places = places;
        records
    }

    /// Standard output, which can be interrupted as the recording can.
    ///
    /// # Errors
    /// There is no way to see interruptions.
    pub(crate) fn output(&self) -> Result<PatientOutput, Error> {
        Ok(PatientOutput::new(self.signals.interruptions()?))
    }

    /// Names of tasks as the kernel has them now.
    pub(crate) fn task_names(&self) -> Vec<u8> {
        // Names are a comfort.
        capture::saved_cmdlines(&self.dir).unwrap_or_default()
    }

    /// Waits a moment for sub-buffers and feeds them to `records`; false when there are no more, because the
    /// recording has ended: with its command, its tasks, or by Ctrl-C.
    ///
    /// # Errors
    /// Signals cannot be waited for.
    pub(crate) fn more(&mut self, records: &mut LiveMerge) -> Result<bool, Error> {
        let Some(news) = &self.news else { return Ok(false) };
        match news.recv_timeout(TICK) {
            Ok(first) => {
                let more = news.try_iter().take(MOST_AT_ONCE);
                for News { place, sub_buffers } in std::iter::once(first).chain(more) {
                    let Some(&cpu) = self.places.get(place) else { continue };
                    match sub_buffers {
                        Some(sub_buffers) => records.feed(cpu, &sub_buffers),
                        None => records.caught_up(cpu),
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
        if self.mark.0.elapsed() >= PATIENCE || records.held() > MAX_HELD {
            records.release(self.mark.1);
            self.mark = (Instant::now(), records.newest());
        }
        if self.recording.is_some() && self.is_over()? {
            self.begin_to_end()?;
        }
        Ok(true)
    }

    fn is_over(&mut self) -> Result<bool, Error> {
        Ok(self.signals.wait(&self.tasks, Some(Duration::ZERO))? == Event::Interrupted
            || self.workload.as_mut().is_some_and(Workload::has_ended)
            || self.has_tasks && self.tasks.have_ended())
    }

    /// Has another thread stop the recording, as the recorder waits for the one that takes what is left.
    fn begin_to_end(&mut self) -> Result<(), Error> {
        let Some(recording) = self.recording.take() else { return Ok(()) };
        let stop = thread::Builder::new().name("trace-stop".to_owned());
        let stop = stop.spawn(move || recording.stop());
        self.ending =
            Some(stop.map_err(|error| Error::failure("cannot stop at once").because(error))?);
        Ok(())
    }

    /// Says what was lost, and that tracefs is as it was.
    ///
    /// # Errors
    /// The recording could not be ended well, or tracefs not be put back.
    pub(crate) fn end(mut self, fail_on_loss: bool) -> Result<Exit, Error> {
        let Some(ending) = self.ending.take() else { return Ok(Exit::Success) };
        let recorded = ending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        summary::losses(&recorded.buffers);
        let has_losses = summary::has_losses(&recorded.buffers);
        match recorded.restoring.finish() {
            Some(error) => Err(error),
            None if fail_on_loss && has_losses => Ok(Exit::Lost),
            None => Ok(Exit::Success),
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.news = None;
        if let Some(ending) = self.ending.take() {
            // Only so that tracefs is put back; what went wrong before is what is told.
            let _ = ending.join();
        }
    }
}
