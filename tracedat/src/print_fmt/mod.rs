//! The print fmt of an event, compiled once to a flat program that appends text.
mod context;

pub use context::{Compat, Names, NoNames, PrintContext};

use crate::abi::Abi;
use crate::event_format::EventFormat;

/// What a compilation may use.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CompileOptions {
    /// Functions that the reference's plugins register may be called.
    pub plugin_functions: bool,
    /// Accept what the reference gives up on.
    pub lenient: bool,
}

/// A print fmt as a flat list of steps; running one allocates nothing but what the output needs.
#[derive(Debug)]
pub struct Program {}

impl Program {
    /// Compiles with default options.
    pub fn compile(format: &EventFormat, abi: Abi) -> Self {
        Self::compile_with(format, abi, CompileOptions::default())
    }

    /// Compiles. A print fmt that is not understood gives a program that prints
    /// `[FAILED TO PARSE]` and the fields.
    pub fn compile_with(format: &EventFormat, abi: Abi, options: CompileOptions) -> Self {
        let _ = (format, abi, options);
        Self {}
    }

    /// Whether the print fmt was not understood.
    pub fn has_failed(&self) -> bool {
        false
    }

    /// Appends the text of one record.
    pub fn run(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        let _ = (data, cx, out);
    }

    /// Appends ` field=value` for every field.
    pub fn run_raw(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        let _ = (data, cx, out);
    }
}
