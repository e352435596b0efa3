//! Appending short texts and numbers: what printing a line spends most of its time on.
//!
//! Copies have a constant size, so that they are a few instructions and no call; what is too much
//! is cut off again. Digits are made eight at a time in one word.

/// Bytes of most copies.
pub(crate) const CHUNK: usize = 32;

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Appends the first `len` bytes of `bytes`.
#[inline(always)]
pub(crate) fn first<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N], len: usize) {
    let end = out.len() + len;
    out.extend_from_slice(bytes);
    out.truncate(end);
}

/// Appends the bytes of `pool` from `start` to `end`, fast where [`CHUNK`] bytes follow `start`.
#[inline(always)]
pub(crate) fn part(out: &mut Vec<u8>, pool: &[u8], start: usize, end: usize) {
    let len = end.wrapping_sub(start);
    match pool.get(start..).and_then(|rest| rest.first_chunk::<CHUNK>()) {
        Some(chunk) if len <= CHUNK => first(out, chunk, len),
        _ => out.extend_from_slice(pool.get(start..end).unwrap_or_default()),
    }
}

/// A text that is appended often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    chunks: Vec<[u8; CHUNK]>,
    len: usize,
}

impl Text {
    /// Takes over a text.
    pub(crate) fn new(text: &[u8]) -> Self {
        let mut kept = Self::default();
        kept.set(text);
        kept
    }

    /// Replaces the text, and keeps the memory.
    pub(crate) fn set(&mut self, text: &[u8]) {
        self.chunks.clear();
        self.len = text.len();
        for part in text.chunks(CHUNK) {
            let mut chunk = [0; CHUNK];
            chunk[..part.len()].copy_from_slice(part);
            self.chunks.push(chunk);
        }
    }

    /// Appends it.
    #[inline]
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        for chunk in &self.chunks {
            out.extend_from_slice(chunk);
        }
        out.truncate(end);
    }
}

/// Eight decimal digits as numbers, the first one in the lowest byte, of a number below 10^8.
#[inline(always)]
fn eight_digits(value: u32) -> u64 {
    // Every lane is halved three times; the products stay in their lanes.
    let fours = u64::from(value / 10_000) | u64::from(value % 10_000) << 32;
    let upper = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = upper | (fours - upper * 100) << 16;
    let upper = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    upper | (twos - upper * 10) << 8
}

const EIGHT: u64 = 100_000_000;

/// Appends an unsigned decimal number.
#[inline]
pub(crate) fn decimal(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else if value < EIGHT {
        some_decimal(out, value as u32);
    } else {
        long_decimal(out, value);
    }
}

/// Appends a number below 10^8, but not 0.
#[inline(always)]
fn some_decimal(out: &mut Vec<u8>, value: u32) {
    let digits = eight_digits(value);
    let skipped = digits.trailing_zeros() / 8;
    let text = (digits | ZEROS) >> (skipped * 8 % 64);
    first(out, &text.to_le_bytes(), 8 - skipped as usize);
}

#[inline(never)]
fn long_decimal(out: &mut Vec<u8>, value: u64) {
    let (upper, lower) = (value / EIGHT, value % EIGHT);
    if upper < EIGHT {
        some_decimal(out, upper as u32);
    } else {
        some_decimal(out, (upper / EIGHT) as u32);
        out.extend_from_slice(&(eight_digits((upper % EIGHT) as u32) | ZEROS).to_le_bytes());
    }
    out.extend_from_slice(&(eight_digits(lower as u32) | ZEROS).to_le_bytes());
}

/// Appends a signed decimal number.
#[inline]
pub(crate) fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    decimal(out, value.unsigned_abs());
}

/// Appends six digits of a number below a million, then a colon and a blank.
#[inline]
pub(crate) fn six_digits_colon(out: &mut Vec<u8>, value: u64) {
    const COLON: u64 = u16::from_le_bytes(*b": ") as u64;
    let text = (eight_digits(value as u32) | ZEROS) >> 16 | COLON << 48;
    out.extend_from_slice(&text.to_le_bytes());
}

