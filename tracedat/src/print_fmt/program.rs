//! The compiled form of a print fmt.
use super::functions::Function;
use super::labelled::Labelled;
use super::number::{Base, Layout};
use super::value::{Op, Place, Value};
use super::{Compat, CompileOptions, Names};
use super::{c, compile, parse};
use crate::abi::Abi;
use crate::event_format::{EventFormat, Field};
use crate::text;

/// A range of the literal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A layout whose width or precision may be an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) layout: Layout,
    pub(super) width: Option<Value>,
    pub(super) precision: Option<Value>,
}

/// Index of a [`Form`], or that there is nothing to lay out.
pub(super) type FormIndex = Option<u16>;

/// A range of the table entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableRange {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// How `__print_hex_dump` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HexDumpStyle {
    /// Whether each row starts with its offset.
    pub(super) offsets: bool,
    /// Bytes in a row.
    pub(super) row: u8,
    /// Bytes in a number.
    pub(super) group: u8,
    pub(super) ascii: bool,
}

/// One step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Literal(Literal),
    /// A literal and the number of the next step, which is passed over.
    Labelled(Labelled),
    /// A number without width or precision.
    Number {
        value: Value,
        base: Base,
        bits: u8,
    },
    LaidOutNumber {
        value: Value,
        base: Base,
        bits: u8,
        form: u16,
    },
    LaidOutLiteral {
        text: Literal,
        form: u16,
    },
    /// Text in the record up to a NUL, at most so many bytes.
    FieldText {
        start: u32,
        len: u32,
        form: FormIndex,
    },
    /// Text up to a NUL at a place that a word tells.
    LocatedText {
        place: Place,
        form: FormIndex,
    },
    /// A `const char *`: the text known for that address, or the address.
    PointedText {
        value: Value,
    },
    Flags {
        value: Value,
        delimiter: Literal,
        table: TableRange,
        /// Whether nothing is printed once the value is used up.
        ends_early: bool,
        form: FormIndex,
    },
    Symbolic {
        value: Value,
        table: TableRange,
        form: FormIndex,
    },
    /// `%c`; a NUL prints nothing.
    Char {
        value: Value,
        form: FormIndex,
    },
    HexDump {
        place: Place,
        len: Value,
        prefix: Literal,
        style: HexDumpStyle,
    },
    Hex {
        place: Place,
        len: Value,
        blanks: bool,
    },
    Array {
        place: Place,
        count: Value,
        element_size: Value,
    },
    Bitmask {
        place: Place,
        form: FormIndex,
    },
    Cpumask {
        place: Place,
        form: FormIndex,
    },
    Pointer {
        value: Value,
    },
    Symbol {
        value: Value,
        offset: bool,
    },
    /// `%pB`, `%px`: the letter is printed by versions that do not know it.
    NewPointer {
        value: Value,
        letter: u8,
    },
    Bits {
        value: Value,
        place: Option<Place>,
        len: Value,
        list: bool,
    },
    Mac {
        place: Place,
        separator: Option<u8>,
        reversed: bool,
    },
    Ipv4 {
        place: Place,
        padded: bool,
        reversed: bool,
    },
    Ipv6 {
        place: Place,
        colons: bool,
        compressed: bool,
    },
    Socket {
        place: Place,
        plain: bool,
        port: bool,
        compressed: bool,
    },
    Uuid {
        place: Place,
        upper: bool,
        little: bool,
    },
    Bytes {
        place: Place,
        len: Value,
        separator: Option<u8>,
    },
    Call {
        function: Function,
        value: Value,
        place: Option<Place>,
    },
    JumpIfZero {
        value: Value,
        target: u32,
    },
    Jump {
        target: u32,
    },
}

/// The steps that print one field by itself, and whether the format has `0x` before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawForm {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) after_prefix: bool,
}

/// What a program prints beside its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The steps.
    Steps,
    /// `[FAILED TO PARSE]` and the fields.
    Failed,
    /// A binary `trace_printk` record, format and arguments.
    Binary,
}

/// A print fmt as a flat list of steps; running one allocates nothing but what the output needs.
#[derive(Debug)]
pub struct Program {
    pub(super) mode: Mode,
    /// Prints as the kernel does, not as the reference.
    pub(super) full: bool,
    pub(super) compat: Compat,
    pub(super) abi: Abi,
    pub(super) steps: Vec<Step>,
    pub(super) code: Vec<Op>,
    pub(super) forms: Vec<Form>,
    pub(super) literals: Vec<u8>,
    pub(super) table: Vec<(u64, Literal)>,
    pub(super) fields: Box<[Field]>,
    /// For each field, how the print fmt prints it.
    pub(super) raw_forms: Box<[Option<RawForm>]>,
}

