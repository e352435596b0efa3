//! Numbers at run time: loads from the record and code on a small stack.
use super::ast::{self, Binary, Unary};
use crate::abi::ByteOrder;

/// Deepest stack that code may need.
pub(super) const STACK: usize = 32;

/// An integer of the record: its size and byte order are settled when compiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    U8,
    Le16,
    Le32,
    Le64,
    Be16,
    Be32,
    Be64,
    /// Those that carry their sign.
    I8,
    LeI16,
    LeI32,
    BeI16,
    BeI32,
    /// A size that no integer has: 0.
    Zero,
}

impl Load {
    pub(super) fn new(size: u32, order: ByteOrder) -> Self {
        match (size, order) {
            (1, _) => Self::U8,
            (2, ByteOrder::Little) => Self::Le16,
            (4, ByteOrder::Little) => Self::Le32,
            (8, ByteOrder::Little) => Self::Le64,
            (2, ByteOrder::Big) => Self::Be16,
            (4, ByteOrder::Big) => Self::Be32,
            (8, ByteOrder::Big) => Self::Be64,
            _ => Self::Zero,
        }
    }

    /// The same integer with its sign, of those shorter than a number of the program.
    pub(super) fn signed(self) -> Self {
        match self {
            Self::U8 => Self::I8,
            Self::Le16 => Self::LeI16,
            Self::Le32 => Self::LeI32,
            Self::Be16 => Self::BeI16,
            Self::Be32 => Self::BeI32,
            other => other,
        }
    }

    /// The integer at a place; 0 when the record ends before.
    #[inline]
    pub(super) fn at(self, data: &[u8], offset: usize) -> u64 {
        #[inline]
        fn bytes<const N: usize>(data: &[u8], offset: usize) -> [u8; N] {
            data.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
        }
        match self {
            Self::U8 => u64::from(bytes::<1>(data, offset)[0]),
            Self::Le16 => u64::from(u16::from_le_bytes(bytes(data, offset))),
            Self::Le32 => u64::from(u32::from_le_bytes(bytes(data, offset))),
            Self::Le64 => u64::from_le_bytes(bytes(data, offset)),
            Self::Be16 => u64::from(u16::from_be_bytes(bytes(data, offset))),
            Self::Be32 => u64::from(u32::from_be_bytes(bytes(data, offset))),
            Self::Be64 => u64::from_be_bytes(bytes(data, offset)),
            Self::I8 => i64::from(bytes::<1>(data, offset)[0] as i8) as u64,
            Self::LeI16 => i64::from(i16::from_le_bytes(bytes(data, offset))) as u64,
            Self::LeI32 => i64::from(i32::from_le_bytes(bytes(data, offset))) as u64,
            Self::BeI16 => i64::from(i16::from_be_bytes(bytes(data, offset))) as u64,
            Self::BeI32 => i64::from(i32::from_be_bytes(bytes(data, offset))) as u64,
            Self::Zero => 0,
        }
    }
}

/// A number known when the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Const(u64),
    Load {
        load: Load,
        offset: u32,
    },
    /// Some bits of an integer, as major and minor numbers are.
    Bits {
        load: Load,
        offset: u32,
        shift: u8,
        mask: u64,
    },
    /// Code that leaves one number on the stack.
    Code {
        start: u32,
        end: u32,
    },
}

/// Where bytes of the record are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Fixed {
        start: u32,
        len: u32,
    },
    /// A word tells: length above, offset in the low 16 bits, counted from `base`.
    Located {
        load: Load,
        word: u32,
        base: u32,
    },
}

impl Place {
    /// Start and length, which may lie outside of a damaged record.
    #[inline]
    pub(super) fn range(self, data: &[u8]) -> (usize, usize) {
        match self {
            Self::Fixed { start, len } => (start as usize, len as usize),
            Self::Located { load, word, base } => {
                let word = load.at(data, word as usize);
                (base as usize + (word & 0xffff) as usize, (word >> 16 & 0xffff) as usize)
            }
        }
    }

    /// The bytes, as far as the record has them.
    #[inline]
    pub(super) fn bytes(self, data: &[u8]) -> &[u8] {
        let (start, len) = self.range(data);
        let rest = data.get(start..).unwrap_or_default();
        &rest[..len.min(rest.len())]
    }

    /// Everything from the place to the end of the record.
    #[inline]
    pub(super) fn rest(self, data: &[u8]) -> &[u8] {
        data.get(self.range(data).0..).unwrap_or_default()
    }
}

