//! Records events of all CPUs into files and says what it took:
//! `follow_cpu sched 2 /tmp/out [read|splice|map]`.

use std::error::Error;
use std::fs::File;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tracefs::{Capture, Changes, Recorder, RecorderOptions, Sink, TracingDir, Way};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let pattern = words.next().unwrap_or_else(|| "sched".to_owned());
    let seconds: f64 = words.next().unwrap_or_else(|| "1".to_owned()).parse()?;
    let output = words.next().unwrap_or_else(|| "/dev/null".to_owned());
    let mut options = RecorderOptions::default();
    options.way = match words.next().as_deref() {
        Some("read") => Way::Read,
        Some("splice") => Way::Splice,
        Some("map") => Way::Map,
        _ => Way::Auto,
    };

    let begin = Instant::now();
    let dir = TracingDir::find_or_mount()?;
    let mut changes = Changes::new();
    let (instance, _) = changes.create_instance(&dir, "follow_cpu")?;
    let selection = instance.select(&pattern)?;
    changes.set_tracing_on(&instance, false)?;
    let mut sinks = Vec::new();
    for cpu in instance.cpus()? {
        let path =
            if output == "/dev/null" { output.clone() } else { format!("{output}.cpu{cpu}") };
        sinks.push((cpu, Sink::from(File::create(path)?)));
    }
    let recorder = Recorder::start(&instance, sinks, &options)?;
    if let Err(error) = changes.exclude_pids(&instance, recorder.thread_ids()) {
        eprintln!("the recorder is in the trace: {error}");
    }
    changes.enable(&instance, &selection)?;
    changes.set_tracing_on(&instance, true)?;
    println!("{} events on after {:?}", selection.len(), begin.elapsed());

    sleep(Duration::from_secs_f64(seconds));

    let end = Instant::now();
    changes.set_tracing_on(&instance, false)?;
    let ledger = recorder.stop();
    println!("stopped after {:?}", end.elapsed());
    changes.restore()?;
    println!("restored after {:?}", end.elapsed());
    let capture = Capture::read(&dir, Some(&selection))?;
    println!("captured after {:?}: {} bytes of symbols", end.elapsed(), capture.kallsyms.len());
    for cpu in &ledger.cpus {
        println!(
            "CPU {}: {} bytes in {} sub-buffers by {:?}, {} events lost{}",
            cpu.cpu,
            cpu.bytes,
            cpu.sub_buffers,
            cpu.way,
            cpu.stats.lost_events(),
            cpu.error.as_ref().map(|e| format!(", {e}")).unwrap_or_default(),
        );
    }
    Ok(())
}
