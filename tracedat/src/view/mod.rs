//! A trace as one web page: CPUs and tasks of all machines on one time axis (`trace-cmd view`).
//!
//! ```text
//! records ─► machine (which task each CPU had, what each task did) ─► track, columns ─┐
//!         └► vcpu (what became of virtual CPUs) ──────────────────────────────────────┤ page ─► one HTML file
//! records ─► report --json ─► blocks, decompressed when they are looked at ───────────┘
//! ```
//!
//! The page needs no network and forbids itself one. All that depends on the trace is base64 or JSON without `<`, and the page shows it
//! as text only. Numbers are varints, deflated: two to four bytes an event, and some thirty with its details.

mod base64;
mod details;
mod json;
mod machine;
mod page;
mod role;
mod track;

use std::io;

use thiserror::Error;

use crate::clock::{ClockOptions, ErrorBounds};
use crate::compress::CompressError;
use crate::error::ReadError;
use crate::read::Merge;
use crate::report::{Report, ReportError, ReportInput};
use crate::vcpu::{VcpuTimes, VcpuUse};
use machine::Machine;
use track::varint;

/// A page that could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ViewError {
    /// A trace cannot be read on.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The page cannot be written.
    #[error("cannot write the page")]
    Write(#[from] io::Error),
    /// The page's data cannot be compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
}

impl From<ReportError> for ViewError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Read(cause) => Self::Read(cause),
            ReportError::Write(cause) => Self::Write(cause),
        }
    }
}

/// All that a page shows but the details of single events. Takes some bytes of memory per event.
#[derive(Debug)]
pub struct View<'m> {
    names: Vec<String>,
    machines: Vec<Machine<'m>>,
    vcpus: Vec<VcpuUse>,
    /// The file that tells of `vcpus`.
    host: usize,
    bounds: Vec<Vec<(u64, u64)>>,
    columns: Columns,
    /// The time of the first record.
    start: u64,
    /// The last event's time, from the first one's on.
    last: u64,
    events: u64,
    left_out: u64,
    seconds: bool,
}

/// The events by time, as varints.
#[derive(Debug, Default)]
struct Columns {
    /// Since the event before.
    times: Vec<u8>,
    machines: Vec<u8>,
    cpus: Vec<u8>,
    names: Vec<u8>,
    tasks: Vec<u8>,
}

/// Places in which the bound of a guest's clock is told.
const BOUNDS: u64 = 256;

