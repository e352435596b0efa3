//! What `record`, `start` and `set` have in common beside the ordered options.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::plan::ProfileRequest;
use super::steps::{Before, Choices};
use crate::error::Error;
use crate::output::tell;

/// How tracing is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetupArgs {
    pub(crate) before: Before,
    pub(crate) ignore_missing: bool,
    pub(crate) no_function_trace: bool,
    pub(crate) no_ftrace: bool,
    /// `--user`
    pub(crate) user: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) profile: ProfileRequest,
}

const HEADING: &str = "Before and after";
const PROFILE: &str = "Profile";

/// Options for how tracing is set up.
pub(crate) fn setup_args() -> [Arg; 5] {
    [
        flag("ignore-missing", 'i', "Go on when an event of -e does not exist"),
        flag("no-function-trace", 'd', "Trace no functions meanwhile (option function-trace)"),
        flag("no-ftrace", 'D', "As -d, and stop the function tracing of everybody"),
        Arg::new("user").long("user").value_name("NAME").help("Run the command as this user"),
        switch("dry-run", "Print what would be written where; change nothing"),
    ]
    .map(|arg| arg.help_heading(HEADING))
}

/// `-K`, for those who turn off what is set before.
pub(crate) fn keep_arg(help: &'static str) -> Arg {
    flag("keep-before", 'K', help).help_heading(HEADING)
}

/// `-k`, for those who put back what they set.
pub(crate) fn keep_after_arg() -> Arg {
    flag("keep-after", 'k', "Leave tracing as it is set when done").help_heading(HEADING)
}

/// `--profile` and its companions.
pub(crate) fn profile_args() -> [Arg; 3] {
    [
        switch("profile", "Trace what 'report --profile' counts: calls, switches, interrupts"),
        flag("only-selected", 'S', "With --profile: only the events of -e and -H"),
        Arg::new("hook").short('H').value_name("START/END").action(ArgAction::Append).help(
            "With --profile: measure a pair, [SYSTEM:]EVENT,FIELD[,PIDFIELD]/[SYSTEM:]EVENT,FIELD[,FLAGS]",
        ),
    ]
    .map(|arg| arg.help_heading(PROFILE))
}

/// The command behind all options.
pub(crate) fn command_arg(help: &'static str) -> Arg {
    Arg::new("command").value_name("COMMAND").num_args(0..).trailing_var_arg(true).help(help)
}

/// The words of [`command_arg`].
pub(crate) fn command_of(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>("command").into_iter().flatten().cloned().collect()
}

pub(crate) fn flag(name: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(name).short(short).action(ArgAction::SetTrue).help(help)
}

pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// An option that the command does not have, and says why.
pub(crate) struct Refused {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
}

impl Refused {
    /// The option for the parser; the help does not have it.
    pub(crate) fn arg(&self) -> Arg {
        hidden(self.name).num_args(0..=1).allow_hyphen_values(true)
    }

    /// Refuses the option, if it was given.
    pub(crate) fn check(&self, command: &str, matches: &ArgMatches) -> Result<(), Error> {
        if matches.value_source(self.name).is_none() {
            return Ok(());
        }
        let option = dashed(self.name);
        Err(Error::usage(format!("{option} is not for '{command}'")).hint(self.why))
    }
}

/// An option of `record` that has no effect on the command: the C version takes it there, so scripts have it.
pub(crate) struct PassedOver {
    name: &'static str,
    takes_value: bool,
    why: &'static str,
}

impl PassedOver {
    pub(crate) const fn flag(name: &'static str, why: &'static str) -> Self {
        Self { name, takes_value: false, why }
    }

    pub(crate) const fn with_value(name: &'static str, why: &'static str) -> Self {
        Self { name, takes_value: true, why }
    }

    /// The option for the parser; the help does not have it.
    pub(crate) fn arg(&self) -> Arg {
        let arg = hidden(self.name);
        if self.takes_value {
            arg.action(ArgAction::Append).allow_hyphen_values(true)
        } else {
            arg.action(ArgAction::Count)
        }
    }

    /// Says that the option has no effect, if it was given.
    pub(crate) fn note(&self, matches: &ArgMatches) {
        let is_quiet = matches.try_get_one::<bool>("quiet").ok().flatten() == Some(&true);
        if !is_quiet && matches.value_source(self.name) == Some(ValueSource::CommandLine) {
            tell(&format!("{} is passed over: {}", dashed(self.name), self.why));
        }
    }
}

fn hidden(name: &'static str) -> Arg {
    let arg = Arg::new(name).hide(true);
    let mut letters = name.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => arg.short(letter),
        _ => arg.long(name),
    }
}

/// A name of one letter or of more, as it is typed.
fn dashed(name: &str) -> String {
    let dashes = if name.len() == 1 { "-" } else { "--" };
    format!("{dashes}{name}")
}

impl SetupArgs {
    /// Reads what clap matched of [`setup_args`], and of [`profile_args`] where a command has them.
    pub(crate) fn from_matches(matches: &ArgMatches, before: Before) -> Result<Self, Error> {
        let flag = |name: &str| {
            matches.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or_default()
        };
        let hooks = matches.try_get_many::<String>("hook").ok().flatten();
        let hooks: Vec<String> = hooks.into_iter().flatten().cloned().collect();
        let (profile, only_selected) = (flag("profile"), flag("only-selected"));
        if !profile && (only_selected || !hooks.is_empty()) {
            return Err(Error::usage("-S and -H belong to --profile").hint("add --profile"));
        }
        Ok(Self {
            before: if flag("keep-before") { Before::Keep } else { before },
            ignore_missing: flag("ignore-missing"),
            no_function_trace: flag("no-function-trace"),
            no_ftrace: flag("no-ftrace"),
            user: matches.get_one::<String>("user").cloned(),
            dry_run: flag("dry-run"),
            profile: ProfileRequest { profile, only_selected, hooks },
        })
    }

    /// What holds for all instances.
    pub(crate) fn choices(&self) -> Choices {
        Choices {
            before: self.before,
            ignore_missing: self.ignore_missing,
            no_function_trace: self.no_function_trace,
            no_ftrace: self.no_ftrace,
        }
    }
}
