//! `drv_bss_info_changed`: what a wireless network's base station is set to, as several lines.

use super::{Binding, HandledRecord, Handler, IntField, TextField};
use crate::report::number;

/// Columns before the second and later lines.
const INDENT: usize = 65;

/// The fields of each line after the first: name, and whether in hexadecimal.
const LINES: [&[(&str, bool)]; 3] = [
    &[
        ("assoc", false),
        ("aid", false),
        ("cts", false),
        ("shortpre", false),
        ("shortslot", false),
        ("dtimper", false),
    ],
    &[("bcnint", false), ("assoc_cap", true), ("basic_rates", true), ("enable_beacon", false)],
    &[("ht_operation_mode", false)],
];

pub(super) fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
    let value =
        |&(name, hexadecimal): &(&'static str, bool)| (name, hexadecimal, binding.int(name));
    Some(Box::new(BssInfoChanged {
        wiphy_name: binding.text("wiphy_name"),
        vif_name: binding.text("vif_name"),
        vif_type: binding.int("vif_type"),
        lines: LINES.map(|line| line.iter().map(value).collect()),
    }))
}

/// Every kernel has only some of the fields; what the reference prints for one that is missing
/// depends on the field.
struct BssInfoChanged {
    wiphy_name: Option<TextField>,
    vif_name: Option<TextField>,
    vif_type: Option<IntField>,
    lines: [Vec<(&'static str, bool, Option<IntField>)>; 3],
}

impl Handler for BssInfoChanged {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        let data = record.data;
        let text = |field: &Option<TextField>, name: &str, out: &mut Vec<u8>| match field {
            Some(field) => out.extend_from_slice(field.get(data).unwrap_or_default()),
            None => {
                out.extend_from_slice(b"NOTFOUND:");
                out.extend_from_slice(name.as_bytes());
            }
        };
        text(&self.wiphy_name, "wiphy_name", out);
        out.extend_from_slice(b" vif:");
        text(&self.vif_name, "vif_name", out);
        match self.vif_type {
            Some(field) => {
                out.push(b'(');
                number::signed(out, int(field, data));
                out.push(b')');
            }
            None => out.extend_from_slice(b"CAN'T FIND FIELD \"vif_type\""),
        }
        for (line, values) in self.lines.iter().enumerate() {
            out.push(b'\n');
            number::blanks(out, INDENT);
            for (place, (name, hexadecimal, field)) in values.iter().enumerate() {
                if place > 0 {
                    out.push(b' ');
                }
                if let Some(field) = *field {
                    out.extend_from_slice(name.as_bytes());
                    out.push(b':');
                    print_value(int(field, data), *hexadecimal, out);
                }
            }
            if line == 0 {
                out.push(b' ');
            }
        }
    }
}

/// A field as a C `int`.
fn int(field: IntField, data: &[u8]) -> i64 {
    i64::from(field.get(data).unwrap_or(0) as i32)
}

fn print_value(value: i64, hexadecimal: bool, out: &mut Vec<u8>) {
    if hexadecimal && value != 0 {
        out.extend_from_slice(b"0x");
        number::hex(out, u64::from(value as u32), 0);
    } else {
        number::signed(out, value);
    }
}
