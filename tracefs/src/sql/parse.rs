//! From words to a query.

use super::error::SqlError;
use super::filter::{Condition, Literal};
use super::lexer::{Placed, Token, tokens};
use super::query::{Cast, Field, Join, Selected, SqlQuery, Table, Value};
use crate::trigger::HistModifier;

/// Brackets within brackets, at most: each is a call deeper here.
const DEPTH: usize = 32;

const KEYWORDS: [&str; 9] = ["SELECT", "FROM", "AS", "JOIN", "ON", "WHERE", "AND", "OR", "NOT"];

const CASTS: [(&str, Cast); 9] = [
    ("_COUNTER_", Cast::Counter),
    ("HEX", Cast::Modifier(HistModifier::Hex)),
    ("SYM", Cast::Modifier(HistModifier::Sym)),
    ("SYM-OFFSET", Cast::Modifier(HistModifier::SymOffset)),
    ("SYSCALL", Cast::Modifier(HistModifier::Syscall)),
    ("EXECNAME", Cast::Modifier(HistModifier::Execname)),
    ("LOG", Cast::Modifier(HistModifier::Log2)),
    ("LOG2", Cast::Modifier(HistModifier::Log2)),
    ("STACKTRACE", Cast::Modifier(HistModifier::Stacktrace)),
];

