//! Numbers as Parquet and protocol buffers have them: seven bits a byte, the lowest first.

/// Appends a number.
#[inline]
pub(super) fn append(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
