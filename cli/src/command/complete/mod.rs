//! `trace-cmd complete`: what can stand where the cursor is. The scripts of `completions` call it at
//! each Tab, so it is quick, changes nothing, and is silent where it may not look.

mod names;
mod place;

use std::fmt::Write as _;
use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use self::names::Names;
use self::place::{Place, Wanted};
use super::help::brief;
use super::{SUBCOMMANDS, help};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

/// Words and help of `complete`.
pub(crate) fn command() -> Command {
    Command::new("complete")
        .about("Print what can stand where the cursor is, for a shell")
        .hide(true)
        .arg(Arg::new("words").value_name("WORD").num_args(0..).last(true))
}

/// Runs `complete`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let words: Vec<&str> =
        matches.get_many::<String>("words").into_iter().flatten().map(String::as_str).collect();
    let mut out = output::stdout();
    out.write_all(answer(&words, &Names::of_this_machine()).as_bytes())?;
    out.flush()?;
    Ok(Exit::Success)
}

/// A line for each candidate, with what it means behind a tab; `:files` and `:command` where the
/// shell knows better. The last word is the one that is being typed.
fn answer(words: &[&str], names: &Names) -> String {
    let mut out = String::new();
    match words {
        [] | [_] => commands(words.first().copied().unwrap_or_default(), &mut out),
        ["help", typed] if !typed.starts_with('-') => {
            for topic in help::topic::TOPICS.iter().filter(|t| t.name.starts_with(typed)) {
                let _ = writeln!(out, "{}\t{}", topic.name, topic.title());
            }
            commands(typed, &mut out);
        }
        ["man", typed] if !typed.starts_with('-') => commands(typed, &mut out),
        [name, before @ .., typed] => {
            let Some(subcommand) = SUBCOMMANDS.iter().find(|s| s.name == *name) else {
                return out;
            };
            let mut command = (subcommand.command)();
            command.build();
            candidates(&command, &Place::find(&command, before, typed), names, &mut out);
        }
    }
    out
}

fn commands(typed: &str, out: &mut String) {
    for subcommand in SUBCOMMANDS.iter().filter(|s| s.name.starts_with(typed)) {
        let command = (subcommand.command)();
        if !command.is_hide_set() {
            let _ = writeln!(out, "{}\t{}", subcommand.name, brief(&command));
        }
    }
}

fn candidates(command: &Command, place: &Place<'_>, names: &Names, out: &mut String) {
    match place.wanted {
        Wanted::Option => options(command, place.typed, out),
        Wanted::Value(arg) => {
            let possible = arg.get_possible_values();
            let possible = possible.iter().map(|value| value.get_name().to_owned());
            let possible: Vec<String> = if possible.len() > 0 {
                possible.filter(|name| name.starts_with(place.typed)).collect()
            } else {
                names.of(command.get_name(), arg, place.typed)
            };
            for name in possible {
                let _ = writeln!(out, "{}{name}", place.kept);
            }
        }
        Wanted::Nothing => {}
    }
}

fn options(command: &Command, typed: &str, out: &mut String) {
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let long = arg.get_long().map(|long| format!("--{long}"));
        // One spelling of each is enough, unless it is the other that is being typed.
        let short = arg.get_short().map(|short| format!("-{short}"));
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let fitting = [long, short].into_iter().flatten().find(|name| name.starts_with(typed));
        if let Some(name) = fitting {
            let _ = writeln!(out, "{name}\t{about}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use trace_virt::setup::VirtDir;
    use tracefs::TracingDir;

    use super::*;

    /// A tracing directory with two systems, and a guest.
    fn machine() -> (TempDir, Names) {
        let dir = TempDir::new().unwrap();
        for made in [
            "events/sched/sched_switch",
            "events/sched/sched_waking",
            "events/irq/irq_handler_entry",
            "instances/mine",
            "options",
            "virt/guest1",
        ] {
            fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        for (name, text) in [
            ("available_events", "sched:sched_switch\nsched:sched_waking\nirq:irq_handler_entry\n"),
            ("available_tracers", "function_graph function nop\n"),
            ("available_filter_functions", "vfs_read\nvfs_write [fs]\nksys_read\n"),
            ("trace_clock", "[local] global mono\n"),
            ("options/stacktrace", "0\n"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let virt = VirtDir::new(dir.path().join("virt"));
        let names = Names::new(Some(TracingDir::at(dir.path())), virt);
        (dir, names)
    }

    fn found(line: &str) -> Vec<String> {
        let (_dir, names) = machine();
        let words: Vec<&str> = line.split(' ').collect();
        let lines = answer(&words, &names);
        lines.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn names_of_this_kernel_are_found_where_they_are_wanted() {
        for (line, expected) in [
            ("record -e sch", &["sched", "sched_switch", "sched_waking"][..]),
            ("record -e ", &["all", "irq", "sched"]),
            ("record -e sched:sched_s", &["sched:sched_switch"]),
            ("record -v -e irq -e sched:", &["sched:sched_switch", "sched:sched_waking"]),
            ("record -eirq_h", &["-eirq_handler_entry"]),
            ("record -p func", &["function", "function_graph"]),
            ("record -l vfs_", &["vfs_read", "vfs_write"]),
            ("record -C m", &["mono"]),
            ("start -O nos", &["nostacktrace"]),
            ("start -B ", &["mine"]),
            ("show -B m", &["mine"]),
            ("show --trigger irq_", &["irq_handler_entry"]),
            ("record --dom g", &["guest1"]),
            ("virt-server --doctor ", &["guest1"]),
            ("list -e sched_w", &["sched_waking"]),
            ("report -O fgraph:t", &["fgraph:tailprint"]),
        ] {
            assert_eq!(found(line), expected, "{line}");
        }
    }

    #[test]
    fn options_values_files_and_commands_are_found_too() {
        for (line, expected) in [
            ("rec", &["record"][..]),
            ("help exit", &["exit-codes"]),
            ("record --compr", &["--compression"]),
            ("record --compression z", &["zlib", "zstd"]),
            ("record --compression=zs", &["--compression=zstd"]),
            ("record -o ", &[":files"]),
            ("report -t ", &[":files"]),
            ("record -e sched ", &[":command"]),
            ("record -e sched make -", &[":files"]),
            ("record --dom g --exec ls ", &[":files"]),
            ("record --dom g --exec ls ; --file-v", &["--file-version"]),
            ("completions z", &["zsh"]),
            ("nonsense -e ", &[]),
            // What a command refuses is not offered.
            ("set --compr", &[]),
        ] {
            assert_eq!(found(line), expected, "{line}");
        }
    }

    #[test]
    fn without_a_kernel_to_look_at_there_is_silence() {
        let nowhere = Names::new(None, VirtDir::new("/nonexistent"));
        for line in ["record -e s", "record -p f", "record -B ", "record --dom ", "start -l v"] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(answer(&words, &nowhere).replace("all\n", ""), "", "{line}");
        }
    }

    #[test]
    fn each_option_of_each_command_is_offered() {
        let (_dir, names) = machine();
        for subcommand in SUBCOMMANDS {
            let mut command = (subcommand.command)();
            command.build();
            for long in
                command.get_arguments().filter(|a| !a.is_hide_set()).filter_map(Arg::get_long)
            {
                let word = format!("--{long}");
                let lines = answer(&[subcommand.name, &word], &names);
                let offered = lines.lines().any(|line| line.split('\t').next() == Some(&word));
                assert!(offered, "{} {word}: {lines}", subcommand.name);
            }
        }
    }
}
