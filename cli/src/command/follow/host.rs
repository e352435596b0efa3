//! This machine, whose data is followed.

use tracefs::{Sink, TracingDir, Way};

use super::args::FollowArgs;
use super::channel::Channel;
use super::machine::FollowedMachine;
use crate::command::record::args::RecorderArgs;
use crate::command::record::local::{LocalRecording, ReadyRecording, Settings, SinkRequest};
use crate::command::record::plan::Plan;
use crate::command::workload::Workload;
use crate::error::Error;

/// This machine, which only waits to begin.
pub(super) struct ReadyHost {
    recording: ReadyRecording,
    dir: TracingDir,
    requests: Vec<SinkRequest>,
    senders: Vec<usize>,
}

impl ReadyHost {
    /// Does all that comes before tracing is turned on.
    ///
    /// # Errors
    /// An unknown event, clock or filter, or what the kernel refuses; everything is put back.
    pub(super) fn new(plan: &Plan, settings: &Settings, channel: &Channel) -> Result<Self, Error> {
        let mut opened = None;
        let mut sinks = |dir: &TracingDir, requests: &[SinkRequest]| {
            let mut senders = Vec::new();
            let mut sink = || {
                let sender = channel.sender();
                senders.push(sender.place());
                Sink::Follower(Box::new(sender))
            };
            let of_request =
                |request: &SinkRequest| request.cpus.iter().map(|_| sink()).collect::<Vec<_>>();
            let sinks = requests.iter().map(of_request).collect();
            opened = Some((dir.clone(), requests.to_vec(), senders));
            Ok(sinks)
        };
        let recording = ReadyRecording::new(&plan.host, settings, &mut sinks)?;
        let Some((dir, requests, senders)) = opened else {
            return Err(Error::failure("nothing is recorded here"));
        };
        Ok(Self { recording, dir, requests, senders })
    }

    /// Turns tracing on.
    ///
    /// # Errors
    /// What the kernel refuses, or its texts are not understood; everything is put back.
    pub(super) fn begin(
        self,
        plan: &Plan,
    ) -> Result<(LocalRecording, FollowedMachine, TracingDir), Error> {
        let Self { recording, dir, requests, senders } = self;
        let mut recording = recording.begin()?;
        let machine = recording.machine()?;
        let tsc_to_nsec = plan.host.tsc_to_nsec;
        let machine = FollowedMachine::host(&machine, &requests, &senders, tsc_to_nsec)?;
        Ok((recording, machine, dir))
    }
}

/// How this machine is recorded.
pub(super) fn settings(args: &FollowArgs, workload: Option<&Workload>) -> Settings {
    Settings {
        choices: args.setup.choices(),
        keep_after: args.keep_after,
        all_formats: false,
        // Splicing takes only what is full.
        recorder: RecorderArgs {
            way: Way::Read,
            sleep: Some(args.interval()),
            ..args.recorder.clone()
        },
        no_filter: args.no_filter,
        codec: None,
        printer: Some(nix::unistd::gettid().as_raw()),
        texts_first: true,
        command: workload.map(Workload::pid),
        most_buffer_kb: None,
    }
}
