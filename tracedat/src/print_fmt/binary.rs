//! Binary `trace_printk` records: the format by address, the arguments packed into words.
use super::conversion::{self, Kind, Piece, Pointer, Star};
use super::limit::{self, MAX_WIDTH};
use super::number;
use super::value::Load;
use super::{Compat, PrintContext, Program, address};
use crate::abi::Abi;

/// A format string of `trace_printk`, split once.
#[derive(Debug)]
pub struct BinaryFormat {
    pieces: Vec<Piece>,
}

impl BinaryFormat {
    /// Splits a format string, escapes as written.
    pub fn parse(text: &[u8]) -> Self {
        let pieces =
            conversion::split(text, true).unwrap_or_else(|_| vec![Piece::Literal(text.to_vec())]);
        Self { pieces }
    }

    /// Appends the text of the arguments.
    pub fn print(&self, args: &[u8], abi: Abi, cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        let (start, len) = (out.len(), args.len());
        let mut args = Args { rest: args, read: 0, abi };
        for piece in &self.pieces {
            if limit::is_exceeded(out, start, len) {
                return;
            }
            let conversion = match piece {
                Piece::Literal(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Piece::Conversion(conversion) => conversion,
            };
            let mut layout = conversion.layout;
            if matches!(conversion.star, Star::Width | Star::Both) {
                let width = args.number(4) as i32;
                layout.left |= width < 0;
                layout.width = width.unsigned_abs().min(MAX_WIDTH);
            }
            if matches!(conversion.star, Star::Precision | Star::Both) {
                let precision = u32::try_from(args.number(4) as i32).ok();
                layout.precision = precision.map(|most| most.min(MAX_WIDTH));
            }
            match conversion.kind {
                Kind::Number { base, bits } => {
                    // What is a `long` comes with the traced machine's size.
                    let size =
                        if conversion.long { abi.long_size.into() } else { bits as usize / 8 };
                    let mut value = args.number(size);
                    if size == 4 && base == number::Base::Signed {
                        value = i64::from(value as i32) as u64;
                    }
                    number::laid_out(out, value, base, bits, layout);
                }
                Kind::Char => number::text(out, &[args.number(1) as u8], layout),
                Kind::Text => number::text(out, args.text(), layout),
                Kind::Pointer(pointer) => print_pointer(out, pointer, &mut args, cx),
            }
        }
    }
}

/// Only addresses are stored as such; the kernel prints all else when it records.
fn print_pointer(out: &mut Vec<u8>, pointer: Pointer, args: &mut Args<'_>, cx: &PrintContext<'_>) {
    match pointer {
        Pointer::Symbol { offset } => {
            let value = args.number(args.abi.long_size.into());
            address::symbol(out, value, offset, cx.names.symbols());
        }
        Pointer::Backtrace if cx.compat > Compat::V3_1_6 => {
            let value = args.number(args.abi.long_size.into());
            address::symbol(out, value, true, cx.names.symbols());
        }
        Pointer::Plain | Pointer::Hex | Pointer::Backtrace => {
            let value = args.number(args.abi.long_size.into());
            address::pointer(out, value);
            match pointer {
                Pointer::Hex if cx.compat == Compat::V3_1_6 => out.push(b'x'),
                Pointer::Backtrace => out.push(b'B'),
                _ => {}
            }
        }
        _ => out.extend_from_slice(args.text()),
    }
}

/// Reads packed arguments one after another; what is missing is 0 or empty.
struct Args<'a> {
    rest: &'a [u8],
    /// Bytes read so far, for the alignment.
    read: usize,
    abi: Abi,
}

impl<'a> Args<'a> {
    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
        self.read += count;
    }

    /// An integer: aligned to its size, but to no more than 4.
    fn number(&mut self, size: usize) -> u64 {
        let align = size.clamp(1, 4);
        self.skip(self.read.next_multiple_of(align) - self.read);
        let value = Load::new(size as u32, self.abi.byte_order).at(self.rest, 0);
        self.skip(size);
        value
    }

    /// Text up to its NUL.
    fn text(&mut self) -> &'a [u8] {
        let rest = self.rest;
        let len = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        self.skip(len + 1);
        &rest[..len]
    }
}

impl Program {
    /// Appends a binary record: the function, then the format with its arguments.
    pub(super) fn run_binary(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        let field = |name: &str| self.fields.iter().find(|field| field.name == name);
        let number = |name| field(name).and_then(|field| field.uint(self.abi, data)).unwrap_or(0);
        let (ip, format) = (number("ip"), number("fmt"));
        match cx.names.symbols().find(ip) {
            Some(symbol) => out.extend_from_slice(symbol.name.as_bytes()),
            None => number::prefixed_hex(out, ip),
        }
        out.extend_from_slice(b": ");
        let args = field("buf").and_then(|field| data.get(field.offset as usize..));
        match cx.names.printk_formats().binary(format) {
            Some(format) => format.print(args.unwrap_or_default(), self.abi, cx, out),
            None => {
                out.extend_from_slice(b"(NO FORMAT FOUND at ");
                if cx.compat > Compat::V3_1_6 {
                    out.extend_from_slice(b"0x");
                }
                number::hex(out, format);
                out.extend_from_slice(b")\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BinaryFormat, PrintContext};
    use crate::abi::{Abi, ByteOrder};
    use crate::print_fmt::NoNames;

    #[test]
    fn no_text_is_longer_than_a_few_conversions() {
        let abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
        let names = NoNames::default();
        for format in ["%.*d%d%d".repeat(1000), "%*d".repeat(1000), "%65535s".repeat(1000)] {
            let mut out = Vec::new();
            let format = BinaryFormat::parse(format.as_bytes());
            format.print(&[0x7f; 40], abi, &PrintContext::new(&names), &mut out);
            assert!((65_536..4 * 65_536).contains(&out.len()), "{}", out.len());
        }
    }
}
