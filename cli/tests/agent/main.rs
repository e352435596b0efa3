//! `agent` and `record -A`, `agent -P` and `record --proxy`: each with the C version at the other end, both together, and hosts that are none.

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod own;
mod peers;
mod proxy;
mod reference;
mod sessions;
mod streamed;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use common::bench;
use common::{Case, check, success, trace_cmd, tracing_state, with_reference, with_tracefs};
use libtest_mimic::Failed;

const CASES: &[Case] = &[
    Case {
        name: "root_the_c_agent_is_recorded_and_its_clock_compared",
        needs: with_reference,
        test: reference::agent,
    },
    Case {
        name: "root_the_c_host_records_by_our_agent",
        needs: with_reference,
        test: reference::host,
    },
    Case { name: "root_host_and_agent_are_of_one_kind", needs: with_tracefs, test: own::recorded },
    Case { name: "root_refusals_have_reasons", needs: with_tracefs, test: own::refused },
    Case { name: "root_hosts_record_side_by_side", needs: with_tracefs, test: sessions::own },
    Case {
        name: "root_hosts_of_both_kinds_record_side_by_side",
        needs: with_reference,
        test: sessions::mixed,
    },
    Case {
        name: "root_this_machine_and_two_guests_are_one_stream",
        needs: with_tracefs,
        test: streamed::together,
    },
    Case {
        name: "root_a_c_agent_is_no_part_of_a_stream",
        needs: with_reference,
        test: streamed::without_clock,
    },
    Case { name: "root_a_busy_agent_says_so", needs: with_tracefs, test: own::busy },
    Case { name: "root_a_key_is_asked_of_both", needs: with_tracefs, test: own::keyed },
    Case { name: "root_hosts_that_are_none_harm_nobody", needs: with_tracefs, test: hostile::none },
    Case { name: "root_a_host_that_dies_leaves_nothing", needs: with_tracefs, test: hostile::dies },
    Case { name: "root_a_guest_has_its_host_recorded", needs: with_tracefs, test: proxy::recorded },
    Case {
        name: "root_a_guest_has_its_host_recorded_behind_sockets",
        needs: with_tracefs,
        test: proxy::behind_sockets,
    },
    Case {
        name: "root_the_c_guest_has_its_host_recorded",
        needs: with_reference,
        test: proxy::of_the_reference,
    },
    Case { name: "root_who_records_no_host_says_so", needs: with_tracefs, test: proxy::refused },
    Case {
        name: "root_a_guest_and_its_host_outlive_each_other",
        needs: with_tracefs,
        test: proxy::cut,
    },
    Case {
        name: "root_a_host_that_is_none_spoils_no_file",
        needs: with_tracefs,
        test: proxy::of_a_liar,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// So many programs are started, which is seen in the trace.
const PROGRAMS: usize = 8;
const LOAD: &str = "for i in 1 2 3 4 5 6 7 8; do /bin/ls / >/dev/null; done";
const EVENTS: [&str; 4] = ["-e", "sched_process_exec", "-e", "sched_switch"];

/// The kernel's tracing, and where files go.
struct Bench {
    tracing: bench::Bench,
    out: tempfile::TempDir,
}

impl Bench {
    fn new() -> Result<Self, Failed> {
        Ok(Self { tracing: bench::Bench::new()?, out: tempfile::TempDir::new()? })
    }

    fn is_as_before(&self) -> Result<(), Failed> {
        self.tracing.is_as_before("recording by an agent")
    }

    /// The C version removes its own when it is told that all is over, or a moment later.
    fn has_same_instances(&self) -> Result<(), Failed> {
        let instances = |state: &[String]| -> Vec<String> {
            state.iter().filter(|line| line.starts_with("instance ")).cloned().collect()
        };
        let before = instances(&self.tracing.before);
        let is_same = || instances(&tracing_state(&self.tracing.dir)) == before;
        peers::until(&format!("instances are again {before:?}"), is_same)
    }

    /// `record -A` of ours; the file is `trace-NAME.dat`.
    fn record(&self, agent: &str, words: &[&str]) -> Command {
        let mut record = trace_cmd();
        record.current_dir(self.out.path()).args(["record", "-A", agent]).args(words);
        record
    }

    fn file(&self, name: &str) -> PathBuf {
        self.out.path().join(format!("trace-{name}.dat"))
    }

    /// Our text of a file.
    fn text(&self, name: &str) -> Result<String, Failed> {
        let mut report = trace_cmd();
        report.env("TRACE_CMD_COMPAT", "3.1.6").env("TZ", "UTC");
        success(report.args(["report", "-i"]).arg(self.file(name)))
    }

    /// The same, which has all programs of the load in it.
    fn report(&self, name: &str) -> Result<String, Failed> {
        let file = self.file(name);
        let text = self.text(name)?;
        let programs = text.lines().filter(|line| line.contains("filename=/bin/ls")).count();
        check(programs == PROGRAMS, || format!("{programs} programs in {}", file.display()))?;
        check(text.contains("sched_switch:"), || "no sched_switch".to_owned())?;
        Ok(text)
    }

    fn has_no_file(&self, name: &str) -> Result<(), Failed> {
        let file = self.file(name);
        check(fs::symlink_metadata(&file).is_err(), || format!("{} is left", file.display()))
    }
}
