//! The table of subcommands; each has its own file with its arguments, help and `run`.

mod agent;
mod attach;
mod check_events;
mod clear;
mod complete;
mod completions;
mod convert;
mod data_file;
#[cfg(test)]
mod documented;
mod dump;
mod export;
mod extract;
mod follow;
mod guest_rules;
mod help;
mod hist;
mod list;
mod listen;
mod man;
mod mem;
mod options;
mod peer_rules;
mod peer_timeout;
mod profile;
mod received;
mod record;
mod report;
mod reset;
mod restart;
mod restore;
mod seconds;
mod set;
mod setup_guest;
mod show;
mod snapshot;
mod split;
#[cfg(feature = "sql")]
mod sql;
mod sqlhist;
mod stack;
mod start;
mod stat;
mod stop;
mod stream;
mod tracing;
mod tracing_plan;
mod view;
mod virt_server;
mod workload;

use std::ffi::OsString;
use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

/// One subcommand: how it reads its words and how it runs.
struct Subcommand {
    name: &'static str,
    command: fn() -> Command,
    run: fn(&ArgMatches) -> Result<Exit, Error>,
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand { name: "agent", command: agent::command, run: agent::run },
    Subcommand { name: "attach", command: attach::command, run: attach::run },
    Subcommand { name: "check-events", command: check_events::command, run: check_events::run },
    Subcommand { name: "clear", command: clear::command, run: clear::run },
    Subcommand { name: "complete", command: complete::command, run: complete::run },
    Subcommand { name: "completions", command: completions::command, run: completions::run },
    Subcommand { name: "convert", command: convert::command, run: convert::run },
    Subcommand { name: "dump", command: dump::command, run: dump::run },
    Subcommand { name: "export", command: export::command, run: export::run },
    Subcommand { name: "extract", command: extract::command, run: extract::run },
    Subcommand { name: "help", command: help::command, run: help::run },
    Subcommand { name: "hist", command: hist::command, run: hist::run },
    Subcommand { name: "list", command: list::command, run: list::run },
    Subcommand { name: "listen", command: listen::command, run: listen::run },
    Subcommand { name: "man", command: man::command, run: man::run },
    Subcommand { name: "mem", command: mem::command, run: mem::run },
    Subcommand { name: "options", command: options::command, run: options::run },
    Subcommand { name: "profile", command: profile::command, run: profile::run },
    Subcommand { name: "record", command: record::command, run: record::run },
    Subcommand { name: "report", command: report::command, run: report::run },
    Subcommand { name: "reset", command: reset::command, run: reset::run },
    Subcommand { name: "restart", command: restart::command, run: restart::run },
    Subcommand { name: "restore", command: restore::command, run: restore::run },
    Subcommand { name: "set", command: set::command, run: set::run },
    Subcommand { name: "setup-guest", command: setup_guest::command, run: setup_guest::run },
    Subcommand { name: "show", command: show::command, run: show::run },
    Subcommand { name: "snapshot", command: snapshot::command, run: snapshot::run },
    Subcommand { name: "split", command: split::command, run: split::run },
    #[cfg(feature = "sql")]
    Subcommand { name: "sql", command: sql::command, run: sql::run },
    Subcommand { name: "sqlhist", command: sqlhist::command, run: sqlhist::run },
    Subcommand { name: "stack", command: stack::command, run: stack::run },
    Subcommand { name: "start", command: start::command, run: start::run },
    Subcommand { name: "stat", command: stat::command, run: stat::run },
    Subcommand { name: "stop", command: stop::command, run: stop::run },
    Subcommand { name: "stream", command: stream::command, run: stream::run },
    Subcommand { name: "view", command: view::command, run: view::run },
    Subcommand { name: "virt-server", command: virt_server::command, run: virt_server::run },
];

const ABOUT: &str = "Traces Linux and its virtual machines as one system";

