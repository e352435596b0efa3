//! What printing needs beside the record: names of addresses, and which text is wanted.
use crate::btf::Btf;
use crate::printk_formats::PrintkFormats;
use crate::symbols::Symbols;

/// Where a program finds the names of addresses. Asked only when an event needs one, so an
/// implementation can build its tables on first use.
pub trait Names: Sync {
    /// The kernel's functions.
    fn symbols(&self) -> &Symbols;
    /// The format strings of `trace_printk`.
    fn printk_formats(&self) -> &PrintkFormats;
    /// The kernel's types, where they are known.
    fn btf(&self) -> Option<&Btf> {
        None
    }
}

/// Knows no name.
#[derive(Debug, Default)]
pub struct NoNames {
    symbols: Symbols,
    printk_formats: PrintkFormats,
}

impl Names for NoNames {
    fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    fn printk_formats(&self) -> &PrintkFormats {
        &self.printk_formats
    }
}

/// Whose text is printed where versions of trace-cmd differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compat {
    /// trace-cmd 3.1.6 with libtraceevent 1.7.1.
    V3_1_6,
    /// trace-cmd 3.4.
    #[default]
    V3_4,
}

/// What printing needs beside the record.
#[derive(Clone, Copy)]
pub struct PrintContext<'a> {
    /// Names of addresses.
    pub names: &'a dyn Names,
    /// Whether functions of plugins can be called by print fmts (not with `-N`).
    pub plugins: bool,
    /// Whose text is printed.
    pub compat: Compat,
    /// Whether print fmts are read as the C they are, and print what the kernel prints, also those
    /// that the reference does not understand.
    pub full: bool,
}

impl<'a> PrintContext<'a> {
    /// The default text, with plugins.
    pub fn new(names: &'a dyn Names) -> Self {
        Self { names, plugins: true, full: false, compat: Compat::default() }
    }
}
