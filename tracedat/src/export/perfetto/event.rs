//! One event as a message: which fields of the record become which fields of `FtraceEvent`.

use super::interned::Functions;
use super::messages::{self, GENERIC, Message, PRINT, Type};
use super::wire;
use crate::abi::Abi;
use crate::event::Event;
use crate::event_format::Field;
use crate::export::text::{append_symbol, append_utf8};
use crate::metadata::Metadata;
use crate::print_fmt::PrintContext;
use crate::report::json::{FieldPlan, Kind};
use crate::report::number;

// Fields of `FtraceEvent`, `PrintFtraceEvent`, `GenericFtraceEvent` and its `Field`.
const TIMESTAMP: u32 = 1;
const PID: u32 = 2;
const PRINT_IP: u32 = 1;
const PRINT_BUF: u32 = 2;
const EVENT_NAME: u32 = 1;
const FIELD: u32 = 2;
const FIELD_NAME: u32 = 1;
const STR_VALUE: u32 = 3;
const INT_VALUE: u32 = 4;
const UINT_VALUE: u32 = 5;

/// How records of one event are written: settled once.
pub(super) struct EventPlan<'m> {
    event: &'m Event,
    pid: Option<Field>,
    body: Body,
}

enum Body {
    /// A message of its own, of which it has these fields.
    Typed { number: u32, fields: Vec<TypedField> },
    /// Text for the user.
    Print { ip: Option<Field> },
    /// Names and values.
    Generic { name: Vec<u8>, fields: Vec<GenericField> },
}

struct TypedField {
    number: u32,
    value: Type,
    plan: FieldPlan,
}

struct GenericField {
    plan: FieldPlan,
    /// `GenericFtraceEvent.Field.name`, encoded.
    name: Vec<u8>,
    /// The same for what is known at an address.
    symbol_name: Vec<u8>,
}

impl<'m> EventPlan<'m> {
    /// Settles how an event is written. Only of its main buffer does Perfetto draw more than marks, as it knows one
    /// buffer for a CPU; `instance` names another.
    pub(super) fn new(event: &'m Event, instance: Option<&str>) -> Self {
        let format = &event.format;
        let is_text = format.system == "ftrace"
            && matches!(format.name.as_str(), "print" | "bprint" | "bputs");
        let body = match (instance, messages::find(&format.system, &format.name)) {
            (None, Some(message)) => Body::typed(event, message),
            (None, None) if is_text => Body::Print { ip: format.event_field("ip").cloned() },
            (Some(instance), _) => Body::generic(event, &format!("{instance}/{}", format.name)),
            (None, None) => Body::generic(event, &format.name),
        };
        Self { event, pid: format.common_field("common_pid").cloned(), body }
    }

    /// Appends what an `FtraceEvent` has.
    pub(super) fn write(
        &self,
        metadata: &Metadata,
        (time, data): (u64, &[u8]),
        functions: &mut Functions,
        out: &mut Vec<u8>,
    ) {
        let abi = self.event.abi();
        wire::uint(out, TIMESTAMP, time);
        if let Some(pid) = self.pid.as_ref().and_then(|pid| pid.int(abi, data)) {
            wire::uint(out, PID, u64::from(pid as u32));
        }
        match &self.body {
            Body::Typed { number, fields } => wire::message(out, *number, |out| {
                for field in fields {
                    // What the record does not have is left out.
                    let _ = field.write(abi, metadata, data, functions, out);
                }
            }),
            Body::Print { ip } => wire::message(out, PRINT, |out| {
                if let Some(ip) = ip.as_ref().and_then(|ip| ip.uint(abi, data)) {
                    wire::uint(out, PRINT_IP, ip);
                }
                wire::message(out, PRINT_BUF, |out| self.print(metadata, data, out));
            }),
            Body::Generic { name, fields } => wire::message(out, GENERIC, |out| {
                out.extend_from_slice(name);
                for field in fields {
                    field.write(abi, metadata, data, out);
                }
            }),
        }
    }

    /// Appends the text that was written to the trace.
    fn print(&self, metadata: &Metadata, data: &[u8], out: &mut Vec<u8>) {
        let written = self.event.format.event_field("buf").filter(|_| self.is_plain());
        match written.and_then(|buf| data.get(buf.offset as usize..)) {
            Some(text) => {
                let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
                append_utf8(text.get(..end).unwrap_or_default(), out);
            }
            None => self.event.print(data, &PrintContext::new(metadata), out),
        }
    }

