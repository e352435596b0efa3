//! The way of an event, stage by stage: see `src/stage`.

use criterion::{BatchSize, Criterion, Throughput};
use std::time::Duration;
use trace_benches::Outcome;
use trace_benches::stage;
use trace_benches::workload::Traces;

fn main() -> Outcome<()> {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    // As criterion has it: once each unless Cargo asks for figures.
    let words: Vec<String> = std::env::args().collect();
    let measures = words.iter().any(|word| word == "--bench");
    let test = !measures || words.iter().any(|word| word == "--test");
    let traces = Traces::new(if test { 4000 } else { 100_000 })?;
    for (name, works) in stage::ALL {
        let works = match works(&traces) {
            Ok(works) => works,
            Err(reason) => {
                println!("{name}: skipped: {reason}");
                continue;
            }
        };
        let mut group = criterion.benchmark_group(name);
        for mut work in works {
            group.throughput(match work.bytes {
                0 => Throughput::Elements(work.items),
                bytes => Throughput::ElementsAndBytes { elements: work.items, bytes },
            });
            group.bench_function(&work.name, |bencher| {
                bencher.iter_batched(&mut work.prepare, |()| (work.run)(), BatchSize::PerIteration);
            });
        }
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}
