//! What was changed, and how it was before: everything a recording touches is put back.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use crate::buffer_control::BufferSize;
use crate::control_file::ControlFile;
use crate::error::Error;
use crate::event::{EventName, EventSelection};
use crate::instance::Instance;
use crate::pid_filter::PidFilter;
use crate::tracing_dir::TracingDir;

/// A journal of changes. Every write through it remembers the old value first; [`restore`]
/// (or dropping it, also in a panic) puts all back, what was touched last first.
///
/// Control files and events get the state they had before they were first touched. What is not
/// put back is the content of the ring buffers: a recording consumes it, and a new clock or size
/// empties them. Changes inside an instance that was made here are not remembered one by one:
/// the instance goes as a whole, once nobody has its files open.
///
/// [`restore`]: Self::restore
#[derive(Debug, Default)]
#[must_use = "dropping it puts everything back"]
pub struct Changes {
    journal: Vec<Undo>,
    /// Files whose old value is in the journal.
    known: HashSet<PathBuf>,
    /// Directories of instances made here.
    created: HashSet<PathBuf>,
}

/// What could not be put back; the rest was.
#[derive(Debug, thiserror::Error)]
#[error("{} of the changes to tracing could not be put back: {}", errors.len(), first(errors))]
pub struct RestoreError {
    /// One error for each.
    pub errors: Vec<Error>,
}

#[derive(Debug)]
enum Undo {
    RemoveInstance { dir: TracingDir, name: String },
    Write { file: ControlFile, old: String },
    Pids { instance: Instance, filter: PidFilter, old: Vec<i32> },
    Events { instance: Instance, before: BTreeSet<EventName>, touched: EventSelection },
    Filters { instance: Instance, touched: EventSelection, old: Vec<(EventName, String)> },
}

impl Changes {
    /// Nothing changed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an instance, or takes the one that is there (the flag says so); one that was made
    /// is removed again.
    ///
    /// # Errors
    /// As [`TracingDir::create_instance`].
    pub fn create_instance(
        &mut self,
        dir: &TracingDir,
        name: &str,
    ) -> Result<(Instance, bool), Error> {
        let (instance, existed) = dir.create_instance(name)?;
        if !existed {
            self.created.insert(instance.path().to_owned());
            self.journal.push(Undo::RemoveInstance { dir: dir.clone(), name: name.to_owned() });
        }
        Ok((instance, existed))
    }

