//! Texts of event formats to fields, and their print formats to programs.

use tracedat::event_format::EventFormat;
use tracedat::print_fmt::{CompileOptions, Program};

use super::Work;
use crate::Outcome;
use crate::workload::{Source, Traces};

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    let mut works = Vec::new();
    for source in traces.all() {
        works.push(parse(source)?);
        works.push(compile(source)?);
    }
    Ok(works)
}

fn parse(source: &Source) -> Outcome<Work> {
    let metadata = source.open()?.metadata;
    let (count, bytes) = metadata
        .event_texts()
        .fold((0, 0), |(count, bytes), text| (count + 1, bytes + text.text.len() as u64));
    let run = move || {
        let parsed = metadata.event_texts();
        let parsed = parsed.map(|text| EventFormat::parse(text.system, text.text, metadata.abi));
        assert_eq!(parsed.filter(Result::is_ok).count() as u64, count);
    };
    Ok(Work::new(format!("parse/{}", source.name), count, bytes, run))
}

fn compile(source: &Source) -> Outcome<Work> {
    let metadata = source.open()?.metadata;
    let parse = |text: tracedat::metadata::FormatText<'_>| {
        EventFormat::parse(text.system, text.text, metadata.abi)
    };
    let formats: Vec<EventFormat> = metadata.event_texts().map(parse).collect::<Result<_, _>>()?;
    let mut options = CompileOptions::default();
    options.full = true;
    let understood = move |formats: &[EventFormat]| {
        let programs =
            formats.iter().map(|format| Program::compile_with(format, format.abi, options));
        programs.filter(|program| !program.has_failed()).count()
    };
    let expected = understood(&formats);
    let count = formats.len() as u64;
    assert!(expected as u64 * 10 >= count * 9, "{expected} of {count} understood");
    let bytes = formats.iter().map(|format| format.print_fmt.len() as u64).sum();
    let run = move || assert_eq!(understood(&formats), expected);
    Ok(Work::new(format!("compile/{}", source.name), count, bytes, run))
}
