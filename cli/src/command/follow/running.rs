//! A recording that runs, and when it ends.

use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use trace_virt::setup::VirtDir;
use trace_virt::time_sync::Clock;
use tracedat::read::{LiveCpu, LiveMerge};
use tracefs::{TracingDir, capture};

use super::args::{FollowArgs, clock_with_guests};
use super::channel::{self, Arrivals, News};
use super::clocks::LiveClock;
use super::guest::LiveGuest;
use super::host::{ReadyHost, settings};
use super::machine::FollowedMachine;
use super::output::PatientOutput;
use super::patience::Patience;
use crate::command::record::guests::{
    self, Conclusion, FinishedGuest, Guests, HostFile, LostGuest, joined, with_something_left,
};
use crate::command::record::local::{LocalRecording, Recorded};
use crate::command::record::plan::{GuestPlan, Plan};
use crate::command::record::wait::{Event, Signals, Tasks};
use crate::command::record::{new_trace_id, summary};
use crate::command::workload::Workload;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

/// How long it takes to notice that nothing more is wanted.
const TICK: Duration = Duration::from_millis(50);
/// Sub-buffers that are taken before records are asked for again.
const MOST_AT_ONCE: usize = 256;
/// Comparisons of a guest's clock that show how fast it drifts, and how long they are waited for.
const FIRST_COMPARISONS: u64 = 3;
const CLOCK_TIME: Duration = Duration::from_secs(1);

/// A recording whose records are taken while it runs. Dropping it puts tracing back, here and in guests.
pub(crate) struct Following {
    /// Closed before recorders are waited for, which may be waiting for room in it.
    arrivals: Option<Arrivals>,
    running: Option<Running>,
    ending: Option<JoinHandle<Ended>>,
    /// Where this machine is traced, if it is.
    dir: Option<TracingDir>,
    /// By the number of the sender.
    cpus: Vec<Option<LiveCpu>>,
    patience: Patience,
    signals: Signals,
    workload: Option<Workload>,
    tasks: Tasks,
    ends: Ends,
    trace_id: u64,
    /// What the machines are called.
    names: Vec<String>,
    /// The clock that all machines are corrected to.
    clock: Option<Clock>,
    /// Of each guest that is recorded.
    clocks: Vec<LiveClock>,
}

/// What records.
struct Running {
    local: Option<LocalRecording>,
    guests: Guests<LiveGuest>,
}

/// What it ends with, beside Ctrl-C and the command.
#[derive(Clone, Copy)]
struct Ends {
    with_tasks: bool,
    with_commands_of_guests: bool,
    /// There is nothing to follow but guests.
    with_guests: bool,
}

/// What came of it.
struct Ended {
    local: Option<Result<Recorded, Error>>,
    guests: Vec<Result<FinishedGuest, LostGuest>>,
}

impl Running {
    /// Ends this machine and guests side by side.
    fn stop(self, trace_id: u64) -> Ended {
        let Self { local, guests } = self;
        thread::scope(|scope| {
            let guests =
                scope.spawn(move || guests.finish(&HostFile { trace_id, tsc_to_nsec: None }));
            let local = local.map(LocalRecording::stop);
            Ended { local, guests: joined(guests) }
        })
    }
}

