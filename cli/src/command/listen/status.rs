//! How a listener gets on, in a line on a terminal.

use std::time::{Duration, Instant};

use crate::status_line::{StatusLine, size};

/// How often it is written anew.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The line, while recorders are served.
pub(super) struct Status {
    line: StatusLine,
    last: Instant,
    bytes: u64,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    /// Recorders at this moment.
    pub(super) clients: usize,
    /// Bytes of sub-buffers of all that were and are.
    pub(super) bytes: u64,
    /// Bytes lost on the way, of those that have ended.
    pub(super) lost: u64,
}

impl Status {
    /// A line on standard error, if that is a terminal.
    pub(super) fn on_terminal() -> Option<Self> {
        let line = StatusLine::on_terminal()?;
        Some(Self { line, last: Instant::now(), bytes: 0 })
    }

    /// Writes the line anew when it is time to.
    pub(super) fn update(&mut self, served: Served) {
        let elapsed = self.last.elapsed();
        if elapsed >= INTERVAL {
            self.line.show(&text(elapsed, self.bytes, served));
            (self.last, self.bytes) = (Instant::now(), served.bytes);
        }
    }
}

fn text(elapsed: Duration, before: u64, served: Served) -> String {
    let Served { clients, bytes, lost } = served;
    let rate = bytes.saturating_sub(before) as f64 / elapsed.as_secs_f64().max(0.001);
    let (bytes, rate, lost) = (size(bytes as f64), size(rate), size(lost as f64));
    let who = if clients == 1 { "recorder" } else { "recorders" };
    format!("{clients} {who}, {bytes} received, {rate}/s, {lost} lost on the way")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_clients_size_rate_and_loss() {
        let served = Served { clients: 2, bytes: 34_500_000, lost: 4096 };
        assert_eq!(
            text(Duration::from_secs(1), 33_000_000, served),
            "2 recorders, 34.5 MB received, 1.5 MB/s, 4.1 kB lost on the way"
        );
        let served = Served { clients: 1, ..Served::default() };
        assert_eq!(
            text(Duration::from_secs(1), 0, served),
            "1 recorder, 0 B received, 0 B/s, 0 B lost on the way"
        );
    }
}
