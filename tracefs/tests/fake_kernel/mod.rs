//! A directory that behaves like tracefs between two looks at it: what was written into its files
//! is carried out by `settle`, and the files then show what the kernel would show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tracefs::{DynamicEvent, TracingDir};

const EVENTS: [(&str, &str); 4] = [
    ("irq", "irq_entry"),
    ("irq", "irq_exit"),
    ("sched", "sched_switch"),
    ("sched", "sched_waking"),
];

/// Files that show the last value written to them.
const PLAIN: [(&str, &str); 11] = [
    ("tracing_on", "1"),
    ("current_tracer", "nop"),
    ("tracing_cpumask", "3"),
    ("buffer_subbuf_size_kb", "4"),
    ("buffer_percent", "50"),
    ("max_graph_depth", "0"),
    ("tracing_thresh", "0"),
    ("tracing_max_latency", "17"),
    ("saved_cmdlines_size", "128"),
    ("options/overwrite", "1"),
    ("options/event-fork", "0"),
];

/// Files that are emptied by truncation and added to.
const LISTS: [&str; 6] = [
    "set_ftrace_filter",
    "set_ftrace_notrace",
    "set_graph_function",
    "set_event_pid",
    "set_event_notrace_pid",
    "set_ftrace_pid",
];

pub(crate) struct FakeKernel {
    temp: TempDir,
    /// What each file showed when it was last settled.
    shown: BTreeMap<PathBuf, String>,
}

impl FakeKernel {
    pub(crate) fn new() -> Self {
        let mut kernel = Self { temp: TempDir::new().unwrap(), shown: BTreeMap::new() };
        let names = EVENTS.map(|(system, event)| format!("{system}:{event}\n"));
        kernel.show("available_events", &names.concat());
        kernel.show("available_tracers", "function nop\n");
        kernel.show("trace_options", "overwrite\nnoevent-fork\n");
        kernel.show("trace_clock", "[local] global mono\n");
        kernel.show("events/enable", "0\n");
        for (system, event) in EVENTS {
            kernel.show(&format!("events/{system}/enable"), "0\n");
            kernel.show(&format!("events/{system}/filter"), "none\n");
            kernel.show(&format!("events/{system}/{event}/enable"), "0\n");
            kernel.show(&format!("events/{system}/{event}/filter"), "none\n");
            kernel.show(&format!("events/{system}/{event}/trigger"), "");
        }
        kernel.show("events/sched/sched_switch/enable", "1\n");
        kernel.show("events/sched/sched_waking/filter", "prio < 3\n");
        kernel.show("events/irq/irq_entry/trigger", "stacktrace:count=3\n");
        for (name, value) in PLAIN {
            kernel.show(name, &format!("{value}\n"));
        }
        for name in LISTS {
            kernel.show(name, "");
        }
        kernel.show("set_ftrace_notrace", "schedule\nvfs_read\n");
        kernel.show("set_event_pid", "12\n");
        kernel.show("dynamic_events", "p:kprobes/theirs vfs_read\n");
        kernel.show("buffer_size_kb", "X\n");
        kernel.show("per_cpu/cpu0/buffer_size_kb", "100\n");
        kernel.show("per_cpu/cpu1/buffer_size_kb", "200\n");
        fs::create_dir_all(kernel.path().join("instances/theirs")).unwrap();
        kernel.show_events(&EVENTS.map(|event| event == ("sched", "sched_switch")));
        kernel
    }

    pub(crate) fn path(&self) -> &Path {
        self.temp.path()
    }

    pub(crate) fn dir(&self) -> TracingDir {
        TracingDir::at(self.path())
    }

    /// Every file with what it shows, and every instance.
    pub(crate) fn state(&self) -> BTreeMap<String, String> {
        let shown =
            self.shown.iter().map(|(path, text)| (path.display().to_string(), text.clone()));
        let instances = self.dir().instances().unwrap();
        shown
            .chain(instances.into_iter().map(|name| (format!("instances/{name}"), String::new())))
            .collect()
    }

    /// Carries out what was written.
    pub(crate) fn settle(&mut self) {
        self.settle_plain();
        self.settle_clock();
        self.settle_sizes();
        self.settle_lists();
        self.settle_commands("dynamic_events", |line, lines| match line.strip_prefix("-:") {
            Some(_) => lines.retain(|other| removal(other) != line),
            None => lines.push(line.to_owned()),
        });
        for (system, event) in EVENTS {
            self.settle_commands(&format!("events/{system}/{event}/trigger"), |line, lines| {
                match line.strip_prefix('!') {
                    Some(_) => {
                        lines.retain(|other| tracefs::trigger::removal_of_shown(other) != line);
                    }
                    None => lines.push(shown_trigger(line)),
                }
            });
        }
        self.settle_enable();
        self.settle_filters();
    }

    fn settle_plain(&mut self) {
        for (name, _) in PLAIN {
            if let Some(value) = self.written(name) {
                self.show(name, &format!("{value}\n"));
            }
        }
    }

