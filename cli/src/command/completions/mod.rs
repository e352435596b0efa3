//! `trace-cmd completions`: scripts with which shells complete command lines.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

/// Each shell with its script, which asks `trace-cmd complete`.
const SCRIPTS: [(&str, &str); 3] = [
    ("bash", include_str!("trace-cmd.bash")),
    ("zsh", include_str!("_trace-cmd")),
    ("fish", include_str!("trace-cmd.fish")),
];

const AFTER_HELP: &str = "\
Commands, options and their values are completed, and as they are at that moment: events,
systems, functions, tracers, clocks, trace options, instances and guests. Names of the kernel
are known to those who may read tracefs.

Examples:
  bash   . <(trace-cmd completions bash)
  zsh    trace-cmd completions zsh > \"${fpath[1]}/_trace-cmd\"
  fish   trace-cmd completions fish > ~/.config/fish/completions/trace-cmd.fish";

/// Words and help of `completions`.
pub(crate) fn command() -> Command {
    Command::new("completions")
        .about("Print a script that completes command lines, for a shell")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(SCRIPTS.map(|(shell, _)| shell))
                .help("The shell that reads it"),
        )
}

/// Runs `completions`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let asked = matches.get_one::<String>("shell");
    let script = SCRIPTS.iter().find(|(shell, _)| asked.is_some_and(|asked| asked == shell));
    let mut out = output::stdout();
    out.write_all(script.map_or("", |(_, script)| script).as_bytes())?;
    out.flush()?;
    Ok(Exit::Success)
}
