//! One line on a terminal that tells how something gets on; nothing where nobody looks.

use std::io::{self, IsTerminal, Write};

/// Goes to the line's start and empties it.
const EMPTY: &str = "\r\x1b[K";

/// The line. Dropping it leaves an empty one for what is said next.
pub(crate) struct StatusLine {
    is_shown: bool,
}

impl StatusLine {
    /// A line on standard error, if that is a terminal.
    pub(crate) fn on_terminal() -> Option<Self> {
        io::stderr().is_terminal().then_some(Self { is_shown: false })
    }

    /// Writes `text` instead of what is there.
    pub(crate) fn show(&mut self, text: &str) {
        self.is_shown = true;
        write(&format!("{EMPTY}{text}"));
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        if self.is_shown {
            write(EMPTY);
        }
    }
}

fn write(text: &str) {
    let mut out = io::stderr();
    // A terminal that is gone is no reason to end what is done.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Bytes as people read them.
pub(crate) fn size(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{value:.0} {}", UNITS[unit]),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_that_suits_them() {
        assert_eq!(size(999.0), "999 B");
        assert_eq!(size(34_500_000.0), "34.5 MB");
        assert_eq!(size(2e15), "2000.0 TB");
    }
}
