//! A query about one event becomes a histogram.

use super::error::SqlError;
use super::event_fields::EventFields;
use super::joining::Joining;
use super::plan::{SqlHistogram, SqlPlan};
use super::query::{Cast, Field, Selected, SqlQuery, Table, Value};
use crate::dynamic_event::SyntheticField;
use crate::event::EventName;
use crate::trigger::{HistKey, HistModifier, HistTrigger};

impl SqlQuery {
    /// Makes a plan of it. `name` is that of the synthetic event, if it becomes one.
    ///
    /// # Errors
    /// [`SqlError`] at what is not known or not possible.
    pub fn plan(&self, name: &str, events: &dyn EventFields) -> Result<SqlPlan, SqlError> {
        match &self.join {
            Some(join) => {
                Joining::new(self, join, name, events)?.plan().map(Box::new).map(SqlPlan::Join)
            }
            None => self.histogram(events).map(Box::new).map(SqlPlan::Histogram),
        }
    }

    pub(super) fn error(&self, position: usize, message: impl Into<String>) -> SqlError {
        SqlError::new(&self.text, position, message)
    }

    pub(super) fn find(
        &self,
        table: &Table,
        events: &dyn EventFields,
    ) -> Result<EventName, SqlError> {
        let found = events.find_event(table.system.as_deref(), &table.event);
        found.ok_or_else(|| {
            let system = table.system.as_ref().map(|system| format!("{system}:"));
            let message = format!("no event '{}{}'", system.unwrap_or_default(), table.event);
            self.error(table.position, message)
        })
    }

    /// The declaration of a field of an event.
    pub(super) fn declared(
        &self,
        event: &EventName,
        field: &Field,
        events: &dyn EventFields,
    ) -> Result<SyntheticField, SqlError> {
        let found = events.field(event, &field.name);
        found.ok_or_else(|| {
            self.error(field.position, format!("event '{event}' has no field '{}'", field.name))
        })
    }

    fn histogram(&self, events: &dyn EventFields) -> Result<SqlHistogram, SqlError> {
        let event = self.find(&self.from, events)?;
        let mut trigger = HistTrigger::default();
        for Selected { value, position, .. } in &self.selected {
            match value {
                Value::Field(field) => trigger.keys.push(self.key(field, &event, events)?),
                Value::Cast(field, Cast::Modifier(modifier)) => {
                    let key = self.key(field, &event, events)?;
                    trigger.keys.push(HistKey::with(key.field, *modifier));
                }
                Value::Cast(field, Cast::Counter) => {
                    trigger.values.push(self.key(field, &event, events)?);
                }
                Value::Count => trigger.values.push("hitcount".into()),
                Value::Number(_) | Value::TimestampDelta { .. } | Value::Operation(..) => {
                    let message = "a histogram is of fields; this needs a second event by JOIN";
                    return Err(self.error(*position, message));
                }
            }
        }
        if trigger.keys.is_empty() {
            let position = self.selected.first().map_or(0, |first| first.position);
            return Err(self.error(position, "a histogram needs a field that is not counted"));
        }
        if let Some(filter) = &self.filter {
            let mut fields = Vec::new();
            filter.fields(&mut fields);
            for field in fields {
                self.check_table(field)?;
                self.declared(&event, field, events)?;
            }
            trigger.filter = Some(filter.text());
        }
        Ok(SqlHistogram { event, trigger })
    }

    fn key(
        &self,
        field: &Field,
        event: &EventName,
        events: &dyn EventFields,
    ) -> Result<HistKey, SqlError> {
        self.check_table(field)?;
        if let Some(timestamp) = timestamp(&field.name) {
            return Ok(timestamp);
        }
        if !is_special(&field.name) {
            self.declared(event, field, events)?;
        }
        Ok(field.name.as_str().into())
    }

    /// Of one event, the table before a field is that event or its alias.
    fn check_table(&self, field: &Field) -> Result<(), SqlError> {
        match &field.table {
            Some(table) if !names(&self.from, table) => Err(self.unknown_table(field, table)),
            _ => Ok(()),
        }
    }

    pub(super) fn unknown_table(&self, field: &Field, table: &str) -> SqlError {
        self.error(field.position, format!("'{table}' is no event of this query"))
    }
}

/// Whether a word before a dot means this table.
pub(super) fn names(table: &Table, word: &str) -> bool {
    table.alias.as_deref().unwrap_or(&table.event) == word || table.event == word
}

pub(super) fn timestamp(name: &str) -> Option<HistKey> {
    match name {
        "TIMESTAMP" => Some("common_timestamp".into()),
        "TIMESTAMP_USECS" => Some(HistKey::with("common_timestamp", HistModifier::Usecs)),
        _ => None,
    }
}

/// What histograms know of every event, without a field for it.
fn is_special(name: &str) -> bool {
    matches!(name, "common_timestamp" | "common_cpu" | "cpu" | "stacktrace" | "common_stacktrace")
}
