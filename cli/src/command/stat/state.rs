//! What is set in an instance, as read from its control files.

use tracefs::buffer_control::BufferSize;
use tracefs::stack_tracer::StackTracer;
use tracefs::{ControlFile, CpuMask, Error, EventName, Instance, TraceClocks};

/// Lists of functions, with their titles.
pub(super) const FUNCTIONS: [(&str, &str); 4] = [
    ("set_ftrace_filter", "Function Filter"),
    ("set_ftrace_notrace", "Function No Trace"),
    ("set_graph_function", "Function Graph Filter"),
    ("set_graph_notrace", "Function Graph No Trace"),
];

/// Lists of events that users defined, with their titles.
pub(super) const DYNAMIC_EVENTS: [(&str, &str); 3] = [
    ("kprobe_events", "Kprobe events"),
    ("uprobe_events", "Uprobe events"),
    ("synthetic_events", "Synthetic events"),
];

/// Lists of tasks, with their titles.
pub(super) const PIDS: [(&str, &str); 4] = [
    ("set_event_pid", "Filtered event PIDs"),
    ("set_event_notrace_pid", "Filtered notrace event PIDs"),
    ("set_ftrace_pid", "Filtered function tracer PIDs"),
    ("set_ftrace_notrace_pid", "Filtered function tracer notrace PIDs"),
];

/// A list that a control file holds.
pub(super) struct List {
    pub(super) file: &'static str,
    pub(super) title: &'static str,
    /// `None` if the kernel lacks the file or refuses it.
    pub(super) lines: Option<Vec<String>>,
}

/// Which events are enabled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Enabled {
    /// None.
    None,
    /// All.
    All,
    /// All of some systems, and others by name.
    Some { systems: Vec<String>, events: Vec<(String, Vec<String>)> },
}

/// What `tracing_cpumask` holds.
pub(super) struct Mask {
    pub(super) text: String,
    pub(super) is_full: bool,
}

/// All of it. What the kernel lacks or refuses is `None`.
pub(super) struct State {
    pub(super) instance: Option<String>,
    pub(super) tracer: Option<String>,
    pub(super) events: Enabled,
    pub(super) filters: Vec<(EventName, String)>,
    pub(super) triggers: Vec<(EventName, String)>,
    pub(super) functions: Vec<List>,
    pub(super) buffer_size: Option<BufferSize>,
    /// In KiB, where CPUs differ.
    pub(super) cpu_buffer_sizes: Vec<(u32, String)>,
    pub(super) buffer_total_size: Option<String>,
    pub(super) clock: Option<String>,
    pub(super) cpu_mask: Option<Mask>,
    pub(super) max_latency: Option<u64>,
    pub(super) dynamic_events: Vec<List>,
    pub(super) pids: Vec<List>,
    pub(super) options: Option<Vec<(String, bool)>>,
    pub(super) tracing_on: Option<bool>,
    pub(super) error_log: Option<String>,
    /// `None` for an instance, which has none.
    pub(super) instances: Option<Vec<String>>,
    /// The same for all instances.
    pub(super) stack_tracer: Option<bool>,
}

impl State {
    /// Reads an instance.
    pub(super) fn read(
        instance: &Instance,
        with_options: bool,
        stack_tracer: &StackTracer,
    ) -> Result<Self, Error> {
        let text = |name: &str| optional(&instance.file(name));
        let is_top = instance.name().is_none();
        let buffer_size = text("buffer_size_kb")?.and_then(|text| BufferSize::parse(&text));
        let cpu_buffer_sizes = match buffer_size {
            Some(BufferSize::PerCpu) => cpu_buffer_sizes(instance)?,
            _ => Vec::new(),
        };
        let (filters, triggers) = filters_and_triggers(instance)?;
        let clocks = text("trace_clock")?.and_then(|text| TraceClocks::parse(&text));
        let cpu_mask = text("tracing_cpumask")?;
        Ok(Self {
            instance: instance.name().map(str::to_owned),
            tracer: text("current_tracer")?,
            events: enabled(instance)?,
            filters,
            triggers,
            functions: lists(instance, FUNCTIONS, |line| {
                !line.is_empty() && !line.starts_with('#')
            })?,
            buffer_size,
            cpu_buffer_sizes,
            buffer_total_size: text("buffer_total_size_kb")?,
            clock: clocks.map(|clocks| clocks.current),
            cpu_mask: cpu_mask.map(|text| Mask::read(instance, text)).transpose()?,
            max_latency: text("tracing_max_latency")?.and_then(|text| text.parse().ok()),
            dynamic_events: lists(instance, DYNAMIC_EVENTS, |_| true)?,
            pids: lists(instance, PIDS, |line| line != "no pid")?,
            options: if with_options { Some(instance.listed_options()?) } else { None },
            tracing_on: text("tracing_on")?.map(|text| text != "0"),
            error_log: text("error_log")?,
            instances: if is_top { Some(instance.tracing_dir().listed_instances()?) } else { None },
            stack_tracer: available(stack_tracer.is_on())?,
        })
    }
}

