//! `report` on damaged copies of the corpus's small files, next to the reference's text: what that
//! release makes of damage follows rules, and these are ours when its text is asked for.
//!
//! Copies that the reference crashes on, does not end with, or prints differently each time, do not
//! count, but ours lives with them too. `DIFFERENTIAL_COPIES` says how many are tried, and
//! `DIFFERENTIAL_SEED` with which number they begin: what is told about a copy has its number.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

const OURS: &str = env!("CARGO_BIN_EXE_trace-cmd");
const REFERENCE: &str = "/usr/bin/trace-cmd";

/// How a Rust program ends that found a mistake of its own.
const PANIC: i32 = 101;
/// How `timeout` ends when the program did not.
const TIMED_OUT: i32 = 124;

/// Larger files are left out; zlib is not in the reference at hand.
const LARGEST_FILE: u64 = 300 << 10;

/// Of a hundred copies so many come out the same, at least.
const SAME: usize = 95;

fn main() {
    let corpus = match std::env::var_os("TRACE_CORPUS") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
    };
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("DIFFERENTIAL_SEED").unwrap_or(0);
    let copies = number("DIFFERENTIAL_COPIES").unwrap_or(200);
    let trial = Trial::ignorable_test("damaged_copies_read_as_by_the_reference", move || {
        let files = small_files(&corpus.join("data"));
        if files.is_empty() {
            let why = "no corpus beside the workspace, none in TRACE_CORPUS";
            return Ok(Completion::ignored_with(why));
        }
        if !is_reference() {
            return Ok(Completion::ignored_with(format!("needs trace-cmd 3.1.6 at {REFERENCE}")));
        }
        sweep(&files, first..first.saturating_add(copies)).map(|()| Completion::Completed)
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit();
}

fn small_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let wanted = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".dat") && !name.starts_with("zlib") && !name.starts_with("bad-")
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.metadata().is_ok_and(|file| file.len() < LARGEST_FILE))
        .map(|entry| entry.path())
        .filter(|path| wanted(path))
        .collect();
    files.sort();
    files
}

fn is_reference() -> bool {
    let version = Command::new(REFERENCE).arg("--version").output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("3.1.6"))
}

fn sweep(files: &[PathBuf], seeds: Range<u64>) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let copy = dir.path().join("damaged.dat");
    let (mut same, mut different, mut dead) = (0, Vec::new(), Vec::new());
    for seed in seeds {
        let mut random = Random(seed);
        let file = &files[random.below(files.len())];
        let mut bytes = fs::read(file)?;
        let what = damage(&mut bytes, &mut random);
        let what = format!("copy {seed}: {} {what}", file.display());
        fs::write(&copy, &bytes)?;
        let text = match report(OURS, &copy, "0")? {
            Outcome::Text(text) => text,
            Outcome::Died(how) => {
                dead.push(format!("{what}: {how}"));
                continue;
            }
        };
        let Outcome::Text(wanted) = report(REFERENCE, &copy, "0")? else { continue };
        if text == wanted {
            same += 1;
        } else if report(REFERENCE, &copy, "85")? == Outcome::Text(wanted) {
            different.push(what);
        }
    }
    // Shown with --nocapture.
    println!("{same} the same, {} different: {different:#?}", different.len());
    if !dead.is_empty() {
        return Err(format!("ours did not live with {dead:#?}").into());
    }
    if same * 100 < (same + different.len()) * SAME {
        return Err(format!("only {same} are the same; not these: {different:#?}").into());
    }
    Ok(())
}

/// Cuts a file, or flips some bits of it.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    if random.below(5) == 0 {
        let len = random.below(bytes.len());
        bytes.truncate(len);
        return format!("cut to {len}");
    }
    let mut flipped = Vec::new();
    for _ in 0..1 + random.below(3) {
        let (at, bit) = (random.below(bytes.len()), random.below(8));
        bytes[at] ^= 1 << bit;
        flipped.push(format!("{at}.{bit}"));
    }
    format!("flipped {}", flipped.join(", "))
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// By itself; what it printed.
    Text(Vec<u8>),
    /// By a signal or a panic, or not within a time that nothing so small takes.
    Died(String),
}

fn report(program: &str, file: &Path, perturb: &str) -> Result<Outcome, Failed> {
    // Only the reference does not end.
    let seconds = if program == REFERENCE { "10" } else { "100" };
    let output = Command::new("timeout")
        .args([seconds, program, "report", "-i"])
        .arg(file)
        .envs([("LC_ALL", "C"), ("TZ", "UTC"), ("TRACE_CMD_COMPAT", "3.1.6")])
        .env("HOME", file.parent().unwrap_or(file))
        .env("MALLOC_PERTURB_", perturb)
        .stderr(Stdio::null())
        .output()?;
    let ended = match output.status.code() {
        Some(PANIC | TIMED_OUT) | None => false,
        // A library's own -1, as the reference ends after an error.
        Some(234 | 255) => true,
        Some(code) => code < 128,
    };
    Ok(if ended { Outcome::Text(output.stdout) } else { Outcome::Died(output.status.to_string()) })
}

struct Random(u64);

impl Random {
    /// SplitMix64.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}
