//! The text of a `hist` file.

use super::keys::{key_names, split_keys};
use super::{Histogram, HistogramEntry, HistogramValue};

const INFO: &str = "# trigger info: ";

/// Where keys end and values begin.
const END_OF_KEYS: &str = "} ";

pub(super) fn histograms(text: &str) -> Vec<Histogram> {
    let mut found: Vec<Histogram> = Vec::new();
    let mut names = Vec::new();
    // The keys of an entry may go over many lines: a stack is one function a line.
    let mut keys: Option<String> = None;
    for line in text.lines() {
        if let Some(trigger) = line.strip_prefix(INFO) {
            names = key_names(trigger);
            keys = None;
            found.push(Histogram { trigger: trigger.trim().to_owned(), ..Histogram::default() });
            continue;
        }
        let Some(histogram) = found.last_mut() else { continue };
        if let Some(begun) = &mut keys {
            match line.strip_prefix(END_OF_KEYS) {
                Some(tail) => {
                    histogram.entries.push(entry(begun, tail, &names));
                    keys = None;
                }
                None => {
                    begun.push('\n');
                    begun.push_str(line);
                }
            }
        } else if let Some(rest) = line.strip_prefix("{ ") {
            // A task may be called anything, so the last bracket before the values counts.
            match rest.rsplit_once(END_OF_KEYS) {
                Some((head, tail)) => histogram.entries.push(entry(head, tail, &names)),
                None => keys = Some(rest.to_owned()),
            }
        } else if line.starts_with('\t') {
            // What a handler saved stands below its entry.
            if let Some(entry) = histogram.entries.last_mut() {
                entry.values.extend(values(line));
            }
        } else if let Some((name, number)) = line.trim().split_once(':') {
            let Ok(number) = number.trim().parse() else { continue };
            match name {
                "Hits" => histogram.totals.hits = number,
                "Entries" => histogram.totals.entries = number,
                "Dropped" => histogram.totals.dropped = number,
                _ => {}
            }
        }
    }
    found
}

fn entry(keys: &str, rest: &str, names: &[String]) -> HistogramEntry {
    HistogramEntry { keys: split_keys(keys, names), values: values(rest) }
}

/// Reads `hitcount:          3  bytes_req:        123`. Columns are two spaces or a tab apart,
/// and a value is padded on its left.
fn values(text: &str) -> Vec<HistogramValue> {
    let mut values: Vec<HistogramValue> = Vec::new();
    let columns = text.split('\t').flat_map(|part| part.split("  "));
    for column in columns.map(str::trim).filter(|column| !column.is_empty()) {
        let (name, value) = match column.split_once(':') {
            Some((name, value)) if is_name(name) => (name, value.trim()),
            _ => {
                // The value of the name before, behind its padding.
                if let Some(last) = values.last_mut() {
                    if !last.text.is_empty() {
                        last.text.push(' ');
                    }
                    last.text.push_str(column);
                }
                continue;
            }
        };
        values.push(HistogramValue { name: name.trim().to_owned(), text: value.to_owned() });
    }
    values
}

/// A field, or one with a unit: `hitcount (%)`.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix(" (%)").unwrap_or(name);
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$' | b'-');
    !name.is_empty() && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::super::{HistogramTotals, KeyValue};
    use super::*;
    use proptest::prelude::*;

    const TWO: &str = "\
# event histogram
#
# trigger info: hist:keys=call_site.sym,common_pid.execname:vals=hitcount,bytes_req:sort=bytes_req.descending:size=2048 [active]
#

{ call_site: [ffffffff8136b3d6] kmem_alloc, common_pid: a, b } c: d    [         42] } hitcount:          3  bytes_req:        123
{ call_site: [ffffffff8136b3d7] x         , common_pid: bash            [      4242] } hitcount:         14  bytes_req:         17

Totals:
    Hits: 17
    Entries: 2
    Dropped: 5
# event histogram
#
# trigger info: hist:keys=stacktrace:vals=hitcount:sort=hitcount:size=2048 [paused]
#

