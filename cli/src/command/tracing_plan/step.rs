//! One thing that is written to tracefs. `Display` tells it as `FILE: VALUE`, for `--dry-run`.

use std::fmt;

use tracefs::function::{FunctionCommand, FunctionList};
use tracefs::{
    Changes, ControlFile, CpuMask, EventSelection, FunctionPattern, Instance, PidFilter, TracingDir,
};

/// Stops all function tracing, also that of others.
const FTRACE_ENABLED: &str = "/proc/sys/kernel/ftrace_enabled";

/// Where something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Top,
    Instance(String),
}

/// One change, where it is made.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) place: Place,
    pub(crate) change: Change,
    /// A kernel that lacks or refuses it is no reason to stop.
    pub(crate) optional: bool,
}

/// What is changed.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    CreateInstance,
    DeleteInstance,
    TracingOn(bool),
    /// Empties the ring buffer.
    Clear,
    Clock(String),
    BufferKb(u64),
    SubBufferKb(u64),
    CpuMask(CpuMask),
    CmdlinesSize(u64),
    /// As typed: with a `no` before the name of one that is cleared.
    Option(String),
    FtraceOff,
    Filter(EventSelection, String),
    Trigger(EventSelection, String),
    Enable(EventSelection),
    Disable(EventSelection),
    /// Replaces the list, or adds to it.
    Functions {
        list: FunctionList,
        patterns: Vec<FunctionPattern>,
        replace: bool,
    },
    FunctionCommand(FunctionCommand),
    GraphDepth(u64),
    /// Replaces the list, or adds to it.
    Pids {
        filter: PidFilter,
        pids: Vec<Task>,
        replace: bool,
    },
    Tracer(String),
}

/// A task that is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Pid(i32),
    /// The command, which has no pid before it is started.
    Command,
}

impl Place {
    pub(crate) fn of(name: Option<&str>) -> Self {
        name.map_or(Self::Top, |name| Self::Instance(name.to_owned()))
    }

    /// The instance, which must be there.
    ///
    /// # Errors
    /// As [`TracingDir::instance`].
    pub(crate) fn instance(&self, dir: &TracingDir) -> Result<Instance, tracefs::Error> {
        match self {
            Self::Top => Ok(dir.top()),
            Self::Instance(name) => dir.instance(name),
        }
    }
}

impl Step {
    pub(super) fn new(place: &Place, change: Change) -> Self {
        Self { place: place.clone(), change, optional: false }
    }

    pub(super) fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Whether it switches on or off what is traced, and changes nothing about the ring buffers.
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.change, Change::Enable(_) | Change::Disable(_) | Change::Tracer(_))
    }

    /// Makes the change, with `command` as the task of the command.
    ///
    /// # Errors
    /// What the kernel answers, unless the step is optional and the kernel cannot do it.
    pub(crate) fn apply(
        &self,
        dir: &TracingDir,
        changes: &mut Changes,
        command: Option<i32>,
    ) -> Result<(), tracefs::Error> {
        match self.make(dir, changes, command) {
            Err(error) if self.optional && error.is_unavailable() => Ok(()),
            made => made,
        }
    }

    fn make(
        &self,
        dir: &TracingDir,
        changes: &mut Changes,
        command: Option<i32>,
    ) -> Result<(), tracefs::Error> {
        match (&self.change, &self.place) {
            (Change::CreateInstance, Place::Instance(name)) => {
                return changes.create_instance(dir, name).map(drop);
            }
            (Change::DeleteInstance, Place::Instance(name)) => return dir.remove_instance(name),
            _ => {}
        }
        let instance = self.place.instance(dir)?;
        match &self.change {
            // The top-level instance is always there.
            Change::CreateInstance | Change::DeleteInstance => Ok(()),
            Change::TracingOn(on) => changes.set_tracing_on(&instance, *on),
            Change::Clear => instance.clear(),
            Change::Clock(clock) => changes.set_trace_clock(&instance, clock),
            Change::BufferKb(kb) => changes.set_buffer_size_kb(&instance, *kb),
            Change::SubBufferKb(kb) => changes.set_sub_buffer_size_kb(&instance, *kb),
            Change::CpuMask(mask) => changes.set_cpu_mask(&instance, mask),
            Change::CmdlinesSize(count) => changes.set_saved_cmdlines_size(dir, *count),
            Change::Option(text) => {
                let (name, on) = option(&instance, text);
                changes.set_trace_option(&instance, name, on)
            }
            Change::FtraceOff => changes.write(&ControlFile::at(FTRACE_ENABLED), "0"),
            Change::Filter(events, filter) => changes.set_event_filter(&instance, events, filter),
            Change::Trigger(events, trigger) => events
                .events()
                .try_for_each(|event| changes.add_trigger_text(&instance, &event, trigger)),
            Change::Enable(events) => changes.enable(&instance, events),
            Change::Disable(events) => changes.disable(&instance, events),
            Change::Functions { list, patterns, replace } => {
                let mut words = Vec::new();
                for pattern in patterns {
                    words.extend(instance.resolve_functions(pattern)?);
                }
                let set = if *replace {
                    changes.set_functions(&instance, *list, &words)
                } else {
                    changes.add_functions(&instance, *list, &words)
                };
                // The kernel only says that something is wrong with it.
                set.map_err(|error| instance.unknown_function(&words).unwrap_or(error))
            }
            Change::FunctionCommand(command) => {
                let function = std::slice::from_ref(&command.function);
                changes
                    .add_function_command(&instance, command)
                    .map_err(|error| instance.unknown_function(function).unwrap_or(error))
            }
            Change::GraphDepth(depth) => changes.set_max_graph_depth(dir, *depth),
            Change::Pids { filter, pids, replace } => {
                let pids: Vec<i32> = pids.iter().filter_map(|task| task.pid(command)).collect();
                if *replace {
                    // Adding nobody remembers who is there.
                    changes.add_pids(&instance, *filter, &[])?;
                    instance.set_pid_filter(*filter, &pids)
                } else {
                    changes.add_pids(&instance, *filter, &pids)
                }
            }
            Change::Tracer(name) => changes.set_current_tracer(&instance, name),
        }
    }
}

