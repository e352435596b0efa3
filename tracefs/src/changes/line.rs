//! One change as a line of text, for people and for strict reading.
//!
//! ```text
//! write "tracing_on" "1"
//! lines "set_ftrace_filter" "schedule" "do_exit"
//! append "dynamic_events" "-:kprobes/open"
//! triggers "events/sched/sched_switch/trigger" "traceoff:unlimited"
//! events "" "sched:sched_switch" touched "sched:*" "irq:irq_handler_entry"
//! filters "" "sched:*" were "sched:sched_waking" "prio < 3"
//! instance "example" 4711
//! ```
//!
//! Paths are below the tracing directory; events and filters name their instance, the top one by
//! nothing. An instance has its inode once it was made.

use std::fmt::Write;
use std::path::{Component, Path};

use super::undo::Undo;
use crate::control_file::ControlFile;
use crate::event::{EventName, EventSelection};
use crate::instance::Instance;
use crate::tracing_dir::TracingDir;

impl Undo {
    /// This change as a line without its end; `None` for a file that is not below `dir`.
    pub(super) fn to_line(&self, dir: &TracingDir) -> Option<String> {
        let mut line = Line::default();
        match self {
            Self::RemoveInstance { dir: of, name, inode } => {
                if of != dir {
                    return None;
                }
                line.word("instance").quoted(name);
                if let Some(inode) = inode {
                    line.word(&inode.to_string());
                }
            }
            Self::Write { file, old } => {
                line.word("write").quoted(below(dir, file)?).quoted(old);
            }
            Self::Lines { file, old } => {
                line.word("lines").quoted(below(dir, file)?).all(old);
            }
            Self::Append { file, line: command } => {
                line.word("append").quoted(below(dir, file)?).quoted(command);
            }
            Self::Triggers { file, old } => {
                line.word("triggers").quoted(below(dir, file)?).all(old);
            }
            Self::Events { instance, before, touched } => {
                line.word("events").quoted(name_below(dir, instance)?);
                for name in before {
                    line.quoted(&name.to_string());
                }
                line.word("touched").all(&touched.words());
            }
            Self::Filters { instance, touched, old } => {
                line.word("filters").quoted(name_below(dir, instance)?).all(&touched.words());
                line.word("were");
                for (name, text) in old {
                    line.quoted(&name.to_string()).quoted(text);
                }
            }
        }
        Some(line.0)
    }

    /// Reads a line; the error says what is wrong with it.
    pub(super) fn from_line(line: &str, dir: &TracingDir) -> Result<Self, &'static str> {
        let words = split(line).ok_or("quotes or escapes that do not match")?;
        let mut words = words.iter();
        let Some(Word::Plain(kind)) = words.next() else { return Err("no kind of change") };
        let Some(Word::Quoted(first)) = words.next() else { return Err("no path or name") };
        let rest = words.as_slice();
        match (kind.as_str(), rest) {
            ("instance", []) => {
                let name = Instance::named(dir, first).map(|_| first.clone());
                let name = name.map_err(|_| "not a name of an instance")?;
                Ok(Self::RemoveInstance { dir: dir.clone(), name, inode: None })
            }
            ("instance", [Word::Plain(inode)]) => {
                let name = Instance::named(dir, first).map(|_| first.clone());
                let name = name.map_err(|_| "not a name of an instance")?;
                let inode = Some(inode.parse().map_err(|_| "not the number of an inode")?);
                Ok(Self::RemoveInstance { dir: dir.clone(), name, inode })
            }
            ("write", [Word::Quoted(old)]) => {
                Ok(Self::Write { file: file(dir, first)?, old: old.clone() })
            }
            ("lines", old) => Ok(Self::Lines { file: file(dir, first)?, old: quoted(old)? }),
            ("append", [Word::Quoted(line)]) => {
                Ok(Self::Append { file: file(dir, first)?, line: line.clone() })
            }
            ("triggers", old) => Ok(Self::Triggers { file: file(dir, first)?, old: quoted(old)? }),
            ("events", rest) => {
                let (before, touched) = parted(rest, "touched")?;
                let before = before.iter().map(|word| event(word)).collect::<Result<_, _>>()?;
                let touched = selection(&touched)?;
                Ok(Self::Events { instance: instance(dir, first)?, before, touched })
            }
            ("filters", rest) => {
                let (touched, were) = parted(rest, "were")?;
                let mut old = Vec::new();
                let (pairs, odd) = were.as_chunks();
                if !odd.is_empty() {
                    return Err("an event without its filter");
                }
                for [name, text] in pairs {
                    old.push((event(name)?, text.clone()));
                }
                let touched = selection(&touched)?;
                Ok(Self::Filters { instance: instance(dir, first)?, touched, old })
            }
            _ => Err("no change of a known kind"),
        }
    }
}