/// The command line with the subcommand that is used; with all where none is, as for help.
fn cli(used: Option<&Subcommand>) -> Command {
    let subcommands = used.map_or(SUBCOMMANDS, std::slice::from_ref);
    let cli = Command::new("trace-cmd")
        .about(ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .infer_long_args(true)
        .subcommands(subcommands.iter().map(|s| taking_levels((s.command)())));
    if used.is_some() { cli } else { cli.override_help(help::overview()) }
}

/// Adds the options about messages that the C version takes everywhere, where a command has no use for them:
/// what goes wrong is always said.
fn taking_levels(command: Command) -> Command {
    let level = Arg::new("verbose")
        .long("verbose")
        .num_args(0..=1)
        .require_equals(true)
        .action(ArgAction::Append);
    let others =
        ["debug", "notimeout"].map(|name| Arg::new(name).long(name).action(ArgAction::Count));
    let has = |arg: &Arg| command.get_arguments().any(|own| own.get_long() == arg.get_long());
    let missing: Vec<Arg> = others.into_iter().chain([level]).filter(|arg| !has(arg)).collect();
    command.args(missing.into_iter().map(|arg| arg.hide(true)))
}

/// Parses the words and runs the subcommand they name.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> Result<Exit, Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    let used = words.get(1).and_then(|word| SUBCOMMANDS.iter().find(|s| word == s.name));
    if cfg!(not(feature = "sql")) && words.get(1).is_some_and(|word| word == "sql") {
        return Err(Error::usage("this trace-cmd is built without 'sql'")
            .hint("build it with: cargo install --path cli --features sql"));
    }
    let matches = match cli(used).try_get_matches_from(report::attach_levels(words)) {
        Ok(matches) => matches,
        Err(help) if is_help(&help) => {
            write!(output::stdout(), "{}", help.render())?;
            return Ok(if help.use_stderr() { Exit::Usage } else { Exit::Success });
        }
        Err(error) => return Err(usage_error(&error, used)),
    };
    let named = matches.subcommand();
    let found = named.and_then(|(name, matches)| {
        SUBCOMMANDS.iter().find(|s| s.name == name).map(|s| (s, matches))
    });
    match found {
        Some((subcommand, matches)) => (subcommand.run)(matches),
        None => Err(Error::usage("no command was named").hint("see 'trace-cmd --help'")),
    }
}

/// Whether the text was asked for, or is the answer to no words at all.
fn is_help(error: &clap::Error) -> bool {
    !error.use_stderr()
        || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// Folds clap's paragraphs into one line: what is wrong, and the nearest option or where to look.
fn usage_error(error: &clap::Error, used: Option<&Subcommand>) -> Error {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim);
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ");
    // Clap lists missing arguments on lines of their own.
    let listed = text.lines().skip(1).take_while(|line| line.starts_with("  ")).map(str::trim);
    let listed: Vec<&str> = listed.filter(|line| !line.starts_with("tip:")).collect();
    let message = format!("{first} {}", listed.join(" "));
    // That an unknown option might be a value is seldom what helps.
    let tip =
        lines.find_map(|line| line.strip_prefix("tip: ")).filter(|t| !t.starts_with("to pass"));
    let help = match used {
        Some(subcommand) => format!("see 'trace-cmd {} --help'", subcommand.name),
        None => "see 'trace-cmd help'".to_owned(),
    };
    Error::usage(message.trim()).hint(tip.unwrap_or(&help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_errors_are_one_line_and_name_the_nearest_option() {
        let words = ["trace-cmd", "record", "--virt-dri", "x"].map(OsString::from);
        let error = run(words).unwrap_err();
        assert_eq!(error.exit_code(), Exit::Usage);
        let text = error.to_string();
        assert!(text.contains("'--virt-dri'") && text.contains("'--virt-dir'"), "{text}");
        let told =
            |word: &str| run(["trace-cmd", word].map(OsString::from)).unwrap_err().to_string();
        assert!(told("attach").contains("see 'trace-cmd attach --help'"));
        let told_of_option = run(["trace-cmd", "mem", "-X"].map(OsString::from)).unwrap_err();
        assert!(told_of_option.to_string().ends_with("see 'trace-cmd mem --help'"));
        assert!(told("frobnicate").contains("see 'trace-cmd help'"));
    }

    #[test]
    fn long_options_may_be_cut_short_and_ask_for_messages_everywhere() {
        for line in [
            "start --cmdlines 9 -e sched --verb --debug",
            "report --first --nodat --notimeout",
            "show --cpu --verbose=3",
            "check-events --verbose=info",
            "list --debug -t",
        ] {
            let words = ["trace-cmd"].into_iter().chain(line.split(' '));
            let parsed = cli(None).try_get_matches_from(words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        let ambiguous = ["trace-cmd", "show", "--buffer"];
        assert!(cli(None).try_get_matches_from(ambiguous).is_err());
    }

    #[test]
    fn definitions_of_all_commands_are_sound() {
        cli(None).debug_assert();
    }
}
