//! A condition tied to one event: fields found, what cannot be true left out.

use std::fmt::{self, Write};

use super::ast::{Compare, Condition, Junction, Value};
use super::eval::{Load, Test, TextSource, ValueOp};
use crate::event_format::{EventFormat, Field};

/// A condition on one event.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    Constant(bool),
    Not(Box<Bound>),
    Chain(Box<Bound>, Vec<(Junction, Bound)>),
    /// A test, and its text.
    Test(Test, String),
}

/// Ties a condition to an event. What asks for a field that the event lacks is false.
pub(super) fn bind(condition: &Condition, format: &EventFormat) -> Bound {
    match condition {
        Condition::Constant(value) => Bound::Constant(*value),
        Condition::Never => Bound::Constant(false),
        Condition::Not(inner) => match bind(inner, format) {
            Bound::Constant(value) => Bound::Constant(!value),
            other => Bound::Not(Box::new(other)),
        },
        Condition::Chain(first, rest) => {
            let mut left = bind(first, format);
            for (junction, term) in rest {
                left = join(left, *junction, bind(term, format));
            }
            left
        }
        other => leaf(other, format).unwrap_or(Bound::Constant(false)),
    }
}

fn join(left: Bound, junction: Junction, right: Bound) -> Bound {
    let decides = junction == Junction::Or;
    match (left, right) {
        (Bound::Constant(value), other) | (other, Bound::Constant(value)) => {
            if value == decides {
                Bound::Constant(value)
            } else {
                other
            }
        }
        (Bound::Chain(first, mut rest), right) => {
            rest.push((junction, right));
            Bound::Chain(first, rest)
        }
        (left, right) => Bound::Chain(Box::new(left), vec![(junction, right)]),
    }
}

fn leaf(condition: &Condition, format: &EventFormat) -> Option<Bound> {
    let mut shown = String::new();
    let test = match condition {
        Condition::Compare(compare, left, right) => {
            show_operand(left, &mut shown);
            let _ = write!(shown, " {} ", compare.sign());
            show_operand(right, &mut shown);
            comparison(*compare, left, right, format)?
        }
        Condition::Match { field, negated, text, pattern } => {
            let sign = if *negated { "!~" } else { "=~" };
            let _ = write!(shown, "{field} {sign} {}", quoted(text));
            let source = source(field, format)?.text();
            Test::Match { source, negated: *negated, pattern: pattern.clone() }
        }
        Condition::NonZero(value) => {
            show(value, &mut shown);
            let mut ops = Vec::new();
            numbers(value, format, &mut ops)?;
            Test::NonZero(ops.into())
        }
        _ => return None,
    };
    Some(Bound::Test(test, shown))
}

fn comparison(compare: Compare, left: &Value, right: &Value, format: &EventFormat) -> Option<Test> {
    if let (Value::Field(left), Value::Field(right)) = (left, right) {
        let (left, right) = (source(left, format)?, source(right, format)?);
        if left.is_text() || right.is_text() {
            if !left.is_text() || !right.is_text() {
                return None;
            }
            let equal = equality(compare)?;
            return Some(Test::Texts { left: left.text(), equal, right: right.text() });
        }
    }
    let (field, constant, compare) = match (left, right) {
        (Value::Text { .. } | Value::Number { .. }, Value::Field(_)) => {
            (right, left, compare.mirrored())
        }
        _ => (left, right, compare),
    };
    if let (Value::Field(name), Value::Text { text, code }) = (field, constant) {
        let source = source(name, format)?;
        // One letter in single quotes is a number to a number and text to a text.
        if source.is_text() || code.is_none() {
            let equal = equality(compare)?;
            return Some(Test::Text { source: source.text(), equal, text: text.as_bytes().into() });
        }
    }
    if let (Value::Field(name), Some((value, unsigned))) = (field, constant_number(constant)) {
        let Source::Number { load, .. } = source(name, format)? else { return None };
        let unsigned = unsigned || load.is_unsigned_64();
        return Some(Test::Number { load, compare, value: load.wrapped(value), unsigned });
    }
    let (mut left_ops, mut right_ops) = (Vec::new(), Vec::new());
    let unsigned = numbers(left, format, &mut left_ops)? | numbers(right, format, &mut right_ops)?;
    Some(Test::Values { left: left_ops.into(), compare, right: right_ops.into(), unsigned })
}

