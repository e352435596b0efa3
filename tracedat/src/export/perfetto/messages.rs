//! The events for which Perfetto has messages of their own, of which it draws more than a mark.
//!
//! The numbers are those of its public `ftrace_event.proto` and the files beside it.

/// A message of Perfetto for one event.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) system: &'static str,
    pub(super) event: &'static str,
    /// Its field in `FtraceEvent`.
    pub(super) number: u32,
    pub(super) fields: &'static [(u32, &'static str, Type)],
}

/// What a field of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// An integer of any size and sign.
    Number,
    /// Several of them.
    Numbers,
    Text,
    /// The number of a function's name among the interned ones, else its address.
    Function,
}

use Type::{Function, Number, Numbers, Text};

/// `FtraceEvent.generic`, for all others.
pub(super) const GENERIC: u32 = 327;
/// `FtraceEvent.print`.
pub(super) const PRINT: u32 = 3;

/// The message for an event.
pub(super) fn find(system: &str, event: &str) -> Option<&'static Message> {
    MESSAGES.iter().find(|message| message.event == event && message.system == system)
}

const fn message(
    system: &'static str,
    event: &'static str,
    number: u32,
    fields: &'static [(u32, &'static str, Type)],
) -> Message {
    Message { system, event, number, fields }
}

const WOKEN: &[(u32, &str, Type)] = &[
    (1, "comm", Text),
    (2, "pid", Number),
    (3, "prio", Number),
    (4, "success", Number),
    (5, "target_cpu", Number),
];
const VECTOR: &[(u32, &str, Type)] = &[(1, "vec", Number)];
const REASON: &[(u32, &str, Type)] = &[(1, "reason", Text)];
const CPU_STATE: &[(u32, &str, Type)] = &[(1, "state", Number), (2, "cpu_id", Number)];
const CLOCK: &[(u32, &str, Type)] =
    &[(1, "name", Text), (2, "state", Number), (3, "cpu_id", Number)];
const TASK: &[(u32, &str, Type)] = &[(1, "comm", Text), (2, "pid", Number), (3, "prio", Number)];
const WORK: &[(u32, &str, Type)] = &[(1, "work", Number), (2, "function", Function)];

const MESSAGES: &[Message] = &[
    message(
        "sched",
        "sched_switch",
        4,
        &[
            (1, "prev_comm", Text),
            (2, "prev_pid", Number),
            (3, "prev_prio", Number),
            (4, "prev_state", Number),
            (5, "next_comm", Text),
            (6, "next_pid", Number),
            (7, "next_prio", Number),
        ],
    ),
    message("sched", "sched_wakeup", 17, WOKEN),
    message("sched", "sched_waking", 20, WOKEN),
    message("sched", "sched_wakeup_new", 114, WOKEN),
    message(
        "sched",
        "sched_migrate_task",
        491,
        &[
            (1, "comm", Text),
            (2, "pid", Number),
            (3, "prio", Number),
            (4, "orig_cpu", Number),
            (5, "dest_cpu", Number),
        ],
    ),
    message(
        "sched",
        "sched_process_exec",
        237,
        &[(1, "filename", Text), (2, "pid", Number), (3, "old_pid", Number)],
    ),
    message(
        "sched",
        "sched_process_exit",
        238,
        &[(1, "comm", Text), (2, "pid", Number), (4, "prio", Number)],
    ),
    message(
        "sched",
        "sched_process_fork",
        239,
        &[
            (1, "parent_comm", Text),
            (2, "parent_pid", Number),
            (3, "child_comm", Text),
            (4, "child_pid", Number),
        ],
    ),
    message("sched", "sched_process_free", 240, TASK),
    message("sched", "sched_process_hang", 241, &[(1, "comm", Text), (2, "pid", Number)]),
    message("sched", "sched_process_wait", 242, TASK),
    message(
        "sched",
        "sched_pi_setprio",
        353,
        &[(1, "comm", Text), (2, "newprio", Number), (3, "oldprio", Number), (4, "pid", Number)],
    ),
    message(
        "task",
        "task_newtask",
        235,
        &[
            (1, "pid", Number),
            (2, "comm", Text),
            (3, "clone_flags", Number),
            (4, "oom_score_adj", Number),
        ],
    ),
    message(
        "task",
        "task_rename",
        236,
        &[
            (1, "pid", Number),
            (2, "oldcomm", Text),
            (3, "newcomm", Text),
            (4, "oom_score_adj", Number),
        ],
    ),
    message("irq", "softirq_entry", 24, VECTOR),
    message("irq", "softirq_exit", 25, VECTOR),
    message("irq", "softirq_raise", 26, VECTOR),
    message("irq", "irq_handler_entry", 36, &[(1, "irq", Number), (2, "name", Text)]),
    message("irq", "irq_handler_exit", 37, &[(1, "irq", Number), (2, "ret", Number)]),
    message("irq_vectors", "local_timer_entry", 559, &[(1, "vector", Number)]),
    message("irq_vectors", "local_timer_exit", 560, &[(1, "vector", Number)]),
    message("ipi", "ipi_entry", 21, REASON),
    message("ipi", "ipi_exit", 22, REASON),
    message("power", "cpu_frequency", 11, CPU_STATE),
    message(
        "power",
        "cpu_frequency_limits",
        12,
        &[(1, "min_freq", Number), (2, "max_freq", Number), (3, "cpu_id", Number)],
    ),
    message("power", "cpu_idle", 13, CPU_STATE),
    message("power", "clock_enable", 14, CLOCK),
    message("power", "clock_disable", 15, CLOCK),
    message("power", "clock_set_rate", 16, CLOCK),
    message(
        "power",
        "suspend_resume",
        113,
        &[(1, "action", Text), (2, "val", Number), (3, "start", Number)],
    ),
    message("workqueue", "workqueue_activate_work", 56, WORK),
    message("workqueue", "workqueue_execute_end", 57, WORK),
    message("workqueue", "workqueue_execute_start", 58, WORK),
    message(
        "signal",
        "signal_deliver",
        324,
        &[(1, "code", Number), (2, "sa_flags", Number), (3, "sig", Number)],
    ),
    message(
        "signal",
        "signal_generate",
        325,
        &[
            (1, "code", Number),
            (2, "comm", Text),
            (3, "group", Number),
            (4, "pid", Number),
            (5, "result", Number),
            (6, "sig", Number),
        ],
    ),
    message("raw_syscalls", "sys_enter", 329, &[(1, "id", Number), (2, "args", Numbers)]),
    message("raw_syscalls", "sys_exit", 330, &[(1, "id", Number), (2, "ret", Number)]),
    message("ftrace", "funcgraph_entry", 437, &[(1, "depth", Number), (2, "func", Function)]),
    message(
        "ftrace",
        "funcgraph_exit",
        438,
        &[
            (1, "calltime", Number),
            (2, "depth", Number),
            (3, "func", Function),
            (4, "overrun", Number),
            (5, "rettime", Number),
        ],
    ),
];
