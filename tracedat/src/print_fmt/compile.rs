//! From arguments and conversions to steps.
use super::ast::{Expr, Table, cast_mask, convert};
use super::conversion::{self, Conversion, Ipv4Order, Kind, Piece, Pointer, Star};
use super::functions::Function;
use super::limit::MAX_WIDTH;
use super::number::{self, Layout};
use super::parse::{NotUnderstood, PrintFmt};
use super::program::{Form, FormIndex, HexDumpStyle, Literal, Program, RawForm, Step, TableRange};
use super::value::{Load, Op, Place, STACK, Value, bits};
use super::{Compat, Names};
use crate::abi::ByteOrder;
use crate::event_format::{EventFormat, Field};

type Compiled<T> = Result<T, NotUnderstood>;

/// Fills the program with the steps of a print fmt.
pub(super) fn compile(
    program: &mut Program,
    format: &EventFormat,
    print_fmt: &PrintFmt,
    names: Option<&dyn Names>,
) -> Compiled<()> {
    let mut compiler = Compiler { program, format, names, raw: Vec::new() };
    let pieces = compiler.format_string(&print_fmt.text, &print_fmt.args)?;
    compiler.assign_raw(!matches!(pieces.last(), Some(Piece::Conversion(_))));
    Ok(())
}

/// What the arguments for `*` say.
#[derive(Clone, Copy)]
struct Stars {
    width: Option<Value>,
    precision: Option<Value>,
}

struct Compiler<'a> {
    program: &'a mut Program,
    format: &'a EventFormat,
    /// Where names stand for the addresses of the kernel's symbols, what knows these.
    names: Option<&'a dyn Names>,
    /// The fields that are printed by themselves, in the order of the print fmt.
    raw: Vec<(usize, RawForm)>,
}

impl<'a> Compiler<'a> {
    /// Appends the steps of a format string and its arguments.
    fn format_string(&mut self, text: &[u8], args: &[Expr]) -> Compiled<Vec<Piece>> {
        let pieces = conversion::split(text, self.program.full).map_err(|_| NotUnderstood)?;
        let mut args = args.iter();
        let mut after_prefix = false;
        for piece in &pieces {
            match piece {
                Piece::Literal(text) => {
                    after_prefix = text.ends_with(b"0x");
                    self.literal_step(text)?;
                }
                Piece::Conversion(conversion) => {
                    let mut value = |wanted: bool| match wanted {
                        true => self.value(args.next().ok_or(NotUnderstood)?).map(Some),
                        false => Ok(None),
                    };
                    let stars = Stars {
                        width: value(matches!(conversion.star, Star::Width | Star::Both))?,
                        precision: value(matches!(conversion.star, Star::Precision | Star::Both))?,
                    };
                    let arg = args.next().ok_or(NotUnderstood)?;
                    let start = self.program.steps.len() as u32;
                    self.conversion(conversion, stars, arg)?;
                    self.remember_raw(arg, start, std::mem::take(&mut after_prefix));
                }
            }
        }
        Ok(pieces)
    }

    fn push(&mut self, step: Step) {
        self.program.steps.push(step);
    }

