//! A condition as it was written, not yet tied to an event.

use super::pattern::Pattern;

/// True or false.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Constant(bool),
    Not(Box<Condition>),
    /// Strictly from left to right.
    Chain(Box<Condition>, Vec<(Junction, Condition)>),
    Compare(Compare, Value, Value),
    Match {
        field: String,
        negated: bool,
        /// As written, for printing.
        text: String,
        pattern: Pattern,
    },
    /// True when it is not zero.
    NonZero(Value),
    /// `~`, which never was true.
    Never,
}

/// What joins two conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Junction {
    And,
    Or,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Something to compare.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A field, or one of the names that hold for all events.
    Field(String),
    /// A number, and whether it is beyond the signed ones.
    Number {
        bits: u64,
        unsigned: bool,
    },
    /// Text; one character in single quotes is also a number.
    Text {
        text: String,
        code: Option<u64>,
    },
    Negated(Box<Value>),
    Binary(Arithmetic, Box<Value>, Box<Value>),
}

/// An operator on numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    ShiftLeft,
    ShiftRight,
    And,
    Or,
    Xor,
}

impl Junction {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
        }
    }
}

impl Compare {
    pub(super) fn from_sign(sign: &str) -> Option<Self> {
        let all = [
            Self::Equal,
            Self::NotEqual,
            Self::Less,
            Self::LessOrEqual,
            Self::Greater,
            Self::GreaterOrEqual,
        ];
        all.into_iter().find(|compare| compare.sign() == sign)
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The same comparison with the sides exchanged.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    #[inline]
    pub(super) fn holds<T: Ord + Copy>(self, left: T, right: T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl Arithmetic {
    /// The operator and how strongly it binds, as in C.
    pub(super) fn from_sign(sign: &str) -> Option<(Self, u8)> {
        Some(match sign {
            "*" => (Self::Multiply, 6),
            "/" => (Self::Divide, 6),
            "%" => (Self::Remainder, 6),
            "+" => (Self::Add, 5),
            "-" => (Self::Subtract, 5),
            "<<" => (Self::ShiftLeft, 4),
            ">>" => (Self::ShiftRight, 4),
            "&" => (Self::And, 3),
            "^" => (Self::Xor, 2),
            "|" => (Self::Or, 1),
            _ => return None,
        })
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
        }
    }

    pub(super) fn is_mask(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Xor)
    }

    /// The result in 64 bits; `None` for a division by zero.
    #[inline]
    pub(super) fn apply(self, left: u64, right: u64, unsigned: bool) -> Option<u64> {
        let (l, r) = (left as i64, right as i64);
        Some(match self {
            Self::Add => left.wrapping_add(right),
            Self::Subtract => left.wrapping_sub(right),
            Self::Multiply => left.wrapping_mul(right),
            Self::Divide if unsigned => left.checked_div(right)?,
            Self::Divide if r == 0 => return None,
            Self::Divide => l.wrapping_div(r) as u64,
            Self::Remainder if unsigned => left.checked_rem(right)?,
            Self::Remainder if r == 0 => return None,
            Self::Remainder => l.wrapping_rem(r) as u64,
            // Shifting everything out leaves nothing.
            Self::ShiftLeft if right > 63 => 0,
            Self::ShiftLeft => left << right,
            Self::ShiftRight if unsigned => {
                if right > 63 {
                    0
                } else {
                    left >> right
                }
            }
            Self::ShiftRight => (l >> right.min(63)) as u64,
            Self::And => left & right,
            Self::Or => left | right,
            Self::Xor => left ^ right,
        })
    }
}
