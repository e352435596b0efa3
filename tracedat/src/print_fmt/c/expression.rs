//! Expressions: operators with C's precedence and conversions.
use super::statement::Local;
use super::types::{INT, Int, Type, Typed, wrapped};
use super::{Parsed, Parser};
use crate::print_fmt::ast::{Binary, Expr, Unary, atom_value};
use crate::print_fmt::lexer::Token;
use crate::print_fmt::parse::NotUnderstood;

/// Precedence of `||`, the loosest operator between two values.
const LOOSEST: u8 = 15;

impl Parser<'_> {
    /// An expression up to a comma or closing bracket.
    pub(super) fn expression(&mut self) -> Parsed<Typed> {
        self.enter()?;
        let condition = self.between(LOOSEST)?;
        let value = if self.lexer.take("?") { self.choice(condition)? } else { condition };
        self.depth -= 1;
        Ok(value)
    }

    /// After `condition ?`, with GNU's `a ?: b`.
    fn choice(&mut self, condition: Typed) -> Parsed<Typed> {
        let yes = if self.lexer.at(":") {
            self.count(size(&condition.expr))?;
            self.count_operators(size(&condition.expr))?;
            condition.clone()
        } else {
            self.expression()?
        };
        self.expect(":")?;
        let no = self.expression()?;
        if let Some(value) = condition.expr.constant()
            && matches!(condition.ty, Type::Int(_))
            && matches!((yes.ty, no.ty), (Type::Int(_), Type::Int(_)))
        {
            let ty = choice_type(yes.ty, no.ty);
            return Ok(of_type(if value != 0 { yes } else { no }, ty));
        }
        let ty = choice_type(yes.ty, no.ty);
        let is_text = matches!(ty, Type::Text | Type::Pointer(Some(Int { bits: 8, .. })));
        let unknown = |value: &Typed| value.expr == Expr::Unknown;
        // Of two texts one may be known.
        if unknown(&condition) || (!is_text && (unknown(&yes) || unknown(&no))) {
            return Ok(Typed { ty, ..Typed::UNKNOWN });
        }
        let (yes, no) = (of_type(yes, ty).expr, of_type(no, ty).expr);
        let condition = Box::new(condition.expr);
        self.count_operators(1)?;
        let expr = Expr::Choice { condition, yes: Box::new(yes), no: Box::new(no) };
        Ok(Typed { expr, ty })
    }

    /// Operators between values that bind at least as tightly as `loosest`.
    fn between(&mut self, loosest: u8) -> Parsed<Typed> {
        self.enter()?;
        let mut left = self.unary()?;
        while let Token::Op(token) = self.lexer.peek() {
            let Some(op) = Binary::from_token(token) else { break };
            if op.priority() > loosest {
                break;
            }
            self.lexer.next();
            let right = self.between(op.priority() - 1)?;
            left = self.operation(op, left, right)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    pub(super) fn operation(&mut self, op: Binary, left: Typed, right: Typed) -> Parsed<Typed> {
        let long = self.long(false);
        let result = if is_logical(op) { Some(INT) } else { None };
        let (Some(from), Some(to)) = (number_type(&left, long), number_type(&right, long)) else {
            // What it would be is known, if not its value.
            return Ok(Typed { ty: result.map_or(Type::Unknown, Type::Int), ..Typed::UNKNOWN });
        };
        let common = match op {
            Binary::Shl | Binary::Shr => from.promoted(),
            _ => from.common(to),
        };
        let signed = common.signed;
        let op = match op {
            Binary::Div if signed => Binary::SignedDiv,
            Binary::Rem if signed => Binary::SignedRem,
            Binary::Shr if signed => Binary::SignedShr,
            Binary::Lt if signed => Binary::SignedLt,
            Binary::Gt if signed => Binary::SignedGt,
            Binary::Le if signed => Binary::SignedLe,
            Binary::Ge if signed => Binary::SignedGe,
            Binary::Xor => Binary::TrueXor,
            op => op,
        };
        let (left, right) = match op {
            Binary::AndAnd | Binary::OrOr => (left, right),
            Binary::Shl | Binary::Shr | Binary::SignedShr => (left.into_int(common), right),
            _ => (left.into_int(common), right.into_int(common)),
        };
        let expr = Expr::Binary { op, left: Box::new(left.expr), right: Box::new(right.expr) };
        let (expr, int) = match (result, op) {
            (Some(result), _) => (expr, result),
            (None, Binary::Shl | Binary::Add | Binary::Sub | Binary::Mul | Binary::SignedDiv) => {
                (wrapped(expr, common), common)
            }
            (None, _) => (expr, common),
        };
        let expr = folded(expr);
        if !matches!(expr, Expr::Number(_)) {
            self.count_operators(1)?;
        }
        Ok(Typed::int(expr, int))
    }

    /// What stands before a value, then the value with what stands behind it.
    fn unary(&mut self) -> Parsed<Typed> {
        self.enter()?;
        let value = match self.lexer.peek() {
            Token::Op("*") => {
                self.lexer.next();
                let pointer = self.unary()?;
                self.element(pointer, self.constant(0))?
            }
            Token::Op("&") => {
                self.lexer.next();
                let value = self.unary()?;
                Self::address_of(&value)
            }
            Token::Op(token) if let Some(op) = Unary::from_token(token) => {
                self.lexer.next();
                let value = self.unary()?;
                self.sign(op, value)
            }
            Token::Op("(") => {
                self.lexer.next();
                let value = self.bracketed()?;
                self.behind(value)?
            }
            _ => {
                let value = self.primary()?;
                self.behind(value)?
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    fn sign(&self, op: Unary, value: Typed) -> Typed {
        let Some(from) = number_type(&value, self.long(false)) else {
            let ty = if op == Unary::Not { Type::Int(INT) } else { Type::Unknown };
            return Typed { ty, ..Typed::UNKNOWN };
        };
        if op == Unary::Not {
            let expr = Expr::Unary { op, value: Box::new(value.expr) };
            return Typed::int(folded(expr), INT);
        }
        let int = from.promoted();
        let value = Box::new(value.into_int(int).expr);
        Typed::int(folded(wrapped(Expr::Unary { op, value }, int)), int)
    }

    /// A pointer to a value: the bytes themselves are what can be printed.
    fn address_of(value: &Typed) -> Typed {
        let ty = match value.ty {
            Type::Int(int) => Type::Pointer(Some(int)),
            _ => Type::Pointer(None),
        };
        match value.expr.without_casts() {
            Expr::Field(_) => Typed { expr: value.expr.without_casts().clone(), ty },
            _ => Typed { ty, ..Typed::UNKNOWN },
        }
    }

    /// After `(`: a statement expression, a cast with its value, or an expression.
    fn bracketed(&mut self) -> Parsed<Typed> {
        if self.lexer.take("{") {
            let value = self.statements()?;
            self.expect(")")?;
            return Ok(value);
        }
        let before = self.lexer.clone();
        if let Some(name) = self.type_name()?
            && self.lexer.take(")")
        {
            if self.lexer.take("{") {
                return self.written_out();
            }
            let before_value = match self.lexer.peek() {
                Token::Word(_) | Token::Text(_) | Token::Char(_) | Token::Op("(") => true,
                Token::Op(op) => {
                    name.certain && (Unary::from_token(op).is_some() || matches!(*op, "*" | "&"))
                }
                Token::End => false,
            };
            if before_value {
                let value = self.unary()?;
                return Ok(cast(value, name.ty));
            }
        }
        self.lexer = before;
        let mut value = self.expression()?;
        while self.lexer.take(",") {
            value = self.expression()?;
        }
        self.expect(")")?;
        Ok(value)
    }

    /// After `(type) {`: `.member = value }`, the only member that is read again.
    fn written_out(&mut self) -> Parsed<Typed> {
        self.expect(".")?;
        let member = self.name()?;
        self.expect("=")?;
        let value = self.expression()?;
        self.lexer.take(",");
        self.expect("}")?;
        self.written_out = Some(member);
        Ok(value)
    }

    fn primary(&mut self) -> Parsed<Typed> {
        match self.lexer.next() {
            Token::Text(mut text) => {
                while let Token::Text(next) = self.lexer.peek() {
                    text.extend_from_slice(next);
                    self.lexer.next();
                }
                Ok(Typed::quoted(text))
            }
            Token::Char(text) => Ok(Typed::int(Expr::Number(character(&text)), INT)),
            Token::Word(word) if word == "REC" => {
                if !self.lexer.take("->") {
                    return Ok(Typed::UNKNOWN);
                }
                let name = self.name()?;
                Ok(self.format.field(&name).map_or(Typed::UNKNOWN, |field| self.field(field)))
            }
            Token::Word(word) if word.as_bytes()[0].is_ascii_digit() => Ok(self.number(&word)),
            Token::Word(word) => {
                if let Some(local) = self.local(&word) {
                    let local = local.clone();
                    let size = match local {
                        Local::Buffer(from) => self.printed_size(from),
                        _ => local.size(),
                    };
                    self.count(size)?;
                    self.count_operators(size)?;
                    return self.local_value(local);
                }
                if self.lexer.take("(") {
                    return self.call(&word);
                }
                Ok(match word.as_str() {
                    "DUMP_PREFIX_NONE" => self.constant(0),
                    "DUMP_PREFIX_ADDRESS" => self.constant(1),
                    "DUMP_PREFIX_OFFSET" => self.constant(2),
                    "NULL" | "false" => self.constant(0),
                    "true" => Typed::int(Expr::Number(1), INT),
                    // The name of an enumerator that the kernel did not resolve.
                    _ => Typed::UNKNOWN,
                })
            }
            Token::Op(_) | Token::End => Err(NotUnderstood),
        }
    }

    /// Members and indices behind a value.
    fn behind(&mut self, mut value: Typed) -> Parsed<Typed> {
        loop {
            if self.lexer.take("[") {
                let index = self.expression()?;
                self.expect("]")?;
                value = self.element(value, index)?;
            } else if self.lexer.take(".") || self.lexer.take("->") {
                let name = self.name()?;
                if self.written_out.take().is_some_and(|member| member == name) {
                    continue;
                }
                // `(REC)->name`; other structures have members that nobody told.
                let is_record = value.ty == Type::Unknown && name != "REC";
                value = match self.format.field(&name) {
                    Some(field) if is_record && self.format.event_field(&name).is_some() => {
                        self.field(field)
                    }
                    _ => Typed::UNKNOWN,
                };
            } else {
                return Ok(value);
            }
        }
    }

    /// `data[index]`.
    pub(super) fn element(&mut self, data: Typed, index: Typed) -> Parsed<Typed> {
        let Type::Pointer(Some(int)) = data.ty else { return Ok(Typed::UNKNOWN) };
        if !self.is_data(&data.expr) || number_type(&index, INT).is_none() {
            return Ok(Typed { ty: Type::Int(int), ..Typed::UNKNOWN });
        }
        let size = int.size();
        let scale = self.constant(size.into());
        let offset = self.operation(Binary::Mul, index, scale)?;
        let (data, offset) = (Box::new(data.expr), Box::new(offset.expr));
        let expr = Expr::Element { data, offset, size };
        Ok(Typed::int(if int.signed { wrapped(expr, int) } else { expr }, int))
    }

    /// Whether a pointer is to bytes of the record.
    pub(super) fn is_data(&self, pointer: &Expr) -> bool {
        match pointer.without_casts() {
            Expr::Field(name) => {
                let field = self.format.field(name);
                field.is_some_and(|field| field.flags.array || field.flags.dynamic)
            }
            Expr::DynamicArray(_) | Expr::Str(_) => true,
            _ => false,
        }
    }

    /// An integer literal, of the first type that it fits.
    fn number(&self, word: &str) -> Typed {
        let suffix =
            word.trim_start_matches(|c: char| c.is_ascii_hexdigit() || matches!(c, 'x' | 'X'));
        let suffix = suffix.to_ascii_lowercase();
        let value = atom_value(word.as_bytes());
        let unsigned = suffix.contains('u');
        let decimal = !word.starts_with('0');
        let least = match suffix.matches('l').count() {
            0 => INT.bits,
            1 => self.long(true).bits,
            _ => 64,
        };
        let fits = |bits: u8, signed: bool| {
            value >> (bits - u8::from(signed)).min(63) == 0 || (bits == 64 && !signed)
        };
        let bits =
            if fits(least, !unsigned) || (!decimal && fits(least, false)) { least } else { 64 };
        let signed = !unsigned && fits(bits, true);
        Typed::int(Expr::Number(value), Int { bits, signed })
    }

    /// Parts of what was printed from that one on, longer texts counting as several.
    fn printed_size(&self, from: usize) -> usize {
        let parts = self.printed.get(from..).unwrap_or_default();
        parts.iter().fold(1, |sum: usize, (text, args)| {
            let args =
                args.iter().fold(1 + text.len() / 64, |sum, arg| sum.saturating_add(size(arg)));
            sum.saturating_add(args)
        })
    }

    /// What a local stands for.
    fn local_value(&mut self, local: Local) -> Parsed<Typed> {
        match local {
            Local::Value(value) => Ok(value),
            Local::Buffer(from) => Ok(Typed::text(Expr::Printed(
                self.printed.get(from..).unwrap_or_default().to_vec(),
            ))),
            Local::Texts(texts) => {
                self.expect("[")?;
                let index = self.expression()?;
                self.expect("]")?;
                if number_type(&index, INT).is_none() {
                    return Ok(Typed::text(Expr::Unknown));
                }
                let table = (0..).zip(texts).collect();
                Ok(Typed::text(Expr::Symbolic { value: Box::new(index.expr), table }))
            }
            Local::Record { layout, word } => {
                self.expect(".")?;
                let member = self.name()?;
                let place = layout.member(&member, self.format.abi.byte_order);
                let (Some((shift, bits)), Some(word)) = (place, word) else {
                    return Ok(Typed::UNKNOWN);
                };
                let (shift, mask) = (Expr::Number(shift), Expr::Number((1 << bits) - 1));
                let left = Box::new(word.expr);
                let shifted = Expr::Binary { op: Binary::Shr, left, right: Box::new(shift) };
                let (left, right) = (Box::new(shifted), Box::new(mask));
                Ok(Typed::int(Expr::Binary { op: Binary::And, left, right }, INT))
            }
        }
    }
}

fn is_logical(op: Binary) -> bool {
    use Binary::{AndAnd, Eq, Ge, Gt, Le, Lt, Ne, OrOr};
    matches!(op, AndAnd | OrOr | Eq | Ne | Lt | Gt | Le | Ge)
}

/// The integer type that a value counts as, `None` where it has no number.
fn number_type(value: &Typed, long: Int) -> Option<Int> {
    match value.ty {
        _ if value.expr == Expr::Unknown => None,
        Type::Int(int) => Some(int),
        Type::Pointer(_) => Some(long),
        Type::Text | Type::Unknown => None,
    }
}

fn choice_type(yes: Type, no: Type) -> Type {
    match (yes, no) {
        (Type::Int(yes), Type::Int(no)) => Type::Int(yes.common(no)),
        (Type::Text, Type::Text | Type::Pointer(_)) | (Type::Pointer(_), Type::Text) => Type::Text,
        // A helper's text, or one that is not known.
        (Type::Text, _) | (_, Type::Text) => Type::Text,
        (Type::Pointer(yes), Type::Pointer(no)) => Type::Pointer(yes.or(no)),
        (pointer @ Type::Pointer(_), _) | (_, pointer @ Type::Pointer(_)) => pointer,
        (Type::Unknown, _) | (_, Type::Unknown) => Type::Unknown,
    }
}

fn of_type(value: Typed, ty: Type) -> Typed {
    match (ty, value.ty) {
        (Type::Int(int), Type::Int(_)) if value.expr != Expr::Unknown => value.into_int(int),
        _ => Typed { ty, ..value },
    }
}

fn cast(value: Typed, ty: Type) -> Typed {
    match ty {
        _ if value.expr == Expr::Unknown => Typed { ty, ..value },
        Type::Int(int) => value.into_int(int),
        Type::Pointer(_) => Typed { ty, ..value },
        // A type that is not known keeps the value as it is.
        Type::Text | Type::Unknown => value,
    }
}

/// A number in place of an expression that is always the same.
fn folded(expr: Expr) -> Expr {
    expr.constant().map_or(expr, Expr::Number)
}

/// Number of parts of an expression, none of the parts being a table's.
pub(super) fn size(expr: &Expr) -> usize {
    let of =
        |parts: &[&Expr]| parts.iter().fold(1usize, |sum, part| sum.saturating_add(size(part)));
    match expr {
        Expr::Convert { value, .. } | Expr::Unary { value, .. } | Expr::Swapped { value, .. } => {
            of(&[value])
        }
        Expr::Binary { left, right, .. } => of(&[left, right]),
        Expr::Choice { condition, yes, no } => of(&[condition, yes, no]),
        Expr::Element { data, offset, .. } => of(&[data, offset]),
        Expr::Flags { value, table, .. } | Expr::Symbolic { value, table } => {
            of(&[value]).saturating_add(table.len())
        }
        Expr::Hex { data, len, .. } | Expr::HexDump { data, len, .. } => of(&[data, len]),
        Expr::Array { data, count, element_size } => of(&[data, count, element_size]),
        Expr::Call { args, .. } => of(&args.iter().collect::<Vec<_>>()),
        Expr::Printed(parts) => parts
            .iter()
            .flat_map(|(_, args)| args)
            .fold(1usize, |sum, arg| sum.saturating_add(size(arg))),
        _ => 1,
    }
}

/// The number of a character between single quotes.
fn character(text: &[u8]) -> u64 {
    match text {
        [b'\\', b'n'] => 10,
        [b'\\', b't'] => 9,
        [b'\\', b'r'] => 13,
        [b'\\', b'0'] => 0,
        [b'\\', other] => u64::from(*other),
        [byte, ..] => u64::from(*byte),
        [] => 0,
    }
}
