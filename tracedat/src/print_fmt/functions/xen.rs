//! Names of Xen's hypercalls.

const NAMES: [&str; 35] = [
    "set_trap_table",
    "mmu_update",
    "set_gdt",
    "stack_switch",
    "set_callbacks",
    "fpu_taskswitch",
    "sched_op_compat",
    "dom0_op",
    "set_debugreg",
    "get_debugreg",
    "update_descriptor",
    "",
    "memory_op",
    "multicall",
    "update_va_mapping",
    "set_timer_op",
    "event_channel_op_compat",
    "xen_version",
    "console_io",
    "physdev_op_compat",
    "grant_table_op",
    "vm_assist",
    "update_va_mapping_otherdomain",
    "iret",
    "vcpu_op",
    "set_segment_base",
    "mmuext_op",
    "acm_op",
    "nmi_op",
    "sched_op",
    "callback_op",
    "xenoprof_op",
    "event_channel_op",
    "physdev_op",
    "hvm_op",
];
const ARCH: [&str; 8] =
    ["arch_0", "arch_1", "arch_2", "arch_3", "arch_4", "arch_5", "arch_6", "arch_7"];

/// The name of a hypercall, an `unsigned int`; empty when it has none.
pub(in super::super) fn hypercall_name(number: u64) -> &'static str {
    let number = number as u32 as usize;
    let arch = number.checked_sub(48).and_then(|arch| ARCH.get(arch));
    arch.or_else(|| NAMES.get(number)).copied().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::hypercall_name;

    #[test]
    fn numbers_without_a_hypercall_have_no_name() {
        assert_eq!(hypercall_name(23), "iret");
        assert_eq!(hypercall_name(48), "arch_0");
        for number in [11, 35, 47, 56, u64::MAX] {
            assert_eq!(hypercall_name(number), "");
        }
    }
}
