//! What may have been meant by a name that is not there.

use trace_virt::setup::VirtDir;
use tracefs::event_pattern::nearest_names;

/// `did you mean sched or sched_ext?`, where one of `names` is near.
pub(crate) fn did_you_mean(names: impl IntoIterator<Item = String>, asked: &str) -> Option<String> {
    match nearest_names(names, asked).as_slice() {
        [] => None,
        near => Some(format!("did you mean {}?", near.join(" or "))),
    }
}

/// The same for a guest, of those that were set up.
pub(crate) fn did_you_mean_guest(dir: &VirtDir, asked: &str) -> Option<String> {
    let guests = dir.guests().unwrap_or_default();
    did_you_mean(guests.iter().map(|name| name.as_str().to_owned()), asked)
}
