//! Every kind of change, each remembered before it is made.

use super::Changes;
use super::undo::Undo;
use crate::buffer_control::BufferSize;
use crate::control_file::ControlFile;
use crate::cpu_mask::CpuMask;
use crate::dynamic_event::DynamicEvent;
use crate::error::Error;
use crate::event::{EventName, EventSelection};
use crate::function::{FUNCTION_STACKS, FunctionCommand, FunctionList};
use crate::instance::Instance;
use crate::pid_filter::PidFilter;
use crate::tracing_dir::TracingDir;
use crate::trigger::{Trigger, without_filter};

impl Changes {
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
            self.remember_value(&file, current)?;
        }
        instance.set_trace_clock(name)
    }

    /// Sets the tracer; nothing is written if it is set already.
    ///
    /// # Errors
    /// As [`Instance::set_current_tracer`].
    pub fn set_current_tracer(&mut self, instance: &Instance, name: &str) -> Result<(), Error> {
        let current = instance.current_tracer()?;
        if current == name {
            return Ok(());
        }
        let file = instance.file("current_tracer");
        if self.is_new(&file) {
            self.remember_value(&file, current)?;
        }
        instance.set_current_tracer(name)
    }

    /// Sets the size of each CPU's ring buffer in KiB.
    ///
    /// # Errors
    /// As [`Instance::set_buffer_size_kb`].
    pub fn set_buffer_size_kb(&mut self, instance: &Instance, size_kb: u64) -> Result<(), Error> {
        self.remember_buffer_size(instance)?;
        instance.set_buffer_size_kb(size_kb)
    }

    fn remember_buffer_size(&mut self, instance: &Instance) -> Result<(), Error> {
        let file = instance.file("buffer_size_kb");
        if !self.is_new(&file) {
            return Ok(());
        }
        match instance.buffer_size()? {
            // What it would have become: the kernel expands once, and never again.
            BufferSize::Same(old) | BufferSize::NotExpanded(old) => {
                self.remember_value(&file, old.to_string())
            }
            BufferSize::PerCpu => {
                for cpu in instance.cpus()? {
                    if let BufferSize::Same(old) = instance.cpu_buffer_size(cpu)? {
                        let of_cpu = instance.cpu_file(cpu, "buffer_size_kb");
                        self.remember_value(&of_cpu, old.to_string())?;
                    }
                }
                self.known.insert(file.path().to_owned());
                Ok(())
            }
        }
    }

    /// Sets the size of a sub-buffer in KiB.
    ///
    /// # Errors
    /// As [`Instance::set_sub_buffer_size_kb`].
    ///
    /// # Kernel support
    /// Since Linux 6.8.
    pub fn set_sub_buffer_size_kb(
        &mut self,
        instance: &Instance,
        size_kb: u64,
    ) -> Result<(), Error> {
        // The kernel rounds the buffers up to whole sub-buffers, and leaves it at that. What is
        // remembered first is put back last.
        self.remember_buffer_size(instance)?;
        self.write(&instance.file("buffer_subbuf_size_kb"), &size_kb.to_string())
    }

    /// Sets at how many percent a waiting reader is woken.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_buffer_percent(&mut self, instance: &Instance, percent: u64) -> Result<(), Error> {
        self.write(&instance.file("buffer_percent"), &percent.to_string())
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
            self.remember_value(&file, if old { "1" } else { "0" }.to_owned())?;
        }
        instance.set_trace_option(name, on)
    }

    /// Records a stack trace with every function the function tracer sees, or not.
    ///
    /// # Errors
    /// As [`Instance::set_function_stacks`].
    pub fn set_function_stacks(&mut self, instance: &Instance, on: bool) -> Result<(), Error> {
        instance.check_function_stacks(on)?;
        self.set_trace_option(instance, FUNCTION_STACKS, on)
    }

    /// Traces these CPUs only.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_cpu_mask(&mut self, instance: &Instance, mask: &CpuMask) -> Result<(), Error> {
        self.write(&instance.file("tracing_cpumask"), &mask.to_string())
    }

    /// Sets how deep calls are followed by the function graph tracer; 0 for no limit.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_max_graph_depth(&mut self, dir: &TracingDir, depth: u64) -> Result<(), Error> {
        self.write(&dir.file("max_graph_depth"), &depth.to_string())
    }

    /// Sets from how many microseconds on latencies and function times are recorded.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_tracing_threshold_us(
        &mut self,
        dir: &TracingDir,
        microseconds: u64,
    ) -> Result<(), Error> {
        self.write(&dir.file("tracing_thresh"), &microseconds.to_string())
    }

    /// Sets what a latency must exceed to be recorded as the largest, in microseconds.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_max_latency_us(
        &mut self,
        instance: &Instance,
        microseconds: u64,
    ) -> Result<(), Error> {
        self.write(&instance.file("tracing_max_latency"), &microseconds.to_string())
    }

    /// Sets how many names of tasks the kernel keeps.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_saved_cmdlines_size(&mut self, dir: &TracingDir, count: u64) -> Result<(), Error> {
        self.write(&dir.file("saved_cmdlines_size"), &count.to_string())
    }

    /// Enables what is selected. Events that were on before are on again afterwards, and only
    /// events selected here are turned off.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn enable(&mut self, instance: &Instance, selection: &EventSelection) -> Result<(), Error> {
        self.touch_events(instance, selection)?;
        instance.enable(selection, true)
    }

    /// Disables what is selected. Events that were on before are on again afterwards.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn disable(
        &mut self,
        instance: &Instance,
        selection: &EventSelection,
    ) -> Result<(), Error> {
        self.touch_events(instance, selection)?;
        instance.enable(selection, false)
    }

    fn touch_events(
        &mut self,
        instance: &Instance,
        selection: &EventSelection,
    ) -> Result<(), Error> {
        if self.is_created(instance) {
            return Ok(());
        }
        let known = self.undos.iter_mut().find_map(|undo| match undo {
            Undo::Events { instance: of, before, touched } if of == instance => {
                Some((&*before, touched))
            }
            _ => None,
        });
        let Some((before, touched)) = known else {
            return self.remember(Undo::Events {
                instance: instance.clone(),
                before: instance.enabled_events()?,
                touched: selection.clone(),
            });
        };
        if let Some(file) = &mut self.file {
            let (instance, before) = (instance.clone(), before.clone());
            file.add(&Undo::Events { instance, before, touched: selection.clone() })?;
        }
        touched.add(selection);
        Ok(())
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
        self.touch_filters(instance, selection)?;
        instance.set_event_filter(selection, Some(filter))
    }

    /// Remembers the filters of events that are not remembered yet.
    fn touch_filters(
        &mut self,
        instance: &Instance,
        selection: &EventSelection,
    ) -> Result<(), Error> {
        if self.is_created(instance) {
            return Ok(());
        }
        let is_known = |name: &EventName| {
            self.undos.iter().any(|undo| match undo {
                Undo::Filters { instance: of, touched, .. } => {
                    of == instance && touched.covers(name)
                }
                _ => false,
            })
        };
        let new: Vec<EventName> = selection.events().filter(|name| !is_known(name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut old = Vec::new();
        for name in &new {
            // Some events have no filter file; the kernel passes over them too.
            match instance.event_filter(name) {
                Ok(Some(text)) => old.push((name.clone(), text)),
                Ok(None) | Err(Error::NotSupported { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let all = new.len() == selection.len();
        let touched = if all { selection.clone() } else { new.into_iter().collect() };
        self.remember(Undo::Filters { instance: instance.clone(), touched, old })
    }

    /// Adds a trigger to an event.
    ///
    /// # Errors
    /// As [`Instance::add_trigger`].
    pub fn add_trigger(
        &mut self,
        instance: &Instance,
        event: &EventName,
        trigger: &Trigger,
    ) -> Result<(), Error> {
        let file = instance.event_file(event, "trigger");
        let text = trigger.to_string();
        self.remember_clock_of_hist(instance, &text)?;
        self.append_undone_by(&file, &text, trigger.removal())
    }

    /// Writes the text of a trigger to an event; one that begins with `!` removes it.
    ///
    /// # Errors
    /// As [`Instance::add_trigger`].
    pub fn add_trigger_text(
        &mut self,
        instance: &Instance,
        event: &EventName,
        text: &str,
    ) -> Result<(), Error> {
        let file = instance.event_file(event, "trigger");
        if !text.starts_with('!') {
            self.remember_clock_of_hist(instance, text)?;
            return self.append_undone_by(&file, text, removal_of_text(text));
        }
        if self.is_new(&file) {
            let old = instance.event_triggers(event)?;
            self.remember(Undo::Triggers { file: file.clone(), old })?;
        }
        file.append_line(text)
    }

    /// The kernel sets the clock for a histogram of time stamps, and leaves it so.
    fn remember_clock_of_hist(&mut self, instance: &Instance, text: &str) -> Result<(), Error> {
        let file = instance.file("trace_clock");
        if text.starts_with("hist:") && text.contains("common_timestamp") && self.is_new(&file) {
            let current = instance.trace_clocks()?.current;
            self.remember_value(&file, current)?;
        }
        Ok(())
    }

    /// Adds functions to a list.
    ///
    /// # Errors
    /// As [`Instance::add_functions`].
    pub fn add_functions(
        &mut self,
        instance: &Instance,
        list: FunctionList,
        words: &[String],
    ) -> Result<(), Error> {
        self.touch_functions(instance, list)?;
        instance.add_functions(list, words)
    }

    /// Replaces a list of functions; an empty one filters nothing.
    ///
    /// # Errors
    /// As [`Instance::set_functions`].
    pub fn set_functions(
        &mut self,
        instance: &Instance,
        list: FunctionList,
        words: &[String],
    ) -> Result<(), Error> {
        self.touch_functions(instance, list)?;
        instance.set_functions(list, words)
    }

    fn touch_functions(&mut self, instance: &Instance, list: FunctionList) -> Result<(), Error> {
        let file = instance.function_file(list);
        if self.is_new(&file) {
            self.remember_lines(&file, instance.functions(list)?)?;
        }
        Ok(())
    }

    /// Has the kernel do something whenever a function is called.
    ///
    /// # Errors
    /// As [`Instance::add_function_command`].
    pub fn add_function_command(
        &mut self,
        instance: &Instance,
        command: &FunctionCommand,
    ) -> Result<(), Error> {
        let file = instance.function_file(FunctionList::Filter);
        self.append_undone_by(&file, &command.to_string(), command.removal())
    }

    /// Makes a dynamic event; it is removed again.
    ///
    /// # Errors
    /// [`Error::EventExists`] if there is one of this name, which would be removed with it; else
    /// as [`TracingDir::create_dynamic_event`].
    pub fn create_dynamic_event(
        &mut self,
        dir: &TracingDir,
        event: &DynamicEvent,
    ) -> Result<(), Error> {
        let name = event.name();
        if dir.dynamic_events()?.iter().any(|other| other.name() == name) {
            return Err(Error::EventExists { name });
        }
        let (file, _, removal) = dir.dynamic_commands(event);
        self.remember(Undo::Append { file, line: removal })?;
        let made = dir.create_dynamic_event(event);
        if made.is_err() {
            self.forget_last();
        }
        made
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

    /// Adds tasks to a list.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn add_pids(
        &mut self,
        instance: &Instance,
        filter: PidFilter,
        pids: &[i32],
    ) -> Result<(), Error> {
        let file = instance.file(filter.file_name());
        if self.is_new(&file) {
            let old = instance.pid_filter(filter)?.iter().map(i32::to_string).collect();
            self.remember_lines(&file, old)?;
        }
        instance.add_to_pid_filter(filter, pids)
    }

    /// Remembers a file that shows lines, is emptied by truncation and added to line by line.
    fn remember_lines(&mut self, file: &ControlFile, old: Vec<String>) -> Result<(), Error> {
        self.remember(Undo::Lines { file: file.clone(), old })?;
        self.known.insert(file.path().to_owned());
        Ok(())
    }

    /// Gives a command that another one undoes.
    fn append_undone_by(
        &mut self,
        file: &ControlFile,
        line: &str,
        removal: String,
    ) -> Result<(), Error> {
        // Of an instance made here, nothing has to be undone.
        if self.created.iter().any(|made| file.path().starts_with(made)) {
            return file.append_line(line);
        }
        self.remember(Undo::Append { file: file.clone(), line: removal })?;
        let given = file.append_line(line);
        if given.is_err() {
            // What was refused may be there by somebody else's hand.
            self.forget_last();
        }
        given
    }
}

/// What takes a trigger away, from the text that sets it: the kernel finds a command by its name,
/// without count and filter, and a histogram by all of its text.
fn removal_of_text(text: &str) -> String {
    if text.starts_with("hist:") {
        return format!("!{text}");
    }
    let command = without_filter(text);
    match command.rsplit_once(':') {
        Some((name, count)) if !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()) => {
            format!("!{name}")
        }
        _ => format!("!{command}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_triggers_are_taken_away_without_count_and_filter() {
        for (text, removal) in [
            ("traceoff", "!traceoff"),
            ("traceoff:3 if pid > 1", "!traceoff"),
            ("traceoff:3\tif pid > 1", "!traceoff"),
            ("enable_event:sched:sched_switch", "!enable_event:sched:sched_switch"),
            ("enable_event:sched:sched_switch:2", "!enable_event:sched:sched_switch"),
            ("hist:keys=pid if pid > 1", "!hist:keys=pid if pid > 1"),
        ] {
            assert_eq!(removal_of_text(text), removal);
        }
    }
}
