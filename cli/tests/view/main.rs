//! `view`: what the page has, read back from it, and what a browser makes of it.

mod browser;
#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use browser::Browser;
use common::{Case, check, complaint, second_quarter, stderr, success, trace_cmd};
use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;
use trace_virt::lab::requirements;
use tracedat::ByteOrder;
use tracedat::clock::{ClockSample, ErrorSample, TimeError, TimeShift};
use tracedat::compress::{Codec, CompressError};
use tracedat::testing::{Story, TraceBuilder, Workload};
use tracedat::write::option;

const CASES: &[Case] = &[
    Case { name: "the_page_has_every_event", needs: || Ok(()), test: every_event },
    Case { name: "the_selection_is_that_of_report", needs: || Ok(()), test: selected },
    Case { name: "what_is_left_out_is_told", needs: || Ok(()), test: left_out },
    Case { name: "guests_have_their_virtual_cpus_and_clock", needs: || Ok(()), test: guests },
    Case { name: "names_are_no_html", needs: || Ok(()), test: hostile },
    Case { name: "what_cannot_be_shown_is_explained", needs: || Ok(()), test: refused },
    Case { name: "a_browser_shows_what_is_asked_for", needs: with_chromium, test: shown },
    Case { name: "a_million_events_are_smooth", needs: with_chromium, test: million },
];

/// What a task may call itself: 15 bytes.
const HOSTILE: &[u8; 16] = b"</script><b id=\0";
const HOSTILE_FILE: &str = "<!--<script>&quot;.dat";

fn main() -> ExitCode {
    common::run(CASES)
}

fn with_chromium() -> Result<(), trace_virt::lab::Missing> {
    requirements::chromium().map(drop)
}

/// Tasks 7 and 8 on CPU 0, which loses records, and an interrupt.
fn story() -> Vec<u8> {
    let mut story = Story::default().switch(8, 1, 7).irq_enter(7, 1).irq_exit(7, 1);
    for n in 0..1000 {
        story = story.switch(7, 0, 8).begin(8, n, 41).wake(8, 7).switch(8, 1, 7);
    }
    story.lose().end(7, 1, 2).build()
}
const STORY_EVENTS: u64 = 4004;

fn page_of(dir: &Path, trace: &[u8], name: &str, words: &[&str]) -> Result<PathBuf, Failed> {
    fs::write(dir.join(name), trace)?;
    success(trace_cmd().current_dir(dir).args(["view", name, "-o", "page.html"]).args(words))?;
    Ok(dir.join("page.html"))
}

/// What stands between the tags of the element with an id.
fn element<'a>(page: &'a str, id: &str) -> Result<&'a str, Failed> {
    let tag = format!("id=\"{id}\">\n");
    let (_, rest) = page.split_once(&tag).ok_or_else(|| format!("no {id}"))?;
    let (text, _) = rest.split_once("</script>").ok_or("no end")?;
    Ok(text.trim())
}

fn decoded(base64: &str) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in base64.bytes().filter(|&byte| byte != b'=') {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(format!("{byte} in base64").into()),
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(bytes)
}

fn inflated(base64: &str) -> Result<Vec<u8>, Failed> {
    let bytes = decoded(base64)?;
    let mut out = Vec::new();
    // The page does not say how much there is, a wrong guess does.
    let mut inflate = |size| Codec::Zlib.decompress_into(&bytes, size, &mut out);
    match inflate(bytes.len() * 1000) {
        Err(CompressError::WrongSize { found, .. }) => inflate(found)?,
        other => other?,
    }
    Ok(out)
}

fn varints(base64: &str) -> Result<Vec<u64>, Failed> {
    let (mut numbers, mut number, mut shift) = (Vec::new(), 0, 0);
    for byte in inflated(base64)? {
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            numbers.push(number);
            (number, shift) = (0, 0);
        }
    }
    Ok(numbers)
}

fn workload() -> Vec<u8> {
    TraceBuilder::new(Workload { events_per_cpu: 1500, ..Workload::new(3) }).build()
}

