//! A plan carried out: tracefs is set up, and put back.

use std::path::Path;

use tracefs::changes::Journal;
use tracefs::{Changes, EventSelection, Instance, TracingDir};

use super::plan::MachinePlan;
use super::step::Step;
use super::steps::{Choices, Setup};
use crate::command::record::kernel_error;
use crate::error::Error;
use crate::output::tell;

/// Where it is written down what has to be put back, for who comes after a SIGKILL.
const JOURNALS: &str = "/run/trace-cmd/journals";

/// Tracing as a plan wants it, all but turned on. Dropping it puts tracefs back.
pub(crate) struct Applied {
    pub(crate) dir: TracingDir,
    pub(crate) changes: Changes,
    /// Where is traced: the top-level instance first, if it is used.
    pub(crate) instances: Vec<Instance>,
    /// All events that may occur.
    pub(crate) events: EventSelection,
    command: Option<i32>,
    /// What is left to be done, of which the kernel takes long to do some.
    switches: Vec<Step>,
    begin: Vec<Step>,
}

impl Applied {
    /// Sets tracing up, with `command` as the task of the command.
    ///
    /// # Errors
    /// An unknown event, clock or filter, or what the kernel refuses; everything is put back.
    pub(crate) fn new(
        plan: &MachinePlan,
        choices: Choices,
        command: Option<i32>,
    ) -> Result<Self, Error> {
        let mut applied = Self::prepared(plan, choices, command)?;
        applied.switch()?;
        Ok(applied)
    }

    /// The same up to the point from where on only events and tracers are [switched](Self::switch):
    /// instances are there, and their ring buffers are as they will be.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn prepared(
        plan: &MachinePlan,
        choices: Choices,
        command: Option<i32>,
    ) -> Result<Self, Error> {
        let dir = TracingDir::find_or_mount().map_err(kernel_error)?;
        let mut setup = Setup::new(plan, choices, &dir).map_err(kernel_error)?;
        for pattern in &setup.skipped {
            tell(&format!("no event matches '{pattern}'; going on without"));
        }
        let prepared = setup.steps.iter().rposition(|step| !step.is_switch());
        let switches = setup.steps.split_off(prepared.map_or(0, |last| last + 1));
        let mut changes = changes(&dir, choices);
        for step in &setup.steps {
            step.apply(&dir, &mut changes, command).map_err(kernel_error)?;
        }
        let instances = setup.places.iter().map(|place| place.instance(&dir));
        let instances = instances.collect::<Result<_, _>>().map_err(kernel_error)?;
        let begin = setup.begin().cloned().collect();
        Ok(Self { dir, changes, instances, events: setup.events, command, switches, begin })
    }

    /// Switches events and tracers as the plan says.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn switch(&mut self) -> Result<(), Error> {
        let mut steps = self.switches.iter();
        steps
            .try_for_each(|step| step.apply(&self.dir, &mut self.changes, self.command))
            .map_err(kernel_error)
    }

    /// Does what comes last: lets the ring buffers take events, sets triggers.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        let mut steps = self.begin.iter();
        steps
            .try_for_each(|step| step.apply(&self.dir, &mut self.changes, None))
            .map_err(kernel_error)
    }
}

/// Says who was killed and left tracing changed: what is found is what this leaves behind too.
fn offer_repair(dir: &TracingDir) {
    let found = Journal::stale(dir, Path::new(JOURNALS)).unwrap_or_default();
    for journal in found.journals {
        tell(&format!(
            "process {} was killed and left tracing changed; 'trace-cmd reset --stale' puts it back",
            journal.pid()
        ));
    }
}

fn changes(dir: &TracingDir, choices: Choices) -> Changes {
    // A journal has files of the tracing directory only, and this one is not.
    if choices.no_ftrace {
        return Changes::new();
    }
    offer_repair(dir);
    // Without a place for it this is all there is to lose: a repair after SIGKILL.
    Changes::journaled(dir, Path::new(JOURNALS)).unwrap_or_default()
}
