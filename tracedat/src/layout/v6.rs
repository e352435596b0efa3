//! What only version 6 has: tags that say what follows the metadata.

/// Length of every tag.
pub const TAG_LEN: usize = 10;

/// A list of options follows.
pub const OPTIONS: &[u8; TAG_LEN] = b"options  \0";

/// The text of `trace` follows, up to the end of the file.
pub const LATENCY: &[u8; TAG_LEN] = b"latency  \0";

/// The table of CPUs and their data follow.
pub const FLYRECORD: &[u8; TAG_LEN] = b"flyrecord\0";
