//! The words after `--` of benchmarks that have a `main` of their own.

use std::path::PathBuf;

/// Options of criterion, for the other benchmarks of a `cargo bench` of the whole package.
pub const OF_CRITERION: &[&str] =
    &["--save-baseline", "--baseline", "--baseline-lenient", "--load-baseline"];

/// How much to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Runs of each program, of which the least counts.
    pub rounds: usize,
    /// Most events of a file.
    pub events: u32,
    /// This binary instead of a release build of the workspace.
    pub ours: Option<PathBuf>,
    /// Everything once, in small.
    pub test: bool,
}

impl Options {
    /// Reads the words; none when they are for other benchmarks.
    ///
    /// # Errors
    ///
    /// A word is unknown or its value is not a number.
    pub fn parse(events: u32, words: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self { rounds: 5, events, ours: None, test: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                // Cargo says so by itself.
                "--bench" => {}
                "--test" => options = Self { rounds: 1, test: true, ..options },
                "--rounds" => options.rounds = number(value()?)? as usize,
                "--events" => options.events = number(value()?)?,
                "--ours" => options.ours = Some(value()?.into()),
                other if OF_CRITERION.contains(&other) => return Ok(None),
                other => {
                    let usage = "--rounds N, --events N, --ours PATH, --test";
                    return Err(format!("unknown word '{other}'; there are {usage}"));
                }
            }
        }
        Ok(Some(options))
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("not a number from 1 up: '{text}'")),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Options>, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Options::parse(1000, &words)
    }

    #[test]
    fn a_word_may_be_a_number_unknown_or_for_others() {
        let options = parse("--bench --rounds 3 --events 7").unwrap().unwrap();
        assert_eq!((options.rounds, options.events, options.test), (3, 7, false));
        assert!(parse("--baseline old").unwrap().is_none());
        assert!(parse("--rounds 0").is_err());
        assert!(parse("--round 1").unwrap_err().contains("--round"));
    }
}
