//! Virtual machines: entries and exits of guests, emulated instructions, pages of the shadow MMU.

mod exit_reason;
mod mmu_page;

pub(crate) use exit_reason::name as exit_reason_name;
pub(super) use mmu_page::{bind_get_page, bind_page};

use super::{Binding, HandledRecord, Handler, IntField};
use crate::print_fmt::Compat;
use crate::report::number;

pub(super) fn bind_exit(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(Exit {
        reason: Reason::bind(binding, "exit_reason")?,
        guest_rip: binding.int("guest_rip")?,
        info: binding.int("info1").zip(binding.int("info2")),
    }))
}

pub(super) fn bind_entry(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(Entry { vcpu_id: binding.int("vcpu_id")?, rip: binding.int("rip") }))
}

pub(super) fn bind_nested_vmexit(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    match binding.int("rip") {
        Some(rip) => {
            Some(Box::new(NestedVmexit { rip: Some(rip), exit: NestedExit::bind(binding)? }))
        }
        // The reference says that it misses the field, and goes on with the print fmt.
        None if binding.compat == Compat::V3_1_6 => Some(Box::new(NoRip)),
        None => None,
    }
}

pub(super) fn bind_nested_vmexit_inject(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(NestedVmexit { rip: None, exit: NestedExit::bind(binding)? }))
}

pub(super) fn bind_emulate_insn(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(EmulateInsn {
        rip: binding.int("rip")?,
        csbase: binding.int("csbase")?,
        len: binding.int("len")?,
        failed: binding.int("failed")?,
        insn: binding.format.event_field("insn")?.offset as usize,
    }))
}

/// Why the guest was left.
struct Reason {
    reason: IntField,
    isa: Option<IntField>,
}

impl Reason {
    fn bind(binding: &Binding<'_>, field: &str) -> Option<Self> {
        Some(Self { reason: binding.int(field)?, isa: binding.int("isa") })
    }

    fn print(&self, data: &[u8], out: &mut Vec<u8>) {
        let reason = self.reason.get(data).unwrap_or(0);
        // Kernels before the field was there ran on Intel machines.
        let isa = self.isa.map_or(1, |f| f.get(data).unwrap_or(0));
        out.extend_from_slice(b"reason ");
        if !matches!(isa, 1 | 2) {
            out.extend_from_slice(b"UNKNOWN-ISA");
        } else if let Some(name) = exit_reason::name(isa, reason) {
            out.extend_from_slice(name.as_bytes());
        } else {
            out.extend_from_slice(b"UNKNOWN (");
            number::decimal(out, reason);
            out.push(b')');
        }
    }
}

fn print_hex(out: &mut Vec<u8>, label: &[u8], field: IntField, data: &[u8]) {
    out.extend_from_slice(label);
    number::hex(out, field.get(data).unwrap_or(0), 0);
}

struct Exit {
    reason: Reason,
    guest_rip: IntField,
    info: Option<(IntField, IntField)>,
}

impl Handler for Exit {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        self.reason.print(record.data, out);
        print_hex(out, b" rip 0x", self.guest_rip, record.data);
        if let Some((info1, info2)) = self.info {
            print_hex(out, b" info ", info1, record.data);
            print_hex(out, b" ", info2, record.data);
        }
    }
}

struct Entry {
    vcpu_id: IntField,
    rip: Option<IntField>,
}

impl Handler for Entry {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b" vcpu ");
        number::decimal(out, self.vcpu_id.get(record.data).unwrap_or(0));
        if let Some(rip) = self.rip {
            print_hex(out, b" rip 0x", rip, record.data);
        }
    }
}

struct NestedExit {
    reason: Reason,
    fields: [(&'static [u8], IntField); 4],
}

impl NestedExit {
    fn bind(binding: &Binding<'_>) -> Option<Self> {
        Some(Self {
            reason: Reason::bind(binding, "exit_code")?,
            fields: [
                (b" info1 ", binding.int("exit_info1")?),
                (b" info2 ", binding.int("exit_info2")?),
                (b" int_info ", binding.int("exit_int_info")?),
                (b" int_info_err ", binding.int("exit_int_info_err")?),
            ],
        })
    }
}

struct NestedVmexit {
    rip: Option<IntField>,
    exit: NestedExit,
}

impl Handler for NestedVmexit {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        if let Some(rip) = self.rip {
            print_hex(out, b" rip ", rip, record.data);
        }
        self.exit.reason.print(record.data, out);
        for (label, field) in self.exit.fields {
            print_hex(out, label, field, record.data);
        }
    }
}

/// `kvm_nested_vmexit` of kernels that call the field `guest_rip`.
struct NoRip;

impl Handler for NoRip {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<CANT FIND FIELD rip>");
        record.print_fmt(out);
    }
}

struct EmulateInsn {
    rip: IntField,
    csbase: IntField,
    len: IntField,
    failed: IntField,
    insn: usize,
}

impl Handler for EmulateInsn {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let data = record.data;
        number::hex(out, self.csbase.get(data).unwrap_or(0), 0);
        print_hex(out, b":", self.rip, data);
        out.push(b':');
        let insn = data.get(self.insn..).unwrap_or_default();
        let len = self.len.get(data).unwrap_or(0) as usize;
        for &byte in insn.get(..len).unwrap_or(insn) {
            out.push(b' ');
            number::hex(out, u64::from(byte), 2);
        }
        if self.failed.get(data).is_some_and(|failed| failed != 0) {
            out.extend_from_slice(b" FAIL");
        }
    }
}
