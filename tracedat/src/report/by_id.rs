//! A table by event id whose entries are made on first use, on any thread.

use std::sync::OnceLock;

const PAGE: usize = 256;

/// Values by event id.
pub(crate) struct ById<T> {
    pages: Box<[OnceLock<Page<T>>]>,
}

type Page<T> = Box<[OnceLock<T>]>;

impl<T> ById<T> {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self { pages: (0..=usize::from(u16::MAX) / PAGE).map(|_| OnceLock::new()).collect() }
    }

    /// The value for an id, made by `make` when it is asked for first.
    #[inline]
    pub(crate) fn get_or_init(&self, id: u16, make: impl FnOnce() -> T) -> Option<&T> {
        let id = usize::from(id);
        let page = self.pages.get(id / PAGE)?;
        let page = page.get_or_init(|| (0..PAGE).map(|_| OnceLock::new()).collect());
        Some(page.get(id % PAGE)?.get_or_init(make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_made_once() {
        let table = ById::new();
        assert_eq!(table.get_or_init(u16::MAX, || 1), Some(&1));
        assert_eq!(table.get_or_init(u16::MAX, || 2), Some(&1));
        assert_eq!(table.get_or_init(0, || 3), Some(&3));
    }
}