impl<'m> View<'m> {
    /// Takes the records that are left and that the report's options select, `inputs` being their files, up to `max_events`; of
    /// those behind it only knows how many there are. `clocks` are the corrections that were set for each file.
    ///
    /// # Errors
    ///
    /// A file cannot be read on.
    pub fn collect(
        report: &Report,
        inputs: &[ReportInput<'m>],
        clocks: &[ClockOptions],
        records: &mut Merge,
        max_events: u64,
    ) -> Result<Self, ReadError> {
        let mut machines: Vec<_> =
            inputs.iter().map(|input| Machine::new(input.metadata)).collect();
        let host = inputs.iter().position(|input| !input.metadata.guests().is_empty()).unwrap_or(0);
        let mut vcpus = inputs.get(host).map(|input| VcpuTimes::with_spans(input.metadata));
        let mut columns = Columns::default();
        let (mut start, mut last, mut events, mut left_out) = (None, 0, 0, 0);
        report.visit(inputs, records, |file, record| {
            if events == max_events {
                left_out += 1;
                return;
            }
            let Some(machine) = machines.get_mut(file) else { return };
            let time = record.time.saturating_sub(*start.get_or_insert(record.time));
            let mark = machine.add(time, record);
            varint(time.saturating_sub(last), &mut columns.times);
            varint(file as u64, &mut columns.machines);
            varint(mark.cpu as u64, &mut columns.cpus);
            varint(mark.name as u64, &mut columns.names);
            varint(mark.task as u64, &mut columns.tasks);
            last = last.max(time);
            events += 1;
            if let Some(vcpus) = vcpus.as_mut().filter(|_| file == host) {
                vcpus.add(record);
            }
        })?;
        let start = start.unwrap_or(0);
        Ok(Self {
            names: inputs.iter().map(|input| input.name.to_owned()).collect(),
            machines,
            vcpus: vcpus.map(VcpuTimes::finish).unwrap_or_default(),
            host,
            bounds: inputs
                .iter()
                .zip(clocks)
                .map(|(input, clock)| bounds(input, clock, start, last))
                .collect(),
            columns,
            start,
            last,
            events,
            left_out,
            seconds: inputs.iter().all(|input| report.options().shows_seconds(input.metadata)),
        })
    }

    /// How many events the page has.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many there are behind them.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// By how much times of a file may be wrong on its worst CPU, at some places from the first event to the last.
fn bounds(input: &ReportInput<'_>, clock: &ClockOptions, start: u64, last: u64) -> Vec<(u64, u64)> {
    let cpus = ErrorBounds::of_cpus(input.metadata, clock);
    let step = (last / BOUNDS).max(1);
    let at = |time: u64| {
        let at = |bounds: &ErrorBounds| bounds.at(start.saturating_add(time));
        cpus.iter().flatten().map(|bounds| at(bounds)).max().map(|error| (time, error))
    };
    (0..=last / step).map_while(|place| at(place * step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;
    use crate::report::ReportOptions;
    use crate::testing::Story;

    /// Changes of a track: times in microseconds, and values.
    fn changes(track: &track::Track) -> Vec<(u64, u64)> {
        let mut numbers = Vec::new();
        let (mut number, mut shift) = (0, 0);
        for byte in &track.bytes {
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                numbers.push(number);
                (number, shift) = (0, 0);
            }
        }
        let mut time = 0;
        let pairs = numbers.chunks(2).map(|pair| {
            time += pair[0];
            (time / 1000, pair[1])
        });
        pairs.collect()
    }

    /// What a view makes of the first `max_events` of a story.
    fn view<T>(story: &Story, max_events: u64, look: impl FnOnce(&View<'_>) -> T) -> T {
        let (files, mut records) = Merge::new(vec![Reader::parse(story.build()).unwrap()]);
        let inputs = [ReportInput { name: "story.dat", metadata: &files[0] }];
        let clocks = [ClockOptions::default()];
        let report = Report::new(ReportOptions::default());
        look(&View::collect(&report, &inputs, &clocks, &mut records, max_events).unwrap())
    }

    fn states(view: &View<'_>, pid: i32) -> Vec<(u64, u64)> {
        changes(&view.machines[0].tasks.iter().find(|task| task.pid == pid).unwrap().states)
    }

    #[test]
    fn switches_and_wakeups_tell_what_tasks_do() {
        // At 0, 1, 2, 3 us: 7 sleeps, is woken by 8 and gets the CPU of 8, which stays ready.
        let story = Story::default().switch(7, 1, 8).begin(8, 0, 0).wake(8, 7).switch(8, 0, 7);
        view(&story, 9, |view| {
            assert_eq!(states(view, 7), [(0, 1), (0, 4), (2, 3), (3, 1)]);
            assert_eq!(states(view, 8), [(0, 1), (3, 2)]);
            let tasks = &view.machines[0].tasks;
            let running: Vec<_> = changes(&view.machines[0].cpus[0].running)
                .into_iter()
                .map(|(time, task)| (time, tasks[task as usize - 1].pid))
                .collect();
            assert_eq!(running, [(0, 7), (0, 8), (3, 7)]);
            assert_eq!((view.events(), view.left_out(), view.last), (4, 0, 3000));
        });
    }

    #[test]
    fn nothing_is_known_of_a_cpu_from_the_last_record_before_a_loss() {
        let story =
            Story::default().switch(7, 1, 8).begin(8, 0, 0).wait(9000).lose().begin(9, 0, 0);
        view(&story, 9, |view| {
            let cpu = &view.machines[0].cpus[0];
            assert_eq!(changes(&cpu.lost), [(1, 1), (11, 0)]);
            let times: Vec<_> =
                changes(&cpu.running).into_iter().map(|(time, task)| (time, task > 0)).collect();
            assert_eq!(times, [(0, true), (0, true), (1, false), (11, true)]);
            assert_eq!(states(view, 8), [(0, 1), (1, 0)]);
            assert_eq!(states(view, 9), [(11, 1)]);
        });
    }

    #[test]
    fn a_record_of_another_task_than_the_last_switch_told_is_believed() {
        let story = Story::default().switch(7, 1, 8).begin(8, 0, 0).begin(9, 0, 0);
        view(&story, 9, |view| {
            assert_eq!(states(view, 8), [(0, 1), (1, 0)]);
            assert_eq!(states(view, 9), [(2, 1)]);
        });
    }

    #[test]
    fn interrupts_nest_and_the_rest_is_counted() {
        let story = Story::default().irq_enter(7, 1).irq_exit(7, 1).begin(7, 0, 0).begin(7, 0, 0);
        view(&story, 3, |view| {
            assert_eq!(changes(&view.machines[0].cpus[0].interrupts), [(0, 2), (1, 0)]);
            assert_eq!((view.events(), view.left_out()), (3, 1));
        });
    }

    #[test]
    fn states_of_virtual_cpus_follow_one_another() {
        let story = Story::default()
            .guest("g", &[7])
            .switch(9, 1, 7)
            .kvm_entry(7, 0)
            .kvm_exit(7, 0, 12)
            .switch(7, 1, 9);
        view(&story, 9, |view| {
            let spans: Vec<_> = view.vcpus[0].spans.iter().map(|span| span.state).collect();
            use crate::vcpu::State::{InGuest, InHost};
            assert_eq!(spans, [InHost, InGuest, InHost]);
        });
    }
}
