//! Runs every seed, and damaged forms of it, through its entry point on a stable toolchain.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use trace_fuzz::{
    agent, clocks, control_texts, event_format, filter, kernel_texts, libvirt, messages, qmp,
    session, sql, sub_buffer, trace_file, tracing_dir, virt_client, virt_host, virt_server,
};

/// Damaged forms are tried for so long for each seed.
const TIME_PER_SEED: Duration = Duration::from_millis(300);

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn every_seed_of_trace_file_holds() {
    let seeds = seeds("trace_file");
    assert!(seeds.len() >= 10, "{} seeds", seeds.len());
    for (name, seed) in seeds {
        eprintln!("{name}");
        trace_file(&seed);
    }
}

#[test]
fn whole_seeds_are_read_to_their_end() {
    for (name, seed) in seeds("trace_file") {
        if !name.starts_with("whole-") {
            continue;
        }
        let tracedat::Reader { mut records, .. } = tracedat::Reader::parse(seed).unwrap();
        let mut count = 0;
        while records.next().unwrap().is_some() {
            count += 1;
        }
        assert!(count >= 40, "{name}: {count} records");
    }
}

#[test]
fn truncated_seeds_hold() {
    for (name, seed) in seeds("trace_file") {
        eprintln!("{name}");
        let (start, step) = (Instant::now(), (seed.len() / 97).max(1));
        for len in (0..seed.len()).step_by(step) {
            trace_file(&seed[..len]);
            if start.elapsed() > TIME_PER_SEED {
                break;
            }
        }
    }
}

#[test]
fn every_seed_of_filter_holds_whole_cut_and_damaged() {
    let seeds = seeds("filter");
    assert!(seeds.len() >= 8, "{} seeds", seeds.len());
    let signs = b"()!-+&|=<>~\"'\\[]:,0a ";
    for (name, seed) in &seeds {
        eprintln!("{name}");
        filter(seed);
        for at in 0..seed.len() {
            filter(&seed[..at]);
            for &sign in signs {
                let mut damaged = seed.clone();
                damaged[at] = sign;
                filter(&damaged);
            }
        }
    }
}

#[test]
fn seeds_with_flipped_bits_hold() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for (name, seed) in seeds("trace_file") {
        eprintln!("{name}");
        let (start, mut round) = (Instant::now(), 0);
        while start.elapsed() < TIME_PER_SEED && round < 400 {
            let mut damaged = seed.clone();
            for _ in 0..=round % 4 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Half of the damage goes to the start, where sizes and offsets are.
                let end = if random & 1 == 0 { damaged.len() } else { damaged.len().min(256) };
                if let Some(byte) = damaged.get_mut((random >> 8) as usize % end.max(1)) {
                    *byte ^= 1 << (random >> 3 & 7);
                }
            }
            trace_file(&damaged);
            round += 1;
        }
    }
}

#[test]
fn sessions_that_are_whole_come_to_their_end() {
    let is_whole = |name: &str| name.starts_with("whole-");
    let [listeners, recorders, streams] = ["listener", "recorder", "datagrams"].map(seeds);
    assert!(listeners.len() >= 10 && recorders.len() >= 8 && streams.len() >= 5);
    for (name, seed) in listeners {
        let heard = session::listener(&seed);
        assert_eq!(heard.is_closed && heard.error.is_none(), is_whole(&name), "{name}: {heard:?}");
    }
    for (name, seed) in recorders {
        let told = session::recorder(&seed);
        assert_eq!(told.is_done && told.error.is_none(), is_whole(&name), "{name}: {told:?}");
    }
    for (name, seed) in seeds("agent") {
        let understood = agent::agent(&seed);
        let is_well = understood.is_closed && understood.error.is_none();
        assert_eq!(is_well, is_whole(&name), "{name}: {understood:?}");
    }
    for (name, seed) in streams {
        let received = session::datagrams(&seed);
        let is_complete = received.lost_bytes == 0 && received.bytes == 210;
        assert_eq!(is_complete, is_whole(&name) || name == "bad-more-than-produced", "{name}");
    }
}

#[test]
fn sessions_that_are_cut_or_damaged_hold() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 4] = [
        ("agent", |data| drop(agent::agent(data))),
        ("listener", |data| drop(session::listener(data))),
        ("recorder", |data| drop(session::recorder(data))),
        ("datagrams", |data| {
            session::datagrams(data);
        }),
    ];
    for (target, run) in targets {
        for (name, seed) in seeds(target) {
            eprintln!("{target} {name}");
            // Of long ones the beginning, and a place here and there.
            let step = |at: usize| if at < 300 { 1 } else { 997 };
            for at in std::iter::successors(Some(0), |at| Some(at + step(*at))) {
                if at >= seed.len() {
                    break;
                }
                run(&seed[..at]);
                for value in [0, 1, b'-', 0x80, 0xff] {
                    let mut damaged = seed.clone();
                    damaged[at] = value;
                    run(&damaged);
                }
            }
        }
    }
}

/// Damaged forms of each seed of a target that starts threads or processes.
const FEW: usize = 12;

#[test]
fn seeds_of_texts_and_clocks_hold_whole_cut_and_damaged() {
    hold("clocks", clocks::run, usize::MAX);
    hold("control_texts", control_texts::run, usize::MAX);
    hold("event_format", event_format::run, usize::MAX);
    hold("kernel_texts", kernel_texts::run, usize::MAX);
    hold("messages", messages::run, usize::MAX);
    hold("sql", sql::run, usize::MAX);
    hold("sub_buffer", sub_buffer::run, usize::MAX);
    hold("tracing_dir", tracing_dir::run, 200);
}

#[test]
fn seeds_of_guests_hold_whole_cut_and_damaged() {
    hold("libvirt", libvirt::run, FEW);
    hold("qmp", qmp::run, FEW);
    hold("virt_client", virt_client::run, FEW);
    hold("virt_host", virt_host::run, FEW);
    hold("virt_server", virt_server::run, FEW);
}

/// Runs every seed, beginnings of it, and copies with a byte changed, up to `most` and for a limited time.
fn hold(target: &str, run: fn(&[u8]), most: usize) {
    let seeds = seeds(target);
    assert!(seeds.len() >= 4, "{target}: {} seeds", seeds.len());
    for (name, seed) in seeds {
        eprintln!("{target} {name}");
        run(&seed);
        let start = Instant::now();
        let step = (seed.len() / most.max(1)).max(1);
        for at in (0..seed.len()).step_by(step) {
            run(&seed[..at]);
            for value in [0, b'(', 0x80, 0xff] {
                let mut damaged = seed.clone();
                damaged[at] = value;
                run(&damaged);
            }
            if start.elapsed() > TIME_PER_SEED {
                break;
            }
        }
    }
}
