//! `kernel_stack`: one line per function on the stack; the option `ftrace:offset` adds the offset into it.

use super::{Binding, HandledRecord, Handler};
use crate::abi::Abi;
use crate::report::number;

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    let caller = binding.format.event_field("caller")?;
    Some(Box::new(KernelStack {
        caller: caller.offset as usize,
        abi: binding.format.abi,
        offset: binding.options.switch("ftrace", "offset", false),
    }))
}

struct KernelStack {
    caller: usize,
    abi: Abi,
    offset: bool,
}

impl Handler for KernelStack {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<stack trace >");
        let long = usize::from(self.abi.long_size);
        let end = u64::MAX >> (64 - 8 * u32::from(self.abi.long_size));
        for word in record.data.get(self.caller..).unwrap_or_default().chunks_exact(long) {
            let Some(address) = self.abi.byte_order.uint(word).filter(|&address| address != end)
            else {
                break;
            };
            out.extend_from_slice(b"\n=> ");
            if record.symbol(address, self.offset, out) {
                out.extend_from_slice(if self.offset { b"  (" } else { b" (" });
                number::hex(out, address, 0);
                out.push(b')');
            } else {
                number::hex(out, address, 0);
            }
        }
    }
}