    fn field(&self, name: &str) -> Option<&'a Field> {
        self.format.field(name)
    }

    fn load(&self, size: u32) -> Load {
        Load::new(size, self.format.abi.byte_order)
    }

    /// Bytes from one element of an array in the record to the next.
    fn stride(&self, field: &Field) -> u32 {
        let is_unknown = field.array_len == 0 && !field.flags.string && !field.flags.long;
        match self.program.compat {
            // To the older release, elements of `u16 values[]` have no size.
            Compat::V3_1_6 if is_unknown && field.flags.array && !self.program.full => 0,
            _ => field.element_size,
        }
    }

    fn literal(&mut self, text: &[u8]) -> Compiled<Literal> {
        let start = u32::try_from(self.program.literals.len()).map_err(|_| NotUnderstood)?;
        self.program.literals.extend_from_slice(text);
        let end = u32::try_from(self.program.literals.len()).map_err(|_| NotUnderstood)?;
        Ok(Literal { start, end })
    }

    /// Prints a text; one that follows another becomes part of it. Only for places that no jump leads to.
    fn literal_step(&mut self, text: &[u8]) -> Compiled<()> {
        let literal = self.literal(text)?;
        self.push(Step::Literal(literal));
        Ok(())
    }

    fn form(&mut self, conversion: &Conversion, stars: Stars) -> Compiled<FormIndex> {
        if conversion.layout.is_plain() && stars.width.is_none() && stars.precision.is_none() {
            return Ok(None);
        }
        let Stars { width, precision } = stars;
        let form = Form { layout: conversion.layout, width, precision };
        let index = u16::try_from(self.program.forms.len()).map_err(|_| NotUnderstood)?;
        self.program.forms.push(form);
        Ok(Some(index))
    }

    /// Notes how the print fmt prints a field by itself: with `-R` it is printed the same way.
    fn remember_raw(&mut self, arg: &Expr, start: u32, after_prefix: bool) {
        let Expr::Field(name) = arg.without_casts() else { return };
        let fields = &self.format.fields;
        let Some(index) = fields.iter().position(|field| field.name == *name) else { return };
        let end = self.program.steps.len() as u32;
        self.raw.push((index, RawForm { start, end, after_prefix }));
    }

    /// Gives each field its form. The reference looks for it behind that of the field before, then
    /// from the start; once it took the last piece of all, it takes no more.
    fn assign_raw(&mut self, ends_with_text: bool) {
        let last = self.program.steps.len() as u32;
        let mut at = 0;
        for (index, form) in self.program.raw_forms.iter_mut().enumerate() {
            let order = (at..self.raw.len()).chain(0..at);
            let Some(found) = order.into_iter().find(|&at| self.raw[at].0 == index) else {
                continue;
            };
            let raw = self.raw[found].1;
            *form = Some(raw);
            if raw.end == last && !ends_with_text {
                return;
            }
            at = found + 1;
        }
    }

    fn conversion(&mut self, conversion: &Conversion, stars: Stars, arg: &Expr) -> Compiled<()> {
        if let Expr::Unknown | Expr::Printed(_) = arg.without_casts() {
            return self.text(arg.without_casts(), None);
        }
        match conversion.kind {
            Kind::Number { base, bits } => {
                let value = self.value(arg)?;
                let form = self.form(conversion, stars)?;
                if let (Value::Const(value), None) = (value, form) {
                    let mut text = Vec::new();
                    number::plain(&mut text, value, base, bits);
                    return self.literal_step(&text);
                }
                let bits = bits as u8;
                self.push(match form {
                    None => Step::Number { value, base, bits },
                    Some(form) => Step::LaidOutNumber { value, base, bits, form },
                });
                Ok(())
            }
            Kind::Char => {
                let (value, form) = (self.value(arg)?, self.form(conversion, stars)?);
                self.push(Step::Char { value, form });
                Ok(())
            }
            Kind::Text => {
                let form = self.form(conversion, stars)?;
                self.text(arg, form)
            }
            Kind::Pointer(pointer) => {
                let width = conversion.layout.width;
                let fixed = (self.program.full && width > 0).then_some(Value::Const(width.into()));
                self.pointer(pointer, stars.width.or(stars.precision).or(fixed), arg)
            }
        }
    }

    /// What `%s` prints of an argument.
    fn text(&mut self, arg: &Expr, form: FormIndex) -> Compiled<()> {
        let arg = if self.program.full { arg.without_casts() } else { arg };
        match arg {
            Expr::Atom(text) => {
                let text = self.literal(text)?;
                self.push(match form {
                    None => Step::Literal(text),
                    Some(form) => Step::LaidOutLiteral { text, form },
                });
            }
            Expr::Field(name) => {
                let Some(field) = self.field(name) else { return Ok(()) };
                if self.program.full && field.flags.dynamic {
                    return match self.located(name) {
                        Some(place) => {
                            self.push(Step::LocatedText { place, form });
                            Ok(())
                        }
                        None => Ok(()),
                    };
                }
                if !field.flags.array && field.size == u32::from(self.format.abi.long_size) {
                    let value = Value::Load { load: self.load(field.size), offset: field.offset };
                    self.push(Step::PointedText { value });
                } else {
                    // A field without a size takes the rest of the record.
                    let len = if field.size == 0 { u32::MAX } else { field.size };
                    self.push(Step::FieldText { start: field.offset, len, form });
                }
            }
            Expr::Flags { value, delimiter, table } => {
                let value = self.value(value)?;
                let delimiter = self.literal(delimiter)?;
                let table = self.table(table)?;
                let range = table.start as usize..table.end as usize;
                let masks = self.program.table.get(range).unwrap_or_default();
                // The kernel is done with an empty rest, and knows masks with the highest bit.
                let ends_early =
                    self.program.full || masks.iter().all(|&(mask, _)| mask as i64 > 0);
                self.push(Step::Flags { value, delimiter, table, ends_early, form });
            }
            Expr::Symbolic { value, table } => {
                let value = self.value(value)?;
                let table = self.table(table)?;
                self.push(Step::Symbolic { value, table, form });
            }
            Expr::Hex { data, len, blanks } => {
                let Some(place) = self.data_place(data) else { return Ok(()) };
                let len = self.value(len)?;
                self.push(Step::Hex { place, len, blanks: *blanks });
            }
            Expr::Array { data, count, element_size } => {
                let Some(place) = self.data_place(data) else { return Ok(()) };
                let (count, element_size) = (self.value(count)?, self.value(element_size)?);
                self.push(Step::Array { place, count, element_size });
            }
            Expr::HexDump { prefix, offsets, row, group, data, len, ascii } => {
                let Some(place) = self.data_place(data) else { return Ok(()) };
                let (len, prefix) = (self.value(len)?, self.literal(prefix)?);
                let style =
                    HexDumpStyle { offsets: *offsets, row: *row, group: *group, ascii: *ascii };
                self.push(Step::HexDump { place, len, prefix, style });
            }
            Expr::Printed(parts) => {
                for (text, args) in parts {
                    self.format_string(text, args)?;
                }
            }
            Expr::Unknown => self.literal_step(b"?")?,
            Expr::DynamicArray(name) if self.program.full => {
                if let Some(place) = self.located(name) {
                    self.push(Step::LocatedText { place, form });
                }
            }
            Expr::Str(name) => {
                if let Some(place) = self.located(name) {
                    self.push(Step::LocatedText { place, form });
                }
            }
            Expr::Bitmask(name) => {
                if let Some(place) = self.located(name) {
                    self.push(Step::Bitmask { place, form });
                }
            }
            Expr::Cpumask(name) => {
                if let Some(place) = self.located(name) {
                    self.push(Step::Cpumask { place, form });
                }
            }
            Expr::Choice { condition, yes, no } => {
                let value = self.value(condition)?;
                let branch = self.program.steps.len();
                self.push(Step::JumpIfZero { value, target: 0 });
                self.text(yes, form)?;
                let skip = self.program.steps.len();
                self.push(Step::Jump { target: 0 });
                let no_at = self.program.steps.len() as u32;
                self.text(no, form)?;
                let end = self.program.steps.len() as u32;
                self.program.steps[branch] = Step::JumpIfZero { value, target: no_at };
                self.program.steps[skip] = Step::Jump { target: end };
            }
            Expr::Call { function, args } => {
                let (place, value) = match (function, args.as_slice()) {
                    (Function::ScsiTraceParseCdb, [_, cdb, _]) => {
                        (self.data_place(cdb), Value::Const(0))
                    }
                    (Function::Le16ToCpup, _) => (None, self.value(arg)?),
                    (_, [arg, ..]) => (None, self.value(arg)?),
                    _ => return Err(NotUnderstood),
                };
                self.push(Step::Call { function: *function, value, place });
            }
            Expr::Null
            | Expr::Number(_)
            | Expr::Convert { .. }
            | Expr::Element { .. }
            | Expr::Swapped { .. }
            | Expr::Cast { .. }
            | Expr::DynamicArray(_)
            | Expr::DynamicArrayLen(_)
            | Expr::Unary { .. }
            | Expr::Binary { .. }
            | Expr::Index { .. } => {}
        }
        Ok(())
    }

    /// What `%p…` prints of an argument.
    fn pointer(&mut self, pointer: Pointer, star: Option<Value>, arg: &Expr) -> Compiled<()> {
        let step = match pointer {
            Pointer::Plain => Step::Pointer { value: self.value(arg)? },
            Pointer::Symbol { offset } => Step::Symbol { value: self.value(arg)?, offset },
            Pointer::Backtrace => Step::NewPointer { value: self.value(arg)?, letter: b'B' },
            Pointer::Hex => Step::NewPointer { value: self.value(arg)?, letter: b'x' },
            Pointer::Bits { list } => Step::Bits {
                value: self.value(arg)?,
                place: self.data_place(arg),
                len: star.unwrap_or(Value::Const(0)),
                list,
            },
            Pointer::Nothing => return Ok(()),
            Pointer::Socket { plain, port, compressed } => {
                let Some(place) = self.data_place(arg) else {
                    let kind = arg.without_casts().kind();
                    let text = format!("ARG NOT FIELD NOR DYNAMIC ARRAY BUT TYPE {kind}");
                    return self.literal_step(text.as_bytes());
                };
                Step::Socket { place, plain, port, compressed }
            }
            Pointer::Bytes { separator } => {
                let place = match arg {
                    Expr::DynamicArray(name) => self.located(name).ok_or(NotUnderstood)?,
                    _ if self.program.full => self.data_place(arg).ok_or(NotUnderstood)?,
                    _ => return self.not_a_field(arg.kind()),
                };
                Step::Bytes { place, len: star.unwrap_or(Value::Const(1)), separator }
            }
            Pointer::Mac { .. } if matches!(arg, Expr::Call { .. }) => return self.text(arg, None),
            Pointer::Mac { separator, reversed } => match self.bytes_of(arg, 6, "INVALIDMAC")? {
                Some(place) => Step::Mac { place, separator, reversed },
                None => return Ok(()),
            },
            Pointer::Ipv4 { padded, order } => match self.bytes_of(arg, 4, "INVALIDIPv4")? {
                Some(place) => {
                    let little = self.format.abi.byte_order == ByteOrder::Little;
                    let reversed =
                        order == Ipv4Order::Little || (order == Ipv4Order::Host && little);
                    Step::Ipv4 { place, padded, reversed }
                }
                None => return Ok(()),
            },
            Pointer::Ipv6 { colons, compressed } => match self.bytes_of(arg, 16, "INVALIDIPv6")? {
                Some(place) => Step::Ipv6 { place, colons, compressed },
                None => return Ok(()),
            },
            Pointer::Uuid { upper, little } => match self.bytes_of(arg, 16, "INVALIDUUID")? {
                Some(place) => Step::Uuid { place, upper, little },
                None => return Ok(()),
            },
        };
        self.push(step);
        Ok(())
    }

    /// Where so many bytes are: for the reference a field of exactly that size. Otherwise the
    /// complaint becomes part of the program.
    fn bytes_of(&mut self, arg: &Expr, size: u32, complaint: &str) -> Compiled<Option<Place>> {
        let arg = arg.without_casts();
        if self.program.full {
            let place = self.data_place(arg);
            if place.is_none() {
                self.literal_step(b"?")?;
            }
            return Ok(place);
        }
        let Expr::Field(name) = arg else {
            self.not_a_field(arg.kind())?;
            return Ok(None);
        };
        match self.field(name) {
            Some(field) if field.size == size => {
                Ok(Some(Place::Fixed { start: field.offset, len: size }))
            }
            _ => {
                self.literal_step(complaint.as_bytes())?;
                Ok(None)
            }
        }
    }

    fn not_a_field(&mut self, kind: u8) -> Compiled<()> {
        self.literal_step(format!("ARG TYPE NOT FIELD BUT {kind}").as_bytes())
    }

    fn table(&mut self, table: &Table) -> Compiled<TableRange> {
        let start = u32::try_from(self.program.table.len()).map_err(|_| NotUnderstood)?;
        for (value, text) in table {
            let text = self.literal(text)?;
            self.program.table.push((*value, text));
        }
        let end = u32::try_from(self.program.table.len()).map_err(|_| NotUnderstood)?;
        Ok(TableRange { start, end })
    }

    /// Where a dynamic field's word points; `None` for other fields.
    fn located(&self, name: &str) -> Option<Place> {
        let field = self.field(name).filter(|field| field.flags.dynamic)?;
        let base = if field.flags.relative { field.offset.checked_add(field.size)? } else { 0 };
        Some(Place::Located { load: self.load(field.size), word: field.offset, base })
    }

    /// The bytes that a pointer argument stands for.
    fn data_place(&self, arg: &Expr) -> Option<Place> {
        match arg.without_casts() {
            Expr::DynamicArray(name) => self.located(name),
            Expr::Str(name) if self.program.full => self.located(name),
            Expr::Field(name) if self.program.full && self.field(name)?.flags.dynamic => {
                self.located(name)
            }
            Expr::Field(name) => {
                let field = self.field(name)?;
                Some(Place::Fixed { start: field.offset, len: field.size })
            }
            _ => None,
        }
    }

    /// The number that an argument stands for.
    fn value(&mut self, expr: &Expr) -> Compiled<Value> {
        let resolved = self.names.map(|names| {
            expr.with_addresses(&|name| match name.first() {
                Some(b'_' | b'a'..=b'z' | b'A'..=b'Z') => names.symbols().address_of(name),
                _ => None,
            })
        });
        let expr = resolved.as_ref().unwrap_or(expr);
        if let Some(value) = expr.constant() {
            return Ok(Value::Const(value));
        }
        if let Expr::Convert { bits, signed: true, value } = expr
            && let Expr::Field(name) = &**value
            && let Some(field) = self.field(name)
            && field.size.checked_mul(8) == Some(u32::from(*bits))
        {
            let load = self.load(field.size).signed();
            return Ok(Value::Load { load, offset: field.offset });
        }
        if let Expr::Field(name) = without_plain_casts(expr)
            && let Some(field) = self.field(name)
        {
            // A cast that cuts nothing off is not worth a step.
            let load = self.load(field.size);
            let mut mask = u64::MAX;
            let mut inner = expr;
            while let Expr::Cast { type_name, value } = inner {
                mask &= cast_mask(type_name);
                inner = value;
            }
            let kept = 64 - mask.leading_zeros();
            if kept >= field.size.saturating_mul(8) || load == Load::Zero {
                return Ok(Value::Load { load, offset: field.offset });
            }
        }
        let start = self.program.code.len();
        self.code(expr)?;
        let code = self.program.code.get(start..).unwrap_or_default();
        if let Some(value) = bits(code) {
            self.program.code.truncate(start);
            return Ok(value);
        }
        let (mut depth, mut deepest) = (0isize, 0isize);
        for op in code {
            depth += op.growth();
            deepest = deepest.max(depth);
        }
        if deepest > STACK as isize {
            return Err(NotUnderstood);
        }
        let index = |at: usize| u32::try_from(at).map_err(|_| NotUnderstood);
        Ok(Value::Code { start: index(start)?, end: index(self.program.code.len())? })
    }

    /// Appends code that leaves an expression's number on the stack.
    fn code(&mut self, expr: &Expr) -> Compiled<()> {
        if let Some(value) = expr.constant() {
            self.program.code.push(Op::Const(value));
            return Ok(());
        }
        let op = match expr {
            Expr::Field(name) => match self.field(name) {
                Some(field) => Op::Load { load: self.load(field.size), offset: field.offset },
                None => Op::Const(0),
            },
            Expr::Cast { type_name, value } => {
                self.code(value)?;
                Op::Mask(cast_mask(type_name))
            }
            Expr::Convert { bits, signed, value } => {
                self.code(value)?;
                match signed {
                    true => Op::Extend(*bits),
                    false => Op::Mask(convert(u64::MAX, *bits, false)),
                }
            }
            Expr::Swapped { bits, value } => {
                self.code(value)?;
                Op::Swap(*bits)
            }
            Expr::Element { data, offset, size } => {
                self.code(offset)?;
                let load = self.load((*size).into());
                match self.data_place(data) {
                    Some(place) => Op::DynamicElement { load, place },
                    None => Op::Mask(0),
                }
            }
            Expr::Unary { op, value } => {
                self.code(value)?;
                Op::Unary(*op)
            }
            Expr::Binary { op, left, right } => {
                self.code(left)?;
                self.code(right)?;
                Op::Binary(*op)
            }
            Expr::Choice { condition, yes, no } => {
                self.code(condition)?;
                self.code(yes)?;
                self.code(no)?;
                Op::Choose
            }
            Expr::Index { array, index } => {
                self.code(index)?;
                match array.without_casts() {
                    Expr::Field(name) => match self.field(name) {
                        Some(field) => {
                            let stride = self.stride(field);
                            Op::Element { load: self.load(stride), base: field.offset, stride }
                        }
                        None => Op::Mask(0),
                    },
                    Expr::DynamicArray(name) => {
                        let size = self.field(name).map_or(0, |field| field.element_size);
                        match self.located(name) {
                            Some(place) => Op::DynamicElement { load: self.load(size), place },
                            None => Op::Mask(0),
                        }
                    }
                    _ => Op::Mask(0),
                }
            }
            Expr::DynamicArrayLen(name) => self.located(name).map_or(Op::Const(0), Op::Length),
            Expr::DynamicArray(name) => self.located(name).map_or(Op::Const(0), Op::Start),
            Expr::Call { function, args } => match (function, args.as_slice()) {
                (Function::JiffiesToMsecs, [value]) => return self.code(value),
                (Function::Le16ToCpup, [pointer]) => {
                    let place = match pointer.without_casts() {
                        Expr::DynamicArray(name) => self.located(name),
                        _ => None,
                    };
                    self.program.code.push(Op::Const(0));
                    place
                        .map_or(Op::Mask(0), |place| Op::DynamicElement { load: Load::Le16, place })
                }
                _ => Op::Const(0),
            },
            _ => Op::Const(0),
        };
        self.program.code.push(op);
        Ok(())
    }
}

/// The expression under its casts by name.
fn without_plain_casts(mut expr: &Expr) -> &Expr {
    while let Expr::Cast { value, .. } = expr {
        expr = value;
    }
    expr
}

impl Form {
    /// The layout for one record, given how to evaluate a value.
    #[inline]
    pub(super) fn resolve(&self, value: impl Fn(Value) -> u64) -> Layout {
        let mut layout = self.layout;
        if let Some(width) = self.width {
            let width = value(width) as i32;
            layout.left |= width < 0;
            layout.width = width.unsigned_abs().min(MAX_WIDTH);
        }
        if let Some(precision) = self.precision {
            layout.precision = u32::try_from(value(precision) as i32).ok();
            layout.precision = layout.precision.map(|most| most.min(MAX_WIDTH));
        }
        layout
    }
}
