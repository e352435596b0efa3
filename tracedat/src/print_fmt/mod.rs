//! The print fmt of an event, compiled once to a flat program that appends text.
//!
//! ```text
//! text ─► lexer ─► parse, c (ast) ─► compile (with the conversions of the format string) ─► Program ─► run
//! ```
mod address;
mod ast;
mod binary;
mod c;
mod compile;
mod context;
mod conversion;
mod functions;
mod hex_dump;
mod labelled;
mod lexer;
pub(crate) mod limit;
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
    /// Reads the print fmt as C, and prints what the kernel prints, where the reference has habits
    /// of its own or gives up.
    pub full: bool,
    /// Whose text is printed.
    pub compat: Compat,
}
