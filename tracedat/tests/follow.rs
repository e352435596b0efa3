//! A trace that is fed sub-buffer by sub-buffer reads like the file with the same sub-buffers.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use tracedat::Reader;
use tracedat::read::{LiveMerge, Merge};
use tracedat::report::{Json, Report, ReportError, ReportInput, ReportOptions, TaskNames};
use tracedat::testing::{Generated, TraceBuilder, Workload};

fn generated() -> (Generated, Vec<u8>) {
    let mut workload = Workload::new(7);
    workload.cpus = 3;
    workload.instances = vec!["second".to_owned()];
    let made = workload.generate();
    let file = TraceBuilder::new(workload).build_from(&made);
    (made, file)
}

fn report(json: bool) -> Report {
    let mut options = ReportOptions::default();
    options.json = json.then_some(Json { text: true });
    Report::new(options)
}

fn of_file(file: &[u8], report: &Report) -> String {
    let (files, mut records) = Merge::new(vec![Reader::parse(file.to_vec()).unwrap()]);
    let inputs = [ReportInput { name: "trace.dat", metadata: &files[0] }];
    let mut text = Vec::new();
    report.print(&inputs, &mut records, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Where the text goes, to be looked at while it grows.
#[derive(Clone, Default)]
struct Text(Rc<RefCell<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text of what is fed sub-buffer by sub-buffer, in turns; how much of it came before each.
fn of_feed(made: &Generated, file: &[u8], report: &Report) -> (String, Vec<usize>) {
    let metadata = Reader::parse(file.to_vec()).unwrap().metadata;
    let inputs = [ReportInput { name: "trace.dat", metadata: &metadata }];
    let mut records = LiveMerge::new([&metadata]);
    let mut turns: Vec<_> = Vec::new();
    for (buffer, generated) in (0..).zip(&made.buffers) {
        for (cpu, generated) in (0..).zip(&generated.cpus) {
            let cpu = records.cpu(0, buffer, cpu).unwrap();
            let pages = generated.bytes.chunks(4096).enumerate();
            turns.extend(pages.map(|(turn, page)| (turn, cpu, page)));
        }
    }
    turns.sort_by_key(|(turn, ..)| *turn);
    let mut turns = turns.into_iter();
    let (text, mut lengths) = (Text::default(), Vec::new());
    let mut more = |records: &mut LiveMerge, names: &mut TaskNames| -> Result<bool, ReportError> {
        lengths.push(text.0.borrow().len());
        names.set(0, metadata.cmdlines_text());
        let Some((_, cpu, page)) = turns.next() else { return Ok(false) };
        records.feed(cpu, page);
        Ok(true)
    };
    report.follow(&inputs, &mut records, &mut text.clone(), &mut more).unwrap();
    (String::from_utf8(text.0.take()).unwrap(), lengths)
}

#[test]
fn text_is_that_of_the_file() {
    let (made, file) = generated();
    for json in [false, true] {
        let report = report(json);
        let expected = of_file(&file, &report);
        let (text, _) = of_feed(&made, &file, &report);
        assert!(expected.lines().count() > 5000);
        assert!(text == expected);
    }
}

#[test]
fn text_comes_while_records_are_fed() {
    let (made, file) = generated();
    let (text, lengths) = of_feed(&made, &file, &report(false));
    assert_eq!(lengths[0], 0);
    let middle = lengths[lengths.len() / 2];
    assert!(middle > text.len() / 4 && middle < text.len(), "{middle} of {}", text.len());
}

#[test]
fn tasks_have_the_names_they_have_meanwhile() {
    let (made, file) = generated();
    let metadata = Reader::parse(file).unwrap().metadata;
    let inputs = [ReportInput { name: "trace.dat", metadata: &metadata }];
    let mut records = LiveMerge::new([&metadata]);
    let cpu = records.cpu(0, 0, 0).unwrap();
    let pids: Vec<i32> = metadata.tasks().iter().map(|(pid, _)| pid).collect();
    let mut text = Vec::new();
    let mut pages = made.buffers[0].cpus[0].bytes.chunks(4096);
    let mut more = |records: &mut LiveMerge, names: &mut TaskNames| -> Result<bool, ReportError> {
        let Some(page) = pages.next() else { return Ok(false) };
        records.feed(cpu, page);
        records.release(u64::MAX);
        let turn = pages.len();
        let lines: String = pids.iter().map(|pid| format!("{pid} turn {turn}\n")).collect();
        names.set(0, lines.as_bytes());
        Ok(true)
    };
    report(false).follow(&inputs, &mut records, &mut text, &mut more).unwrap();
    let text = String::from_utf8(text).unwrap();
    let turn = |line: &str| line.split("turn ").nth(1)?.split('-').next()?.parse::<usize>().ok();
    let turns: Vec<usize> = text.lines().filter_map(turn).collect();
    assert!(turns.len() > 100 && turns.is_sorted_by(|a, b| a >= b));
    assert!(turns[0] > *turns.last().unwrap());
}
