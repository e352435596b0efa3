//! `report --profile`: a profile of each buffer of each file.

use std::io::Write;

use tracedat::profile::Profile;
use tracedat::read::Merge;
use tracedat::report::{Report, ReportInput};

use super::args::ReportArgs;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

/// Prints the profiles of the records that were selected.
pub(super) fn print(
    args: &ReportArgs,
    report: &Report,
    inputs: &[ReportInput<'_>],
    records: &mut Merge,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    let mut profiles: Vec<Vec<Profile<'_>>> = Vec::new();
    for input in inputs {
        let new = || {
            Profile::new(input.metadata, &args.profile)
                .map_err(|error| Error::usage(format!("{}: bad -H", input.name)).because(error))
        };
        let of_file: Vec<_> =
            input.metadata.buffers.iter().map(|_| new()).collect::<Result<_, _>>()?;
        let unusable = of_file.first().map_or(&[][..], Profile::unusable_hooks);
        for error in unusable.iter().filter(|_| !args.quiet) {
            tell(&format!("{}: left out: {error}", input.name));
        }
        profiles.push(of_file);
    }
    let read = report.visit(inputs, records, |file, record| {
        let buffers = profiles.get_mut(file);
        if let Some(profile) = buffers.and_then(|all| all.get_mut(record.buffer as usize)) {
            profile.add(record);
        }
    });
    let mut text = Vec::new();
    for ((input, header), profiles) in inputs.iter().zip(report.headers(inputs)).zip(&mut profiles)
    {
        text.extend_from_slice(&header);
        for (buffer, profile) in input.metadata.buffers.iter().zip(profiles) {
            if !buffer.name.is_empty() {
                text.extend_from_slice(format!("\nbuffer: {}\n", buffer.name).as_bytes());
            }
            profile.print(&mut text);
        }
    }
    out.write_all(&text)?;
    match read {
        Ok(()) => Ok(Exit::Success),
        Err(cause) => Err(Error::new(Exit::BadData, "cannot read on").because(cause)),
    }
}
