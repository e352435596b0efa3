//! Words and signs of a query, with their places.

use super::error::SqlError;

/// A word or sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a name.
    Word(&'a str),
    /// A name that is no keyword, whatever it looks like: `\from`.
    Name(&'a str),
    /// Digits, as they are written.
    Number(&'a str),
    /// What stands between quotes.
    Text(&'a str),
    /// Anything else: `,`, `(`, `<=`.
    Sign(&'a str),
    /// Behind the last one.
    End,
}

/// A token and the byte it begins at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed<'a> {
    pub(super) token: Token<'a>,
    pub(super) position: usize,
}

const SIGNS: [&str; 22] = [
    "&&", "||", "==", "!=", "<>", "<=", ">=", "=", "<", ">", "!", "~", "&", "|", ",", ".", ":",
    "(", ")", "+", "-", "*",
];

/// Splits a query; the last token is the end.
pub(super) fn tokens(query: &str) -> Result<Vec<Placed<'_>>, SqlError> {
    let mut found = Vec::new();
    let mut position = 0;
    loop {
        let rest = query.get(position..).unwrap_or_default();
        let trimmed = rest.trim_start();
        position += rest.len() - trimmed.len();
        let Some(first) = trimmed.chars().next() else {
            found.push(Placed { token: Token::End, position });
            return Ok(found);
        };
        let (token, len) = match first {
            '\\' => {
                let name = word(trimmed.get(1..).unwrap_or_default());
                if name.is_empty() {
                    return Err(SqlError::new(query, position, "expected a name behind '\\'"));
                }
                (Token::Name(name), 1 + name.len())
            }
            '\'' | '"' => {
                let inner = trimmed.get(1..).unwrap_or_default();
                let Some((text, _)) = inner.split_once(first) else {
                    return Err(SqlError::new(query, position, "text without a closing quote"));
                };
                (Token::Text(text), text.len() + 2)
            }
            '0'..='9' => {
                let number = word(trimmed);
                (Token::Number(number), number.len())
            }
            _ if first == '_' || first.is_ascii_alphabetic() => {
                let name = word(trimmed);
                (Token::Word(name), name.len())
            }
            _ => {
                let Some(sign) = SIGNS.iter().find(|sign| trimmed.starts_with(**sign)) else {
                    let message = format!("'{first}' has no meaning here");
                    return Err(SqlError::new(query, position, message));
                };
                (Token::Sign(sign), sign.len())
            }
        };
        found.push(Placed { token, position });
        position += len;
    }
}

/// Letters, digits and underscores at the beginning.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_signs_and_their_places() {
        let found = tokens("a.\\from <= 0x1f, 'it''").unwrap_err();
        assert_eq!((found.position, found.message.as_str()), (21, "text without a closing quote"));
        let found = tokens(" a.\\from <=0x1f 'x y'").unwrap();
        let plain: Vec<_> = found.iter().map(|placed| placed.token.clone()).collect();
        assert_eq!(
            plain,
            [
                Token::Word("a"),
                Token::Sign("."),
                Token::Name("from"),
                Token::Sign("<="),
                Token::Number("0x1f"),
                Token::Text("x y"),
                Token::End
            ]
        );
        assert_eq!(found[3].position, 9);
        assert!(tokens("a ; b").is_err());
        assert!(tokens("\\").is_err());
    }
}
