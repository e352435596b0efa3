//! Instances whose ring buffer outlives a reboot: what the kernel says about the last boot.

use crate::error::Error;
use crate::instance::Instance;

/// What `last_boot_info` says: where the kernel's code stood when the ring buffer was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastBoot {
    /// The events are of this boot.
    Current,
    /// The events are of an earlier boot.
    Earlier {
        /// Address of the kernel's code then, where it is told.
        kernel: Option<u64>,
        /// Modules that were loaded, with the addresses of their code.
        modules: Vec<Module>,
    },
    /// How far addresses have moved, in bytes; the form of Linux 6.12 to 6.14.
    Moved(i64),
}

/// A module of an earlier boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Where its code stood.
    pub address: u64,
    /// Its name.
    pub name: String,
}

impl LastBoot {
    /// Reads the text of `last_boot_info`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
        let first = lines.peek()?;
        if first.starts_with("# Current") {
            return Some(Self::Current);
        }
        if let Some(offset) = first.strip_prefix("Offset:") {
            return Some(Self::Moved(signed_hex(offset.trim())?));
        }
        let (mut kernel, mut modules) = (None, Vec::new());
        for line in lines.filter(|line| !line.starts_with('#')) {
            let (address, name) = line.split_once([' ', '\t'])?;
            let address = u64::from_str_radix(address.trim_start_matches("0x"), 16).ok()?;
            match name.trim() {
                "[kernel]" => kernel = Some(address),
                name => modules.push(Module { address, name: name.to_owned() }),
            }
        }
        Some(Self::Earlier { kernel, modules })
    }
}

fn signed_hex(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1i64, digits),
        None => (1, text),
    };
    let value = u64::from_str_radix(digits.trim_start_matches("0x"), 16).ok()?;
    // A move downwards may be printed as what it is in two's complement.
    Some(value.cast_signed().wrapping_mul(sign))
}

impl Instance {
    /// The text of `last_boot_info`, which a trace carries along so that addresses of an earlier
    /// boot can be resolved.
    ///
    /// # Errors
    /// [`Error::NotSupported`] where the ring buffer does not outlive a reboot, or what else the
    /// kernel answers.
    ///
    /// # Kernel support
    /// Since Linux 6.12, for instances mapped to reserved memory on the kernel's command line.
    pub fn last_boot_text(&self) -> Result<Vec<u8>, Error> {
        self.file("last_boot_info").read()
    }

    /// What the kernel says about the boot that wrote the ring buffer.
    ///
    /// # Errors
    /// As [`last_boot_text`](Self::last_boot_text), or [`Error::Unexpected`].
    pub fn last_boot(&self) -> Result<LastBoot, Error> {
        let file = self.file("last_boot_info");
        let text = file.read_text()?;
        LastBoot::parse(&text).ok_or_else(|| file.unexpected(&text, "what the last boot was"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        assert_eq!(LastBoot::parse("# Current\n"), Some(LastBoot::Current));
        assert_eq!(LastBoot::parse("Offset: 1f00000\n"), Some(LastBoot::Moved(0x1f0_0000)));
        assert_eq!(LastBoot::parse("Offset: -10"), Some(LastBoot::Moved(-16)));
        assert_eq!(LastBoot::parse("Offset: fffffffffffffff0"), Some(LastBoot::Moved(-16)));
        let earlier = LastBoot::parse("ffffffff9b000000 [kernel]\nffffffffc0a00000 kvm\n");
        let module = Module { address: 0xffff_ffff_c0a0_0000, name: "kvm".to_owned() };
        let kernel = Some(0xffff_ffff_9b00_0000);
        assert_eq!(earlier, Some(LastBoot::Earlier { kernel, modules: vec![module] }));
    }

    #[test]
    fn other_text_is_refused() {
        for odd in ["", "\n\n", "kvm", "xyz kvm", "Offset: far", "12345678901234567890 kvm"] {
            assert_eq!(LastBoot::parse(odd), None, "{odd:?}");
        }
    }
}
