//! What commands on the running kernel share: where its tracing directory is, and which instances are meant.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use tracefs::{Instance, TracingDir};

use super::record::kernel_error;
use crate::error::Error;
use crate::nearest::did_you_mean;

/// `--tracing-dir DIR`.
pub(super) fn dir_arg() -> Arg {
    Arg::new("tracing-dir")
        .long("tracing-dir")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .help("Tracing directory to use [default: where tracefs is mounted]")
}

/// The directory that was named, or the one of this kernel.
pub(super) fn dir(matches: &ArgMatches) -> Result<TracingDir, Error> {
    let Some(path) = matches.get_one::<PathBuf>("tracing-dir") else {
        return TracingDir::find_or_mount().map_err(kernel_error);
    };
    if path.join("trace").exists() {
        return Ok(TracingDir::at(path));
    }
    let message = format!("{} is not a tracing directory", path.display());
    Err(Error::usage(message).hint("leave --tracing-dir out to use that of this kernel"))
}

/// `-B NAME`, which may be repeated.
pub(super) fn instance_arg(help: &'static str) -> Arg {
    Arg::new("instance").short('B').value_name("NAME").action(ArgAction::Append).help(help)
}

/// `-a`, all instances.
pub(super) fn all_arg(help: &'static str) -> Arg {
    Arg::new("all").short('a').long("all").action(ArgAction::SetTrue).help(help)
}

/// `-t`, the top-level one.
pub(super) fn top_arg(help: &'static str) -> Arg {
    Arg::new("top").short('t').action(ArgAction::SetTrue).help(help)
}

/// An instance by name; an unknown one is answered with names like it.
pub(super) fn instance(dir: &TracingDir, name: &str) -> Result<Instance, Error> {
    dir.instance(name).map_err(|error| {
        let names = dir.instances().unwrap_or_default();
        let all = || match names.as_slice() {
            [] => "there is none at all".to_owned(),
            names => format!("there are: {}", names.join(" ")),
        };
        kernel_error(error).hint(did_you_mean(names.iter().cloned(), name).unwrap_or_else(all))
    })
}

/// The instance of the last `-B`, else the top-level one.
pub(super) fn last_instance(matches: &ArgMatches, dir: &TracingDir) -> Result<Instance, Error> {
    let names = matches.get_many::<String>("instance").into_iter().flatten();
    names.last().map_or_else(|| Ok(dir.top()), |name| instance(dir, name))
}

/// All instances of `-t`, `-a` and `-B`, each once; without any of these the top-level one.
pub(super) fn instances(matches: &ArgMatches, dir: &TracingDir) -> Result<Vec<Instance>, Error> {
    let named: Vec<&String> =
        matches.get_many::<String>("instance").into_iter().flatten().collect();
    let all = matches.get_flag("all");
    let mut chosen = Vec::new();
    if matches.get_flag("top") || (named.is_empty() && !all) {
        chosen.push(dir.top());
    }
    if all {
        for name in dir.listed_instances().map_err(kernel_error)? {
            chosen.push(instance(dir, &name)?);
        }
    }
    for name in named {
        let found = instance(dir, name)?;
        if !chosen.contains(&found) {
            chosen.push(found);
        }
    }
    Ok(chosen)
}
