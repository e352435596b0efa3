//! The `format` file of an event: names, fields and the print fmt's text.
mod field;

pub use field::{Field, FieldFlags};

use crate::abi::Abi;
use crate::error::FormatError;

/// A parsed `format` file.
#[derive(Clone, Debug)]
pub struct EventFormat {
    /// System, `sched` in `sched:sched_switch`.
    pub system: String,
    /// Name of the event.
    pub name: String,
    /// Number that the event's records carry as `common_type`.
    pub id: u16,
    /// Byte order and `long` size the fields are read with.
    pub abi: Abi,
    /// The fields that all events share, in the order of the file.
    pub common_fields: Vec<Field>,
    /// The event's own fields, in the order of the file.
    pub fields: Vec<Field>,
    /// Text after `print fmt: `, empty where there is none.
    pub print_fmt: String,
}

impl EventFormat {
    /// Parses the text of a `format` file.
    ///
    /// # Errors
    ///
    /// The text has no name, id or fields, or a field declaration is broken.
    pub fn parse(system: &str, text: &[u8], abi: Abi) -> Result<Self, FormatError> {
        let _ = (system, text, abi);
        Err(FormatError { line: 0, cause: String::from("being written") })
    }

    /// The event's own field of that name.
    pub fn event_field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The common field of that name.
    pub fn common_field(&self, name: &str) -> Option<&Field> {
        self.common_fields.iter().find(|field| field.name == name)
    }

    /// The field of that name, common fields first.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.common_field(name).or_else(|| self.event_field(name))
    }
}
