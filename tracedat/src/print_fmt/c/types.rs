//! Types, as far as they matter to what is printed, and the names of types.
use super::{Parsed, Parser};
use crate::event_format::Field;
use crate::print_fmt::ast::{Binary, Expr};
use crate::print_fmt::lexer::Token;
use crate::print_fmt::parse::NotUnderstood;

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Int {
    pub(super) bits: u8,
    pub(super) signed: bool,
}

/// `bool`: of the numbers only 0 and 1.
const BOOL: Int = Int { bits: 1, signed: false };
/// `int`.
pub(super) const INT: Int = Int { bits: 32, signed: true };
const CHAR: Int = Int { bits: 8, signed: true };

/// What is known about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Int(Int),
    /// A pointer, to an integer where that is known.
    Pointer(Option<Int>),
    /// Text that a helper prints.
    Text,
    /// Nothing: the value is of no use.
    Unknown,
}

/// A value and its type. An integer's value always fits its type: it carries its sign or has
/// zeros above.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) expr: Expr,
    pub(super) ty: Type,
}

impl Typed {
    pub(super) const UNKNOWN: Self = Self { expr: Expr::Unknown, ty: Type::Unknown };

    pub(super) fn int(expr: Expr, int: Int) -> Self {
        Self { expr, ty: Type::Int(int) }
    }

    pub(super) fn text(expr: Expr) -> Self {
        Self { expr, ty: Type::Text }
    }

    /// A text in quotes.
    pub(super) fn quoted(text: Vec<u8>) -> Self {
        Self { expr: Expr::Atom(text), ty: Type::Pointer(Some(CHAR)) }
    }

    /// Text of the record at a place that a field tells.
    pub(super) fn string(expr: Expr) -> Self {
        Self { expr, ty: Type::Pointer(Some(CHAR)) }
    }

    /// Converts to an integer type.
    pub(super) fn into_int(self, to: Int) -> Self {
        let from = match self.ty {
            Type::Int(from) => from,
            Type::Pointer(_) => Int { bits: 64, signed: false },
            Type::Text | Type::Unknown => return Self::UNKNOWN,
        };
        if to == BOOL && from != BOOL {
            let (left, right) = (Box::new(self.expr), Box::new(Expr::Number(0)));
            return Self::int(Expr::Binary { op: Binary::Ne, left, right }, BOOL);
        }
        let fits = to.bits >= 64
            || if from.signed { to.signed && to.bits >= from.bits } else { to.bits > from.bits }
            || from == to;
        let expr = if fits { self.expr } else { wrapped(self.expr, to) };
        Self::int(expr, to)
    }
}

/// The low bits of a value that may have more.
pub(super) fn wrapped(expr: Expr, Int { bits, signed }: Int) -> Expr {
    if bits >= 64 {
        return expr;
    }
    Expr::Convert { bits, signed, value: Box::new(expr) }
}

impl Int {
    /// Bytes of it in memory.
    pub(super) fn size(self) -> u8 {
        self.bits.div_ceil(8)
    }

    /// C's promotion: nothing is computed in less than an `int`.
    pub(super) fn promoted(self) -> Self {
        if self.bits < INT.bits { INT } else { self }
    }

    /// The type that two are converted to by an operator between them.
    pub(super) fn common(self, other: Self) -> Self {
        let (left, right) = (self.promoted(), other.promoted());
        match left.bits.cmp(&right.bits) {
            std::cmp::Ordering::Less => right,
            std::cmp::Ordering::Greater => left,
            std::cmp::Ordering::Equal => {
                Self { bits: left.bits, signed: left.signed && right.signed }
            }
        }
    }
}

/// A name of a type as it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeName {
    pub(super) ty: Type,
    /// Size in bytes, where known.
    pub(super) size: Option<u64>,
    /// Whether it can be nothing else: an unknown word may be the name of a value as well.
    pub(super) certain: bool,
}

