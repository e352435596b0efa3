//! A further buffer.

use super::cpu_list;
use super::{Limits, SessionError};
use crate::message::{Message, WordList, Words};

/// A further buffer of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name: data, of which no path may be made.
    pub name: String,
    /// Its trace clock.
    pub clock: String,
    /// Its CPUs, ascending; each has a stream.
    pub cpus: Vec<u32>,
    /// Bytes per sub-buffer.
    pub page_size: u32,
}

impl Instance {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), SessionError> {
        let list = cpu_list::format(&self.cpus);
        let words = WordList::new([self.name.as_str(), self.clock.as_str(), list.as_str()])?;
        let cpus = u32::try_from(self.cpus.len()).unwrap_or(u32::MAX);
        Message::Instance { cpus, page_size: self.page_size, words: words.words() }.encode(out)?;
        Ok(())
    }

    /// Reads what a recorder said; at most `max_cpus` CPUs.
    pub(super) fn decode(
        cpus: u32,
        page_size: u32,
        words: &Words<'_>,
        max_cpus: u32,
        limits: &Limits,
    ) -> Result<Self, SessionError> {
        limits.check_cpus(cpus, max_cpus)?;
        limits.check_page_size(page_size)?;
        let mut words = words.iter();
        let mut word = |what| words.next().unwrap_or(Ok("")).map(|word| (what, word));
        let (_, name) = word("name")?;
        let (_, clock) = word("clock")?;
        let (_, list) = word("list of CPUs")?;
        Ok(Self {
            name: name.to_owned(),
            clock: clock.to_owned(),
            cpus: cpu_list::parse(list, cpus)?,
            page_size,
        })
    }
}