/// A step of an expression's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Const(u64),
    Load {
        load: Load,
        offset: u32,
    },
    Unary(Unary),
    Binary(Binary),
    Mask(u64),
    /// Cuts to so many bits, the highest of which is the sign.
    Extend(u8),
    /// Turns the bytes of a number of so many bits around.
    Swap(u8),
    /// Takes `no`, `yes` and the condition.
    Choose,
    /// Replaces an index by the element of an array in the record.
    Element {
        load: Load,
        base: u32,
        stride: u32,
    },
    /// Replaces an index, in bytes, by the number there in a dynamic array.
    DynamicElement {
        load: Load,
        place: Place,
    },
    Length(Place),
    Start(Place),
}

impl Op {
    /// How many more numbers the stack holds afterwards.
    pub(super) fn growth(self) -> isize {
        match self {
            Self::Const(_) | Self::Load { .. } | Self::Length(_) | Self::Start(_) => 1,
            Self::Binary(_) => -1,
            Self::Choose => -2,
            Self::Unary(_)
            | Self::Mask(_)
            | Self::Extend(_)
            | Self::Swap(_)
            | Self::Element { .. }
            | Self::DynamicElement { .. } => 0,
        }
    }
}

/// The value of code that does no more than take some bits of an integer.
pub(super) fn bits(code: &[Op]) -> Option<Value> {
    let (code, cut) = match code {
        [code @ .., Op::Mask(cut)] => (code, *cut),
        code => (code, u64::MAX),
    };
    let [Op::Load { load, offset }, Op::Const(number), Op::Binary(op)] = *code else { return None };
    let (shift, mask) = match op {
        Binary::Shr => (u8::try_from(number).ok().filter(|&shift| shift < 64)?, u64::MAX),
        Binary::And => (0, number),
        _ => return None,
    };
    Some(Value::Bits { load, offset, shift, mask: mask & cut })
}

/// Steps of code that is short, as most is: it needs no more stack, and less has to be cleared.
const SHORT: usize = 8;

/// Runs code that was checked to fit the stack.
pub(super) fn run(code: &[Op], data: &[u8]) -> u64 {
    if code.len() <= SHORT { run_on::<SHORT>(code, data) } else { run_on::<STACK>(code, data) }
}

fn run_on<const DEPTH: usize>(code: &[Op], data: &[u8]) -> u64 {
    let mut stack = [0u64; DEPTH];
    let mut top = 0usize;
    for &op in code {
        // The compiler checked the depth; the mask keeps the index in range for good.
        let slot = |index: usize| index & (DEPTH - 1);
        match op {
            Op::Const(value) => stack[slot(top)] = value,
            Op::Load { load, offset } => stack[slot(top)] = load.at(data, offset as usize),
            Op::Length(place) => stack[slot(top)] = place.range(data).1 as u64,
            Op::Start(place) => stack[slot(top)] = place.range(data).0 as u64,
            Op::Unary(op) => {
                let value = &mut stack[slot(top.wrapping_sub(1))];
                *value = op.apply(*value);
            }
            Op::Mask(mask) => stack[slot(top.wrapping_sub(1))] &= mask,
            Op::Extend(bits) => {
                let value = &mut stack[slot(top.wrapping_sub(1))];
                *value = ast::convert(*value, bits, true);
            }
            Op::Swap(bits) => {
                let value = &mut stack[slot(top.wrapping_sub(1))];
                *value = ast::swap(*value, bits);
            }
            Op::Binary(op) => {
                let right = stack[slot(top.wrapping_sub(1))];
                let left = &mut stack[slot(top.wrapping_sub(2))];
                *left = op.apply(*left, right);
            }
            Op::Choose => {
                let (no, yes) =
                    (stack[slot(top.wrapping_sub(1))], stack[slot(top.wrapping_sub(2))]);
                let condition = &mut stack[slot(top.wrapping_sub(3))];
                *condition = if *condition == 0 { no } else { yes };
            }
            Op::Element { load, base, stride } => {
                let index = &mut stack[slot(top.wrapping_sub(1))];
                let offset = u64::from(base).wrapping_add(index.wrapping_mul(u64::from(stride)));
                *index = load.at(data, usize::try_from(offset).unwrap_or(usize::MAX));
            }
            Op::DynamicElement { load, place } => {
                let index = &mut stack[slot(top.wrapping_sub(1))];
                let offset = (place.range(data).0 as u64).wrapping_add(*index);
                *index = load.at(data, usize::try_from(offset).unwrap_or(usize::MAX));
            }
        }
        top = top.wrapping_add_signed(op.growth());
    }
    stack[0]
}
