//! The types of a kernel (BTF), as far as they tell what a function's arguments are.
//!
//! ```text
//! header ─► types, one after another ─► FUNC ─► FUNC_PROTO ─► parameters ─► what each is
//!        └► strings: names
//! ```
mod declaration;
mod layout;

use crate::abi::ByteOrder;
use layout::{Header, Kind, TypeHead, extra_len};

/// Types that stand for another one are followed this often.
const MAX_ALIASES: usize = 32;
/// More types than this no kernel has.
const MAX_TYPES: usize = 1 << 24;

/// Why bytes are no BTF.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BtfError {
    /// It does not begin as BTF does.
    #[error("no BTF: it begins with {0:02x?}")]
    Magic([u8; 2]),
    /// A version that is not known.
    #[error("BTF of version {0}, known is 1")]
    Version(u8),
    /// Something lies behind the end.
    #[error("{what} at offset {offset:#x} of the BTF end behind its last byte")]
    Truncated {
        /// What should be there.
        what: &'static str,
        /// Where, in bytes from the start of the BTF.
        offset: u64,
    },
    /// A type of a kind that is not known: its size, and so where the next one starts, is not either.
    #[error("type of unknown kind {kind} at offset {offset:#x} of the BTF")]
    Kind {
        /// The kind.
        kind: u8,
        /// Where it is, in bytes from the start of the BTF.
        offset: u64,
    },
    /// More types than any kernel has.
    #[error("more than {MAX_TYPES} types in the BTF")]
    TooMany,
}

/// The functions of a kernel and their parameters.
pub struct Btf {
    bytes: Box<[u8]>,
    order: ByteOrder,
    strings: std::ops::Range<usize>,
    /// Where each type is, the first being number 1.
    types: Box<[u32]>,
    /// Where the functions are, by name.
    functions: Box<[u32]>,
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Btf").field("types", &self.types.len()).finish_non_exhaustive()
    }
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Its name, empty where it has none.
    pub name: &'a str,
    /// What is passed.
    pub value: ParameterKind,
}

/// What is passed for a parameter. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// An address.
    Pointer,
    /// An integer.
    Integer {
        /// Size.
        size: u32,
        /// Whether it has a sign.
        signed: bool,
    },
    /// An enumeration.
    Enum {
        /// Size.
        size: u32,
    },
    /// A structure or union, which may take several words.
    Aggregate {
        /// Size.
        size: u32,
    },
    /// Something else, or a type that is damaged.
    Other,
}

impl Btf {
    /// Parses what `/sys/kernel/btf/vmlinux` holds, of either byte order.
    ///
    /// # Errors
    ///
    /// The bytes are no BTF, or parts of it lie behind the end.
    pub fn parse(bytes: impl Into<Box<[u8]>>) -> Result<Self, BtfError> {
        let bytes = bytes.into();
        let header = Header::parse(&bytes)?;
        let (mut types, mut functions) = (Vec::new(), Vec::new());
        let mut at = header.types.start;
        while at < header.types.end {
            let truncated = BtfError::Truncated { what: "types", offset: at as u64 };
            let head = bytes
                .get(..header.types.end)
                .and_then(|bytes| TypeHead::read(bytes, at, header.order));
            let head = head.ok_or(truncated)?;
            let extra =
                extra_len(head).ok_or(BtfError::Kind { kind: head.kind.0, offset: at as u64 })?;
            if types.len() == MAX_TYPES {
                return Err(BtfError::TooMany);
            }
            let place = u32::try_from(at).map_err(|_| truncated)?;
            types.push(place);
            if head.kind == Kind::FUNC {
                functions.push(place);
            }
            at += TypeHead::LEN + extra;
        }
        if at > header.types.end {
            let offset = types.last().map_or(0, |&at| u64::from(at));
            return Err(BtfError::Truncated { what: "types", offset });
        }
        let mut btf = Self {
            bytes,
            order: header.order,
            strings: header.strings,
            types: types.into(),
            functions: Box::default(),
        };
        functions.sort_by_key(|&at| btf.name_at(at));
        btf.functions = functions.into();
        Ok(btf)
    }

    /// Number of functions.
    pub fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// The parameters of the function of that name, in order; `None` when it is not known. Those of
    /// a variable argument list are left out.
    pub fn parameters(&self, function: &str) -> Option<impl Iterator<Item = Parameter<'_>>> {
        let place = self.prototype_of(function)?;
        let prototype = self.head_at(place)?;
        let first = place as usize + TypeHead::LEN;
        Some((0..usize::from(prototype.count)).map_while(move |index| {
            let at = first + index * 8;
            let (name, ty) = (self.u32_at(at)?, self.u32_at(at + 4)?);
            // No type: what follows is not listed.
            if ty == 0 {
                return None;
            }
            let name = std::str::from_utf8(self.string(name)).unwrap_or_default();
            Some(Parameter { name, value: self.kind_of(ty) })
        }))
    }

    /// Where the prototype of the function of that name is.
    fn prototype_of(&self, function: &str) -> Option<u32> {
        let name = |at: &u32| self.name_at(*at);
        let index = self.functions.binary_search_by(|at| name(at).cmp(function.as_bytes())).ok()?;
        let function = self.head_at(*self.functions.get(index)?)?;
        let place = self.place_of(function.size_or_type)?;
        self.head_at(place).filter(|head| head.kind == Kind::FUNC_PROTO).map(|_| place)
    }

    /// What a type is behind its qualifiers and names.
    fn kind_of(&self, mut ty: u32) -> ParameterKind {
        for _ in 0..MAX_ALIASES {
            let Some(place) = self.place_of(ty) else { break };
            let Some(head) = self.head_at(place) else { break };
            let size = head.size_or_type;
            match head.kind {
                Kind::TYPEDEF | Kind::CONST | Kind::VOLATILE | Kind::RESTRICT | Kind::TYPE_TAG => {
                    ty = head.size_or_type;
                }
                Kind::PTR => return ParameterKind::Pointer,
                Kind::INT => {
                    let encoding = self.u32_at(place as usize + TypeHead::LEN).unwrap_or(0);
                    let signed = encoding >> 24 & layout::SIGNED != 0;
                    return ParameterKind::Integer { size, signed };
                }
                Kind::ENUM | Kind::ENUM64 => return ParameterKind::Enum { size },
                Kind::STRUCT | Kind::UNION => return ParameterKind::Aggregate { size },
                _ => break,
            }
        }
        ParameterKind::Other
    }

    fn place_of(&self, ty: u32) -> Option<u32> {
        self.types.get((ty as usize).checked_sub(1)?).copied()
    }

    fn head_at(&self, at: u32) -> Option<TypeHead> {
        TypeHead::read(&self.bytes, at as usize, self.order)
    }

    fn name_at(&self, at: u32) -> &[u8] {
        self.head_at(at).map_or(&[], |head| self.string(head.name))
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        Some(self.order.u32(*self.bytes.get(at..)?.first_chunk()?))
    }

    /// The text at an offset into the strings; empty when it is not there.
    fn string(&self, offset: u32) -> &[u8] {
        let strings = self.bytes.get(self.strings.clone()).unwrap_or_default();
        let rest = strings.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests;
