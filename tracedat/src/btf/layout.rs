//! The layout of BTF.
use std::ops::Range;

use super::BtfError;
use crate::abi::ByteOrder;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Bytes of the header's fields up to and with the length of the strings.
const HEADER_LEN: usize = 24;

/// The bit of an integer's encoding that tells of a sign.
pub(super) const SIGNED: u32 = 1;

/// Where types and strings are.
pub(super) struct Header {
    pub(super) order: ByteOrder,
    pub(super) types: Range<usize>,
    pub(super) strings: Range<usize>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let truncated = |what, offset: usize| BtfError::Truncated { what, offset: offset as u64 };
        let Some(fields) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(truncated("header", 0));
        };
        let [m0, m1, version, ..] = *fields;
        let order = match MAGIC {
            magic if magic.to_le_bytes() == [m0, m1] => ByteOrder::Little,
            magic if magic.to_be_bytes() == [m0, m1] => ByteOrder::Big,
            _ => return Err(BtfError::Magic([m0, m1])),
        };
        if version != VERSION {
            return Err(BtfError::Version(version));
        }
        let number = |at: usize| {
            let bytes = fields.get(at..).and_then(|rest| rest.first_chunk());
            order.u32(bytes.copied().unwrap_or_default()) as usize
        };
        let body = number(4);
        let part = |what, at: usize| {
            let start = body.checked_add(number(at)).ok_or(truncated(what, body))?;
            let end = start.checked_add(number(at + 4)).ok_or(truncated(what, start))?;
            if body < HEADER_LEN || end > bytes.len() {
                return Err(truncated(what, start));
            }
            Ok(start..end)
        };
        Ok(Self { order, types: part("types", 8)?, strings: part("strings", 16)? })
    }
}

/// A kind of type. Unknown ones are kept until their size matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(pub(super) u8);

impl Kind {
    pub(super) const INT: Self = Self(1);
    pub(super) const PTR: Self = Self(2);
    pub(super) const ARRAY: Self = Self(3);
    pub(super) const STRUCT: Self = Self(4);
    pub(super) const UNION: Self = Self(5);
    pub(super) const ENUM: Self = Self(6);
    pub(super) const FWD: Self = Self(7);
    pub(super) const TYPEDEF: Self = Self(8);
    pub(super) const VOLATILE: Self = Self(9);
    pub(super) const CONST: Self = Self(10);
    pub(super) const RESTRICT: Self = Self(11);
    pub(super) const FUNC: Self = Self(12);
    pub(super) const FUNC_PROTO: Self = Self(13);
    pub(super) const VAR: Self = Self(14);
    pub(super) const DATASEC: Self = Self(15);
    pub(super) const FLOAT: Self = Self(16);
    pub(super) const DECL_TAG: Self = Self(17);
    pub(super) const TYPE_TAG: Self = Self(18);
    pub(super) const ENUM64: Self = Self(19);
}

/// What every type begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeHead {
    /// Offset of its name into the strings.
    pub(super) name: u32,
    pub(super) kind: Kind,
    /// Number of members, enumerators or parameters.
    pub(super) count: u16,
    /// Of a type that is only named: whether it is a union.
    pub(super) is_flagged: bool,
    /// Size in bytes, or the type it is made from.
    pub(super) size_or_type: u32,
}

impl TypeHead {
    pub(super) const LEN: usize = 12;

    pub(super) fn read(bytes: &[u8], at: usize, order: ByteOrder) -> Option<Self> {
        let bytes = bytes.get(at..)?.first_chunk::<{ Self::LEN }>()?;
        let [n0, n1, n2, n3, i0, i1, i2, i3, s0, s1, s2, s3] = *bytes;
        let info = order.u32([i0, i1, i2, i3]);
        Some(Self {
            name: order.u32([n0, n1, n2, n3]),
            kind: Kind((info >> 24 & 31) as u8),
            count: info as u16,
            is_flagged: info >> 31 != 0,
            size_or_type: order.u32([s0, s1, s2, s3]),
        })
    }
}

/// Bytes that follow a type's head; `None` for kinds that are not known.
pub(super) fn extra_len(head: TypeHead) -> Option<usize> {
    let count = usize::from(head.count);
    Some(match head.kind {
        Kind::INT | Kind::VAR | Kind::DECL_TAG => 4,
        Kind::ARRAY => 12,
        Kind::STRUCT | Kind::UNION | Kind::DATASEC | Kind::ENUM64 => count * 12,
        Kind::ENUM | Kind::FUNC_PROTO => count * 8,
        Kind::PTR
        | Kind::FWD
        | Kind::TYPEDEF
        | Kind::VOLATILE
        | Kind::CONST
        | Kind::RESTRICT
        | Kind::FUNC
        | Kind::FLOAT
        | Kind::TYPE_TAG => 0,
        _ => return None,
    })
}
