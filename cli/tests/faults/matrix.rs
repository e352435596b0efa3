//! The matrix itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use crate::common::check;

const MATRIX: &str = include_str!("matrix.tsv");

/// Each cell has six words, is there once, and names a test that there is.
pub(crate) fn is_true() -> Result<(), Failed> {
    let mut cells = BTreeSet::new();
    for line in MATRIX.lines().filter(|line| !line.starts_with('#')) {
        let [what, when, way, package, target, test] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            return Err(format!("not six words: {line}").into());
        };
        check(cells.insert((what, when, way)), || format!("{what}, {when}, {way}: twice"))?;
        let sources = sources(package, target)?;
        let [case, function] = [format!("\"{test}\""), format!("fn {test}(")];
        let is_there = sources.iter().any(|text| text.contains(&case) || text.contains(&function));
        check(is_there, || format!("{package} has no test '{test}' among '{target}'"))?;
    }
    check(cells.len() > 40, || format!("{} cells", cells.len()))
}

/// The texts of one program of tests.
fn sources(package: &str, target: &str) -> Result<Vec<String>, Failed> {
    let folder = match package {
        "trace-cmd" => "cli",
        "trace-virt" => "virt",
        other => other,
    };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("tests");
    let mut files: Vec<PathBuf> = vec![tests.join(format!("{target}.rs"))];
    files.push(tests.join(target).join("main.rs"));
    let found: Vec<String> =
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    check(!found.is_empty(), || format!("{package} has no tests '{target}'"))?;
    Ok(found)
}
