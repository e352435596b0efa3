//! What was changed, and how it was before: everything a recording touches is put back.

use crate::control_file::ControlFile;
use crate::error::Error;
use crate::event::EventSelection;
use crate::instance::Instance;
use crate::tracing_dir::TracingDir;

/// A journal of changes. Every write through it remembers the old value first; [`restore`]
/// (or dropping it, also in a panic) puts all back, the last change first.
///
/// [`restore`]: Self::restore
#[derive(Debug, Default)]
#[must_use = "dropping it puts everything back"]
pub struct Changes {}

/// What could not be put back; the rest was.
#[derive(Debug, thiserror::Error)]
#[error("{} of the changes to tracing could not be put back; first", errors.len())]
pub struct RestoreError {
    /// One error for each.
    pub errors: Vec<Error>,
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
        let _ = (dir, name);
        unimplemented!()
    }

    /// Writes one control file that reads back as it was written.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn write(&mut self, file: &ControlFile, value: &str) -> Result<(), Error> {
        let _ = (file, value);
        unimplemented!()
    }

    /// Lets the ring buffers take events, or not.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_tracing_on(&mut self, instance: &Instance, on: bool) -> Result<(), Error> {
        let _ = (instance, on);
        unimplemented!()
    }

    /// Sets the trace clock.
    ///
    /// # Errors
    /// As [`Instance::set_trace_clock`].
    pub fn set_trace_clock(&mut self, instance: &Instance, name: &str) -> Result<(), Error> {
        let _ = (instance, name);
        unimplemented!()
    }

    /// Sets the size of each CPU's ring buffer in KiB.
    ///
    /// # Errors
    /// As [`Instance::set_buffer_size_kb`].
    pub fn set_buffer_size_kb(&mut self, instance: &Instance, size_kb: u64) -> Result<(), Error> {
        let _ = (instance, size_kb);
        unimplemented!()
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
        let _ = (instance, name, on);
        unimplemented!()
    }

    /// Enables what is selected.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn enable(&mut self, instance: &Instance, selection: &EventSelection) -> Result<(), Error> {
        let _ = (instance, selection);
        unimplemented!()
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
        let _ = (instance, selection, filter);
        unimplemented!()
    }

    /// Leaves the events of these tasks out, as those of the recorder itself.
    ///
    /// # Errors
    /// [`Error::NotSupported`] on kernels before 5.7, or what the kernel answers.
    pub fn exclude_pids(&mut self, instance: &Instance, pids: &[i32]) -> Result<(), Error> {
        let _ = (instance, pids);
        unimplemented!()
    }

    /// Puts everything back.
    ///
    /// # Errors
    /// What could not be put back; all of it is tried.
    pub fn restore(self) -> Result<(), RestoreError> {
        unimplemented!()
    }

    /// Forgets what was remembered, so everything stays as it is now.
    pub fn keep(self) {
        unimplemented!()
    }
}
