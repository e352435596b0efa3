//! Programs that say whether a record is meant. Nothing is allocated.

use super::ast::{Arithmetic, Compare};
use super::parse::MAX_DEPTH;
use super::pattern::Pattern;
use crate::abi::{Abi, ByteOrder};
use crate::event_format::Field;
use crate::print_fmt::Names;

/// A filter compiled for one event.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) ops: Box<[Op]>,
}

/// What a program needs beside the record's bytes.
#[derive(Clone, Copy)]
pub struct FilterContext<'a> {
    /// The CPU of the record.
    pub cpu: u32,
    /// Names of tasks.
    pub comm: &'a dyn Fn(i32) -> Option<&'a [u8]>,
    /// Names of addresses.
    pub names: &'a dyn Names,
}

/// A step, which changes the truth or uses it.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Constant(bool),
    Test(Test),
    Not,
    /// Goes on at `to`, always further down.
    JumpIf {
        when: bool,
        to: usize,
    },
}

/// A test of a record. What cannot be computed is false.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// A field against a constant, by far the most common.
    Number {
        load: Load,
        compare: Compare,
        value: u64,
        unsigned: bool,
    },
    Values {
        left: Box<[ValueOp]>,
        compare: Compare,
        right: Box<[ValueOp]>,
        unsigned: bool,
    },
    NonZero(Box<[ValueOp]>),
    Text {
        source: TextSource,
        equal: bool,
        text: Box<[u8]>,
    },
    Texts {
        left: TextSource,
        equal: bool,
        right: TextSource,
    },
    Match {
        source: TextSource,
        negated: bool,
        pattern: Pattern,
    },
}

/// An integer in a record, or its CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    offset: usize,
    /// In bytes; 0 for the CPU.
    size: u8,
    signed: bool,
    byte_order: ByteOrder,
}

/// A step of a computation.
#[derive(Clone, Debug)]
pub(super) enum ValueOp {
    Load(Load),
    Constant(u64),
    Negate,
    /// An operator, and whether it takes its operands for unsigned.
    Binary(Arithmetic, bool),
}

/// Where a text comes from.
#[derive(Clone, Debug)]
pub(super) enum TextSource {
    Field(Box<Field>, Abi),
    /// The name of the task with this pid.
    Comm(Load),
    /// A number in hexadecimal; an address is the name of its function.
    Number {
        load: Load,
        address: bool,
    },
}

impl Program {
    /// Whether the record is meant.
    #[inline]
    pub fn matches(&self, data: &[u8], context: &FilterContext<'_>) -> bool {
        let mut truth = true;
        let mut at = 0;
        while let Some(op) = self.ops.get(at) {
            at += 1;
            match op {
                Op::Constant(value) => truth = *value,
                Op::Test(test) => truth = test.holds(data, context).unwrap_or(false),
                Op::Not => truth = !truth,
                Op::JumpIf { when, to } => {
                    if truth == *when {
                        at = *to;
                    }
                }
            }
        }
        truth
    }
}

impl Test {
    #[inline]
    fn holds(&self, data: &[u8], context: &FilterContext<'_>) -> Option<bool> {
        let number = |compare: &Compare, left: u64, right: u64, unsigned: bool| {
            if unsigned {
                compare.holds(left, right)
            } else {
                compare.holds(left as i64, right as i64)
            }
        };
        Some(match self {
            Self::Number { load, compare, value, unsigned } => {
                number(compare, load.get(data, context.cpu)?, *value, *unsigned)
            }
            Self::Values { left, compare, right, unsigned } => {
                let left = compute(left, data, context.cpu)?;
                number(compare, left, compute(right, data, context.cpu)?, *unsigned)
            }
            Self::NonZero(value) => compute(value, data, context.cpu)? != 0,
            Self::Text { source, equal, text } => {
                source.with(data, context, |found| (*found == **text) == *equal)?
            }
            Self::Texts { left, equal, right } => left.with(data, context, |left| {
                right.with(data, context, |right| (left == right) == *equal)
            })??,
            Self::Match { source, negated, pattern } => {
                source.with(data, context, |found| pattern.is_match(found) != *negated)?
            }
        })
    }
}