impl Task {
    fn pid(self, command: Option<i32>) -> Option<i32> {
        match self {
            Self::Pid(pid) => Some(pid),
            Self::Command => command,
        }
    }
}

/// An option by its name, and whether it is set: some names begin with `no` themselves.
fn option<'a>(instance: &Instance, text: &'a str) -> (&'a str, bool) {
    match text.strip_prefix("no") {
        Some(name) if !instance.file(&format!("options/{text}")).exists() => (name, false),
        _ => (text, true),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("the top-level instance"),
            Self::Instance(name) => write!(f, "instance {name}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Top => String::new(),
            Place::Instance(name) => format!("instances/{name}/"),
        };
        let mut line = |file: &str, value: &str| writeln!(f, "{place}{file}: {value}");
        match &self.change {
            Change::CreateInstance => {
                writeln!(f, "{}: made, if missing", place.trim_end_matches('/'))
            }
            Change::DeleteInstance => writeln!(f, "{}: removed", place.trim_end_matches('/')),
            Change::TracingOn(on) => line("tracing_on", if *on { "1" } else { "0" }),
            Change::Clear => line("trace", "emptied"),
            Change::Clock(clock) => line("trace_clock", clock),
            Change::BufferKb(kb) => line("buffer_size_kb", &kb.to_string()),
            Change::SubBufferKb(kb) => line("buffer_subbuf_size_kb", &kb.to_string()),
            Change::CpuMask(mask) => line("tracing_cpumask", &mask.to_string()),
            Change::CmdlinesSize(count) => line("saved_cmdlines_size", &count.to_string()),
            Change::Option(text) => line("trace_options", text),
            Change::FtraceOff => writeln!(f, "{FTRACE_ENABLED}: 0"),
            Change::Filter(events, filter) => {
                let mut files = directories(events).into_iter();
                files.try_for_each(|directory| line(&format!("{directory}/filter"), filter))
            }
            Change::Trigger(events, trigger) => events.events().try_for_each(|event| {
                line(&format!("events/{}/{}/trigger", event.system, event.event), trigger)
            }),
            Change::Enable(events) | Change::Disable(events) => {
                let value = if matches!(self.change, Change::Enable(_)) { "1" } else { "0" };
                let mut files = directories(events).into_iter();
                files.try_for_each(|directory| line(&format!("{directory}/enable"), value))
            }
            Change::Functions { list, patterns, replace } => {
                if *replace {
                    line(list.file_name(), "emptied")?;
                }
                let mut patterns = patterns.iter();
                patterns.try_for_each(|pattern| line(list.file_name(), &format!("{pattern}")))
            }
            Change::FunctionCommand(command) => {
                line(FunctionList::Filter.file_name(), &command.to_string())
            }
            Change::GraphDepth(depth) => line("max_graph_depth", &depth.to_string()),
            Change::Pids { filter, pids, replace } => {
                if *replace {
                    line(filter.file_name(), "emptied")?;
                }
                let text = |task: &Task| match task {
                    Task::Pid(pid) => pid.to_string(),
                    Task::Command => "the command's pid".to_owned(),
                };
                let mut pids = pids.iter().map(text);
                pids.try_for_each(|pid| line(filter.file_name(), &pid))
            }
            Change::Tracer(name) => line("current_tracer", name),
        }
    }
}

/// The directories that stand for what is selected.
fn directories(events: &EventSelection) -> Vec<String> {
    if events.is_everything() {
        return vec!["events".to_owned()];
    }
    let mut directories = Vec::new();
    for system in events.systems() {
        if events.is_whole(system) {
            directories.push(format!("events/{system}"));
        } else {
            let names = events.events().filter(|name| name.system == system);
            directories.extend(names.map(|name| format!("events/{system}/{}", name.event)));
        }
    }
    directories
}
