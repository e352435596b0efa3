//! What the client in a guest does when its host says "record".

use std::io::{Cursor, Read};
use std::os::fd::OwnedFd;

use trace_virt::client::{GuestRecorder, GuestRecording, RecordingEnd};
use tracefs::{Sink, TracingDir};

use super::args::Args;
use super::file::{Extra, Format, head_bytes};
use super::local::{LocalRecording, Recorded, Settings, SinkRequest};
use super::plan;
use crate::error::Error;
use crate::output::tell;

/// Records this machine for its host.
#[derive(Debug)]
pub(crate) struct Recorder;

struct Recording {
    local: LocalRecording,
    format: Format,
    trace_id: u64,
    sub_buffer_size: u32,
}

impl GuestRecorder for Recorder {
    fn start(
        &mut self,
        args: &[String],
        data: Vec<OwnedFd>,
    ) -> Result<Box<dyn GuestRecording>, String> {
        start(args, data).map_err(|error| error.to_string())
    }
}

fn start(args: &[String], data: Vec<OwnedFd>) -> Result<Box<dyn GuestRecording>, Error> {
    let args = Args::parse(args).map_err(Error::usage)?;
    let plan = plan::of_guest(&args)?;
    let format = Format::new(&args)?;
    let ports = data.len();
    let mut data: Vec<Option<OwnedFd>> = data.into_iter().map(Some).collect();
    let mut port = |cpu: u32| {
        let port = usize::try_from(cpu).ok().and_then(|cpu| data.get_mut(cpu)?.take());
        port.map(Sink::from).ok_or_else(|| {
            Error::failure(format!("CPU {cpu} has no data port, there are {ports}"))
                .hint("set the guest up with as many CPUs as it has")
        })
    };
    let mut sinks = |_: &TracingDir, requests: &[SinkRequest]| {
        let of_one = |request: &SinkRequest| request.cpus.iter().map(|&cpu| port(cpu)).collect();
        requests.iter().map(of_one).collect()
    };
    let local = LocalRecording::start(&plan, &Settings::from(&args), &mut sinks)?;
    let sub_buffer_size = local.sub_buffer_size()?;
    Ok(Box::new(Recording { local, format, trace_id: super::new_trace_id(), sub_buffer_size }))
}

fn extra(trace_id: u64) -> Extra {
    Extra { trace_id, ..Extra::default() }
}

impl GuestRecording for Recording {
    fn trace_id(&self) -> u64 {
        self.trace_id
    }

    fn sub_buffer_size(&self) -> u32 {
        self.sub_buffer_size
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        let machine = self.local.machine().map_err(|error| error.to_string())?;
        let head = head_bytes(&machine, &[], &extra(self.trace_id), self.format);
        Ok(Box::new(Cursor::new(head.map_err(|error| error.to_string())?)))
    }

    /// The tail is the head again, with the names of all tasks that ran and the kernel's counters.
    fn stop(self: Box<Self>) -> Result<RecordingEnd, String> {
        let Self { local, format, trace_id, .. } = *self;
        let finish = || -> Result<RecordingEnd, Error> {
            let Recorded { machine, buffers, restoring } = local.stop()?;
            if let Some(error) = restoring.finish() {
                tell(&format!("{error}"));
            }
            let tail = head_bytes(&machine, &buffers, &extra(trace_id), format)?;
            let cpus = buffers.iter().flat_map(|buffer| &buffer.ledger.cpus);
            Ok(RecordingEnd { bytes: cpus.map(|cpu| cpu.bytes).collect(), tail })
        };
        finish().map_err(|error| error.to_string())
    }

    fn abort(self: Box<Self>) {
        self.local.abort();
    }
}
