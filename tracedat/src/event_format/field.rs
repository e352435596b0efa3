//! One field of an event format: where its bytes are and what they are.
use crate::abi::Abi;

/// What is known about a field beyond its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldFlags {
    /// An array: `char comm[16]`, also every dynamic one.
    pub array: bool,
    /// A pointer, `const char *name`.
    pub pointer: bool,
    /// `signed:1`.
    pub signed: bool,
    /// Text: an array of `char`, `u8` or `s8`.
    pub string: bool,
    /// A `__data_loc` or `__rel_loc`: a word that tells where the data is.
    pub dynamic: bool,
    /// The word counts from its own end (`__rel_loc`).
    pub relative: bool,
    /// A type with `long` in its name, or another that is as wide as one.
    pub long: bool,
}

/// One field of an event format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Type as written, without the name.
    pub type_name: String,
    /// Where the field starts, in bytes from the start of the record's data.
    pub offset: u32,
    /// Bytes of the field itself (of the locating word when dynamic).
    pub size: u32,
    /// Number of elements of an array, 0 when not known or not an array.
    pub array_len: u32,
    /// Bytes of an element.
    pub element_size: u32,
    /// What is known about it.
    pub flags: FieldFlags,
}

impl Field {
    /// The field as an unsigned integer; `None` when the record is too short or its size is not that of an integer.
    pub fn uint(&self, abi: Abi, data: &[u8]) -> Option<u64> {
        let start = self.offset as usize;
        abi.byte_order.uint(data.get(start..start.checked_add(self.size as usize)?)?)
    }

    /// The field as a signed integer, extended from its size.
    pub fn int(&self, abi: Abi, data: &[u8]) -> Option<i64> {
        let bits = 64u32.checked_sub(self.size.checked_mul(8)?)?;
        Some(((self.uint(abi, data)? << bits) as i64) >> bits)
    }

    /// The field's bytes: the data that a dynamic field's word locates, or the field itself.
    pub fn bytes<'a>(&self, abi: Abi, data: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.offset as usize;
        let end = start.checked_add(self.size as usize)?;
        if !self.flags.dynamic {
            return data.get(start..end);
        }
        let word = self.uint(abi, data)?;
        let (at, len) = ((word & 0xffff) as usize, ((word >> 16) & 0xffff) as usize);
        let at = if self.flags.relative { at.checked_add(end)? } else { at };
        data.get(at..at.checked_add(len)?)
    }

    /// The field's bytes up to the first NUL.
    pub fn text<'a>(&self, abi: Abi, data: &'a [u8]) -> Option<&'a [u8]> {
        let bytes = self.bytes(abi, data)?;
        Some(bytes.iter().position(|&byte| byte == 0).map_or(bytes, |end| &bytes[..end]))
    }
}
