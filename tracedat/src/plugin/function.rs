//! `function`: the function's name, indented by a guess of the call depth, with the arguments that
//! were recorded.
//!
//! Options: `ftrace:parent` adds the caller, `ftrace:offset` the offset into the function,
//! `ftrace:indent` (on) the indentation.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

use super::arguments::Arguments;
use super::{Binding, HandledRecord, Handler, IntField, Observer, Order};
use crate::report::number;

/// Blanks for each level of calls.
const INDENT: usize = 3;

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(Function::bind(binding)?))
}

/// A call, as options have it.
pub(super) struct Function {
    ip: IntField,
    parent_ip: IntField,
    parent: bool,
    indent: bool,
    offset: bool,
    arguments: Option<Arguments>,
}

impl Function {
    pub(super) fn bind(binding: &Binding<'_>) -> Option<Self> {
        let on = |name, default| binding.options.switch("ftrace", name, default);
        Some(Self {
            ip: binding.int("ip")?,
            parent_ip: binding.int("parent_ip")?,
            parent: on("parent", false),
            indent: on("indent", true),
            offset: on("offset", false),
            arguments: Arguments::bind(binding),
        })
    }

    /// The function, and its caller where that is wanted.
    pub(super) fn print_call(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let ip = self.ip.get(record.data).unwrap_or(0);
        self.print_function(record, ip, out);
        if let Some(arguments) = self.arguments {
            arguments.print(record, ip, out);
        }
        if self.parent {
            out.extend_from_slice(b" <-- ");
            self.print_function(record, self.parent_ip.get(record.data).unwrap_or(0), out);
        }
    }

    fn print_function(&self, record: &HandledRecord<'_>, address: u64, out: &mut Vec<u8>) {
        if !record.symbol(address, self.offset, out) {
            out.extend_from_slice(b"0x");
            number::hex(out, address, 0);
        } else if self.offset {
            out.push(b' ');
        }
    }
}

impl Handler for Function {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        number::blanks(out, record.note as usize * INDENT);
        self.print_call(record, out);
    }

    fn observer(&self) -> Option<Box<dyn Observer>> {
        if !self.indent {
            return None;
        }
        Some(Box::new(CallDepth { ip: self.ip, parent_ip: self.parent_ip, stacks: Vec::new() }))
    }
}

/// Guesses how deep a call is: a function called by one that is on its CPU's stack is one deeper.
struct CallDepth {
    ip: IntField,
    parent_ip: IntField,
    /// Hashes of names, the outermost caller first.
    stacks: Vec<Vec<u64>>,
}

/// Levels kept for a CPU.
const MAX_DEPTH: usize = 1024;

impl Observer for CallDepth {
    fn observe(&mut self, record: &mut dyn Order) -> u32 {
        let cpu = record.cpu() as usize;
        let data = record.data();
        let (Some(ip), Some(parent)) = (self.ip.get(data), self.parent_ip.get(data)) else {
            return 0;
        };
        // Calls come from anywhere in the caller, and functions may have a name in common.
        let name = |address| record.function_name(address).map(|name| FxBuildHasher.hash_one(name));
        let (Some(function), Some(parent)) = (name(ip), name(parent)) else { return 0 };
        if self.stacks.len() <= cpu {
            self.stacks.resize_with(cpu + 1, Vec::new);
        }
        let Some(stack) = self.stacks.get_mut(cpu) else { return 0 };
        let depth = stack.iter().position(|&f| f == parent).map_or(0, |at| at + 1);
        // What is deeper stays: a call from there is taken for one that returned to it.
        match stack.get_mut(depth) {
            Some(level) => *level = function,
            None if depth < MAX_DEPTH => stack.push(function),
            None => {}
        }
        depth as u32
    }
}
