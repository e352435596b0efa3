//! `func_repeats`: a call that came again and again, how often, and when last.

use super::function::Function;
use super::{Binding, HandledRecord, Handler, IntField};
use crate::report::number;

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(FuncRepeats {
        function: Function::bind(binding)?,
        count: binding.int("count")?,
        delta_high: binding.int("top_delta_ts")?,
        delta_low: binding.int("bottom_delta_ts")?,
    }))
}

struct FuncRepeats {
    function: Function,
    count: IntField,
    /// How long before the record the last call was, in two parts.
    delta_high: IntField,
    delta_low: IntField,
}

impl Handler for FuncRepeats {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let value = |field: &IntField| field.get(record.data).unwrap_or(0);
        self.function.print_call(record, out);
        out.extend_from_slice(b" (count: ");
        number::decimal(out, value(&self.count));
        out.extend_from_slice(b"  last_ts: ");
        let delta = value(&self.delta_high) << 32 | value(&self.delta_low);
        (record.print_time)(record.time.wrapping_sub(delta), out);
        out.push(b')');
    }
}
