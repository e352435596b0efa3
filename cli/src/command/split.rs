//! `trace-cmd split`: cuts a trace into smaller ones.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use tracedat::error::ReadError;
use tracedat::split::{Limit, Piece, Selection, SplitError, SplitOptions, Splitter};

use super::seconds::{nanoseconds, seconds};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;
use crate::progress::Reading;

const AFTER_HELP: &str = "\
START and END are seconds as 'trace-cmd report -t' prints them; events of exactly these times are taken. \
What lies before START is not read, apart from a few places to find it.
Without -r there is one piece: FILE of -o, or the input's name with .1 after it. With -r pieces are numbered:
FILE.0001, FILE.0002 and so on.
-b and -t belong to the --top or -B before them. Without --top and -B all buffers are taken.

Examples:
  trace-cmd split -r -e 10000                    pieces of 10000 events each
  trace-cmd split -o short.dat 8871.5 8871.75    a quarter of a second
  trace-cmd split -B guest -t -o guest.dat       an instance becomes a trace of its own";

/// Definition of `split`.
pub(crate) fn command() -> Command {
    let count = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .short(name.chars().next())
            .value_name(value)
            .value_parser(value_parser!(u64).range(1..))
            .help(help)
    };
    Command::new("split")
        .about("Cut a trace into smaller ones, by time or by number")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("input")
                .short('i')
                .value_name("FILE")
                .default_value("trace.dat")
                .value_parser(value_parser!(PathBuf))
                .help("The trace to split"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Name of the piece, or start of the names of the pieces"),
        )
        .arg(count("s", "SECONDS", "End a piece so many seconds after its first event"))
        .arg(count("m", "MS", "End a piece so many milliseconds after its first event"))
        .arg(count("u", "US", "End a piece so many microseconds after its first event"))
        .arg(count("e", "EVENTS", "End a piece after so many events"))
        .arg(count("p", "PAGES", "End a piece after so many sub-buffers of each CPU"))
        .group(ArgGroup::new("limit").args(["s", "m", "u", "e", "p"]))
        .arg(flag("repeat", 'r').help("Go on with further pieces up to the end"))
        .arg(flag("per-cpu", 'c').help("Count on each CPU by itself"))
        .arg(
            Arg::new("cpu")
                .short('C')
                .value_name("CPU")
                .value_parser(value_parser!(u32))
                .help("Take events of this CPU only"),
        )
        .arg(
            Arg::new("top")
                .long("top")
                .num_args(0)
                .default_missing_value("")
                .action(ArgAction::Append)
                .help("Take the top-level buffer"),
        )
        .arg(
            Arg::new("buffer")
                .short('B')
                .value_name("BUFFER")
                .action(ArgAction::Append)
                .help("Take this buffer (instance); may be repeated"),
        )
        .arg(
            Arg::new("name")
                .short('b')
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("Give the buffer named before another name"),
        )
        .arg(
            Arg::new("promote")
                .short('t')
                .num_args(0)
                .default_missing_value("")
                .action(ArgAction::Append)
                .help("Make the buffer named before the top-level one"),
        )
        .arg(Arg::new("start").value_name("START").value_parser(nanoseconds).help("First time"))
        .arg(Arg::new("end").value_name("END").value_parser(nanoseconds).help("Last time"))
}

fn flag(name: &'static str, short: char) -> Arg {
    Arg::new(name).short(short).action(ArgAction::SetTrue)
}

/// Runs `split`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let input: &PathBuf = matches.get_one("input").ok_or_else(|| Error::usage("no input"))?;
    let options = options(matches)?;
    let mut reading = Reading::default();
    let mut splitter = File::open(input)
        .map_err(|source| ReadError::Open { path: input.clone(), source }.into())
        .and_then(|file| Splitter::from_source(Arc::new(reading.of(file)), options))
        .map_err(|error| failed(input, error))?;
    let progress = reading.show("split");
    let mut out = output::stdout();
    if matches.get_flag("repeat") {
        let base = matches.get_one("output").unwrap_or(input);
        let mut number = 1_u64;
        while number == 1 || splitter.has_more() {
            let path = with_suffix(base, &format!(".{number:04}"));
            tell(&mut out, &path, write(&mut splitter, input, &path)?)?;
            number += 1;
        }
    } else {
        let default = || with_suffix(input, ".1");
        let path = matches.get_one("output").cloned().unwrap_or_else(default);
        tell(&mut out, &path, write(&mut splitter, input, &path)?)?;
    }
    drop(progress);
    out.flush()?;
    let mut complaints = io::stderr().lock();
    let read = splitter.metadata().warnings();
    for warning in read.iter().chain(splitter.warnings()) {
        // Nobody is left to be told that this cannot be told.
        let _ = writeln!(complaints, "trace-cmd: {}: {warning}", input.display());
    }
    Ok(Exit::Success)
}

/// Writes the next piece; what is not complete is removed.
fn write(splitter: &mut Splitter, input: &Path, path: &Path) -> Result<Piece, Error> {
    let cannot = |error: io::Error| {
        Error::failure(format!("cannot write {}", path.display()))
            .because(error)
            .hint("choose another place with -o FILE")
    };
    if is_same(input, path) {
        let message = format!("{} is the trace that is to be split", path.display());
        return Err(Error::usage(message).hint("choose another place with -o FILE"));
    }
    let file = File::create(path).map_err(cannot)?;
    splitter.write_piece(file).map_err(|error| {
        // A file that was there before is lost already; half a trace helps nobody.
        let _ = fs::remove_file(path);
        match error {
            SplitError::Write(error) => {
                Error::failure(format!("cannot write {}", path.display())).because(error)
            }
            error => failed(input, error),
        }
    })
}

