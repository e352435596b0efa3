//! What a print fmt says, as the reference understands it.

/// An operator between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Mul,
    Div,
    Rem,
    Add,
    Sub,
    Shl,
    Shr,
    Lt,
    Gt,
    Le,
    Ge,
    Eq,
    Ne,
    And,
    Xor,
    Or,
    AndAnd,
    OrOr,
    /// The operators that the reference does not know: C's, on numbers that carry their sign.
    SignedDiv,
    SignedRem,
    SignedShr,
    SignedLt,
    SignedGt,
    SignedLe,
    SignedGe,
    TrueXor,
}

impl Binary {
    pub(super) fn from_token(op: &str) -> Option<Self> {
        Some(match op {
            "*" => Self::Mul,
            "/" => Self::Div,
            "%" => Self::Rem,
            "+" => Self::Add,
            "-" => Self::Sub,
            "<<" => Self::Shl,
            ">>" => Self::Shr,
            "<" => Self::Lt,
            ">" => Self::Gt,
            "<=" => Self::Le,
            ">=" => Self::Ge,
            "==" => Self::Eq,
            "!=" => Self::Ne,
            "&" => Self::And,
            "^" => Self::Xor,
            "|" => Self::Or,
            "&&" => Self::AndAnd,
            "||" => Self::OrOr,
            _ => return None,
        })
    }

    /// C's precedence: the lower, the tighter it binds.
    pub(super) fn priority(self) -> u8 {
        match self {
            Self::Mul | Self::Div | Self::Rem | Self::SignedDiv | Self::SignedRem => 6,
            Self::Add | Self::Sub => 7,
            Self::Shl | Self::Shr | Self::SignedShr => 8,
            Self::Lt
            | Self::Gt
            | Self::Le
            | Self::Ge
            | Self::SignedLt
            | Self::SignedGt
            | Self::SignedLe
            | Self::SignedGe => 9,
            Self::Eq | Self::Ne => 10,
            Self::And => 11,
            Self::Xor | Self::TrueXor => 12,
            Self::Or => 13,
            Self::AndAnd => 14,
            Self::OrOr => 15,
        }
    }

    /// Everything is unsigned and 64 bits wide. A division by zero gives zero, shifts go modulo 64,
    /// and the reference does not know `^`.
    #[inline]
    pub(super) fn apply(self, left: u64, right: u64) -> u64 {
        match self {
            Self::Mul => left.wrapping_mul(right),
            Self::Div => left.checked_div(right).unwrap_or(0),
            Self::Rem => left.checked_rem(right).unwrap_or(0),
            Self::Add => left.wrapping_add(right),
            Self::Sub => left.wrapping_sub(right),
            Self::Shl => left.wrapping_shl(right as u32),
            Self::Shr => left.wrapping_shr(right as u32),
            Self::Lt => u64::from(left < right),
            Self::Gt => u64::from(left > right),
            Self::Le => u64::from(left <= right),
            Self::Ge => u64::from(left >= right),
            Self::Eq => u64::from(left == right),
            Self::Ne => u64::from(left != right),
            Self::And => left & right,
            Self::Xor => 0,
            Self::Or => left | right,
            Self::AndAnd => u64::from(left != 0 && right != 0),
            Self::OrOr => u64::from(left != 0 || right != 0),
            Self::SignedDiv => (left as i64).checked_div(right as i64).unwrap_or(0) as u64,
            Self::SignedRem => (left as i64).checked_rem(right as i64).unwrap_or(0) as u64,
            Self::SignedShr => (left as i64).wrapping_shr(right as u32) as u64,
            Self::SignedLt => u64::from((left as i64) < right as i64),
            Self::SignedGt => u64::from(left as i64 > right as i64),
            Self::SignedLe => u64::from(left as i64 <= right as i64),
            Self::SignedGe => u64::from(left as i64 >= right as i64),
            Self::TrueXor => left ^ right,
        }
    }
}

/// An operator before a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Negate,
    Not,
    Invert,
    Plus,
}

impl Unary {
    pub(super) fn from_token(op: &str) -> Option<Self> {
        Some(match op {
            "-" => Self::Negate,
            "!" => Self::Not,
            "~" => Self::Invert,
            "+" => Self::Plus,
            _ => return None,
        })
    }

