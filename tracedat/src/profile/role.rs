//! What the records of an event mean for the profile.

use rustc_hash::FxHashMap;

use super::hook::{Hook, HookError, HookEvent};
use super::stack::Callers;
use crate::event_format::EventFormat;
use crate::metadata::Metadata;
use crate::plugin::{IntField, TextField};

/// Pairs that are known without asking. Hard and soft interrupts never leave their CPU.
const KNOWN_PAIRS: [&str; 4] = [
    "irq:irq_handler_entry,irq/irq:irq_handler_exit,irq,p",
    "irq:softirq_raise,vec/irq:softirq_entry,vec,p",
    "irq:softirq_entry,vec/irq:softirq_exit,vec,p",
    "raw_syscalls:sys_enter,id/raw_syscalls:sys_exit,id",
];

/// What an event means.
#[derive(Clone, Debug)]
pub(super) struct Role {
    /// The task that was running.
    pub(super) pid: Option<IntField>,
    pub(super) kind: Kind,
    pub(super) style: Style,
}

impl Role {
    /// The value of a field, as far as the record has it.
    #[inline]
    pub(super) fn value(&self, field: IntField, data: &[u8]) -> u64 {
        let value = match self.style {
            Style::Decimal => field.signed(data).map(|value| value as u64),
            _ => field.get(data),
        };
        value.unwrap_or(0)
    }
}

/// The kinds of events.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `sched_switch`: one task stops, another goes on.
    Switch {
        prev_pid: IntField,
        prev_comm: Option<TextField>,
        prev_state: IntField,
        next_pid: IntField,
        next_comm: Option<TextField>,
    },
    /// `sched_wakeup`: a task may run again.
    Wakeup { pid: IntField, comm: Option<TextField>, success: Option<IntField> },
    /// `sched_process_exec`: the task gets another name.
    Exec,
    /// The stack of the event before it.
    Stack(Callers),
    /// A function is entered; `start` is the event that stands for both ends.
    Call { function: IntField, start: u16 },
    /// A function is left.
    Return { function: IntField, start: u16 },
    /// One or both ends of a pair.
    Pair { end: Option<End>, start: Option<Start> },
    /// Anything else: counted by its first field.
    Count { value: Option<IntField> },
}

/// The start of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) field: IntField,
    pub(super) pid: Option<IntField>,
    pub(super) scope: Scope,
    /// Whether it ends on the CPU where it starts.
    pub(super) pinned: bool,
}

/// The end of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The event that starts it.
    pub(super) start: u16,
    pub(super) field: IntField,
    pub(super) scope: Scope,
}

/// Whom a pair belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Task,
    Cpu,
    Machine,
}

/// How an event's value is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Hex,
    /// The number of a system call.
    Decimal,
    SoftIrq,
    /// The state in which a task stopped.
    State,
    /// The pid of who was woken.
    Wakeup,
    /// The address of a function.
    Function,
}

/// The roles of all events of a trace, found when an event first occurs.
#[derive(Debug)]
pub(super) struct Roles<'m> {
    metadata: &'m Metadata,
    pairs: FxHashMap<u16, (Option<End>, Option<Start>, Style)>,
    /// The event that enters a function.
    call: Option<u16>,
    found: Vec<Option<Option<Role>>>,
}

impl<'m> Roles<'m> {
    /// With the known pairs; `per_cpu` makes interrupts belong to their CPU rather than to the task.
    pub(super) fn new(metadata: &'m Metadata, per_cpu: bool) -> Self {
        let event = |name| find(metadata, &HookEvent::new("ftrace", name)).ok();
        let call = event("funcgraph_entry").or_else(|| event("funcgraph_exit"));
        let mut roles = Self {
            metadata,
            pairs: FxHashMap::default(),
            call: call.map(|format| format.id),
            found: Vec::new(),
        };
        for text in KNOWN_PAIRS {
            if let Ok(mut hook) = text.parse::<Hook>() {
                hook.global = per_cpu && hook.pinned;
                let style = match hook.start.field.as_str() {
                    "vec" => Style::SoftIrq,
                    "id" => Style::Decimal,
                    _ => Style::Hex,
                };
                // A trace without these events has nothing to measure.
                let _ = roles.pair(&hook, style);
            }
        }
        roles
    }

    /// Adds a pair; it goes before those that were added earlier for its events.
    pub(super) fn hook(&mut self, hook: &Hook) -> Result<(), HookError> {
        self.pair(hook, Style::Hex)
    }

