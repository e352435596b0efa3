//! One line on a terminal that tells how a recording gets on; nothing where nobody looks.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often it is written anew.
const INTERVAL: Duration = Duration::from_secs(1);

/// Goes to the line's start and empties it.
const EMPTY: &str = "\r\x1b[K";

/// The line, while something is recorded.
pub(crate) struct Status {
    started: Instant,
    last: Instant,
    last_bytes: u64,
    is_shown: bool,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Bytes of sub-buffers so far.
    pub(crate) bytes: u64,
    /// Events lost so far.
    pub(crate) lost: u64,
    /// Guests that are recorded too.
    pub(crate) guests: usize,
}

impl Status {
    /// A line on standard error, if that is a terminal.
    pub(crate) fn on_terminal() -> Option<Self> {
        let now = Instant::now();
        let status = Self { started: now, last: now, last_bytes: 0, is_shown: false };
        io::stderr().is_terminal().then_some(status)
    }

    /// Writes the line anew when it is time to; `progress` is asked for then.
    pub(crate) fn update(&mut self, progress: impl FnOnce() -> Progress) {
        let elapsed = self.last.elapsed();
        if elapsed < INTERVAL {
            return;
        }
        let progress = progress();
        let text = line(self.started.elapsed(), elapsed, self.last_bytes, &progress);
        self.write(&format!("{EMPTY}{text}"));
        (self.last, self.last_bytes, self.is_shown) = (Instant::now(), progress.bytes, true);
    }

    fn write(&self, text: &str) {
        let mut out = io::stderr();
        // A terminal that is gone is no reason to end a recording.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// Leaves an empty line for what is said next.
impl Drop for Status {
    fn drop(&mut self) {
        if self.is_shown {
            self.write(EMPTY);
        }
    }
}

fn line(total: Duration, elapsed: Duration, before: u64, progress: &Progress) -> String {
    let rate = progress.bytes.saturating_sub(before) as f64 / elapsed.as_secs_f64().max(0.001);
    let mut line = format!(
        "{} s, {} recorded, {}/s, {} events lost",
        total.as_secs(),
        size(progress.bytes as f64),
        size(rate),
        progress.lost
    );
    match progress.guests {
        0 => {}
        1 => line.push_str(", 1 guest"),
        guests => line.push_str(&format!(", {guests} guests")),
    }
    line
}

fn size(bytes: f64) -> String {
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
    fn the_line_tells_size_rate_and_loss() {
        let (total, second) = (Duration::from_secs(12), Duration::from_secs(1));
        let progress = Progress { bytes: 34_500_000, lost: 7, guests: 0 };
        assert_eq!(
            line(total, second, 33_000_000, &progress),
            "12 s, 34.5 MB recorded, 1.5 MB/s, 7 events lost"
        );
        let progress = Progress { bytes: 999, lost: 0, guests: 2 };
        assert_eq!(
            line(total, second * 2, 0, &progress),
            "12 s, 999 B recorded, 500 B/s, 0 events lost, 2 guests"
        );
    }
}
