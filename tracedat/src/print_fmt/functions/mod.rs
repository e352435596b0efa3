//! Functions in print fmts that the reference's plugins register.
mod scsi;
mod xen;

pub(super) use scsi::parse_cdb;
pub(super) use xen::hypercall_name;

/// A function that a plugin registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// `jbd2_dev_to_name(dev)`: major and minor number.
    Jbd2DevToName,
    /// `jiffies_to_msecs(jiffies)`: the number as it is, `HZ` being unknown.
    JiffiesToMsecs,
    /// `scsi_trace_parse_cdb(p, cdb, length)`: what a SCSI command does.
    ScsiTraceParseCdb,
    /// `xen_hypercall_name(number)`.
    XenHypercallName,
    /// `__le16_to_cpup(pointer)`.
    Le16ToCpup,
}

impl Function {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "jbd2_dev_to_name" => Self::Jbd2DevToName,
            "jiffies_to_msecs" => Self::JiffiesToMsecs,
            "scsi_trace_parse_cdb" => Self::ScsiTraceParseCdb,
            "xen_hypercall_name" => Self::XenHypercallName,
            "__le16_to_cpup" => Self::Le16ToCpup,
            _ => return None,
        })
    }

    /// Number of arguments.
    pub(super) fn arity(self) -> usize {
        if self == Self::ScsiTraceParseCdb { 3 } else { 1 }
    }
}
