//! `report` on a corpus of real traces with the reference's text, where there is one.
//!
//! The corpus is a folder with `cases.tsv`, `data/` and `expected/`; `TRACE_CORPUS` names it,
//! else it is looked for next to the workspace. Without it every case counts as ignored.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

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
    Some(Trial::test(name, move || compare(&corpus, &kind, &arguments, &expected)))
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

fn compare(corpus: &Path, kind: &str, arguments: &[String], expected: &Path) -> Result<(), Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trace-cmd"));
    command.arg("report").args(arguments).current_dir(corpus).stderr(Stdio::null());
    match kind {
        "exact" => command.env("TRACE_CMD_COMPAT", "3.1.6"),
        _ => command.env_remove("TRACE_CMD_COMPAT"),
    };
    let text = command.output()?.stdout;
    let wanted = Command::new("gzip").arg("-dc").arg(expected).output()?.stdout;
    if text == wanted {
        return Ok(());
    }
    Err(first_difference(&text, &wanted).into())
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
