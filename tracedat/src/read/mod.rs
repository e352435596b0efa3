//! (being written)
pub struct Reader;
