//! Commands that documents and help show are those that there are.

use std::fs;
use std::path::Path;

use super::help::{overview, topic::TOPICS};
use super::{SUBCOMMANDS, cli, is_help, report};

/// Where a command stands, and its words.
type Shown = (String, Vec<String>);

/// The words of a shell's line up to a comment, a pipe, or what is set apart from it by two spaces.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '|' | '>' | '<' | '&' | ';') => break,
            (None, '#') if word.is_none() => break,
            (None, ' ') => {
                words.extend(word.take());
                if chars.peek() == Some(&' ') {
                    break;
                }
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words.retain(|word| word != "...");
    words
}

/// Commands on lines of their own, and in a text between two quotes; these may be broken into lines.
fn shown(place: &str, text: &str, quote: char) -> Vec<Shown> {
    let mut found = Vec::new();
    let mut add = |line: &str| {
        let line = line.trim_start_matches("TRACE_CMD_COMPAT=3.1.6 ");
        if line.starts_with("trace-cmd ") {
            found.push((format!("{place}: {line}"), words(line)));
        }
    };
    text.lines().map(str::trim).for_each(&mut add);
    let opened = format!("{quote}trace-cmd ");
    for (at, _) in text.match_indices(&opened) {
        let rest = &text[at + 1..];
        let line: Vec<&str> =
            rest.split(quote).next().unwrap_or_default().split_whitespace().collect();
        add(&line.join(" "));
    }
    found
}

fn document(name: &str) -> Vec<Shown> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    shown(name, &fs::read_to_string(path).unwrap(), '`')
}

/// What is wrong with one, if anything is.
fn refusal((place, words): &Shown) -> Option<String> {
    let name = words.get(1).map(String::as_str).unwrap_or_default();
    let is_placeholder = name.chars().all(|c| c.is_ascii_uppercase());
    if is_placeholder || name == "sql" && !cfg!(feature = "sql") {
        return None;
    }
    let used = SUBCOMMANDS.iter().find(|s| s.name == name);
    let words = words.iter().map(Into::into).collect();
    match cli(used).try_get_matches_from(report::attach_levels(words)) {
        Err(error) if !is_help(&error) => Some(format!("{place}\n  {error}")),
        _ => None,
    }
}

#[test]
fn commands_that_are_shown_are_understood() {
    let mut all = [document("README.md"), document("ARCHITECTURE.md")].concat();
    all.extend(shown("help", &overview(), '\''));
    for topic in TOPICS {
        all.extend(shown(topic.name, topic.text, '\''));
    }
    for subcommand in SUBCOMMANDS {
        let command = (subcommand.command)();
        let help = command.get_after_long_help().or(command.get_after_help());
        all.extend(shown(
            subcommand.name,
            &help.map(ToString::to_string).unwrap_or_default(),
            '\'',
        ));
    }
    assert!(all.len() > 150, "{} commands", all.len());
    let refused: Vec<String> = all.iter().filter_map(refusal).collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// A line with an example and what it does; those without may be as long as their command is.
#[test]
fn what_examples_do_fits_on_a_terminal() {
    let helps =
        SUBCOMMANDS.iter().filter_map(|s| Some((s.command)().get_after_help()?.to_string()));
    let lines = helps.flat_map(|help| help.lines().map(str::to_owned).collect::<Vec<_>>());
    let explained = |line: &String| line.starts_with("  trace-cmd ") && line.trim().contains("   ");
    let long: Vec<String> =
        lines.filter(explained).filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn words_are_those_of_a_shell() {
    let line = r#"trace-cmd record -f 'a < 1 && b' "x  y" \; -o 'a'b  what it does"#;
    let expected = ["trace-cmd", "record", "-f", "a < 1 && b", "x  y", ";", "-o", "ab"];
    assert_eq!(words(line), expected);
    assert_eq!(words("trace-cmd report | less"), ["trace-cmd", "report"]);
    assert_eq!(words("trace-cmd mem # who"), ["trace-cmd", "mem"]);
}
