//! Seeds of `sub_buffer`; each starts with a set-up (see `trace_fuzz::sub_buffer`).

use std::io;

use tracedat::testing::{FormatTexts, SubBufferBuilder};
use tracedat::{Abi, ByteOrder};

use super::sessions::write;

pub(super) fn save() -> io::Result<()> {
    for (name, setup, byte_order, long_size) in [
        ("whole-little-64", 0, ByteOrder::Little, 8),
        ("whole-big-64", 1, ByteOrder::Big, 8),
        ("whole-little-32", 2, ByteOrder::Little, 4),
        ("whole-big-32", 3, ByteOrder::Big, 4),
    ] {
        let builder = SubBufferBuilder::new(Abi { byte_order, long_size }).size(256);
        let bytes = builder
            .timestamp(1000)
            .missed(17)
            .event(5, b"payload!")
            .long_event(6, &[7; 16])
            .time_extend(1 << 30)
            .absolute(1 << 31)
            .discarded(3, 8)
            .event(1, b"last")
            .build();
        write("sub_buffer", name, setup, &[&bytes])?;
    }
    let abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
    let texts = FormatTexts { abi };
    let page = texts.header_page(256) + &texts.header_event();
    let bytes = SubBufferBuilder::new(abi).size(256).missed_unknown().event(5, b"payload!").build();
    write("sub_buffer", "whole-header-page", 4, &[page.as_bytes(), &[0], &bytes])?;
    write("sub_buffer", "old-entries", 8, &[&bytes])?;
    write("sub_buffer", "bad-cut", 0, &[&bytes[..30]])
}
