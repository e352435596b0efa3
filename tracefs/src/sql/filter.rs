//! What stands behind `WHERE`: conditions, and the kernel's text for them.

use super::query::Field;

/// A condition on events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare { field: Field, sign: &'static str, value: Literal },
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    /// A number or a word, as it is written.
    Plain(String),
    /// Text between quotes.
    Text(String),
}

impl Condition {
    /// The fields it is about.
    pub(super) fn fields<'a>(&'a self, found: &mut Vec<&'a Field>) {
        match self {
            Self::And(left, right) | Self::Or(left, right) => {
                left.fields(found);
                right.fields(found);
            }
            Self::Not(inner) => inner.fields(found),
            Self::Compare { field, .. } => found.push(field),
        }
    }

    /// The conditions that must all hold.
    pub(super) fn conjuncts(&self) -> Vec<&Self> {
        match self {
            Self::And(left, right) => [left.conjuncts(), right.conjuncts()].concat(),
            other => vec![other],
        }
    }

    /// The kernel's text, for a condition that is about one event.
    pub(super) fn text(&self) -> String {
        match self {
            Self::And(left, right) => format!("{} && {}", left.operand(), right.operand()),
            Self::Or(left, right) => format!("{} || {}", left.operand(), right.operand()),
            Self::Not(inner) => format!("!({})", inner.text()),
            Self::Compare { field, sign, value } => match value {
                Literal::Plain(value) => format!("{} {sign} {value}", field.name),
                Literal::Text(value) => {
                    // The kernel takes either quote, and has no way to escape one.
                    let quote = if value.contains('"') { '\'' } else { '"' };
                    format!("{} {sign} {quote}{value}{quote}", field.name)
                }
            },
        }
    }

    /// The same as part of a larger condition.
    fn operand(&self) -> String {
        match self {
            Self::Compare { .. } | Self::Not(_) => self.text(),
            Self::And(..) | Self::Or(..) => format!("({})", self.text()),
        }
    }
}
