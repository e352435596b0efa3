//! The state of an instance as JSON: all of it, in the order of the text.

use tracefs::buffer_control::BufferSize;

use super::state::{Enabled, List, State};
use crate::json::Json;

/// The object of an instance.
pub(super) fn object(state: &State) -> Json {
    let mut members: Vec<(&str, Json)> = vec![
        ("instance", state.instance.clone().into()),
        ("current_tracer", state.tracer.clone().into()),
    ];
    members.extend(events(&state.events));
    let filters = state.filters.iter().map(|(name, text)| (name.to_string(), text.clone().into()));
    members.push(("filters", Json::object(filters)));
    let triggers =
        state.triggers.iter().map(|(name, text)| (name.to_string(), text.lines().collect()));
    members.push(("triggers", Json::object(triggers)));
    members.extend(state.functions.iter().map(list));
    let same = match state.buffer_size {
        Some(BufferSize::Same(size) | BufferSize::NotExpanded(size)) => Some(size),
        Some(BufferSize::PerCpu) | None => None,
    };
    let per_cpu = state.cpu_buffer_sizes.iter().map(|(cpu, size)| (cpu.to_string(), number(size)));
    let mask = state.cpu_mask.as_ref().map(|mask| mask.text.as_str());
    members.extend([
        ("buffer_size_kb", same.into()),
        ("cpu_buffer_size_kb", Json::object(per_cpu)),
        ("buffer_total_size_kb", state.buffer_total_size.as_deref().map_or(Json::Null, number)),
        ("trace_clock", state.clock.clone().into()),
        ("tracing_cpumask", mask.into()),
        ("tracing_max_latency", state.max_latency.into()),
    ]);
    members.extend(state.dynamic_events.iter().chain(&state.pids).map(list));
    let options = state.options.iter().flatten().map(|(name, set)| (name, (*set).into()));
    members.extend([
        ("options", Json::object(options)),
        ("tracing_on", state.tracing_on.into()),
        ("error_log", state.error_log.clone().into()),
        (
            "instances",
            state.instances.as_ref().map(|names| names.iter().cloned().collect::<Json>()).into(),
        ),
        ("stack_tracer_enabled", state.stack_tracer.into()),
    ]);
    Json::object(members)
}

fn events(enabled: &Enabled) -> [(&'static str, Json); 3] {
    let (all, systems, events) = match enabled {
        Enabled::None => (false, [].as_slice(), [].as_slice()),
        Enabled::All => (true, [].as_slice(), [].as_slice()),
        Enabled::Some { systems, events } => (false, systems.as_slice(), events.as_slice()),
    };
    let names = events
        .iter()
        .flat_map(|(system, events)| events.iter().map(move |event| format!("{system}:{event}")));
    [
        ("all_events", all.into()),
        ("enabled_systems", systems.iter().cloned().collect()),
        ("enabled_events", names.collect()),
    ]
}

fn list(list: &List) -> (&'static str, Json) {
    (list.file, list.lines.as_ref().map(|lines| lines.iter().cloned().collect::<Json>()).into())
}

/// The number that stands first: an unused buffer says `7 (expanded: 1408)`.
fn number(text: &str) -> Json {
    text.split(' ').next().and_then(|digits| digits.parse::<u64>().ok()).into()
}
