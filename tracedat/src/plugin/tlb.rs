//! `tlb_flush`: `pages=N reason=text (number)`.

use super::{Binding, HandledRecord, Handler, IntField};
use crate::report::number;

/// Reasons by number; later ones have no text in the reference.
const REASONS: [&str; 4] =
    ["flush on task switch", "remote shootdown", "local shootdown", "local mm shootdown"];

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(TlbFlush { pages: binding.int("pages")?, reason: binding.int("reason")? }))
}

struct TlbFlush {
    pages: IntField,
    reason: IntField,
}

impl Handler for TlbFlush {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let reason = self.reason.get(record.data).unwrap_or(0);
        out.extend_from_slice(b"pages=");
        number::signed(out, self.pages.signed(record.data).unwrap_or(0));
        out.extend_from_slice(b" reason=");
        let text = usize::try_from(reason)
            .ok()
            .and_then(|at| REASONS.get(at))
            .copied()
            .unwrap_or_default();
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b" (");
        number::decimal(out, reason);
        out.push(b')');
    }
}
