//! Pages of the shadow MMU: `level quadrant direct access flags root sync`.

use crate::abi::ByteOrder;
use crate::plugin::{Binding, HandledRecord, Handler, IntField};
use crate::report::number;

pub(in crate::plugin) fn bind_page(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(MmuPage::bind(binding)?))
}

pub(in crate::plugin) fn bind_get_page(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(MmuGetPage {
        page: MmuPage::bind(binding)?,
        created: binding.int("created")?,
        gfn: binding.int("gfn")?,
    }))
}

struct MmuPage {
    role: IntField,
    root_count: IntField,
    unsync: IntField,
    /// Whether the bits of `role` lie as this code takes them.
    little_endian: bool,
}

impl MmuPage {
    fn bind(binding: &Binding<'_>) -> Option<Self> {
        Some(Self {
            role: binding.int("role")?,
            root_count: binding.int("root_count")?,
            unsync: binding.int("unsync")?,
            little_endian: binding.format.abi.byte_order == ByteOrder::Little,
        })
    }
}

/// Who may do what, by the three access bits.
const ACCESS: [&str; 8] = ["---", "--x", "w--", "w-x", "-u-", "-ux", "wu-", "wux"];

impl Handler for MmuPage {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let role = self.role.get(record.data).unwrap_or(0);
        if self.little_endian {
            let is = |bit: u32| role >> bit & 1 != 0;
            number::decimal(out, role & 15);
            out.extend_from_slice(b" q");
            number::decimal(out, role >> 5 & 3);
            out.extend_from_slice(if is(7) { b" direct " } else { b" " });
            out.extend_from_slice(ACCESS[(role >> 8 & 7) as usize].as_bytes());
            out.extend_from_slice(if is(11) { b" invalid" } else { b"" });
            out.extend_from_slice(if is(4) { b" pae" } else { b" !pae" });
            out.extend_from_slice(if is(12) { b" nxe" } else { b" !nxe" });
            out.extend_from_slice(if is(13) { b" wp" } else { b" !wp" });
            out.extend_from_slice(if is(14) { b" smep" } else { b"" });
            out.extend_from_slice(if is(15) { b" smap" } else { b"" });
            out.extend_from_slice(if role >> 24 & 255 != 0 { b" smm" } else { b"" });
        } else {
            out.extend_from_slice(b"WORD: ");
            number::hex(out, role, 8);
        }
        out.extend_from_slice(b" root ");
        number::decimal(out, self.root_count.get(record.data).unwrap_or(0));
        let unsync = self.unsync.get(record.data).is_some_and(|unsync| unsync != 0);
        out.extend_from_slice(if unsync { b" unsync" } else { b" sync" });
    }
}

struct MmuGetPage {
    page: MmuPage,
    created: IntField,
    gfn: IntField,
}

impl Handler for MmuGetPage {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let created = self.created.get(record.data).is_some_and(|created| created != 0);
        out.extend_from_slice(if created { b"new" } else { b"existing" });
        out.extend_from_slice(b" sp gfn ");
        number::hex(out, self.gfn.get(record.data).unwrap_or(0), 0);
        out.push(b' ');
        self.page.print(record, out);
    }
}
