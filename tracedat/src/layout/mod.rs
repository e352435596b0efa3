//! Numbers and names as they are on disk, shared by reader and writer.
//!
//! Both versions begin with [`MAGIC`], [`TRACING`], the version in decimal and NUL, one byte of
//! byte order, one byte of `long` size and the page size. Version 6 goes on with all metadata in
//! a fixed order; version 7 with sections that are found through options.

mod live;
mod option;
mod section;
pub mod v6;

pub use live::{Gap, Live};
pub use option::OptionId;
pub use section::{
    COMPRESSED, CompressedHeader, NO_STRING, SECTION_HEADER_LEN, SectionHeader, SectionId,
};

use crate::abi::{Abi, ByteOrder};

/// First bytes of every file.
pub const MAGIC: [u8; 3] = [0x17, 0x08, 0x44];

/// Follows [`MAGIC`]; no NUL.
pub const TRACING: &[u8; 7] = b"tracing";

/// Metadata in fixed order, no compression.
pub const VERSION_6: u16 = 6;

/// Sections, options in a chain, compression.
pub const VERSION_7: u16 = 7;

/// Byte that says little endian.
pub const LITTLE_ENDIAN: u8 = 0;

/// Byte that says big endian.
pub const BIG_ENDIAN: u8 = 1;

/// Longest version number a reader looks for, NUL not counted.
pub const VERSION_MAX_LEN: usize = 16;

/// Name before the text of `events/header_page`, NUL included.
pub const HEADER_PAGE: &[u8; 12] = b"header_page\0";

/// Name before the text of `events/header_event`, NUL included.
pub const HEADER_EVENT: &[u8; 13] = b"header_event\0";

/// Sub-buffers in one compressed chunk of CPU data; the last one may have fewer.
pub const CHUNK_SUB_BUFFERS: u32 = 10;

/// Bytes before a chunk's data: compressed and uncompressed size, `u32` each.
pub const CHUNK_HEADER_LEN: usize = 8;

/// The byte of a byte order.
pub const fn byte_order_byte(byte_order: ByteOrder) -> u8 {
    match byte_order {
        ByteOrder::Little => LITTLE_ENDIAN,
        ByteOrder::Big => BIG_ENDIAN,
    }
}

/// The two bytes after the version: byte order and `long` size.
pub const fn abi_bytes(abi: Abi) -> [u8; 2] {
    [byte_order_byte(abi.byte_order), abi.long_size]
}