impl Following {
    /// Starts to record, in guests first, and then the command. Gives what is known about the machines, too: this one, if
    /// it is traced, then guests.
    ///
    /// # Errors
    /// An unknown event, clock, filter or command, what the kernel refuses, or no guest that can be recorded; everything is
    /// put back.
    pub(crate) fn start(
        args: &FollowArgs,
        plan: &Plan,
    ) -> Result<(Self, Vec<FollowedMachine>), Error> {
        let signals = Signals::take()?;
        Workload::check(&args.command)?;
        let virt_dir = VirtDir::locate(args.virt_dir.as_deref().map(Path::new));
        // Guests are reached before anything is changed here: most that can go wrong goes wrong there.
        let connected = guests::connect(&virt_dir, &plan.guests, &args.agents)?;
        let connected = with_something_left(connected, plan)?;
        let pids = plan.host.pids();
        let tasks = Tasks::open(&pids)?;
        let mut workload = Workload::hold(&args.command, args.setup.user.as_deref())?;
        let settings = settings(args, workload.as_ref());
        let (channel, arrivals) = channel::open();
        let follows_host = args.follows_host(plan);
        let host = follows_host.then(|| ReadyHost::new(plan, &settings, &channel)).transpose()?;

        let trace_id = new_trace_id();
        let place = |_: &GuestPlan| Ok(channel.clone());
        let mut guests = Guests::start(connected, plan, &place, trace_id)?;
        drop(channel);
        // Closed before guests are left, of which some may wait for room in it.
        let opened = arrivals;
        wait_for_clocks(&mut guests);
        let (mut local, mut dir, mut machines) = (None, None, Vec::new());
        if let Some(host) = host {
            let (recording, machine, its_dir) = host.begin(plan)?;
            (local, dir) = (Some(recording), Some(its_dir));
            machines.push(machine);
        }
        machines.extend(guests.running().filter_map(|guest| guest.sink().take_machine()));
        guests.exec();
        workload.as_mut().map_or(Ok(()), Workload::release)?;

        let alone = workload.is_none();
        let clock = clock_with_guests(plan)?;
        let following = Self {
            arrivals: Some(opened),
            ending: None,
            dir,
            cpus: Vec::new(),
            patience: clock.map_or_else(Patience::alone, Patience::with_guests),
            signals,
            workload,
            tasks,
            ends: Ends {
                with_tasks: alone && !pids.is_empty(),
                with_commands_of_guests: alone
                    && plan.guests.iter().any(|guest| guest.exec.is_some()),
                with_guests: alone && !follows_host,
            },
            trace_id,
            names: machines.iter().map(|machine| machine.name.clone()).collect(),
            clock,
            clocks: guests.running().map(|_| LiveClock::default()).collect(),
            running: Some(Running { local, guests }),
        };
        Ok((following, machines))
    }

    /// The records of the recording, to be had by [`more`](Self::more).
    pub(crate) fn records(&mut self, machines: &[FollowedMachine]) -> LiveMerge {
        let records = LiveMerge::new(machines.iter().map(|machine| &machine.metadata));
        for (file, machine) in machines.iter().enumerate() {
            for (sender, cpu) in machine.cpus(file, &records) {
                if self.cpus.len() <= sender {
                    self.cpus.resize(sender + 1, None);
                }
                if let Some(place) = self.cpus.get_mut(sender) {
                    *place = Some(cpu);
                }
            }
        }
        records
    }

    /// Standard output, which can be interrupted as the recording can.
    ///
    /// # Errors
    /// There is no way to see interruptions.
    pub(crate) fn output(&self) -> Result<PatientOutput, Error> {
        Ok(PatientOutput::new(self.signals.interruptions()?))
    }

    /// Names of tasks as the kernel of this machine has them now; `None` if it is not followed.
    pub(crate) fn task_names(&self) -> Option<Vec<u8>> {
        // Names are a comfort.
        Some(capture::saved_cmdlines(self.dir.as_ref()?).unwrap_or_default())
    }

