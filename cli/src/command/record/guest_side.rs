//! What the client in a guest does when its host says "record".

use std::io::{Cursor, Read};
use std::os::fd::OwnedFd;

use trace_virt::client::{
    Backlog, GuestRecorder, GuestRecording, ReadyRecording, RecordingEnd, Refusal,
};
use tracefs::TracingDir;

use super::ahead::AheadHead;
use super::args::Args;
use super::file::{Extra, Format, head_bytes};
use super::guest_policy::{GuestPolicy, check_words};
use super::local::{self, LocalRecording, Recorded, Settings, SinkRequest, kernel_error};
use super::multiplex::{self, Ports};
use super::plan;
use super::summary;
use crate::command::tracing_plan::{MachinePlan, Place, Setup, Word};
use crate::error::Error;
use crate::output::tell;

/// Records this machine for its host, as far as the policy allows.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) policy: GuestPolicy,
    /// The host takes the data of several instances from one stream.
    pub(crate) has_frames: bool,
    /// Another recording has the top-level buffer: this one is to be in an instance of this name, which the host does not
    /// see.
    pub(crate) instance: Option<String>,
    /// It is the guest of this machine that asks, and its own trace has this id.
    pub(crate) guest: Option<u64>,
}

/// Records this machine by its own wish: what the host says does not matter.
#[derive(Debug)]
pub(crate) struct OwnRecorder(pub(crate) Args);

/// One that only waits to begin.
struct Ready {
    // Dropped first: recorders then wait for no port.
    ports: Ports,
    local: local::ReadyRecording,
    /// Its one instance counts as the top-level buffer.
    is_alone: bool,
    list: Option<String>,
    format: Format,
    blocks: bool,
    tells_losses: bool,
    guest: Option<u64>,
}

struct Recording {
    ports: Ports,
    local: LocalRecording,
    /// Its one instance counts as the top-level buffer.
    is_alone: bool,
    /// The instances that share the ports.
    list: Option<String>,
    format: Format,
    trace_id: u64,
    /// The host's command waits while nobody takes what is recorded.
    blocks: bool,
    /// Losses are told here, too.
    tells_losses: bool,
    /// The guest of this machine that it is for.
    guest: Option<u64>,
    /// What a guest was sent the beginning of.
    ahead: AheadHead,
}

impl GuestRecorder for OwnRecorder {
    fn prepare(&mut self, _: &[String], data: Vec<OwnedFd>) -> Result<ReadyRecording, Refusal> {
        let plan = plan::of_guest(&self.0)?;
        let ready = Ready::new(&self.0, &plan, &Settings::from(&self.0), data, false)?;
        Ready { tells_losses: true, ..ready }.waiting()
    }
}

impl GuestRecorder for Recorder {
    fn prepare(&mut self, args: &[String], data: Vec<OwnedFd>) -> Result<ReadyRecording, Refusal> {
        let mut args = Args::parse(args).map_err(Refusal::failed)?;
        check_words(&args)?;
        let mut plan = plan::of_guest(&args)?;
        if !self.has_frames && !plan.instances.is_empty() {
            return Err(Refusal::failed("-B is not available in a guest that is reached by -A"));
        }
        if let Some(name) = &self.instance {
            args.words.insert(0, Word::Instance(name.clone()));
            plan = plan::of_guest(&args)?;
        }
        let mut settings = Settings::from(&args);
        if self.policy.limits() || self.instance.is_some() {
            let dir = TracingDir::find_or_mount().map_err(kernel_error)?;
            let setup = Setup::new(&plan, settings.choices, &dir);
            let setup = setup.map_err(kernel_error)?;
            self.policy.check(&setup, &dir)?;
            settings.most_buffer_kb = self.policy.cpu_buffer_kb(setup.places.len());
            if let Some(name) = &self.instance {
                check_instance(&setup, &dir, name)?;
            }
        }
        if self.guest.is_some() && args.file_version == 6 {
            let reason = "--file-version 6 cannot be sent to a guest: its options come at the end";
            return Err(Refusal::failed(reason));
        }
        let own = self.instance.is_some();
        let ready = Ready::new(&args, &plan, &settings, data, own).map_err(|error| match own {
            true => Refusal::failed(format!("beside another recording, in an instance: {error}")),
            false => error.into(),
        });
        Ready { guest: self.guest, ..ready? }.waiting()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::failed(error.to_string())
    }
}