/// Whether the older release knows what a field is: to it, brackets stand behind a type only as those of one
/// dynamic array. The fields after one that it does not know are not there.
fn is_read_by_older(field: &Field) -> bool {
    match field.type_name.split_once('[') {
        Some((_, rest)) => field.flags.dynamic && !rest.contains('['),
        None => true,
    }
}

impl Program {
    /// Compiles with default options.
    pub fn compile(format: &EventFormat, abi: Abi) -> Self {
        Self::compile_with(format, abi, CompileOptions::default())
    }

    /// Compiles. A print fmt that is not understood gives a program that prints
    /// `[FAILED TO PARSE]` and the fields.
    pub fn compile_with(format: &EventFormat, abi: Abi, options: CompileOptions) -> Self {
        Self::compile_for(format, abi, options, None)
    }

    /// The same, given the kernel's symbols: to 3.1.6, their names are their addresses.
    pub(crate) fn compile_for(
        format: &EventFormat,
        abi: Abi,
        options: CompileOptions,
        names: Option<&dyn Names>,
    ) -> Self {
        let mut program = Self::empty(Mode::Steps, abi, format.fields.clone().into());
        if format.system == "ftrace" && format.name == "bprint" {
            program.mode = Mode::Binary;
            return program;
        }
        program.full = options.full;
        program.compat = options.compat;
        if options.compat == Compat::V3_1_6
            && !options.full
            && let Some(end) = format.fields.iter().position(|field| !is_read_by_older(field))
        {
            return Self::empty(Mode::Failed, abi, format.fields[..end].into());
        }
        let parsed =
            if options.full { c::print_fmt(format) } else { parse::print_fmt(format, options) };
        let names = names.filter(|_| options.compat == Compat::V3_1_6 && !options.full);
        let compiled =
            parsed.and_then(|print_fmt| compile::compile(&mut program, format, &print_fmt, names));
        if compiled.is_err() {
            program = Self::empty(Mode::Failed, abi, program.fields);
        }
        program.join_labels();
        // So that the last literal is copied as fast as the others.
        program.literals.resize(program.literals.len() + text::CHUNK, 0);
        program
    }

    fn empty(mode: Mode, abi: Abi, fields: Box<[Field]>) -> Self {
        Self {
            mode,
            full: false,
            compat: Compat::default(),
            abi,
            steps: Vec::new(),
            code: Vec::new(),
            forms: Vec::new(),
            literals: Vec::new(),
            table: Vec::new(),
            raw_forms: vec![None; fields.len()].into(),
            fields,
        }
    }

    /// Joins literals with the numbers behind them. Those stay where they are: a jump may lead there.
    fn join_labels(&mut self) {
        for at in 1..self.steps.len() {
            let Step::Literal(literal) = self.steps[at - 1] else { continue };
            let is_apart = |form: &RawForm| form.end as usize == at;
            if self.raw_forms.iter().flatten().any(is_apart) {
                continue;
            }
            if let Some(labelled) = Labelled::new(self.literal(literal), self.steps[at]) {
                self.steps[at - 1] = Step::Labelled(labelled);
            }
        }
    }

    /// Whether the print fmt prints an integer field as an address or as what lies there.
    pub(crate) fn prints_address(&self, field: &Field) -> bool {
        self.steps.iter().any(|step| match *step {
            Step::Pointer { value }
            | Step::Symbol { value, .. }
            | Step::NewPointer { value, .. } => {
                matches!(value, Value::Load { offset, .. } if offset == field.offset)
            }
            _ => false,
        })
    }

    /// Whether the print fmt was not understood.
    pub fn has_failed(&self) -> bool {
        self.mode == Mode::Failed
    }

    #[inline]
    pub(super) fn literal(&self, literal: Literal) -> &[u8] {
        self.literals.get(literal.start as usize..literal.end as usize).unwrap_or_default()
    }

    /// Appends a literal.
    #[inline(always)]
    pub(super) fn append_literal(&self, literal: Literal, out: &mut Vec<u8>) {
        text::part(out, &self.literals, literal.start as usize, literal.end as usize);
    }
}
