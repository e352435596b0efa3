//! Calls: the kernel's print helpers, the compiler's builtins, and functions nobody knows here.
use super::types::{INT, Int, Type, Typed};
use super::{Parsed, Parser};
use crate::print_fmt::ast::{Binary, Expr, Table};
use crate::print_fmt::functions::Function;
use crate::print_fmt::parse::NotUnderstood;

const NS_PER_S: u64 = 1_000_000_000;

impl Parser<'_> {
    /// A call whose name and `(` were taken.
    pub(super) fn call(&mut self, name: &str) -> Parsed<Typed> {
        Ok(match name {
            "sizeof" => {
                let (_, size) = self.type_or_value()?;
                self.expect(")")?;
                match size {
                    Some(size) => self.constant(size),
                    None => Typed { ty: Type::Int(self.long(false)), ..Typed::UNKNOWN },
                }
            }
            "offsetof" | "__builtin_offsetof" => {
                self.skip_brackets()?;
                Typed { ty: Type::Int(self.long(false)), ..Typed::UNKNOWN }
            }
            "__builtin_types_compatible_p" => {
                let (left, _) = self.type_argument()?;
                self.expect(",")?;
                let (right, _) = self.type_argument()?;
                self.expect(")")?;
                Typed::int(Expr::Number(u64::from(left == right)), INT)
            }
            "__print_flags" | "__print_flags_u64" => {
                let value = self.expression()?;
                self.expect(",")?;
                let delimiter = self.text()?;
                let table = self.table()?;
                let value = match value.ty {
                    Type::Unknown | Type::Text => return Ok(Typed::text(Expr::Unknown)),
                    _ => Box::new(value.expr),
                };
                Typed::text(Expr::Flags { value, delimiter, table })
            }
            "__print_symbolic" | "__print_symbolic_u64" => {
                let value = self.expression()?;
                let table = self.table()?;
                let value = match value.ty {
                    Type::Unknown | Type::Text => return Ok(Typed::text(Expr::Unknown)),
                    _ => Box::new(value.expr),
                };
                Typed::text(Expr::Symbolic { value, table })
            }
            "__get_str" | "__get_rel_str" => Typed::string(Expr::Str(self.field_name()?)),
            "__get_bitmask" | "__get_rel_bitmask" => Typed::text(Expr::Bitmask(self.field_name()?)),
            "__get_cpumask" | "__get_rel_cpumask" => Typed::text(Expr::Cpumask(self.field_name()?)),
            "__get_dynamic_array"
            | "__get_rel_dynamic_array"
            | "__get_sockaddr"
            | "__get_rel_sockaddr" => {
                Typed { expr: Expr::DynamicArray(self.field_name()?), ty: Type::Pointer(None) }
            }
            "__get_dynamic_array_len" | "__get_rel_dynamic_array_len" => {
                Typed::int(Expr::DynamicArrayLen(self.field_name()?), INT)
            }
            _ => {
                let args = self.call_arguments()?;
                self.known_call(name, args)?
            }
        })
    }

    /// A type or a value up to `,` or `)`.
    fn type_argument(&mut self) -> Parsed<(Type, Option<u64>)> {
        let before = self.lexer.clone();
        if let Some(name) = self.type_name()?
            && (self.lexer.at(",") || self.lexer.at(")"))
        {
            return Ok((name.ty, name.size));
        }
        self.lexer = before;
        self.type_or_value()
    }

    fn field_name(&mut self) -> Parsed<String> {
        let name = self.name()?;
        self.expect(")")?;
        Ok(name)
    }

    fn call_arguments(&mut self) -> Parsed<Vec<Typed>> {
        let mut args = Vec::new();
        if self.lexer.take(")") {
            return Ok(args);
        }
        loop {
            // The buffer that functions print to is no value.
            if self.at_word("p") && self.local("p").is_none() {
                self.lexer.next();
            } else {
                args.push(self.expression()?);
            }
            if !self.lexer.take(",") {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }

    fn known_call(&mut self, name: &str, mut args: Vec<Typed>) -> Parsed<Typed> {
        if args.iter().any(|arg| arg.expr == Expr::Unknown) && name.starts_with("__print_") {
            return Ok(Typed::text(Expr::Unknown));
        }
        let swapped = |bits, value: Typed| {
            let int = Int { bits, signed: false };
            match value.into_int(int) {
                unknown @ Typed { expr: Expr::Unknown, .. } => unknown,
                Typed { expr, .. } => {
                    Typed::int(Expr::Swapped { bits, value: Box::new(expr) }, int)
                }
            }
        };
        match (name, args.len()) {
            ("__builtin_expect", 2) => Ok(args.swap_remove(0)),
            ("__builtin_constant_p", 1) => {
                Ok(Typed::int(Expr::Number(args[0].expr.constant().is_some().into()), INT))
            }
            ("__builtin_choose_expr", 3) => match args[0].expr.constant() {
                Some(0) => Ok(args.swap_remove(2)),
                Some(_) => Ok(args.swap_remove(1)),
                None => Ok(Typed::UNKNOWN),
            },
            ("__builtin_bswap16", 1) => Ok(swapped(16, args.swap_remove(0))),
            ("__builtin_bswap32", 1) => Ok(swapped(32, args.swap_remove(0))),
            ("__builtin_bswap64", 1) => Ok(swapped(64, args.swap_remove(0))),
            ("__builtin_ffs" | "__builtin_ffsl" | "__builtin_ffsll", 1) => {
                Ok(match args[0].expr.constant() {
                    Some(0) => Typed::int(Expr::Number(0), INT),
                    Some(value) => {
                        Typed::int(Expr::Number(u64::from(value.trailing_zeros()) + 1), INT)
                    }
                    None => Typed { ty: Type::Int(INT), ..Typed::UNKNOWN },
                })
            }
            ("__print_ns_to_secs" | "__print_ns_without_secs", 1) => {
                let value = args.swap_remove(0).into_int(Int { bits: 64, signed: false });
                let op = if name == "__print_ns_to_secs" { Binary::Div } else { Binary::Rem };
                let divisor = Typed::int(Expr::Number(NS_PER_S), Int { bits: 64, signed: false });
                self.operation(op, value, divisor)
            }
            ("__print_hex" | "__print_hex_str", 2) => {
                let [data, len] = boxed(args)?;
                Ok(Typed::text(Expr::Hex { data, len, blanks: name == "__print_hex" }))
            }
            ("__print_array", 3) => {
                let [data, count, element_size] = boxed(args)?;
                Ok(Typed::text(Expr::Array { data, count, element_size }))
            }
            ("__print_hex_dump", 7) => hex_dump(args),
            ("trace_seq_printf", 1..) => {
                let mut args = args.into_iter().map(|arg| arg.expr);
                let Some(Expr::Atom(text)) = args.next() else { return Err(NotUnderstood) };
                self.printed.push((text, args.collect()));
                Ok(Typed::UNKNOWN)
            }
            ("trace_seq_puts", 1) => {
                self.printed.push((b"%s".to_vec(), vec![args.swap_remove(0).expr]));
                Ok(Typed::UNKNOWN)
            }
            ("trace_seq_putc", 1) => {
                self.printed.push((b"%c".to_vec(), vec![args.swap_remove(0).expr]));
                Ok(Typed::UNKNOWN)
            }
            ("mc_event_error_type", 1) => Ok(names(
                args.swap_remove(0),
                &["Corrected", "Uncorrected", "Deferred", "Fatal", "Info"],
            )),
            ("str_yes_no", 1) => Ok(one_of(args.swap_remove(0), ["yes", "no"])),
            ("str_on_off", 1) => Ok(one_of(args.swap_remove(0), ["on", "off"])),
            ("str_true_false", 1) => Ok(one_of(args.swap_remove(0), ["true", "false"])),
            ("str_enabled_disabled", 1) => Ok(one_of(args.swap_remove(0), ["enabled", "disabled"])),
            ("str_enable_disable", 1) => Ok(one_of(args.swap_remove(0), ["enable", "disable"])),
            ("str_read_write", 1) => Ok(one_of(args.swap_remove(0), ["read", "write"])),
            _ => Ok(self.other_call(name, args)),
        }
    }

    /// `, { value, "text" }, …)`; an entry without text ends the kernel's table.
    fn table(&mut self) -> Parsed<Table> {
        let mut table = Table::new();
        let mut ended = false;
        while self.lexer.take(",") {
            if self.lexer.at(")") {
                break;
            }
            self.expect("{")?;
            if self.lexer.take("}") {
                continue;
            }
            let value = self.expression()?;
            self.expect(",")?;
            let text = self.expression()?;
            self.lexer.take(",");
            self.expect("}")?;
            self.count(1)?;
            match text.expr.without_casts() {
                Expr::Atom(text) if !ended => {
                    // A name that the kernel did not resolve matches nothing.
                    if let (Some(key), Type::Int(_) | Type::Pointer(_)) =
                        (value.expr.constant(), value.ty)
                    {
                        table.push((key, text.clone()));
                    }
                }
                _ => ended = true,
            }
        }
        self.expect(")")?;
        Ok(table)
    }

    /// A function that the reference's plugins know, or one that is printed as `name(1, "text")`.
    fn other_call(&self, name: &str, args: Vec<Typed>) -> Typed {
        // Two of them have the buffer among their arguments, which is not kept.
        if let Some(function) = Function::from_name(name) {
            let mut args: Vec<Expr> = args.into_iter().map(|arg| arg.expr).collect();
            if function == Function::ScsiTraceParseCdb {
                args.insert(0, Expr::Null);
            }
            if args.len() == function.arity() {
                let ty = match function {
                    Function::JiffiesToMsecs | Function::Le16ToCpup => {
                        Type::Int(Int { bits: 64, signed: false })
                    }
                    _ => Type::Text,
                };
                return Typed { expr: Expr::Call { function, args }, ty };
            }
            return Typed::text(Expr::Unknown);
        }
        let mut text = format!("{name}(").into_bytes();
        let mut shown = Vec::new();
        for (index, arg) in args.into_iter().enumerate() {
            if index > 0 {
                text.extend_from_slice(b", ");
            }
            let is_text = matches!(arg.ty, Type::Pointer(Some(Int { bits: 8, .. })));
            if self.is_data(&arg.expr) && !is_text {
                text.extend_from_slice(b"...");
                continue;
            }
            text.extend_from_slice(match arg.ty {
                Type::Int(Int { signed: true, .. }) => b"%lld",
                Type::Int(_) => b"%llu",
                Type::Pointer(Some(Int { bits: 8, .. })) | Type::Text => b"\"%s\"",
                Type::Pointer(_) | Type::Unknown => b"0x%llx",
            });
            shown.push(arg.expr);
        }
        text.push(b')');
        Typed::text(Expr::Printed(vec![(text, shown)]))
    }
}

fn boxed<const N: usize>(args: Vec<Typed>) -> Parsed<[Box<Expr>; N]> {
    let args: Vec<_> = args.into_iter().map(|arg| Box::new(arg.expr)).collect();
    args.try_into().map_err(|_| NotUnderstood)
}

/// `(prefix, prefix type, bytes in a row, bytes in a number, data, length, with text)`.
fn hex_dump(args: Vec<Typed>) -> Parsed<Typed> {
    let args: Vec<Expr> = args.into_iter().map(|arg| arg.expr).collect();
    let Ok([prefix, kind, row, group, data, len, ascii]) = <[Expr; 7]>::try_from(args) else {
        return Err(NotUnderstood);
    };
    let Expr::Atom(prefix) = prefix.without_casts() else { return Err(NotUnderstood) };
    let number = |expr: &Expr| expr.constant();
    // Addresses are not recorded: offsets stand for them.
    let kind = number(&kind).unwrap_or(0);
    let row = if number(&row) == Some(32) { 32 } else { 16 };
    let group = match number(&group) {
        Some(group @ (2 | 4 | 8)) => group as u8,
        _ => 1,
    };
    Ok(Typed::text(Expr::HexDump {
        prefix: prefix.clone(),
        offsets: kind != 0,
        row,
        group,
        data: Box::new(data),
        len: Box::new(len),
        ascii: number(&ascii).is_some_and(|ascii| ascii != 0),
    }))
}

/// The text at a number's place in a list.
fn names(value: Typed, texts: &[&str]) -> Typed {
    if value.expr == Expr::Unknown {
        return Typed::text(Expr::Unknown);
    }
    let table = (0..).zip(texts.iter().map(|text| text.as_bytes().to_vec())).collect();
    Typed::text(Expr::Symbolic { value: Box::new(value.expr), table })
}

fn one_of(condition: Typed, [yes, no]: [&str; 2]) -> Typed {
    if condition.expr == Expr::Unknown {
        return Typed::text(Expr::Unknown);
    }
    let text = |text: &str| Box::new(Expr::Atom(text.as_bytes().to_vec()));
    let condition = Box::new(condition.expr);
    Typed::text(Expr::Choice { condition, yes: text(yes), no: text(no) })
}
