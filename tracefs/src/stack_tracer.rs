//! The stack tracer: the deepest kernel stack seen since it was started.

use std::path::PathBuf;

use crate::control_file::ControlFile;
use crate::error::Error;
use crate::tracing_dir::TracingDir;

/// The stack tracer of the kernel; there is one.
///
/// # Kernel support
/// Needs `CONFIG_STACK_TRACER`.
#[derive(Clone, Debug)]
pub struct StackTracer {
    dir: TracingDir,
    switch: ControlFile,
}

/// One function of the deepest stack, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFrame {
    /// Bytes of stack in use at this function.
    pub depth: u64,
    /// Bytes of stack this function uses itself.
    pub size: u64,
    /// The place: `update_sd_lb_stats+0xbc/0x4ac`.
    pub location: String,
}

impl StackTracer {
    /// The stack tracer of the running kernel.
    pub fn new(dir: &TracingDir) -> Self {
        Self::with_sysctl(dir, "/proc/sys/kernel")
    }

    /// The stack tracer whose switch, `stack_tracer_enabled`, stands in `sysctl`.
    pub fn with_sysctl(dir: &TracingDir, sysctl: impl Into<PathBuf>) -> Self {
        let switch = ControlFile::at(sysctl.into().join("stack_tracer_enabled"));
        Self { dir: dir.clone(), switch }
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// [`Error::NotSupported`], or what else the kernel answers.
    pub fn is_on(&self) -> Result<bool, Error> {
        Ok(self.switch.read_number()? != 0)
    }

    /// Starts or stops it.
    ///
    /// # Errors
    /// [`Error::NotSupported`], or what else the kernel answers.
    pub fn set_on(&self, on: bool) -> Result<(), Error> {
        self.switch.write(if on { "1" } else { "0" })
    }

    /// Bytes of the deepest stack seen.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn max_size(&self) -> Result<u64, Error> {
        self.dir.file("stack_max_size").read_number()
    }

    /// Forgets the deepest stack seen.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn reset(&self) -> Result<(), Error> {
        self.dir.file("stack_max_size").write("0")
    }

    /// The functions of the deepest stack, innermost first; none before one was seen.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn frames(&self) -> Result<Vec<StackFrame>, Error> {
        Ok(parse(&self.text()?))
    }

    /// The kernel's text about the deepest stack.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn text(&self) -> Result<String, Error> {
        self.dir.file("stack_trace").read_text()
    }
}

/// Reads `  0)     2928     224   update_sd_lb_stats+0xbc/0x4ac`; other lines are headings.
fn parse(text: &str) -> Vec<StackFrame> {
    let frame = |line: &str| {
        let mut words = line.split_whitespace();
        words.next()?.strip_suffix(')')?.parse::<u64>().ok()?;
        let (depth, size) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let location = words.collect::<Vec<_>>().join(" ");
        (!location.is_empty()).then_some(StackFrame { depth, size, location })
    };
    text.lines().filter_map(frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const TEXT: &str = "\
        Depth    Size   Location    (3 entries)
        -----    ----   --------
  0)     2928     224   update_sd_lb_stats+0xbc/0x4ac
  1)     2704     160   find_busiest_group+0x31/0x1f1
  2)     2544     256   kvm_x [kvm]
";

    #[test]
    fn frames_are_read_and_headings_are_not() {
        let frames = parse(TEXT);
        assert_eq!(frames.len(), 3);
        let first = StackFrame {
            depth: 2928,
            size: 224,
            location: "update_sd_lb_stats+0xbc/0x4ac".to_owned(),
        };
        assert_eq!(frames[0], first);
        assert_eq!(frames[2].location, "kvm_x [kvm]");
        assert!(parse("#  Stack tracer disabled\n#\n 1) 2\n x) 1 2 f\n").is_empty());
    }

    #[test]
    fn the_switch_stands_elsewhere() {
        let temp = TempDir::new().unwrap();
        let tracer = StackTracer::with_sysctl(&TracingDir::at(temp.path()), temp.path());
        assert!(matches!(tracer.set_on(true), Err(Error::NotSupported { .. })));
        std::fs::write(temp.path().join("stack_tracer_enabled"), "0\n").unwrap();
        std::fs::write(temp.path().join("stack_max_size"), "2928\n").unwrap();
        tracer.set_on(true).unwrap();
        assert!(tracer.is_on().unwrap());
        assert_eq!(tracer.max_size().unwrap(), 2928);
        tracer.reset().unwrap();
        assert_eq!(tracer.max_size().unwrap(), 0);
    }
}
