//! The text of a filter to events and a condition.

use super::ast::{Arithmetic, Compare, Condition, Junction, Value};
use super::error::{FilterError, FilterErrorKind as Kind};
use super::lexer::{self, Token};
use super::pattern::Pattern;
use super::{EventName, Filter};

/// Brackets, `!` and operators in one another; the stack of a program has as many places.
pub(super) const MAX_DEPTH: usize = 32;

/// Parses `events [: condition]`.
pub(super) fn filter(text: &str) -> Result<Filter, FilterError> {
    let error = |(kind, at)| FilterError { text: text.to_owned(), at, kind };
    let (events, at) = events(text).map_err(error)?;
    let condition = match at {
        None => Condition::Constant(true),
        Some(at) => {
            let mut parser = Parser::new(text, at).map_err(error)?;
            let condition = parser.condition(0).map_err(error)?;
            if parser.token != Token::End {
                return Err(error((Kind::ExpectedEnd, parser.start)));
            }
            condition
        }
    };
    Ok(Filter { text: text.to_owned(), events, condition })
}

type Result_<T> = Result<T, (Kind, usize)>;

/// The events, and where the condition starts.
fn events(text: &str) -> Result_<(Vec<EventName>, Option<usize>)> {
    let mut events = Vec::new();
    let mut start = 0;
    let mut in_set = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => in_set += 1,
            b']' => in_set = in_set.saturating_sub(1),
            b',' | b':' if in_set == 0 => {
                events.push(event_name(text, start, at)?);
                start = at + 1;
                if byte == b':' {
                    return Ok((events, Some(start)));
                }
            }
            _ => {}
        }
    }
    events.push(event_name(text, start, text.len())?);
    Ok((events, None))
}

fn event_name(text: &str, start: usize, end: usize) -> Result_<EventName> {
    let word = text.get(start..end).unwrap_or_default();
    let at = start + word.len() - word.trim_start().len();
    let word = word.trim();
    let pattern = |text: &str| Pattern::anchored(text).map_err(|error| (Kind::Pattern(error), at));
    match word.split_once('/') {
        None if word.is_empty() => Err((Kind::NoEvent, at)),
        None => Ok(EventName { system: None, name: pattern(word)? }),
        Some((_, "")) => Err((Kind::NoEvent, at + word.len())),
        Some((system, name)) => {
            Ok(EventName { system: Some(pattern(system)?), name: pattern(name)? })
        }
    }
}

/// Something in a condition whose kind shows only when it is read.
enum Operand {
    Condition(Condition),
    /// A value, and whether a mask stands in it without brackets.
    Value(Value, Option<Arithmetic>),
}