fn tell(out: &mut impl Write, path: &Path, piece: Piece) -> Result<(), Error> {
    let (path, events) = (path.display(), piece.events);
    match piece.times {
        None => writeln!(out, "{path}: no events")?,
        Some((first, last)) => {
            writeln!(out, "{path}: {events} events, {} to {}", seconds(first), seconds(last))?;
        }
    }
    Ok(())
}

fn options(matches: &ArgMatches) -> Result<SplitOptions, Error> {
    let limit = |name: &str| matches.get_one::<u64>(name).copied();
    let time = |name, unit| limit(name).map(|count| Limit::Nanoseconds(count.saturating_mul(unit)));
    Ok(SplitOptions {
        limit: time("s", 1_000_000_000)
            .or_else(|| time("m", 1_000_000))
            .or_else(|| time("u", 1_000))
            .or_else(|| limit("e").map(Limit::Events))
            .or_else(|| limit("p").map(Limit::SubBuffers)),
        per_cpu: matches.get_flag("per-cpu"),
        cpu: matches.get_one("cpu").copied(),
        start: matches.get_one("start").copied(),
        end: matches.get_one("end").copied(),
        buffers: buffers(matches)?,
    })
}

/// The buffers in the order of the words, each with what follows it.
fn buffers(matches: &ArgMatches) -> Result<Vec<Selection>, Error> {
    let mut words: Vec<(usize, &str, String)> = Vec::new();
    for name in ["top", "buffer", "name", "promote"] {
        let (Some(indices), Some(values)) =
            (matches.indices_of(name), matches.get_many::<String>(name))
        else {
            continue;
        };
        words.extend(indices.zip(values).map(|(index, value)| (index, name, value.clone())));
    }
    words.sort();
    let mut selections: Vec<Selection> = Vec::new();
    for (_, word, value) in words {
        if matches!(word, "top" | "buffer") {
            selections.push(Selection { new_name: value.clone(), name: value });
            continue;
        }
        let option = if word == "name" { "-b" } else { "-t" };
        let Some(last) = selections.last_mut() else {
            return Err(Error::usage(format!("{option} has no buffer before it"))
                .hint("name one with -B BUFFER or --top"));
        };
        last.new_name = value;
    }
    for (at, selection) in selections.iter().enumerate() {
        let before = selections.get(..at).unwrap_or_default();
        if before.iter().any(|other| other.new_name == selection.new_name) {
            let name = match selection.new_name.as_str() {
                "" => "top-level buffer".to_owned(),
                name => format!("buffer named '{name}'"),
            };
            return Err(Error::usage(format!("a trace has only one {name}"))
                .hint("give one of the two another name with -b NAME"));
        }
    }
    Ok(selections)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (fs::metadata(one), fs::metadata(other)) else { return false };
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn failed(input: &Path, error: SplitError) -> Error {
    let input = input.display();
    match error {
        SplitError::Read(ReadError::Open { source, .. }) => {
            let exit = match source.kind() {
                io::ErrorKind::PermissionDenied => Exit::Permission,
                _ => Exit::Failure,
            };
            let missing = source.kind() == io::ErrorKind::NotFound;
            let error = Error::new(exit, format!("cannot open {input}")).because(source);
            if missing { error.hint("name a trace with -i FILE") } else { error }
        }
        SplitError::NoBuffer { .. } | SplitError::NoCpu { .. } => {
            Error::failure(format!("cannot split {input}"))
                .because(error)
                .hint("see 'trace-cmd report --stat' for what there is")
        }
        SplitError::Read(ReadError::Io { .. }) => {
            Error::failure(format!("cannot read {input}")).because(error)
        }
        error => Error::new(Exit::BadData, format!("cannot split {input}")).because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<SplitOptions, Error> {
        let words = [&["split"], words].concat();
        options(&command().try_get_matches_from(words).map_err(|e| Error::usage(e.to_string()))?)
    }

    #[test]
    fn names_belong_to_the_buffer_before_them() {
        let words = ["--top", "-b", "old", "-B", "one", "-B", "two", "-t"];
        let selection = |name: &str, new_name: &str| Selection {
            name: name.to_owned(),
            new_name: new_name.to_owned(),
        };
        let expected = [selection("", "old"), selection("one", "one"), selection("two", "")];
        assert_eq!(parsed(&words).unwrap().buffers, expected);
        let error = parsed(&["-b", "lost"]).unwrap_err();
        assert_eq!(error.exit_code(), Exit::Usage);
        parsed(&["--top", "-B", "one", "-t"]).unwrap_err();
    }

    #[test]
    fn there_is_one_limit_of_at_least_one() {
        let limit = |words: &[&str]| parsed(words).map(|options| options.limit);
        assert_eq!(limit(&["-m", "5"]).unwrap(), Some(Limit::Nanoseconds(5_000_000)));
        assert_eq!(limit(&["-p", "2"]).unwrap(), Some(Limit::SubBuffers(2)));
        limit(&["-s", "1", "-e", "3"]).unwrap_err();
        limit(&["-e", "0"]).unwrap_err();
    }
}
