//! An event: its format and the program that prints it.
use std::sync::OnceLock;

use crate::abi::Abi;
use crate::error::FormatError;
use crate::event_format::EventFormat;
use crate::print_fmt::{CompileOptions, PrintContext, Program};

/// A record's meaning: the event's format and the programs compiled from its print fmt on first use.
#[derive(Debug)]
pub struct Event {
    /// The parsed `format` file.
    pub format: EventFormat,
    abi: Abi,
    plain: OnceLock<Program>,
    with_plugins: OnceLock<Program>,
}

impl Event {
    /// Parses the text of a `format` file; the print fmt is compiled when first needed.
    ///
    /// # Errors
    ///
    /// The text has no name, id or fields, or a field declaration is broken.
    pub fn new(system: &str, text: &[u8], abi: Abi) -> Result<Self, FormatError> {
        Ok(Self {
            format: EventFormat::parse(system, text, abi)?,
            abi,
            plain: OnceLock::new(),
            with_plugins: OnceLock::new(),
        })
    }

    /// Byte order and `long` size the event was recorded with.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// The compiled print fmt. `plugins` tells whether it may call the functions that plugins
    /// register; without them a print fmt that calls one counts as not understood.
    pub fn program(&self, plugins: bool) -> &Program {
        let cell = if plugins { &self.with_plugins } else { &self.plain };
        cell.get_or_init(|| {
            let options = CompileOptions { plugin_functions: plugins, ..CompileOptions::default() };
            Program::compile_with(&self.format, self.abi, options)
        })
    }

    /// Appends the text of one record as its print fmt has it, without the name of the event.
    pub fn print(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        self.program(cx.plugins).run(data, cx, out);
    }

    /// Appends ` field=value` for every field but the common ones (`report -R`).
    pub fn print_raw(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        self.program(cx.plugins).run_raw(data, cx, out);
    }
}
