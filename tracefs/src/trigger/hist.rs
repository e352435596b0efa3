//! Histograms as triggers: keys, values, variables, and what is done besides counting.

use std::fmt;

use super::action::HistHandler;

/// A histogram: `hist:keys=pid.execname:vals=bytes_req:sort=bytes_req.descending if pid > 0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistTrigger {
    /// What entries are told apart by; one at least.
    pub keys: Vec<HistKey>,
    /// What is summed up, besides the number of events.
    pub values: Vec<HistKey>,
    /// Values that other histograms can use.
    pub variables: Vec<HistVariable>,
    /// In which order entries are shown; by number of events if empty.
    pub sort: Vec<HistSort>,
    /// How many entries there is room for; `None` for the kernel's 2048.
    pub size: Option<u32>,
    /// A name under which histograms of several events count together.
    pub name: Option<String>,
    /// Whether it counts, or what is changed of one that is there.
    pub state: HistState,
    /// The number of events is left out of what is shown. Since Linux 6.3.
    pub no_hitcount: bool,
    /// What is done besides counting.
    pub handlers: Vec<HistHandler>,
    /// Which events count, in the language of event filters; `None` for all.
    pub filter: Option<String>,
}

/// A field and how its value is taken or shown: `pid.execname`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistKey {
    /// The field, or `common_timestamp`, `common_cpu`, `stacktrace`, an expression.
    pub field: String,
    /// How it is taken or shown.
    pub modifier: Option<HistModifier>,
}

/// How a value is taken or shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistModifier {
    /// As a hexadecimal number.
    Hex,
    /// As the name of a kernel symbol.
    Sym,
    /// As the name of a kernel symbol, with the offset into it.
    SymOffset,
    /// As the name of a system call.
    Syscall,
    /// As the name of the task of a process id.
    Execname,
    /// By powers of two.
    Log2,
    /// By ranges of this size. Since Linux 5.14.
    Buckets(u64),
    /// A timestamp in microseconds rather than nanoseconds.
    Usecs,
    /// As a stack trace. Since Linux 6.3.
    Stacktrace,
    /// As a share of all, in percent. For values, since Linux 6.2.
    Percent,
    /// As a bar. For values, since Linux 6.2.
    Graph,
}

/// A variable and where its value comes from: `ts0=common_timestamp.usecs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistVariable {
    /// Its name, without `$`.
    pub name: String,
    /// A field or an expression: `common_timestamp.usecs-$ts0`.
    pub value: String,
}

/// One key to sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistSort {
    /// A key or value of the histogram, or `hitcount`.
    pub field: String,
    /// Largest first.
    pub descending: bool,
}

/// Whether a histogram counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistState {
    /// It counts from the beginning.
    #[default]
    Active,
    /// It is set and does not count, or one that is there stops counting.
    Pause,
    /// One that is there counts again.
    Continue,
    /// One that is there forgets what it has counted.
    Clear,
}

impl HistTrigger {
    /// A histogram with these keys.
    pub fn new(keys: impl IntoIterator<Item = HistKey>) -> Self {
        Self { keys: keys.into_iter().collect(), ..Self::default() }
    }

    /// Adds a value to sum up.
    #[must_use]
    pub fn value(mut self, value: impl Into<HistKey>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push(HistVariable { name: name.into(), value: value.into() });
        self
    }

    /// Sorts by a key or value, after those that were named before.
    #[must_use]
    pub fn sort_by(mut self, field: impl Into<String>, descending: bool) -> Self {
        self.sort.push(HistSort { field: field.into(), descending });
        self
    }

    /// Does something besides counting.
    #[must_use]
    pub fn handler(mut self, handler: HistHandler) -> Self {
        self.handlers.push(handler);
        self
    }

    /// Counts only events that a filter lets through.
    #[must_use]
    pub fn only_if(mut self, filter: impl Into<String>) -> Self {
        self.filter = Some(filter.into());
        self
    }

    /// The same histogram in another state, to pause, continue or clear it.
    #[must_use]
    pub fn state(mut self, state: HistState) -> Self {
        self.state = state;
        self
    }
}

impl HistKey {
    /// A field with a modifier.
    pub fn with(field: impl Into<String>, modifier: HistModifier) -> Self {
        Self { field: field.into(), modifier: Some(modifier) }
    }
}

impl<T: Into<String>> From<T> for HistKey {
    fn from(field: T) -> Self {
        Self { field: field.into(), modifier: None }
    }
}

