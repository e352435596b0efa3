//! Text of a trace as UTF-8, and what is known at its addresses.

use crate::abi::Abi;
use crate::metadata::Metadata;
use crate::report::json::{FieldPlan, Kind};
use crate::report::number;

/// Appends text; a byte that is no UTF-8 becomes `\xNN`.
pub(super) fn append_utf8(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        for &byte in chunk.invalid() {
            out.extend_from_slice(b"\\x");
            number::hex(out, u64::from(byte), 2);
        }
    }
}

/// Appends what is known at the address in a field: a function with the offset into it, a text, of a stack a list of
/// functions in JSON.
pub(super) fn append_symbol(
    plan: &FieldPlan,
    abi: Abi,
    metadata: &Metadata,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    match plan.kind {
        Kind::Address => {
            let symbol = metadata.symbols().find(plan.field.uint(abi, data)?)?;
            out.extend_from_slice(symbol.name.as_bytes());
            out.extend_from_slice(b"+0x");
            number::hex(out, symbol.offset, 0);
        }
        Kind::TextAddress => {
            append_utf8(metadata.printk_formats().text(plan.field.uint(abi, data)?)?, out);
        }
        _ => return plan.print_symbol(abi, data, metadata, out).then_some(()),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::append_utf8;

    #[test]
    fn bytes_that_are_no_utf8_are_named() {
        let mut out = Vec::new();
        append_utf8(b"a\xff\xc3\xa9", &mut out);
        assert_eq!(out, "a\\xff\u{e9}".as_bytes());
    }
}
