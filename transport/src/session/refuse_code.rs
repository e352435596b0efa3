//! Why one side ends a session.

/// Why one side ends a session; the number in a REFUSE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefuseCode(pub u32);

impl RefuseCode {
    /// Too many clients.
    pub const BUSY: Self = Self(4);
    /// This client may not.
    pub const NOT_ALLOWED: Self = Self(5);
    /// What was asked for, or begun, cannot be done.
    pub const FAILED: Self = Self(6);
    /// Messages that make no sense.
    pub const PROTOCOL: Self = Self(8);
    /// A limit of the listener is reached.
    pub const LIMIT: Self = Self(64);
    /// The file cannot be written.
    pub const STORAGE: Self = Self(65);
    /// The key is missing or wrong.
    pub const KEY: Self = Self(66);
    /// It was told to stop.
    pub const STOPPED: Self = Self(67);
}