impl fmt::Display for HistTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hist")?;
        list(f, ":keys=", &self.keys)?;
        list(f, ":vals=", &self.values)?;
        self.variables.iter().try_for_each(|v| write!(f, ":{}={}", v.name, v.value))?;
        list(f, ":sort=", &self.sort)?;
        if let Some(size) = self.size {
            write!(f, ":size={size}")?;
        }
        if let Some(name) = &self.name {
            write!(f, ":name={name}")?;
        }
        f.write_str(match self.state {
            HistState::Active => "",
            HistState::Pause => ":pause",
            HistState::Continue => ":continue",
            HistState::Clear => ":clear",
        })?;
        if self.no_hitcount {
            f.write_str(":nohitcount")?;
        }
        self.handlers.iter().try_for_each(|handler| write!(f, ":{handler}"))?;
        match &self.filter {
            Some(filter) => write!(f, " if {filter}"),
            None => Ok(()),
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, word: &str, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index == 0 { word } else { "," })?;
        item.fmt(f)?;
    }
    Ok(())
}

impl fmt::Display for HistKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field)?;
        match self.modifier {
            Some(modifier) => write!(f, ".{modifier}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for HistModifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hex => "hex",
            Self::Sym => "sym",
            Self::SymOffset => "sym-offset",
            Self::Syscall => "syscall",
            Self::Execname => "execname",
            Self::Log2 => "log2",
            Self::Buckets(size) => return write!(f, "buckets={size}"),
            Self::Usecs => "usecs",
            Self::Stacktrace => "stacktrace",
            Self::Percent => "percent",
            Self::Graph => "graph",
        })
    }
}

impl fmt::Display for HistSort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.field, if self.descending { ".descending" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventName;
    use crate::trigger::{HistAction, HistCondition, Trigger};

    #[test]
    fn a_histogram_is_written_as_the_kernel_reads_it() {
        let keys = [HistKey::with("common_pid", HistModifier::Execname), "call_site".into()];
        let mut hist = HistTrigger::new(keys)
            .value("bytes_req")
            .value(HistKey::with("bytes_alloc", HistModifier::Percent))
            .sort_by("bytes_req", true)
            .sort_by("hitcount", false)
            .only_if("bytes_req > 100");
        hist.size = Some(4096);
        hist.name = Some("all".to_owned());
        assert_eq!(
            hist.to_string(),
            "hist:keys=common_pid.execname,call_site:vals=bytes_req,bytes_alloc.percent\
             :sort=bytes_req.descending,hitcount:size=4096:name=all if bytes_req > 100"
        );
        let paused = hist.state(HistState::Pause).to_string();
        assert!(paused.contains(":name=all:pause if"), "{paused}");
    }

    #[test]
    fn variables_and_actions_follow() {
        let event = EventName::new("sched", "sched_waking");
        let hist = HistTrigger::new(["next_pid".into()])
            .variable("us", "common_timestamp.usecs-$ts0")
            .handler(HistHandler {
                condition: HistCondition::OnMatch(event),
                action: HistAction::Trace {
                    event: "lat".to_owned(),
                    arguments: vec!["next_pid".to_owned(), "$us".to_owned()],
                },
            })
            .handler(HistHandler {
                condition: HistCondition::OnMax("$us".to_owned()),
                action: HistAction::Save(vec!["next_comm".to_owned(), "next_prio".to_owned()]),
            })
            .handler(HistHandler {
                condition: HistCondition::OnChange("$us".to_owned()),
                action: HistAction::Snapshot,
            });
        let text = "hist:keys=next_pid:us=common_timestamp.usecs-$ts0\
                    :onmatch(sched.sched_waking).trace(lat,next_pid,$us)\
                    :onmax($us).save(next_comm,next_prio):onchange($us).snapshot()";
        assert_eq!(hist.to_string(), text);
        assert_eq!(Trigger::from(hist).removal(), format!("!{text}"));
    }

    #[test]
    fn every_modifier_has_its_word() {
        let words: Vec<String> = [
            HistModifier::Hex,
            HistModifier::Sym,
            HistModifier::SymOffset,
            HistModifier::Syscall,
            HistModifier::Log2,
            HistModifier::Buckets(10),
            HistModifier::Usecs,
            HistModifier::Stacktrace,
            HistModifier::Graph,
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        assert_eq!(
            words.join(" "),
            "hex sym sym-offset syscall log2 buckets=10 usecs stacktrace graph"
        );
    }
}
