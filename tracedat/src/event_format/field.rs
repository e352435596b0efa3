//! One field of an event format: where its bytes are and what they are.
use crate::abi::Abi;

/// What is known about a field beyond its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldFlags {
    /// An array: `char comm[16]`, also every dynamic one with brackets.
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
    /// A type with `long` in its name.
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
    /// Bytes of an element; of the field itself when it is not an array.
    pub element_size: u32,
    /// What is known about it.
    pub flags: FieldFlags,
}

impl Field {
    /// The field as an unsigned integer; `None` when the record is too short or its size is not that of an integer.
    #[inline]
    pub fn uint(&self, abi: Abi, data: &[u8]) -> Option<u64> {
        let start = self.offset as usize;
        abi.byte_order.uint(data.get(start..start.checked_add(self.size as usize)?)?)
    }

    /// The field as a signed integer, extended from its size.
    #[inline]
    pub fn int(&self, abi: Abi, data: &[u8]) -> Option<i64> {
        let value = self.uint(abi, data)?;
        let unused = 64 - 8 * self.size;
        Some(((value << unused) as i64) >> unused)
    }

    /// Where the field's bytes are: the range that a dynamic field's word tells, or the field itself.
    /// The range may lie outside of a damaged record.
    #[inline]
    pub fn place(&self, abi: Abi, data: &[u8]) -> Option<(usize, usize)> {
        let (start, size) = (self.offset as usize, self.size as usize);
        if !self.flags.dynamic {
            return Some((start, size));
        }
        let word = self.uint(abi, data)?;
        let (at, len) = ((word & 0xffff) as usize, ((word >> 16) & 0xffff) as usize);
        Some((if self.flags.relative { at + start + size } else { at }, len))
    }

    /// The field's bytes: the data that a dynamic field's word locates, or the field itself.
    #[inline]
    pub fn bytes<'a>(&self, abi: Abi, data: &'a [u8]) -> Option<&'a [u8]> {
        let (start, len) = self.place(abi, data)?;
        data.get(start..start.checked_add(len)?)
    }

    /// The field's bytes up to the first NUL.
    #[inline]
    pub fn text<'a>(&self, abi: Abi, data: &'a [u8]) -> Option<&'a [u8]> {
        let bytes = self.bytes(abi, data)?;
        Some(bytes.iter().position(|&byte| byte == 0).map_or(bytes, |end| &bytes[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, FieldFlags};
    use crate::abi::{Abi, ByteOrder};

    const BIG: Abi = Abi { byte_order: ByteOrder::Big, long_size: 8 };

    fn field(offset: u32, size: u32, flags: FieldFlags) -> Field {
        Field {
            name: String::from("f"),
            type_name: String::new(),
            offset,
            size,
            array_len: 0,
            element_size: size,
            flags,
        }
    }

    #[test]
    fn int_extends_the_sign_from_the_size_of_the_field() {
        let data = [0xff, 0xfe, 0x00, 0x80];
        assert_eq!(field(0, 2, FieldFlags::default()).int(BIG, &data), Some(-2));
        assert_eq!(field(2, 2, FieldFlags::default()).int(BIG, &data), Some(0x80));
        assert_eq!(field(0, 3, FieldFlags::default()).int(BIG, &data), None);
        assert_eq!(field(2, 4, FieldFlags::default()).int(BIG, &data), None);
    }

    #[test]
    fn relative_locations_count_from_the_end_of_their_word() {
        let data = [0, 3, 0, 1, b'x', b'h', 0, b'i'];
        let absolute = FieldFlags { dynamic: true, ..FieldFlags::default() };
        let relative = FieldFlags { relative: true, ..absolute };
        assert_eq!(field(0, 4, relative).bytes(BIG, &data), Some(&b"h\0i"[..]));
        assert_eq!(field(0, 4, relative).text(BIG, &data), Some(&b"h"[..]));
        assert_eq!(
            field(0, 4, absolute).bytes(BIG, &data),
            Some(&[0, 3, 0][..1]).and(data.get(1..4))
        );
        assert_eq!(field(0, 4, absolute).bytes(BIG, &data[..3]), None);
    }
}
