//! Words, strings and operators of a print fmt.

/// A piece of C.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or number.
    Word(String),
    /// Text between double quotes, escapes as written.
    Text(Vec<u8>),
    /// Text between single quotes, escapes as written.
    Char(Vec<u8>),
    /// An operator of one or two characters, `(`, `)`, `{`, `}`, `,` and `;` included.
    Op(&'static str),
    /// The end of the line or of the text.
    End,
}

const OPERATORS: [&str; 34] = [
    "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "++", "--", "(", ")", "[", "]", "{", "}",
    ",", ";", "?", ":", "+", "-", "*", "/", "%", "&", "|", "^", "!", "~", "<", ">", "=",
];

/// Reads tokens one after another, with one of look-ahead.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a [u8],
    token: Token,
    /// Reads all of C, where the reference gives up.
    complete: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self::start(text, false)
    }

    /// Reads C over several lines, with members of structures and tabs in texts.
    pub(super) fn complete(text: &'a [u8]) -> Self {
        Self::start(text, true)
    }

    fn start(text: &'a [u8], complete: bool) -> Self {
        let mut lexer = Self { rest: text, token: Token::End, complete };
        lexer.advance();
        lexer
    }

    /// The token that comes next.
    pub(super) fn peek(&self) -> &Token {
        &self.token
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Token {
        let next = std::mem::replace(&mut self.token, Token::End);
        self.advance();
        next
    }

    /// Whether the next token is that operator.
    pub(super) fn at(&self, operator: &str) -> bool {
        matches!(self.token, Token::Op(op) if op == operator)
    }

    /// Takes the next token if it is that operator.
    pub(super) fn take(&mut self, operator: &str) -> bool {
        let found = self.at(operator);
        if found {
            self.advance();
        }
        found
    }

    fn advance(&mut self) {
        self.token = self.read();
    }

    fn read(&mut self) -> Token {
        let complete = self.complete;
        let is_end = |byte: u8| byte == b'\n' && !complete;
        let blank = self.rest.iter().position(|&byte| is_end(byte) || !byte.is_ascii_whitespace());
        self.rest = &self.rest[blank.unwrap_or(self.rest.len())..];
        let Some(&first) = self.rest.first() else { return Token::End };
        match first {
            // Nor does the reference read on at a byte that is no text.
            b'\n' | 0..=0x1f | 0x7f.. => {
                self.rest = &[];
                Token::End
            }
            b'"' | b'\'' => self.quoted(first),
            _ if is_word(first) => {
                let len = self.rest.iter().position(|&byte| !is_word(byte));
                let (word, rest) = self.rest.split_at(len.unwrap_or(self.rest.len()));
                self.rest = rest;
                Token::Word(String::from_utf8_lossy(word).into_owned())
            }
            b'.' if complete => {
                self.rest = &self.rest[1..];
                Token::Op(".")
            }
            _ => {
                let found = OPERATORS.iter().find(|op| self.rest.starts_with(op.as_bytes()));
                // A character that no expression has cannot be followed by anything understood.
                let Some(operator) = found else {
                    self.rest = &[];
                    return Token::Op("\\");
                };
                self.rest = &self.rest[operator.len()..];
                Token::Op(operator)
            }
        }
    }

    /// A quoted text up to the closing quote, which a backslash hides, even one that is hidden itself.
    fn quoted(&mut self, quote: u8) -> Token {
        let body = &self.rest[1..];
        let mut hidden = false;
        let end = body.iter().position(|&byte| {
            let closes = byte == quote && !hidden;
            hidden = byte == b'\\' && !(hidden && self.complete);
            closes
        });
        let Some(end) = end else {
            self.rest = &[];
            return Token::Op("\\");
        };
        let text = body[..end].to_vec();
        if !self.complete && !text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
            // The reference loses track at a bare tab, and at all that is no text.
            self.rest = &[];
            return Token::Op("\\");
        }
        self.rest = &body[end + 1..];
        if quote == b'"' { Token::Text(text) } else { Token::Char(text) }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::{Lexer, Token};

    #[test]
    fn tokens_of_an_expression_follow_one_another() {
        let mut lexer = Lexer::new(br#" "a\"b", REC->x<<0x1UL != 'c'"#);
        let word = |text: &str| Token::Word(text.to_owned());
        let expected = [
            Token::Text(br#"a\"b"#.to_vec()),
            Token::Op(","),
            word("REC"),
            Token::Op("->"),
            word("x"),
            Token::Op("<<"),
            word("0x1UL"),
            Token::Op("!="),
            Token::Char(b"c".to_vec()),
            Token::End,
            Token::End,
        ];
        for token in expected {
            assert_eq!(lexer.next(), token);
        }
    }

    #[test]
    fn text_without_a_closing_quote_is_not_a_text() {
        assert_eq!(Lexer::new(b"\"abc\\\"").next(), Token::Op("\\"));
    }
}