fn equality(compare: Compare) -> Option<bool> {
    match compare {
        Compare::Equal => Some(true),
        Compare::NotEqual => Some(false),
        _ => None,
    }
}

fn constant_number(value: &Value) -> Option<(u64, bool)> {
    match value {
        Value::Number { bits, unsigned } => Some((*bits, *unsigned)),
        Value::Text { code: Some(code), .. } => Some((*code, false)),
        _ => None,
    }
}

/// Appends what computes a value, and tells whether it needs all 64 bits for its magnitude.
fn numbers(value: &Value, format: &EventFormat, ops: &mut Vec<ValueOp>) -> Option<bool> {
    Some(match value {
        Value::Field(name) => {
            let Source::Number { load, .. } = source(name, format)? else { return None };
            ops.push(ValueOp::Load(load));
            load.is_unsigned_64()
        }
        Value::Negated(inner) => {
            let unsigned = numbers(inner, format, ops)?;
            ops.push(ValueOp::Negate);
            unsigned
        }
        Value::Binary(operator, left, right) => {
            let left = numbers(left, format, ops)?;
            let unsigned = left | numbers(right, format, ops)?;
            ops.push(ValueOp::Binary(*operator, unsigned));
            unsigned
        }
        other => {
            let (bits, unsigned) = constant_number(other)?;
            ops.push(ValueOp::Constant(bits));
            unsigned
        }
    })
}

/// What a name stands for.
enum Source {
    Number { load: Load, address: bool },
    Text(TextSource),
}

impl Source {
    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    fn text(self) -> TextSource {
        match self {
            Self::Number { load, address } => TextSource::Number { load, address },
            Self::Text(source) => source,
        }
    }
}

fn source(name: &str, format: &EventFormat) -> Option<Source> {
    let Some(field) = format.field(name) else {
        return match name {
            "CPU" => Some(Source::Number { load: Load::CPU, address: false }),
            "COMM" => {
                let pid = format.common_field("common_pid")?;
                Some(Source::Text(TextSource::Comm(load(pid, format)?)))
            }
            _ => None,
        };
    };
    if field.flags.string {
        return Some(Source::Text(TextSource::Field(Box::new(field.clone()), format.abi)));
    }
    let address = field.flags.pointer || field.flags.long;
    Some(Source::Number { load: load(field, format)?, address })
}

fn load(field: &Field, format: &EventFormat) -> Option<Load> {
    if field.flags.array || field.flags.dynamic {
        return None;
    }
    Load::new(field.offset, field.size, field.flags.signed, format.abi.byte_order)
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(true) => f.write_str("TRUE"),
            Self::Constant(false) => f.write_str("FALSE"),
            Self::Not(inner) => write!(f, "!({inner})"),
            Self::Test(_, text) => f.write_str(text),
            Self::Chain(first, rest) => {
                for _ in 1..rest.len() {
                    f.write_str("(")?;
                }
                write!(f, "({first})")?;
                for (index, (junction, term)) in rest.iter().enumerate() {
                    write!(f, " {} ({term})", junction.sign())?;
                    if index + 1 < rest.len() {
                        f.write_str(")")?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// A value that stands next to a comparison.
fn show_operand(value: &Value, out: &mut String) {
    if matches!(value, Value::Binary(..)) {
        out.push('(');
        show(value, out);
        out.push(')');
    } else {
        show(value, out);
    }
}

fn show(value: &Value, out: &mut String) {
    let _ = match value {
        Value::Field(name) => write!(out, "{name}"),
        Value::Number { bits, unsigned: true } => write!(out, "{bits}"),
        Value::Number { bits, unsigned: false } => write!(out, "{}", *bits as i64),
        Value::Text { text, code: Some(_) } => write!(out, "'{text}'"),
        Value::Text { text, code: None } => write!(out, "{}", quoted(text)),
        Value::Negated(inner) => {
            out.push('-');
            show_operand(inner, out);
            Ok(())
        }
        Value::Binary(operator, left, right) => {
            show_operand(left, out);
            let _ = write!(out, " {} ", operator.sign());
            show_operand(right, out);
            Ok(())
        }
    };
}

fn quoted(text: &str) -> String {
    // Between double quotes a backslash before one would disappear.
    if text.contains("\\\"") {
        format!("'{}'", text.replace('\'', "\\'"))
    } else {
        format!("\"{}\"", text.replace('"', "\\\""))
    }
}