    #[inline]
    pub(super) fn apply(self, value: u64) -> u64 {
        match self {
            Self::Negate => value.wrapping_neg(),
            Self::Not => u64::from(value == 0),
            Self::Invert => !value,
            Self::Plus => value,
        }
    }
}

/// A value and the text that stands for it.
pub(super) type Table = Vec<(u64, Vec<u8>)>;

/// An argument of a print fmt, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    /// Nothing, as where an argument was expected before a comma.
    Null,
    /// A number, a name, or a text in quotes: the reference does not tell them apart.
    Atom(Vec<u8>),
    /// `REC->name`.
    Field(String),
    /// `__print_flags`.
    Flags {
        value: Box<Expr>,
        delimiter: Vec<u8>,
        table: Table,
    },
    /// `__print_symbolic`.
    Symbolic {
        value: Box<Expr>,
        table: Table,
    },
    /// `__print_hex` and, without blanks, `__print_hex_str`.
    Hex {
        data: Box<Expr>,
        len: Box<Expr>,
        blanks: bool,
    },
    /// `__print_array`.
    Array {
        data: Box<Expr>,
        count: Box<Expr>,
        element_size: Box<Expr>,
    },
    /// `__get_str`, `__get_rel_str`.
    Str(String),
    /// `__get_bitmask`, `__get_rel_bitmask`.
    Bitmask(String),
    /// `__get_cpumask`, `__get_rel_cpumask`.
    Cpumask(String),
    /// `__get_dynamic_array`, `__get_rel_dynamic_array`, `__get_sockaddr`.
    DynamicArray(String),
    /// `__get_dynamic_array_len`.
    DynamicArrayLen(String),
    /// `(type)value`.
    Cast {
        type_name: String,
        value: Box<Expr>,
    },
    Unary {
        op: Unary,
        value: Box<Expr>,
    },
    Binary {
        op: Binary,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `condition ? yes : no`.
    Choice {
        condition: Box<Expr>,
        yes: Box<Expr>,
        no: Box<Expr>,
    },
    /// `array[index]`.
    Index {
        array: Box<Expr>,
        index: Box<Expr>,
    },
    /// A number, of whatever type.
    Number(u64),
    /// The low bits of a value, as a number of that type.
    Convert {
        bits: u8,
        signed: bool,
        value: Box<Expr>,
    },
    /// The number of `size` bytes that lies `offset` bytes after where data starts.
    Element {
        data: Box<Expr>,
        offset: Box<Expr>,
        size: u8,
    },
    /// The bytes of a number in the opposite order.
    Swapped {
        bits: u8,
        value: Box<Expr>,
    },
    /// Text printed by a format string of its own.
    Printed(Vec<(Vec<u8>, Vec<Expr>)>),
    /// `__print_hex_dump`.
    HexDump {
        prefix: Vec<u8>,
        offsets: bool,
        row: u8,
        group: u8,
        data: Box<Expr>,
        len: Box<Expr>,
        ascii: bool,
    },
    /// A value that the print fmt does not tell enough to know.
    Unknown,
    /// A function that a plugin registers.
    Call {
        function: super::functions::Function,
        args: Vec<Expr>,
    },
}

