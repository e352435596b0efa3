//! POSIX basic regular expressions, in which `(`, `|`, `{` and `+` are plain unless a backslash stands before them.

use regex_lite::{Regex, RegexBuilder};

use crate::error::Error;

/// Compiles one that is matched in any case.
pub(super) fn compile(text: &str) -> Result<Regex, Error> {
    RegexBuilder::new(&extended(text)).case_insensitive(true).build().map_err(|error| {
        Error::usage(format!("'{text}' is not a regular expression"))
            .because(error)
            .hint("a backslash makes a character plain, as in '\\['")
    })
}

/// The same expression in the syntax in which a backslash makes these characters plain.
fn extended(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text.chars().peekable();
    // Where a star has nothing to repeat, and a circumflex stands for the start.
    let mut at_start = true;
    while let Some(c) = rest.next() {
        let mut opens = false;
        match c {
            '\\' => match rest.next() {
                Some(c @ ('(' | '|')) => {
                    out.push(c);
                    opens = true;
                }
                Some(c @ (')' | '{' | '}' | '+' | '?')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push_str("\\\\"),
            },
            '*' | '^' if at_start => {
                out.push_str(if c == '*' { "\\*" } else { "^" });
                opens = c == '^';
            }
            '$' if ends(rest.clone()) => out.push('$'),
            '[' => {
                out.push('[');
                bracket(&mut rest, &mut out);
            }
            '(' | ')' | '{' | '}' | '|' | '+' | '?' | '^' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
        at_start = opens;
    }
    out
}

/// Whether the expression, or a group of it, ends here.
fn ends(mut rest: impl Iterator<Item = char>) -> bool {
    match rest.next() {
        None => true,
        Some('\\') => matches!(rest.next(), Some(')' | '|')),
        Some(_) => false,
    }
}

/// The rest of a bracket expression, in which only `]`, `^` and `-` mean something.
fn bracket(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    out.extend(rest.next_if_eq(&'^'));
    if rest.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    while let Some(c) = rest.next() {
        match c {
            ']' => return out.push(']'),
            '[' if rest.peek() == Some(&':') => {
                // A class such as [:digit:]; it ends with the bracket of its own.
                out.push('[');
                for c in rest.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | '\\' | '&' | '~' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_syntax_becomes_extended_syntax() {
        for (basic, expected) in [
            ("sched_s\\(witch\\|wap\\)", "sched_s(witch|wap)"),
            ("a(b)+c?{2}|d", "a\\(b\\)\\+c\\?\\{2\\}\\|d"),
            ("^*a*", "^\\*a*"),
            ("\\(*a\\|^b$\\)$", "(\\*a|^b$)$"),
            ("a^b$c", "a\\^b\\$c"),
            ("x\\{2,3\\}\\+\\?", "x{2,3}+?"),
            ("[]a[:digit:]\\^-]", "[\\]a[:digit:]\\\\^-]"),
            ("[^]x]", "[^\\]x]"),
            ("a\\.b\\", "a\\.b\\\\"),
        ] {
            assert_eq!(extended(basic), expected, "{basic}");
        }
    }

    #[test]
    fn case_does_not_matter_and_what_is_no_expression_is_said() {
        assert!(compile("^SCHED_s[vw]i").unwrap().is_match("sched_switch"));
        assert!(compile("s[[:digit:]]").unwrap().is_match("S1"));
        assert!(compile("a[\\]").unwrap().is_match("a\\"));
        let error = compile("[").unwrap_err().to_string();
        assert!(error.contains("'['") && error.contains("regular expression"), "{error}");
    }
}