    /// Waits a moment for sub-buffers and feeds them to `records`; false when there are no more, because the
    /// recording has ended: with its command, its tasks, or by Ctrl-C.
    ///
    /// # Errors
    /// Signals cannot be waited for.
    pub(crate) fn more(&mut self, records: &mut LiveMerge) -> Result<bool, Error> {
        self.update_clocks(records);
        let Some(arrivals) = &self.arrivals else { return Ok(false) };
        match arrivals.wait(TICK) {
            Ok(first) => {
                let more = arrivals.here(MOST_AT_ONCE);
                for News { place, at, sub_buffers } in std::iter::once(first).chain(more) {
                    let Some(&Some(cpu)) = self.cpus.get(place) else { continue };
                    self.patience.came(cpu, at, sub_buffers.is_some());
                    match sub_buffers {
                        Some(sub_buffers) => records.feed(cpu, &sub_buffers),
                        None => records.caught_up(cpu),
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => self.patience.all_came(),
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
        self.patience.apply(records);
        if let Some(running) = &mut self.running {
            running.guests.take_news();
        }
        if self.running.is_some() && self.is_over()? {
            self.begin_to_end()?;
        }
        Ok(true)
    }

    fn update_clocks(&mut self, records: &mut LiveMerge) {
        let (Some(running), Some(clock)) = (&mut self.running, self.clock) else { return };
        let first = usize::from(running.local.is_some());
        for (at, (guest, known)) in running.guests.running().zip(&mut self.clocks).enumerate() {
            known.update(guest, (first + at, records), (clock, self.trace_id));
        }
    }

    fn is_over(&mut self) -> Result<bool, Error> {
        let Some(Running { guests, .. }) = &self.running else { return Ok(false) };
        Ok(self.signals.wait(&self.tasks, Some(Duration::ZERO))? == Event::Interrupted
            || self.workload.as_mut().is_some_and(Workload::has_ended)
            || self.ends.with_tasks && self.tasks.have_ended()
            || self.ends.with_commands_of_guests && !guests.have_commands()
            || self.ends.with_guests && !guests.are_there())
    }

    /// Has another thread stop the recording, as recorders wait for the one that takes what is left.
    fn begin_to_end(&mut self) -> Result<(), Error> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let trace_id = self.trace_id;
        let stop = thread::Builder::new().name("trace-stop".to_owned());
        let stop = stop.spawn(move || running.stop(trace_id));
        self.ending =
            Some(stop.map_err(|error| Error::failure("cannot stop at once").because(error))?);
        Ok(())
    }

    /// Says what was lost or came late, how well clocks were known, and that tracing is as it was.
    ///
    /// # Errors
    /// The recording could not be ended well, or tracefs not be put back.
    pub(crate) fn end(mut self, args: &FollowArgs, records: &LiveMerge) -> Result<Exit, Error> {
        let Some(ending) = self.ending.take() else { return Ok(Exit::Success) };
        let Ended { local, guests } =
            ending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let recorded = local.transpose()?;
        let buffers = recorded.as_ref().map_or(&[][..], |recorded| &recorded.buffers);
        summary::losses(buffers);
        let Conclusion { exit, has_losses } = guests::conclude(&guests, true)?;
        let has_losses = has_losses || summary::has_losses(buffers);
        self.tell_times(args, records);
        match recorded.and_then(|recorded| recorded.restoring.finish()) {
            Some(error) => Err(error),
            None if args.fail_on_loss && has_losses && exit == Exit::Success => Ok(Exit::Lost),
            None => Ok(exit),
        }
    }

    /// Says which records came late, and how well clocks were known.
    fn tell_times(&self, args: &FollowArgs, records: &LiveMerge) {
        let unit = if self.clock == Some(Clock::X86Tsc) { "cycles" } else { "ns" };
        for (file, name) in self.names.iter().enumerate() {
            let late = records.late(file);
            if late.records > 0 {
                let place = if self.names.len() > 1 { format!("{name}: ") } else { String::new() };
                let (count, most) = (late.records, late.most);
                tell(&format!(
                    "{place}{count} events came late, behind others that are up to {most} {unit} younger"
                ));
            }
        }
        let first = self.names.len().saturating_sub(self.clocks.len());
        for (name, clock) in self.names.iter().skip(first).zip(&self.clocks) {
            let (times, worst) = clock.outcome();
            if !args.quiet {
                tell(&format!(
                    "{name}: clock compared {times} times, times of its lines wrong by {worst} {unit} at most"
                ));
            }
        }
    }
}

/// Waits until it is known how fast the clocks of guests drift, but not for long.
fn wait_for_clocks(guests: &mut Guests<LiveGuest>) {
    let until = Instant::now() + CLOCK_TIME;
    while Instant::now() < until
        && guests.running().any(|guest| guest.comparisons() < FIRST_COMPARISONS)
    {
        thread::sleep(TICK);
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.arrivals = None;
        if let Some(ending) = self.ending.take() {
            // Only so that tracefs is put back; what went wrong before is what is told.
            let _ = ending.join();
        }
    }
}
