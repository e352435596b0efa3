//! Queries of `sqlhist`, and what they are made into.

use tracefs::dynamic_event::SyntheticField;
use tracefs::sql::EventFields;
use tracefs::trigger::HistAction;
use tracefs::{DynamicEvent, EventName, SqlError, SqlPlan, SqlQuery, TracingDir};

/// Two events with fields of several types.
struct Known;

impl EventFields for Known {
    fn find_event(&self, system: Option<&str>, event: &str) -> Option<EventName> {
        let is_known = matches!(event, "waking" | "switch") && system.is_none_or(|s| s == "sched");
        is_known.then(|| EventName::new("sched", event))
    }

    fn field(&self, _: &EventName, name: &str) -> Option<SyntheticField> {
        ["pid_t pid", "int prio", "char comm[16]", "u64 state", "char name[]"]
            .iter()
            .filter_map(|text| SyntheticField::parse(text))
            .find(|field| field.name == name)
    }
}

/// A query.
///
/// # Panics
/// When an error points outside of the query, or a synthetic event that comes out is none.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let query = match SqlQuery::parse(text) {
        Ok(query) => query,
        Err(error) => return check(text, &error),
    };
    let plan = match query.plan("lat", &Known) {
        Ok(plan) => plan,
        Err(error) => return check(text, &error),
    };
    let commands = plan.commands(&TracingDir::at("/t").top());
    assert_eq!(commands.len(), if query.is_join() { 3 } else { 1 });
    assert_eq!(matches!(plan, SqlPlan::Join(_)), query.is_join());
    if let SqlPlan::Join(join) = plan {
        let event = DynamicEvent::from(join.synthetic.clone());
        assert!(DynamicEvent::parse(&event.to_string()).is_some(), "{event}");
        assert_eq!(join.arguments.len(), join.synthetic.fields.len());
        for field in &join.synthetic.fields {
            std::hint::black_box(join.clone().on_max(&field.name, HistAction::Snapshot)).ok();
        }
    }
}

fn check(text: &str, error: &SqlError) {
    assert!(error.position <= text.len(), "{error:?}");
    let (line, column) = error.line_and_column();
    assert!(line >= 1 && column >= 1);
    std::hint::black_box((error.pointed(), error.to_string()));
}
