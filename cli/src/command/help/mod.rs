//! `trace-cmd help`: all commands by what they are for, topics, and the help of each command.

pub(super) mod topic;

use std::fmt::Write as _;
use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use self::topic::TOPICS;
use super::{SUBCOMMANDS, Subcommand};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::nearest::did_you_mean;
use crate::output;

/// Commands by what they are for; each stands in one of them.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    ("Record into a file", &["record", "extract", "restore"]),
    ("Look into files", &["report", "view", "hist", "mem", "dump", "sql"]),
    ("Change files", &["convert", "split", "export", "attach"]),
    ("Control tracing", &["start", "set", "stop", "restart", "clear", "reset", "sqlhist"]),
    ("Look at tracing", &["list", "stat", "show", "snapshot", "stack", "stream", "profile"]),
    ("Guests and other machines", &["virt-server", "setup-guest", "agent", "listen"]),
    ("About this program", &["help", "options", "check-events", "completions", "man"]),
];

const EXAMPLES: &str = "\
Examples:
  trace-cmd record -e sched sleep 1         record scheduler events while a command runs
  trace-cmd report                          print what was recorded
  trace-cmd view -o trace.html              look at it in a browser
  trace-cmd stream -e sched                 print scheduler events as they happen
  trace-cmd virt-server --dom guest1 -c 2   prepare a guest for tracing from its host
";

/// Words and help of `help`.
pub(crate) fn command() -> Command {
    Command::new("help")
        .about("Print the text of a topic, or the help of a command")
        .arg(Arg::new("topic").value_name("TOPIC|COMMAND").help("What to tell about"))
}

/// Runs `help`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let text = match matches.get_one::<String>("topic") {
        Some(name) => about(name)?,
        None => overview(),
    };
    let mut out = output::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Exit::Success)
}

/// All commands by group, all topics, and how to begin.
pub(super) fn overview() -> String {
    let mut out = format!("{}\n\nUsage: trace-cmd COMMAND [WORD]...\n", super::ABOUT);
    for (title, names) in GROUPS {
        let of_group = names.iter().filter_map(|name| named(name));
        // A command's own words, so that there is one place for them.
        let lines = of_group.map(|s| (s.name, brief(&(s.command)())));
        section(&mut out, title, lines);
    }
    let topics = TOPICS.iter().map(|topic| (topic.name, topic.title().to_owned()));
    section(&mut out, "Topics", topics);
    out.push_str("\n'trace-cmd help TOPIC' and 'trace-cmd COMMAND --help' tell more. ");
    out.push_str("-V, --version prints the version.\n\n");
    out.push_str(EXAMPLES);
    out
}

fn section<'a>(out: &mut String, title: &str, lines: impl Iterator<Item = (&'a str, String)>) {
    let _ = writeln!(out, "\n{title}:");
    for (name, about) in lines {
        let _ = writeln!(out, "  {name:<13} {about}");
    }
}

/// What a command says about itself in one line.
pub(super) fn brief(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn named(name: &str) -> Option<&'static Subcommand> {
    SUBCOMMANDS.iter().find(|s| s.name == name)
}

/// The text of a topic, or the help of a command.
fn about(name: &str) -> Result<String, Error> {
    if let Some(topic) = TOPICS.iter().find(|topic| topic.name == name) {
        return Ok(topic.text.to_owned());
    }
    if let Some(subcommand) = named(name) {
        let command = (subcommand.command)();
        let full_name = format!("trace-cmd {name}");
        return Ok(command.bin_name(full_name).render_help().to_string());
    }
    let topics = TOPICS.iter().map(|topic| topic.name);
    let commands = GROUPS.iter().flat_map(|(_, names)| names.iter().copied());
    let names = topics.chain(commands).map(str::to_owned);
    let hint = did_you_mean(names, name);
    Err(Error::usage(format!("'{name}' is neither a command nor a topic"))
        .hint(hint.as_deref().unwrap_or("'trace-cmd help' lists both")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_command_stands_in_one_group() {
        let names = GROUPS.iter().flat_map(|(_, names)| names.iter().copied());
        // Where it is built in.
        let grouped: Vec<&str> =
            names.filter(|name| *name != "sql" || cfg!(feature = "sql")).collect();
        let once: BTreeSet<&str> = grouped.iter().copied().collect();
        assert_eq!(once.len(), grouped.len(), "{grouped:?}");
        let shown = SUBCOMMANDS.iter().filter(|s| !(s.command)().is_hide_set());
        assert_eq!(once, shown.map(|s| s.name).collect());
    }

    #[test]
    fn topics_and_commands_are_told_about_and_others_answered_with_the_nearest() {
        assert!(about("exit-codes").unwrap().contains("22"));
        let help = about("record").unwrap();
        assert!(
            help.contains("Usage: trace-cmd record") && help.contains("--file-version"),
            "{help}"
        );
        let error = about("recrod").unwrap_err();
        assert_eq!(error.exit_code(), Exit::Usage);
        let text = error.to_string();
        assert!(text.contains("'recrod'") && text.contains("did you mean record"), "{text}");
    }

    #[test]
    fn overview_names_all_commands_and_topics() {
        let text = overview();
        for name in SUBCOMMANDS.iter().filter(|s| !(s.command)().is_hide_set()).map(|s| s.name) {
            assert!(text.contains(&format!("\n  {name} ")), "{name}: {text}");
        }
        for topic in TOPICS {
            assert!(text.contains(&format!("\n  {} ", topic.name)), "{}: {text}", topic.name);
        }
    }
}
