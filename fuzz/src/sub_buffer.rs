//! A sub-buffer of a ring buffer, and the texts that tell its layout.

use tracedat::ring_buffer::{
    Encoding, EntryCursor, HeaderPage, MissedEvents, SubBuffer, SubBufferHeader,
};
use tracedat::{Abi, ByteOrder};

/// Bits of the set-up.
const BIG_ENDIAN: u8 = 1;
const SHORT_LONGS: u8 = 2;
const HEADER_PAGE: u8 = 4;
const OLD_ENTRIES: u8 = 8;

/// A byte with its set-up, where one bit asks for the text of `header_page` up to a NUL, and a sub-buffer.
///
/// # Panics
/// When an entry lies elsewhere than in the sub-buffer, or has fewer bytes than the walk over it.
pub fn run(data: &[u8]) {
    let Some((&bits, mut bytes)) = data.split_first() else { return };
    let byte_order = if bits & BIG_ENDIAN != 0 { ByteOrder::Big } else { ByteOrder::Little };
    let abi = Abi { byte_order, long_size: if bits & SHORT_LONGS != 0 { 4 } else { 8 } };
    let mut page = HeaderPage::standard(abi.long_size, 4096);
    if bits & HEADER_PAGE != 0 {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let Ok(parsed) = HeaderPage::parse(&bytes[..end], abi, 4096) else { return };
        page = parsed.with_header_event(&bytes[..end]);
        bytes = bytes.get(end + 1..).unwrap_or_default();
    }
    page.old_entries |= bits & OLD_ENTRIES != 0;
    walk(bytes, &page, byte_order);
    force(bytes, &page, byte_order);
}

/// Every entry takes four bytes or more, so the walk ends.
fn walk(bytes: &[u8], page: &HeaderPage, byte_order: ByteOrder) {
    let Ok(mut sub_buffer) = SubBuffer::parse(bytes, page, byte_order) else { return };
    if let MissedEvents::Exactly(_) = sub_buffer.missed_events() {
        assert!(page.has_overwrite, "lost events without a place for them");
    }
    let inside = bytes.as_ptr_range();
    let (mut count, mut is_over) = (0, false);
    while let Some(entry) = sub_buffer.next() {
        assert!(!is_over, "an entry behind an error");
        let Ok((ticks, data)) = entry else {
            is_over = true;
            continue;
        };
        let range = data.as_ptr_range();
        assert!(data.is_empty() || (inside.start <= range.start && range.end <= inside.end));
        assert_eq!(ticks, sub_buffer.ticks());
        count += 1;
        assert!(count * 4 <= bytes.len(), "more entries than there is room for");
    }
}

/// The same where what is broken is taken as it claims to be.
fn force(bytes: &[u8], page: &HeaderPage, byte_order: ByteOrder) {
    let Ok(header) = SubBufferHeader::parse(bytes, page, byte_order) else { return };
    let encoding = Encoding::new(byte_order, page);
    let mut cursor = EntryCursor::new(header.start, header.end.min(bytes.len()), header.ticks);
    let mut count = 0;
    loop {
        let entry = match cursor.next(bytes, encoding) {
            Ok(None) => return,
            Ok(entry) => entry,
            Err(_) => cursor.force(header.end, bytes, encoding),
        };
        if let Some(entry) = entry {
            assert!(entry.data.end <= bytes.len(), "{:?} of {}", entry.data, bytes.len());
        }
        count += 1;
        assert!(count <= 2 * bytes.len(), "no end");
    }
}