fn every_event() -> Result<(), Failed> {
    let events = same_as_report(&[])?;
    check(events > 1500, || format!("{events} events"))
}

fn selected() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    fs::write(dir.path().join("trace.dat"), workload())?;
    let report = trace_cmd().current_dir(dir.path()).args(["report", "--json"]).output()?;
    let window = second_quarter(&String::from_utf8(report.stdout)?);
    let window = window.each_ref().map(String::as_str);
    let all = same_as_report(&[])?;
    let on_a_cpu = same_as_report(&["--cpu", "1"])?;
    let in_a_window = same_as_report(&window)?;
    let switches = same_as_report(&["-F", "^sched_switch$"])?;
    let of_all = [&window[..], &["--cpu", "1", "-F", "^sched_switch$"]].concat();
    let of_all = same_as_report(&of_all)?;
    let fewer = [on_a_cpu, in_a_window, switches];
    check(fewer.iter().all(|&events| of_all < events && events < all) && of_all > 0, || {
        format!("{all}, {fewer:?}, {of_all}")
    })
}

/// The page of what is selected has the events that a report has; returns how many.
fn same_as_report(selection: &[&str]) -> Result<usize, Failed> {
    let dir = TempDir::new()?;
    let page = fs::read_to_string(page_of(dir.path(), &workload(), "trace.dat", selection)?)?;
    let report = ["report", "--json", "-i", "trace.dat"];
    let report = success(trace_cmd().current_dir(dir.path()).args(report).args(selection))?;
    let lines: Vec<Value> = report.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let lines: Vec<&Value> = lines.iter().filter(|line| line.get("ts").is_some()).collect();

    let about: Value = serde_json::from_str(element(&page, "about")?)?;
    check(about["events"] == lines.len(), || format!("{} of {}", about["events"], lines.len()))?;
    let machine = &about["machines"][0];
    let columns = ["times", "cpus", "names", "tasks"];
    let columns: Vec<Vec<u64>> =
        columns.iter().map(|id| varints(element(&page, id)?)).collect::<Result<_, _>>()?;
    let details: Vec<Vec<u8>> =
        element(&page, "texts")?.lines().map(inflated).collect::<Result<_, _>>()?;
    let details = String::from_utf8(details.concat())?;
    let mut details = details.lines();
    let mut time: u64 = about["start"].as_str().unwrap_or_default().parse()?;
    for (at, line) in lines.iter().enumerate() {
        let number = |column: usize| columns[column][at];
        let item = |list: &str, column: usize| &machine[list][number(column) as usize];
        time += number(0);
        check(line["ts"] == time, || format!("{time} instead of {line}"))?;
        check(line["cpu"] == item("cpus", 1)["cpu"], || format!("CPU of {line}"))?;
        check(line["event"] == item("names", 2)[1], || format!("event of {line}"))?;
        let pid = item("tasks", 3)["pid"].as_str().unwrap_or_default();
        let pid: i64 = pid.parse()?;
        check(line["pid"] == pid, || format!("{pid} instead of {line}"))?;
        let detail: Value = serde_json::from_str(details.next().unwrap_or_default())?;
        check(detail["fields"] == line["fields"] && detail["text"].is_string(), || {
            format!("{detail} instead of {line}")
        })?;
    }
    check(details.next().is_none(), || "more details than events".to_owned())?;
    Ok(lines.len())
}

fn left_out() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    fs::write(dir.path().join("trace.dat"), story())?;
    let mut command = trace_cmd();
    let output = command.current_dir(dir.path()).args(["view", "--max-events", "700"]).output()?;
    let told = stderr(&output);
    check(told.contains("the first 700 events; 3304 are left out"), || told.clone())?;
    let page = fs::read_to_string(dir.path().join("trace.html"))?;
    let lines = |block: &str| inflated(block).map(|text| text.split(|&b| b == b'\n').count() - 1);
    let blocks: Vec<usize> =
        element(&page, "texts")?.lines().map(lines).collect::<Result<_, _>>()?;
    check(blocks == [512, 188], || format!("{blocks:?}"))?;
    check(varints(element(&page, "times")?)?.len() == 700, || "not 700 times".to_owned())?;
    let bare = page_of(dir.path(), &story(), "trace.dat", &["--no-details"])?;
    let bare = fs::read_to_string(bare)?;
    check(element(&bare, "texts")?.is_empty(), || "details without being asked for".to_owned())
}

