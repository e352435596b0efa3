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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Abi, ByteOrder};
    use crate::event::Event;
    use crate::plugin::HandlerOptions;
    use crate::print_fmt::{Compat, NoNames, PrintContext};
    use crate::ring_buffer::MissedEvents;

    const TEXT: &[u8] = b"name: func_repeats\nID: 20\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:u32 ip;\toffset:4;\tsize:4;\tsigned:0;\n\
        \tfield:u32 parent_ip;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:u16 count;\toffset:12;\tsize:2;\tsigned:0;\n\
        \tfield:u16 top_delta_ts;\toffset:14;\tsize:2;\tsigned:0;\n\
        \tfield:u32 bottom_delta_ts;\toffset:16;\tsize:4;\tsigned:0;\n\n\
        print fmt: \"\"\n";

    #[test]
    fn last_call_is_told_by_its_time() {
        let abi = Abi { byte_order: ByteOrder::Big, long_size: 4 };
        let event = Event::new("ftrace", TEXT, abi).unwrap();
        let binding = Binding {
            format: &event.format,
            other: &|_, _| None,
            options: &HandlerOptions::default(),
            compat: Compat::V3_4,
        };
        let names = NoNames::default();
        let data = [0, 20, 0, 0, 0, 0, 0, 0xab, 0, 0, 0, 0xcd, 0, 3, 0, 1, 0, 0, 0, 5];
        let record = HandledRecord {
            data: &data,
            attached: None,
            note: 0,
            cpu: 0,
            time: (1 << 32) + 12,
            print_time: &|time, out| number::decimal(out, time),
            missed: MissedEvents::None,
            event: &event,
            print: &PrintContext::new(&names),
        };
        let mut out = Vec::new();
        bind(&binding).unwrap().print(&record, &mut out);
        assert_eq!(out, b"0xab (count: 3  last_ts: 7)");
    }
}
