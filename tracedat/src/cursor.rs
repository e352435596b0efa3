//! The only place where bytes of a file become numbers.

use crate::abi::ByteOrder;
use crate::error::DecodeError;

/// A cursor over borrowed bytes, in the byte order of the file; errors carry the file's offset.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    offset: u64,
    order: ByteOrder,
}

impl<'a> Cursor<'a> {
    /// Starts at the first of `bytes`, which stand at `offset` in the file.
    pub fn new(bytes: &'a [u8], offset: u64, order: ByteOrder) -> Self {
        Self { bytes, offset, order }
    }

    /// Where the next byte stands in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What was not taken yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Borrows the next `len` bytes and moves past them.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when there are fewer.
    pub fn take(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let split = usize::try_from(len).ok().and_then(|len| self.bytes.split_at_checked(len));
        let Some((head, rest)) = split else {
            return Err(self.truncated(len));
        };
        self.bytes = rest;
        self.offset = self.offset.saturating_add(len);
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<N>() else {
            return Err(self.truncated(N as u64));
        };
        self.bytes = rest;
        self.offset = self.offset.saturating_add(N as u64);
        Ok(*head)
    }

    /// Takes a byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Takes a 16-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when there are fewer bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(self.order.u16(self.array()?))
    }

    /// Takes a 32-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when there are fewer bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(self.order.u32(self.array()?))
    }

    /// Takes a 64-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when there are fewer bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(self.order.u64(self.array()?))
    }

    /// Takes a signed 64-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when there are fewer bytes.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(self.u64()?.cast_signed())
    }

    /// Takes bytes up to a NUL, and the NUL.
    ///
    /// # Errors
    /// [`DecodeError::Unterminated`] when there is none.
    pub fn str0(&mut self) -> Result<&'a [u8], DecodeError> {
        let Some(len) = self.bytes.iter().position(|byte| *byte == 0) else {
            return Err(DecodeError::Unterminated { offset: self.offset });
        };
        let text = self.take(len as u64)?;
        self.take(1)?;
        Ok(text)
    }

    fn truncated(&self, need: u64) -> DecodeError {
        DecodeError::Truncated { offset: self.offset, need, left: self.bytes.len() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_says_where_the_input_ends() {
        let mut cursor = Cursor::new(b"\0\x01ab\0c", 0x1f20, ByteOrder::Big);
        assert_eq!(cursor.u16(), Ok(1));
        assert_eq!(cursor.str0(), Ok(&b"ab"[..]));
        let error = cursor.u64().unwrap_err();
        assert_eq!(error.to_string(), "need 8 bytes at offset 0x1f25, 1 left");
        assert_eq!(cursor.str0(), Err(DecodeError::Unterminated { offset: 0x1f25 }));
    }
}