impl Load {
    /// The CPU a record was made on.
    pub(super) const CPU: Self =
        Self { offset: 0, size: 0, signed: false, byte_order: ByteOrder::Little };

    /// An integer of 1, 2, 4 or 8 bytes.
    pub(super) fn new(offset: u32, size: u32, signed: bool, byte_order: ByteOrder) -> Option<Self> {
        if !matches!(size, 1 | 2 | 4 | 8) {
            return None;
        }
        Some(Self { offset: offset as usize, size: size as u8, signed, byte_order })
    }

    /// Whether its largest values are beyond the signed ones.
    pub(super) fn is_unsigned_64(self) -> bool {
        self.size == 8 && !self.signed
    }

    /// A constant as it would be in the field: -1 is what an unsigned field shows for it.
    pub(super) fn wrapped(self, value: u64) -> u64 {
        let negative = (value as i64) < 0;
        if negative && !self.signed && matches!(self.size, 1 | 2 | 4) {
            value & (u64::MAX >> (64 - 8 * u32::from(self.size)))
        } else {
            value
        }
    }

    #[inline]
    fn get(self, data: &[u8], cpu: u32) -> Option<u64> {
        if self.size == 0 {
            return Some(u64::from(cpu));
        }
        let bytes = data.get(self.offset..self.offset.checked_add(usize::from(self.size))?)?;
        let value = self.byte_order.uint(bytes)?;
        if !self.signed {
            return Some(value);
        }
        let unused = 64 - 8 * u32::from(self.size);
        Some((((value << unused) as i64) >> unused) as u64)
    }
}

fn compute(ops: &[ValueOp], data: &[u8], cpu: u32) -> Option<u64> {
    // The parser lets nothing through that needs more.
    let mut stack = [0_u64; MAX_DEPTH + 2];
    let mut len = 0_usize;
    for op in ops {
        match op {
            ValueOp::Load(load) => {
                *stack.get_mut(len)? = load.get(data, cpu)?;
                len += 1;
            }
            ValueOp::Constant(value) => {
                *stack.get_mut(len)? = *value;
                len += 1;
            }
            ValueOp::Negate => {
                let top = stack.get_mut(len.checked_sub(1)?)?;
                *top = top.wrapping_neg();
            }
            ValueOp::Binary(operator, unsigned) => {
                len = len.checked_sub(1)?;
                let right = *stack.get(len)?;
                let left = stack.get_mut(len.checked_sub(1)?)?;
                *left = operator.apply(*left, right, *unsigned)?;
            }
        }
    }
    (len == 1).then_some(stack[0])
}

impl TextSource {
    #[inline]
    fn with<T>(
        &self,
        data: &[u8],
        context: &FilterContext<'_>,
        see: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        match self {
            Self::Field(field, abi) => field.text(*abi, data).map(see),
            Self::Comm(pid) => {
                let pid = pid.get(data, context.cpu)? as i32;
                if pid == 0 {
                    return Some(see(b"<idle>"));
                }
                Some(see((context.comm)(pid).unwrap_or(b"<...>")))
            }
            Self::Number { load, address } => {
                let value = load.get(data, context.cpu)?;
                if *address && let Some(symbol) = context.names.symbols().find(value) {
                    return Some(see(symbol.name.as_bytes()));
                }
                let mut text = [0; 18];
                Some(see(hex(value, &mut text)))
            }
        }
    }
}

/// `0x` and the digits, at the end of `text`.
fn hex(mut value: u64, text: &mut [u8; 18]) -> &[u8] {
    let mut start = text.len();
    while start > 2 {
        start -= 1;
        text[start] = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
        if value == 0 {
            break;
        }
    }
    text[start - 2] = b'0';
    text[start - 1] = b'x';
    &text[start - 2..]
}