/// Appends nine digits of a number below 10^9, then a colon and a blank.
#[inline]
pub(crate) fn nine_digits_colon(out: &mut Vec<u8>, value: u64) {
    const COLON: u128 = u16::from_le_bytes(*b": ") as u128;
    let (first_digit, others) = (value / EIGHT, eight_digits((value % EIGHT) as u32));
    let digits = u128::from(first_digit | u64::from(b'0')) | u128::from(others | ZEROS) << 8;
    first(out, &(digits | COLON << 72).to_le_bytes(), 11);
}

/// Eight hexadecimal digits as text, the first one in the lowest byte.
#[inline(always)]
fn eight_hex(value: u32) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut nibbles = u64::from(value);
    nibbles = (nibbles | nibbles << 16) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | nibbles << 8) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | nibbles << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (nibbles + LOW * 6) >> 4 & LOW;
    (nibbles + ZEROS + letters * u64::from(b'a' - b'0' - 10)).swap_bytes()
}

/// Appends lower-case hexadecimal digits, at least `width` of them.
#[inline]
pub(crate) fn hex(out: &mut Vec<u8>, value: u64, width: usize) {
    let digits = (16 - (value | 1).leading_zeros() as usize / 4).max(width.min(16));
    let lower = eight_hex(value as u32);
    if digits > 8 {
        let upper = eight_hex((value >> 32) as u32);
        // Less than 64; a shift by all bits goes in two steps.
        let skipped = 8 * (16 - digits as u32);
        let start = upper >> skipped | lower << 1 << (63 - skipped);
        let text = u128::from(start) | u128::from(lower >> skipped) << 64;
        first(out, &text.to_le_bytes(), digits);
    } else {
        // Never none, so the shift is less than 64.
        first(out, &(lower >> (8 * (8 - digits))).to_le_bytes(), digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = b"x".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap().split_off(1)
    }

    #[test]
    fn numbers_agree_with_the_standard_library() {
        let mut value = 1_u64;
        let edges = (0..20).flat_map(|power| {
            let power = 10_u64.pow(power);
            [power - 1, power, power + 1]
        });
        let many = (0..20_000_u64).map(|step| {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            value >> (step % 64)
        });
        for value in edges.chain([u64::MAX]).chain(0..10_001).chain(many) {
            assert_eq!(text(|out| decimal(out, value)), value.to_string());
            assert_eq!(text(|out| signed(out, value as i64)), (value as i64).to_string());
            assert_eq!(text(|out| hex(out, value, 0)), format!("{value:x}"));
            assert_eq!(text(|out| hex(out, value, 8)), format!("{value:08x}"));
            assert_eq!(text(|out| hex(out, value, 16)), format!("{value:016x}"));
            let six = value % 1_000_000;
            assert_eq!(text(|out| six_digits_colon(out, six)), format!("{six:06}: "));
            let nine = value % 1_000_000_000;
            assert_eq!(text(|out| nine_digits_colon(out, nine)), format!("{nine:09}: "));
        }
        assert_eq!(text(|out| signed(out, i64::MIN)), i64::MIN.to_string());
    }

    #[test]
    fn texts_of_any_length_are_whole() {
        let pool: Vec<u8> = (b'0'..=b'z').cycle().take(200).collect();
        for start in 0..pool.len() {
            for end in start..pool.len() {
                let expected = &pool[start..end];
                let mut out = b"x".to_vec();
                part(&mut out, &pool, start, end);
                assert_eq!(&out[1..], expected);
                out.truncate(1);
                Text::new(expected).append(&mut out);
                assert_eq!(&out[1..], expected);
            }
        }
        let mut out = Vec::new();
        part(&mut out, &pool, 190, 201);
        part(&mut out, &pool, 9, 8);
        assert!(out.is_empty());
    }
}
