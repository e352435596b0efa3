//! An instance as it was made: each thing that can be set goes back, in an order in which nothing
//! that is still used is taken away.

use tracefs::dynamic_event::DynamicKind;
use tracefs::function::FunctionList;
use tracefs::pid_filter::PidFilter;
use tracefs::trigger::removal_of_shown;
use tracefs::{ControlFile, CpuMask, Error, EventName, Instance};

/// Turns off all that writes into the buffer or acts on events, and empties the buffer. All of it
/// is tried; the first refusal is returned.
pub(super) fn turn_off(instance: &Instance) -> Result<(), Error> {
    first_refusal([
        instance.set_tracing_on(false),
        instance.set_current_tracer("nop"),
        instance.file("events/enable").write("0"),
        filters_and_triggers(instance),
        if_there(instance.file("set_ftrace_pid").clear()),
        if_there(instance.file("set_ftrace_notrace_pid").clear()),
        if_there(instance.set_pid_filter(PidFilter::Only, &[])),
        if_there(instance.set_pid_filter(PidFilter::Except, &[])),
        instance.clear(),
    ])
}

/// Removes dynamic events, unless their kind is kept.
pub(super) fn remove_dynamic_events(
    instance: &Instance,
    kept: &[DynamicKind],
) -> Result<(), Error> {
    let dir = instance.tracing_dir();
    let kinds = DynamicKind::ALL.into_iter().filter(|kind| !kept.contains(kind));
    let remove = |kind| if_there(dir.remove_dynamic_events(kind).map(drop));
    first_refusal(kinds.map(remove).collect::<Vec<_>>())
}

/// Puts the rest back, and lets the buffer take events again; as [`turn_off`].
pub(super) fn put_back(instance: &Instance, buffer_kb: Option<u64>) -> Result<(), Error> {
    first_refusal([
        buffer_kb.map_or(Ok(()), |size| instance.set_buffer_size_kb(size)),
        if_there(instance.file("error_log").clear()),
        if_there(instance.set_trace_clock("local")),
        if_there(instance.set_max_latency_us(0)),
        if_there(all_cpus(instance)),
        function_lists(instance),
        if_there(function_commands(instance)),
        instance.set_tracing_on(true),
    ])
}

fn all_cpus(instance: &Instance) -> Result<(), Error> {
    instance.set_cpu_mask(&instance.cpus()?.into_iter().collect::<CpuMask>())
}

fn function_lists(instance: &Instance) -> Result<(), Error> {
    let is_top = instance.name().is_none();
    // Functions of graphs are the same for all instances.
    let own = |list: &FunctionList| {
        is_top || matches!(list, FunctionList::Filter | FunctionList::Notrace)
    };
    let clear = |list| if_there(instance.function_file(list).clear());
    first_refusal(FunctionList::ALL.into_iter().filter(own).map(clear).collect::<Vec<_>>())
}

/// Each of these was tried by now.
fn first_refusal(done: impl IntoIterator<Item = Result<(), Error>>) -> Result<(), Error> {
    done.into_iter().collect()
}

/// What the kernel lacks or refuses cannot have been set either.
fn if_there(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if error.is_unavailable() => Ok(()),
        done => done,
    }
}

fn filters_and_triggers(instance: &Instance) -> Result<(), Error> {
    let mut triggers: Vec<(EventName, String)> = Vec::new();
    for system in instance.listed_systems()? {
        for name in instance.listed_events(&system)? {
            let filter = instance.event_file(&name, "filter");
            if filter.exists() && filter.read_text()? != "none" {
                filter.write("0")?;
            }
            if instance.event_file(&name, "trigger").exists() {
                let lines = instance.event_triggers(&name)?;
                triggers.extend(lines.into_iter().map(|line| (name.clone(), line)));
            }
        }
    }
    // A histogram whose variables another one reads is busy until that one is gone.
    loop {
        let before = triggers.len();
        let mut refused = None;
        triggers.retain(|(name, line)| {
            let file = instance.event_file(name, "trigger");
            match file.append_line(&removal_of_shown(line)) {
                Ok(()) => false,
                Err(error) => {
                    refused = Some(error);
                    true
                }
            }
        });
        match refused {
            None => return Ok(()),
            Some(error) if triggers.len() == before => return Err(error),
            Some(_) => {}
        }
    }
}

/// Commands such as `traceoff` at a function stay when the list of functions is emptied.
fn function_commands(instance: &Instance) -> Result<(), Error> {
    let file: ControlFile = instance.function_file(FunctionList::Filter);
    let commands = instance.function_commands()?;
    commands.iter().try_for_each(|line| file.append_line(&removal_of_command(line)))
}

/// The text that takes a command away, from the line the kernel shows for it.
fn removal_of_command(line: &str) -> String {
    let line = line.trim();
    match line.rsplit_once(":count=") {
        // One with a count is found only by one with a count.
        Some((command, _)) => format!("!{command}:0"),
        None => format!("!{}", line.strip_suffix(":unlimited").unwrap_or(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_away_with_and_without_a_count() {
        for (shown, expected) in [
            ("schedule:traceoff:unlimited", "!schedule:traceoff"),
            ("schedule:traceoff:count=3", "!schedule:traceoff:0"),
            ("x:enable_event:sched:sched_switch:unlimited", "!x:enable_event:sched:sched_switch"),
            ("x:dump", "!x:dump"),
        ] {
            assert_eq!(removal_of_command(shown), expected);
        }
    }
}
