//! Statement expressions: `({ int x = a; int y = b; x < y ? x : y; })`.
use super::expression::size;
use super::types::{Type, Typed};
use super::{Parsed, Parser};
use crate::abi::ByteOrder;
use crate::print_fmt::ast::Expr;
use crate::print_fmt::lexer::Token;
use crate::print_fmt::parse::NotUnderstood;

/// What a name declared in a statement expression stands for.
#[derive(Clone, Debug)]
pub(super) enum Local {
    Value(Typed),
    /// A table of texts.
    Texts(Vec<Vec<u8>>),
    /// A union that an integer is stored to.
    Record {
        layout: Layout,
        word: Option<Typed>,
    },
    /// What is printed into the buffer from that part on.
    Buffer(usize),
}

impl Local {
    /// Parts that a use of it adds.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Value(value) => size(&value.expr),
            Self::Record { word, .. } => word.as_ref().map_or(1, |word| size(&word.expr)),
            Self::Texts(_) | Self::Buffer(_) => 1,
        }
    }
}

/// A union whose members print fmts read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout {
    /// `union kvm_mmu_page_role`, from Linux 5.16 on.
    KvmMmuPageRole,
    Unknown,
}

impl Layout {
    fn from_name(name: &str) -> Self {
        if name == "kvm_mmu_page_role" { Self::KvmMmuPageRole } else { Self::Unknown }
    }

    /// Lowest bit and number of bits of a member.
    pub(super) fn member(self, name: &str, order: ByteOrder) -> Option<(u64, u32)> {
        if !matches!(self, Self::KvmMmuPageRole) || order == ByteOrder::Big {
            return None;
        }
        Some(match name {
            "level" => (0, 4),
            "has_4_byte_gpte" | "gpte_is_8_bytes" => (4, 1),
            "quadrant" => (5, 2),
            "direct" => (7, 1),
            "access" => (8, 3),
            "invalid" => (11, 1),
            "efer_nx" => (12, 1),
            "cr0_wp" => (13, 1),
            "smep_andnot_wp" => (14, 1),
            "smap_andnot_wp" => (15, 1),
            "ad_disabled" => (16, 1),
            "guest_mode" => (17, 1),
            _ => return None,
        })
    }
}

impl Parser<'_> {
    pub(super) fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|(local, _)| local == name).map(|(_, local)| local)
    }

    /// After `({`: the statements up to `}`, whose value is that of the last one.
    pub(super) fn statements(&mut self) -> Parsed<Typed> {
        self.enter()?;
        let (locals, printed) = (self.locals.len(), self.printed.len());
        let mut last = Typed::UNKNOWN;
        while !self.lexer.take("}") {
            if self.lexer.take(";") {
                continue;
            }
            if let Some(value) = self.statement()? {
                last = value;
            }
        }
        self.locals.truncate(locals);
        self.printed.truncate(printed);
        self.depth -= 1;
        Ok(last)
    }

    /// One statement; the value of one that is an expression.
    fn statement(&mut self) -> Parsed<Option<Typed>> {
        if self.take_word("do") {
            // Checks at build time.
            self.expect("{")?;
            self.skip_brackets()?;
            if !self.take_word("while") {
                return Err(NotUnderstood);
            }
            self.expect("(")?;
            self.skip_brackets()?;
            self.expect(";")?;
            return Ok(None);
        }
        if self.at_word("_Static_assert") {
            self.lexer.next();
            self.expect("(")?;
            self.skip_brackets()?;
            self.expect(";")?;
            return Ok(None);
        }
        if self.declaration()? || self.assignment()? {
            self.expect(";")?;
            return Ok(None);
        }
        let value = self.expression()?;
        self.expect(";")?;
        Ok(Some(value))
    }

    /// `type name = value`, also of arrays and unions. False, with nothing taken, for all else.
    fn declaration(&mut self) -> Parsed<bool> {
        let before = self.lexer.clone();
        let layout = self.union_name();
        let found = self.type_name()?;
        let (Some(ty), Token::Word(_)) = (found, self.lexer.peek()) else {
            self.lexer = before;
            return Ok(false);
        };
        let name = self.name()?;
        let local = if self.lexer.take("[") {
            self.skip_brackets()?;
            self.expect("=")?;
            Local::Texts(self.texts()?)
        } else if !self.lexer.take("=") {
            match layout {
                Some(layout) => Local::Record { layout, word: None },
                None => Local::Value(Typed { ty: ty.ty, ..Typed::UNKNOWN }),
            }
        } else if self.take_word("trace_seq_buffer_ptr") {
            self.expect("(")?;
            self.skip_brackets()?;
            Local::Buffer(self.printed.len())
        } else {
            let value = self.expression()?;
            Local::Value(match ty.ty {
                Type::Int(int) if value.expr != Expr::Unknown => value.into_int(int),
                Type::Unknown => value,
                ty => Typed { ty, ..value },
            })
        };
        self.locals.push((name, local));
        Ok(true)
    }

    /// The name of a union, looked at but not taken.
    fn union_name(&self) -> Option<Layout> {
        let mut ahead = self.lexer.clone();
        if !matches!(ahead.next(), Token::Word(word) if word == "union") {
            return None;
        }
        match ahead.next() {
            Token::Word(name) => Some(Layout::from_name(&name)),
            _ => None,
        }
    }

    /// `{ "a", "b" }`.
    fn texts(&mut self) -> Parsed<Vec<Vec<u8>>> {
        self.expect("{")?;
        let mut texts = Vec::new();
        while !self.lexer.take("}") {
            texts.push(self.text()?);
            if !self.lexer.take(",") && !self.lexer.at("}") {
                return Err(NotUnderstood);
            }
        }
        Ok(texts)
    }

    /// `name = value` and `name.member = value`. False, with nothing taken, for all else.
    fn assignment(&mut self) -> Parsed<bool> {
        let before = self.lexer.clone();
        let Token::Word(name) = self.lexer.next() else {
            self.lexer = before;
            return Ok(false);
        };
        let is_member = self.lexer.take(".");
        if is_member {
            self.lexer.next();
        }
        if !self.lexer.take("=") {
            self.lexer = before;
            return Ok(false);
        }
        let value = self.expression()?;
        let local = self.locals.iter_mut().rev().find(|(local, _)| *local == name);
        let (_, local) = local.ok_or(NotUnderstood)?;
        match local {
            Local::Record { word, .. } if is_member => *word = Some(value),
            Local::Value(old) if !is_member => {
                *old = match old.ty {
                    Type::Int(int) if value.expr != Expr::Unknown => value.into_int(int),
                    _ => value,
                };
            }
            _ => return Err(NotUnderstood),
        }
        Ok(true)
    }
}
