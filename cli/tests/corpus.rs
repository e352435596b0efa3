//! `report` on a corpus of real traces with the reference's text, where there is one.
//!
//! The corpus is a folder with `cases.tsv`, `data/` and `expected/`; `TRACE_CORPUS` names it,
//! else it is looked for next to the workspace. Without it every case counts as ignored.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Cases that differ, and why; a case here that comes out right is a failure, so the list stays true.
const DIFFERENT: &[(&str, &str)] = &[
    ("clk-counter.l.34", "3.4 prints ticks as a fraction of a second with -l"),
    ("clk-tsc.tl.34", "3.4 prints ticks as a fraction of a second with -l"),
    ("clk-tsc.l.34", "3.4 prints ticks as a fraction of a second with -l"),
    ("bad-fmt-size.plain", "the reference's handler gives up after half a line"),
    ("bad-fuzz-any7-14.plain", "entries of impossible length, unknown events for the reference"),
    ("bad-fuzz-any7-22.plain", "the reference gives up where one text is damaged"),
    (
        "bad-fuzz-data6-00.plain",
        "an entry of impossible length, an unknown event for the reference",
    ),
    ("bad-fuzz-fmt6-09.N", "the reference has no task names after a damaged format"),
    ("bad-fuzz-fmt6-09.plain", "the reference has no task names after a damaged format"),
    ("bad-fuzz-fmt6-17.N", "the reference has no pids where one event's format is damaged"),
    ("bad-fuzz-fmt6-17.plain", "the reference has no pids where one event's format is damaged"),
    ("bad-v6-ev-zlen.plain", "an entry of impossible length, an unknown event for the reference"),
    ("bad-v6-fly-eof.plain", "the reference reads nothing where one CPU's data is missing"),
    ("bad-v6-fly-odd.plain", "the reference reads nothing where one CPU's data is not aligned"),
    ("bad-v6-trunc-page.plain", "the reference reads nothing where the file's end is missing"),
    ("be32-sched.rawts", "the reference reads memory that it did not set, of a clock without text"),
    ("filter2.filt.34", "3.4 shows stack traces of events that are not shown"),
];

fn main() {
    let arguments = Arguments::from_args();
    let corpus = corpus();
    let trials = match std::fs::read_to_string(corpus.join("cases.tsv")) {
        Ok(cases) => cases.lines().filter_map(|line| trial(&corpus, line)).collect(),
        Err(_) => vec![Trial::ignorable_test("corpus", || {
            Ok(Completion::ignored_with("no corpus beside the workspace, none in TRACE_CORPUS"))
        })],
    };
    libtest_mimic::run(&arguments, trials).exit();
}

fn corpus() -> PathBuf {
    match std::env::var_os("TRACE_CORPUS") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
    }
}

/// A line of `cases.tsv`: name, kind, exit status, lines, arguments.
fn trial(corpus: &Path, line: &str) -> Option<Trial> {
    let mut columns = line.split('\t');
    let (name, kind) = (columns.next()?.to_owned(), columns.next()?.to_owned());
    let arguments = words(columns.nth(2)?);
    let expected = corpus.join("expected").join(format!("{name}.out.gz"));
    // Others have no text to compare with, or only its hash.
    if !kind.starts_with("exact") || !expected.exists() {
        return None;
    }
    let corpus = corpus.to_owned();
    let title = name.clone();
    Some(Trial::test(title, move || compare(&corpus, &name, &kind, &arguments, &expected)))
}

/// Words between blanks, or between single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn compare(
    corpus: &Path,
    name: &str,
    kind: &str,
    arguments: &[String],
    expected: &Path,
) -> Result<(), Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trace-cmd"));
    command.arg("report").args(arguments).current_dir(corpus).stderr(Stdio::null());
    match kind {
        "exact" => command.env("TRACE_CMD_COMPAT", "3.1.6"),
        _ => command.env_remove("TRACE_CMD_COMPAT"),
    };
    let text = command.output()?.stdout;
    let wanted = Command::new("gzip").arg("-dc").arg(expected).output()?.stdout;
    let known = DIFFERENT.iter().find(|(case, _)| *case == name);
    match (text == wanted, known) {
        (true, None) | (false, Some(_)) => Ok(()),
        (true, Some((_, why))) => Err(format!("no longer differs: {why}").into()),
        (false, None) => Err(first_difference(&text, &wanted).into()),
    }
}

fn first_difference(text: &[u8], wanted: &[u8]) -> String {
    let mut lines = text.split(|&b| b == b'\n').zip(wanted.split(|&b| b == b'\n')).enumerate();
    match lines.find(|(_, (line, wanted))| line != wanted) {
        Some((number, (line, wanted))) => format!(
            "line {}:\n  printed  {}\n  expected {}",
            number + 1,
            String::from_utf8_lossy(line),
            String::from_utf8_lossy(wanted)
        ),
        None => format!("{} bytes printed, {} expected", text.len(), wanted.len()),
    }
}
