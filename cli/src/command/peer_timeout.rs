//! After how long a silent machine at the other end of the network counts as gone.

use std::time::Duration;

use clap::{Arg, ArgMatches, value_parser};

const NAME: &str = "peer-timeout";

/// Used where nothing else is said.
pub(crate) const DEFAULT: Duration = Duration::from_secs(30);

/// A day: who wants longer waits for ever.
const MAX_SECONDS: u64 = 86_400;

/// The option.
pub(crate) fn arg(help: &'static str) -> Arg {
    let seconds = value_parser!(u64).range(1..=MAX_SECONDS);
    Arg::new(NAME).long(NAME).value_name("SECONDS").value_parser(seconds).help(help)
}

/// What was said, if anything.
pub(crate) fn of(matches: &ArgMatches) -> Option<Duration> {
    matches.get_one::<u64>(NAME).copied().map(Duration::from_secs)
}
