//! The files that are exported, opened and merged.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use tracedat::export::machine_names;
use tracedat::read::Merge;
use tracedat::report::{Report, ReportInput, ReportOptions};
use tracedat::{Metadata, Record};

use crate::command::data_file;
use crate::command::report::selection::Selection;
use crate::error::Error;
use crate::output::tell;
use crate::progress::Reading;

/// What is known about the files.
pub(in crate::command) struct Files {
    pub(in crate::command) metadata: Vec<Metadata>,
    /// Their names without directories.
    pub(in crate::command) names: Vec<String>,
    /// The machine of each.
    pub(in crate::command) machines: Vec<String>,
}

/// Their records.
pub(in crate::command) struct Stream {
    records: Merge,
    reading: Reading,
}

/// `-i FILE` and `FILE`, each as often as wanted.
pub(in crate::command) fn args() -> [Arg; 2] {
    let file = |id| {
        Arg::new(id)
            .value_name("FILE")
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf))
    };
    [
        file("input").short('i').long("input").help(
            "A file to read, - for standard input [default: trace.dat]; several are merged by time",
        ),
        file("file").help("The same as -i FILE"),
    ]
}

/// The files of [`args`].
pub(in crate::command) fn paths(matches: &ArgMatches) -> Vec<PathBuf> {
    let named = |id| matches.get_many::<PathBuf>(id).into_iter().flatten().cloned();
    let mut paths: Vec<PathBuf> = named("input").chain(named("file")).collect();
    if paths.is_empty() {
        paths.push(data_file::default_input());
    }
    paths
}

/// Opens what was named.
pub(in crate::command) fn open(paths: &[PathBuf]) -> Result<(Files, Stream), Error> {
    let mut reading = Reading::default();
    let mut readers = Vec::new();
    for path in paths {
        let reader = data_file::read(path, &mut reading)
            .map_err(|cause| data_file::cannot_read(path, cause))?;
        if reader.metadata.latency_text().is_some() {
            let message = format!("{} has the text of a latency tracer, no events", path.display());
            return Err(Error::failure(message).hint("print it with 'trace-cmd report'"));
        }
        readers.push(reader);
    }
    let (metadata, records) = Merge::new(readers);
    let names: Vec<String> = paths.iter().map(|path| file_name(path)).collect();
    let stems = names.iter().map(|name| stem(name));
    let named: Vec<(&str, &Metadata)> = stems.zip(&metadata).collect();
    let machines = machine_names(&named);
    Ok((Files { metadata, names, machines }, Stream { records, reading }))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A file's name without its ending.
pub(super) fn stem(name: &str) -> &str {
    name.strip_suffix(".dat").unwrap_or(name)
}

impl Stream {
    /// The records, all of them.
    pub(in crate::command) fn into_records(self) -> Merge {
        self.records
    }

    /// Calls `visit` with each record that was selected, oldest first, and the index of its file.
    pub(in crate::command) fn visit(
        self,
        files: &Files,
        selection: &Selection,
        visit: impl FnMut(usize, &Record<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.report(
            "export",
            files,
            selection,
            ReportOptions::default(),
            |report, inputs, records| report.try_visit(inputs, records, visit),
        )
    }

    /// Calls `make` with what reports on the records that were selected; `what` is shown as long as that takes.
    pub(in crate::command) fn report<T>(
        mut self,
        what: &'static str,
        files: &Files,
        selection: &Selection,
        mut options: ReportOptions,
        make: impl FnOnce(&Report, &[ReportInput<'_>], &mut Merge) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let named = files.names.iter().zip(&files.metadata);
        let inputs: Vec<ReportInput<'_>> =
            named.map(|(name, metadata)| ReportInput { name, metadata }).collect();
        options.filters = selection.filters()?;
        selection.set(&mut options, &inputs, &mut self.records)?;
        let progress = self.reading.show(what);
        let made = make(&Report::new(options), &inputs, &mut self.records);
        drop(progress);
        for (index, input) in inputs.iter().enumerate() {
            for warning in input.metadata.warnings().iter().chain(self.records.warnings(index)) {
                tell(&format!("{}: {warning}", input.name));
            }
        }
        made
    }
}
