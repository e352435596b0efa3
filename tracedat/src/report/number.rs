//! Numbers as text in columns, appended to a byte buffer.

use crate::text;
pub(crate) use crate::text::{decimal, hex, nine_digits_colon, signed, six_digits_colon};

const BLANKS: &[u8; 32] = &[b' '; 32];

/// Appends `count` blanks.
#[inline]
pub(crate) fn blanks(out: &mut Vec<u8>, mut count: usize) {
    while count > BLANKS.len() {
        out.extend_from_slice(BLANKS);
        count -= BLANKS.len();
    }
    text::first(out, BLANKS, count);
}

/// Appends `text` right-aligned in `width`.
#[inline]
pub(crate) fn right(out: &mut Vec<u8>, text: &[u8], width: usize) {
    blanks(out, width.saturating_sub(text.len()));
    out.extend_from_slice(text);
}

/// Appends a signed decimal number, left-aligned in `width`.
#[inline]
pub(crate) fn signed_left(out: &mut Vec<u8>, value: i64, width: usize) {
    let start = out.len();
    signed(out, value);
    blanks(out, width.saturating_sub(out.len() - start));
}

/// Appends a decimal number, right-aligned in `width`.
#[inline]
pub(crate) fn decimal_right(out: &mut Vec<u8>, value: u64, width: usize) {
    blanks(out, width.saturating_sub(digits(value)));
    decimal(out, value);
}

/// Appends a decimal number with leading zeros up to `width`.
#[inline]
pub(crate) fn decimal_zeros(out: &mut Vec<u8>, value: u64, width: usize) {
    for _ in digits(value)..width {
        out.push(b'0');
    }
    decimal(out, value);
}

/// How many decimal digits a number has.
#[inline]
fn digits(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_agree_with_the_standard_library() {
        let mut value = 1_u64;
        for step in 0..2000_u64 {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            let value = value >> (step % 64);
            assert_eq!(text(|out| decimal_zeros(out, value, 6)), format!("{value:06}"));
            assert_eq!(text(|out| decimal_right(out, value, 12)), format!("{value:12}"));
        }
    }

    #[test]
    fn alignment_never_cuts() {
        assert_eq!(text(|out| right(out, b"bash", 6)), "  bash");
        assert_eq!(text(|out| right(out, b"kworker", 3)), "kworker");
        assert_eq!(text(|out| signed_left(out, -7, 5)), "-7   ");
        assert_eq!(text(|out| blanks(out, 70)).len(), 70);
    }
}