pub(super) fn query(text: &str) -> Result<SqlQuery, SqlError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0 };
    parser.keyword("SELECT")?;
    let mut selected = vec![parser.selected()?];
    while parser.sign(",") {
        selected.push(parser.selected()?);
    }
    parser.keyword("FROM")?;
    let from = parser.table()?;
    let join = if parser.word("JOIN") { Some(parser.join()?) } else { None };
    let filter = if parser.word("WHERE") { Some(parser.condition()?) } else { None };
    match parser.peek() {
        Token::End => Ok(SqlQuery { text: text.to_owned(), selected, from, join, filter }),
        _ => Err(parser.unexpected("the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Placed<'a>>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &Token<'a> {
        self.ahead(0)
    }

    fn ahead(&self, count: usize) -> &Token<'a> {
        self.tokens.get(self.at + count).map_or(&Token::End, |placed| &placed.token)
    }

    fn position(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |placed| placed.position)
    }

    fn unexpected(&self, expected: &str) -> SqlError {
        let found = match self.peek() {
            Token::Word(word) | Token::Name(word) | Token::Number(word) | Token::Sign(word) => {
                format!("'{word}'")
            }
            Token::Text(text) => format!("text '{text}'"),
            Token::End => "the end".to_owned(),
        };
        let message = format!("expected {expected}, found {found}");
        SqlError::new(self.text, self.position(), message)
    }

    /// Takes a keyword, if it is next.
    fn word(&mut self, keyword: &str) -> bool {
        let is = matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is);
        is
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), SqlError> {
        if self.word(keyword) { Ok(()) } else { Err(self.unexpected(keyword)) }
    }

    /// Takes a sign, if it is next.
    fn sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Result<(), SqlError> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected(&format!("'{sign}'"))) }
    }

    fn name(&mut self, expected: &str) -> Result<String, SqlError> {
        let name = match self.peek() {
            Token::Name(name) => (*name).to_owned(),
            Token::Word(word) if !is_keyword(word) => (*word).to_owned(),
            _ => return Err(self.unexpected(expected)),
        };
        self.at += 1;
        Ok(name)
    }

    fn selected(&mut self) -> Result<Selected, SqlError> {
        let position = self.position();
        let value = self.sum()?;
        let name = if self.word("AS") { Some(self.name("a name")?) } else { None };
        Ok(Selected { value, name, position })
    }

    fn sum(&mut self) -> Result<Value, SqlError> {
        let mut value = self.product()?;
        loop {
            let sign = match self.peek() {
                Token::Sign("+") => '+',
                Token::Sign("-") => '-',
                _ => return Ok(value),
            };
            self.at += 1;
            value = Value::Operation(Box::new(value), sign, Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Value, SqlError> {
        let mut value = self.value()?;
        while self.sign("*") {
            value = Value::Operation(Box::new(value), '*', Box::new(self.value()?));
        }
        Ok(value)
    }

    fn value(&mut self) -> Result<Value, SqlError> {
        if self.sign("(") {
            return self.deeper(|parser| {
                let value = parser.sum()?;
                parser.expect(")")?;
                Ok(value)
            });
        }
        if let Token::Number(number) = *self.peek() {
            self.check_number(number)?;
            self.at += 1;
            return Ok(Value::Number(number.to_owned()));
        }
        if let (Token::Word(word), Token::Sign("(")) = (self.peek(), self.ahead(1)) {
            if word.eq_ignore_ascii_case("CAST") {
                self.at += 2;
                return self.cast();
            }
            if word.eq_ignore_ascii_case("COUNT") {
                self.at += 2;
                self.expect("*")?;
                self.expect(")")?;
                return Ok(Value::Count);
            }
        }
        if !matches!(self.ahead(1), Token::Sign("."))
            && let Token::Word(word) = self.peek()
        {
            let delta = match *word {
                "TIMESTAMP_DELTA" => Some(false),
                "TIMESTAMP_DELTA_USECS" => Some(true),
                _ => None,
            };
            if let Some(usecs) = delta {
                self.at += 1;
                return Ok(Value::TimestampDelta { usecs });
            }
        }
        self.field().map(Value::Field)
    }

    /// Behind `CAST(`.
    fn cast(&mut self) -> Result<Value, SqlError> {
        let field = self.field()?;
        self.keyword("AS")?;
        let position = self.position();
        let mut word = self.name("what it is cast to")?;
        if self.sign("-") {
            word = format!("{word}-{}", self.name("what it is cast to")?);
        }
        let cast = if word.eq_ignore_ascii_case("BUCKETS") {
            self.expect("=")?;
            self.buckets()?
        } else {
            let known = CASTS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
            let Some((_, cast)) = known else {
                let names: Vec<&str> = CASTS.iter().map(|(name, _)| *name).collect();
                let message = format!("cannot cast to '{word}', only to {}", names.join(", "));
                return Err(SqlError::new(self.text, position, message));
            };
            *cast
        };
        self.expect(")")?;
        Ok(Value::Cast(field, cast))
    }

    fn buckets(&mut self) -> Result<Cast, SqlError> {
        let Token::Number(number) = *self.peek() else { return Err(self.unexpected("a number")) };
        let Ok(size) = number.parse() else { return Err(self.unexpected("a number")) };
        self.at += 1;
        Ok(Cast::Modifier(HistModifier::Buckets(size)))
    }

    fn field(&mut self) -> Result<Field, SqlError> {
        let position = self.position();
        let first = self.name("a field")?;
        let (table, name) =
            if self.sign(".") { (Some(first), self.name("a field")?) } else { (None, first) };
        Ok(Field { table, name, position })
    }

    fn table(&mut self) -> Result<Table, SqlError> {
        let position = self.position();
        let first = self.name("an event")?;
        let (system, event) = if self.sign(".") || self.sign(":") {
            (Some(first), self.name("an event")?)
        } else {
            (None, first)
        };
        let is_alias = match self.peek() {
            Token::Name(_) => true,
            Token::Word(word) => !is_keyword(word),
            _ => false,
        };
        let alias = if self.word("AS") || is_alias { Some(self.name("a name")?) } else { None };
        Ok(Table { system, event, alias, position })
    }

    /// Behind `JOIN`.
    fn join(&mut self) -> Result<Join, SqlError> {
        let table = self.table()?;
        self.keyword("ON")?;
        let mut on = Vec::new();
        loop {
            let left = self.field()?;
            if !self.sign("=") && !self.sign("==") {
                return Err(self.unexpected("'='"));
            }
            on.push((left, self.field()?));
            if !self.word("AND") && !self.sign("&&") && !self.sign(",") {
                return Ok(Join { table, on });
            }
        }
    }

    fn condition(&mut self) -> Result<Condition, SqlError> {
        let mut left = self.conjunction()?;
        while self.word("OR") || self.sign("||") {
            left = Condition::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Condition, SqlError> {
        let mut left = self.comparison()?;
        while self.word("AND") || self.sign("&&") {
            left = Condition::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Condition, SqlError> {
        if self.word("NOT") || self.sign("!") {
            let inner = self.deeper(Self::comparison)?;
            return Ok(Condition::Not(Box::new(inner)));
        }
        if self.sign("(") {
            return self.deeper(|parser| {
                let inner = parser.condition()?;
                parser.expect(")")?;
                Ok(inner)
            });
        }
        let field = self.field()?;
        let sign = match self.peek() {
            Token::Sign("=" | "==") => "==",
            Token::Sign("!=" | "<>") => "!=",
            Token::Sign("<=") => "<=",
            Token::Sign(">=") => ">=",
            Token::Sign("<") => "<",
            Token::Sign(">") => ">",
            Token::Sign("~") => "~",
            Token::Sign("&") => "&",
            _ => return Err(self.unexpected("a comparison")),
        };
        self.at += 1;
        let value = self.literal()?;
        Ok(Condition::Compare { field, sign, value })
    }

    fn literal(&mut self) -> Result<Literal, SqlError> {
        let minus = if self.sign("-") { "-" } else { "" };
        let value = match *self.peek() {
            Token::Number(number) => {
                self.check_number(number)?;
                Literal::Plain(format!("{minus}{number}"))
            }
            Token::Text(text) if minus.is_empty() => {
                if text.contains('"') && text.contains('\'') {
                    return Err(self.unexpected("text with one kind of quotes"));
                }
                Literal::Text(text.to_owned())
            }
            Token::Word(word) if minus.is_empty() && !is_keyword(word) => {
                Literal::Plain(word.to_owned())
            }
            _ => return Err(self.unexpected("a number or text")),
        };
        self.at += 1;
        Ok(value)
    }

    fn check_number(&self, number: &str) -> Result<(), SqlError> {
        let hex = number.strip_prefix("0x").or_else(|| number.strip_prefix("0X"));
        let read = match hex {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => number.parse(),
        };
        read.map(drop).map_err(|_| self.unexpected("a number"))
    }

    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(SqlError::new(self.text, self.position(), "too many brackets"));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> (usize, String) {
        let error = query(text).unwrap_err();
        (error.position, error.message)
    }

    #[test]
    fn places_and_causes_of_errors() {
        for (text, position, message) in [
            ("", 0, "expected SELECT, found the end"),
            ("SELECT FROM x", 7, "expected a field, found 'FROM'"),
            ("SELECT a b FROM x", 9, "expected FROM, found 'b'"),
            ("SELECT a FROM x WHERE a", 23, "expected a comparison, found the end"),
            ("SELECT a FROM x WHERE a = ,", 26, "expected a number or text, found ','"),
            ("SELECT a FROM x JOIN y ON a.b", 29, "expected '=', found the end"),
            ("SELECT a FROM x 1", 16, "expected the end, found '1'"),
            ("SELECT COUNT(a) FROM x", 13, "expected '*', found 'a'"),
            ("SELECT (a FROM x", 10, "expected ')', found 'FROM'"),
            ("SELECT a FROM x WHERE a = 0xg", 26, "expected a number, found '0xg'"),
        ] {
            assert_eq!(error(text), (position, message.to_owned()), "{text}");
        }
        let (position, message) = error("SELECT CAST(a AS TEXT) FROM x");
        assert_eq!(position, 17);
        assert!(message.starts_with("cannot cast to 'TEXT', only to _COUNTER_, HEX"), "{message}");
    }

    #[test]
    fn brackets_have_an_end() {
        let deep = format!("SELECT {}a", "(".repeat(100_000));
        assert_eq!(error(&deep).1, "too many brackets");
        let deep = format!("SELECT a FROM b WHERE {}a", "!".repeat(100_000));
        assert_eq!(error(&deep).1, "too many brackets");
    }

    proptest! {
        #[test]
        fn any_text_is_understood_or_refused(text in any::<String>()) {
            let _ = query(&text);
        }

        #[test]
        fn any_words_are_understood_or_refused(
            words in prop::collection::vec(prop::sample::select(vec![
                "SELECT", "a", "b.c", "FROM", "AS", "JOIN", "ON", "=", "WHERE", "(", ")", ",", "-",
                "CAST", "HEX", "COUNT", "*", "AND", "!", "1", "'x'", "TIMESTAMP_DELTA",
            ]), 0..30),
        ) {
            if let Err(error) = query(&words.join(" ")) {
                prop_assert!(error.pointed().ends_with('^'));
            }
        }
    }
}