/// A host that runs a guest's CPU on thread 7, and the guest, 100 us behind it, within 3 us.
fn host_and_guest() -> (Vec<u8>, Vec<u8>) {
    const ORDER: ByteOrder = ByteOrder::Little;
    let mut host = Story::default().guest("g1", &[7]).switch(8, 1, 7);
    for _ in 0..20 {
        host = host.kvm_entry(7, 0).wait(20_000).kvm_exit(7, 0, 30).wait(3000).kvm_entry(7, 0);
        host = host.wait(9000).kvm_exit(7, 0, 12).switch(7, 1, 8).wait(9000).wake(8, 7);
        host = host.wait(4000).switch(8, 1, 7);
    }
    let sample = |time| ClockSample { time, offset: 100_000, scaling: 1, fraction_bits: 0 };
    let bound = |time, error| ErrorSample { time, error, between: 0 };
    let shift =
        TimeShift { peer: 0, interpolate: true, cpus: vec![vec![sample(0), sample(800_000)]] };
    let error = TimeError { cpus: vec![vec![bound(0, 3000), bound(800_000, 1000)]] };
    let mut guest = Story::default()
        .option(option::trace_id(1, ORDER))
        .option(option::time_shift(&shift, ORDER))
        .option(option::time_error(&error, ORDER));
    for n in 0..40 {
        guest = guest.switch(0, 0, 3).begin(3, n, 0).wait(8000).switch(3, 1, 0).wait(9000);
    }
    (host.build(), guest.build())
}

fn guests() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let (host, guest) = host_and_guest();
    fs::write(dir.path().join("guest.dat"), guest)?;
    let page = page_of(dir.path(), &host, "host.dat", &["guest.dat"])?;
    let page = fs::read_to_string(page)?;
    let about: Value = serde_json::from_str(element(&page, "about")?)?;
    let names: Vec<&Value> = [0, 1].map(|at| &about["machines"][at]["name"]).to_vec();
    check(names == ["host", "g1"], || format!("{names:?}"))?;
    let vcpu = &about["vcpus"][0];
    let thread = &about["machines"][0]["tasks"][vcpu["thread"][0].as_u64().unwrap_or(99) as usize];
    check(vcpu["machine"][0] == 1 && thread["pid"] == "7", || vcpu.to_string())?;
    check(vcpu["states"].as_u64() > Some(100), || vcpu.to_string())?;
    let bounds = &about["machines"][1]["bounds"];
    let bounds = bounds.as_array().into_iter().flatten().filter_map(|bound| bound[1].as_u64());
    let bounds: Vec<u64> = bounds.collect();
    check(bounds.len() > 200 && bounds.iter().all(|&bound| bound <= 4000), || {
        format!("{bounds:?}")
    })?;
    // The guest's first event is at its 1 us, the host's first at its own.
    let first = varints(element(&page, "machines")?)?.iter().position(|&machine| machine == 1);
    let times = varints(element(&page, "times")?)?;
    let time: u64 = times.iter().take(first.map_or(0, |at| at + 1)).sum();
    check(time == 100_000, || format!("the guest begins at {time} ns"))
}

/// A trace in which a task is called [`HOSTILE`].
fn hostile_trace() -> Vec<u8> {
    let mut trace = story();
    let name = *b"task7\0\0\0\0\0\0\0\0\0\0\0";
    for at in 0..trace.len() - name.len() {
        if trace[at..].starts_with(&name) {
            trace[at..at + name.len()].copy_from_slice(HOSTILE);
        }
    }
    trace
}

