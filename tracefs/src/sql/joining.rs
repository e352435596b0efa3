//! A query about two events becomes a synthetic event and two histograms.

use super::error::SqlError;
use super::event_fields::EventFields;
use super::filter::Condition;
use super::histogram::{names, timestamp};
use super::plan::{SqlHistogram, SqlJoin};
use super::query::{Field, Join, Selected, SqlQuery, Table, Value};
use crate::dynamic_event::{SyntheticEvent, SyntheticField, is_identifier};
use crate::trigger::{HistAction, HistCondition, HistHandler, HistTrigger};

/// Which of the two events something is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Start,
    End,
}

/// A join in the making.
pub(super) struct Joining<'a> {
    query: &'a SqlQuery,
    join: &'a Join,
    events: &'a dyn EventFields,
    name: &'a str,
    start: SqlHistogram,
    end: SqlHistogram,
    variables: usize,
}

impl<'a> Joining<'a> {
    pub(super) fn new(
        query: &'a SqlQuery,
        join: &'a Join,
        name: &'a str,
        events: &'a dyn EventFields,
    ) -> Result<Self, SqlError> {
        if !is_identifier(name) {
            return Err(query.error(0, format!("'{name}' is not a name for a synthetic event")));
        }
        let side = |table| {
            let event = query.find(table, events)?;
            Ok(SqlHistogram { event, trigger: HistTrigger::default() })
        };
        let (start, end) = (side(&query.from)?, side(&join.table)?);
        Ok(Self { query, join, events, name, start, end, variables: 0 })
    }

    pub(super) fn plan(mut self) -> Result<SqlJoin, SqlError> {
        self.keys()?;
        let mut synthetic = SyntheticEvent::new(self.name);
        let mut arguments = Vec::new();
        for selected in &self.query.selected {
            let (mut field, argument) = self.select(selected)?;
            if let Some(name) = &selected.name {
                field.name.clone_from(name);
            }
            if synthetic.fields.iter().any(|other| other.name == field.name) {
                let message = format!("two fields '{}'; name one by AS", field.name);
                return Err(self.query.error(selected.position, message));
            }
            synthetic.fields.push(field);
            arguments.push(argument);
        }
        self.filters()?;
        let action =
            HistAction::Trace { event: self.name.to_owned(), arguments: arguments.clone() };
        let condition = HistCondition::OnMatch(self.start.event.clone());
        self.end.trigger.handlers.push(HistHandler { condition, action });
        Ok(SqlJoin { synthetic, start: self.start, end: self.end, arguments })
    }

    fn keys(&mut self) -> Result<(), SqlError> {
        for (left, right) in &self.join.on {
            let (start, end) = match (self.side(left)?, self.side(right)?) {
                (Side::Start, Side::End) => (left, right),
                (Side::End, Side::Start) => (right, left),
                _ => {
                    let message = "a field of one event is to be equal to one of the other";
                    return Err(self.query.error(left.position, message));
                }
            };
            self.declared(start)?;
            self.declared(end)?;
            self.start.trigger.keys.push(start.name.as_str().into());
            self.end.trigger.keys.push(end.name.as_str().into());
        }
        Ok(())
    }

    /// Which event a field is of.
    fn side(&self, field: &Field) -> Result<Side, SqlError> {
        let Some(table) = &field.table else {
            let message = format!("'{}' needs its event before it, with a dot", field.name);
            return Err(self.query.error(field.position, message));
        };
        let (start, end) = (&self.query.from, &self.join.table);
        // An alias counts more than the event's own name, which both may share.
        let alias = |of: &Table| of.alias.as_deref().unwrap_or(&of.event) == table;
        match (alias(start), alias(end)) {
            (true, false) => Ok(Side::Start),
            (false, true) => Ok(Side::End),
            (true, true) => {
                let message = format!("'{table}' means both events; name them by AS");
                Err(self.query.error(field.position, message))
            }
            (false, false) if names(start, table) && !names(end, table) => Ok(Side::Start),
            (false, false) if names(end, table) && !names(start, table) => Ok(Side::End),
            (false, false) => Err(self.query.unknown_table(field, table)),
        }
    }

    fn declared(&self, field: &Field) -> Result<SyntheticField, SqlError> {
        let histogram = match self.side(field)? {
            Side::Start => &self.start,
            Side::End => &self.end,
        };
        let special = |kind: &str| SyntheticField {
            kind: kind.to_owned(),
            name: field.name.clone(),
            array: None,
        };
        match field.name.as_str() {
            "TIMESTAMP" | "TIMESTAMP_USECS" | "common_timestamp" => return Ok(special("u64")),
            "common_cpu" | "cpu" => return Ok(special("s32")),
            _ => {}
        }
        let declared = self.query.declared(&histogram.event, field, self.events)?;
        match &declared.array {
            Some(_) if declared.kind != "char" => {
                let message = format!("'{}' is an array, which histograms cannot hold", field.name);
                Err(self.query.error(field.position, message))
            }
            _ => Ok(declared),
        }
    }

