//! What a query is made into, and what the kernel is told.

use std::path::Path;

use crate::changes::Changes;
use crate::dynamic_event::SyntheticEvent;
use crate::error::Error;
use crate::event::EventName;
use crate::instance::Instance;
use crate::trigger::{HistAction, HistCondition, HistHandler, HistTrigger};

/// What a query is made into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqlPlan {
    /// A histogram of one event.
    Histogram(Box<SqlHistogram>),
    /// A synthetic event made of two.
    Join(Box<SqlJoin>),
}

/// A histogram of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlHistogram {
    /// The event.
    pub event: EventName,
    /// The histogram.
    pub trigger: HistTrigger,
}

/// A synthetic event, and the two histograms that make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlJoin {
    /// The synthetic event.
    pub synthetic: SyntheticEvent,
    /// The first event, and the histogram that keeps its fields.
    pub start: SqlHistogram,
    /// The second event, and the histogram that makes the synthetic event.
    pub end: SqlHistogram,
    /// For each field of the synthetic event, the field or variable of `end` it comes from.
    pub arguments: Vec<String>,
}

impl SqlJoin {
    /// Acts when a selected value is larger than ever before under its key. A trace action takes
    /// the place of the one that makes an event of every match.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for what is not selected, or is not computed.
    pub fn on_max(self, field: &str, action: HistAction) -> Result<Self, Error> {
        self.on(field, HistCondition::OnMax, action)
    }

    /// Acts when a selected value is another than before under its key, as [`on_max`](Self::on_max).
    ///
    /// # Errors
    /// As [`on_max`](Self::on_max).
    pub fn on_change(self, field: &str, action: HistAction) -> Result<Self, Error> {
        self.on(field, HistCondition::OnChange, action)
    }

    /// The action that makes the synthetic event.
    pub fn trace_action(&self) -> HistAction {
        let event = self.synthetic.name.clone();
        HistAction::Trace { event, arguments: self.arguments.clone() }
    }

    fn on(
        mut self,
        field: &str,
        condition: fn(String) -> HistCondition,
        action: HistAction,
    ) -> Result<Self, Error> {
        let computed: Vec<(&str, &String)> = self
            .synthetic
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .zip(&self.arguments)
            .filter(|(_, argument)| {
                let own =
                    |name| self.end.trigger.variables.iter().any(|variable| variable.name == name);
                argument.strip_prefix('$').is_some_and(own)
            })
            .collect();
        let Some((_, variable)) = computed.iter().find(|(name, _)| *name == field) else {
            let available = computed.iter().map(|(name, _)| (*name).to_owned()).collect();
            return Err(Error::UnknownName {
                kind: "computed field",
                name: field.to_owned(),
                available,
            });
        };
        let condition = condition((*variable).clone());
        let handlers = &mut self.end.trigger.handlers;
        if matches!(action, HistAction::Trace { .. }) {
            handlers.retain(|handler| !matches!(handler.action, HistAction::Trace { .. }));
        }
        handlers.push(HistHandler { condition, action });
        Ok(self)
    }
}

impl SqlPlan {
    /// The shell commands that do the same, in the order they have to be given.
    pub fn commands(&self, instance: &Instance) -> Vec<String> {
        let echo = |text: &str, path: &Path| {
            format!("echo '{}' >> {}", text.replace('\'', r"'\''"), path.display())
        };
        let hist = |histogram: &SqlHistogram| {
            let file = instance.event_file(&histogram.event, "trigger");
            echo(&histogram.trigger.to_string(), file.path())
        };
        match self {
            Self::Histogram(histogram) => vec![hist(histogram)],
            Self::Join(join) => {
                let (file, text, _) =
                    instance.tracing_dir().dynamic_commands(&join.synthetic.clone().into());
                vec![echo(&text, file.path()), hist(&join.start), hist(&join.end)]
            }
        }
    }

    /// Does it; what was done of it before something was refused is undone.
    ///
    /// # Errors
    /// What the kernel answers, with its explanation.
    pub fn apply(&self, instance: &Instance) -> Result<(), Error> {
        let mut changes = Changes::new();
        changes.apply_sql(instance, self)?;
        changes.keep();
        Ok(())
    }
}

impl Changes {
    /// Does what a query was made into, to be undone.
    ///
    /// # Errors
    /// What the kernel answers, with its explanation.
    pub fn apply_sql(&mut self, instance: &Instance, plan: &SqlPlan) -> Result<(), Error> {
        let add = |changes: &mut Self, histogram: &SqlHistogram| {
            changes.add_trigger(instance, &histogram.event, &histogram.trigger.clone().into())
        };
        match plan {
            SqlPlan::Histogram(histogram) => add(self, histogram),
            SqlPlan::Join(join) => {
                let synthetic = join.synthetic.clone().into();
                self.create_dynamic_event(instance.tracing_dir(), &synthetic)?;
                add(self, &join.start)?;
                add(self, &join.end)
            }
        }
    }
}
