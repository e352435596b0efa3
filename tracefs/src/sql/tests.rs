//! Queries, and what they are made into.

use super::{EventFields, SqlPlan, SqlQuery};
use crate::dynamic_event::SyntheticField;
use crate::error::Error;
use crate::event::EventName;
use crate::tracing_dir::TracingDir;
use crate::trigger::HistAction;

/// Some events of the scheduler and the allocator.
struct Known;

impl EventFields for Known {
    fn find_event(&self, system: Option<&str>, event: &str) -> Option<EventName> {
        let of = match event {
            "sched_waking" | "sched_switch" => "sched",
            "kmalloc" => "kmem",
            _ => return None,
        };
        system.is_none_or(|system| system == of).then(|| EventName::new(of, event))
    }

    fn field(&self, event: &EventName, name: &str) -> Option<SyntheticField> {
        let fields: &[&str] = match event.event.as_str() {
            "sched_waking" => &["char comm[16]", "pid_t pid", "int prio", "u32 masks[4]"],
            "sched_switch" => {
                &["char next_comm[16]", "pid_t next_pid", "int next_prio", "long from"]
            }
            _ => &["unsigned long call_site", "size_t bytes_req", "int common_pid", "char name[]"],
        };
        fields
            .iter()
            .filter_map(|text| SyntheticField::parse(text))
            .find(|field| field.name == name)
    }
}

fn commands(query: &str) -> Vec<String> {
    let plan = SqlQuery::parse(query).unwrap().plan("lat", &Known).unwrap();
    let commands = plan.commands(&TracingDir::at("/t").top());
    commands.into_iter().map(|line| line.replace("/t/events/", "")).collect()
}

fn error(query: &str) -> String {
    let error = SqlQuery::parse(query).unwrap().plan("lat", &Known).unwrap_err();
    let place = error.query.get(error.position..).unwrap_or_default();
    format!("{} @ {}", error.message, place.split(' ').next().unwrap_or_default())
}

#[test]
fn one_event_becomes_a_histogram() {
    for (query, command) in [
        (
            "SELECT common_pid, CAST(bytes_req AS _COUNTER_) FROM kmalloc",
            "echo 'hist:keys=common_pid:vals=bytes_req' >> kmem/kmalloc/trigger",
        ),
        (
            "select CAST(call_site as sym-offset), CAST(common_pid AS EXECNAME), COUNT(*) \
             from kmem.kmalloc k where k.bytes_req >= 0x100 and (name ~ '*x*' or common_pid = 1)",
            "echo 'hist:keys=call_site.sym-offset,common_pid.execname:vals=hitcount if \
             bytes_req >= 0x100 && (name ~ \"*x*\" || common_pid == 1)' >> kmem/kmalloc/trigger",
        ),
        (
            "SELECT TIMESTAMP_USECS, CAST(bytes_req AS BUCKETS=100) FROM kmalloc",
            "echo 'hist:keys=common_timestamp.usecs,bytes_req.buckets=100' >> kmem/kmalloc/trigger",
        ),
    ] {
        assert_eq!(commands(query), [command]);
    }
}

#[test]
fn two_events_become_a_synthetic_event() {
    let query = "SELECT start.prio, end.next_comm AS comm, \
                 (end.TIMESTAMP_USECS - start.TIMESTAMP_USECS) AS lat \
                 FROM sched_waking AS start JOIN sched_switch AS end ON start.pid = end.next_pid \
                 WHERE end.next_prio < 100 AND start.comm != 'a\"b' AND \
                 (end.next_comm = \"x'y\" OR end.next_pid > 5)";
    assert_eq!(
        commands(query),
        [
            "echo 's:lat int prio; char comm[16]; u64 lat' >> /t/dynamic_events",
            r#"echo 'hist:keys=pid:lat_1=prio:lat_2=common_timestamp.usecs if comm != '\''a"b'\''' >> sched/sched_waking/trigger"#,
            "echo 'hist:keys=next_pid:lat_3=common_timestamp.usecs-$lat_2\
             :onmatch(sched.sched_waking).trace(lat,$lat_1,next_comm,$lat_3) \
             if next_prio < 100 && (next_comm == \"x'\\''y\" || next_pid > 5)' \
             >> sched/sched_switch/trigger",
        ]
    );
}

