//! POSIX basic regular expressions, with GNU's additions, in the syntax of `regex-lite`.

use regex_lite::{Regex, RegexBuilder};

/// A compiled expression: case is ignored.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression that may match anywhere.
    pub(super) fn new(basic: &str) -> Result<Self, String> {
        Self::build(&translate(basic)?)
    }

    /// Compiles an expression that has to match from end to end.
    pub(super) fn anchored(basic: &str) -> Result<Self, String> {
        Self::build(&format!("^(?:{})$", translate(basic)?))
    }

    fn build(regex: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(regex)
            .case_insensitive(true)
            .dot_matches_new_line(true)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { regex })
    }

    /// Whether the text matches.
    #[inline]
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        match std::str::from_utf8(text) {
            Ok(text) => self.regex.is_match(text),
            Err(_) => self.regex.is_match(&String::from_utf8_lossy(text)),
        }
    }
}

fn translate(basic: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = basic.chars().peekable();
    // At the start of an expression a star is a star, and only there a caret is an anchor.
    let mut start = true;
    while let Some(c) = chars.next() {
        let was_start = std::mem::replace(&mut start, false);
        match c {
            '\\' => match chars.next().ok_or("a backslash at the end")? {
                open @ ('(' | '|') => {
                    out.push(open);
                    start = true;
                }
                sign @ ('+' | '?') if was_start => literal(sign, &mut out),
                sign @ (')' | '{' | '}' | '+' | '?') => out.push(sign),
                class @ ('w' | 'W' | 's' | 'S' | 'b' | 'B') => out.extend(['\\', class]),
                '<' | '>' => out.push_str("\\b"),
                digit @ '1'..='9' => return Err(format!("\\{digit} is not supported")),
                other => literal(other, &mut out),
            },
            '*' if was_start => literal('*', &mut out),
            '^' if was_start => {
                out.push('^');
                start = true;
            }
            '$' if ends(chars.clone()) => out.push('$'),
            '*' | '.' => out.push(c),
            '[' => set(&mut chars, &mut out)?,
            other => literal(other, &mut out),
        }
    }
    Ok(out)
}

/// Whether an expression ends here, so that a dollar is an anchor.
fn ends(mut rest: impl Iterator<Item = char>) -> bool {
    match rest.next() {
        None => true,
        Some('\\') => matches!(rest.next(), Some(')' | '|')),
        Some(_) => false,
    }
}

fn literal(c: char, out: &mut String) {
    if c.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(c);
}

/// A set in brackets, the first of which is taken.
fn set(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
) -> Result<(), String> {
    const OPEN: &str = "'[' without ']'";
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let c = chars.next().ok_or(OPEN)?;
        match c {
            ']' if !first => break,
            '[' if matches!(chars.peek(), Some(':' | '=' | '.')) => {
                let kind = chars.next().ok_or(OPEN)?;
                let mut name = String::new();
                loop {
                    let c = chars.next().ok_or(OPEN)?;
                    if c == kind && chars.next_if_eq(&']').is_some() {
                        break;
                    }
                    name.push(c);
                }
                if kind == ':' {
                    out.push_str(&format!("[:{name}:]"));
                } else {
                    name.chars().for_each(|c| literal(c, out));
                }
            }
            // A range, unless it stands at an end.
            '-' if !first && chars.peek().is_some_and(|&next| next != ']') => out.push('-'),
            other => literal(other, out),
        }
        first = false;
    }
    out.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn basic_syntax_is_that_of_posix_and_gnu() {
        let cases: &[(&str, &str, bool)] = &[
            ("B.*", "rcub/1", true),
            ("a|b", "a", false),
            ("a|b", "a|b", true),
            ("a\\|b", "xbx", true),
            ("s+", "ss", false),
            ("s\\+", "ss", true),
            ("^a\\{2\\}$", "aa", true),
            ("^a\\{2\\}$", "aaa", false),
            ("a{2}", "a{2}", true),
            ("*s*", "*", true),
            ("*s*", "s", false),
            ("\\(*a\\)", "*a", true),
            ("a^b$c", "a^b$c", true),
            ("\\(^a\\|b$\\)", "xb", true),
            ("\\(^a\\|b$\\)", "bx", false),
            ("[]a]", "]", true),
            ("[^]a]", "]a", false),
            ("[a\\]", "\\", true),
            ("[[:digit:]_-]", "-", true),
            ("[a-c]", "b", true),
            ("[a&&b]", "&", true),
            ("[[.-.]x]", "-", true),
            ("a.b", "a\nb", true),
            ("(x)?", "(x)?", true),
            ("\\<cat\\>", "a cat", true),
            ("\\<cat\\>", "cats", false),
        ];
        for (pattern, text, expected) in cases {
            let found = Pattern::new(pattern).unwrap().is_match(text.as_bytes());
            assert_eq!(found, *expected, "{pattern} on {text:?}");
        }
        assert!(Pattern::new("x").unwrap().is_match(b"\xffX"));
        for bad in ["\\(", "[a", "a\\", "\\(a\\)\\1", "a\\{2", "[b-a]"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn anchored_matches_from_end_to_end() {
        let pattern = Pattern::anchored("sched_.*\\|irq").unwrap();
        assert!(pattern.is_match(b"SCHED_switch") && pattern.is_match(b"irq"));
        assert!(!pattern.is_match(b"my_sched_switch") && !pattern.is_match(b"irq_vectors"));
    }
}
