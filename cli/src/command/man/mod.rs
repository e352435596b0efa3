//! `trace-cmd man`: manual pages, made of the definitions and topics that the help is made of.

mod page;
mod roff;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};

use super::SUBCOMMANDS;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::nearest::did_you_mean;
use crate::output;

const AFTER_HELP: &str = "\
Examples:
  trace-cmd man record | man -l -         read one
  trace-cmd man -o /usr/local/share/man   trace-cmd(1), one for each command, trace.dat(5)";

/// Words and help of `man`.
pub(crate) fn command() -> Command {
    Command::new("man")
        .about("Print a manual page, or write all of them")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("command")
                .value_name("NAME")
                .conflicts_with("output")
                .help("Print that of this command, or of trace.dat [default: of trace-cmd itself]"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Write all pages into DIR/man1 and DIR/man5"),
        )
}

/// Runs `man`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    if let Some(dir) = matches.get_one::<PathBuf>("output") {
        for (name, text) in pages() {
            write(dir, &name, &text)?;
        }
        return Ok(Exit::Success);
    }
    let text = match matches.get_one::<String>("command") {
        None => page::of_program(),
        Some(name) => named(name)?,
    };
    let mut out = output::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Exit::Success)
}

/// All pages with the names of their files.
fn pages() -> impl Iterator<Item = (String, String)> {
    let of_commands = SUBCOMMANDS.iter().map(|s| (s.command)()).filter(|c| !c.is_hide_set());
    let of_commands = of_commands
        .map(|command| (format!("trace-cmd-{}.1", command.get_name()), page::of_command(command)));
    let others = [
        ("trace-cmd.1".to_owned(), page::of_program()),
        ("trace.dat.5".to_owned(), page::of_file()),
    ];
    others.into_iter().chain(of_commands)
}

/// The page that somebody asks for.
fn named(name: &str) -> Result<String, Error> {
    let short = name.strip_prefix("trace-cmd-").unwrap_or(name);
    let files = [format!("trace-cmd-{short}.1"), format!("{name}.1"), format!("{name}.5")];
    if let Some((_, text)) = pages().find(|(file, _)| files.contains(file)) {
        return Ok(text);
    }
    let hint = did_you_mean(SUBCOMMANDS.iter().map(|s| s.name.to_owned()), short);
    Err(Error::usage(format!("there is no page '{name}'"))
        .hint(hint.as_deref().unwrap_or("'trace-cmd help' lists commands")))
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), Error> {
    let (_, section) = name.rsplit_once('.').unwrap_or((name, "1"));
    let place = dir.join(format!("man{section}"));
    let path = place.join(name);
    fs::create_dir_all(&place)
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| Error::failure(format!("cannot write {}", path.display())).because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_with_all_its_options() {
        for subcommand in SUBCOMMANDS {
            let command = (subcommand.command)();
            if command.is_hide_set() {
                continue;
            }
            let text = named(subcommand.name).unwrap();
            let examples = text.matches("\nExamples:").count();
            assert_eq!(examples, 0, "a section of its own: {text}");
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let long = arg.get_long().map(|long| format!("\\-\\-{}", long.replace('-', "\\-")));
                let short = arg.get_short().map(|short| format!("\\-{short}"));
                for name in [long, short].into_iter().flatten() {
                    assert!(text.contains(&name), "{} {name}: {text}", subcommand.name);
                }
            }
        }
    }

    #[test]
    fn pages_that_are_not_there_are_answered_with_the_nearest() {
        assert!(named("trace.dat").unwrap().starts_with(".TH TRACE.DAT 5"));
        assert_eq!(named("trace-cmd-record").unwrap(), named("record").unwrap());
        let error = named("recrod").unwrap_err().to_string();
        assert!(error.contains("did you mean record"), "{error}");
    }
}
