//! `-F`, `--cpu`, `--from` and `--to`: which events of files are wanted, by `report` and by what else reads files.

use clap::{Arg, ArgAction, ArgMatches};
use tracedat::read::Merge;
use tracedat::report::{ReportFilter, ReportInput, ReportOptions};

use super::args::FilterArg;
use super::filters;
use super::window::{self, Moment};
use crate::error::Error;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selection {
    pub(crate) filters: Vec<FilterArg>,
    pub(crate) cpus: Option<Vec<u32>>,
    pub(crate) from: Option<Moment>,
    pub(crate) to: Option<Moment>,
}

/// `-F`, `--cpu`, `--from` and `--to`.
pub(crate) fn args() -> [Arg; 4] {
    let moment = |id| {
        let arg = Arg::new(id).long(id).value_name("TIME");
        arg.value_parser(|text: &str| text.parse::<Moment>())
    };
    [
        Arg::new("filter")
            .short('F')
            .value_name("FILTER")
            .action(ArgAction::Append)
            .help("Only events that match this; several are ORed"),
        Arg::new("cpu")
            .long("cpu")
            .value_name("LIST")
            .action(ArgAction::Append)
            .help("Only these CPUs: 0,3 or 2-4"),
        moment("from").help(
            "Only events from this time on: seconds as printed, or +SECONDS after the first event",
        ),
        moment("to").help("Only events up to this time"),
    ]
}

impl Selection {
    /// That of [`args`], whose filters are for all files.
    pub(crate) fn from_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let texts = matches.get_many::<String>("filter").into_iter().flatten();
        let filter = |text: &String| FilterArg { text: text.clone(), hides: false, input: None };
        let mut cpus = None::<Vec<u32>>;
        for list in matches.get_many::<String>("cpu").into_iter().flatten() {
            cpus.get_or_insert_default().extend(cpu_list(list)?);
        }
        Ok(Self {
            filters: texts.map(filter).collect(),
            cpus,
            from: matches.get_one("from").cloned(),
            to: matches.get_one("to").cloned(),
        })
    }

    /// Its filters, checked without the files.
    pub(crate) fn filters(&self) -> Result<Vec<ReportFilter>, Error> {
        filters::parse(&self.filters)
    }

    /// Has a report of these files take what was asked for; `options` have its [`filters`](Self::filters).
    pub(crate) fn set(
        &self,
        options: &mut ReportOptions,
        inputs: &[ReportInput<'_>],
        records: &mut Merge,
    ) -> Result<(), Error> {
        options.cpus = self.cpus.clone();
        filters::check(&options.filters, inputs)?;
        window::set(options, (self.from.as_ref(), self.to.as_ref()), inputs, records)
    }
}

/// CPUs of a list such as `0,3`, `2-4` or `1:5`.
fn cpu_list(list: &str) -> Result<Vec<u32>, Error> {
    /// More CPUs than any machine has.
    const MAX_CPU: u32 = 65_535;
    let bad =
        || Error::usage(format!("--cpu '{list}' is no list of CPUs")).hint("write 0,3 or 2-4");
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once(['-', ':']).unwrap_or((part, part));
        let first: u32 = first.trim().parse().map_err(|_| bad())?;
        let last: u32 = last.trim().parse().map_err(|_| bad())?;
        if first > last || last > MAX_CPU {
            return Err(bad());
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}
