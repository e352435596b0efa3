//! Rows of bytes, as `__print_hex_dump` prints them.
use super::limit;
use super::number;
use super::program::HexDumpStyle;
use super::value::Load;
use crate::abi::ByteOrder;
use crate::text;

/// Appends the rows, each on a line of its own after a first line break.
pub(super) fn print(
    out: &mut Vec<u8>,
    bytes: &[u8],
    prefix: &[u8],
    style: HexDumpStyle,
    order: ByteOrder,
) {
    let (row, group) = (usize::from(style.row).max(1), usize::from(style.group).max(1));
    let before = out.len();
    out.push(b'\n');
    for (index, line) in bytes.chunks(row).enumerate() {
        // A prefix may be as long as a format.
        if limit::is_exceeded(out, before, bytes.len()) {
            return;
        }
        out.extend_from_slice(prefix);
        if style.offsets {
            text::hex(out, (index * row) as u64, 8);
            out.extend_from_slice(b": ");
        }
        let start = out.len();
        // Numbers that the last bytes do not fill make the kernel print single bytes.
        let size = if line.len() % group == 0 { group } else { 1 };
        let load = Load::new(size as u32, order);
        for (at, _) in line.chunks(size).enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            text::hex(out, load.at(line, at * size), size * 2);
        }
        if style.ascii {
            let column = row / size * (size * 2 + 1) + 1;
            number::fill(out, b' ', column.saturating_sub(out.len() - start));
            out.extend(
                line.iter().map(|&byte| if matches!(byte, b' '..=b'~') { byte } else { b'.' }),
            );
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteOrder, HexDumpStyle, print};

    fn dump(bytes: &[u8], style: HexDumpStyle, order: ByteOrder) -> String {
        let mut out = Vec::new();
        print(&mut out, bytes, b"p ", style, order);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_have_offsets_numbers_and_text() {
        let style = HexDumpStyle { offsets: true, row: 16, group: 4, ascii: true };
        assert_eq!(
            dump(b"0123456789abcdefXYZ\0", style, ByteOrder::Big),
            "\np 00000000: 30313233 34353637 38396162 63646566  0123456789abcdef\n\
             p 00000010: 58595a00                             XYZ.\n"
        );
        let plain = HexDumpStyle { offsets: false, ascii: false, ..style };
        assert_eq!(dump(&[1, 2, 3, 4], plain, ByteOrder::Little), "\np 04030201\n");
        assert_eq!(dump(&[1, 2, 3], plain, ByteOrder::Little), "\np 01 02 03\n");
    }
}