impl Parser<'_> {
    /// The type of a field's value.
    pub(super) fn field(&self, field: &Field) -> Typed {
        let expr = Expr::Field(field.name.clone());
        let (size, signed) = (field.element_size, field.flags.signed);
        let int = match size {
            1 | 2 | 4 | 8 => Some(Int { bits: size as u8 * 8, signed }),
            _ => None,
        };
        if field.flags.array || field.flags.dynamic {
            return Typed { expr, ty: Type::Pointer(int) };
        }
        if field.type_name.contains('*') && field.size == u32::from(self.format.abi.long_size) {
            return Typed { expr, ty: Type::Pointer(None) };
        }
        match int {
            Some(int) if signed && int.bits < 64 => Typed::int(wrapped(expr, int), int),
            Some(int) => Typed::int(expr, int),
            // A structure: its bytes can be printed.
            None => Typed { expr, ty: Type::Pointer(None) },
        }
    }

    /// A type's name if one is next; else nothing is taken.
    pub(super) fn type_name(&mut self) -> Parsed<Option<TypeName>> {
        let before = self.lexer.clone();
        let found = self.base_type()?;
        let Some(mut found) = found else {
            self.lexer = before;
            return Ok(None);
        };
        while self.lexer.take("*") || self.take_word("const") || self.take_word("volatile") {
            found = self.pointer_to(found);
        }
        Ok(Some(found))
    }

    fn pointer_to(&self, TypeName { ty, .. }: TypeName) -> TypeName {
        let target = match ty {
            Type::Int(int) => Some(int),
            _ => None,
        };
        let size = Some(self.format.abi.long_size.into());
        TypeName { ty: Type::Pointer(target), size, certain: true }
    }

    fn base_type(&mut self) -> Parsed<Option<TypeName>> {
        let named = |ty, size| Ok(Some(TypeName { ty, size, certain: true }));
        let (mut signed, mut longs, mut base) = (None, 0u8, None);
        let (mut any, mut qualified) = (false, false);
        while let Token::Word(word) = self.lexer.peek() {
            match word.as_str() {
                "const" | "volatile" | "static" | "register" | "__force" | "__user"
                | "__bitwise" => {
                    qualified = true;
                    self.lexer.next();
                    continue;
                }
                "signed" => signed = Some(true),
                "unsigned" => signed = Some(false),
                "long" => longs = longs.saturating_add(1),
                "int" => base = base.or(Some(INT)),
                "short" => base = Some(Int { bits: 16, signed: true }),
                "char" => base = Some(CHAR),
                "struct" | "union" | "enum" if !any => return self.tagged_type(),
                "typeof" | "__typeof__" | "__typeof" if !any => return self.type_of().map(Some),
                "__auto_type" | "void" if !any => {
                    self.lexer.next();
                    return named(Type::Unknown, Some(1));
                }
                word => {
                    let known = known_type(word, self.format.abi.long_size.saturating_mul(8));
                    if any && (base.is_some() || longs > 0 || signed.is_some()) {
                        break;
                    }
                    let is_value = word == "REC" || self.local(word).is_some();
                    match known {
                        Some(int) => {
                            self.lexer.next();
                            return named(Type::Int(int), Some(int.size().into()));
                        }
                        None if is_value || word.as_bytes()[0].is_ascii_digit() => return Ok(None),
                        None => {
                            self.lexer.next();
                            return Ok(Some(TypeName {
                                ty: Type::Unknown,
                                size: None,
                                certain: false,
                            }));
                        }
                    }
                }
            }
            any = true;
            self.lexer.next();
        }
        let mut int = match (base, longs) {
            (Some(int), 0) => int,
            (_, 1) => self.long(true),
            (_, 2) => Int { bits: 64, signed: true },
            (None, 0) if signed.is_some() => INT,
            _ if any || qualified => return Err(NotUnderstood),
            _ => return Ok(None),
        };
        int.signed = signed.unwrap_or(int.signed);
        named(Type::Int(int), Some(int.size().into()))
    }

    /// `struct name`, or one with its members, which are known to take no place where the kernel
    /// only checks something at build time: `struct { int:0; }`.
    fn tagged_type(&mut self) -> Parsed<Option<TypeName>> {
        let is_enum = self.at_word("enum");
        self.lexer.next();
        if let Token::Word(_) = self.lexer.peek() {
            self.lexer.next();
        }
        let mut size = None;
        if self.lexer.take("{") {
            let mut ahead = self.lexer.clone();
            ahead.next();
            if ahead.at(":") {
                size = Some(0);
            }
            self.skip_brackets()?;
        }
        let unsigned = Int { bits: 32, signed: false };
        Ok(Some(match is_enum {
            true => TypeName { ty: Type::Int(unsigned), size: Some(4), certain: true },
            false => TypeName { ty: Type::Unknown, size, certain: true },
        }))
    }

    /// `typeof(…)` of a type or a value.
    fn type_of(&mut self) -> Parsed<TypeName> {
        self.lexer.next();
        self.expect("(")?;
        let (ty, size) = self.type_or_value()?;
        self.expect(")")?;
        Ok(TypeName { ty, size, certain: true })
    }

    /// Type and size of what stands between the brackets of `sizeof` and `typeof`.
    pub(super) fn type_or_value(&mut self) -> Parsed<(Type, Option<u64>)> {
        let before = self.lexer.clone();
        if let Some(name) = self.type_name()?
            && self.lexer.at(")")
        {
            return Ok((name.ty, name.size));
        }
        self.lexer = before;
        let value = self.expression()?;
        let size = match (&value.expr, value.ty) {
            (Expr::Field(name), _) => {
                let field = self.format.field(name).filter(|field| !field.flags.dynamic);
                field.map(|field| u64::from(field.size))
            }
            (_, Type::Int(int)) => Some(int.size().into()),
            (Expr::Atom(text), _) => Some(text.len() as u64 + 1),
            (_, Type::Pointer(_)) => Some(self.format.abi.long_size.into()),
            // C has it that a function or `void` is of size 1.
            (_, Type::Text | Type::Unknown) => None,
        };
        Ok((value.ty, size))
    }
}

