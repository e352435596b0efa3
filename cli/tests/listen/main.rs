//! `trace-cmd listen`: many recorders in one process. Whatever one of them does, the files of all have what
//! they sent.

#[path = "../common/mod.rs"]
mod common;
mod datagrams;
mod ends;
mod full;
mod hostile;
mod many;
mod peers;
mod recorder;
mod rights;
mod trace;
mod ways;

use std::process::ExitCode;

use common::Case;
use trace_virt::lab::{Missing, requirements};

const CASES: &[Case] = &[
    Case {
        name: "root_the_reference_records_to_it",
        needs: recording_reference,
        test: peers::records,
    },
    Case {
        name: "root_a_killed_reference_leaves_a_file",
        needs: recording_reference,
        test: peers::killed,
    },
    Case { name: "files_are_named_as_by_the_reference", needs: reference, test: peers::names },
    Case { name: "version_1_is_taken", needs: nothing, test: peers::version_1 },
    Case { name: "files_and_log_are_where_they_should_be", needs: nothing, test: ways::files },
    Case { name: "root_gives_up_what_it_may", needs: requirements::root, test: ways::user },
    Case {
        name: "root_what_is_not_needed_is_given_up",
        needs: requirements::root,
        test: rights::given_up,
    },
    Case {
        name: "root_a_directory_of_another_can_be_written",
        needs: requirements::root,
        test: rights::directory_of_another,
    },
    Case {
        name: "without_landlock_it_listens_and_says_so",
        needs: nothing,
        test: rights::without_landlock,
    },
    Case { name: "links_are_not_followed", needs: nothing, test: rights::planted },
    Case { name: "root_a_daemon_has_a_pid_file", needs: requirements::root, test: ways::daemon },
    Case { name: "unix_sockets_and_their_ports", needs: nothing, test: ways::unix_sockets },
    Case { name: "garbage_is_told_and_leaves_nothing", needs: nothing, test: hostile::garbage },
    Case {
        name: "a_recorder_that_dies_leaves_what_it_sent",
        needs: nothing,
        test: hostile::deaths,
    },
    Case { name: "a_recorder_that_hangs_is_given_up", needs: nothing, test: hostile::hangs },
    Case { name: "a_flood_ends_at_its_limit", needs: nothing, test: hostile::floods },
    Case {
        name: "root_a_full_disk_ends_one_and_harms_no_other",
        needs: requirements::root,
        test: full::disk,
    },
    Case {
        name: "root_without_room_for_a_head_nothing_is_kept",
        needs: requirements::root,
        test: full::from_the_start,
    },
    Case { name: "too_many_and_others_are_sent_away", needs: nothing, test: hostile::crowds },
    Case { name: "only_who_knows_the_key_may_send", needs: nothing, test: hostile::keys },
    Case { name: "data_of_others_is_not_taken", needs: nothing, test: hostile::strangers },
    Case { name: "further_buffers_are_in_the_file", needs: nothing, test: hostile::instances },
    Case { name: "a_signal_completes_all_files", needs: nothing, test: ends::signals },
    Case { name: "a_killed_listener_leaves_what_arrived", needs: nothing, test: ends::kill },
    Case {
        name: "files_of_a_killed_listener_can_be_read",
        needs: nothing,
        test: ends::killed_files,
    },
    Case { name: "two_hundred_at_once", needs: nothing, test: many::plain },
    Case { name: "two_hundred_at_once_compressed", needs: nothing, test: many::compressed },
    Case { name: "datagrams_are_put_in_order", needs: nothing, test: datagrams::order },
    Case { name: "lost_datagrams_are_accounted_for", needs: nothing, test: datagrams::losses },
    Case { name: "foreign_datagrams_are_not_taken", needs: nothing, test: datagrams::foreign },
    Case {
        name: "datagrams_without_numbers_are_told",
        needs: nothing,
        test: datagrams::unnumbered,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn nothing() -> Result<(), Missing> {
    Ok(())
}

fn reference() -> Result<(), Missing> {
    requirements::reference()?.exact().map(drop)
}

fn recording_reference() -> Result<(), Missing> {
    common::with_reference()?;
    requirements::recording_reference().map(drop)
}
