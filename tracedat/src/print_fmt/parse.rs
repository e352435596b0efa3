//! Parses a print fmt into its format string and arguments.
//!
//! The language is C's, the grammar is the reference's, whose habits decide what is printed:
//!
//! * operators of equal precedence group to the right: `10 - 3 - 2` is 9;
//! * once a tighter operator is met, its right side takes all that follows: `2 + 4 * 8 - 1 & 15`
//!   is `2 + ((4 * 8 - 1) & 15)`;
//! * brackets on the right do not hold against a tighter operator: `2 * (3 + 4)` is `(2 * 3) + 4`,
//!   and nor does a sign: `2 * -3` is `(2 * 0) - 3`;
//! * `a ? b : c ? d : e` is `(a ? b : c) ? d : e` unless brackets say otherwise;
//! * an array index is a single item, a cast applies to a single item.
use super::CompileOptions;
use super::ast::{Binary, Expr, Table, Unary, atom_value};
use super::functions::Function;
use super::lexer::{Lexer, Token};
use crate::event_format::EventFormat;

/// Deepest nesting that is followed; real print fmts stay below 20.
const MAX_DEPTH: u32 = 100;
/// Most parts of an expression or table entries; the largest print fmts have some hundreds.
const MAX_NODES: u32 = 100_000;

/// The format string, escapes as written, and the arguments.
#[derive(Debug)]
pub(super) struct PrintFmt {
    pub(super) text: Vec<u8>,
    pub(super) args: Vec<Expr>,
}

/// The print fmt is outside of what is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUnderstood;

type Parsed<T> = Result<T, NotUnderstood>;

