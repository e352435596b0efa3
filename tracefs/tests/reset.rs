//! A reset leaves nothing of what was set, whoever set it.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod fake_kernel;

use fake_kernel::FakeKernel;
use tracefs::dynamic_event::{DynamicKind, Kprobe, SyntheticEvent};
use tracefs::reset::Reset;
use tracefs::{CpuMask, FunctionList};

#[test]
fn everything_is_put_back_and_told_in_order() {
    let mut kernel = FakeKernel::new();
    let (dir, top) = (kernel.dir(), kernel.dir().top());
    top.set_current_tracer("function").unwrap();
    top.set_trace_clock("mono").unwrap();
    top.set_tracing_on(false).unwrap();
    top.set_cpu_mask(&CpuMask::from_iter([1])).unwrap();
    top.add_functions(FunctionList::Graph, &["schedule".to_owned()]).unwrap();
    dir.create_dynamic_event(&SyntheticEvent::new("lat").field("u64", "us").into()).unwrap();
    dir.create_dynamic_event(&Kprobe::new("mine", "vfs_write").into()).unwrap();
    kernel.settle();

    let report = Reset::new().buffer_size_kb(64).top(&dir);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let root = kernel.path().to_owned();
    let name = |path: &std::path::Path| path.strip_prefix(&root).unwrap().display().to_string();
    let order: Vec<_> =
        report.put_back.iter().map(|one| (name(&one.path), one.before.as_str())).collect();
    let expected = [
        ("current_tracer", "function"),
        ("events/enable", "sched:sched_switch"),
        ("events/sched/filter", "sched_waking: prio < 3"),
        ("events/irq/irq_entry/trigger", "stacktrace:count=3"),
        ("dynamic_events", "s:lat u64 us"),
        ("dynamic_events", "p:kprobes/theirs vfs_read"),
        ("dynamic_events", "p:kprobes/mine vfs_write"),
        ("trace_clock", "mono"),
        ("set_event_pid", "12"),
        ("tracing_max_latency", "17"),
        ("tracing_cpumask", "2"),
        ("set_ftrace_notrace", "schedule\nvfs_read"),
        ("set_graph_function", "schedule"),
        ("buffer_size_kb", "X"),
        ("tracing_on", "0"),
    ];
    assert_eq!(order, expected.map(|(name, before)| (name.to_owned(), before)));

    kernel.settle();
    let state = kernel.state();
    for (name, shown) in [
        ("current_tracer", "nop\n"),
        ("set_event", ""),
        ("events/sched/sched_waking/filter", "none\n"),
        ("events/irq/irq_entry/trigger", ""),
        ("dynamic_events", ""),
        ("tracing_cpumask", "3\n"),
        ("set_ftrace_notrace", ""),
        ("per_cpu/cpu1/buffer_size_kb", "64\n"),
        ("tracing_on", "1\n"),
    ] {
        assert_eq!(state[name], shown, "{name}");
    }
    let again = Reset::new().buffer_size_kb(64).top(&dir);
    assert!(again.put_back.is_empty() && again.errors.is_empty(), "{again:?}");
}

#[test]
fn kinds_of_dynamic_events_are_kept() {
    let mut kernel = FakeKernel::new();
    let dir = kernel.dir();
    dir.create_dynamic_event(&SyntheticEvent::new("lat").field("u64", "us").into()).unwrap();
    kernel.settle();
    let report = Reset::new().keep(DynamicKind::Kprobe).top(&dir);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    kernel.settle();
    assert_eq!(kernel.state()["dynamic_events"], "p:kprobes/theirs vfs_read\n");
}

#[test]
fn an_instance_is_reset_without_what_all_share() {
    let mut kernel = FakeKernel::new();
    let instance = kernel.dir().instance("theirs").unwrap();
    std::fs::write(instance.file("tracing_on").path(), "0\n").unwrap();
    let before = kernel.state();
    let report = Reset::new().instance(&instance);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.put_back.len(), 1, "what an instance lacks is passed over");
    assert!(instance.tracing_on().unwrap());
    kernel.settle();
    assert_eq!(kernel.state(), before, "the top instance and dynamic events");
}