#[test]
fn deltas_and_escaped_names_and_reversed_conditions() {
    let query = "SELECT TIMESTAMP_DELTA AS d, (e.\\from - s.prio) AS p, e.\\from \
                 FROM sched_waking s JOIN sched_switch e ON e.next_pid = s.pid";
    assert_eq!(
        commands(query),
        [
            "echo 's:lat u64 d; s64 p; long from' >> /t/dynamic_events",
            "echo 'hist:keys=pid:lat_1=common_timestamp:lat_3=prio' >> sched/sched_waking/trigger",
            "echo 'hist:keys=next_pid:lat_2=common_timestamp-$lat_1:lat_4=from-$lat_3\
             :onmatch(sched.sched_waking).trace(lat,$lat_2,$lat_4,from)' >> sched/sched_switch/trigger",
        ]
    );
}

#[test]
fn the_largest_can_be_acted_on() {
    let query = "SELECT s.pid, TIMESTAMP_DELTA_USECS AS us \
                 FROM sched_waking s JOIN sched_switch e ON s.pid = e.next_pid";
    let plan = SqlQuery::parse(query).unwrap().plan("lat", &Known).unwrap();
    let SqlPlan::Join(join) = plan else { panic!("no join") };
    let trace = join.trace_action();
    let both = join.clone().on_max("us", trace).unwrap();
    let both = both.on_max("us", HistAction::Snapshot).unwrap().end.trigger.to_string();
    let wanted = ":onmax($lat_3).trace(lat,$lat_1,$lat_3):onmax($lat_3).snapshot()";
    assert!(both.ends_with(wanted), "{both}");
    let save = HistAction::Save(vec!["next_comm".to_owned()]);
    let changed = join.clone().on_change("us", save).unwrap().end.trigger.to_string();
    let wanted = "trace(lat,$lat_1,$lat_3):onchange($lat_3).save(next_comm)";
    assert!(changed.ends_with(wanted), "{changed}");
    let Err(Error::UnknownName { available, .. }) = join.on_max("pid", HistAction::Snapshot) else {
        panic!("a field of the first event is no variable of the second");
    };
    assert_eq!(available, ["us"]);
}

#[test]
fn what_events_cannot_give_is_told_at_its_place() {
    let joined = |selected: &str, rest: &str| {
        format!("SELECT {selected} FROM sched_waking s JOIN sched_switch e ON {rest}")
    };
    let on = "s.pid = e.next_pid";
    for (query, message) in [
        ("SELECT a FROM nosuch".to_owned(), "no event 'nosuch' @ nosuch"),
        ("SELECT a FROM irq.kmalloc".to_owned(), "no event 'irq:kmalloc' @ irq.kmalloc"),
        ("SELECT pdi FROM kmalloc".to_owned(), "event 'kmem:kmalloc' has no field 'pdi' @ pdi"),
        ("SELECT x.pid FROM kmalloc".to_owned(), "'x' is no event of this query @ x.pid"),
        (
            "SELECT common_pid FROM kmalloc WHERE size > 3".to_owned(),
            "event 'kmem:kmalloc' has no field 'size' @ size",
        ),
        (
            "SELECT COUNT(*) FROM kmalloc".to_owned(),
            "a histogram needs a field that is not counted @ COUNT(*)",
        ),
        (
            "SELECT (bytes_req - 1) AS x FROM kmalloc".to_owned(),
            "a histogram is of fields; this needs a second event by JOIN @ (bytes_req",
        ),
        (joined("pid", on), "'pid' needs its event before it, with a dot @ pid"),
        (
            joined("s.pid", "s.pid = s.prio"),
            "a field of one event is to be equal to one of the other @ s.pid",
        ),
        (joined("s.masks", on), "'masks' is an array, which histograms cannot hold @ s.masks"),
        (joined("s.pid, s.pid", on), "two fields 'pid'; name one by AS @ s.pid"),
        (joined("(s.prio - 1)", on), "a value that is computed needs a name by AS @ (s.prio"),
        (
            joined("s.pid", "s.pid = e.next_pid WHERE s.prio > 1 OR e.next_prio > 1"),
            "conditions on both events can be joined by AND only @ e.next_prio",
        ),
        (
            "SELECT a.b FROM sched_waking JOIN sched_waking ON sched_waking.pid = a.b".to_owned(),
            "'sched_waking' means both events; name them by AS @ sched_waking.pid",
        ),
    ] {
        assert_eq!(error(&query), message, "{query}");
    }
    let query = SqlQuery::parse(&joined("s.pid", on)).unwrap();
    let error = query.plan("a b", &Known).unwrap_err();
    assert_eq!(error.message, "'a b' is not a name for a synthetic event");
}