fn hostile() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let page = page_of(dir.path(), &hostile_trace(), HOSTILE_FILE, &[])?;
    let page = fs::read_to_string(page)?;
    let plain = page_of(dir.path(), &story(), "trace.dat", &[])?;
    let plain = fs::read_to_string(plain)?;
    // Whatever the names are, the page has the same tags.
    let tags = |page: &str| page.matches('<').count();
    check(tags(&page) == tags(&plain), || format!("{} and {}", tags(&page), tags(&plain)))?;
    let about: Value = serde_json::from_str(element(&page, "about")?)?;
    let machine = &about["machines"][0];
    check(machine["file"] == HOSTILE_FILE, || machine["file"].to_string())?;
    let tasks = machine["tasks"].as_array().into_iter().flatten();
    let is_hostile = |task: &&Value| task["comm"] == "</script><b id=";
    check(tasks.filter(is_hostile).count() == 1, || machine["tasks"].to_string())?;
    check(page.contains("default-src 'none'"), || "no policy".to_owned())
}

fn refused() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    fs::write(dir.path().join("trace.dat"), story())?;
    fs::write(dir.path().join("bad.dat"), "no trace")?;
    for (words, expected) in [
        (&["trace.dat", "-o", "./trace.dat"][..], "trace.dat is input and output"),
        (&["-"], "a page cannot be made of standard input"),
        (&["missing.dat"], "cannot open missing.dat"),
        (&["bad.dat"], "cannot read bad.dat"),
        (&["trace.dat", "-o", "none/page.html"], "cannot write none/page.html"),
        (&["--max-events", "0"], "0"),
        (&["-F", "sched_swich"], "did you mean sched_switch"),
        (&["--cpu", "3-1"], "write 0,3 or 2-4"),
        (&["--from", "+9999"], "there are no events to show"),
    ] {
        let told = complaint(trace_cmd().current_dir(dir.path()).arg("view").args(words))?;
        check(told.contains(expected), || told.clone())?;
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(dir.path())? {
        names.push(entry?.file_name());
    }
    check(names.len() == 2, || format!("{names:?} are left"))
}

