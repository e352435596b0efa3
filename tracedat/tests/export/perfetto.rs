//! Traces for Perfetto, decoded by the rules of protocol buffers.

use std::collections::BTreeMap;

use tracedat::export::Perfetto;
use tracedat::read::{Merge, Reader};
use tracedat::ring_buffer::MissedEvents;
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::{Abi, ByteOrder};

/// A message: its fields in their order.
struct Message<'a>(Vec<(u64, Value<'a>)>);

#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint without end");
}

impl<'a> Message<'a> {
    fn parse(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)),
                2 => {
                    let len = varint(&mut bytes) as usize;
                    let (value, rest) = bytes.split_at(len);
                    bytes = rest;
                    Value::Bytes(value)
                }
                other => panic!("wire type {other}"),
            };
            fields.push((key >> 3, value));
        }
        Self(fields)
    }

    fn all(&self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(number, _)| *number == field).map(move |(_, value)| match value
        {
            Value::Bytes(bytes) => *bytes,
            Value::Number(_) => panic!("field {field} is a number"),
        })
    }

    fn message(&self, field: u64) -> Option<Message<'a>> {
        self.all(field).next().map(Message::parse)
    }

    fn text(&self, field: u64) -> Option<&'a str> {
        self.all(field).next().map(|bytes| str::from_utf8(bytes).unwrap())
    }

    fn number(&self, field: u64) -> Option<u64> {
        self.0.iter().find(|(number, _)| *number == field).map(move |(_, value)| match value {
            Value::Number(value) => *value,
            Value::Bytes(_) => panic!("field {field} is no number"),
        })
    }
}

/// What a record must have become: its time, task, name, and a few values.
#[derive(Debug, PartialEq)]
struct Seen {
    time: u64,
    pid: u32,
    name: String,
    next_comm: Option<String>,
    next_pid: Option<i128>,
}

/// By machine and CPU.
type Streams = BTreeMap<(u64, u64), Vec<Seen>>;

fn made(abi: Abi, seed: u64) -> Vec<u8> {
    let mut workload = Workload::new(seed);
    workload.abi = abi;
    workload.events_per_cpu = 400;
    workload.missed_every = 3;
    workload.instances = vec!["foo".to_owned()];
    TraceBuilder::new(workload).build()
}

/// What the records say, how often something was lost, and the trace.
fn export(files: Vec<Vec<u8>>) -> (Streams, usize, Vec<u8>) {
    let readers = files.into_iter().map(|file| Reader::parse(file).unwrap()).collect();
    let (files, mut records) = Merge::new(readers);
    let names = ["host", "guest"];
    let machines: Vec<_> = names.into_iter().zip(&files).collect();
    let mut trace = Perfetto::new(&machines, Vec::new());
    let (mut streams, mut lost) = (Streams::new(), 0);
    while let Some((file, record)) = records.next().unwrap() {
        trace.record(file, &record).unwrap();
        lost += usize::from(record.missed != MissedEvents::None);
        let event = files[file].event(&record).unwrap();
        let switches = event.name() == "sched_switch";
        let name = match record.buffer {
            0 => event.name().to_owned(),
            _ => format!("foo/{}", event.name()),
        };
        let text = |field| event.text(field).map(|text| String::from_utf8(text.to_vec()).unwrap());
        streams.entry((file as u64, u64::from(record.cpu))).or_default().push(Seen {
            time: record.time,
            pid: event.int("common_pid").unwrap() as u32,
            name,
            next_comm: text("next_comm").filter(|_| switches),
            next_pid: event.int("next_pid").filter(|_| switches),
        });
    }
    (streams, lost, trace.finish().unwrap())
}

