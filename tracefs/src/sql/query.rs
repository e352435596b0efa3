//! A query, as it was understood.

use super::error::SqlError;
use super::filter::Condition;
use super::parse;
use crate::trigger::HistModifier;

/// A parsed query; what its names stand for is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlQuery {
    pub(super) text: String,
    pub(super) selected: Vec<Selected>,
    pub(super) from: Table,
    pub(super) join: Option<Join>,
    pub(super) filter: Option<Condition>,
}

impl SqlQuery {
    /// Parses a query.
    ///
    /// # Errors
    /// [`SqlError`] with the place that is not understood.
    pub fn parse(text: &str) -> Result<Self, SqlError> {
        parse::query(text)
    }

    /// Whether it joins two events, and so makes a synthetic event, which needs a name.
    pub fn is_join(&self) -> bool {
        self.join.is_some()
    }
}

/// One thing that is selected, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) value: Value,
    pub(super) name: Option<String>,
    pub(super) position: usize,
}

/// A value made of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Field(Field),
    Number(String),
    /// `CAST(field AS …)`.
    Cast(Field, Cast),
    /// `COUNT(*)`.
    Count,
    /// `TIMESTAMP_DELTA`: nanoseconds, or microseconds.
    TimestampDelta {
        usecs: bool,
    },
    /// Two values with `+`, `-` or `*` between.
    Operation(Box<Value>, char, Box<Value>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// Summed up rather than told apart by.
    Counter,
    Modifier(HistModifier),
}

/// A field, with the table it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) table: Option<String>,
    pub(super) name: String,
    pub(super) position: usize,
}

/// An event and what it is called in the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) system: Option<String>,
    pub(super) event: String,
    pub(super) alias: Option<String>,
    pub(super) position: usize,
}

/// The second event, and pairs of fields that are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) table: Table,
    pub(super) on: Vec<(Field, Field)>,
}
