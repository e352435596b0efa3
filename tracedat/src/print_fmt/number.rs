//! Integers as text, as C's `printf` has them.

pub(crate) use crate::text::{decimal, signed};

/// How a number or text is laid out: `%-08.3x`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// `-`: blanks go to the right.
    pub(super) left: bool,
    /// `0`: zeros instead of blanks to the left.
    pub(super) zero: bool,
    /// `+`: a sign before numbers that are not below zero.
    pub(super) plus: bool,
    /// `#`: `0x` or `0` before the digits.
    pub(super) alternate: bool,
    /// Least number of characters.
    pub(super) width: u32,
    /// Least number of digits, or most characters of a text.
    pub(super) precision: Option<u32>,
}

impl Layout {
    /// Whether the plain digits are all that is wanted.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// The digits wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Signed,
    Unsigned,
    Hex,
    UpperHex,
    Octal,
}

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Room for 64 bits in octal.
struct Digits {
    bytes: [u8; 22],
    start: usize,
}

impl Digits {
    #[inline]
    fn new() -> Self {
        Self { bytes: [b'0'; 22], start: 22 }
    }

    #[inline]
    fn push(&mut self, digit: u8) {
        self.start -= 1;
        self.bytes[self.start] = digit;
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    #[inline]
    fn decimal(mut value: u64) -> Self {
        let mut digits = Self::new();
        while value >= 100 {
            let pair = (value % 100) as usize * 2;
            value /= 100;
            digits.push(PAIRS[pair + 1]);
            digits.push(PAIRS[pair]);
        }
        if value >= 10 {
            let pair = value as usize * 2;
            digits.push(PAIRS[pair + 1]);
            digits.push(PAIRS[pair]);
        } else {
            digits.push(b'0' + value as u8);
        }
        digits
    }

    #[inline]
    fn shifted(mut value: u64, bits: u32, alphabet: &[u8; 16]) -> Self {
        let mut digits = Self::new();
        loop {
            digits.push(alphabet[(value & ((1 << bits) - 1)) as usize]);
            value >>= bits;
            if value == 0 {
                return digits;
            }
        }
    }
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Appends a hexadecimal number without `0x`.
#[inline]
pub(crate) fn hex(out: &mut Vec<u8>, value: u64) {
    crate::text::hex(out, value, 0);
}

/// Appends `0x` and a hexadecimal number.
#[inline]
pub(crate) fn prefixed_hex(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(b"0x");
    hex(out, value);
}

/// Appends a byte as two hexadecimal digits.
#[inline]
pub(crate) fn byte(out: &mut Vec<u8>, value: u8) {
    out.extend_from_slice(&[LOWER[usize::from(value >> 4)], LOWER[usize::from(value & 15)]]);
}

/// Appends a number of `bits` width (8 to 64).
#[inline]
pub(super) fn plain(out: &mut Vec<u8>, value: u64, base: Base, bits: u32) {
    let unused = 64 - bits;
    match base {
        Base::Signed => signed(out, ((value << unused) as i64) >> unused),
        Base::Unsigned => decimal(out, value << unused >> unused),
        Base::Hex => hex(out, value << unused >> unused),
        Base::UpperHex => {
            out.extend_from_slice(Digits::shifted(value << unused >> unused, 4, UPPER).as_slice());
        }
        Base::Octal => {
            out.extend_from_slice(Digits::shifted(value << unused >> unused, 3, LOWER).as_slice());
        }
    }
}

/// Appends a number of `bits` width (8 to 64) laid out.
pub(super) fn laid_out(out: &mut Vec<u8>, value: u64, base: Base, bits: u32, layout: Layout) {
    let unused = 64 - bits;
    let value = value << unused >> unused;
    let negative = base == Base::Signed && value >> (bits - 1) & 1 == 1;
    let magnitude =
        if negative { (((value << unused) as i64) >> unused).unsigned_abs() } else { value };
    let digits = match base {
        Base::Signed | Base::Unsigned => Digits::decimal(magnitude),
        Base::Hex => Digits::shifted(magnitude, 4, LOWER),
        Base::UpperHex => Digits::shifted(magnitude, 4, UPPER),
        Base::Octal => Digits::shifted(magnitude, 3, LOWER),
    };
    let mut digits = digits.as_slice();
    if magnitude == 0 && layout.precision == Some(0) {
        digits = &[];
    }
    let mut least = layout.precision.unwrap_or(0) as usize;
    let prefix: &[u8] = match base {
        _ if negative => b"-",
        Base::Signed if layout.plus => b"+",
        Base::Hex if layout.alternate && magnitude != 0 => b"0x",
        Base::UpperHex if layout.alternate && magnitude != 0 => b"0X",
        Base::Octal if layout.alternate && digits.first() != Some(&b'0') => {
            least = least.max(digits.len() + 1);
            b""
        }
        _ => b"",
    };
    let width = layout.width as usize;
    if layout.zero && !layout.left && layout.precision.is_none() {
        least = least.max(width.saturating_sub(prefix.len()));
    }
    let zeros = least.saturating_sub(digits.len());
    let blanks = width.saturating_sub(prefix.len() + zeros + digits.len());
    if !layout.left {
        fill(out, b' ', blanks);
    }
    out.extend_from_slice(prefix);
    fill(out, b'0', zeros);
    out.extend_from_slice(digits);
    if layout.left {
        fill(out, b' ', blanks);
    }
}

/// Appends a text laid out: at most `precision` bytes of it, at least `width` bytes in all.
pub(super) fn text(out: &mut Vec<u8>, text: &[u8], layout: Layout) {
    let most = layout.precision.map_or(usize::MAX, |most| most as usize);
    let text = &text[..text.len().min(most)];
    let blanks = (layout.width as usize).saturating_sub(text.len());
    if !layout.left {
        fill(out, b' ', blanks);
    }
    out.extend_from_slice(text);
    if layout.left {
        fill(out, b' ', blanks);
    }
}

/// Appends the same byte `count` times.
#[inline]
pub(super) fn fill(out: &mut Vec<u8>, byte: u8, count: usize) {
    out.resize(out.len() + count, byte);
}

#[cfg(test)]
mod tests {
    use super::{Base, Layout, laid_out, plain};

    fn with(value: u64, base: Base, bits: u32, layout: Layout) -> String {
        let mut out = Vec::new();
        laid_out(&mut out, value, base, bits, layout);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_laid_out_like_printf_does() {
        let layout = Layout::default();
        let wide = |width, precision| Layout { width, precision, ..layout };
        let alternate = |width| Layout { width, alternate: true, ..layout };
        assert_eq!(with(7, Base::Signed, 32, wide(5, Some(3))), "  007");
        assert_eq!(
            with(u64::MAX, Base::Signed, 32, Layout { zero: true, ..wide(5, None) }),
            "-0001"
        );
        assert_eq!(with(7, Base::Signed, 32, Layout { left: true, ..wide(3, None) }), "7  ");
        assert_eq!(with(2, Base::Hex, 64, Layout { zero: true, ..alternate(8) }), "0x000002");
        assert_eq!(with(0, Base::Hex, 64, alternate(0)), "0");
        assert_eq!(with(8, Base::Octal, 32, alternate(0)), "010");
        assert_eq!(with(0, Base::Octal, 32, alternate(0)), "0");
        assert_eq!(with(0, Base::Signed, 32, wide(0, Some(0))), "");
        assert_eq!(with(0xdead_beef, Base::UpperHex, 16, alternate(0)), "0XBEEF");
    }

    #[test]
    fn plain_numbers_are_cut_to_their_width() {
        let mut out = Vec::new();
        for (value, base, bits) in [
            (u64::MAX, Base::Signed, 64),
            (i64::MIN as u64, Base::Signed, 64),
            (0x1_ffff_fffb, Base::Signed, 32),
            (u64::MAX, Base::Unsigned, 64),
            (0x180, Base::Signed, 8),
            (1000, Base::Unsigned, 16),
            (u64::MAX, Base::Octal, 64),
        ] {
            plain(&mut out, value, base, bits);
            out.push(b' ');
        }
        let expected =
            "-1 -9223372036854775808 -5 18446744073709551615 -128 1000 1777777777777777777777 ";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
