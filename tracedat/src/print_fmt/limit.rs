//! How long the text of one event may become: a format decides how often, and how wide, it prints what
//! is in a record of a few bytes.

/// Bytes of text that any record may have.
const FOR_ALL: usize = 64 << 10;
/// Bytes of text that a record may have for each of its own bytes.
const FOR_EACH_BYTE: usize = 16;

/// What stands where the rest was left out.
const MARK: &[u8] = b"[...]";

/// Most blanks or zeros that a conversion adds.
pub(super) const MAX_WIDTH: u32 = 65_535;

/// Whether what was appended since `start`, of a record of `len` bytes, is more than may be.
#[inline]
pub(crate) fn is_exceeded(out: &[u8], start: usize, len: usize) -> bool {
    out.len().saturating_sub(start) > FOR_ALL && out.len() - start > most(len)
}

/// Cuts what was appended since `start` to what may be, and marks that. True where it was too much.
#[inline]
pub(crate) fn cut(out: &mut Vec<u8>, start: usize, len: usize) -> bool {
    let is_exceeded = is_exceeded(out, start, len);
    if is_exceeded {
        out.truncate(start + most(len) - MARK.len());
        out.extend_from_slice(MARK);
    }
    is_exceeded
}

fn most(len: usize) -> usize {
    len.saturating_mul(FOR_EACH_BYTE).max(FOR_ALL)
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn what_is_too_long_ends_with_a_mark() {
        for (record, most) in [(50, 65_536), (4096, 65_536), (10_000, 160_000)] {
            let mut out = vec![b'x'; 7 + most];
            assert!(!cut(&mut out, 7, record));
            assert_eq!(out.len(), 7 + most);
            out.push(b'x');
            assert!(cut(&mut out, 7, record));
            assert_eq!(out.len(), 7 + most);
            assert!(out.ends_with(b"xx[...]"));
            // Once more changes nothing.
            assert!(!cut(&mut out, 7, record));
        }
    }
}
