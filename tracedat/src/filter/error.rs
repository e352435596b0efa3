//! What is wrong with a filter, and where.

use thiserror::Error;

/// A filter that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind} at column {}", .at + 1)]
pub struct FilterError {
    /// The text that was parsed.
    pub text: String,
    /// Where in the text, in bytes.
    pub at: usize,
    /// What.
    pub kind: FilterErrorKind,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FilterErrorKind {
    /// No event is named.
    #[error("expected the name of an event")]
    NoEvent,
    /// Something else stands where a value has to be.
    #[error("expected a field, a number or a string")]
    ExpectedValue,
    /// Something else stands where a bracket has to be closed.
    #[error("expected ')'")]
    ExpectedBracket,
    /// A complete condition is followed by more.
    #[error("expected '&&', '||' or the end")]
    ExpectedEnd,
    /// A string without its second quote.
    #[error("string without an end")]
    OpenString,
    /// Digits that are no number, or one of more than 64 bits.
    #[error("'{0}' is no number of 64 bits")]
    Number(String),
    /// A character that means nothing here.
    #[error("unexpected '{0}'")]
    Character(char),
    /// An operator between a condition or a string and something else.
    #[error("'{0}' wants numbers on both sides")]
    NotNumbers(&'static str),
    /// An operator that does not go with strings.
    #[error("strings are compared with ==, !=, =~ or !~, not with {0}")]
    NotForStrings(&'static str),
    /// A match against something else than a string.
    #[error("'{0}' wants a field before it and a regular expression in quotes after it")]
    NotAPattern(&'static str),
    /// A string where a condition has to be.
    #[error("a string is no condition")]
    NotACondition,
    /// A mask and a comparison, where languages do not agree which comes first.
    #[error("'{0}' and a comparison need brackets: (FIELD {0} MASK) == VALUE")]
    Ambiguous(&'static str),
    /// Brackets in brackets, or operators after operators, beyond all reason.
    #[error("too many brackets or operators in one another")]
    TooDeep,
    /// A regular expression that cannot be used.
    #[error("bad regular expression: {0}")]
    Pattern(String),
}

impl FilterError {
    /// The text with a caret under the place, in two lines.
    pub fn caret(&self) -> String {
        // Control characters would move the caret away from what it points at.
        let shown = |text: &str| -> String {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        };
        let before = self.text.get(..self.at).unwrap_or(&self.text);
        format!("  {}\n  {}^", shown(&self.text), " ".repeat(before.chars().count()))
    }
}
