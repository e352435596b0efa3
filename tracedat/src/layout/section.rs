//! Sections of version 7.

use std::fmt;

use super::OptionId;
use crate::abi::ByteOrder;

/// A section identifier; equal to that of the option that points to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SectionId(pub u16);

impl SectionId {
    /// A list of options.
    pub const OPTIONS: Self = Self(0);
    /// Data of a buffer's CPUs.
    pub const BUFFER: Self = Self(OptionId::BUFFER.0);
    /// NUL-terminated strings, one after the other.
    pub const STRINGS: Self = Self(OptionId::STRINGS.0);
    /// Texts of `header_page` and `header_event`.
    pub const HEADER_INFO: Self = Self(OptionId::HEADER_INFO.0);
    /// Formats of ftrace's own events.
    pub const FTRACE_EVENTS: Self = Self(OptionId::FTRACE_EVENTS.0);
    /// All other event formats.
    pub const EVENT_FORMATS: Self = Self(OptionId::EVENT_FORMATS.0);
    /// Text of `kallsyms`.
    pub const KALLSYMS: Self = Self(OptionId::KALLSYMS.0);
    /// Text of `printk_formats`.
    pub const PRINTK: Self = Self(OptionId::PRINTK.0);
    /// Text of `saved_cmdlines`.
    pub const CMDLINES: Self = Self(OptionId::CMDLINES.0);
    /// Text of `trace`.
    pub const BUFFER_TEXT: Self = Self(OptionId::BUFFER_TEXT.0);
    /// The kernel's type information.
    pub const BTF_FILE: Self = Self(OptionId::BTF_FILE.0);
    /// Text of `/proc/modules`.
    pub const MODULES_FILE: Self = Self(OptionId::MODULES_FILE.0);
}

impl fmt::Display for SectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, OptionId(self.0).name()) {
            (Self::OPTIONS, _) => f.write_str("OPTIONS"),
            (_, Some(name)) => f.write_str(name),
            (_, None) => write!(f, "section {}", self.0),
        }
    }
}

/// Bytes of a section header.
pub const SECTION_HEADER_LEN: usize = 16;

/// Flag of a section whose body is compressed.
pub const COMPRESSED: u16 = 1;

/// String id of a section without description.
pub const NO_STRING: u32 = u32::MAX;

/// What stands before a section's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionHeader {
    /// What the section holds.
    pub id: SectionId,
    /// [`COMPRESSED`] or 0.
    pub flags: u16,
    /// Offset of a description in the joined STRINGS sections, or [`NO_STRING`].
    pub string: u32,
    /// Bytes that follow the header; for BUFFER with the gap before the first page.
    pub size: u64,
}

impl SectionHeader {
    /// Decodes a header.
    pub fn from_bytes(bytes: &[u8; SECTION_HEADER_LEN], byte_order: ByteOrder) -> Self {
        let [a0, a1, b0, b1, c0, c1, c2, c3, size @ ..] = *bytes;
        Self {
            id: SectionId(byte_order.u16([a0, a1])),
            flags: byte_order.u16([b0, b1]),
            string: byte_order.u32([c0, c1, c2, c3]),
            size: byte_order.u64(size),
        }
    }

    /// Encodes a header.
    pub fn to_bytes(self, byte_order: ByteOrder) -> [u8; SECTION_HEADER_LEN] {
        let [a0, a1] = byte_order.put_u16(self.id.0);
        let [b0, b1] = byte_order.put_u16(self.flags);
        let [c0, c1, c2, c3] = byte_order.put_u32(self.string);
        let [d0, d1, d2, d3, d4, d5, d6, d7] = byte_order.put_u64(self.size);
        [a0, a1, b0, b1, c0, c1, c2, c3, d0, d1, d2, d3, d4, d5, d6, d7]
    }

    /// Whether the body is compressed.
    pub const fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }
}

/// First bytes of a compressed body, and of each chunk of compressed CPU data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressedHeader {
    /// Bytes that follow.
    pub compressed: u32,
    /// Bytes they yield.
    pub uncompressed: u32,
}

impl CompressedHeader {
    /// Bytes of the header itself.
    pub const LEN: usize = super::CHUNK_HEADER_LEN;

    /// Decodes a header.
    pub fn from_bytes(bytes: &[u8; Self::LEN], byte_order: ByteOrder) -> Self {
        let [a0, a1, a2, a3, uncompressed @ ..] = *bytes;
        Self {
            compressed: byte_order.u32([a0, a1, a2, a3]),
            uncompressed: byte_order.u32(uncompressed),
        }
    }

    /// Encodes a header.
    pub fn to_bytes(self, byte_order: ByteOrder) -> [u8; Self::LEN] {
        let [a0, a1, a2, a3] = byte_order.put_u32(self.compressed);
        let [b0, b1, b2, b3] = byte_order.put_u32(self.uncompressed);
        [a0, a1, a2, a3, b0, b1, b2, b3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: [u8; 16] = [3, 0, 1, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const BIG: [u8; 16] = [0, 3, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 0];

    #[test]
    fn section_header_has_the_same_meaning_in_both_byte_orders() {
        let expected =
            SectionHeader { id: SectionId::BUFFER, flags: COMPRESSED, string: 9, size: 256 };
        assert_eq!(SectionHeader::from_bytes(&LITTLE, ByteOrder::Little), expected);
        assert_eq!(SectionHeader::from_bytes(&BIG, ByteOrder::Big), expected);
        assert_eq!(expected.to_bytes(ByteOrder::Little), LITTLE);
        assert_eq!(expected.to_bytes(ByteOrder::Big), BIG);
        assert!(expected.is_compressed());
    }

    #[test]
    fn unknown_sections_have_a_number_for_a_name() {
        assert_eq!(SectionId(0).to_string(), "OPTIONS");
        assert_eq!(SectionId(16).to_string(), "HEADER_INFO");
        assert_eq!(SectionId(999).to_string(), "section 999");
    }
}
