//! `trace-cmd options`: what `report -O` can change.

use std::io::{self, Write};

use clap::{ArgMatches, Command};

use crate::error::Error;
use crate::exit_code::Exit;
use crate::json::Json;
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
Try:
  trace-cmd report -O fgraph:tailprint=1   one option of one plugin
  trace-cmd report -O parent               an option turned over";

/// Words and help of `options`.
pub(crate) fn command() -> Command {
    Command::new("options").about("Lists the options for 'report -O'").after_help(AFTER_HELP)
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

/// All options, with what is set.
pub(super) fn json() -> Json {
    let of_plugin = |(plugin, options): &(&'static str, &[PluginOption])| {
        let options = options.iter().map(|(option, _, set)| (*option, Json::from(*set)));
        (*plugin, Json::object(options))
    };
    Json::object(PLUGINS.iter().map(of_plugin))
}
