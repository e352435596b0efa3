//! A literal and the integer field behind it as one step: what print fmts mostly are made of.
use super::number::Base;
use super::program::Step;
use super::value::{Load, Value};
use crate::text::{self, CHUNK};

/// The literal, which is short, and where and what the integer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Labelled {
    label: [u8; CHUNK],
    len: u8,
    kind: Kind,
    offset: u32,
}

/// How the integer is read and printed: only what is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    U8,
    U16,
    U32,
    U64,
    I32,
    I64,
    Hex32,
    Hex64,
}

impl Kind {
    /// `None` for what is not usual.
    fn new(load: Load, base: Base, bits: u8) -> Option<Self> {
        Some(match (base, load, bits) {
            (Base::Signed, Load::U8, 16..) | (Base::Unsigned, Load::U8, _) => Self::U8,
            (Base::Signed, Load::Le16, 32..) | (Base::Unsigned, Load::Le16, 16..) => Self::U16,
            (Base::Signed, Load::Le32, 64) | (Base::Unsigned, Load::Le32, 32..) => Self::U32,
            (Base::Unsigned, Load::Le64, 64) => Self::U64,
            (Base::Signed, Load::Le32, 32) | (Base::Signed, Load::LeI32, 32..) => Self::I32,
            (Base::Signed, Load::Le64, 64) => Self::I64,
            (Base::Hex, Load::Le32, 32..) => Self::Hex32,
            (Base::Hex, Load::Le64, 64) => Self::Hex64,
            _ => return None,
        })
    }
}

impl Labelled {
    /// `None` when the literal is long, or the step behind it prints anything else.
    pub(super) fn new(label: &[u8], next: Step) -> Option<Self> {
        let Step::Number { value: Value::Load { load, offset }, base, bits } = next else {
            return None;
        };
        let kind = Kind::new(load, base, bits)?;
        let mut chunk = [0; CHUNK];
        chunk.get_mut(..label.len())?.copy_from_slice(label);
        Some(Self { label: chunk, len: label.len() as u8, kind, offset })
    }

    /// Appends both.
    #[inline(always)]
    pub(super) fn print(&self, data: &[u8], out: &mut Vec<u8>) {
        text::first(out, &self.label, usize::from(self.len));
        let at = self.offset as usize;
        match self.kind {
            Kind::U8 => text::decimal(out, Load::U8.at(data, at)),
            Kind::U16 => text::decimal(out, Load::Le16.at(data, at)),
            Kind::U32 => text::decimal(out, Load::Le32.at(data, at)),
            Kind::U64 => text::decimal(out, Load::Le64.at(data, at)),
            Kind::I32 => text::signed(out, Load::LeI32.at(data, at).cast_signed()),
            Kind::I64 => text::signed(out, Load::Le64.at(data, at).cast_signed()),
            Kind::Hex32 => text::hex(out, Load::Le32.at(data, at), 0),
            Kind::Hex64 => text::hex(out, Load::Le64.at(data, at), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print_fmt::number;

    const LOADS: [Load; 13] = [
        Load::U8,
        Load::Le16,
        Load::Le32,
        Load::Le64,
        Load::Be16,
        Load::Be32,
        Load::Be64,
        Load::I8,
        Load::LeI16,
        Load::LeI32,
        Load::BeI16,
        Load::BeI32,
        Load::Zero,
    ];
    const BASES: [Base; 5] = [Base::Signed, Base::Unsigned, Base::Hex, Base::UpperHex, Base::Octal];

    #[test]
    fn both_steps_by_themselves_print_the_same() {
        let mut joined = 0;
        for byte in [0, 7, 0x7f, 0x80, 0xff] {
            let data = [1, byte, 2, byte, byte, 3, byte, byte, byte, byte];
            for load in LOADS {
                for base in BASES {
                    for (bits, offset) in [8, 16, 32, 64].into_iter().flat_map(|bits| {
                        (0..data.len() as u32 + 1).map(move |offset| (bits, offset))
                    }) {
                        let value = Value::Load { load, offset };
                        let step = Step::Number { value, base, bits };
                        let Some(labelled) = Labelled::new(b"label=", step) else { continue };
                        let mut out = b"x".to_vec();
                        labelled.print(&data, &mut out);
                        let mut expected = b"xlabel=".to_vec();
                        let value = load.at(&data, offset as usize);
                        number::plain(&mut expected, value, base, u32::from(bits));
                        assert_eq!(out, expected, "{load:?} {base:?} {bits}");
                        joined += 1;
                    }
                }
            }
        }
        assert!(joined > 0);
    }

    #[test]
    fn long_label_and_other_steps_stay_by_themselves() {
        let value = Value::Load { load: Load::Le32, offset: 8 };
        let number = Step::Number { value, base: Base::Signed, bits: 32 };
        assert!(Labelled::new(&[b'x'; CHUNK], number).is_some());
        assert!(Labelled::new(&[b'x'; CHUNK + 1], number).is_none());
        assert!(Labelled::new(b"x", Step::Pointer { value }).is_none());
    }
}
