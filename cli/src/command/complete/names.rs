//! Names of this machine, as they are at the moment.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};

use clap::Arg;
use trace_virt::setup::VirtDir;
use tracefs::TracingDir;

use crate::command::options;

/// As many functions as anyone reads through.
const MOST_FUNCTIONS: usize = 1000;

/// Where names are looked up.
pub(super) struct Names {
    tracing: Option<TracingDir>,
    virt: VirtDir,
}

impl Names {
    /// Looks up names in these directories.
    pub(super) fn new(tracing: Option<TracingDir>, virt: VirtDir) -> Self {
        Self { tracing, virt }
    }

    /// Looks up names of the running kernel, without mounting anything.
    pub(super) fn of_this_machine() -> Self {
        Self::new(TracingDir::find().ok().flatten(), VirtDir::locate(None))
    }

    /// Names that begin with `typed`, for an option or a positional argument of a command.
    pub(super) fn of(&self, command: &str, arg: &Arg, typed: &str) -> Vec<String> {
        let value =
            arg.get_value_names().and_then(|names| names.first()).map_or("", |n| n.as_str());
        let mut names = match (arg.get_id().as_str(), value) {
            ("instance", _) => self.instances(),
            ("module", _) => modules(),
            ("plugin-option", _) => options::names(),
            ("events", _) | (_, "EVENT") => self.events(typed),
            ("options", _) | ("trace-option", _) => self.trace_options(typed),
            ("functions", _) | (_, "FUNCTION") => self.functions(typed),
            (_, "TRACER") => self.tracers(),
            (_, "CLOCK") => self.clocks(),
            (_, "GUEST") => self.guests(),
            ("command", _) if !typed.starts_with('-') => return vec![":command".to_owned()],
            ("exec" | "command", _) => return vec![":files".to_owned()],
            (_, "FILE" | "DIR" | "SOCKET" | "QMP-SOCKET") => return vec![":files".to_owned()],
            _ if command == "attach" => return vec![":files".to_owned()],
            _ => Vec::new(),
        };
        names.retain(|name| name.starts_with(typed));
        names.sort();
        names.dedup();
        names
    }

    /// Systems, and events of the one that is named; events alone once there is a beginning.
    fn events(&self, typed: &str) -> Vec<String> {
        let mut names = vec!["all".to_owned()];
        let Some(dir) = &self.tracing else { return names };
        let top = dir.top();
        if let Some((system, _)) = typed.split_once(':') {
            let events = top.listed_events(system).unwrap_or_default();
            return events.iter().map(ToString::to_string).collect();
        }
        names.extend(top.listed_systems().unwrap_or_default());
        if !typed.is_empty() {
            names.extend(top.events().unwrap_or_default().into_iter().map(|name| name.event));
        }
        names
    }

    fn tracers(&self) -> Vec<String> {
        let tracers = self.tracing.as_ref().map(|dir| dir.top().available_tracers());
        tracers.and_then(Result::ok).unwrap_or_default()
    }

    fn clocks(&self) -> Vec<String> {
        let clocks = self.tracing.as_ref().map(|dir| dir.top().trace_clocks());
        clocks.and_then(Result::ok).map(|clocks| clocks.available).unwrap_or_default()
    }

    fn trace_options(&self, typed: &str) -> Vec<String> {
        let Some(dir) = &self.tracing else { return Vec::new() };
        let options = fs::read_dir(dir.path().join("options")).into_iter().flatten().flatten();
        let options = options.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let no = if typed.starts_with("no") { "no" } else { "" };
        options.map(|name| format!("{no}{name}")).collect()
    }

    /// There are tens of thousands: only those that begin with something.
    fn functions(&self, typed: &str) -> Vec<String> {
        let dir = self.tracing.as_ref().filter(|_| !typed.is_empty());
        let file =
            dir.and_then(|dir| File::open(dir.path().join("available_filter_functions")).ok());
        let Some(file) = file else { return Vec::new() };
        let lines = BufReader::with_capacity(64 * 1024, file).lines().map_while(Result::ok);
        let fitting = lines.filter(|line| line.starts_with(typed)).take(MOST_FUNCTIONS);
        // A function of a module has its name behind it.
        fitting.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
    }

    fn instances(&self) -> Vec<String> {
        let names = self.tracing.as_ref().map(TracingDir::listed_instances);
        names.and_then(Result::ok).unwrap_or_default()
    }

    fn guests(&self) -> Vec<String> {
        let guests = self.virt.guests().unwrap_or_default();
        guests.iter().map(|guest| guest.as_str().to_owned()).collect()
    }
}

fn modules() -> Vec<String> {
    let text = fs::read_to_string("/proc/modules").unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
