//! The arguments that `function` and `funcgraph_entry` recorded, by the types of the kernel where the
//! file has them: `(p=0xffff8881000, count=3)`.
//!
//! A word of the traced machine was recorded for each register that may hold one.

use super::{Binding, HandledRecord};
use crate::abi::Abi;
use crate::btf::ParameterKind;
use crate::print_fmt::Compat;
use crate::report::number;

/// Where an event's arguments are.
#[derive(Clone, Copy)]
pub(super) struct Arguments {
    start: usize,
    abi: Abi,
}

impl Arguments {
    /// `None` for events and releases that know no arguments.
    pub(super) fn bind(binding: &Binding<'_>) -> Option<Self> {
        let field = binding.format.event_field("args").filter(|field| field.flags.array)?;
        let (start, abi) = (field.offset as usize, binding.format.abi);
        (binding.compat >= Compat::V3_4).then_some(Self { start, abi })
    }

    /// Appends `(…)`; false, with nothing appended, when none were recorded.
    pub(super) fn print(
        self,
        record: &HandledRecord<'_>,
        function: u64,
        out: &mut Vec<u8>,
    ) -> bool {
        let words = record.data.get(self.start..).unwrap_or_default();
        let size = usize::from(self.abi.long_size).max(1);
        if words.len() < size {
            return false;
        }
        let mut words = words.chunks_exact(size).map(|word| self.word(word));
        out.push(b'(');
        let names = record.print.names;
        let symbol = names.symbols().find(function).filter(|symbol| symbol.module.is_none());
        let parameters =
            symbol.zip(names.btf()).and_then(|(symbol, btf)| btf.parameters(symbol.name));
        match parameters {
            None => print_words(&mut words, b", ", out),
            Some(parameters) => {
                for (index, parameter) in parameters.enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    let Some(word) = words.next() else {
                        out.extend_from_slice(b"...");
                        break;
                    };
                    if !parameter.name.is_empty() {
                        out.extend_from_slice(parameter.name.as_bytes());
                        out.push(b'=');
                    }
                    self.print_value(parameter.value, word, &mut words, out);
                }
            }
        }
        out.push(b')');
        true
    }

    fn word(self, bytes: &[u8]) -> u64 {
        self.abi.byte_order.uint(bytes).unwrap_or(0)
    }

    fn print_value(
        self,
        kind: ParameterKind,
        word: u64,
        rest: &mut dyn Iterator<Item = u64>,
        out: &mut Vec<u8>,
    ) {
        match kind {
            ParameterKind::Integer { size, signed: true } | ParameterKind::Enum { size } => {
                number::signed(out, (word << unused(size)) as i64 >> unused(size));
            }
            ParameterKind::Integer { size, signed: false } => {
                print_hex(word << unused(size) >> unused(size), out);
            }
            ParameterKind::Aggregate { size } => {
                let long = u32::from(self.abi.long_size).max(1);
                let others = size.div_ceil(long).saturating_sub(1) as usize;
                out.extend_from_slice(b"(STRUCT)[");
                print_words(&mut std::iter::once(word).chain(rest.take(others)), b":", out);
                out.push(b']');
            }
            ParameterKind::Pointer | ParameterKind::Other => print_hex(word, out),
        }
    }
}

/// Bits of a number of the program that a value of that many bytes leaves alone.
fn unused(size: u32) -> u32 {
    64 - size.clamp(1, 8) * 8
}

fn print_words(words: &mut dyn Iterator<Item = u64>, separator: &[u8], out: &mut Vec<u8>) {
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.extend_from_slice(separator);
        }
        print_hex(word, out);
    }
}

fn print_hex(word: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0x");
    number::hex(out, word, 0);
}

#[cfg(test)]
mod tests {
    use super::{Arguments, HandledRecord};
    use crate::abi::{Abi, ByteOrder};
    use crate::btf::Btf;
    use crate::event::Event;
    use crate::print_fmt::{Names, PrintContext};
    use crate::printk_formats::PrintkFormats;
    use crate::ring_buffer::MissedEvents;
    use crate::symbols::Symbols;

    struct Kernel {
        symbols: Symbols,
        printk_formats: PrintkFormats,
        btf: Option<Btf>,
    }

    impl Names for Kernel {
        fn symbols(&self) -> &Symbols {
            &self.symbols
        }

        fn printk_formats(&self) -> &PrintkFormats {
            &self.printk_formats
        }

        fn btf(&self) -> Option<&Btf> {
            self.btf.as_ref()
        }
    }

    /// The arguments of `f` (at 0x10), `g` (at 0x20) or a module's `f` (at 0x30).
    fn printed(abi: Abi, function: u64, words: &[u64], with_types: bool) -> String {
        let order = abi.byte_order;
        let kernel = Kernel {
            symbols: Symbols::parse("10 t f\n20 t g\n30 t f\t[module]\n40 t end\n"),
            printk_formats: PrintkFormats::default(),
            btf: with_types.then(|| Btf::parse(crate::btf::tests::blob(order)).unwrap()),
        };
        let format = b"name: x\nID: 1\nformat:\n\tfield:u8 a;\toffset:0;\tsize:1;\tsigned:0;\n\n\
            print fmt: \"\"\n";
        let event = Event::new("ftrace", format, abi).unwrap();
        let mut data = vec![0; 8];
        for word in words {
            let size = usize::from(abi.long_size);
            match order {
                ByteOrder::Little => data.extend(&word.to_le_bytes()[..size]),
                ByteOrder::Big => data.extend(&word.to_be_bytes()[8 - size..]),
            }
        }
        let record = HandledRecord {
            data: &data,
            attached: None,
            note: 0,
            cpu: 0,
            time: 0,
            print_time: &|_, _| {},
            missed: MissedEvents::None,
            event: &event,
            print: &PrintContext::new(&kernel),
        };
        let mut out = Vec::new();
        let any = Arguments { start: 8, abi }.print(&record, function, &mut out);
        assert_eq!(any, !out.is_empty());
        String::from_utf8(out).unwrap()
    }

    const MACHINES: [Abi; 2] = [
        Abi { byte_order: ByteOrder::Little, long_size: 8 },
        Abi { byte_order: ByteOrder::Big, long_size: 8 },
    ];

    #[test]
    fn arguments_have_the_names_and_types_of_the_kernel() {
        let words = [0xffff_8000, 0xffff_fffe, 0x1ff, 0xffff_ffff, 0x11, 0x22];
        for abi in MACHINES {
            assert_eq!(
                printed(abi, 0x10, &words, true),
                "(p=0xffff8000, n=-2, c=0xff, -1, s=(STRUCT)[0x11:0x22])"
            );
            assert_eq!(printed(abi, 0x12, &words[..2], true), "(p=0xffff8000, n=-2, ...)");
            assert_eq!(printed(abi, 0x20, &words, true), "()");
            assert_eq!(printed(abi, 0x10, &[], true), "");
        }
        let abi = Abi { byte_order: ByteOrder::Big, long_size: 4 };
        assert_eq!(printed(abi, 0x10, &words[..2], true), "(p=0xffff8000, n=-2, ...)");
    }

    #[test]
    fn arguments_of_unknown_types_are_words() {
        for abi in MACHINES {
            assert_eq!(printed(abi, 0x10, &[1, 0xab], false), "(0x1, 0xab)");
            // Types of modules are not among those of the kernel.
            assert_eq!(printed(abi, 0x30, &[1], true), "(0x1)");
        }
    }
}
