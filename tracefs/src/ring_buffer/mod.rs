//! Three ways to take sub-buffers from one CPU.

/// How sub-buffers leave the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// The best the kernel and the sink can do, falling back where one refuses.
    #[default]
    Auto,
    /// Moved inside the kernel, without a copy to this process.
    Splice,
    /// Copied through memory.
    Read,
}
