//! The ring buffers of an instance: size, sub-buffer size, watermark, clear, on and off.

use std::io;

use crate::control_file::ControlFile;
use crate::error::{Action, Error};
use crate::instance::Instance;

/// What `buffer_size_kb` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BufferSize {
    /// Every CPU has a buffer of this many KiB.
    Same(u64),
    /// Not allocated yet: the first use expands it to this many KiB per CPU.
    NotExpanded(u64),
    /// CPUs differ; see [`Instance::cpu_buffer_size`].
    PerCpu,
}

impl BufferSize {
    /// Reads `1410`, `7 (expanded: 1408)` or `X`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "X" {
            return Some(Self::PerCpu);
        }
        match text.split_once(" (expanded: ") {
            Some((_, rest)) => Some(Self::NotExpanded(rest.strip_suffix(')')?.parse().ok()?)),
            None => Some(Self::Same(text.parse().ok()?)),
        }
    }
}

impl Instance {
    /// Whether the ring buffers take events.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn tracing_on(&self) -> Result<bool, Error> {
        Ok(self.file("tracing_on").read_number()? != 0)
    }

    /// Lets the ring buffers take events, or not.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_tracing_on(&self, on: bool) -> Result<(), Error> {
        self.file("tracing_on").write(if on { "1" } else { "0" })
    }

    /// The size of the ring buffers.
    ///
    /// # Errors
    /// What the kernel answers, or [`Error::Unexpected`].
    pub fn buffer_size(&self) -> Result<BufferSize, Error> {
        buffer_size(&self.file("buffer_size_kb"))
    }

    /// The size of one CPU's ring buffer.
    ///
    /// # Errors
    /// As [`buffer_size`](Self::buffer_size).
    pub fn cpu_buffer_size(&self, cpu: u32) -> Result<BufferSize, Error> {
        buffer_size(&self.cpu_file(cpu, "buffer_size_kb"))
    }

    /// Sets the size of each CPU's ring buffer in KiB; the kernel rounds up to whole sub-buffers.
    ///
    /// # Errors
    /// What the kernel answers; too much memory is `ENOMEM`.
    pub fn set_buffer_size_kb(&self, size_kb: u64) -> Result<(), Error> {
        set_buffer_size(&self.file("buffer_size_kb"), size_kb)
    }

    /// The size of a sub-buffer in bytes, its header included.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn sub_buffer_size(&self) -> Result<usize, Error> {
        match self.file("buffer_subbuf_size_kb").read_number() {
            Ok(size_kb) => Ok(usize::try_from(size_kb).unwrap_or(usize::MAX).saturating_mul(1024)),
            Err(Error::NotSupported { .. }) => Ok(crate::sys::page_size()),
            Err(error) => Err(error),
        }
    }

    /// Sets the size of a sub-buffer in KiB; the kernel rounds up to a power of two of pages.
    ///
    /// # Errors
    /// What the kernel answers.
    ///
    /// # Kernel support
    /// Since Linux 6.8.
    pub fn set_sub_buffer_size_kb(&self, size_kb: u64) -> Result<(), Error> {
        self.file("buffer_subbuf_size_kb").write(&size_kb.to_string())
    }

    /// How full, in percent, a ring buffer must be before a waiting reader is woken.
    ///
    /// # Errors
    /// What the kernel answers.
    ///
    /// # Kernel support
    /// Since Linux 5.0.
    pub fn buffer_percent(&self) -> Result<u64, Error> {
        self.file("buffer_percent").read_number()
    }

    /// Sets at how many percent a waiting reader is woken; 0 wakes it for every event.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_buffer_percent(&self, percent: u64) -> Result<(), Error> {
        self.file("buffer_percent").write(&percent.to_string())
    }

    /// Sets the size of one CPU's ring buffer in KiB.
    ///
    /// # Errors
    /// As [`set_buffer_size_kb`](Self::set_buffer_size_kb).
    pub fn set_cpu_buffer_size_kb(&self, cpu: u32, size_kb: u64) -> Result<(), Error> {
        set_buffer_size(&self.cpu_file(cpu, "buffer_size_kb"), size_kb)
    }

    /// Empties the ring buffers of all CPUs.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn clear(&self) -> Result<(), Error> {
        self.file("trace").clear()
    }
}

fn set_buffer_size(file: &ControlFile, size_kb: u64) -> Result<(), Error> {
    let value = size_kb.to_string();
    if size_kb.checked_mul(1024).is_none() {
        // The kernel would count the bytes modulo 2^64, and take the remainder.
        let too_large = io::Error::from_raw_os_error(libc::ENOMEM);
        return Err(file.error(Action::Write(value), too_large));
    }
    file.write(&value)
}

fn buffer_size(file: &ControlFile) -> Result<BufferSize, Error> {
    let text = file.read_text()?;
    BufferSize::parse(&text).ok_or_else(|| file.unexpected(&text, "a buffer size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_buffer_size_are_read() {
        assert_eq!(BufferSize::parse("1410"), Some(BufferSize::Same(1410)));
        assert_eq!(BufferSize::parse("7 (expanded: 1408)"), Some(BufferSize::NotExpanded(1408)));
        assert_eq!(BufferSize::parse("X"), Some(BufferSize::PerCpu));
        for odd in ["", "-1", "7 (expanded: )", "7 (expanded: 3"] {
            assert_eq!(BufferSize::parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn a_size_that_is_no_number_of_bytes_never_reaches_the_kernel() {
        let temp = tempfile::TempDir::new().unwrap();
        let file = temp.path().join("buffer_size_kb");
        std::fs::write(&file, "7").unwrap();
        let top = crate::TracingDir::at(temp.path()).top();
        let refused = top.set_buffer_size_kb(1 << 54).unwrap_err();
        assert!(refused.to_string().contains("18014398509481984"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "7");
        top.set_buffer_size_kb((1 << 54) - 1).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "18014398509481983");
    }
}
