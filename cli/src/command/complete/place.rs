//! Where on a command line the cursor is: at an option, or at the value of one.

use clap::{Arg, Command};

/// What is being typed.
pub(super) struct Place<'a> {
    pub(super) wanted: Wanted<'a>,
    /// What of the word stays before each candidate, as `--clock=`.
    pub(super) kept: &'a str,
    /// What of the candidate is there already.
    pub(super) typed: &'a str,
}

/// What can stand there.
pub(super) enum Wanted<'a> {
    Option,
    Value(&'a Arg),
    Nothing,
}

/// What the words so far leave open.
#[derive(Clone, Copy)]
enum Open<'a> {
    Nothing,
    /// The next word is the value.
    Value(&'a Arg),
    /// The next word is the value, unless it is an option.
    ValueOrOption(&'a Arg),
    /// All words are values, up to the one that ends them.
    Values(&'a Arg),
    /// No more options.
    Positionals,
}

impl<'a> Place<'a> {
    /// Reads the words of `command`, which is built, before the one that is being typed.
    pub(super) fn find(command: &'a Command, before: &[&str], typed: &'a str) -> Self {
        let mut open = Open::Nothing;
        let mut positionals = 0;
        for word in before {
            open = match open {
                Open::Value(_) => Open::Nothing,
                Open::ValueOrOption(_) if !word.starts_with('-') => Open::Nothing,
                // A shell hands on the quotes, too.
                Open::Values(_) if [";", "\\;", "';'", "\";\""].contains(word) => Open::Nothing,
                Open::Values(arg) => Open::Values(arg),
                Open::Positionals => {
                    positionals += 1;
                    Open::Positionals
                }
                _ if *word == "--" => Open::Positionals,
                _ if is_option(word) => opened(command, word),
                _ => {
                    let takes_rest =
                        positional(command, positionals).is_some_and(Arg::is_trailing_var_arg_set);
                    positionals += 1;
                    if takes_rest { Open::Positionals } else { Open::Nothing }
                }
            };
        }
        let value = |arg| Self { wanted: Wanted::Value(arg), kept: "", typed };
        let option = Self { wanted: Wanted::Option, kept: "", typed };
        match open {
            Open::Value(arg) | Open::Values(arg) => value(arg),
            Open::ValueOrOption(arg) if !typed.starts_with('-') => value(arg),
            Open::Positionals => positional(command, positionals)
                .map_or(Self { wanted: Wanted::Nothing, kept: "", typed }, value),
            _ if typed.starts_with('-') => attached(command, typed).unwrap_or(option),
            _ => positional(command, positionals).map_or(option, value),
        }
    }
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

/// The positional argument that the next word without a dash is for.
fn positional(command: &Command, before: usize) -> Option<&Arg> {
    let mut all = command.get_positionals();
    all.nth(before).or_else(|| {
        // The last one may take many.
        command
            .get_positionals()
            .last()
            .filter(|arg| max_values(arg) > 1 || arg.is_trailing_var_arg_set())
    })
}

fn max_values(arg: &Arg) -> usize {
    match arg.get_num_args() {
        Some(range) => range.max_values(),
        None => usize::from(arg.get_action().takes_values()),
    }
}

/// What an option leaves open for the words behind it.
fn opened<'a>(command: &'a Command, word: &str) -> Open<'a> {
    let leaves = |arg: &'a Arg| {
        let least = arg.get_num_args().map_or(1, |range| range.min_values());
        match max_values(arg) {
            0 => Open::Nothing,
            _ if arg.is_require_equals_set() => Open::Nothing,
            _ if least == 0 => Open::ValueOrOption(arg),
            1 => Open::Value(arg),
            _ => Open::Values(arg),
        }
    };
    if let Some(name) = word.strip_prefix("--") {
        // With = in it the value is there.
        return long(command, name).map_or(Open::Nothing, leaves);
    }
    let letters = word.get(1..).unwrap_or_default();
    match value_in(command, letters) {
        Some((arg, "")) => leaves(arg),
        _ => Open::Nothing,
    }
}

/// The value in the word of its option, as in `--clock=mono` or `-Cmono`.
fn attached<'a>(command: &'a Command, typed: &'a str) -> Option<Place<'a>> {
    let (arg, value) = match typed.strip_prefix("--") {
        Some(rest) => {
            let (name, value) = rest.split_once('=')?;
            (long(command, name)?, value)
        }
        None => value_in(command, typed.get(1..)?).filter(|(_, value)| !value.is_empty())?,
    };
    let kept = typed.strip_suffix(value)?;
    Some(Place { wanted: Wanted::Value(arg), kept, typed: value })
}

fn long<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

/// Of letters behind a dash, the first that takes a value, and what is behind it.
fn value_in<'a, 'b>(command: &'a Command, letters: &'b str) -> Option<(&'a Arg, &'b str)> {
    letters.char_indices().find_map(|(at, letter)| {
        let arg = command.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
        let rest = letters.get(at + letter.len_utf8()..)?;
        (max_values(arg) > 0).then_some((arg, rest))
    })
}
