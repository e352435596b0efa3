//! What stands on a page.

use clap::builder::{PossibleValue, Str};
use clap::{Arg, Command};

use super::roff::Roff;
use crate::command::help::topic::TOPICS;
use crate::command::help::{GROUPS, brief};
use crate::command::{ABOUT, SUBCOMMANDS};

/// `trace-cmd(1)`: commands, and what there is to say about more than one.
pub(super) fn of_program() -> String {
    let mut page = Roff::page("trace-cmd", 1, ABOUT);
    page.section("Synopsis");
    page.literal("trace-cmd COMMAND [WORD]...");
    page.section("Commands");
    for (title, names) in GROUPS {
        page.part(title);
        for subcommand in SUBCOMMANDS.iter().filter(|s| names.contains(&s.name)) {
            let term = format!("trace-cmd-{}(1)", subcommand.name);
            page.term(&term, &brief(&(subcommand.command)()));
        }
    }
    for topic in TOPICS.iter().filter(|topic| topic.name != FILE) {
        page.section(match topic.name {
            "exit-codes" => "Exit status",
            "environment" => "Environment",
            "files" => "Files",
            _ => topic.title(),
        });
        page.text(topic.body());
    }
    page.section("See also");
    page.text("trace-cmd-record(1), trace-cmd-report(1), trace.dat(5)");
    page.into_text()
}

/// The file, and the topic about it.
const FILE: &str = "trace.dat";

/// `trace.dat(5)`.
pub(super) fn of_file() -> String {
    let topic = TOPICS.iter().find(|topic| topic.name == FILE);
    let mut page = Roff::page(FILE, 5, "what 'trace-cmd record' writes");
    page.section("Description");
    page.text(topic.map_or("", |topic| topic.body()));
    page.section("See also");
    page.text("trace-cmd(1), trace-cmd-dump(1), trace-cmd-convert(1)");
    page.into_text()
}

/// The page of a command.
pub(super) fn of_command(command: Command) -> String {
    let name = command.get_name().to_owned();
    let mut command = command.bin_name(format!("trace-cmd {name}"));
    let mut page = Roff::page(&format!("trace-cmd-{name}"), 1, &brief(&command));
    page.section("Synopsis");
    let usage = command.render_usage().to_string();
    page.literal(usage.trim_start_matches("Usage: "));
    page.section("Options");
    options(&mut page, &command);
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (notes, examples) = notes.split_once(EXAMPLES).unwrap_or((&notes, ""));
    for (title, text) in [("Notes", notes), ("Examples", examples)] {
        if !text.is_empty() {
            page.section(title);
            page.text(text);
        }
    }
    page.section("See also");
    page.text("trace-cmd(1) has exit status, environment and files.");
    page.into_text()
}

/// What stands above the examples in the help of a command.
const EXAMPLES: &str = "Examples:\n";

/// Options by heading, in the order in which the help has them.
fn options(page: &mut Roff, command: &Command) {
    let shown = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    let mut headings = vec![None];
    for heading in shown().map(Arg::get_help_heading) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            page.part(heading);
        }
        for arg in shown().filter(|arg| arg.get_help_heading() == heading) {
            page.term(&words(arg), &meaning(arg));
        }
    }
}

/// How an option is typed, as `-o, --output FILE`.
fn words(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<&str> = names.iter().map(Str::as_str).collect();
    let least = arg.get_num_args().map_or(1, |range| range.min_values());
    let value = match (names.join(" "), least) {
        (value, 0) if !value.is_empty() && arg.is_require_equals_set() => format!("[={value}]"),
        (value, 0) if !value.is_empty() => format!(" [{value}]"),
        (value, _) if !value.is_empty() => format!(" {value}"),
        _ => String::new(),
    };
    let short = arg.get_short().map(|short| format!("-{short}"));
    let aliases = arg.get_visible_short_aliases().unwrap_or_default();
    let aliases = aliases.into_iter().map(|alias| format!("-{alias}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let spellings: Vec<String> = short.into_iter().chain(aliases).chain(long).collect();
    let more =
        if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { "..." } else { "" };
    format!("{}{}{more}", spellings.join(", "), value).trim_start().to_owned()
}

/// The help of an option, with the values that it takes.
fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    let values: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        text.push_str(&format!(" [possible values: {}]", values.join(", ")));
    }
    let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    let defaults: Vec<_> = defaults.collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        text.push_str(&format!(" [default: {}]", defaults.join(" ")));
    }
    text
}
