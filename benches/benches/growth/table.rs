//! The table: a line as soon as its figures are known.

use trace_benches::measure::Usage;

use crate::TOLERANCE;
use crate::files::Shape;

/// What one command took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) shape: Shape,
    /// Whether figures are told per event.
    pub(crate) per_event: bool,
    pub(crate) usage: Usage,
    pub(crate) instructions: Option<u64>,
}

pub(crate) fn head(what: &str) {
    println!("growing {what}\n");
    println!(
        "| {:<22} | {:>9} | {:>5} | {:>5} | {:>12} | {:>8} | {:>13} | {:>8} | {:>9} |",
        "",
        "events",
        "CPUs",
        "files",
        "processor",
        "to first",
        "instructions",
        "to first",
        "memory"
    );
    println!(
        "| {:-<22} | {:->9} | {:->5} | {:->5} | {:->12} | {:->8} | {:->13} | {:->8} | {:->9} |",
        "", "", "", "", "", "", "", "", ""
    );
}

impl Row {
    /// Prints the figures and how they are to those of the first line of the same command.
    pub(crate) fn print(&self, name: &str, first: Self) {
        let Shape { events, cpus, files } = self.shape;
        let cpu = match self.per_event {
            true => format!("{:.0} ns", self.cpu()),
            false => format!("{:.1} ms", self.cpu() / 1e6),
        };
        let instructions = self.count().map_or("-".to_owned(), |count| match self.per_event {
            true => format!("{count:.0}"),
            false => format!("{:.1} M", count / 1e6),
        });
        let of_cpu = ratio(self.cpu(), first.cpu());
        let of_count = self.count().zip(first.count()).map(|(count, first)| ratio(count, first));
        let of_count = of_count.unwrap_or_else(|| "-".to_owned());
        let memory = format!("{:.1} MB", self.usage.memory as f64 / 1e6);
        println!(
            "| {name:<22} | {events:>9} | {cpus:>5} | {files:>5} | {cpu:>12} | {of_cpu:>8} | \
             {instructions:>13} | {of_count:>8} | {memory:>9} |"
        );
    }

    /// Nanoseconds, per event where the events are the work.
    fn cpu(&self) -> f64 {
        self.usage.cpu.as_nanos() as f64 / self.divisor()
    }

    fn count(&self) -> Option<f64> {
        Some(self.instructions? as f64 / self.divisor())
    }

    fn divisor(&self) -> f64 {
        if self.per_event { f64::from(self.shape.events) } else { 1.0 }
    }
}

/// How many times the first; marked when it is more than may be.
fn ratio(figure: f64, first: f64) -> String {
    let ratio = figure / first;
    let mark = if ratio > 1.0 + TOLERANCE { " !" } else { "" };
    format!("{ratio:.2}{mark}")
}
