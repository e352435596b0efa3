//! How a recording gets on, in a line on a terminal.

use std::time::{Duration, Instant};

use crate::status_line::{StatusLine, size};

/// How often it is written anew.
const INTERVAL: Duration = Duration::from_secs(1);

/// The line, while something is recorded.
pub(crate) struct Status {
    line: StatusLine,
    started: Instant,
    last: Instant,
    last_bytes: u64,
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
        let line = StatusLine::on_terminal()?;
        Some(Self { line, started: now, last: now, last_bytes: 0 })
    }

    /// Writes the line anew when it is time to; `progress` is asked for then.
    pub(crate) fn update(&mut self, progress: impl FnOnce() -> Progress) {
        let elapsed = self.last.elapsed();
        if elapsed < INTERVAL {
            return;
        }
        let progress = progress();
        let text = line(self.started.elapsed(), elapsed, self.last_bytes, &progress);
        self.line.show(&text);
        (self.last, self.last_bytes) = (Instant::now(), progress.bytes);
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
