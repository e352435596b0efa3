//! `report --json` read back by another program's parser, and compared with the records themselves.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tracedat::event_format::Field;
use tracedat::metadata::RecorderStat;
use tracedat::read::{Merge, Reader};
use tracedat::report::{Json, Report, ReportInput, ReportOptions};
use tracedat::ring_buffer::MissedEvents;
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::write::{BufferData, Settings, Writer, option};
use tracedat::{Abi, ByteOrder, Metadata};

/// Prints what [`expected`] does, from lines of JSON.
const READ_BACK: &str = r"
import json, sys
for line in sys.stdin.buffer:
    o = json.loads(line.decode('utf-8'))
    if 'lost' in o:
        print('lost', o.get('instance'), o['lost'], o['cpu'])
        continue
    f = o['fields']
    values = ['%s=%s' % (k, int(v, 16) if isinstance(v, str) and v.startswith('0x') else v) for k, v in f.items()]
    print(o.get('instance'), o['ts'], o['cpu'], o['pid'], o['system'], o['event'], *values, len(o['flags']), 'text' in o)
";

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for byte_order in [ByteOrder::Little, ByteOrder::Big] {
        for long_size in [4, 8] {
            let abi = Abi { byte_order, long_size };
            for version in [6, 7] {
                let name = format!("python_reads_back_{byte_order:?}_{}_v{version}", 8 * long_size);
                trials.push(Trial::ignorable_test(name.to_lowercase(), move || {
                    let python = Command::new("python3").arg("-c").arg("").output();
                    if python.is_err() {
                        return Ok(Completion::ignored_with("no python3"));
                    }
                    read_back(abi, version).map(|()| Completion::Completed)
                }));
            }
        }
    }
    trials.push(Trial::test("what_the_file_says_of_losses_comes_last", losses));
    libtest_mimic::run(&arguments, trials).exit();
}

/// CPUs that lost something have a line, those that lost nothing have none.
fn losses() -> Result<(), Failed> {
    let workload = Workload { instances: vec!["foo".to_owned()], ..Workload::new(3) };
    let trace = TraceBuilder::new(workload.clone());
    let mut head = trace.head();
    let whole = "entries: 0\noverrun: 0\ncommit overrun: 0\ndropped events: 0\n";
    let full = RecorderStat {
        stalls: 1,
        discarded_bytes: 4096,
        error: Some("no \"room\""),
        ..RecorderStat::default()
    };
    head.options.extend([
        option::cpu_stat(0, whole, &RecorderStat::default()),
        option::cpu_stat(
            1,
            "overrun: 5\ncommit overrun: 6\ndropped events: 7\n",
            &RecorderStat::default(),
        ),
        option::cpu_stat_heading("foo"),
        option::cpu_stat(0, whole, &full),
    ]);
    let settings = Settings::new(workload.abi, workload.page_size);
    let mut file = std::io::Cursor::new(Vec::new());
    let buffer =
        |name| BufferData { name, clock: "local", page_size: workload.page_size, cpus: vec![] };
    Writer::create(&mut file, settings, &head)?.finish(&[], vec![buffer(""), buffer("foo")])?;
    let print = |cpus: Option<Vec<u32>>| -> Result<String, Failed> {
        let (files, mut records) = Merge::new(vec![Reader::parse(file.get_ref().clone())?]);
        let inputs = [ReportInput { name: "made.dat", metadata: &files[0] }];
        let mut options = ReportOptions::default();
        (options.json, options.cpus) = (Some(Json::default()), cpus);
        let mut lines = Vec::new();
        Report::new(options).print(&inputs, &mut records, &mut lines)?;
        Ok(String::from_utf8(lines)?)
    };
    let kernel = "{\"losses\":{\"overrun\":5,\"commit_overrun\":6,\"dropped_events\":7,\"stalls\":0,\
                  \"discarded_bytes\":0,\"error\":null},\"cpu\":1}\n";
    let recorder = "{\"instance\":\"foo\",\"losses\":{\"overrun\":0,\"commit_overrun\":0,\
                    \"dropped_events\":0,\"stalls\":1,\"discarded_bytes\":4096,\
                    \"error\":\"no \\\"room\\\"\"},\"cpu\":0}\n";
    for (cpus, wanted) in [(None, [kernel, recorder].concat()), (Some(vec![1]), kernel.to_owned())]
    {
        let found = print(cpus)?;
        if found != wanted {
            return Err(format!("found\n{found}wanted\n{wanted}").into());
        }
    }
    Ok(())
}