/// Whether an instance is enough, and not there yet.
fn check_instance(setup: &Setup, dir: &TracingDir, name: &str) -> Result<(), Refusal> {
    if let Some(step) = setup.begin().chain(&setup.steps).find(|step| step.place == Place::Top) {
        let step = step.to_string();
        let reason = format!(
            "busy with another recording, beside which nothing is set for both: {}",
            step.trim()
        );
        return Err(Refusal::busy(reason));
    }
    match dir.instance(name) {
        Ok(_) => Err(Refusal::failed(format!("the instance {name} is somebody else's"))),
        Err(_) => Ok(()),
    }
}

impl Ready {
    /// `is_alone`: the one instance of the plan is to look like the top-level buffer.
    fn new(
        args: &Args,
        plan: &MachinePlan,
        settings: &Settings,
        data: Vec<OwnedFd>,
        is_alone: bool,
    ) -> Result<Self, Error> {
        let format = Format::new(args)?;
        let mut ports = Ports::new(data);
        let mut list = None;
        let mut sinks = |_: &TracingDir, requests: &[SinkRequest]| {
            let mut requests = requests.to_vec();
            if is_alone {
                requests.iter_mut().for_each(|request| request.name = None);
            }
            let sinks = ports.sinks(&requests)?;
            list = ports.is_shared().then(|| multiplex::list(&requests)).transpose()?;
            Ok(sinks)
        };
        let local = local::ReadyRecording::new(plan, settings, &mut sinks)?;
        let blocks =
            args.words.iter().any(|word| matches!(word, Word::OnFull(choice) if choice == "block"));
        Ok(Self { ports, local, is_alone, list, format, blocks, tells_losses: false, guest: None })
    }

    /// As the client has it.
    fn waiting(self) -> Result<ReadyRecording, Refusal> {
        let sub_buffer_size = self.local.sub_buffer_size()?;
        Ok(ReadyRecording::new(sub_buffer_size, move || self.begin()))
    }

    fn begin(self) -> Result<Box<dyn GuestRecording>, Refusal> {
        let Self { ports, local, is_alone, list, format, blocks, tells_losses, guest } = self;
        let local = local.begin()?;
        let trace_id = super::new_trace_id();
        Ok(Box::new(Recording {
            ports,
            local,
            is_alone,
            list,
            format,
            trace_id,
            blocks,
            tells_losses,
            guest,
            ahead: AheadHead::default(),
        }))
    }
}

fn extra(trace_id: u64) -> Extra {
    Extra { trace_id, ..Extra::default() }
}

impl GuestRecording for Recording {
    fn trace_id(&self) -> u64 {
        self.trace_id
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        let mut machine = self.local.machine().map_err(|error| error.to_string())?;
        if self.guest.is_some() {
            // They come at the end, when all tasks are known.
            machine.cmdlines.clear();
        }
        let head = head_bytes(&machine, &[], &extra(self.trace_id), self.format);
        let mut head = head.map_err(|error| error.to_string())?;
        if self.guest.is_some() {
            head = self.ahead.begin(head).map_err(|error| error.to_string())?;
        }
        let head = Cursor::new(head);
        let list = self.list.take().unwrap_or_default();
        Ok(Box::new(Cursor::new(list.into_bytes()).chain(head)))
    }

    fn backlog(&self) -> Option<Backlog> {
        self.blocks.then(|| Box::new(self.local.backlog()) as Backlog)
    }

    /// The tail is the head again, with the names of all tasks that ran and the kernel's counters.
    fn stop(self: Box<Self>) -> Result<RecordingEnd, String> {
        let Self { local, is_alone, ports, format, trace_id, tells_losses, guest, ahead, .. } =
            *self;
        ports.end();
        let finish = || -> Result<RecordingEnd, Error> {
            let Recorded { machine, mut buffers, restoring } = local.stop()?;
            if is_alone {
                buffers.iter_mut().for_each(|buffer| buffer.name = None);
            }
            if let Some(error) = restoring.finish() {
                tell(&format!("{error}"));
            }
            if tells_losses {
                summary::losses(&buffers);
            }
            let tail = match guest {
                Some(guest) => ahead.end(&machine, &buffers, guest)?,
                None => head_bytes(&machine, &buffers, &extra(trace_id), format)?,
            };
            let cpus = buffers.iter().flat_map(|buffer| &buffer.ledger.cpus);
            let bytes = ports.bytes().unwrap_or_else(|| cpus.map(|cpu| cpu.bytes).collect());
            Ok(RecordingEnd { bytes, tail })
        };
        finish().map_err(|error| error.to_string())
    }

    fn abort(self: Box<Self>) {
        self.ports.abort();
        self.local.abort();
    }
}
