//! The format of an event, its print fmt by both grammars, and a record.

use std::sync::LazyLock;

use tracedat::event::Event;
use tracedat::print_fmt::{Compat, Names, PrintContext};
use tracedat::printk_formats::PrintkFormats;
use tracedat::symbols::Symbols;
use tracedat::{Abi, ByteOrder};

/// Bits of the set-up.
const BIG_ENDIAN: u8 = 1;
const SHORT_LONGS: u8 = 2;

/// The text of any record, and of each byte of a longer one.
const MAX_TEXT: usize = 64 << 10;
const MAX_TEXT_OF_BYTE: usize = 16;

/// Names of a few addresses.
struct Known {
    symbols: Symbols,
    printk_formats: PrintkFormats,
}

impl Names for Known {
    fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    fn printk_formats(&self) -> &PrintkFormats {
        &self.printk_formats
    }
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| Known {
    symbols: Symbols::parse("0000000000001000 T first\n0000000000002000 t second\t[module]\n"),
    printk_formats: PrintkFormats::parse(
        b"0x1000 : \"%d and %s\\n\"\n0x2000 : \"%*pbl %pS %llx\"\n",
    ),
});

/// A byte with its set-up, the text of a format up to a NUL, and a record behind it.
///
/// # Panics
/// When the same record prints differently the second time, or its text has no measure.
pub fn run(data: &[u8]) {
    let Some((&bits, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
    let (text, record) = rest.split_at(end);
    let record = record.get(1..).unwrap_or_default();
    let byte_order = if bits & BIG_ENDIAN != 0 { ByteOrder::Big } else { ByteOrder::Little };
    let abi = Abi { byte_order, long_size: if bits & SHORT_LONGS != 0 { 4 } else { 8 } };
    let Ok(event) = Event::new("fuzz", text, abi) else { return };
    for field in event.format.common_fields.iter().chain(&event.format.fields) {
        let value = field.uint(abi, record);
        assert!(value.is_none() || field.int(abi, record).is_some(), "{}", field.name);
        if let Some(text) = field.text(abi, record) {
            assert!(text.len() <= record.len() && !text.contains(&0), "{}", field.name);
        }
    }
    let plain = PrintContext { plugins: false, ..PrintContext::new(&*KNOWN) };
    for cx in [
        PrintContext { compat: Compat::V3_1_6, ..plain },
        PrintContext::new(&*KNOWN),
        PrintContext { full: true, ..plain },
    ] {
        let print = |record: &[u8]| {
            let mut out = Vec::new();
            event.print(record, &cx, &mut out);
            event.print_raw(record, &cx, &mut out);
            let most = MAX_TEXT.max(MAX_TEXT_OF_BYTE * record.len());
            // Both forms.
            assert!(out.len() <= 2 * most, "{} bytes of text", out.len());
            out
        };
        assert_eq!(print(record), print(record));
        print(&[]);
    }
}