    fn settle_clock(&mut self) {
        if let Some(name) = self.written("trace_clock") {
            let words = ["local", "global", "mono"];
            let words =
                words.map(|word| if word == name { format!("[{word}]") } else { word.into() });
            self.show("trace_clock", &(words.join(" ") + "\n"));
        }
    }

    fn settle_sizes(&mut self) {
        let cpus = ["per_cpu/cpu0/buffer_size_kb", "per_cpu/cpu1/buffer_size_kb"];
        if let Some(all) = self.written("buffer_size_kb") {
            cpus.iter().for_each(|cpu| self.show_unless_written(cpu, &format!("{all}\n")));
        }
        for cpu in cpus {
            if let Some(size) = self.written(cpu) {
                self.show(cpu, &format!("{size}\n"));
            }
        }
        let sizes: BTreeSet<String> = cpus.iter().map(|cpu| self.get(cpu)).collect();
        let all = if sizes.len() == 1 { sizes.into_iter().next().unwrap() } else { "X\n".into() };
        self.show("buffer_size_kb", &all);
    }

    fn settle_lists(&mut self) {
        for name in LISTS {
            let text = self.get(name);
            let words: BTreeSet<&str> = text.split_whitespace().collect();
            let text: String = words.iter().map(|word| format!("{word}\n")).collect();
            self.show(name, &text);
        }
    }

    fn settle_commands(&mut self, name: &str, act: impl Fn(&str, &mut Vec<String>)) {
        let shown = self.shown[Path::new(name)].clone();
        let text = self.get(name);
        let Some(added) = text.strip_prefix(&shown) else { panic!("{name} was truncated") };
        let mut lines: Vec<String> = shown.lines().map(str::to_owned).collect();
        added.lines().for_each(|line| act(line, &mut lines));
        lines.sort_unstable();
        lines.dedup();
        self.show(name, &lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    }

    fn settle_enable(&mut self) {
        let mut on = EVENTS.map(|(system, event)| {
            self.shown[Path::new(&format!("events/{system}/{event}/enable"))] == "1\n"
        });
        let all = self.written("events/enable");
        for (state, (system, event)) in on.iter_mut().zip(EVENTS) {
            let own =
                [format!("events/{system}/enable"), format!("events/{system}/{event}/enable")];
            let own = own.map(|name| self.written(&name));
            for value in all.iter().chain(own.iter().flatten()) {
                *state = value == "1";
            }
        }
        self.show_events(&on);
    }

    fn show_events(&mut self, on: &[bool; EVENTS.len()]) {
        let mut enabled = String::new();
        for (&on, (system, event)) in on.iter().zip(EVENTS) {
            self.show(&format!("events/{system}/{event}/enable"), if on { "1\n" } else { "0\n" });
            if on {
                enabled += &format!("{system}:{event}\n");
            }
        }
        self.show("set_event", &enabled);
        let summary = |states: &BTreeSet<bool>| match states.len() {
            1 if states.contains(&true) => "1\n",
            1 => "0\n",
            _ => "X\n",
        };
        for wanted in ["irq", "sched"] {
            let of_system = on.iter().zip(EVENTS).filter(|(_, (system, _))| *system == wanted);
            let states = of_system.map(|(on, _)| *on).collect();
            self.show(&format!("events/{wanted}/enable"), summary(&states));
        }
        self.show("events/enable", summary(&on.iter().copied().collect()));
    }

    fn settle_filters(&mut self) {
        for (system, event) in EVENTS {
            let own = format!("events/{system}/{event}/filter");
            let values = [self.written(&format!("events/{system}/filter")), self.written(&own)];
            if let Some(last) = values.into_iter().flatten().last() {
                self.show(&own, &if last == "0" { "none\n".into() } else { format!("{last}\n") });
            }
        }
        for system in ["irq", "sched"] {
            self.show(&format!("events/{system}/filter"), "none\n");
        }
    }

    /// What was written to a file, if anything: values are written without an end of line, and
    /// shown with one.
    fn written(&self, name: &str) -> Option<String> {
        let text = self.get(name);
        (text != self.shown[Path::new(name)]).then(|| text.trim().to_owned())
    }

    fn show_unless_written(&mut self, name: &str, text: &str) {
        if self.written(name).is_none() {
            self.show(name, text);
        }
    }

    fn show(&mut self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self.shown.insert(name.into(), text.to_owned());
    }

    fn get(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }
}

/// What removes the dynamic event of a line.
fn removal(line: &str) -> String {
    DynamicEvent::parse(line).unwrap().removal()
}

/// A trigger as the kernel shows it.
fn shown_trigger(text: &str) -> String {
    if text.starts_with("hist:") {
        return format!("{text} [active]");
    }
    let (command, filter) = match text.split_once(" if ") {
        Some((command, filter)) => (command, format!(" if {filter}")),
        None => (text, String::new()),
    };
    match command.rsplit_once(':') {
        Some((name, count)) if count.parse::<u64>().is_ok() => {
            format!("{name}:count={count}{filter}")
        }
        _ => format!("{command}:unlimited{filter}"),
    }
}
