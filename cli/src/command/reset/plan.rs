//! The words of `reset`, in the order they were typed: -b and -d belong to the -B, -a or -t before them.

use clap::ArgMatches;
use tracefs::TracingDir;
use tracefs::dynamic_event::DynamicKind;

use crate::command::record::kernel_error;
use crate::command::tracing;
use crate::error::Error;

/// What is reset, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    Top,
    Named(String),
    All,
}

/// One option with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Which(Which),
    BufferKb(u64),
    Delete,
}

/// What is to be done with an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `None` for the top-level one.
    pub(super) name: Option<String>,
    pub(super) buffer_kb: Option<u64>,
    pub(super) delete: bool,
}

/// What is to be done with all of them, the top-level one last: what others use cannot be removed.
pub(super) fn targets(matches: &ArgMatches, dir: &TracingDir) -> Result<Vec<Target>, Error> {
    let existing = dir.instances().map_err(kernel_error)?;
    let targets = resolve(words(matches), &existing)?;
    for name in targets.iter().filter_map(|target| target.name.as_deref()) {
        tracing::instance(dir, name)?;
    }
    Ok(targets)
}

/// Kinds of dynamic events that stay.
pub(super) fn kept(matches: &ArgMatches) -> Result<Vec<DynamicKind>, Error> {
    let mut kept = Vec::new();
    for word in matches.get_many::<String>("keep").into_iter().flatten() {
        match word.as_str() {
            "all" => kept.extend(DynamicKind::ALL),
            word => kept.push(word.parse().map_err(kernel_error)?),
        }
    }
    Ok(kept)
}

fn words(matches: &ArgMatches) -> Vec<Word> {
    let places = |name| matches.indices_of(name).into_iter().flatten();
    let mut placed: Vec<(usize, Word)> = Vec::new();
    let names = matches.get_many::<String>("instance").into_iter().flatten();
    let named = names.map(|name| Word::Which(Which::Named(name.clone())));
    placed.extend(places("instance").zip(named));
    placed.extend(places("all").map(|at| (at, Word::Which(Which::All))));
    placed.extend(places("top").map(|at| (at, Word::Which(Which::Top))));
    let sizes = matches.get_many::<u64>("buffer-kb").into_iter().flatten();
    placed.extend(places("buffer-kb").zip(sizes.map(|size| Word::BufferKb(*size))));
    placed.extend(places("delete").map(|at| (at, Word::Delete)));
    placed.sort_by_key(|(at, _)| *at);
    placed.into_iter().map(|(_, word)| word).collect()
}

fn resolve(words: Vec<Word>, existing: &[String]) -> Result<Vec<Target>, Error> {
    let mut targets: Vec<Target> = Vec::new();
    let names_none = !words.iter().any(|word| matches!(word, Word::Which(_)));
    let with_top = names_none || words.contains(&Word::Which(Which::Top));
    if with_top {
        add(&mut targets, None);
    }
    // What -b and -d are about.
    let mut current = vec![None];
    for word in words {
        let is_top = current.contains(&None);
        match word {
            Word::Which(which) => {
                current = match which {
                    Which::Top => vec![None],
                    Which::Named(name) => vec![Some(name)],
                    Which::All => existing.iter().cloned().map(Some).collect(),
                };
                current.iter().for_each(|name| add(&mut targets, name.clone()));
            }
            Word::Delete if is_top => {
                return Err(Error::usage("the top-level buffer cannot be deleted")
                    .hint("-d belongs to the -B or -a before it"));
            }
            Word::BufferKb(_) if is_top && !with_top => {
                return Err(Error::usage("-b stands before the buffers that are reset")
                    .hint("it belongs to the -B, -a or -t before it"));
            }
            Word::Delete => about(&mut targets, &current, |target| target.delete = true),
            Word::BufferKb(size) => {
                about(&mut targets, &current, |target| target.buffer_kb = Some(size));
            }
        }
    }
    targets.sort_by_key(|target| target.name.is_none());
    Ok(targets)
}

fn add(targets: &mut Vec<Target>, name: Option<String>) {
    if targets.iter().all(|target| target.name != name) {
        targets.push(Target { name, buffer_kb: None, delete: false });
    }
}

fn about(targets: &mut [Target], names: &[Option<String>], change: impl Fn(&mut Target)) {
    targets.iter_mut().filter(|target| names.contains(&target.name)).for_each(change);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(words: &str) -> Result<Vec<String>, Error> {
        let words = std::iter::once("reset").chain(words.split_whitespace());
        let matches = super::super::command().try_get_matches_from(words).unwrap();
        let existing = ["a", "b"].map(str::to_owned);
        let text = |target: Target| {
            let name = target.name.unwrap_or_else(|| "top".to_owned());
            let size = target.buffer_kb.map(|size| format!("={size}")).unwrap_or_default();
            format!("{name}{size}{}", if target.delete { "!" } else { "" })
        };
        Ok(resolve(super::words(&matches), &existing)?.into_iter().map(text).collect())
    }

    #[test]
    fn options_belong_to_what_stands_before_them() {
        for (words, expected) in [
            ("", vec!["top"]),
            ("-b 50", vec!["top=50"]),
            ("-b 5 -t", vec!["top=5"]),
            ("-B a", vec!["a"]),
            ("-B a -b 100 -d", vec!["a=100!"]),
            ("-B a -b 99 -B b -b 88 -d", vec!["a=99", "b=88!"]),
            ("-a -d", vec!["a!", "b!"]),
            ("-a -b 5 -t", vec!["a=5", "b=5", "top"]),
            ("-t -a -B a -b 7", vec!["a=7", "b", "top"]),
            ("-t -b 3 -B b -d", vec!["b!", "top=3"]),
        ] {
            assert_eq!(targets(words).unwrap(), expected, "{words}");
        }
    }

    #[test]
    fn what_belongs_to_nothing_is_refused() {
        for words in ["-d", "-t -d", "-B a -t -d", "-d -B a", "-b 50 -B a"] {
            let error = targets(words).unwrap_err().to_string();
            assert!(error.contains("before it"), "{words}: {error}");
        }
    }
}