fn shown() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let page = page_of(dir.path(), &hostile_trace(), HOSTILE_FILE, &[])?;
    let mut browser = Browser::open(&page)?;
    let title = browser.evaluate("document.title")?;
    check(title == format!("{HOSTILE_FILE} · trace-cmd view"), || title.to_string())?;
    check(browser.evaluate("T.length")? == STORY_EVENTS, || "not all events".to_owned())?;

    // A search goes from event to event and shows each.
    browser.press("/")?;
    for key in ["b", "=", "4", "1", "Enter"] {
        browser.press(key)?;
    }
    let searched = "(async () => { while (found.part < 1 || found.query !== 'b=41' || selected < 0) \
        await new Promise(done => setTimeout(done, 20)); return found.list.length; })()";
    let count = browser.evaluate(searched)?;
    check(count == 1000, || format!("{count} found"))?;
    let first = browser.evaluate("names[nameOf[selected]].full + ' ' + selected")?;
    check(first == "story:begin 4", || first.to_string())?;

    // Keys and wheel zoom, keys and mouse move.
    let length = |browser: &mut Browser| browser.evaluate("view.to - view.from");
    browser.press("Escape")?;
    browser.press("Home")?;
    let all = length(&mut browser)?.as_f64().unwrap_or(0.0);
    browser.press("w")?;
    browser.wheel((700.0, 100.0), -200.0)?;
    let zoomed = length(&mut browser)?.as_f64().unwrap_or(0.0);
    check(zoomed > 0.0 && zoomed < all * 0.6, || format!("{all} became {zoomed}"))?;
    let from = browser.evaluate("view.from")?.as_f64().unwrap_or(0.0);
    browser.drag((900.0, 300.0), (700.0, 300.0))?;
    browser.press("d")?;
    let moved = browser.evaluate("view.from")?.as_f64().unwrap_or(0.0);
    check((moved - from) / zoomed > 0.2, || format!("{from} became {moved}"))?;

    // A click on an event shows its fields, one on the tasks opens them.
    let place = "(() => { select(2000, true); const row = rows.find(row => row.kind === 'cpu'); \
        const box = canvas.getBoundingClientRect(); view.from = T[2000] - 5000; view.to = T[2000] + 5000; draw(); \
        return [x(T[2000]) + box.left, row.y - view.top + RULER + 31 + box.top]; })()";
    let place = browser.evaluate(place)?;
    let at = (place[0].as_f64().unwrap_or(0.0), place[1].as_f64().unwrap_or(0.0));
    browser.press("Escape")?;
    browser.evaluate("view.from = T[2000] - 5000; view.to = T[2000] + 5000; draw()")?;
    browser.drag(at, at)?;
    let detail = "(async () => { while (!$('detail').textContent.includes('a499')) \
        await new Promise(done => setTimeout(done, 20)); return $('detail').textContent; })()";
    let detail = browser.evaluate(detail)?;
    let detail = detail.as_str().unwrap_or_default();
    check(detail.starts_with("story:begin") && detail.contains("a499"), || detail.to_owned())?;
    let open = "(() => { const row = rows.find(row => row.kind === 'tasks'), box = canvas.getBoundingClientRect(); \
        view.top = 0; return row.y + RULER + 10 + box.top; })()";
    let y = browser.evaluate(open)?.as_f64().unwrap_or(0.0);
    browser.drag((50.0, y), (50.0, y))?;
    let tasks =
        browser.evaluate("rows.filter(row => row.kind === 'task').map(row => row.task.comm)")?;
    check(tasks.as_array().is_some_and(|tasks| tasks.len() == 2), || tasks.to_string())?;

    // Nothing that the trace says became part of the page, and nothing is fetched.
    let strange = browser.evaluate("document.querySelectorAll('b').length")?;
    check(strange == 0, || format!("{strange} strange elements"))?;
    let fetched =
        browser.evaluate("fetch('http://127.0.0.1:1/').then(() => 'got', e => 'refused')")?;
    check(fetched == "refused", || fetched.to_string())?;
    // That of the fetch may be told late.
    let blocked = "new Promise(done => { addEventListener('securitypolicyviolation', \
            e => { if (e.effectiveDirective === 'img-src') done('refused'); }); \
        new Image().src = 'http://127.0.0.1:1/'; })";
    let blocked = browser.evaluate(blocked)?;
    check(blocked == "refused", || blocked.to_string())
}

fn million() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let workload =
        Workload { cpus: 4, events_per_cpu: 250_000, missed_every: 100, ..Workload::new(11) };
    let trace = TraceBuilder::new(workload).build();
    let page = page_of(dir.path(), &trace, "trace.dat", &["--no-details"])?;
    let mut browser = Browser::open(&page)?;
    // At every zoom, with as many lanes as there is room for: how much is drawn, and the time of the best of three frames.
    let frames = "(() => { opened.set('t0', true); layOut(); const frames = []; \
        for (let length = total; length > 100; length /= 4) for (const place of [0, .5]) { \
          view.from = place * (total - length); view.to = view.from + length; let best = Infinity; \
          for (let i = 0; i < 3; i++) { const before = performance.now(); draw(); context.getImageData(0, 0, 1, 1); \
            best = Math.min(best, performance.now() - before); } \
          frames.push([best, drawn]); } \
        return { events: T.length, lanes: tall / 26, width, frames }; })()";
    let told = browser.evaluate(frames)?;
    check(told["events"] == 1_000_000, || told.to_string())?;
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let room = number(&told["lanes"]) * number(&told["width"]);
    let frames = told["frames"].as_array().cloned().unwrap_or_default();
    check(frames.len() > 10, || told.to_string())?;
    for frame in &frames {
        check(number(&frame[1]) < room * 4.0, || format!("much is drawn: {told}"))?;
    }
    let slowest = frames.iter().map(|frame| number(&frame[0])).fold(0.0, f64::max);
    println!("a million events, the slowest of {} frames: {slowest:.1} ms", frames.len());
    Ok(())
}