struct Parser<'a> {
    text: &'a str,
    token: Token,
    /// Where the token starts and ends.
    start: usize,
    end: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, at: usize) -> Result_<Self> {
        let (token, start, end) = lexer::next(text, at)?;
        Ok(Self { text, token, start, end })
    }

    fn advance(&mut self) -> Result_<()> {
        (self.token, self.start, self.end) = lexer::next(self.text, self.end)?;
        Ok(())
    }

    fn sign(&self) -> Option<&'static str> {
        match self.token {
            Token::Sign(sign) => Some(sign),
            _ => None,
        }
    }

    fn condition(&mut self, depth: usize) -> Result_<Condition> {
        let at = self.start;
        let operand = self.expression(depth)?;
        truth(operand, at)
    }

    /// Terms joined by `&&` and `||`, which bind alike.
    fn expression(&mut self, depth: usize) -> Result_<Operand> {
        let at = self.start;
        let first = self.term(depth)?;
        let mut first = Some(first);
        let mut rest = Vec::new();
        let mut chain = None;
        loop {
            let junction = match self.sign() {
                Some("&&") => Junction::And,
                Some("||") => Junction::Or,
                _ => break,
            };
            if let Some(first) = first.take() {
                chain = Some(truth(first, at)?);
            }
            self.advance()?;
            let at = self.start;
            let term = self.term(depth)?;
            rest.push((junction, truth(term, at)?));
        }
        match (first, chain) {
            (Some(alone), _) => Ok(alone),
            (None, Some(chain)) => Ok(Operand::Condition(Condition::Chain(Box::new(chain), rest))),
            (None, None) => Err((Kind::ExpectedValue, at)),
        }
    }

    /// A comparison, its negation, or a value alone.
    fn term(&mut self, depth: usize) -> Result_<Operand> {
        if depth >= MAX_DEPTH {
            return Err((Kind::TooDeep, self.start));
        }
        if self.sign() == Some("!") {
            self.advance()?;
            let at = self.start;
            let term = self.term(depth + 1)?;
            return Ok(Operand::Condition(Condition::Not(Box::new(truth(term, at)?))));
        }
        let left_at = self.start;
        let left = self.value(0, depth)?;
        let Some(sign) = self.sign() else { return Ok(left) };
        let at = self.start;
        if matches!(sign, "=~" | "!~" | "~") {
            let Operand::Value(Value::Field(field), None) = left else {
                return Err((Kind::NotAPattern(sign), at));
            };
            self.advance()?;
            return self.matching(field, sign).map(Operand::Condition);
        }
        let Some(compare) = Compare::from_sign(sign) else { return Ok(left) };
        let left = self.side(left, sign, left_at)?;
        self.advance()?;
        let right_at = self.start;
        let right = self.value(0, depth)?;
        let right = self.side(right, sign, right_at)?;
        if let Some(again) = self.sign().filter(|sign| Compare::from_sign(sign).is_some()) {
            return Err((Kind::NotNumbers(again), self.start));
        }
        let is_text = |value: &Value| matches!(value, Value::Text { code: None, .. });
        if is_text(&left) || is_text(&right) {
            let other = if is_text(&left) { &right } else { &left };
            if !matches!(compare, Compare::Equal | Compare::NotEqual) {
                return Err((Kind::NotForStrings(sign), at));
            }
            if !matches!(other, Value::Field(_)) {
                return Err((Kind::NotNumbers(sign), at));
            }
        }
        Ok(Operand::Condition(Condition::Compare(compare, left, right)))
    }

    /// One side of a comparison.
    fn side(&self, operand: Operand, sign: &'static str, at: usize) -> Result_<Value> {
        match operand {
            Operand::Value(value, None) => Ok(value),
            Operand::Value(_, Some(mask)) => Err((Kind::Ambiguous(mask.sign()), at)),
            Operand::Condition(_) => Err((Kind::NotNumbers(sign), at)),
        }
    }

    fn matching(&mut self, field: String, sign: &'static str) -> Result_<Condition> {
        let at = self.start;
        if sign == "~" {
            self.value(1, 0)?;
            return Ok(Condition::Never);
        }
        let Token::Text { text, .. } = self.token.clone() else {
            return Err((Kind::NotAPattern(sign), at));
        };
        let pattern = Pattern::new(&text).map_err(|error| (Kind::Pattern(error), at))?;
        self.advance()?;
        Ok(Condition::Match { field, negated: sign == "!~", text, pattern })
    }

    /// Numbers joined by operators that bind at least as strongly as `least`.
    fn value(&mut self, least: u8, depth: usize) -> Result_<Operand> {
        let mut left = self.primary(depth)?;
        let mut mask = None;
        let mut count = depth;
        while let Some(sign) = self.sign()
            && let Some((operator, strength)) = Arithmetic::from_sign(sign)
            && strength >= least
        {
            count += 1;
            if count >= MAX_DEPTH {
                return Err((Kind::TooDeep, self.start));
            }
            let operator_at = self.start;
            let Operand::Value(number, _) = left else {
                return Err((Kind::NotNumbers(sign), operator_at));
            };
            self.advance()?;
            let right = self.value(strength + 1, count)?;
            let Operand::Value(right, inner) = right else {
                return Err((Kind::NotNumbers(sign), operator_at));
            };
            for side in [&number, &right] {
                if matches!(side, Value::Text { code: None, .. }) {
                    return Err((Kind::NotNumbers(sign), operator_at));
                }
            }
            mask = mask.or(inner).or(operator.is_mask().then_some(operator));
            left = Operand::Value(Value::Binary(operator, Box::new(number), Box::new(right)), mask);
        }
        Ok(left)
    }

    fn primary(&mut self, depth: usize) -> Result_<Operand> {
        let at = self.start;
        if depth >= MAX_DEPTH {
            return Err((Kind::TooDeep, at));
        }
        let value = match &self.token {
            Token::Name(name) => match name.as_str() {
                "TRUE" | "FALSE" => {
                    let constant = name == "TRUE";
                    self.advance()?;
                    return Ok(Operand::Condition(Condition::Constant(constant)));
                }
                _ => Value::Field(name.clone()),
            },
            Token::Number(bits) => Value::Number { bits: *bits, unsigned: *bits >> 63 != 0 },
            Token::Text { text, single } => {
                let code = if *single { lexer::character(text) } else { None };
                Value::Text { text: text.clone(), code }
            }
            Token::Sign("-") => {
                self.advance()?;
                let operand = self.primary(depth + 1)?;
                return match operand {
                    Operand::Value(Value::Number { bits, .. }, _) => {
                        let bits = bits.wrapping_neg();
                        Ok(Operand::Value(Value::Number { bits, unsigned: false }, None))
                    }
                    Operand::Value(Value::Text { code: None, .. }, _) | Operand::Condition(_) => {
                        Err((Kind::NotNumbers("-"), at))
                    }
                    Operand::Value(value, _) => {
                        Ok(Operand::Value(Value::Negated(Box::new(value)), None))
                    }
                };
            }
            Token::Sign("(") => {
                self.advance()?;
                let inner = self.expression(depth + 1)?;
                if self.sign() != Some(")") {
                    return Err((Kind::ExpectedBracket, self.start));
                }
                self.advance()?;
                return Ok(match inner {
                    Operand::Value(value, _) => Operand::Value(value, None),
                    condition => condition,
                });
            }
            _ => return Err((Kind::ExpectedValue, at)),
        };
        self.advance()?;
        Ok(Operand::Value(value, None))
    }
}

/// What an operand means as a condition.
fn truth(operand: Operand, at: usize) -> Result_<Condition> {
    match operand {
        Operand::Condition(condition) => Ok(condition),
        Operand::Value(Value::Text { .. }, _) => Err((Kind::NotACondition, at)),
        Operand::Value(value, _) => Ok(Condition::NonZero(value)),
    }
}
