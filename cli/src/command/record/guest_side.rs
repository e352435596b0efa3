//! What the client in a guest does when its host says "record".

use std::io::{Cursor, Read};
use std::os::fd::OwnedFd;

use trace_virt::client::{Backlog, GuestRecorder, GuestRecording, RecordingEnd, Refusal};
use tracefs::{Sink, TracingDir};

use super::args::Args;
use super::file::{Extra, Format, head_bytes};
use super::guest_policy::{GuestPolicy, check_words};
use super::local::{LocalRecording, Recorded, Settings, SinkRequest, kernel_error};
use super::plan;
use crate::command::tracing_plan::{MachinePlan, Setup, Word};
use crate::error::Error;
use crate::output::tell;

/// Records this machine for its host, as far as the policy allows.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) policy: GuestPolicy,
}

struct Recording {
    local: LocalRecording,
    format: Format,
    trace_id: u64,
    sub_buffer_size: u32,
    /// The host's command waits while nobody takes what is recorded.
    blocks: bool,
}

impl GuestRecorder for Recorder {
    fn start(
        &mut self,
        args: &[String],
        data: Vec<OwnedFd>,
    ) -> Result<Box<dyn GuestRecording>, Refusal> {
        let args = Args::parse(args).map_err(Refusal::failed)?;
        check_words(&args)?;
        let failed = |error: Error| Refusal::failed(error.to_string());
        let plan = plan::of_guest(&args).map_err(failed)?;
        let mut settings = Settings::from(&args);
        if self.policy.limits() {
            let dir = TracingDir::find_or_mount().map_err(kernel_error).map_err(failed)?;
            let setup = Setup::new(&plan, settings.choices, &dir);
            let setup = setup.map_err(kernel_error).map_err(failed)?;
            self.policy.check(&setup, &dir)?;
            settings.most_buffer_kb = self.policy.cpu_buffer_kb(setup.places.len());
        }
        start(&args, &plan, &settings, data).map_err(failed)
    }
}

fn start(
    args: &Args,
    plan: &MachinePlan,
    settings: &Settings,
    data: Vec<OwnedFd>,
) -> Result<Box<dyn GuestRecording>, Error> {
    let format = Format::new(args)?;
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
    let local = LocalRecording::start(plan, settings, &mut sinks)?;
    let sub_buffer_size = local.sub_buffer_size()?;
    let trace_id = super::new_trace_id();
    let blocks =
        args.words.iter().any(|word| matches!(word, Word::OnFull(choice) if choice == "block"));
    Ok(Box::new(Recording { local, format, trace_id, sub_buffer_size, blocks }))
}

fn extra(trace_id: u64) -> Extra {
    Extra { trace_id, ..Extra::default() }
}

impl GuestRecording for Recording {
    fn sub_buffer_size(&self) -> u32 {
        self.sub_buffer_size
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        let machine = self.local.machine().map_err(|error| error.to_string())?;
        let head = head_bytes(&machine, &[], &extra(self.trace_id), self.format);
        Ok(Box::new(Cursor::new(head.map_err(|error| error.to_string())?)))
    }

    fn backlog(&self) -> Option<Backlog> {
        self.blocks.then(|| Box::new(self.local.backlog()) as Backlog)
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
