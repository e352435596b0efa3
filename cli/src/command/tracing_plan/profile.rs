//! What `--profile` adds to a plan: the events that tell where time goes.

use tracedat::profile::{Hook, HookError};

use super::plan::{EventRequest, MachinePlan, ProfileRequest};
use crate::error::Error;

/// Events that a profile counts.
const EVENTS: [&str; 10] = [
    "exceptions:page_fault_user",
    "irq:irq_handler_entry",
    "irq:irq_handler_exit",
    "irq:softirq_entry",
    "irq:softirq_exit",
    "irq:softirq_raise",
    "sched:sched_process_exec",
    "raw_syscalls",
    "sched:sched_switch",
    "sched:sched_wakeup",
];
/// Of these it wants stack traces too.
const WITH_STACK: [&str; 2] = ["sched:sched_switch", "sched:sched_wakeup"];

/// Adds what is wanted to the instance of the last `-B`.
pub(super) fn add(machine: &mut MachinePlan, request: &ProfileRequest) -> Result<(), Error> {
    if !request.profile {
        return Ok(());
    }
    let mut events = Vec::new();
    for text in &request.hooks {
        let hook: Hook = text.parse().map_err(|error: HookError| {
            Error::usage("-H")
                .because(error)
                .hint("as -H sched:sched_wakeup,pid/sched:sched_switch,next_pid")
        })?;
        for event in [hook.start, hook.end] {
            let name = event.event;
            let mut request = EventRequest::new(match event.system {
                Some(system) => format!("{system}:{name}"),
                None => name,
            });
            if hook.stacks {
                request.triggers.push("stacktrace".to_owned());
            }
            events.push(request);
        }
    }
    if !request.only_selected {
        events.extend(EVENTS.map(|pattern| EventRequest {
            triggers: if WITH_STACK.contains(&pattern) {
                vec!["stacktrace".to_owned()]
            } else {
                Vec::new()
            },
            optional: true,
            ..EventRequest::new(pattern)
        }));
        machine.graph_depth.get_or_insert(1);
    }
    let instance = match machine.instances.last_mut() {
        Some((_, instance)) => instance,
        None => &mut machine.top,
    };
    instance.profiles = !request.only_selected;
    instance.events.extend(events);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiled(only_selected: bool, hooks: &[&str]) -> Result<MachinePlan, Error> {
        let hooks = hooks.iter().map(|text| (*text).to_owned()).collect();
        let mut machine = MachinePlan::default();
        add(&mut machine, &ProfileRequest { profile: true, only_selected, hooks })?;
        Ok(machine)
    }

    #[test]
    fn profiles_are_optional_events_and_stacks_of_switches() {
        let machine = profiled(false, &[]).unwrap();
        let events = &machine.top.events;
        assert_eq!(events.len(), EVENTS.len());
        assert!(events.iter().all(|event| event.optional && event.on));
        let with_stack = events.iter().filter(|event| event.triggers == ["stacktrace"]);
        assert_eq!(with_stack.count(), 2);
        assert!(machine.top.profiles && machine.graph_depth == Some(1));
    }

    #[test]
    fn hooks_bring_their_events() {
        let hook = "sched:sched_wakeup,pid/sched_switch,next_pid";
        let machine = profiled(true, &[hook]).unwrap();
        let patterns: Vec<_> = machine.top.events.iter().map(|e| e.pattern.as_str()).collect();
        assert_eq!(patterns, ["sched:sched_wakeup", "sched_switch"]);
        assert!(machine.top.events.iter().all(|event| !event.optional));
        assert!(!machine.top.profiles && machine.graph_depth.is_none());
        assert!(profiled(true, &["nonsense"]).unwrap_err().to_string().contains("hook 'nonsense'"));
    }
}
