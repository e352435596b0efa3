//! The words after `--`.

use std::path::PathBuf;

use trace_benches::options::OF_CRITERION;

pub(crate) const USAGE: &str = "\
usage: cargo bench -p trace-benches --bench peers -- [report] [record] [network] [OPTION]...
  report, record, network  these parts only
  --events N        the recording to report has N events or more [default: 3000000]
  --rounds N        runs of each program, of which the median counts [default: 5]
  --ours PATH       this binary instead of a release build of the workspace
  --test            everything once, in small";

/// What to run, and how much of it.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) report: bool,
    pub(crate) record: bool,
    pub(crate) network: bool,
    pub(crate) events: u64,
    pub(crate) rounds: usize,
    pub(crate) ours: Option<PathBuf>,
    pub(crate) test: bool,
}

impl Options {
    /// Reads the words; none when they are for other benchmarks.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut report, mut record, mut network, mut test) = (false, false, false, false);
        let (mut events, mut rounds, mut ours) = (None, None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "report" => report = true,
                "record" => record = true,
                "network" => network = true,
                // Cargo says so by itself.
                "--bench" => {}
                "--test" => test = true,
                "--events" => events = Some(number(&value()?)?),
                "--rounds" => rounds = Some(number(&value()?)?),
                "--ours" => ours = Some(value()?.into()),
                other if OF_CRITERION.contains(&other) => return Ok(None),
                other => return Err(format!("unknown word '{other}'\n{USAGE}")),
            }
        }
        let all = !report && !record && !network;
        Ok(Some(Self {
            report: report || all,
            record: record || all,
            network: network || all,
            events: events.unwrap_or(if test { 20_000 } else { 3_000_000 }),
            rounds: usize::try_from(rounds.unwrap_or(if test { 1 } else { 5 }))
                .map_err(|error| error.to_string())?,
            ours,
            test,
        }))
    }

    /// `full`, or a hundredth of it in a test.
    pub(crate) fn sized(&self, full: u64) -> u64 {
        if self.test { full / 100 } else { full }
    }
}

fn number(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("not a number from 1 up: '{text}'")),
        Ok(number) => Ok(number),
    }
}
