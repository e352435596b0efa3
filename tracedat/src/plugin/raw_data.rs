//! `raw_data`: what was written to `trace_marker_raw`, byte by byte.

use super::{Binding, HandledRecord, Handler, IntField};
use crate::report::number;

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    let buf = binding.format.event_field("buf")?;
    Some(Box::new(RawData { id: binding.int("id")?, buf: buf.offset as usize }))
}

struct RawData {
    id: IntField,
    buf: usize,
}

impl Handler for RawData {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"# ");
        number::hex(out, self.id.get(record.data).unwrap_or(0), 0);
        for &byte in record.data.get(self.buf..).unwrap_or_default() {
            out.push(b' ');
            number::hex(out, u64::from(byte), 2);
        }
    }
}