    fn is_plain(&self) -> bool {
        self.event.format.name == "print"
    }
}

impl Body {
    fn typed(event: &Event, message: &Message) -> Self {
        let field = |(number, &(name, value)): (u32, &(&str, Type))| {
            let field = event.format.event_field(name)?;
            Some(TypedField { number, value, plan: FieldPlan::new(event, field) })
        };
        let fields = (1..).zip(message.fields).filter_map(field).collect();
        Self::Typed { number: message.number, fields }
    }

    fn generic(event: &Event, name: &str) -> Self {
        let encoded = |field, text: &str| {
            let mut out = Vec::new();
            wire::bytes(&mut out, field, text.as_bytes());
            out
        };
        let fields = event.format.fields.iter().map(|field| GenericField {
            plan: FieldPlan::new(event, field),
            name: encoded(FIELD_NAME, &field.name),
            symbol_name: encoded(FIELD_NAME, &format!("{}_symbol", field.name)),
        });
        Self::Generic { name: encoded(EVENT_NAME, name), fields: fields.collect() }
    }
}

/// Appends a record without a format: its number and its bytes.
pub(super) fn write_unknown(id: Option<u16>, time: u64, data: &[u8], out: &mut Vec<u8>) {
    wire::uint(out, TIMESTAMP, time);
    wire::message(out, GENERIC, |out| {
        wire::bytes(out, EVENT_NAME, b"unknown");
        if let Some(id) = id {
            wire::message(out, FIELD, |out| {
                wire::bytes(out, FIELD_NAME, b"id");
                wire::uint(out, UINT_VALUE, u64::from(id));
            });
        }
        wire::message(out, FIELD, |out| {
            wire::bytes(out, FIELD_NAME, b"bytes");
            wire::message(out, STR_VALUE, |out| {
                for &byte in data {
                    number::hex(out, u64::from(byte), 2);
                }
            });
        });
    });
}

impl TypedField {
    fn write(
        &self,
        abi: Abi,
        metadata: &Metadata,
        data: &[u8],
        functions: &mut Functions,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let field = &self.plan.field;
        match (self.value, self.plan.kind) {
            (Type::Text, Kind::Text) => {
                let text = self.plan.text(abi, data)?;
                wire::message(out, self.number, |out| append_utf8(text, out));
            }
            (Type::Text, Kind::TextAddress) => {
                let text = metadata.printk_formats().text(field.uint(abi, data)?)?;
                wire::message(out, self.number, |out| append_utf8(text, out));
            }
            (Type::Text, _) => {}
            (Type::Numbers, _) => {
                for value in self.plan.elements(abi, data)? {
                    wire::uint(out, self.number, value);
                }
            }
            (Type::Function, _) => {
                let address = field.uint(abi, data)?;
                wire::uint(out, self.number, functions.number(metadata, address));
            }
            (Type::Number, _) if field.flags.signed => {
                wire::int(out, self.number, field.int(abi, data)?);
            }
            (Type::Number, _) => wire::uint(out, self.number, field.uint(abi, data)?),
        }
        Some(())
    }
}

impl GenericField {
    fn write(&self, abi: Abi, metadata: &Metadata, data: &[u8], out: &mut Vec<u8>) {
        let field = &self.plan.field;
        // What the record does not have is left out.
        let _ = wire::try_message(out, FIELD, |out| {
            out.extend_from_slice(&self.name);
            match self.plan.kind {
                Kind::Signed => wire::int(out, INT_VALUE, field.int(abi, data)?),
                Kind::Unsigned | Kind::Bool | Kind::Address | Kind::TextAddress => {
                    wire::uint(out, UINT_VALUE, field.uint(abi, data)?);
                }
                Kind::Text => {
                    let text = self.plan.text(abi, data)?;
                    wire::message(out, STR_VALUE, |out| append_utf8(text, out));
                }
                Kind::Addresses | Kind::Mask | Kind::Array | Kind::Bytes => {
                    wire::try_message(out, STR_VALUE, |out| self.plan.print(abi, data, out))?;
                }
            }
            Some(())
        });
        if self.plan.kind.has_symbol() {
            let _ = wire::try_message(out, FIELD, |out| {
                out.extend_from_slice(&self.symbol_name);
                wire::try_message(out, STR_VALUE, |out| {
                    append_symbol(&self.plan, abi, metadata, data, out)
                })
            });
        }
    }
}
