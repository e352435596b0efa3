//! Parses a print fmt as the C that it is.
//!
//! Operators group and convert as C has them, and values keep their sign. Beyond expressions there
//! are what kernels write: statement expressions with locals and `trace_seq_printf`, types, and the
//! compiler's builtins. What the print fmt alone cannot tell, such as the members of a structure,
//! is printed as `?`, and the call of an unknown function as the call itself.
mod expression;
mod helper;
mod statement;
mod types;

use super::ast::Expr;
use super::lexer::{Lexer, Token};
use super::parse::{NotUnderstood, PrintFmt};
use crate::event_format::EventFormat;
use statement::Local;
use types::Typed;

/// Deepest nesting that is followed; real print fmts stay below 40.
const MAX_DEPTH: u32 = 240;
/// Most parts of all expressions; the largest print fmts have some thousands.
const MAX_NODES: usize = 100_000;

/// Most operators of one argument that a record is needed for, and so the height of what is
/// compiled.
const MAX_OPERATORS: usize = 300;

type Parsed<T> = Result<T, NotUnderstood>;

/// Parses the print fmt of an event.
pub(super) fn print_fmt(format: &EventFormat) -> Parsed<PrintFmt> {
    if format.broken.is_some() {
        return Err(NotUnderstood);
    }
    let (text, rest) = format_string(&format.print_fmt).ok_or(NotUnderstood)?;
    let mut parser = Parser {
        lexer: Lexer::complete(rest),
        format,
        depth: 0,
        nodes: 0,
        operators: 0,
        locals: Vec::new(),
        printed: Vec::new(),
        written_out: None,
    };
    let args = parser.arguments()?;
    Ok(PrintFmt { text, args })
}

/// The format string with what follows. Kernels do not hide the quotes in it, so it ends at one
/// that only a comma or another text can follow.
fn format_string(print_fmt: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut rest = print_fmt.trim_ascii_start();
    while let Some(mut body) = rest.strip_prefix(b"\"") {
        loop {
            let (&byte, after) = body.split_first()?;
            body = after;
            let next = after.trim_ascii_start();
            if byte == b'"'
                && (matches!(next.first(), None | Some(b','))
                    || (next.len() < after.len() && next.starts_with(b"\"")))
            {
                break;
            }
            text.push(byte);
            if byte == b'\\' {
                let (&hidden, after) = body.split_first()?;
                text.push(hidden);
                body = after;
            }
        }
        rest = body.trim_ascii_start();
    }
    (rest.len() < print_fmt.len()).then_some((text, rest))
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    format: &'a EventFormat,
    depth: u32,
    nodes: usize,
    operators: usize,
    /// What the statement expressions around declare, the innermost last.
    locals: Vec<(String, Local)>,
    /// What `trace_seq_printf` printed in the statement expressions around.
    printed: Vec<(Vec<u8>, Vec<Expr>)>,
    /// The member that the last structure written out has: `(ktime_t) { .tv64 = 1 }`.
    written_out: Option<String>,
}

impl Parser<'_> {
    /// `, a, b` up to the end of the print fmt.
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        loop {
            match self.lexer.next() {
                Token::End => return Ok(args),
                Token::Op(",") => {
                    self.operators = 0;
                    args.push(self.expression()?.expr);
                }
                _ => return Err(NotUnderstood),
            }
        }
    }

    /// Texts in quotes that follow one another.
    fn text(&mut self) -> Parsed<Vec<u8>> {
        let Token::Text(mut text) = self.lexer.next() else { return Err(NotUnderstood) };
        while let Token::Text(next) = self.lexer.peek() {
            text.extend_from_slice(next);
            self.lexer.next();
        }
        Ok(text)
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

    /// Whether the next token is that word.
    fn at_word(&self, word: &str) -> bool {
        matches!(self.lexer.peek(), Token::Word(next) if next == word)
    }

    /// Takes the next token if it is that word.
    fn take_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.lexer.next();
        }
        found
    }

    /// Skips what is between brackets whose first was taken, that last one included.
    fn skip_brackets(&mut self) -> Parsed<()> {
        let mut open = 1;
        while open > 0 {
            match self.lexer.next() {
                Token::Op("(" | "{" | "[") => open += 1,
                Token::Op(")" | "}" | "]") => open -= 1,
                Token::End => return Err(NotUnderstood),
                _ => {}
            }
        }
        Ok(())
    }

    /// Bounds what hostile input can ask for. The caller takes one off [`Parser::depth`] when it
    /// is done.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        self.count(1)?;
        if self.depth > MAX_DEPTH { Err(NotUnderstood) } else { Ok(()) }
    }

    /// Counts operators whose value a record decides.
    fn count_operators(&mut self, operators: usize) -> Parsed<()> {
        self.operators = self.operators.saturating_add(operators);
        if self.operators > MAX_OPERATORS { Err(NotUnderstood) } else { Ok(()) }
    }

    fn count(&mut self, nodes: usize) -> Parsed<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES { Err(NotUnderstood) } else { Ok(()) }
    }

    /// The type `long` of the traced machine.
    fn long(&self, signed: bool) -> types::Int {
        types::Int { bits: self.format.abi.long_size.saturating_mul(8), signed }
    }

    fn constant(&self, value: u64) -> Typed {
        Typed::int(Expr::Number(value), self.long(false))
    }
}
