//! `--proto`: functions as C declares them.

use std::borrow::Cow;
use std::fs;

use tracedat::btf::Btf;

use super::List;
use crate::error::Error;

/// The types of the running kernel.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// What is known of functions, if it was asked for.
pub(super) struct Prototypes(Option<Btf>);

impl Prototypes {
    /// Reads the kernel's types, if they are needed.
    ///
    /// # Errors
    /// They were asked for, and the kernel has none that can be read.
    pub(super) fn asked(list: &List<'_>) -> Result<Self, Error> {
        if !list.asked("proto") {
            return Ok(Self(None));
        }
        let bytes = fs::read(BTF).map_err(|error| {
            Error::failure(format!("cannot read {BTF}"))
                .because(error)
                .hint("the kernel has to be built with CONFIG_DEBUG_INFO_BTF")
        })?;
        let btf = Btf::parse(bytes)
            .map_err(|error| Error::failure(format!("cannot read {BTF}")).because(error))?;
        Ok(Self(Some(btf)))
    }

    /// A line of `available_filter_functions`, as a declaration where one is known. The module stays behind it.
    pub(super) fn of<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let Some(btf) = &self.0 else { return line.into() };
        let (name, module) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        match (btf.prototype(name), module.trim()) {
            (None, _) => line.into(),
            (Some(prototype), "") => prototype.into(),
            (Some(prototype), module) => format!("{prototype} {module}").into(),
        }
    }
}
