//! `trace-cmd convert`: writes a trace again, in another version or compression.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use tracedat::compress::Codec;
use tracedat::convert::{ConvertError, convert};
use tracedat::write::Version;

use super::data_file;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;
use crate::progress::Reading;

const AFTER_HELP: &str = "\
Examples:
  trace-cmd convert -i old.dat new.dat                     version 7, best compression
  trace-cmd convert --file-version 6 -i new.dat old.dat    for old programs";

/// Words and help of `convert`.
pub(crate) fn command() -> Command {
    let [input, file] = data_file::input_args();
    let output = Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The file to write; may also be the last word");
    Command::new("convert")
        .about("Change version or compression of a trace file")
        .after_help(AFTER_HELP)
        .args([input, output, file.hide(false).help("The file to write")])
        .arg(
            Arg::new("version")
                .long("file-version")
                .value_name("N")
                .value_parser(["6", "7"])
                .default_value("7")
                .help("Version of the file format"),
        )
        .arg(
            Arg::new("compression")
                .long("compression")
                .value_name("NAME")
                .value_parser(["any", "none", "zlib", "zstd"])
                .help("Compression of version 7 [default: any, the best]"),
        )
}

/// Runs `convert`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let path = |id| matches.get_one::<PathBuf>(id).cloned();
    let input = path("input").unwrap_or_else(data_file::default_input);
    let Some(output) = path("output").or_else(|| path("file")) else {
        return Err(Error::usage("no output file was named").hint("name one with -o FILE"));
    };
    let version = match matches.get_one::<String>("version").map(String::as_str) {
        Some("6") => Version::V6,
        _ => Version::V7,
    };
    let codec = codec(matches.get_one::<String>("compression").map(String::as_str), version)?;
    let mut reading = Reading::default();
    let reader = data_file::read(&input, &mut reading)
        .map_err(|cause| data_file::cannot_read(&input, cause))?;
    let same =
        fs::canonicalize(&output).is_ok_and(|o| fs::canonicalize(&input).is_ok_and(|i| i == o));
    if same {
        let message = format!("{} is input and output", input.display());
        return Err(Error::usage(message).hint("name another file with -o FILE"));
    }
    // Nobody finds half a file under the name that was asked for.
    let mut part = output.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let cannot_write = |cause| {
        Error::failure(format!("cannot write {}", output.display()))
            .because(cause)
            .hint("name another file with -o FILE")
    };
    let file = File::create(&part).map_err(cannot_write)?;
    let progress = reading.show("convert");
    let converted = convert(&reader.metadata, file, version, codec)
        .map_err(|cause| explain(&input, &output, cause));
    drop(progress);
    let notes = match converted {
        Ok(notes) => notes,
        Err(error) => {
            // The error says more than a failure to clean up could.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
    };
    fs::rename(&part, &output).map_err(cannot_write)?;
    data_file::warn_of_lost(&input, &reader.metadata);
    for note in notes {
        tell(&format!("{}: {note}", input.display()));
    }
    Ok(Exit::Success)
}

fn codec(name: Option<&str>, version: Version) -> Result<Codec, Error> {
    let named = name.and_then(Codec::from_name);
    match (version, named) {
        (Version::V6, None | Some(Codec::None)) => Ok(Codec::None),
        (Version::V6, Some(codec)) => {
            Err(Error::usage(format!("version 6 has no compression, {codec} was asked for"))
                .hint("leave out --compression or --file-version"))
        }
        (Version::V7, Some(codec)) => Ok(codec),
        (Version::V7, None) => Ok(Codec::Zstd),
    }
}

fn explain(input: &Path, output: &Path, cause: ConvertError) -> Error {
    match cause {
        ConvertError::Read(cause) => data_file::cannot_read(input, cause),
        cause => {
            Error::failure(format!("cannot convert {} to {}", input.display(), output.display()))
                .because(cause)
                .hint("try another version with --file-version, or another place with -o FILE")
        }
    }
}