    /// A field of the synthetic event, and what it comes from.
    fn select(&mut self, selected: &Selected) -> Result<(SyntheticField, String), SqlError> {
        match &selected.value {
            Value::Field(field) => {
                let declared = self.declared(field)?;
                let argument = match self.side(field)? {
                    Side::Start => self.kept(&field_text(field)),
                    Side::End if timestamp(&field.name).is_some() => {
                        self.computed(field_text(field))
                    }
                    Side::End => field.name.clone(),
                };
                Ok((declared, argument))
            }
            Value::TimestampDelta { .. } | Value::Operation(..) => {
                let Some(name) = selected.name.clone() else {
                    let message = "a value that is computed needs a name by AS";
                    return Err(self.query.error(selected.position, message));
                };
                let is_time = self.is_time(&selected.value)?;
                let text = self.text(&selected.value, selected.position)?;
                let kind = if is_time { "u64" } else { "s64" }.to_owned();
                Ok((SyntheticField { kind, name, array: None }, self.computed(text)))
            }
            Value::Number(_) | Value::Count | Value::Cast(..) => {
                let message = "a synthetic event is of fields and what is computed of them";
                Err(self.query.error(selected.position, message))
            }
        }
    }

    /// The kernel's text for a value, as the second event's histogram computes it.
    fn text(&mut self, value: &Value, position: usize) -> Result<String, SqlError> {
        match value {
            Value::Field(field) => {
                self.declared(field)?;
                Ok(match self.side(field)? {
                    Side::Start => self.kept(&field_text(field)),
                    Side::End => field_text(field),
                })
            }
            Value::Number(number) => Ok(number.clone()),
            Value::TimestampDelta { usecs } => {
                let now = if *usecs { "common_timestamp.usecs" } else { "common_timestamp" };
                Ok(format!("{now}-{}", self.kept(now)))
            }
            Value::Operation(left, sign, right) => {
                let left = self.text(left, position)?;
                let bracketed =
                    matches!(**right, Value::Operation(..) | Value::TimestampDelta { .. });
                let right = self.text(right, position)?;
                Ok(if bracketed {
                    format!("{left}{sign}({right})")
                } else {
                    format!("{left}{sign}{right}")
                })
            }
            Value::Cast(..) | Value::Count => {
                Err(self.query.error(position, "CAST and COUNT have no meaning here"))
            }
        }
    }

    /// Whether a value is a time: then it is never below zero.
    fn is_time(&self, value: &Value) -> Result<bool, SqlError> {
        match value {
            Value::TimestampDelta { .. } => Ok(true),
            Value::Field(field) => Ok(timestamp(&field.name).is_some()),
            Value::Operation(left, _, right) => Ok(self.is_time(left)? || self.is_time(right)?),
            Value::Number(_) | Value::Cast(..) | Value::Count => Ok(false),
        }
    }

    /// Keeps a value of the first event in a variable; returns how the second one names it.
    fn kept(&mut self, value: &str) -> String {
        let known = self.start.trigger.variables.iter().find(|variable| variable.value == value);
        if let Some(variable) = known {
            return format!("${}", variable.name);
        }
        let name = self.next_variable();
        let trigger = std::mem::take(&mut self.start.trigger);
        self.start.trigger = trigger.variable(name.clone(), value);
        format!("${name}")
    }

    /// Puts a value of the second event into a variable.
    fn computed(&mut self, value: String) -> String {
        let name = self.next_variable();
        let trigger = std::mem::take(&mut self.end.trigger);
        self.end.trigger = trigger.variable(name.clone(), value);
        format!("${name}")
    }

    /// Variables of one event's histograms must differ, so they carry the synthetic event's name.
    fn next_variable(&mut self) -> String {
        self.variables += 1;
        format!("{}_{}", self.name, self.variables)
    }

    /// Gives each part of the filter to the event it is about.
    fn filters(&mut self) -> Result<(), SqlError> {
        let Some(filter) = &self.query.filter else { return Ok(()) };
        let (mut start, mut end) = (Vec::new(), Vec::new());
        let parts = filter.conjuncts();
        for part in &parts {
            let mut fields = Vec::new();
            part.fields(&mut fields);
            let mut sides = Vec::new();
            for field in fields {
                self.declared(field)?;
                sides.push((self.side(field)?, field));
            }
            let Some((first, _)) = sides.first().copied() else { continue };
            if let Some((_, field)) = sides.iter().find(|(side, _)| *side != first) {
                let message = "conditions on both events can be joined by AND only";
                return Err(self.query.error(field.position, message));
            }
            let text = if parts.len() > 1 && is_or(part) {
                format!("({})", part.text())
            } else {
                part.text()
            };
            if first == Side::Start { start.push(text) } else { end.push(text) }
        }
        let joined = |parts: Vec<String>| (!parts.is_empty()).then(|| parts.join(" && "));
        self.start.trigger.filter = joined(start);
        self.end.trigger.filter = joined(end);
        Ok(())
    }
}

fn is_or(condition: &Condition) -> bool {
    matches!(condition, Condition::Or(..))
}

fn field_text(field: &Field) -> String {
    timestamp(&field.name).map_or_else(|| field.name.clone(), |key| key.to_string())
}
