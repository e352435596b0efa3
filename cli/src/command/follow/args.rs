//! The words that `stream` and `profile` share: those of `record` without its file and its guests.

use std::io::Write;

use clap::{Arg, ArgMatches};

use crate::command::record::args::{RecorderArgs, recorder_args};
use crate::command::record::dry_run;
use crate::command::tracing_plan::setup_args::{
    Refused, SetupArgs, command_arg, command_of, flag, keep_after_arg, keep_arg, setup_args, switch,
};
use crate::command::tracing_plan::{Before, MachinePlan, Word, options};
use crate::error::Error;
use crate::output;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowArgs {
    pub(super) words: Vec<Word>,
    pub(crate) setup: SetupArgs,
    pub(super) recorder: RecorderArgs,
    pub(super) no_filter: bool,
    /// `-k`, which `-K` implies.
    pub(super) keep_after: bool,
    pub(crate) quiet: bool,
    pub(crate) fail_on_loss: bool,
    pub(crate) command: Vec<String>,
}

/// A command that has these words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) name: &'static str,
    /// What it does with the records, for `--dry-run`.
    pub(crate) does: &'static str,
}

/// Options of `record` that are about its file, or other machines.
const REFUSED: [Refused; 16] = [
    refused("N", "nothing is sent: record does that"),
    refused("V", "nothing is sent: record does that"),
    refused("A", "guests are recorded by 'trace-cmd record --dom'"),
    refused("dom", "guests are recorded by 'trace-cmd record --dom'"),
    refused("a", "no file is made that could have formats"),
    refused("m", "no file is made that could grow"),
    refused("temp", "no file is made"),
    refused("compression", "no file is made"),
    refused("file-version", "no file is made"),
    refused("date", "no file is made"),
    refused("ts-offset", "no file is made"),
    refused("proc-map", "no file is made"),
    refused("daemonize", "what is printed would have nowhere to go"),
    refused("proxy", "guests are recorded by 'trace-cmd record --dom'"),
    refused("tsync-interval", "guests are recorded by 'trace-cmd record --dom'"),
    refused("nofifos", "guests are recorded by 'trace-cmd record --dom'"),
];

const fn refused(name: &'static str, why: &'static str) -> Refused {
    Refused { name, why }
}

/// The options, for help and parsing.
pub(crate) fn follow_args() -> impl Iterator<Item = Arg> {
    let own = [
        keep_after_arg(),
        keep_arg("Do not turn off what is set before; with it, -k"),
        flag("quiet", 'q', "Print no messages but errors").long("quiet"),
        switch("fail-on-loss", "End with exit code 6 if anything was lost"),
        command_arg("Run this command, and end with it; without it, with Ctrl-C"),
    ];
    options::args()
        .chain(recorder_args())
        .chain(setup_args())
        .chain(own)
        .chain(REFUSED.iter().map(Refused::arg))
}

impl FollowArgs {
    /// Reads what clap matched.
    ///
    /// # Errors
    /// An option that has no meaning here.
    pub(crate) fn from_matches(matches: &ArgMatches, command: Offered) -> Result<Self, Error> {
        REFUSED.iter().try_for_each(|option| option.check(command.name, matches))?;
        Ok(Self {
            words: options::words(matches),
            setup: SetupArgs::from_matches(matches, Before::Reset)?,
            recorder: RecorderArgs::from_matches(matches),
            no_filter: matches.get_flag("no-filter"),
            keep_after: matches.get_flag("keep-after") || matches.get_flag("keep-before"),
            quiet: matches.get_flag("quiet"),
            fail_on_loss: matches.get_flag("fail-on-loss"),
            command: command_of(matches),
        })
    }

    /// What shall be traced.
    ///
    /// # Errors
    /// An option that has nothing to bind to, or nothing to trace.
    pub(crate) fn plan(&self, command: Offered) -> Result<MachinePlan, Error> {
        let plan = MachinePlan::new(&self.words, &self.setup.profile)?;
        if let Some(name) = plan.deleted.first() {
            return Err(Error::usage(format!("-B {name} behind -v would delete it"))
                .hint("delete it with 'trace-cmd set -v -B NAME'; put -B before -v to trace it"));
        }
        if plan.measures_latency() {
            let message =
                format!("'{}' cannot follow latency tracers, which make no events", command.name);
            return Err(Error::usage(message).hint("record them with 'trace-cmd record -p TRACER'"));
        }
        if !plan.traces_something() && self.setup.before == Before::Reset {
            return Err(Error::usage("no event was specified")
                .hint("name what to trace, for instance -e sched, or -p TRACER"));
        }
        if self.command.is_empty() && (plan.wants_command() || self.setup.user.is_some()) {
            let option = if plan.wants_command() { "-F" } else { "--user" };
            return Err(Error::usage(format!("{option} is about the command, and there is none"))
                .hint("put a command at the end"));
        }
        Ok(plan)
    }

    /// Prints what would be done; changes nothing.
    pub(crate) fn print(&self, plan: &MachinePlan, command: Offered) -> Result<(), Error> {
        let mut out = output::stdout();
        let places = dry_run::print_setup(plan, self.setup.choices(), &mut out)?;
        writeln!(out, "{} {}", command.does, places.join(", "))?;
        match self.command.as_slice() {
            [] => writeln!(out, "wait for Ctrl-C")?,
            words => writeln!(out, "run: {}", words.join(" "))?,
        }
        if !self.keep_after {
            writeln!(out, "put back what was written")?;
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    const TRY: Offered = Offered { name: "try", does: "try" };

    fn plan(line: &str) -> Result<MachinePlan, Error> {
        let words = std::iter::once("try").chain(line.split_whitespace());
        let matches = Command::new("try").args(follow_args()).try_get_matches_from(words).unwrap();
        FollowArgs::from_matches(&matches, TRY)?.plan(TRY)
    }

    #[test]
    fn words_are_those_of_record() {
        let plan =
            plan("-e sched -f prev_pid>1 -B other -p function -l vfs_* -F -c ls -e").unwrap();
        assert_eq!(plan.top.events.len(), 1);
        assert_eq!(plan.instances[0].1.tracer.as_deref(), Some("function"));
        assert!(plan.traces_functions() && plan.wants_command());
    }

    #[test]
    fn what_needs_a_file_or_a_guest_is_refused_with_a_next_step() {
        for (line, part) in [
            ("-e x -N 1", "-N is not for 'try'"),
            ("-e x --dom g", "--dom is not for 'try'"),
            ("-e x --date", "no file is made"),
            ("-e x -a", "no file is made"),
            ("-p irqsoff", "'try' cannot follow latency tracers"),
            ("-b 100", "no event was specified"),
            ("-B foo", "no event was specified"),
            ("-e x -F", "there is none"),
            ("-e x --user nobody", "there is none"),
            ("-e x -v -B foo -e y", "would delete it"),
        ] {
            let error = plan(line).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("; "), "{line}: {error}");
        }
    }
}
