//! Numbers as text, appended to a byte buffer: what printing a line spends most of its time on.

const DIGIT_PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

const HEX: &[u8; 16] = b"0123456789abcdef";
const BLANKS: &[u8; 32] = &[b' '; 32];

/// Decimal digits of one number, in place.
struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    #[inline]
    fn new(mut value: u64) -> Self {
        let mut bytes = [0; 20];
        let mut start = 20;
        while value >= 100 {
            let pair = (value % 100) as usize * 2;
            value /= 100;
            start -= 2;
            bytes[start..start + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
        }
        if value >= 10 {
            let pair = value as usize * 2;
            start -= 2;
            bytes[start..start + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
        } else {
            start -= 1;
            bytes[start] = b'0' + value as u8;
        }
        Self { bytes, start }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Appends `count` blanks.
#[inline]
pub(crate) fn blanks(out: &mut Vec<u8>, mut count: usize) {
    while count > BLANKS.len() {
        out.extend_from_slice(BLANKS);
        count -= BLANKS.len();
    }
    out.extend_from_slice(&BLANKS[..count]);
}

/// Appends `text` right-aligned in `width`.
#[inline]
pub(crate) fn right(out: &mut Vec<u8>, text: &[u8], width: usize) {
    blanks(out, width.saturating_sub(text.len()));
    out.extend_from_slice(text);
}

/// Appends an unsigned decimal number.
#[inline]
pub(crate) fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(Digits::new(value).as_bytes());
}

/// Appends a signed decimal number.
#[inline]
pub(crate) fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    decimal(out, value.unsigned_abs());
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
    right(out, Digits::new(value).as_bytes(), width);
}

/// Appends a decimal number with leading zeros up to `width`.
#[inline]
pub(crate) fn decimal_zeros(out: &mut Vec<u8>, value: u64, width: usize) {
    let digits = Digits::new(value);
    for _ in digits.as_bytes().len()..width {
        out.push(b'0');
    }
    out.extend_from_slice(digits.as_bytes());
}

/// Appends six digits, of a number below a million.
#[inline]
pub(crate) fn six_digits(out: &mut Vec<u8>, value: u64) {
    let (high, middle, low) = (value / 10_000 % 100, value / 100 % 100, value % 100);
    let mut digits = [0; 6];
    for (place, pair) in [high, middle, low].into_iter().enumerate() {
        let pair = pair as usize * 2;
        digits[place * 2..place * 2 + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    }
    out.extend_from_slice(&digits);
}

/// Appends lower-case hexadecimal digits, at least `width` of them.
#[inline]
pub(crate) fn hex(out: &mut Vec<u8>, value: u64, width: usize) {
    let digits = (16 - (value | 1).leading_zeros() as usize / 4).max(width.min(16));
    for place in (0..digits).rev() {
        out.push(HEX[(value >> (place * 4)) as usize & 15]);
    }
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
            assert_eq!(text(|out| decimal(out, value)), value.to_string());
            assert_eq!(text(|out| signed(out, value as i64)), (value as i64).to_string());
            assert_eq!(text(|out| decimal_zeros(out, value, 6)), format!("{value:06}"));
            assert_eq!(text(|out| decimal_right(out, value, 12)), format!("{value:12}"));
            let six = value % 1_000_000;
            assert_eq!(text(|out| six_digits(out, six)), format!("{six:06}"));
            assert_eq!(text(|out| hex(out, value, 0)), format!("{value:x}"));
            assert_eq!(text(|out| hex(out, value, 8)), format!("{value:08x}"));
        }
        assert_eq!(text(|out| decimal(out, u64::MAX)), u64::MAX.to_string());
        assert_eq!(text(|out| signed(out, i64::MIN)), i64::MIN.to_string());
        assert_eq!(text(|out| hex(out, 0, 0)), "0");
    }

    #[test]
    fn alignment_never_cuts() {
        assert_eq!(text(|out| right(out, b"bash", 6)), "  bash");
        assert_eq!(text(|out| right(out, b"kworker", 3)), "kworker");
        assert_eq!(text(|out| signed_left(out, -7, 5)), "-7   ");
        assert_eq!(text(|out| blanks(out, 70)).len(), 70);
    }
}
