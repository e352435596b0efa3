//! The layout of a sub-buffer's header, as `events/header_page` tells it.

use crate::abi::Abi;
use crate::error::DecodeError;

/// Layout of a sub-buffer's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderPage {
    /// Size of the commit field, which is the traced kernel's `long`: 4 or 8.
    pub commit_size: u8,
    /// Offset of the first entry.
    pub data_offset: u32,
    /// Size of the data area; with `data_offset` the sub-buffer's size.
    pub data_size: u32,
    /// Whether the kernel tells lost events in the commit field.
    pub has_overwrite: bool,
    /// Whether entries are encoded as before Linux 2.6.31.
    pub old_entries: bool,
}

/// Largest sub-buffer that is believed.
const MAX_SIZE: u32 = 1 << 27;

impl HeaderPage {
    /// What all kernels of a `long` size have had so far, with sub-buffers of `size` bytes.
    pub const fn standard(long_size: u8, size: u32) -> Self {
        let data_offset = if long_size == 4 { 12 } else { 16 };
        Self {
            commit_size: if long_size == 4 { 4 } else { 8 },
            data_offset,
            data_size: size.saturating_sub(data_offset),
            has_overwrite: true,
            old_entries: false,
        }
    }

    /// Reads the text of `header_page`; an empty one stands for what `abi` has and `page_size`.
    ///
    /// # Errors
    ///
    /// Fields are missing, or lie where no kernel has put them.
    pub fn parse(text: &[u8], abi: Abi, page_size: u32) -> Result<Self, DecodeError> {
        if text.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Ok(Self::standard(abi.long_size, page_size));
        }
        let text = String::from_utf8_lossy(text);
        let field = |name: &str| text.lines().find_map(|line| declared(line, name));
        let wrong = |cause| DecodeError::HeaderPage { offset: 0, cause };
        if field("timestamp") != Some((0, 8)) {
            return Err(wrong("no timestamp of 8 bytes at offset 0"));
        }
        let commit = field("commit").ok_or_else(|| wrong("no field commit"))?;
        let commit_size = match commit {
            (8, 4) => 4,
            (8, 8) => 8,
            _ => return Err(wrong("commit is not a long at offset 8")),
        };
        let (data_offset, data_size) = field("data").ok_or_else(|| wrong("no field data"))?;
        if data_offset < 8 + u32::from(commit_size) {
            return Err(wrong("data begins inside of the header"));
        }
        if data_offset >= MAX_SIZE || data_size > MAX_SIZE - data_offset {
            return Err(wrong("data is too large"));
        }
        Ok(Self {
            commit_size,
            data_offset,
            data_size,
            has_overwrite: field("overwrite").is_some(),
            old_entries: false,
        })
    }

    /// Takes from the text of `header_event` how entries are encoded.
    #[must_use]
    pub fn with_header_event(mut self, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        self.old_entries = text.lines().any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next() == Some("type") && words.nth(1) == Some("2")
        });
        self
    }

    /// Size of a whole sub-buffer, in bytes.
    pub const fn sub_buffer_size(&self) -> u32 {
        self.data_offset.saturating_add(self.data_size)
    }
}

/// Offset and size of a line that declares the field `name`.
fn declared(line: &str, name: &str) -> Option<(u32, u32)> {
    let mut parts = line.trim().strip_prefix("field:")?.split(';');
    if parts.next()?.split_ascii_whitespace().last()? != name {
        return None;
    }
    let (mut offset, mut size) = (None, None);
    for part in parts {
        match part.trim().split_once(':') {
            Some(("offset", value)) => offset = value.trim().parse().ok(),
            Some(("size", value)) => size = value.trim().parse().ok(),
            _ => {}
        }
    }
    Some((offset?, size?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ByteOrder;

    const LONG_8: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
    const LONG_4: Abi = Abi { byte_order: ByteOrder::Little, long_size: 4 };
    const TEXT_64: &[u8] = b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
        \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
        \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
        \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";

    #[test]
    fn text_gives_long_size_and_sub_buffer_size() {
        let page = HeaderPage::parse(TEXT_64, LONG_4, 4096).unwrap();
        assert_eq!(page, HeaderPage::standard(8, 4096));
        assert_eq!((page.data_offset, page.sub_buffer_size()), (16, 4096));
    }

    #[test]
    fn without_text_the_machine_that_recorded_decides() {
        let page = HeaderPage::parse(b"", LONG_4, 65536).unwrap();
        assert_eq!((page.commit_size, page.data_offset), (4, 12));
        assert_eq!(page.sub_buffer_size(), 65536);
    }

    #[test]
    fn old_kernels_have_no_overwrite_and_say_type_2_bits() {
        let text = b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\n\
            \tfield: local_t commit;\toffset:8;\tsize:4;\n\
            \tfield: char data;\toffset:12;\tsize:4084;\n";
        let page = HeaderPage::parse(text, LONG_8, 4096).unwrap();
        assert!(!page.has_overwrite && !page.old_entries);
        assert_eq!(page.commit_size, 4);
        let old = page.with_header_event(b"# compressed\n\ttype : 2 bits\n\tlen : 3 bits\n");
        assert!(old.old_entries);
        assert!(!page.with_header_event(b"\ttype_len    :    5 bits\n").old_entries);
    }

    #[test]
    fn nonsense_is_refused() {
        for (from, to) in [
            ("timestamp;\toffset:0", "timestamp;\toffset:1"),
            ("commit;\toffset:8;\tsize:8", "commit;\toffset:8;\tsize:3"),
            ("data;\toffset:16", "data;\toffset:15"),
            ("size:4080", "size:4294967295"),
            ("char data", "char date"),
        ] {
            let text = String::from_utf8(TEXT_64.to_vec()).unwrap().replace(from, to);
            HeaderPage::parse(text.as_bytes(), LONG_8, 4096).unwrap_err();
        }
        HeaderPage::parse(b"garbage", LONG_8, 4096).unwrap_err();
    }
}
