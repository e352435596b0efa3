//! Puts an instance, or all of tracing, back to what it is after boot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::control_file::ControlFile;
use crate::cpu_mask::CpuMask;
use crate::dynamic_event::DynamicKind;
use crate::error::Error;
use crate::event::EventName;
use crate::function::{FunctionList, removal_of_shown_command};
use crate::instance::Instance;
use crate::pid_filter::PidFilter;
use crate::tracing_dir::TracingDir;
use crate::trigger::removal_of_shown;

/// A reset: what is kept, and how small the ring buffers become.
///
/// Only files that are not at their default are written. What the kernel lacks or refuses is
/// passed over; what it has and cannot put back is told.
#[derive(Clone, Debug, Default)]
pub struct Reset {
    keep: BTreeSet<DynamicKind>,
    buffer_size_kb: Option<u64>,
}

/// What a reset did.
#[derive(Debug, Default)]
pub struct ResetReport {
    /// What was not at its default, in the order it was put back.
    pub put_back: Vec<PutBack>,
    /// What could not be put back; the rest was.
    pub errors: Vec<Error>,
}

/// One file that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBack {
    /// The file.
    pub path: PathBuf,
    /// What it held, a line for each item.
    pub before: String,
}

impl Reset {
    /// A reset of everything but the size of the ring buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps dynamic events of a kind.
    #[must_use]
    pub fn keep(mut self, kind: DynamicKind) -> Self {
        self.keep.insert(kind);
        self
    }

    /// Sets the size of each CPU's ring buffer, in KiB.
    #[must_use]
    pub fn buffer_size_kb(mut self, size_kb: u64) -> Self {
        self.buffer_size_kb = Some(size_kb);
        self
    }

    /// Resets the top-level instance and what all instances share: dynamic events, function graphs.
    pub fn top(&self, dir: &TracingDir) -> ResetReport {
        self.run(&dir.top())
    }

    /// Resets a named instance, and nothing else; the top-level one as [`top`](Self::top).
    pub fn instance(&self, instance: &Instance) -> ResetReport {
        self.run(instance)
    }

    fn run(&self, instance: &Instance) -> ResetReport {
        let is_top = instance.name().is_none();
        let mut report = ResetReport::default();
        // Tracers and events first: nothing is to fire while the rest goes.
        report.value(&instance.file("current_tracer"), "nop", "nop");
        report.events(instance);
        report.filters(instance);
        report.triggers(instance);
        if is_top {
            report.dynamic_events(instance.tracing_dir(), &self.keep);
        }
        report.list(&instance.file("error_log"));
        report.clock(instance);
        for filter in PidFilter::ALL {
            report.pids(instance, filter);
        }
        report.value(&instance.file("tracing_max_latency"), "0", "0");
        report.cpu_mask(instance);
        report.functions(instance, is_top);
        if let Some(size_kb) = self.buffer_size_kb {
            let size = size_kb.to_string();
            report.value(&instance.file("buffer_size_kb"), &size, &size);
        }
        report.value(&instance.file("tracing_on"), "1", "1");
        report
    }
}

impl ResetReport {
    /// Takes what a step read and did: `None` when it had nothing to do.
    fn step(&mut self, file: &ControlFile, result: Result<Option<String>, Error>) {
        match result {
            Ok(Some(before)) => {
                self.put_back.push(PutBack { path: file.path().to_owned(), before });
            }
            Ok(None) => {}
            Err(error) if error.is_unavailable() => {}
            Err(error) => self.errors.push(error),
        }
    }

    fn value(&mut self, file: &ControlFile, shown: &str, written: &str) {
        let result = file.read_text().and_then(|before| {
            if before == shown {
                return Ok(None);
            }
            file.write(written).map(|()| Some(before))
        });
        self.step(file, result);
    }

    /// A file that is emptied by truncation.
    fn list(&mut self, file: &ControlFile) {
        let result = file.read_text().and_then(|before| {
            if before.is_empty() { Ok(None) } else { file.clear().map(|()| Some(before)) }
        });
        self.step(file, result);
    }

    fn events(&mut self, instance: &Instance) {
        let result = instance.enabled_events().and_then(|enabled| {
            if enabled.is_empty() {
                return Ok(None);
            }
            instance.file("events/enable").write("0")?;
            Ok(Some(lines(enabled)))
        });
        self.step(&instance.file("events/enable"), result);
    }