    /// Writes one control file that takes what it shows.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn write(&mut self, file: &ControlFile, value: &str) -> Result<(), Error> {
        if self.is_new(file) {
            let old = file.read_text()?;
            self.remember(file, old);
        }
        file.write(value)
    }

    /// Lets the ring buffers take events, or not.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_tracing_on(&mut self, instance: &Instance, on: bool) -> Result<(), Error> {
        self.write(&instance.file("tracing_on"), if on { "1" } else { "0" })
    }

    /// Sets the trace clock; nothing is written if it is set already.
    ///
    /// # Errors
    /// As [`Instance::set_trace_clock`].
    pub fn set_trace_clock(&mut self, instance: &Instance, name: &str) -> Result<(), Error> {
        let current = instance.trace_clocks()?.current;
        if current == name {
            return Ok(());
        }
        let file = instance.file("trace_clock");
        if self.is_new(&file) {
            self.remember(&file, current);
        }
        instance.set_trace_clock(name)
    }

    /// Sets the size of each CPU's ring buffer in KiB.
    ///
    /// # Errors
    /// As [`Instance::set_buffer_size_kb`].
    pub fn set_buffer_size_kb(&mut self, instance: &Instance, size_kb: u64) -> Result<(), Error> {
        let file = instance.file("buffer_size_kb");
        if self.is_new(&file) {
            match instance.buffer_size()? {
                // What it would have become: the kernel expands once, and never again.
                BufferSize::Same(old) | BufferSize::NotExpanded(old) => {
                    self.remember(&file, old.to_string());
                }
                BufferSize::PerCpu => {
                    for cpu in instance.cpus()? {
                        if let BufferSize::Same(old) = instance.cpu_buffer_size(cpu)? {
                            self.remember(
                                &instance.cpu_file(cpu, "buffer_size_kb"),
                                old.to_string(),
                            );
                        }
                    }
                    self.known.insert(file.path().to_owned());
                }
            }
        }
        instance.set_buffer_size_kb(size_kb)
    }

    /// Sets or clears a trace option.
    ///
    /// # Errors
    /// As [`Instance::set_trace_option`].
    pub fn set_trace_option(
        &mut self,
        instance: &Instance,
        name: &str,
        on: bool,
    ) -> Result<(), Error> {
        let old = instance.trace_option(name)?;
        let file = instance.file(&format!("options/{name}"));
        if self.is_new(&file) {
            self.remember(&file, if old { "1" } else { "0" }.to_owned());
        }
        instance.set_trace_option(name, on)
    }

    /// Enables what is selected. Events that were on before are on again afterwards, and only
    /// events selected here are turned off.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn enable(&mut self, instance: &Instance, selection: &EventSelection) -> Result<(), Error> {
        if !self.is_created(instance) {
            let known = self.journal.iter_mut().find_map(|undo| match undo {
                Undo::Events { instance: i, touched, .. } if i == instance => Some(touched),
                _ => None,
            });
            match known {
                Some(touched) => touched.add(selection),
                None => self.journal.push(Undo::Events {
                    instance: instance.clone(),
                    before: instance.enabled_events()?,
                    touched: selection.clone(),
                }),
            }
        }
        instance.enable(selection, true)
    }

    /// Sets the filter of what is selected.
    ///
    /// # Errors
    /// What the kernel answers, with its explanation.
    pub fn set_event_filter(
        &mut self,
        instance: &Instance,
        selection: &EventSelection,
        filter: &str,
    ) -> Result<(), Error> {
        if !self.is_created(instance) {
            let mut old = Vec::new();
            for name in selection.events() {
                // Some events have no filter file; the kernel passes over them too.
                match instance.event_filter(&name) {
                    Ok(Some(text)) => old.push((name, text)),
                    Ok(None) | Err(Error::NotSupported { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            let touched = selection.clone();
            self.journal.push(Undo::Filters { instance: instance.clone(), touched, old });
        }
        instance.set_event_filter(selection, Some(filter))
    }

    /// Leaves the events of these tasks out, as those of the recorder itself.
    ///
    /// # Errors
    /// [`Error::NotSupported`] on kernels before 5.7, or what the kernel answers.
    pub fn exclude_pids(&mut self, instance: &Instance, pids: &[i32]) -> Result<(), Error> {
        self.add_pids(instance, PidFilter::Except, pids)
    }

    /// Traces the events of these tasks only, besides those that are in the list already.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn include_pids(&mut self, instance: &Instance, pids: &[i32]) -> Result<(), Error> {
        self.add_pids(instance, PidFilter::Only, pids)
    }

    fn add_pids(
        &mut self,
        instance: &Instance,
        filter: PidFilter,
        pids: &[i32],
    ) -> Result<(), Error> {
        let file = instance.file(filter.file_name());
        if self.is_new(&file) && !self.is_created(instance) {
            let old = instance.pid_filter(filter)?;
            self.known.insert(file.path().to_owned());
            self.journal.push(Undo::Pids { instance: instance.clone(), filter, old });
        }
        instance.add_to_pid_filter(filter, pids)
    }

    /// Puts everything back.
    ///
    /// # Errors
    /// What could not be put back; all of it is tried.
    pub fn restore(mut self) -> Result<(), RestoreError> {
        let errors = self.undo_all();
        if errors.is_empty() { Ok(()) } else { Err(RestoreError { errors }) }
    }

    /// Forgets what was remembered, so everything stays as it is now.
    pub fn keep(mut self) {
        self.journal.clear();
    }

    fn undo_all(&mut self) -> Vec<Error> {
        let undone = self.journal.drain(..).rev().map(Undo::run);
        let errors = undone.filter_map(Result::err).collect();
        self.known.clear();
        self.created.clear();
        errors
    }

    fn is_created(&self, instance: &Instance) -> bool {
        self.created.contains(instance.path())
    }

    fn is_new(&self, file: &ControlFile) -> bool {
        let path = file.path();
        !self.known.contains(path) && !self.created.iter().any(|made| path.starts_with(made))
    }

    fn remember(&mut self, file: &ControlFile, old: String) {
        self.known.insert(file.path().to_owned());
        self.journal.push(Undo::Write { file: file.clone(), old });
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // Nobody is left to be told; `restore` tells.
        let _ = self.undo_all();
    }
}

impl Undo {
    fn run(self) -> Result<(), Error> {
        match self {
            Self::RemoveInstance { dir, name } => dir.remove_instance(&name),
            Self::Write { file, old } => file.write(&old),
            Self::Pids { instance, filter, old } => instance.set_pid_filter(filter, &old),
            Self::Events { instance, before, touched } => {
                restore_events(&instance, &before, &touched)
            }
            Self::Filters { instance, touched, old } => {
                // Removing a system's filter forgets its text as well, and waits for all
                // readers of filters once, not once per event.
                instance.set_event_filter(&touched, None)?;
                old.iter()
                    .try_for_each(|(name, text)| instance.event_file(name, "filter").write(text))
            }
        }
    }
}

/// Turns off what was turned on and turns on what was turned off, among the events `touched`.
fn restore_events(
    instance: &Instance,
    before: &BTreeSet<EventName>,
    touched: &EventSelection,
) -> Result<(), Error> {
    if before.is_empty() && touched.is_everything() {
        return instance.enable(touched, false);
    }
    let now = instance.enabled_events()?;
    let mut turn_off = EventSelection::default();
    for name in now.difference(before).filter(|name| touched.contains(&name.system, &name.event)) {
        // A system that was all off goes off in one write.
        let whole = touched.is_whole(&name.system)
            && !before.iter().any(|other| other.system == name.system);
        turn_off.insert(name.clone(), whole);
    }
    let gone = before.difference(&now).filter(|name| touched.contains(&name.system, &name.event));
    let turn_on: EventSelection = gone.cloned().collect();
    let off = instance.enable(&turn_off, false);
    instance.enable(&turn_on, true).and(off)
}

fn first(errors: &[Error]) -> String {
    errors.first().map(ToString::to_string).unwrap_or_default()
}
