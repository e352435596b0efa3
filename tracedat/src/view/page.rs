//! The page itself: what does not depend on the trace is text beside this file.

use std::io::Write;

use super::details::{BLOCK, Details};
use super::json::Writer;
use super::machine::{Cpu, Machine, Task};
use super::track::Track;
use super::{View, ViewError, base64};
use crate::compress::Codec;
use crate::read::Merge;
use crate::report::{Json, Report, ReportInput};
use crate::vcpu::VcpuUse;

const PAGE: &str = include_str!("view.html");
const STYLE: &str = include_str!("view.css");
const SCRIPT: &str = include_str!("view.js");

impl View<'_> {
    /// Writes the page. Where `records` brings the same records once more, it has the details of every event.
    ///
    /// # Errors
    ///
    /// A file cannot be read on, the page cannot be written, or this crate was built without `zlib`.
    pub fn write(
        &self,
        report: &Report,
        inputs: &[ReportInput<'_>],
        mut records: Option<&mut Merge>,
        out: &mut (dyn Write + Send),
    ) -> Result<(), ViewError> {
        let mut tracks = Vec::new();
        let about = self.about(records.is_some(), &mut tracks);
        for line in PAGE.split_inclusive('\n') {
            match line.trim() {
                "<!-- style -->" => out.write_all(STYLE.as_bytes())?,
                "<!-- script -->" => out.write_all(SCRIPT.as_bytes())?,
                "<!-- about -->" => out.write_all(&about)?,
                "<!-- times -->" => write_section(&self.columns.times, out)?,
                "<!-- machines -->" => write_section(&self.columns.machines, out)?,
                "<!-- cpus -->" => write_section(&self.columns.cpus, out)?,
                "<!-- names -->" => write_section(&self.columns.names, out)?,
                "<!-- tasks -->" => write_section(&self.columns.tasks, out)?,
                "<!-- tracks -->" => write_section(&tracks, out)?,
                "<!-- details -->" => {
                    if let Some(records) = records.take() {
                        self.write_details(report, inputs, records, out)?;
                    }
                }
                _ => out.write_all(line.as_bytes())?,
            }
        }
        Ok(out.flush()?)
    }

    fn write_details(
        &self,
        report: &Report,
        inputs: &[ReportInput<'_>],
        records: &mut Merge,
        out: &mut (dyn Write + Send),
    ) -> Result<(), ViewError> {
        let mut report = report.clone();
        report.options_mut().json = Some(Json { text: true });
        let mut details = Details::new(out, Codec::Zlib.compressor()?, self.events);
        let printed = report.print(inputs, records, &mut details);
        let is_full = details.is_full();
        details.finish()?;
        match printed {
            Err(cause) if !is_full => Err(cause.into()),
            _ => Ok(()),
        }
    }

    /// What the page is told in JSON; what changes over time it finds among the tracks.
    fn about(&self, has_details: bool, tracks: &mut Vec<u8>) -> Vec<u8> {
        let mut json = Writer::default();
        json.object(|json| {
            // Too large for the numbers of a page.
            json.key("start").text(self.start.to_string().as_bytes());
            json.key("last").number(self.last);
            json.key("events").number(self.events);
            json.key("left_out").number(self.left_out);
            json.key("block").number(if has_details { BLOCK } else { 0 });
            json.key("seconds").number(self.seconds.into());
            json.key("host").number(self.host as u64);
            json.key("machines").array(self.machines.iter().enumerate(), |json, (at, machine)| {
                self.write_machine(json, at, machine, tracks);
            });
            json.key("vcpus").array(&self.vcpus, |json, vcpu| self.write_vcpu(json, vcpu, tracks));
        });
        json.into_bytes()
    }

    fn write_machine(
        &self,
        json: &mut Writer,
        at: usize,
        machine: &Machine<'_>,
        tracks: &mut Vec<u8>,
    ) {
        let pair = |json: &mut Writer, (time, bound): &(u64, u64)| {
            json.array([*time, *bound], Writer::number);
        };
        json.object(|json| {
            json.key("file").text(self.names.get(at).map_or("", String::as_str).as_bytes());
            json.key("name").text(self.machine_name(at).as_bytes());
            json.key("names").array(&machine.names, |json, (system, name)| {
                json.array([system.as_bytes(), name.as_bytes()], Writer::text);
            });
            let switches = machine.has_switches;
            json.key("cpus").array(&machine.cpus, |json, cpu| {
                write_cpu(json, cpu, switches, tracks);
            });
            json.key("tasks").array(&machine.tasks, |json, task| {
                write_task(json, machine, task, switches, tracks);
            });
            json.key("bounds").array(self.bounds.get(at).into_iter().flatten(), pair);
        });
    }

    /// A guest has the name that its host gave it.
    fn machine_name(&self, at: usize) -> &str {
        let host = self.machines.get(self.host).map_or(&[][..], |host| host.metadata.guests());
        let id = self.machines.get(at).and_then(|machine| machine.metadata.trace_id());
        let guest = host.iter().find(|guest| at != self.host && Some(guest.trace_id) == id);
        match guest {
            Some(guest) => &guest.name,
            None if at == self.host && self.machines.len() > 1 => "host",
            None => self.names.get(at).map_or("", String::as_str),
        }
    }

    fn write_vcpu(&self, json: &mut Writer, vcpu: &VcpuUse, tracks: &mut Vec<u8>) {
        let host = self.machines.get(self.host);
        let named = |at: &usize| *at != self.host && self.machine_name(*at) == vcpu.guest;
        let machine = (0..self.machines.len()).find(named);
        let thread = host.and_then(|host| host.tasks.iter().position(|t| t.pid == vcpu.thread));
        let mut states = Track::default();
        for span in &vcpu.spans {
            states.set(span.start.saturating_sub(self.start), span.state as u64);
        }
        let optional = |place: Option<usize>| place.map(|place| place as u64);
        json.object(|json| {
            json.key("guest").text(vcpu.guest.as_bytes());
            json.key("cpu").number(vcpu.cpu.into());
            json.key("machine").array(optional(machine), Writer::number);
            json.key("thread").array(optional(thread), Writer::number);
            json.key("states").number(write_track(&states, tracks));
        });
    }
}

fn write_cpu(json: &mut Writer, cpu: &Cpu, has_switches: bool, tracks: &mut Vec<u8>) {
    json.object(|json| {
        json.key("cpu").number(cpu.number.into());
        let running = if has_switches { &cpu.running } else { &Track::default() };
        json.key("running").number(write_track(running, tracks));
        json.key("interrupts").number(write_track(&cpu.interrupts, tracks));
        json.key("lost").number(write_track(&cpu.lost, tracks));
    });
}

fn write_task(
    json: &mut Writer,
    machine: &Machine<'_>,
    task: &Task,
    has_switches: bool,
    tracks: &mut Vec<u8>,
) {
    let comm = task.comm.as_deref().or_else(|| machine.metadata.tasks().comm(task.pid));
    let comm = comm.unwrap_or(if task.pid == 0 { b"<idle>" } else { b"<...>" });
    json.object(|json| {
        json.key("pid").text(task.pid.to_string().as_bytes());
        json.key("comm").text(comm);
        let states = if has_switches { &task.states } else { &Track::default() };
        json.key("states").number(write_track(states, tracks));
    });
}

/// Appends a track and gives the length that it takes there.
fn write_track(track: &Track, tracks: &mut Vec<u8>) -> u64 {
    tracks.extend_from_slice(&track.bytes);
    track.bytes.len() as u64
}

fn write_section(bytes: &[u8], out: &mut (dyn Write + Send)) -> Result<(), ViewError> {
    let (mut compressed, mut text) = (Vec::new(), Vec::new());
    Codec::Zlib.compress_into(bytes, &mut compressed)?;
    base64::encode(&compressed, &mut text);
    text.push(b'\n');
    Ok(out.write_all(&text)?)
}
