//! What may have been meant by a name that is not there.

use tracefs::event_pattern::nearest_names;

/// `did you mean sched or sched_ext?`, where one of `names` is near.
pub(crate) fn did_you_mean(names: impl IntoIterator<Item = String>, asked: &str) -> Option<String> {
    match nearest_names(names, asked).as_slice() {
        [] => None,
        near => Some(format!("did you mean {}?", near.join(" or "))),
    }
}