/// Parses the print fmt of an event.
pub(super) fn print_fmt(format: &EventFormat, options: CompileOptions) -> Parsed<PrintFmt> {
    if format.broken.is_some() {
        return Err(NotUnderstood);
    }
    let mut parser = Parser {
        lexer: Lexer::new(&format.print_fmt),
        format,
        options,
        depth: 0,
        nodes: 0,
        brackets: 0,
    };
    let Token::Text(text) = parser.lexer.next() else { return Err(NotUnderstood) };
    let text = parser.following_texts(text);
    let mut args = Vec::new();
    match parser.lexer.next() {
        Token::End => return Ok(PrintFmt { text, args }),
        Token::Op(",") => {}
        _ => return Err(NotUnderstood),
    }
    loop {
        args.push(parser.arg()?);
        match parser.lexer.next() {
            Token::Op(",") => {}
            Token::End | Token::Op(")") => return Ok(PrintFmt { text, args }),
            _ => return Err(NotUnderstood),
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    format: &'a EventFormat,
    options: CompileOptions,
    depth: u32,
    nodes: u32,
    brackets: u32,
}

impl Parser<'_> {
    /// A whole argument: an item and the operators after it.
    fn arg(&mut self) -> Parsed<Expr> {
        let item = self.item()?;
        self.rest_of(item)
    }

    /// Applies the operators that follow.
    fn rest_of(&mut self, mut left: Expr) -> Parsed<Expr> {
        while self.operator().is_some() {
            left = self.operation(left)?;
        }
        Ok(left)
    }

    /// Precedence of the operator that comes next, if one does.
    fn operator(&self) -> Option<u8> {
        match self.lexer.peek() {
            Token::Op("[") => Some(0),
            Token::Op("?") => Some(16),
            Token::Op(op) => Binary::from_token(op).map(Binary::priority),
            _ => None,
        }
    }

    /// One operator with its right side and all operators that follow.
    fn operation(&mut self, left: Expr) -> Parsed<Expr> {
        self.enter()?;
        let Token::Op(token) = self.lexer.next() else { return Err(NotUnderstood) };
        let node = match token {
            "?" => {
                let yes = self.arg()?;
                self.expect(":")?;
                let no = self.item()?;
                Expr::Choice { condition: Box::new(left), yes: Box::new(yes), no: Box::new(no) }
            }
            "[" => {
                let index = self.item()?;
                self.expect("]")?;
                Expr::Index { array: Box::new(left), index: Box::new(index) }
            }
            _ => {
                let op = Binary::from_token(token).ok_or(NotUnderstood)?;
                let right = self.item()?;
                self.binary_operation(op, left, right)?
            }
        };
        let node = if self.operator().is_some() { self.operation(node)? } else { node };
        self.depth -= 1;
        Ok(node)
    }

    /// A binary operator with its right side. Brackets on the right do not hold against a tighter
    /// operator, which takes the first part of what they hold.
    fn binary_operation(&mut self, op: Binary, left: Expr, right: Expr) -> Parsed<Expr> {
        let next = self.operator();
        Ok(match right {
            Expr::Binary { op: looser, left: middle, right }
                if looser.priority() > op.priority() =>
            {
                let mut inner = self.binary(op, left, *middle);
                if next.is_some_and(|next| next <= looser.priority()) {
                    inner = self.operation(inner)?;
                }
                Expr::Binary { op: looser, left: Box::new(inner), right }
            }
            Expr::Choice { condition, yes, no } => {
                let condition = Box::new(self.binary(op, left, *condition));
                Expr::Choice { condition, yes, no }
            }
            Expr::Unary { op: sign @ (Unary::Negate | Unary::Plus), value }
                if op.priority() < Binary::Add.priority() =>
            {
                let sign = if sign == Unary::Negate { Binary::Sub } else { Binary::Add };
                let left = Box::new(self.binary(op, left, Expr::Null));
                Expr::Binary { op: sign, left, right: value }
            }
            mut right => {
                if next.is_some_and(|next| next <= op.priority()) {
                    right = self.operation(right)?;
                }
                self.binary(op, left, right)
            }
        })
    }

    /// Two plain numbers outside of brackets become one, which matters to `%s` only.
    fn binary(&self, op: Binary, left: Expr, right: Expr) -> Expr {
        let node = Expr::Binary { op, left: Box::new(left), right: Box::new(right) };
        if self.brackets == 0
            && let Expr::Binary { left, right, .. } = &node
            && let (Expr::Atom(left), Expr::Atom(right)) = (&**left, &**right)
        {
            let (left, right) = (atom_value(left), atom_value(right));
            // The one place where the reference knows `^`.
            let value = if op == Binary::Xor { left ^ right } else { op.apply(left, right) };
            return Expr::Atom((value as i64).to_string().into_bytes());
        }
        node
    }

    /// A value with what stands before it, but without operators after it.
    fn item(&mut self) -> Parsed<Expr> {
        self.enter()?;
        let item = match self.lexer.next() {
            Token::Word(word) => self.word(word)?,
            Token::Text(text) => Expr::Atom(self.following_texts(text)),
            Token::Char(text) => Expr::Atom(text),
            Token::Op("(") => self.bracketed()?,
            Token::Op(op) => {
                let op = Unary::from_token(op).ok_or(NotUnderstood)?;
                let mut value = self.item()?;
                if self.lexer.at("[") {
                    value = self.operation(value)?;
                }
                let node = Expr::Unary { op, value: Box::new(value) };
                // The operators that follow belong to it before they belong to what is on its left.
                if self.operator().is_some() { self.operation(node)? } else { node }
            }
            Token::End => return Err(NotUnderstood),
        };
        self.depth -= 1;
        Ok(item)
    }

    /// After `(`: a cast with its value, or an expression.
    fn bracketed(&mut self) -> Parsed<Expr> {
        if let Some(type_name) = self.pointer_type() {
            return Ok(Expr::Cast { type_name, value: Box::new(self.item()?) });
        }
        if let Some(name) = self.bracketed_record() {
            return Ok(Expr::Field(name));
        }
        self.brackets += 1;
        let inner = self.arg();
        self.brackets -= 1;
        let inner = inner?;
        self.expect(")")?;
        let before_item = match self.lexer.peek() {
            Token::Word(_) | Token::Text(_) | Token::Char(_) | Token::Op("(") => true,
            Token::Op(_) | Token::End => false,
        };
        if !before_item {
            return Ok(inner);
        }
        let Expr::Atom(type_name) = inner else { return Err(NotUnderstood) };
        let type_name = String::from_utf8_lossy(&type_name).into_owned();
        Ok(Expr::Cast { type_name, value: Box::new(self.item()?) })
    }

    /// `REC)->name`, taken only when it is all there.
    fn bracketed_record(&mut self) -> Option<String> {
        let mut ahead = self.lexer.clone();
        let is_record = matches!(ahead.next(), Token::Word(word) if word == "REC");
        if !(is_record && ahead.take(")") && ahead.take("->")) {
            return None;
        }
        let Token::Word(name) = ahead.next() else { return None };
        self.lexer = ahead;
        Some(name)
    }

    /// `const char *)`, taken only when it is all there.
    fn pointer_type(&mut self) -> Option<String> {
        if !matches!(self.lexer.peek(), Token::Word(word) if word != "REC") {
            return None;
        }
        let mut ahead = self.lexer.clone();
        let mut name = String::new();
        while let Token::Word(word) = ahead.peek() {
            name.push_str(word);
            name.push(' ');
            ahead.next();
        }
        if !(ahead.take("*") && ahead.take(")")) {
            return None;
        }
        self.lexer = ahead;
        name.push('*');
        Some(name)
    }

    fn word(&mut self, word: String) -> Parsed<Expr> {
        let in_brackets = |parser: &mut Self| -> Parsed<String> {
            parser.expect("(")?;
            let name = parser.name()?;
            parser.expect(")")?;
            Ok(name)
        };
        Ok(match word.as_str() {
            "REC" => {
                self.expect("->")?;
                Expr::Field(self.name()?)
            }
            "sizeof" => self.size_of()?,
            "__builtin_expect" => {
                self.expect("(")?;
                let value = self.arg()?;
                self.expect(",")?;
                self.arg()?;
                self.expect(")")?;
                value
            }
            "__print_flags" => {
                self.expect("(")?;
                let value = Box::new(self.arg()?);
                self.expect(",")?;
                let delimiter = match self.lexer.next() {
                    Token::Word(word) if word != "REC" => word.into_bytes(),
                    Token::Text(text) => self.following_texts(text),
                    _ => return Err(NotUnderstood),
                };
                Expr::Flags { value, delimiter, table: self.table()? }
            }
            "__print_symbolic" => {
                self.expect("(")?;
                let value = Box::new(self.arg()?);
                Expr::Symbolic { value, table: self.table()? }
            }
            "__print_hex" | "__print_hex_str" => {
                let [data, len] = self.arguments()?;
                let (data, len) = (Box::new(data), Box::new(len));
                Expr::Hex { data, len, blanks: word == "__print_hex" }
            }
            "__print_array" => {
                let [data, count, element_size] = self.arguments()?.map(Box::new);
                Expr::Array { data, count, element_size }
            }
            "__get_str" | "__get_rel_str" => Expr::Str(in_brackets(self)?),
            "__get_bitmask" | "__get_rel_bitmask" => Expr::Bitmask(in_brackets(self)?),
            "__get_cpumask" | "__get_rel_cpumask" => Expr::Cpumask(in_brackets(self)?),
            "__get_dynamic_array" | "__get_rel_dynamic_array" | "__get_sockaddr" => {
                let name = in_brackets(self)?;
                Expr::DynamicArray(self.known(name)?)
            }
            "__get_dynamic_array_len" | "__get_rel_dynamic_array_len" => {
                let name = in_brackets(self)?;
                Expr::DynamicArrayLen(self.known(name)?)
            }
            _ => self.atom_or_call(word)?,
        })
    }

    fn known(&self, name: String) -> Parsed<String> {
        self.format.field(&name).map(|_| name).ok_or(NotUnderstood)
    }

    /// Words that follow one another are one atom, `unsigned long`; brackets after one make it a call.
    fn atom_or_call(&mut self, mut word: String) -> Parsed<Expr> {
        while let Token::Word(next) = self.lexer.peek() {
            word.push(' ');
            word.push_str(next);
            self.lexer.next();
        }
        if !self.lexer.take("(") {
            return Ok(Expr::Atom(word.into_bytes()));
        }
        if !self.options.plugin_functions {
            return Err(NotUnderstood);
        }
        let function = Function::from_name(&word).ok_or(NotUnderstood)?;
        let mut args = Vec::new();
        for index in 0..function.arity() {
            if index > 0 {
                self.expect(",")?;
            }
            args.push(self.item()?);
        }
        self.expect(")")?;
        Ok(Expr::Call { function, args })
    }

    /// `sizeof(…)` of the types that the reference knows, and of fields that are not arrays.
    fn size_of(&mut self) -> Parsed<Expr> {
        self.expect("(")?;
        let name = self.name()?;
        let long = u32::from(self.format.abi.long_size);
        let size = if name == "REC" {
            self.expect("->")?;
            let name = self.name()?;
            let field = self.format.field(&name).ok_or(NotUnderstood)?;
            if field.flags.array {
                return Err(NotUnderstood);
            }
            field.size
        } else {
            let mut words = vec![name];
            while let Token::Word(word) = self.lexer.peek() {
                words.push(word.clone());
                self.lexer.next();
            }
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            match words.strip_prefix(&["unsigned"]).unwrap_or(&words) {
                ["int"] | [] => 4,
                ["long"] => long,
                ["long", "long"] => 8,
                _ => return Err(NotUnderstood),
            }
        };
        self.expect(")")?;
        Ok(Expr::Atom(size.to_string().into_bytes()))
    }

    /// `, { value, "text" }, …)` as in `__print_flags`.
    fn table(&mut self) -> Parsed<Table> {
        let mut table = Table::new();
        self.expect(",")?;
        loop {
            self.expect("{")?;
            self.enter()?;
            let value = self.arg()?;
            let value = table_value(&value).ok_or(NotUnderstood)?;
            self.expect(",")?;
            let text = self.arg()?;
            // `((void *)0)` ends some tables.
            let Expr::Atom(text) = text.without_casts() else { return Err(NotUnderstood) };
            let text = text.clone();
            self.expect("}")?;
            self.depth -= 1;
            table.push((value, text));
            if self.lexer.take(",") {
                if self.lexer.take(")") {
                    return Ok(table);
                }
                continue;
            }
            self.expect(")")?;
            return Ok(table);
        }
    }

    /// `(a, b, …)` with exactly so many.
    fn arguments<const N: usize>(&mut self) -> Parsed<[Expr; N]> {
        let mut args = [const { Expr::Null }; N];
        for (index, arg) in args.iter_mut().enumerate() {
            self.expect(if index == 0 { "(" } else { "," })?;
            *arg = self.arg()?;
        }
        self.expect(")")?;
        Ok(args)
    }

    fn following_texts(&mut self, mut text: Vec<u8>) -> Vec<u8> {
        while let Token::Text(next) = self.lexer.peek() {
            text.extend_from_slice(next);
            self.lexer.next();
        }
        text
    }

    fn name(&mut self) -> Parsed<String> {
        match self.lexer.next() {
            Token::Word(name) => Ok(name),
            _ => Err(NotUnderstood),
        }
    }

    fn expect(&mut self, operator: &str) -> Parsed<()> {
        if self.lexer.take(operator) { Ok(()) } else { Err(NotUnderstood) }
    }

    /// Bounds what hostile input can ask for.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        self.nodes += 1;
        if self.depth > MAX_DEPTH || self.nodes > MAX_NODES { Err(NotUnderstood) } else { Ok(()) }
    }
}

/// The value of a table's entry. What does not begin with a digit, such as a negative number or
/// the name of an enumerator that the kernel did not resolve, is -1.
fn table_value(value: &Expr) -> Option<u64> {
    match value {
        Expr::Atom(text) if text.first().is_some_and(u8::is_ascii_digit) => Some(atom_value(text)),
        Expr::Atom(_) => Some(u64::MAX),
        _ => value.constant().map(|value| if (value as i64) < 0 { u64::MAX } else { value }),
    }
}
