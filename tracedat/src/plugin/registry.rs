//! The table of handlers.

use super::{
    Binding, Handler, func_repeats, function, function_graph, futex, hrtimer, kernel_stack, kmem,
    kvm, mac80211, raw_data,
};
use super::{sched_switch, sched_wakeup, tlb};

/// One line of the table: which event, and how a handler is made for it.
#[derive(Clone, Copy)]
pub struct Registration {
    /// System of the event.
    pub system: &'static str,
    /// Name of the event.
    pub event: &'static str,
    /// Makes a handler for the event's format; `None` when that lacks what the handler needs, and
    /// the event's own print format is used.
    pub bind: fn(&Binding<'_>) -> Option<Box<dyn Handler>>,
}

const fn on(
    system: &'static str,
    event: &'static str,
    bind: fn(&Binding<'_>) -> Option<Box<dyn Handler>>,
) -> Registration {
    Registration { system, event, bind }
}

/// Every handler there is.
const TABLE: &[Registration] = &[
    on("ftrace", "func_repeats", func_repeats::bind),
    on("ftrace", "function", function::bind),
    on("ftrace", "funcgraph_entry", function_graph::bind_entry),
    on("ftrace", "funcgraph_exit", function_graph::bind_exit),
    on("ftrace", "kernel_stack", kernel_stack::bind),
    on("ftrace", "raw_data", raw_data::bind),
    on("kmem", "kfree", kmem::bind),
    on("kmem", "kmalloc", kmem::bind),
    on("kmem", "kmalloc_node", kmem::bind),
    on("kmem", "kmem_cache_alloc", kmem::bind),
    on("kmem", "kmem_cache_alloc_node", kmem::bind),
    on("kmem", "kmem_cache_free", kmem::bind),
    on("kvm", "kvm_emulate_insn", kvm::bind_emulate_insn),
    on("kvm", "kvm_entry", kvm::bind_entry),
    on("kvm", "kvm_exit", kvm::bind_exit),
    on("kvm", "kvm_nested_vmexit", kvm::bind_nested_vmexit),
    on("kvm", "kvm_nested_vmexit_inject", kvm::bind_nested_vmexit_inject),
    on("kvmmmu", "kvm_mmu_get_page", kvm::bind_get_page),
    on("kvmmmu", "kvm_mmu_prepare_zap_page", kvm::bind_page),
    on("kvmmmu", "kvm_mmu_sync_page", kvm::bind_page),
    on("kvmmmu", "kvm_mmu_unsync_page", kvm::bind_page),
    on("kvmmmu", "kvm_mmu_zap_page", kvm::bind_page),
    on("mac80211", "drv_bss_info_changed", mac80211::bind),
    on("sched", "sched_switch", sched_switch::bind),
    on("sched", "sched_wakeup", sched_wakeup::bind),
    on("sched", "sched_wakeup_new", sched_wakeup::bind),
    on("syscalls", "sys_enter_futex", futex::bind),
    on("timer", "hrtimer_expire_entry", hrtimer::bind_expire_entry),
    on("timer", "hrtimer_start", hrtimer::bind_start),
    on("tlb", "tlb_flush", tlb::bind),
];

/// Handlers by system and event.
#[derive(Clone)]
pub struct Registry {
    registrations: Vec<Registration>,
}

impl Registry {
    /// No handler at all.
    pub fn empty() -> Self {
        Self { registrations: Vec::new() }
    }

    /// Adds a handler; it goes before those that were there for the same event.
    pub fn register(&mut self, registration: Registration) {
        self.registrations.insert(0, registration);
    }

    /// A handler for an event, bound to its format.
    pub fn bind(&self, binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
        let format = binding.format;
        self.registrations
            .iter()
            .filter(|r| r.event == format.name && r.system == format.system)
            .find_map(|r| (r.bind)(binding))
    }
}

impl Default for Registry {
    /// Every handler of this crate.
    fn default() -> Self {
        Self { registrations: TABLE.to_vec() }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.registrations.iter().map(|r| (r.system, r.event))).finish()
    }
}