impl Mask {
    fn read(instance: &Instance, text: String) -> Result<Self, Error> {
        let set = CpuMask::parse_mask(&text).unwrap_or_default();
        let is_full = instance.cpus()?.into_iter().all(|cpu| set.contains(cpu));
        Ok(Self { text, is_full })
    }
}

/// The text of a control file, unless the kernel lacks or refuses it.
fn optional(file: &ControlFile) -> Result<Option<String>, Error> {
    available(file.read_text())
}

fn available<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_unavailable() => Ok(None),
        Err(error) => Err(error),
    }
}

fn lists<const N: usize>(
    instance: &Instance,
    table: [(&'static str, &'static str); N],
    wanted: fn(&str) -> bool,
) -> Result<Vec<List>, Error> {
    let list = |(file, title)| {
        let text = optional(&instance.file(file))?;
        let lines =
            |text: String| text.lines().filter(|line| wanted(line)).map(str::to_owned).collect();
        Ok(List { file, title, lines: text.map(lines) })
    };
    table.into_iter().map(list).collect()
}

fn cpu_buffer_sizes(instance: &Instance) -> Result<Vec<(u32, String)>, Error> {
    let size = |cpu| Ok((cpu, instance.cpu_file(cpu, "buffer_size_kb").read_text()?));
    instance.cpus()?.into_iter().map(size).collect()
}

fn enabled(instance: &Instance) -> Result<Enabled, Error> {
    let enable = |path: String| optional(&instance.file(&format!("events/{path}enable")));
    match enable(String::new())?.as_deref() {
        Some("0") => return Ok(Enabled::None),
        Some("1") => return Ok(Enabled::All),
        _ => {}
    }
    let (mut systems, mut events) = (Vec::new(), Vec::new());
    for system in instance.listed_systems()? {
        // A star behind it says that a trigger switches it on and off.
        match enable(format!("{system}/"))?.as_deref() {
            Some("1" | "1*") => systems.push(system),
            Some("X") => {
                let mut names = Vec::new();
                for name in instance.listed_events(&system)? {
                    let state = enable(format!("{system}/{}/", name.event))?;
                    if state.is_some_and(|state| state.starts_with('1')) {
                        names.push(name.event);
                    }
                }
                if !names.is_empty() {
                    events.push((system, names));
                }
            }
            _ => {}
        }
    }
    Ok(Enabled::Some { systems, events })
}

/// What is set on single events, besides being enabled.
type OfEvents = Vec<(EventName, String)>;

fn filters_and_triggers(instance: &Instance) -> Result<(OfEvents, OfEvents), Error> {
    let (mut filters, mut triggers) = (Vec::new(), Vec::new());
    for system in instance.listed_systems()? {
        for name in instance.listed_events(&system)? {
            let text = |file| optional(&instance.event_file(&name, file));
            let (filter, trigger) = (text("filter")?, text("trigger")?);
            if let Some(filter) = filter.map(|text| text.trim().to_owned()).filter(|f| f != "none")
            {
                filters.push((name.clone(), filter));
            }
            // Without a trigger the file lists those that could be set.
            if let Some(trigger) = trigger.filter(|text| !text.starts_with('#')) {
                triggers.push((name, trigger));
            }
        }
    }
    Ok((filters, triggers))
}
