//! The events for which Perfetto has messages of their own, of which it draws more than a mark.
//!
//! The numbers are those of its public `ftrace_event.proto` and the files beside it.

/// A message of Perfetto for one event.
#[derive(Debug)]
pub(super) struct Message {
    system: &'static str,
    event: &'static str,
    /// Its field in `FtraceEvent`.
    pub(super) number: u32,
    /// Its fields from number 1 on, by the names of the kernel's; `_` where the kernel has none.
    pub(super) fields: &'static [(&'static str, Type)],
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

/// `FtraceEvent.generic`, for all others.
pub(super) const GENERIC: u32 = 327;
/// `FtraceEvent.print`.
pub(super) const PRINT: u32 = 3;

/// The message for an event.
pub(super) fn find(system: &str, event: &str) -> Option<&'static Message> {
    MESSAGES.iter().find(|message| message.event == event && message.system == system)
}

/// `EVENT = NUMBER (FIELD, ...)` by systems; a field is a number unless it says otherwise.
macro_rules! messages {
    ($($system:ident { $($event:ident = $number:literal ($($field:tt $(: $value:ident)?),*);)* })*) => {
        &[$($(Message {
            system: stringify!($system),
            event: stringify!($event),
            number: $number,
            fields: &[$((stringify!($field), messages!(@type $($value)?))),*],
        }),*),*]
    };
    (@type) => { Type::Number };
    (@type $value:ident) => { Type::$value };
}

const MESSAGES: &[Message] = messages! {
    sched {
        sched_switch = 4 (
            prev_comm: Text, prev_pid, prev_prio, prev_state, next_comm: Text, next_pid,
            next_prio
        );
        sched_wakeup = 17 (comm: Text, pid, prio, success, target_cpu);
        sched_waking = 20 (comm: Text, pid, prio, success, target_cpu);
        sched_wakeup_new = 114 (comm: Text, pid, prio, success, target_cpu);
        sched_migrate_task = 491 (comm: Text, pid, prio, orig_cpu, dest_cpu);
        sched_process_exec = 237 (filename: Text, pid, old_pid);
        sched_process_exit = 238 (comm: Text, pid, _, prio);
        sched_process_fork = 239 (parent_comm: Text, parent_pid, child_comm: Text, child_pid);
        sched_process_free = 240 (comm: Text, pid, prio);
        sched_process_hang = 241 (comm: Text, pid);
        sched_process_wait = 242 (comm: Text, pid, prio);
        sched_pi_setprio = 353 (comm: Text, newprio, oldprio, pid);
    }
    task {
        task_newtask = 235 (pid, comm: Text, clone_flags, oom_score_adj);
        task_rename = 236 (pid, oldcomm: Text, newcomm: Text, oom_score_adj);
    }
    irq {
        softirq_entry = 24 (vec);
        softirq_exit = 25 (vec);
        softirq_raise = 26 (vec);
        irq_handler_entry = 36 (irq, name: Text);
        irq_handler_exit = 37 (irq, ret);
    }
    irq_vectors {
        local_timer_entry = 559 (vector);
        local_timer_exit = 560 (vector);
    }
    ipi {
        ipi_entry = 21 (reason: Text);
        ipi_exit = 22 (reason: Text);
    }
    power {
        cpu_frequency = 11 (state, cpu_id);
        cpu_frequency_limits = 12 (min_freq, max_freq, cpu_id);
        cpu_idle = 13 (state, cpu_id);
        clock_enable = 14 (name: Text, state, cpu_id);
        clock_disable = 15 (name: Text, state, cpu_id);
        clock_set_rate = 16 (name: Text, state, cpu_id);
        suspend_resume = 113 (action: Text, val, start);
    }
    workqueue {
        workqueue_activate_work = 56 (work, function: Function);
        workqueue_execute_end = 57 (work, function: Function);
        workqueue_execute_start = 58 (work, function: Function);
    }
    signal {
        signal_deliver = 324 (code, sa_flags, sig);
        signal_generate = 325 (code, comm: Text, group, pid, result, sig);
    }
    raw_syscalls {
        sys_enter = 329 (id, args: Numbers);
        sys_exit = 330 (id, ret);
    }
    ftrace {
        funcgraph_entry = 437 (depth, func: Function);
        funcgraph_exit = 438 (calltime, depth, func: Function, overrun, rettime);
    }
};
