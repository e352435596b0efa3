//! What the kernel's control files say, and what people ask of them, as texts.

use tracefs::buffer_control::BufferSize;
use tracefs::error_log::Explanation;
use tracefs::event_pattern;
use tracefs::last_boot::LastBoot;
use tracefs::trigger;
use tracefs::{
    BufferStats, CpuMask, DynamicEvent, DynamicKind, EventName, FunctionPattern, Histogram,
    TraceClocks, select_from,
};

/// A byte that says which text it is, and the text.
///
/// # Panics
/// When what was read is written and read again as something else, or a place lies outside of the text.
pub fn run(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let text = &String::from_utf8_lossy(text);
    match kind % 11 {
        0 => buffer_stats(text),
        1 => cpus(text),
        2 => error_log(text),
        3 => histograms(text),
        4 => dynamic_events(text),
        5 => events(text),
        6 => functions(text),
        7 => clocks(text),
        8 => last_boot(text),
        9 => triggers(text),
        _ => {
            std::hint::black_box(BufferSize::parse(text));
        }
    }
}

fn buffer_stats(text: &str) {
    let stats = BufferStats::parse(text);
    std::hint::black_box((stats.lost_events(), stats.since(&stats)));
    assert_eq!(BufferStats::parse(&stats.worded_as(text)), stats);
}

fn cpus(text: &str) {
    for mask in [CpuMask::parse_mask(text), CpuMask::parse_list(text)].into_iter().flatten() {
        assert_eq!(mask.iter().count(), mask.len());
        assert!(mask.iter().all(|cpu| mask.contains(cpu)));
        assert_eq!(CpuMask::parse_mask(&mask.to_string()), Some(mask));
    }
}

fn error_log(text: &str) {
    let entries = Explanation::parse(text);
    for entry in &entries {
        std::hint::black_box((entry.token(), entry.pointed(), entry.to_string()));
        if let Some(found) = Explanation::find(text, &entry.command) {
            assert!(found.position <= found.command.len(), "{found:?}");
            std::hint::black_box((found.token(), found.pointed()));
        }
    }
    std::hint::black_box(Explanation::find(text, "hist:keys=pid"));
}

fn histograms(text: &str) {
    for histogram in Histogram::parse(text) {
        for entry in &histogram.entries {
            for value in &entry.values {
                // One that is no number is none.
                std::hint::black_box(entry.value(&value.name));
            }
            for key in &entry.keys {
                assert!(entry.key(&key.name).is_some(), "{key:?}");
            }
            std::hint::black_box(entry.hit_count());
        }
    }
}

fn dynamic_events(text: &str) {
    std::hint::black_box(text.parse::<DynamicKind>().ok());
    for line in text.lines() {
        let Some(event) = DynamicEvent::parse(line) else { continue };
        let written = event.to_string();
        assert_eq!(DynamicEvent::parse(&written).as_ref(), Some(&event), "{line:?}: {written:?}");
        std::hint::black_box((event.name(), event.kind(), event.removal()));
    }
}

fn events(text: &str) {
    let known = [("sched", "sched_switch"), ("sched", "sched_waking"), ("irq", "softirq_entry")];
    let known = known.map(|(system, event)| EventName::new(system, event));
    for pattern in text.lines() {
        match select_from(&known, pattern) {
            Ok(selection) => {
                assert!(!selection.is_empty(), "{pattern:?} is about nothing");
                assert!(selection.events().all(|event| known.contains(&event)));
                std::hint::black_box(selection.words());
            }
            Err(error) => {
                std::hint::black_box(error.to_string());
            }
        }
        assert!(event_pattern::matches("*", pattern));
        std::hint::black_box(event_pattern::matches(pattern, "sched_switch"));
        std::hint::black_box(event_pattern::nearest_names(
            ["sched_switch".to_owned(), pattern.to_owned()],
            pattern,
        ));
    }
}

fn functions(text: &str) {
    let (words, available) = text.split_once('\n').unwrap_or((text, "schedule\nvfs_read [ext4]"));
    for pattern in [FunctionPattern::parse(words), FunctionPattern::of_module(words, "ext4")] {
        let Ok(pattern) = pattern else { continue };
        for name in pattern.expand(available) {
            assert!(available.contains(&name), "{name:?}");
        }
        std::hint::black_box((pattern.glob(), pattern.to_string()));
    }
}

fn clocks(text: &str) {
    if let Some(clocks) = TraceClocks::parse(text) {
        assert!(clocks.has(&clocks.current), "{clocks:?}");
    }
}

fn last_boot(text: &str) {
    std::hint::black_box(LastBoot::parse(text));
}

fn triggers(text: &str) {
    for line in text.lines() {
        assert!(trigger::removal_of_shown(line).starts_with('!'));
    }
}
