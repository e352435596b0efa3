//! Histograms read back: entries with their keys and values, and the totals.

mod keys;
mod parse;

use crate::error::Error;
use crate::event::EventName;
use crate::instance::Instance;

/// One histogram of an event, as the kernel counted it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The trigger that made it, as the kernel shows it: `hist:keys=pid:… [active]`.
    pub trigger: String,
    /// Its entries, in the order it is sorted by.
    pub entries: Vec<HistogramEntry>,
    /// What they sum up to.
    pub totals: HistogramTotals,
}

/// What was counted under one combination of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramEntry {
    /// Names and values of the keys.
    pub keys: Vec<HistogramKey>,
    /// Names and values: `hitcount`, what is summed up, and what handlers saved.
    pub values: Vec<HistogramValue>,
}

/// A key of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramKey {
    /// The field: `pid`, `common_stacktrace`.
    pub name: String,
    /// Its value.
    pub value: KeyValue,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValue {
    /// As the kernel shows it: `17`, `bash [ 4242]`, `~ 2^10`.
    Text(String),
    /// Functions, innermost first: `__kmalloc+0x11b/0x1b0`.
    Stack(Vec<String>),
}

/// A value of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramValue {
    /// `hitcount`, the field, or `max`.
    pub name: String,
    /// As the kernel shows it.
    pub text: String,
}

/// What a histogram sums up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramTotals {
    /// Events that were counted.
    pub hits: u64,
    /// Entries in use.
    pub entries: u64,
    /// Events that found no room.
    pub dropped: u64,
}

impl Histogram {
    /// Reads the text of a `hist` file: one histogram for each trigger. What is not understood is
    /// passed over.
    pub fn parse(text: &str) -> Vec<Self> {
        parse::histograms(text)
    }
}

impl HistogramEntry {
    /// How many events were counted under these keys, where that is shown.
    pub fn hit_count(&self) -> Option<u64> {
        self.value("hitcount")
    }

    /// A value by name, where it is a number.
    pub fn value(&self, name: &str) -> Option<u64> {
        let value = self.values.iter().find(|value| value.name == name)?;
        value.text.parse().ok()
    }

    /// A key by name.
    pub fn key(&self, name: &str) -> Option<&KeyValue> {
        self.keys.iter().find(|key| key.name == name).map(|key| &key.value)
    }
}

impl Instance {
    /// The histograms of an event, one for each of its histogram triggers.
    ///
    /// # Errors
    /// [`Error::NotSupported`] where the kernel has no histograms, or what else it answers.
    ///
    /// # Kernel support
    /// Since Linux 4.7, with `CONFIG_HIST_TRIGGERS`.
    pub fn histograms(&self, event: &EventName) -> Result<Vec<Histogram>, Error> {
        Ok(Histogram::parse(&self.event_file(event, "hist").read_text()?))
    }
}
