//! The trace clock: which there are, which one ticks, and in what unit.

use crate::error::Error;
use crate::instance::Instance;

/// The clocks of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceClocks {
    /// The one in use.
    pub current: String,
    /// All the kernel knows, in its order.
    pub available: Vec<String>,
}

impl TraceClocks {
    /// Reads the text of `trace_clock`: `[local] global counter …`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut current = None;
        let mut available = Vec::new();
        for word in text.split_whitespace() {
            match word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some(name) => {
                    current = Some(name.to_owned());
                    available.push(name.to_owned());
                }
                None => available.push(word.to_owned()),
            }
        }
        Some(Self { current: current?, available })
    }

    /// Whether the kernel knows a clock of exactly this name.
    pub fn has(&self, name: &str) -> bool {
        self.available.iter().any(|clock| clock == name)
    }
}

/// Whether the stamps of a clock are nanoseconds; of the others they are events or cycles.
pub fn is_nanoseconds(clock: &str) -> bool {
    !matches!(clock, "counter" | "x86-tsc" | "ppc-tb" | "s390-tod")
}

impl Instance {
    /// Reads which clocks there are and which is in use.
    ///
    /// # Errors
    /// What the kernel answers, or [`Error::Unexpected`].
    pub fn trace_clocks(&self) -> Result<TraceClocks, Error> {
        let file = self.file("trace_clock");
        let text = file.read_text()?;
        TraceClocks::parse(&text).ok_or_else(|| Error::Unexpected {
            path: file.path().to_owned(),
            text: text.chars().take(80).collect(),
            expected: "a list of clocks with one in brackets",
        })
    }

    /// Sets the clock. The kernel empties the ring buffers when it changes.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the clocks there are, or what the kernel answers.
    pub fn set_trace_clock(&self, name: &str) -> Result<(), Error> {
        let clocks = self.trace_clocks()?;
        if !clocks.has(name) {
            let kind = "trace clock";
            return Err(Error::UnknownName {
                kind,
                name: name.to_owned(),
                available: clocks.available,
            });
        }
        self.file("trace_clock").write(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_in_brackets_is_current() {
        let clocks = TraceClocks::parse("local [mono] mono_raw x86-tsc\n").unwrap();
        assert_eq!(clocks.current, "mono");
        assert_eq!(clocks.available, ["local", "mono", "mono_raw", "x86-tsc"]);
        assert!(clocks.has("mono_raw") && !clocks.has("mono_r") && !clocks.has("[mono]"));
        assert_eq!(TraceClocks::parse("local mono"), None);
        assert_eq!(TraceClocks::parse(""), None);
    }

    #[test]
    fn an_unknown_clock_is_answered_with_those_like_it_and_with_all() {
        let available = ["local", "mono", "mono_raw"].map(str::to_owned).to_vec();
        let error = Error::UnknownName { kind: "trace clock", name: "mnoo".to_owned(), available };
        let said = "no trace clock 'mnoo'; did you mean mono? available: local mono mono_raw";
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn counters_are_not_nanoseconds() {
        assert!(is_nanoseconds("mono_raw") && is_nanoseconds("local"));
        assert!(!is_nanoseconds("x86-tsc") && !is_nanoseconds("counter"));
    }
}
