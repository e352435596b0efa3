//! The `format` file of an event: names, fields and the print fmt's text.
mod field;
mod parse;

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
    /// Text after `print fmt:`, empty where there is none.
    pub print_fmt: Vec<u8>,
    /// Whether the list of fields is whole, rather than broken off at one that is damaged.
    pub fields_are_whole: bool,
    /// What is wrong after the last field: the event can be named and its fields up to there
    /// printed, but nothing more.
    pub broken: Option<FormatError>,
}

impl EventFormat {
    /// Parses the text of a `format` file. Damage after the id is kept in
    /// [`EventFormat::broken`], so that the event still has its name and the fields before it.
    ///
    /// # Errors
    ///
    /// The text has no name, or no id that fits an event.
    pub fn parse(system: &str, text: &[u8], abi: Abi) -> Result<Self, FormatError> {
        parse::event_format(system, text, abi)
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