/// A line in the making.
#[derive(Default)]
struct Line(String);

impl Line {
    fn word(&mut self, word: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(word);
        self
    }

    fn quoted(&mut self, text: &str) -> &mut Self {
        let quoted = quote(text);
        self.word(&quoted)
    }

    fn all(&mut self, texts: &[String]) -> &mut Self {
        for text in texts {
            self.quoted(text);
        }
        self
    }
}

/// Puts text into quotes, on one line.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            other if other.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(other));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[derive(Debug, PartialEq)]
pub(super) enum Word {
    Plain(String),
    Quoted(String),
}

/// Splits a line into words, one space apart; `None` for anything that [`quote`] does not make.
pub(super) fn split(line: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        if let Some(text) = rest.strip_prefix('"') {
            let (word, tail) = unquote(text)?;
            words.push(Word::Quoted(word));
            rest = tail;
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if word.is_empty() || !word.bytes().all(plain) {
                return None;
            }
            words.push(Word::Plain(word.to_owned()));
            rest = tail;
        }
        if rest.is_empty() {
            return Some(words);
        }
        rest = rest.strip_prefix(' ')?;
    }
}

/// The text up to the closing quote, and what is behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((out, text.get(index + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'u' => {
                    let (hex, _) = text.get(index + 2..)?.strip_prefix('{')?.split_once('}')?;
                    out.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
                    characters.nth(hex.chars().count() + 1)?;
                }
                plain @ ('"' | '\\') => out.push(plain),
                _ => return None,
            },
            other => out.push(other),
        }
    }
    None
}

fn below<'a>(dir: &TracingDir, file: &'a ControlFile) -> Option<&'a str> {
    file.path().strip_prefix(dir.path()).ok()?.to_str()
}

fn name_below<'a>(dir: &TracingDir, instance: &'a Instance) -> Option<&'a str> {
    (instance.tracing_dir() == dir).then(|| instance.name().unwrap_or_default())
}

/// A file below the tracing directory, and not by way of a link that leads out of it.
fn file(dir: &TracingDir, path: &str) -> Result<ControlFile, &'static str> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if path.is_empty() || path.contains('\0') || !Path::new(path).components().all(plain) {
        return Err("not a path below the tracing directory");
    }
    let file = dir.file(path);
    if let (Ok(real), Ok(root)) = (file.path().canonicalize(), dir.path().canonicalize())
        && !real.starts_with(root)
    {
        return Err("a link out of the tracing directory");
    }
    Ok(file)
}

fn instance(dir: &TracingDir, name: &str) -> Result<Instance, &'static str> {
    if name.is_empty() {
        return Ok(dir.top());
    }
    Instance::named(dir, name).map_err(|_| "not a name of an instance")
}

fn quoted(words: &[Word]) -> Result<Vec<String>, &'static str> {
    let text = |word: &Word| match word {
        Word::Quoted(text) => Ok(text.clone()),
        Word::Plain(_) => Err("a word without quotes"),
    };
    words.iter().map(text).collect()
}

/// Quoted words before and after a plain one.
fn parted(words: &[Word], at: &str) -> Result<(Vec<String>, Vec<String>), &'static str> {
    let is_part = |word: &Word| matches!(word, Word::Plain(text) if text == at);
    let index = words.iter().position(is_part).ok_or("an end too early")?;
    let (before, after) = words.split_at(index);
    Ok((quoted(before)?, quoted(after.get(1..).unwrap_or_default())?))
}

