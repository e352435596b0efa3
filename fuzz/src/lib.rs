//! Entry points of the fuzzer. Each takes any bytes, runs all there is for them, and panics when
//! something does not hold. `tests/replay.rs` runs them on a stable toolchain.

pub mod agent;
pub mod clocks;
pub mod control_texts;
pub mod event_format;
pub mod kernel_texts;
pub mod libvirt;
pub mod messages;
pub mod qmp;
pub mod session;
pub mod sql;
pub mod sub_buffer;
pub mod tracing_dir;
pub mod virt_client;
pub mod virt_host;
mod virt_scene;
pub mod virt_server;

use std::num::NonZeroUsize;

use tracedat::event_format::EventFormat;
use tracedat::filter::{Filter, FilterContext};
use tracedat::print_fmt::NoNames;
use tracedat::profile::{Profile, ProfileOptions};
use tracedat::read::Merge;
use tracedat::report::{Report, ReportInput, ReportOptions};
use tracedat::{Abi, ByteOrder, ReadError, Reader};

/// Records that are looked at; a small file can hold very many empty ones.
const MAX_RECORDS: u64 = 200_000;

/// Text that is printed; more tells nothing new.
const MAX_TEXT: usize = 4 << 20;

/// A whole trace.dat: its metadata, its records, its lines, its profile.
///
/// # Panics
/// When a record is not where the metadata says, or two readings differ.
pub fn trace_file(data: &[u8]) {
    let Ok(records) = walk(data) else { return };
    let again = walk(data).expect("what could be opened can be opened again");
    assert_eq!(records, again, "two readings of the same bytes differ");
    print(data);
    profile(data);
    window(data);
}

/// The fields that the seeds of `filter` speak of.
const FORMAT: &[u8] = b"name: sched_switch\nID: 9\nformat:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
    \tfield:char prev_comm[8];\toffset:8;\tsize:8;\tsigned:0;\n\
    \tfield:int prev_pid;\toffset:16;\tsize:4;\tsigned:1;\n\
    \tfield:u64 state;\toffset:24;\tsize:8;\tsigned:0;\n\
    \tfield:__data_loc char[] name;\toffset:20;\tsize:4;\tsigned:0;\n\
    \tfield:void * function;\toffset:32;\tsize:8;\tsigned:0;\n\nprint fmt: \"\"\n";

/// A filter, up to a NUL, and a record, behind it.
///
/// # Panics
/// When what a filter says about an event means something else, or an error points nowhere.
pub fn filter(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (text, record) = data.split_at(end);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.at <= text.len() && text.is_char_boundary(error.at), "{error}");
            std::hint::black_box(error.caret());
            return;
        }
    };
    let abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
    let format = EventFormat::parse("sched", FORMAT, abi).expect("the format is whole");
    let Some(event) = filter.for_event(&format) else { return };
    let names = NoNames::default();
    let context =
        FilterContext { cpu: 1, comm: &|pid| (pid > 3).then_some(&b"task"[..]), names: &names };
    let found = event.compile().matches(record, &context);
    // All brackets written out may be more than a filter can have, and no quotes go around both.
    if text.contains("\\\"") && text.contains("\\'") {
        return;
    }
    if let Ok(again) = Filter::parse(&format!("sched_switch: {event}")) {
        let again = again.for_event(&format).expect("the same event");
        assert_eq!(again.compile().matches(record, &context), found, "{event}");
    }
}

/// Walks over all records. Returns how many there are and a digest of them.
fn walk(data: &[u8]) -> Result<(u64, u64), ReadError> {
    let Reader { metadata, mut records } = Reader::parse(data)?;
    let texts: usize = metadata.event_texts().map(|text| text.text.len()).sum();
    std::hint::black_box(texts);
    let (mut count, mut digest) = (0, 0_u64);
    while count < MAX_RECORDS {
        // A reader goes on after damage or ends there, but it does not start over.
        let Ok(Some(record)) = records.next() else { break };
        let buffer = metadata.buffers.get(record.buffer as usize).expect("a buffer of the file");
        assert!(record.data.len() <= buffer.page_size as usize, "a record larger than its page");
        count += 1;
        let parts = [record.ticks, u64::from(record.cpu), record.data.len() as u64];
        for part in parts {
            digest = (digest.rotate_left(5) ^ part).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
    Ok((count, digest))
}

/// Prints all records, by either reading of their print fmts; what fails is an error and not a panic.
fn print(data: &[u8]) {
    for full_formats in [false, true] {
        let Ok(reader) = Reader::parse(data) else { return };
        let (files, mut records) = Merge::new(vec![reader]);
        let inputs = [ReportInput { name: "fuzz", metadata: &files[0] }];
        let mut options = ReportOptions::default();
        options.threads = NonZeroUsize::new(1);
        options.full_formats = full_formats;
        let mut text = Bounded { left: MAX_TEXT };
        // The error says where it went wrong, which is all that is asked for.
        let _ = Report::new(options).print(&inputs, &mut records, &mut text);
    }
}

/// Reads the second half of the time of some CPUs, and nothing else.
fn window(data: &[u8]) {
    let Ok(Reader { metadata, mut records }) = Reader::parse(data) else { return };
    let Some(buffer) = metadata.buffers.first() else { return };
    for cpu in buffer.cpus.iter().take(4) {
        let Ok(Some((first, last))) = records.times_of_cpu(0, cpu.cpu) else { continue };
        let middle = first.midpoint(last);
        if records.between(middle, last).is_err() {
            return;
        }
        for _ in 0..MAX_RECORDS {
            let Ok(Some(record)) = records.next() else { break };
            assert!((middle..=last).contains(&record.time), "a record of another time");
        }
    }
}

/// Counts what the records tell, and prints it.
fn profile(data: &[u8]) {
    let Ok(Reader { metadata, mut records }) = Reader::parse(data) else { return };
    let Ok(mut profile) = Profile::new(&metadata, &ProfileOptions::default()) else { return };
    for _ in 0..MAX_RECORDS {
        let Ok(Some(record)) = records.next() else { break };
        profile.add(&record);
    }
    let mut text = Vec::new();
    profile.print(&mut text);
    std::hint::black_box(text);
}

/// Takes so many bytes, then refuses.
struct Bounded {
    left: usize,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
