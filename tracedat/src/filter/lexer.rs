//! Words of a condition.

use super::error::FilterErrorKind as Kind;

/// A word of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// The name of a field, or `COMM`, `CPU`, `TRUE`, `FALSE`.
    Name(String),
    Number(u64),
    /// Text in quotes, and whether these were single ones.
    Text {
        text: String,
        single: bool,
    },
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Longest first.
const SIGNS: [&str; 22] = [
    "&&", "||", "==", "!=", "<=", ">=", "=~", "!~", ">>", "<<", "(", ")", "<", ">", "!", "+", "-",
    "*", "/", "%", "&", "|",
];
const MORE_SIGNS: [&str; 2] = ["^", "~"];

/// The word at `at`, where it starts and where it ends.
pub(super) fn next(text: &str, at: usize) -> Result<(Token, usize, usize), (Kind, usize)> {
    let rest = text.get(at..).unwrap_or_default();
    let start = at + rest.len() - rest.trim_start().len();
    let rest = rest.trim_start();
    let Some(first) = rest.chars().next() else { return Ok((Token::End, start, start)) };
    let word = |more: fn(char) -> bool| {
        let len = rest.find(|c: char| !more(c)).unwrap_or(rest.len());
        (&rest[..len], start + len)
    };
    if first.is_ascii_digit() {
        let (digits, end) = word(|c| c.is_ascii_alphanumeric() || c == '_');
        let value = number(digits).ok_or_else(|| (Kind::Number(digits.to_owned()), start))?;
        return Ok((Token::Number(value), start, end));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let (name, end) = word(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        return Ok((Token::Name(name.to_owned()), start, end));
    }
    if first == '"' || first == '\'' {
        let (value, len) = quoted(&rest[1..], first).ok_or((Kind::OpenString, start))?;
        let token = Token::Text { text: value, single: first == '\'' };
        return Ok((token, start, start + 1 + len));
    }
    let sign = SIGNS.iter().chain(&MORE_SIGNS).find(|sign| rest.starts_with(**sign));
    match sign {
        Some(sign) => Ok((Token::Sign(sign), start, start + sign.len())),
        None => Err((Kind::Character(first), start)),
    }
}

/// Decimal, `0x` or `0` octal.
fn number(digits: &str) -> Option<u64> {
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16).ok()
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8).ok()
    } else {
        digits.parse().ok()
    }
}

/// Text up to the quote, and how many bytes that took. A backslash keeps its meaning for regular
/// expressions; only before the quote it disappears.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((text, at + 1));
        }
        if c == '\\' {
            let (_, next) = chars.next()?;
            if next != quote {
                text.push('\\');
            }
            text.push(next);
        } else {
            text.push(c);
        }
    }
    None
}

/// The code of a character constant: one character, or one after a backslash.
pub(super) fn character(text: &str) -> Option<u64> {
    let mut chars = text.chars();
    let code = match (chars.next()?, chars.next()) {
        (c, None) => c,
        ('\\', Some(escaped)) => match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '0' => '\0',
            other => other,
        },
        _ => return None,
    };
    chars.next().is_none().then_some(u64::from(u32::from(code)))
}
