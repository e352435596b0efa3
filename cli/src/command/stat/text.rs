//! The state of an instance as text: what is at its default is left out.

use std::io::{self, Write};

use tracefs::EventName;
use tracefs::buffer_control::BufferSize;

use super::state::{Enabled, List, State};

/// Prints it.
pub(super) fn print(out: &mut impl Write, state: &State) -> io::Result<()> {
    if let Some(name) = &state.instance {
        writeln!(out, "Instance: {name}")?;
    }
    if let Some(tracer) = state.tracer.as_deref().filter(|name| !matches!(*name, "" | "nop")) {
        writeln!(out, "\nTracer: {tracer}")?;
    }
    events(out, &state.events)?;
    of_events(out, "Filters", &state.filters)?;
    of_events(out, "Triggers", &state.triggers)?;
    lists(out, &state.functions, "   ")?;
    buffer_size(out, state)?;
    if let Some(clock) = state.clock.as_deref().filter(|name| *name != "local") {
        writeln!(out, "\nClock: {clock}")?;
    }
    if let Some(mask) = state.cpu_mask.as_ref().filter(|mask| !mask.is_full) {
        writeln!(out, "\nCPU mask: {}", mask.text)?;
    }
    if let Some(latency) = state.max_latency.filter(|latency| *latency != 0) {
        writeln!(out, "\nMax Latency: {latency}")?;
    }
    lists(out, &state.dynamic_events, "   ")?;
    lists(out, &state.pids, "")?;
    if let Some(options) = &state.options {
        writeln!(out, "\nOptions:")?;
        for (name, set) in options {
            writeln!(out, "   {}{name}", if *set { "" } else { "no" })?;
        }
    }
    if let Some(on) = state.tracing_on {
        writeln!(out, "\nTracing is {}\n", if on { "enabled" } else { "disabled" })?;
    }
    if let Some(log) = state.error_log.as_deref().filter(|log| !log.is_empty()) {
        writeln!(out, "\nError log:\n{log}")?;
    }
    if let Some(names) = state.instances.as_ref().filter(|names| !names.is_empty()) {
        writeln!(out, "\nInstances:")?;
        names.iter().try_for_each(|name| writeln!(out, " {name}"))?;
    }
    Ok(())
}

fn events(out: &mut impl Write, enabled: &Enabled) -> io::Result<()> {
    writeln!(out, "\nEvents:")?;
    match enabled {
        Enabled::None => writeln!(out, " All disabled"),
        Enabled::All => writeln!(out, " All enabled"),
        Enabled::Some { systems, events } if systems.is_empty() && events.is_empty() => {
            writeln!(out, "  (none enabled)")
        }
        Enabled::Some { systems, events } => {
            if !systems.is_empty() {
                writeln!(out, " Individual systems:")?;
            }
            systems.iter().try_for_each(|system| writeln!(out, "   {system}"))?;
            if !events.is_empty() {
                writeln!(out, " Individual events:")?;
            }
            for (system, events) in events {
                writeln!(out, "    {system}")?;
                events.iter().try_for_each(|event| writeln!(out, "        {event}"))?;
            }
            Ok(())
        }
    }
}

fn of_events(out: &mut impl Write, title: &str, set: &[(EventName, String)]) -> io::Result<()> {
    if !set.is_empty() {
        writeln!(out, "\n{title}:")?;
    }
    set.iter().try_for_each(|(name, text)| writeln!(out, "  {name} \"{text}\""))
}

fn lists(out: &mut impl Write, lists: &[List], indent: &str) -> io::Result<()> {
    for List { title, lines, .. } in lists {
        let lines = lines.as_deref().unwrap_or_default();
        if !lines.is_empty() {
            writeln!(out, "\n{title}:")?;
        }
        lines.iter().try_for_each(|line| writeln!(out, "{indent}{line}"))?;
    }
    Ok(())
}

fn buffer_size(out: &mut impl Write, state: &State) -> io::Result<()> {
    match &state.buffer_size {
        // Nothing was ever set, and nothing is there yet.
        None | Some(BufferSize::NotExpanded(_)) => return Ok(()),
        Some(BufferSize::Same(size)) => {
            writeln!(out, "\nBuffer size in kilobytes (per cpu):\n   {size}")?;
        }
        Some(BufferSize::PerCpu) => {
            writeln!(out)?;
            for (cpu, size) in &state.cpu_buffer_sizes {
                writeln!(out, "CPU {cpu} buffer size (kb): {size}")?;
            }
        }
    }
    match &state.buffer_total_size {
        Some(size) => writeln!(out, "\nBuffer total size in kilobytes:\n   {size}"),
        None => Ok(()),
    }
}
