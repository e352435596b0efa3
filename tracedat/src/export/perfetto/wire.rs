//! Protocol buffers on the wire: keys, varints, and messages whose length comes before them.

use crate::export::varint;

/// A value that is a varint.
const VARINT: u32 = 0;
/// A value with its length before it.
const DELIMITED: u32 = 2;

/// Appends a number.
#[inline]
pub(super) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    varint::append(out, u64::from(field << 3 | VARINT));
    varint::append(out, value);
}

/// Appends a number with its sign, which is extended to 64 bits.
#[inline]
pub(super) fn int(out: &mut Vec<u8>, field: u32, value: i64) {
    uint(out, field, value.cast_unsigned());
}

/// Appends bytes, a text, or a message that is ready.
#[inline]
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    delimiter(out, field, value.len());
    out.extend_from_slice(value);
}

/// Appends what comes before so many bytes.
#[inline]
pub(super) fn delimiter(out: &mut Vec<u8>, field: u32, len: usize) {
    varint::append(out, u64::from(field << 3 | DELIMITED));
    varint::append(out, len as u64);
}

/// Appends a message, or a text, that `write` appends; nothing when it returns `None`.
#[inline]
pub(super) fn try_message(
    out: &mut Vec<u8>,
    field: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    let before = out.len();
    // Most messages are short: a byte is kept for their length, and others are moved.
    delimiter(out, field, 0);
    let start = out.len();
    let written = write(out);
    if written.is_none() {
        out.truncate(before);
        return None;
    }
    let len = out.len() - start;
    if len < 0x80 {
        *out.get_mut(start - 1)? = len as u8;
    } else {
        let end = out.len();
        varint::append(out, len as u64);
        let added = out.len() - end;
        out.get_mut(start..)?.rotate_right(added);
        out.remove(start - 1);
    }
    Some(())
}

/// Appends a message that `write` appends.
#[inline]
pub(super) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    try_message(out, field, |out| {
        write(out);
        Some(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_have_their_keys() {
        let mut out = Vec::new();
        uint(&mut out, 1, 150);
        int(&mut out, 16, -1);
        bytes(&mut out, 2, b"ab");
        let minus_one = [0xff; 9];
        let wanted =
            [&[0x08, 0x96, 0x01, 0x80, 0x01][..], &minus_one, &[0x01, 0x12, 2, b'a', b'b']];
        assert_eq!(out, wanted.concat());
    }

    #[test]
    fn messages_of_every_length_have_it_before_them() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let (mut out, mut wanted) = (vec![9], vec![9]);
            message(&mut out, 3, |out| out.extend((0..len).map(|byte| byte as u8)));
            bytes(&mut wanted, 3, &(0..len).map(|byte| byte as u8).collect::<Vec<_>>());
            assert!(out == wanted, "{len}");
        }
        let mut out = vec![9];
        assert_eq!(try_message(&mut out, 3, |_| None), None);
        assert_eq!(out, [9]);
    }
}
