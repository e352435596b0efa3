//! A full ring buffer of the running kernel to files, from the start of the recorder to its end.

use std::fs::File;
use std::rc::Rc;

use tempfile::tempfile;
use tracefs::{Recorder, RecorderOptions, Sink, Way};

use super::Work;
use crate::Outcome;
use crate::recording::Tracing;
use crate::workload::Traces;

/// Bytes of the text of an event.
const TEXT: [u8; 100] = [b'-'; 100];

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    let events = u64::from(traces.events);
    // All may come to be on one CPU.
    let kilobytes = events * 2 * TEXT.len() as u64 / 1024 + 64;
    let tracing = Rc::new(Tracing::start(kilobytes)?);
    Ok(vec![
        work("splice", Way::Auto, events, &tracing)?,
        work("read", Way::Read, events, &tracing)?,
    ])
}

fn work(name: &str, way: Way, events: u64, tracing: &Rc<Tracing>) -> Outcome<Work> {
    let marker = tracing.instance().marker()?;
    let cpus = tracing.instance().cpus()?;
    let files: Vec<File> = cpus.iter().map(|_| tempfile()).collect::<Result<_, _>>()?;
    let (fill, take) = (Rc::clone(tracing), Rc::clone(tracing));
    let prepare = move || {
        fill.instance().set_tracing_on(true).expect("a switch");
        for _ in 0..events {
            marker.write(&TEXT).expect("a marker");
        }
        fill.instance().set_tracing_on(false).expect("a switch");
    };
    let mut options = RecorderOptions::default();
    options.way = way;
    let bytes = events * TEXT.len() as u64;
    let run = move || {
        let sinks = cpus.iter().zip(&files).map(|(&cpu, file)| {
            (cpu, Sink::At { file: file.try_clone().expect("a file"), offset: 0 })
        });
        let recorder = Recorder::start(take.instance(), sinks.collect(), &options);
        let ledger = recorder.expect("a recorder").stop();
        assert_eq!((ledger.lost_events(), ledger.errors().count()), (0, 0));
        assert!(ledger.bytes() > bytes, "{} bytes for {bytes}", ledger.bytes());
    };
    Ok(Work::new(name, events, bytes, run).prepared_by(prepare).unsteady())
}
