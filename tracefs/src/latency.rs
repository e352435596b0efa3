//! Latencies: the largest one seen, and from which on they count.

use crate::error::Error;
use crate::instance::Instance;

impl Instance {
    /// The largest latency a latency tracer has seen, in microseconds.
    ///
    /// # Errors
    /// [`Error::NotSupported`] where the kernel has no latency tracer, or what else it answers.
    pub fn max_latency_us(&self) -> Result<u64, Error> {
        self.file("tracing_max_latency").read_number()
    }

    /// Sets what a latency must exceed to be recorded as the largest, in microseconds; 0 forgets
    /// what was seen.
    ///
    /// # Errors
    /// As [`max_latency_us`](Self::max_latency_us).
    pub fn set_max_latency_us(&self, microseconds: u64) -> Result<(), Error> {
        self.file("tracing_max_latency").write(&microseconds.to_string())
    }

    /// From how many microseconds on latencies and function times are recorded; 0 is any. One
    /// value for all instances.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn tracing_threshold_us(&self) -> Result<u64, Error> {
        self.tracing_dir().file("tracing_thresh").read_number()
    }

    /// Sets from how many microseconds on latencies and function times are recorded.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_tracing_threshold_us(&self, microseconds: u64) -> Result<(), Error> {
        self.tracing_dir().file("tracing_thresh").write(&microseconds.to_string())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, TracingDir};
    use tempfile::TempDir;

    #[test]
    fn latencies_are_microseconds() {
        let temp = TempDir::new().unwrap();
        let top = TracingDir::at(temp.path()).top();
        assert!(matches!(top.max_latency_us(), Err(Error::NotSupported { .. })));
        for name in ["tracing_max_latency", "tracing_thresh"] {
            std::fs::write(temp.path().join(name), "17\n").unwrap();
        }
        assert_eq!((top.max_latency_us().unwrap(), top.tracing_threshold_us().unwrap()), (17, 17));
        top.set_max_latency_us(0).unwrap();
        top.set_tracing_threshold_us(100).unwrap();
        assert_eq!((top.max_latency_us().unwrap(), top.tracing_threshold_us().unwrap()), (0, 100));
        std::fs::write(temp.path().join("tracing_thresh"), "soon").unwrap();
        assert!(matches!(top.tracing_threshold_us(), Err(Error::Unexpected { .. })));
    }
}
