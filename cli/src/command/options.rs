//! `trace-cmd options`: what `report -O` can change.

use std::io::{self, Write};

use clap::{ArgMatches, Command};

use crate::error::Error;
use crate::exit_code::Exit;
use crate::json::Json;
use crate::nearest::did_you_mean;
use crate::output;

/// An option: name, what it does, default.
type PluginOption = (&'static str, &'static str, bool);

/// The options of each plugin.
const PLUGINS: &[(&str, &[PluginOption])] = &[
    (
        "ftrace",
        &[
            ("parent", "Print parent of functions for function events", false),
            ("indent", "Try to show function call indents, based on parents", true),
            ("offset", "Show function names as well as their offsets", false),
        ],
    ),
    (
        "fgraph",
        &[
            ("tailprint", "Print function name at function exit in function graph", false),
            ("depth", "Show the depth of each entry", false),
        ],
    ),
];

const AFTER_HELP: &str = "\
Examples:
  trace-cmd report -O fgraph:tailprint=1   one option of one plugin
  trace-cmd report -O parent               an option turned over";

/// Words and help of `options`.
pub(crate) fn command() -> Command {
    Command::new("options").about("List the options for 'report -O'").after_help(AFTER_HELP)
}

/// Runs `options`.
pub(crate) fn run(_matches: &ArgMatches) -> Result<Exit, Error> {
    let mut out = output::stdout();
    print(&mut out)?;
    out.flush()?;
    Ok(Exit::Success)
}

/// Prints all options, a block for each.
pub(super) fn print(out: &mut impl Write) -> io::Result<()> {
    for (at, (plugin, options)) in PLUGINS.iter().enumerate() {
        if at > 0 {
            writeln!(out, "============")?;
        }
        for (at, (option, text, set)) in options.iter().enumerate() {
            if at > 0 {
                writeln!(out, "------------")?;
            }
            writeln!(out, "  plugin:\t{plugin}\n  option:\t{option}")?;
            writeln!(out, "    desc:\t{text}\n     set:\t{}", u8::from(*set))?;
        }
    }
    Ok(())
}

/// All options as `report -O` takes them.
pub(super) fn names() -> Vec<String> {
    let of_plugin = |(plugin, options): &(&str, &[PluginOption])| -> Vec<String> {
        options.iter().map(|(option, ..)| format!("{plugin}:{option}")).collect()
    };
    PLUGINS.iter().flat_map(of_plugin).collect()
}

/// What may have been meant by an option of `report -O` that no plugin has.
pub(super) fn nearest(option: &str) -> Option<String> {
    let asked = option.split_once('=').map_or(option, |(asked, _)| asked);
    let names = names();
    let bare = |name: &String| name.split_once(':').map(|(_, option)| option.to_owned());
    let names: Vec<String> =
        if asked.contains(':') { names } else { names.iter().filter_map(bare).collect() };
    if names.iter().any(|name| name == asked) { None } else { did_you_mean(names, asked) }
}

/// All options, with what is set.
pub(super) fn json() -> Json {
    let of_plugin = |(plugin, options): &(&'static str, &[PluginOption])| {
        let options = options.iter().map(|(option, _, set)| (*option, Json::from(*set)));
        (*plugin, Json::object(options))
    };
    Json::object(PLUGINS.iter().map(of_plugin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_answered_with_what_was_meant() {
        assert_eq!(nearest("fgraph:tailprnt=1").as_deref(), Some("did you mean fgraph:tailprint?"));
        assert_eq!(nearest("tailprit").as_deref(), Some("did you mean tailprint?"));
        assert_eq!(nearest("fgraph:depth"), None);
        assert_eq!(nearest("parent=1"), None);
        assert_eq!(nearest("other:thing"), None);
    }
}
