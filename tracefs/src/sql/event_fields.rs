//! What must be known of events: where they are, and the types of their fields.

use crate::dynamic_event::SyntheticField;
use crate::event::EventName;
use crate::instance::Instance;

/// Tells which events there are and what fields they have.
pub trait EventFields {
    /// Finds an event, of any system if none is given.
    fn find_event(&self, system: Option<&str>, event: &str) -> Option<EventName>;

    /// The declaration of a field, as a field of a synthetic event.
    fn field(&self, event: &EventName, name: &str) -> Option<SyntheticField>;
}

/// Asks the kernel; what cannot be read is not there.
impl EventFields for Instance {
    fn find_event(&self, system: Option<&str>, event: &str) -> Option<EventName> {
        let is_wanted = |name: &EventName| {
            name.event == event && system.is_none_or(|system| name.system == system)
        };
        self.events().ok()?.into_iter().find(is_wanted)
    }

    fn field(&self, event: &EventName, name: &str) -> Option<SyntheticField> {
        let format = self.event_format(event).ok()?;
        field_of_format(&String::from_utf8_lossy(&format), name)
    }
}

/// Finds `field:char comm[16];` in the text of a `format` file.
fn field_of_format(format: &str, name: &str) -> Option<SyntheticField> {
    let declarations =
        format.lines().filter_map(|line| line.trim().strip_prefix("field:")?.split(';').next());
    let field = declarations.filter_map(SyntheticField::parse).find(|field| field.name == name)?;
    if field.kind.starts_with("__data_loc") || field.kind.starts_with("__rel_loc") {
        return Some(SyntheticField {
            kind: "char".to_owned(),
            array: Some(String::new()),
            ..field
        });
    }
    // Synthetic events have no pointers; the address is a number.
    if field.kind.contains('*') {
        return Some(SyntheticField { kind: "unsigned long".to_owned(), ..field });
    }
    let kind = field.kind.trim_start_matches("const ").to_owned();
    Some(SyntheticField { kind, ..field })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "\
name: sched_waking
ID: 300
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:const void * ptr;\toffset:32;\tsize:8;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:40;\tsize:4;\tsigned:0;

print fmt: \"comm=%s\", REC->comm
";

    #[test]
    fn declarations_become_those_of_synthetic_events() {
        for (name, declared) in [
            ("common_type", "unsigned short common_type"),
            ("comm", "char comm[16]"),
            ("pid", "pid_t pid"),
            ("ptr", "unsigned long ptr"),
            ("name", "char name[]"),
        ] {
            assert_eq!(field_of_format(FORMAT, name).unwrap().to_string(), declared);
        }
        assert_eq!(field_of_format(FORMAT, "prio"), None);
    }
}
