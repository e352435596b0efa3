//! Allocations: the calling function before the event's own text.

use super::{Binding, HandledRecord, Handler, IntField};

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(Kmem { call_site: binding.int("call_site")? }))
}

struct Kmem {
    call_site: IntField,
}

impl Handler for Kmem {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(b'(');
        if self.call_site.get(record.data).is_some_and(|at| record.symbol(at, true, out)) {
            out.extend_from_slice(b") ");
        } else {
            out.truncate(start);
        }
        record.print_fmt(out);
    }
}
