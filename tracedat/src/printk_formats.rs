//! Format strings of `trace_printk` by address, from the text of `printk_formats`.
use std::sync::OnceLock;

use crate::print_fmt::BinaryFormat;

/// Format strings by address.
#[derive(Debug, Default)]
pub struct PrintkFormats {
    /// By address.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    address: u64,
    text: Vec<u8>,
    binary: OnceLock<BinaryFormat>,
}

impl PrintkFormats {
    /// Parses the text of `printk_formats`, lines like `0xffffffff81000000 : "text\n"`; lines that
    /// are not understood are left out.
    pub fn parse(text: &[u8]) -> Self {
        let mut entries: Vec<_> = text.split(|&byte| byte == b'\n').filter_map(entry).collect();
        // Stable, so that of two lines with one address the last is found.
        entries.sort_by_key(|entry| entry.address);
        Self { entries }
    }

    fn entry(&self, address: u64) -> Option<&Entry> {
        let after = self.entries.partition_point(|entry| entry.address <= address);
        let last = self.entries.get(after.checked_sub(1)?)?;
        (last.address == address).then_some(last)
    }

    /// The string at an address, escapes as written, without a newline at its end.
    pub fn text(&self, address: u64) -> Option<&[u8]> {
        Some(&self.entry(address)?.text)
    }

    /// The string at an address, ready to print binary records; split when first asked for.
    pub fn binary(&self, address: u64) -> Option<&BinaryFormat> {
        let entry = self.entry(address)?;
        Some(entry.binary.get_or_init(|| BinaryFormat::parse(&entry.text)))
    }

    /// All of them, by address (`report -P`); those of one address as they come in the text.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.entries.iter().map(|entry| (entry.address, entry.text.as_slice()))
    }
}

fn entry(line: &[u8]) -> Option<Entry> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let address = std::str::from_utf8(&line[..colon]).ok()?.trim();
    let digits = address.strip_prefix("0x").unwrap_or(address);
    let address = u64::from_str_radix(digits, 16).ok()?;
    let text = line[colon + 1..].trim_ascii();
    let text = text.strip_prefix(b"\"").unwrap_or(text);
    let text = text.strip_suffix(b"\"").unwrap_or(text);
    let text = text.strip_suffix(b"\\n").unwrap_or(text);
    Some(Entry { address, text: text.to_vec(), binary: OnceLock::new() })
}

#[cfg(test)]
mod tests {
    use super::PrintkFormats;

    #[test]
    fn strings_are_found_by_address_without_their_newline() {
        let text = b"0xffffffff82000010 : \"b %d\\n\"\nnonsense\n0xffffffff82000000 : \"a\"\n";
        let formats = PrintkFormats::parse(text);
        assert_eq!(formats.text(0xffff_ffff_8200_0010), Some(&b"b %d"[..]));
        assert_eq!(formats.text(0xffff_ffff_8200_0000), Some(&b"a"[..]));
        assert_eq!(formats.text(1), None);
        assert_eq!(formats.iter().count(), 2);
    }

    #[test]
    fn last_line_of_an_address_counts() {
        let formats = PrintkFormats::parse(b"0x1 : \"first\"\n0x1 : \"last\"\n");
        assert_eq!(formats.text(1), Some(&b"last"[..]));
        assert_eq!(formats.text(0), None);
        assert_eq!(formats.iter().count(), 2);
    }
}