/// The integer types that kernels name.
fn known_type(name: &str, long: u8) -> Option<Int> {
    let int = |bits, signed| Some(Int { bits, signed });
    match name {
        "u8" | "__u8" | "uint8_t" | "u_char" => int(8, false),
        "bool" | "_Bool" => Some(BOOL),
        "s8" | "__s8" | "int8_t" => int(8, true),
        "u16" | "__u16" | "uint16_t" | "__be16" | "__le16" | "umode_t" | "u_short" => {
            int(16, false)
        }
        "s16" | "__s16" | "int16_t" => int(16, true),
        "u32" | "__u32" | "uint32_t" | "__be32" | "__le32" | "gfp_t" | "dev_t" | "fmode_t"
        | "blk_opf_t" | "uid_t" | "gid_t" | "uint" | "isolate_mode_t" | "vm_fault_t" => {
            int(32, false)
        }
        "s32" | "__s32" | "int32_t" | "pid_t" => int(32, true),
        "u64" | "__u64" | "uint64_t" | "__be64" | "__le64" | "sector_t" | "blkcnt_t"
        | "dma_addr_t" | "phys_addr_t" | "resource_size_t" => int(64, false),
        "s64" | "__s64" | "int64_t" | "loff_t" | "ktime_t" | "time64_t" => int(64, true),
        "size_t" | "uintptr_t" | "pgoff_t" | "ino_t" | "ulong" | "sigset_t" => int(long, false),
        "ssize_t" | "ptrdiff_t" | "intptr_t" | "off_t" => int(long, true),
        _ => None,
    }
}
