//! (being written)
pub struct Metadata;