    fn pair(&mut self, hook: &Hook, style: Style) -> Result<(), HookError> {
        let start = find(self.metadata, &hook.start)?;
        let end = find(self.metadata, &hook.end)?;
        let start_field = int_field(start, &hook.start.field)?;
        let end_field = int_field(end, &hook.end.field)?;
        let pid = match &hook.pid_field {
            Some(name) => Some(int_field(start, name)?),
            None => None,
        };
        let scope = match (hook.global, hook.pinned) {
            (false, _) => Scope::Task,
            (true, true) => Scope::Cpu,
            (true, false) => Scope::Machine,
        };
        let begins = self.pairs.entry(start.id).or_insert((None, None, style));
        begins.1 = Some(Start { field: start_field, pid, scope, pinned: hook.pinned });
        begins.2 = style;
        let ends = self.pairs.entry(end.id).or_insert((None, None, style));
        ends.0 = Some(End { start: start.id, field: end_field, scope });
        Ok(())
    }

    /// The role of an event; `None` for one whose format is not known.
    pub(super) fn get(&mut self, id: u16) -> Option<&Role> {
        let index = usize::from(id);
        if self.found.len() <= index {
            self.found.resize_with(index + 1, || None);
        }
        if self.found.get(index)?.is_none() {
            let role = self.metadata.event_by_id(id).map(|event| self.role(&event.format));
            self.found[index] = Some(role);
        }
        self.found.get(index)?.as_ref()?.as_ref()
    }

    /// How values of an event are printed, and its name.
    pub(super) fn style(&mut self, id: u16) -> (Style, &'m str) {
        let style = self.get(id).map_or(Style::Hex, |role| role.style);
        (style, self.metadata.event_by_id(id).map_or("", |event| &event.format.name))
    }

    fn role(&self, format: &EventFormat) -> Role {
        let (kind, style) = self.kind(format);
        let pid = format.common_field("common_pid");
        Role { pid: pid.and_then(|field| IntField::new(field, format.abi)), kind, style }
    }

    fn kind(&self, format: &EventFormat) -> (Kind, Style) {
        if let Some(&(end, start, style)) = self.pairs.get(&format.id) {
            return (Kind::Pair { end, start }, style);
        }
        let system = (format.system.as_str(), format.name.as_str());
        known(system, format, self.call).unwrap_or_else(|| {
            let first = format.fields.first();
            let value = first.and_then(|field| IntField::new(field, format.abi));
            let function = system == ("ftrace", "function");
            (Kind::Count { value }, if function { Style::Function } else { Style::Hex })
        })
    }
}

/// The events that mean something of their own; `None` for others, and where a field is missing.
fn known(name: (&str, &str), format: &EventFormat, call: Option<u16>) -> Option<(Kind, Style)> {
    let int = |name| IntField::new(format.event_field(name)?, format.abi);
    let text = |name| Some(TextField::new(format.event_field(name)?, format.abi));
    Some(match name {
        ("sched", "sched_switch") => {
            let kind = Kind::Switch {
                prev_pid: int("prev_pid")?,
                prev_comm: text("prev_comm"),
                prev_state: int("prev_state")?,
                next_pid: int("next_pid")?,
                next_comm: text("next_comm"),
            };
            (kind, Style::State)
        }
        ("sched", "sched_wakeup") => {
            let kind =
                Kind::Wakeup { pid: int("pid")?, comm: text("comm"), success: int("success") };
            (kind, Style::Wakeup)
        }
        ("sched", "sched_process_exec") => (Kind::Exec, Style::Hex),
        ("ftrace", "kernel_stack") => (Kind::Stack(Callers::new(format)?), Style::Hex),
        ("ftrace", "funcgraph_entry" | "fgraph_retaddr_entry") => {
            (Kind::Call { function: int("func")?, start: call? }, Style::Function)
        }
        ("ftrace", "funcgraph_exit") => {
            (Kind::Return { function: int("func")?, start: call? }, Style::Function)
        }
        _ => return None,
    })
}

impl HookEvent {
    fn new(system: &str, event: &str) -> Self {
        Self { system: Some(system.to_owned()), event: event.to_owned(), field: String::new() }
    }
}

fn find<'m>(metadata: &'m Metadata, wanted: &HookEvent) -> Result<&'m EventFormat, HookError> {
    let line = format!("name: {}\n", wanted.event);
    let is_it = |system: &str| wanted.system.as_ref().is_none_or(|wanted| wanted == system);
    metadata
        .event_texts()
        .filter(|text| is_it(text.system) && text.text.starts_with(line.as_bytes()))
        .find_map(|text| Some(&metadata.event_by_id(text.id?)?.format))
        .ok_or_else(|| HookError::NoEvent {
            event: match &wanted.system {
                Some(system) => format!("{system}:{}", wanted.event),
                None => wanted.event.clone(),
            },
        })
}

fn int_field(format: &EventFormat, name: &str) -> Result<IntField, HookError> {
    let field = format.event_field(name).and_then(|field| IntField::new(field, format.abi));
    field.ok_or_else(|| HookError::NoField { event: format.name.clone(), field: name.to_owned() })
}