fn seen(event: &Message<'_>) -> Seen {
    const PRINT: u64 = 3;
    const SCHED_SWITCH: u64 = 4;
    const GENERIC: u64 = 327;
    let (time, pid) = (event.number(1).unwrap(), event.number(2).unwrap() as u32);
    let (kind, value) = *event.0.last().unwrap();
    let Value::Bytes(body) = value else { panic!("no message") };
    let body = Message::parse(body);
    let seen =
        |name: &str| Seen { time, pid, name: name.to_owned(), next_comm: None, next_pid: None };
    match kind {
        PRINT => seen("print"),
        SCHED_SWITCH => Seen {
            next_comm: body.text(5).map(str::to_owned),
            next_pid: body.number(6).map(i128::from),
            ..seen("sched_switch")
        },
        GENERIC => {
            let name = body.text(1).unwrap();
            let fields: BTreeMap<&str, Message<'_>> = body
                .all(2)
                .map(Message::parse)
                .map(|field| (field.text(1).unwrap(), field))
                .collect();
            let switches = name.ends_with("sched_switch");
            let field = |name| fields.get(name).filter(|_| switches);
            Seen {
                next_comm: field("next_comm").map(|field| field.text(3).unwrap().to_owned()),
                next_pid: field("next_pid").map(|field| i128::from(field.number(4).unwrap())),
                ..seen(name)
            }
        }
        other => seen(match other {
            17 => "sched_wakeup",
            20 => "sched_waking",
            24 => "softirq_entry",
            25 => "softirq_exit",
            36 => "irq_handler_entry",
            37 => "irq_handler_exit",
            437 => "funcgraph_entry",
            438 => "funcgraph_exit",
            329 => "sys_enter",
            330 => "sys_exit",
            _ => panic!("event {other}"),
        }),
    }
}

#[test]
fn every_record_arrives_with_its_time_and_fields() {
    for byte_order in [ByteOrder::Little, ByteOrder::Big] {
        for long_size in [4, 8] {
            let abi = Abi { byte_order, long_size };
            let (mut wanted, lost, bytes) = export(vec![made(abi, 1), made(abi, 2)]);
            let (mut found, mut bundles, mut marks) = (Streams::new(), 0, 0);
            for packet in Message::parse(&bytes).all(1).map(Message::parse) {
                let machine = packet.number(98).unwrap_or(0);
                marks += usize::from(packet.message(11).is_some());
                let Some(bundle) = packet.message(1) else { continue };
                bundles += usize::from(bundle.number(3) == Some(1));
                let stream = found.entry((machine, bundle.number(1).unwrap())).or_default();
                stream.extend(bundle.all(2).map(Message::parse).map(|event| seen(&event)));
            }
            for stream in wanted.values_mut().flatten() {
                if matches!(stream.name.as_str(), "bprint" | "bputs") {
                    stream.name = "print".to_owned();
                }
            }
            assert_eq!(wanted, found, "{abi:?}");
            assert!(lost > 5);
            assert_eq!((bundles, marks), (lost, lost), "each loss is marked");
        }
    }
}

#[test]
fn machines_have_names_clocks_and_tasks() {
    let abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
    let (streams, _, bytes) = export(vec![made(abi, 1), made(abi, 2)]);
    let packets: Vec<Message<'_>> = Message::parse(&bytes).all(1).map(Message::parse).collect();
    for (machine, name) in [(0, "host"), (1, "guest")] {
        let own = || packets.iter().filter(|p| p.number(98).unwrap_or(0) == machine);
        let first = own().next().unwrap();
        assert_eq!(first.number(13), Some(1), "no state is taken over");
        assert_eq!(first.message(45).unwrap().text(17), Some(name));
        assert!(own().all(|packet| packet.number(10) == Some(machine + 1)));
        let times = || streams.iter().filter(|(key, _)| key.0 == machine).flat_map(|(_, s)| s);
        let clocks: Vec<u64> =
            own().filter_map(|packet| packet.message(6)?.message(1)?.number(2)).collect();
        let range =
            (times().map(|s| s.time).min().unwrap(), times().map(|s| s.time).max().unwrap());
        assert_eq!(clocks, [range.0, range.1], "the clock is told at both ends");
        let syncs = own().filter(|packet| packet.message(107).is_some()).count();
        assert_eq!(syncs, if machine == 0 { 0 } else { 2 });
        let tasks: Vec<&str> = own().filter_map(|packet| packet.message(120)?.text(2)).collect();
        assert!(tasks.len() > 2, "{tasks:?}");
    }
}
