//! `trace-cmd check-events`: whether all event formats of the running kernel are understood.

use std::io::{self, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use tracedat::Abi;
use tracedat::event::Event;
use tracefs::TracingDir;
use tracefs::capture::Capture;

use super::record::kernel_error;
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
Each event whose format is not understood is named on standard error; the exit code is then 4.";

const FULL_FORMATS: &str = ", and its text with --full-formats";

/// Words and help of `check-events`.
pub(crate) fn command() -> Command {
    Command::new("check-events")
        .about("Parse all event formats of this kernel")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("no-plugins")
                .short('N')
                .action(ArgAction::SetTrue)
                .help("Do without the functions that plugins add"),
        )
}

/// Runs `check-events`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let plugins = !matches.get_flag("no-plugins");
    let dir = TracingDir::find_or_mount().map_err(kernel_error)?;
    let capture = Capture::read(&dir, None).map_err(kernel_error)?;
    let ftrace = capture.ftrace_formats.iter().map(|text| ("ftrace", text));
    let others = capture
        .event_formats
        .iter()
        .flat_map(|of| of.formats.iter().map(|text| (of.system.as_str(), text)));
    let mut exit = Exit::Success;
    for (system, text) in ftrace.chain(others) {
        if let Some(problem) = problem(system, text, plugins) {
            // Nobody may be listening; the exit code tells it too.
            let _ = writeln!(io::stderr(), "trace-cmd: {problem}");
            exit = Exit::BadData;
        }
    }
    Ok(exit)
}

/// What is not understood of an event, with its name.
fn problem(system: &str, text: &[u8], plugins: bool) -> Option<String> {
    let cause = match Event::new(system, text, Abi::NATIVE) {
        Err(error) => error.to_string(),
        Ok(event) if event.program(plugins).has_failed() => {
            let but = if event.full_program().has_failed() { "" } else { FULL_FORMATS };
            format!("the print fmt is not understood, 'report' prints the fields instead{but}")
        }
        Ok(_) => return None,
    };
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let name = String::from_utf8_lossy(line.strip_prefix(b"name: ").unwrap_or_default());
    Some(format!("{system}:{name}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "name: one\nID: 7\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:int x;\toffset:8;\tsize:4;\tsigned:1;\n\nprint fmt: ";

    #[test]
    fn events_that_are_not_understood_are_named_with_the_reason() {
        let good = format!("{FIELDS}\"%d\", REC->x\n");
        assert_eq!(problem("sys", good.as_bytes(), true), None);
        let unknown = format!("{FIELDS}\"%d\", no_such_function(REC->x)\n");
        let told = problem("sys", unknown.as_bytes(), true).unwrap();
        assert!(told.starts_with("sys:one: the print fmt"), "{told}");
        assert!(told.ends_with(FULL_FORMATS), "{told}");
        let open = format!("{FIELDS}\"%d\", (REC->x\n");
        let told = problem("sys", open.as_bytes(), true).unwrap();
        assert!(told.ends_with("the fields instead"), "{told}");
        let told = problem("sys", b"name: two\nno ID\n", true).unwrap();
        assert!(told.starts_with("sys:two: event format, line"), "{told}");
    }
}