fn read_back(abi: Abi, version: u8) -> Result<(), Failed> {
    let mut workload = Workload::new(u64::from(version) + u64::from(abi.long_size));
    workload.abi = abi;
    workload.events_per_cpu = 800;
    workload.missed_every = 2;
    workload.instances = vec!["a \"b\"".to_owned()];
    let bytes: std::sync::Arc<[u8]> = TraceBuilder::new(workload).version(version).build().into();
    let (wanted, lost) = expected(Reader::parse(bytes.clone())?)?;
    if lost < 3 {
        return Err(format!("{lost} losses only").into());
    }
    for (threads, text) in [(1, false), (3, true)] {
        let (files, mut records) = Merge::new(vec![Reader::parse(bytes.clone())?]);
        let inputs = [ReportInput { name: "made.dat", metadata: &files[0] }];
        let mut options = ReportOptions::default();
        options.json = Some(Json { text });
        options.threads = NonZeroUsize::new(threads);
        let report = Report::new(options);
        let mut lines = report.headers(&inputs).concat();
        report.print(&inputs, &mut records, &mut lines)?;
        let wanted = wanted.replace("TEXT\n", if text { "True\n" } else { "False\n" });
        let found = python(lines)?;
        if let Some((number, (found, wanted))) = found
            .lines()
            .zip(wanted.lines())
            .enumerate()
            .find(|(_, (found, wanted))| found != wanted)
        {
            return Err(format!("line {}:\nread   {found}\nwanted {wanted}", number + 1).into());
        }
        if found.lines().count() != wanted.lines().count() {
            return Err("lines are missing".into());
        }
    }
    Ok(())
}

fn python(lines: Vec<u8>) -> Result<String, Failed> {
    let mut command = Command::new("python3");
    command.args(["-c", READ_BACK]).env("PYTHONIOENCODING", "utf-8");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&lines));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    if !output.status.success() {
        return Err(format!("python3: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What the records say, without the code that prints, and how many losses there are.
fn expected(reader: Reader) -> Result<(String, usize), Failed> {
    let Reader { metadata, mut records } = reader;
    let (mut text, mut lost) = (String::new(), 0);
    while let Some(record) = records.next()? {
        let instance = match metadata.buffers[record.buffer as usize].name.as_str() {
            "" => "None",
            name => name,
        };
        let cpu = record.cpu;
        match record.missed {
            MissedEvents::None => {}
            MissedEvents::Exactly(n) => writeln!(text, "lost {instance} {n} {cpu}")?,
            _ => writeln!(text, "lost {instance} None {cpu}")?,
        }
        lost += usize::from(record.missed != MissedEvents::None);
        let id = metadata.abi.byte_order.u16([record.data[0], record.data[1]]);
        let format = &metadata.event_by_id(id).unwrap().format;
        let pid =
            format.common_field("common_pid").unwrap().int(metadata.abi, record.data).unwrap();
        write!(text, "{instance} {} {cpu} {pid} {} {}", record.time, format.system, format.name)?;
        for field in &format.fields {
            write!(text, " {}={}", field.name, value(&metadata, field, record.data))?;
        }
        writeln!(text, " 5 TEXT")?;
    }
    Ok((text, lost))
}

/// A value as Python prints it.
fn value(metadata: &Metadata, field: &Field, data: &[u8]) -> String {
    let abi = metadata.abi;
    if field.type_name.contains("char") && field.flags.array {
        let bytes = match field.size {
            0 => &data[field.offset as usize..],
            _ => field.bytes(abi, data).unwrap(),
        };
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        return String::from_utf8(bytes[..end].to_vec()).unwrap();
    }
    if field.flags.array {
        let elements = field.bytes(abi, data).unwrap().chunks(field.element_size as usize);
        let values: Vec<u64> = elements.map(|e| abi.byte_order.uint(e).unwrap()).collect();
        return format!("{values:?}");
    }
    match field.flags.signed {
        true => field.int(abi, data).unwrap().to_string(),
        false => field.uint(abi, data).unwrap().to_string(),
    }
}
