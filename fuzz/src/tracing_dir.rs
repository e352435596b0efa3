//! The files of a tracing directory, as a kernel that says anything would have them.

use std::fs;
use std::path::{Path, PathBuf};

use tracefs::function::FunctionList;
use tracefs::{EventName, Instance, Journal, PidFilter, StackTracer, TracingDir};

/// Reads a file in the way of its kind; what is wrong is an error.
type Read = fn(&Instance) -> Result<(), tracefs::Error>;

/// Files, and who reads them.
const FILES: [(&str, Read); 18] = [
    ("available_events", |top| top.select("sched").map(drop)),
    ("set_event", |top| top.enabled_events().map(drop)),
    ("trace_clock", |top| top.trace_clocks().map(drop)),
    ("trace_options", |top| top.trace_options().map(drop)),
    ("available_tracers", |top| top.available_tracers().map(drop)),
    ("current_tracer", |top| top.current_tracer().map(drop)),
    ("buffer_size_kb", |top| top.buffer_size().map(drop)),
    ("buffer_subbuf_size_kb", |top| top.sub_buffer_size().map(drop)),
    ("tracing_cpumask", |top| top.cpu_mask().map(drop)),
    ("set_event_pid", |top| top.pid_filter(PidFilter::Only).map(drop)),
    ("set_ftrace_filter", |top| {
        std::hint::black_box(top.function_commands()?);
        top.functions(FunctionList::Filter).map(drop)
    }),
    ("max_graph_depth", |top| top.max_graph_depth().map(drop)),
    ("snapshot", |top| top.snapshot().is_allocated().map(drop)),
    ("stack_trace", |top| StackTracer::new(top.tracing_dir()).frames().map(drop)),
    ("dynamic_events", |top| top.tracing_dir().dynamic_events().map(drop)),
    ("events/a/b/filter", |top| top.event_filter(&EventName::new("a", "b")).map(drop)),
    ("events/a/b/hist", |top| top.histograms(&EventName::new("a", "b")).map(drop)),
    ("per_cpu/cpu0/stats", |top| top.buffer_stats(0).map(drop)),
];

/// A directory for as long as the process lives.
struct Scene {
    dir: TracingDir,
    journals: PathBuf,
    _temp: tempfile::TempDir,
}

impl Scene {
    fn new() -> std::io::Result<Self> {
        let temp = tempfile::tempdir()?;
        let path = temp.path();
        for folder in ["tracing/events/a/b", "tracing/per_cpu/cpu0", "journals"] {
            fs::create_dir_all(path.join(folder))?;
        }
        let dir = TracingDir::at(path.join("tracing"));
        Ok(Self { dir, journals: path.join("journals"), _temp: temp })
    }
}

thread_local! {
    static SCENE: Scene = Scene::new().expect("a temporary directory");
}

/// A byte that says which file it is, or a journal of changes, and what is in it.
///
/// # Panics
/// When a journal names what is outside of the tracing directory.
pub fn run(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    SCENE.with(|scene| match FILES.get(usize::from(kind)) {
        Some((file, read)) => {
            let path = scene.dir.path().join(file);
            fs::write(&path, bytes).expect("the directory can be written to");
            if let Err(error) = read(&scene.dir.top()) {
                std::hint::black_box(error.to_string());
            }
        }
        None => journal(scene, bytes),
    });
}

/// Lines of a journal behind a head that fits.
fn journal(scene: &Scene, lines: &[u8]) {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // There is no process 0.
    let head = format!(
        "tracefs journal 1\nprocess 0 started 1\nboot {}\ntracing \"{}\"\n",
        boot.trim(),
        scene.dir.path().display()
    );
    let path = scene.journals.join("0-1-0.journal");
    fs::write(&path, [head.as_bytes(), lines].concat()).expect("the directory can be written to");
    let found = Journal::stale(&scene.dir, &scene.journals).expect("the directory is there");
    assert_eq!(found.journals.len() + found.unreadable.len(), 1, "{found:?}");
    for error in found.unreadable {
        std::hint::black_box(error.to_string());
    }
    for journal in found.journals {
        assert!(Path::new(journal.path()).starts_with(&scene.journals));
        for change in journal.changes() {
            // What is written to a file may be anything.
            let file = change.split('"').nth(1).unwrap_or_default();
            assert!(!file.contains("/../"), "{change}");
        }
    }
}