{ stacktrace:
         __kmalloc+0x11b/0x1b0
         do_syscall_64+0x12/0x40
} hitcount:          1

Totals:
    Hits: 1
    Entries: 1
    Dropped: 0
";

    #[test]
    fn several_histograms_are_read_with_their_totals() {
        let both = histograms(TWO);
        assert_eq!(both.len(), 2);
        assert_eq!(both[0].totals, HistogramTotals { hits: 17, entries: 2, dropped: 5 });
        let second = &both[0].entries[1];
        let site = KeyValue::Text("[ffffffff8136b3d7] x".to_owned());
        assert_eq!(second.key("call_site"), Some(&site));
        assert_eq!((second.hit_count(), second.value("bytes_req")), (Some(14), Some(17)));
        assert!(both[1].trigger.ends_with("[paused]"));
    }

    #[test]
    fn tasks_called_like_the_signs_between_values_do_not_confuse() {
        let first = &histograms(TWO)[0].entries[0];
        let task = KeyValue::Text("a, b } c: d    [         42]".to_owned());
        assert_eq!(first.key("common_pid"), Some(&task));
        assert_eq!(first.hit_count(), Some(3));
    }

    #[test]
    fn stacks_are_keys() {
        let entry = &histograms(TWO)[1].entries[0];
        let stack = ["__kmalloc+0x11b/0x1b0", "do_syscall_64+0x12/0x40"].map(str::to_owned);
        assert_eq!(entry.key("stacktrace"), Some(&KeyValue::Stack(stack.to_vec())));
        assert_eq!(entry.hit_count(), Some(1));
    }

    #[test]
    fn saved_values_belong_to_the_entry_above() {
        let text = "# trigger info: hist:keys=next_pid:vals=hitcount\n\
                    { next_pid:       2255 } hitcount:        239\n\
                    \tmax:         27\tnext_comm: cyclictest\n\
                    \tonmax: x\n";
        let entry = &histograms(text)[0].entries[0];
        assert_eq!(entry.value("max"), Some(27));
        let comm = entry.values.iter().find(|value| value.name == "next_comm").unwrap();
        assert_eq!(comm.text, "cyclictest");
    }

    #[test]
    fn percentages_and_bars_are_text() {
        let text = "# trigger info: hist:keys=pid:vals=hitcount.percent,hitcount.graph\n\
                    { pid:          1 } hitcount (%):  25.50  hitcount: ########            \n";
        let values = &histograms(text)[0].entries[0].values;
        assert_eq!((values[0].name.as_str(), values[0].text.as_str()), ("hitcount (%)", "25.50"));
        assert_eq!(values[1].text, "########");
    }

    #[test]
    fn anything_else_is_passed_over() {
        for odd in ["", "{ pid: 1 } hitcount: 1", "Hits: 1", "\tmax: 1", "}", "# trigger info: "] {
            let found = histograms(odd);
            assert!(found.iter().all(|histogram| histogram.entries.is_empty()), "{odd:?}");
        }
        let open = "# trigger info: hist:keys=a\n{ a:\n x\n# trigger info: hist:keys=b\n{ } \n{\n";
        assert_eq!(histograms(open).len(), 2);
        let huge = "# trigger info: hist:keys=a\n{ a: 1 } hitcount: 99999999999999999999\n";
        assert_eq!(histograms(huge)[0].entries[0].hit_count(), None);
    }

    proptest! {
        #[test]
        fn any_lines_are_read_or_passed_over(
            lines in prop::collection::vec(prop_oneof![
                Just("# trigger info: hist:keys=a,b.hex:vals=hitcount".to_owned()),
                Just("{ a: 1, b: 2 } hitcount: 3".to_owned()),
                Just("{ a:".to_owned()),
                "[{} a-z:,\\t0-9]{0,30}",
                any::<String>(),
            ], 0..12),
        ) {
            let found = histograms(&lines.join("\n"));
            prop_assert!(found.iter().map(|one| one.entries.len()).sum::<usize>() <= lines.len());
        }
    }
}