fn event(word: &str) -> Result<EventName, &'static str> {
    let (system, event) = word.split_once(':').ok_or("not the name of an event")?;
    let plain =
        |part: &str| !matches!(part, "" | "." | ".." | "*") && !part.contains(['/', '\0', ':']);
    if plain(system) && plain(event) {
        Ok(EventName::new(system, event))
    } else {
        Err("not the name of an event")
    }
}

fn selection(words: &[String]) -> Result<EventSelection, &'static str> {
    let mut selection = EventSelection::default();
    for word in words {
        match word.strip_suffix(":*") {
            _ if word == "all" => selection.insert_everything(),
            Some(system) => {
                event(&format!("{system}:x"))?;
                selection.insert_system(system);
            }
            None => selection.insert(event(word)?, false),
        }
    }
    Ok(selection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dir() -> TracingDir {
        TracingDir::at("/t")
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        for line in [
            r#"write "tracing_on" "1""#,
            r#"lines "set_ftrace_filter""#,
            r#"lines "set_ftrace_filter" "schedule" "do_exit""#,
            r#"append "dynamic_events" "-:kprobes/open""#,
            r#"triggers "events/sched/sched_switch/trigger" "traceoff:unlimited if c == \"x\"""#,
            r#"events "" "sched:sched_switch" touched "all" "irq:*" "sched:sched_waking""#,
            r#"events "mine" touched"#,
            r#"filters "" "sched:*" were "sched:sched_waking" "prio < 3""#,
            r#"instance "example" 4711"#,
            r#"instance "example""#,
        ] {
            let undo = Undo::from_line(line, &dir()).unwrap_or_else(|why| panic!("{line}: {why}"));
            assert_eq!(undo.to_line(&dir()).as_deref(), Some(line));
        }
    }

    #[test]
    fn lines_that_reach_elsewhere_are_refused() {
        for line in [
            r#"write "../etc/passwd" "1""#,
            r#"write "/etc/passwd" "1""#,
            r#"write "a/./../b" "1""#,
            r#"write "" "1""#,
            r#"write "a\u{0}b" "1""#,
            r#"instance "..""#,
            r#"instance "a/b""#,
            r#"instance "a" x"#,
            r#"events "../x" touched"#,
            r#"events "" "sched" touched"#,
            r#"events "" "..:x" touched"#,
            r#"events "" touched "../..:*""#,
            r#"filters "" "sched:*" were "sched:sched_waking""#,
            r#"write "tracing_on""#,
            r#"write "tracing_on" "1" "2""#,
            r#"write  "tracing_on" "1""#,
            r#"write "tracing_on" "1"#,
            r#"write "tracing_on" "\x""#,
            r#"write tracing_on 1"#,
            r#"remove "tracing_on""#,
            "",
        ] {
            assert!(Undo::from_line(line, &dir()).is_err(), "{line}");
        }
    }

    #[test]
    fn a_link_is_not_followed_out() {
        let temp = tempfile::TempDir::new().unwrap();
        std::os::unix::fs::symlink("/etc", temp.path().join("out")).unwrap();
        let dir = TracingDir::at(temp.path());
        let refused = Undo::from_line(r#"write "out/hostname" "x""#, &dir);
        assert_eq!(refused, Err("a link out of the tracing directory"));
    }

    #[test]
    fn files_outside_have_no_line() {
        let undo = Undo::Write { file: ControlFile::at("/proc/x"), old: String::new() };
        assert_eq!(undo.to_line(&dir()), None);
    }

    proptest! {
        #[test]
        fn any_text_survives_its_quotes(texts in prop::collection::vec(any::<String>(), 1..4)) {
            let mut line = Line::default();
            line.all(&texts);
            prop_assert!(!line.0.contains('\n'));
            let words: Vec<Word> = texts.into_iter().map(Word::Quoted).collect();
            prop_assert_eq!(split(&line.0), Some(words));
        }

        #[test]
        fn any_line_is_read_or_refused(line in "[ -~]{0,60}") {
            if let Ok(undo) = Undo::from_line(&line, &dir()) {
                prop_assert!(undo.to_line(&dir()).is_some());
            }
        }
    }
}