impl Expr {
    /// The number that the reference names in a complaint about an argument's type.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Null | Self::Unknown => 0,
            Self::Atom(_) | Self::Number(_) => 1,
            Self::Field(_) => 2,
            Self::Flags { .. } => 3,
            Self::Symbolic { .. } => 4,
            Self::Hex { blanks: true, .. } => 5,
            Self::Array { .. } => 6,
            Self::Cast { .. } | Self::Convert { .. } => 7,
            Self::Str(_) | Self::Printed(_) | Self::HexDump { .. } => 8,
            Self::DynamicArray(_) => 10,
            Self::Unary { .. }
            | Self::Binary { .. }
            | Self::Choice { .. }
            | Self::Index { .. }
            | Self::Element { .. }
            | Self::Swapped { .. } => 11,
            Self::Call { .. } => 12,
            Self::Bitmask(_) => 13,
            Self::DynamicArrayLen(_) => 14,
            Self::Hex { .. } => 15,
            Self::Cpumask(_) => 16,
        }
    }

    /// The expression under its casts.
    pub(super) fn without_casts(&self) -> &Self {
        let mut expr = self;
        while let Self::Cast { value, .. } | Self::Convert { value, .. } = expr {
            expr = value;
        }
        expr
    }

    /// The same as a number, with names that `address` knows as numbers too.
    pub(super) fn with_addresses(&self, address: &dyn Fn(&[u8]) -> Option<u64>) -> Self {
        let inner = |value: &Self| Box::new(value.with_addresses(address));
        match self {
            Self::Atom(name) => address(name).map_or_else(|| self.clone(), Self::Number),
            Self::Cast { type_name, value } => {
                Self::Cast { type_name: type_name.clone(), value: inner(value) }
            }
            Self::Unary { op, value } => Self::Unary { op: *op, value: inner(value) },
            Self::Binary { op, left, right } => {
                Self::Binary { op: *op, left: inner(left), right: inner(right) }
            }
            Self::Choice { condition, yes, no } => {
                Self::Choice { condition: inner(condition), yes: inner(yes), no: inner(no) }
            }
            _ => self.clone(),
        }
    }

    /// The value when no record is needed to know it, with names and texts counting as 0.
    pub(super) fn constant(&self) -> Option<u64> {
        Some(match self {
            Self::Null => 0,
            Self::Atom(text) => atom_value(text),
            Self::Number(value) => *value,
            Self::Cast { type_name, value } => cast_mask(type_name) & value.constant()?,
            Self::Convert { bits, signed, value } => convert(value.constant()?, *bits, *signed),
            Self::Swapped { bits, value } => swap(value.constant()?, *bits),
            Self::Unary { op, value } => op.apply(value.constant()?),
            Self::Binary { op, left, right } => op.apply(left.constant()?, right.constant()?),
            Self::Choice { condition, yes, no } => {
                if condition.constant()? == 0 {
                    no.constant()?
                } else {
                    yes.constant()?
                }
            }
            _ => return None,
        })
    }
}

/// The bits that a cast keeps: only of some types, and never a sign.
pub(super) fn cast_mask(type_name: &str) -> u64 {
    match type_name {
        "char" | "unsigned char" | "u8" | "s8" => 0xff,
        "short" | "unsigned short" | "u16" | "s16" => 0xffff,
        "int" | "unsigned int" | "u32" | "s32" => 0xffff_ffff,
        _ => u64::MAX,
    }
}

/// The low bits of a value as a number of that type, in 64 bits.
#[inline]
pub(super) fn convert(value: u64, bits: u8, signed: bool) -> u64 {
    let unused = u32::from(64_u8.saturating_sub(bits).min(63));
    let value = value << unused;
    if signed { (value as i64 >> unused) as u64 } else { value >> unused }
}

/// The bytes of a number of so many bits in the opposite order.
#[inline]
pub(super) fn swap(value: u64, bits: u8) -> u64 {
    value.swap_bytes() >> u32::from(64_u8.saturating_sub(bits).min(63))
}

/// The number that a text begins with, as C's `strtoull` with base 0 reads it.
pub(super) fn atom_value(text: &[u8]) -> u64 {
    let text = text.trim_ascii_start();
    let (negative, text) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (&text[2..], 16),
        [b'0', ..] => (text, 8),
        _ => (text, 10),
    };
    let mut value = 0u64;
    for &byte in digits {
        let Some(digit) = char::from(byte).to_digit(radix) else { break };
        let next =
            value.checked_mul(u64::from(radix)).and_then(|v| v.checked_add(u64::from(digit)));
        let Some(next) = next else { return u64::MAX };
        value = next;
    }
    if negative { value.wrapping_neg() } else { value }
}

#[cfg(test)]
mod tests {
    use super::{Expr, atom_value};

    #[test]
    fn atoms_are_read_like_strtoull_reads_them() {
        for (text, value) in [
            ("10UL", 10),
            ("0x10", 16),
            ("0x", 0),
            ("010", 8),
            ("09", 0),
            ("word", 0),
            ("-2", u64::MAX - 1),
            ("18446744073709551616", u64::MAX),
        ] {
            assert_eq!(atom_value(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn casts_cut_but_never_extend_a_sign() {
        let cast = |type_name: &str, value: &str| Expr::Cast {
            type_name: type_name.to_owned(),
            value: Box::new(Expr::Atom(value.as_bytes().to_vec())),
        };
        assert_eq!(cast("s8", "511").constant(), Some(255));
        assert_eq!(cast("__u8", "511").constant(), Some(511));
    }
}
