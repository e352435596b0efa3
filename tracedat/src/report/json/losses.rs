//! What a file says of losses, behind its records: one line for each CPU that lost something.

use super::string::string;
use crate::metadata::Metadata;
use crate::report::file::ReportFile;
use crate::report::number;
use crate::report::options::ReportOptions;

/// Appends the lines of a file.
pub(crate) fn print(
    metadata: &Metadata,
    file: &ReportFile<'_>,
    options: &ReportOptions,
    out: &mut Vec<u8>,
) {
    for stat in metadata.cpu_stats() {
        let (Some(cpu), kernel, recorder) = (stat.cpu(), stat.kernel(), stat.recorder()) else {
            continue;
        };
        let is_whole =
            kernel.lost_events() == 0 && recorder.discarded_bytes == 0 && recorder.error.is_none();
        let is_wanted = options.cpus.as_ref().is_none_or(|cpus| cpus.contains(&cpu));
        if is_whole || !is_wanted {
            continue;
        }
        let buffer = metadata.buffers.iter().position(|buffer| buffer.name == stat.buffer);
        let source = buffer.and_then(|buffer| file.buffers.get(buffer));
        out.push(b'{');
        out.extend_from_slice(source.map_or(&[][..], |source| &source.json_source));
        out.extend_from_slice(b"\"losses\":{");
        for (key, value) in [
            ("overrun", kernel.overrun),
            ("commit_overrun", kernel.commit_overrun),
            ("dropped_events", kernel.dropped_events),
            ("stalls", recorder.stalls),
            ("discarded_bytes", recorder.discarded_bytes),
        ] {
            string(out, key.as_bytes());
            out.push(b':');
            number::decimal(out, value);
            out.push(b',');
        }
        out.extend_from_slice(b"\"error\":");
        match recorder.error {
            Some(error) => string(out, error.as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"},\"cpu\":");
        number::decimal(out, u64::from(cpu));
        out.extend_from_slice(b"}\n");
    }
}
