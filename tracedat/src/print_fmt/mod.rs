//! The print fmt of an event, compiled once to a flat program that appends text.
//!
//! ```text
//! text ─► lexer ─► parse (ast) ─► compile (with the conversions of the format string) ─► Program ─► run
//! ```
mod address;
mod ast;
mod binary;
mod compile;
mod context;
mod conversion;
mod functions;
mod lexer;
pub(crate) mod number;
mod parse;
mod program;
mod raw;
mod run;
mod value;

pub use binary::BinaryFormat;
pub use context::{Compat, Names, NoNames, PrintContext};
pub use program::Program;
pub(crate) use raw::{is_printable, is_text_field};

/// What a compilation may use.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CompileOptions {
    /// Functions that the reference's plugins register may be called.
    pub plugin_functions: bool,
}
