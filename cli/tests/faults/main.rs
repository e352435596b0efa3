//! What fails, when, on which way: `matrix.tsv` names the test that shows each, and what no other test has is here.
//! After each of them files can be read, tracing is as it was, and nothing is left behind.

mod bench;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod matrix;
mod signals;

use std::process::ExitCode;

use common::{Case, with_tracefs};
use trace_virt::lab::Missing;

const CASES: &[Case] = &[
    Case { name: "every_cell_names_a_test", needs: nothing, test: matrix::is_true },
    Case {
        name: "root_a_tracefs_file_that_fails_is_named_or_not_needed",
        needs: with_tracefs,
        test: files::failing,
    },
    Case {
        name: "root_a_tracefs_file_that_is_refused_is_named_or_not_needed",
        needs: with_tracefs,
        test: files::refused,
    },
    Case {
        name: "root_a_limit_on_the_size_of_files_is_told",
        needs: with_tracefs,
        test: files::limited,
    },
    Case {
        name: "root_a_command_that_is_killed_ends_its_recording",
        needs: with_tracefs,
        test: signals::workload,
    },
    Case {
        name: "root_a_sigint_at_any_time_leaves_nothing",
        needs: with_tracefs,
        test: signals::interrupted,
    },
    Case {
        name: "root_a_sigterm_at_any_time_leaves_nothing",
        needs: with_tracefs,
        test: signals::terminated,
    },
    Case {
        name: "root_a_sighup_at_any_time_leaves_nothing",
        needs: with_tracefs,
        test: signals::hung_up,
    },
    Case {
        name: "root_a_sigquit_at_any_time_is_repaired",
        needs: with_tracefs,
        test: signals::quit,
    },
    Case {
        name: "root_a_sigpipe_at_any_time_changes_nothing",
        needs: with_tracefs,
        test: signals::broken_pipe,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn nothing() -> Result<(), Missing> {
    Ok(())
}