    /// Filters go by system: each write waits for all who read filters.
    fn filters(&mut self, instance: &Instance) {
        let mut systems: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in self.all_events(instance) {
            if let Ok(Some(filter)) = instance.event_filter(&name) {
                systems.entry(name.system).or_default().push(format!("{}: {filter}", name.event));
            }
        }
        for (system, filters) in systems {
            let file = instance.file(&format!("events/{system}/filter"));
            let result = file.write("0").map(|()| Some(lines(filters)));
            self.step(&file, result);
        }
    }

    fn triggers(&mut self, instance: &Instance) {
        let mut left: Vec<(EventName, String)> = Vec::new();
        for name in self.all_events(instance) {
            let shown = instance.event_triggers(&name).unwrap_or_default();
            left.extend(shown.into_iter().map(|line| (name.clone(), line)));
        }
        // A histogram whose variables another one uses goes after that one.
        loop {
            let before = left.len();
            let mut refused = Vec::new();
            left.retain(|(name, shown)| {
                let file = instance.event_file(name, "trigger");
                match file.append_line(&removal_of_shown(shown)) {
                    Ok(()) => {
                        let path = file.path().to_owned();
                        self.put_back.push(PutBack { path, before: shown.clone() });
                        false
                    }
                    Err(error) => {
                        refused.push(error);
                        true
                    }
                }
            });
            if left.is_empty() || left.len() == before {
                self.errors.extend(refused);
                return;
            }
        }
    }

    fn dynamic_events(&mut self, dir: &TracingDir, keep: &BTreeSet<DynamicKind>) {
        let events = match dir.dynamic_events() {
            Ok(events) => events,
            Err(error) if error.is_unavailable() => return,
            Err(error) => return self.errors.push(error),
        };
        for kind in DynamicKind::ALL.into_iter().filter(|kind| !keep.contains(kind)) {
            for event in events.iter().rev().filter(|event| event.kind() == kind) {
                let (file, text, _) = dir.dynamic_commands(event);
                let result = dir.remove_dynamic_event(event).map(|()| Some(text));
                self.step(&file, result);
            }
        }
    }

    fn clock(&mut self, instance: &Instance) {
        let result = instance.trace_clocks().and_then(|clocks| {
            if clocks.current == "local" {
                return Ok(None);
            }
            instance.set_trace_clock("local").map(|()| Some(clocks.current))
        });
        self.step(&instance.file("trace_clock"), result);
    }

    fn pids(&mut self, instance: &Instance, filter: PidFilter) {
        let result = instance.pid_filter(filter).and_then(|pids| {
            if pids.is_empty() {
                return Ok(None);
            }
            instance.set_pid_filter(filter, &[]).map(|()| Some(lines(pids)))
        });
        self.step(&instance.file(filter.file_name()), result);
    }

    fn cpu_mask(&mut self, instance: &Instance) {
        let result = instance.cpu_mask().and_then(|mask| {
            let all: CpuMask = instance.cpus()?.into_iter().collect();
            if all.is_empty() || all.iter().all(|cpu| mask.contains(cpu)) {
                return Ok(None);
            }
            instance.set_cpu_mask(&all).map(|()| Some(mask.to_string()))
        });
        self.step(&instance.file("tracing_cpumask"), result);
    }

    fn functions(&mut self, instance: &Instance, is_top: bool) {
        let filter = instance.function_file(FunctionList::Filter);
        for shown in instance.function_commands().unwrap_or_default() {
            let result =
                filter.append_line(&removal_of_shown_command(&shown)).map(|()| Some(shown));
            self.step(&filter, result);
        }
        for list in FunctionList::ALL {
            let shared = matches!(list, FunctionList::Graph | FunctionList::GraphNotrace);
            if shared && !is_top {
                continue;
            }
            let result = instance.functions(list).and_then(|functions| {
                if functions.is_empty() {
                    return Ok(None);
                }
                instance.set_functions(list, &[]).map(|()| Some(lines(functions)))
            });
            self.step(&instance.function_file(list), result);
        }
    }

    fn all_events(&mut self, instance: &Instance) -> Vec<EventName> {
        instance.events().unwrap_or_else(|error| {
            if !error.is_unavailable() {
                self.errors.push(error);
            }
            Vec::new()
        })
    }
}

fn lines<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join("\n")
}
