//! What decoding depends on: byte order and `long` size of the traced machine.

/// Byte order of all integers in a file and in its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// The byte order of the machine that runs this code.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// Decodes two bytes.
    #[inline]
    pub const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// Decodes four bytes.
    #[inline]
    pub const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// Decodes eight bytes.
    #[inline]
    pub const fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }

    /// Encodes two bytes.
    #[inline]
    pub const fn put_u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    /// Encodes four bytes.
    #[inline]
    pub const fn put_u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    /// Encodes eight bytes.
    #[inline]
    pub const fn put_u64(self, value: u64) -> [u8; 8] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    /// Decodes an unsigned integer of 1, 2, 4 or 8 bytes; `None` for any other length.
    #[inline]
    pub fn uint(self, bytes: &[u8]) -> Option<u64> {
        Some(match bytes.len() {
            1 => u64::from(bytes[0]),
            2 => u64::from(self.u16(bytes.try_into().ok()?)),
            4 => u64::from(self.u32(bytes.try_into().ok()?)),
            8 => self.u64(bytes.try_into().ok()?),
            _ => return None,
        })
    }
}

/// Byte order and kernel `long` size (4 or 8) of the traced machine: all that decoding an event needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Abi {
    /// Byte order of file integers and event data.
    pub byte_order: ByteOrder,
    /// Size of the traced kernel's `long`, in bytes: 4 or 8.
    pub long_size: u8,
}

impl Abi {
    /// The machine that runs this code.
    pub const NATIVE: Self =
        Self { byte_order: ByteOrder::NATIVE, long_size: size_of::<usize>() as u8 };
}
