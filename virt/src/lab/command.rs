//! Runs the programs of the host that the lab is made of.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{LabError, Missing, file};

/// Returns what the program wrote to its standard output.
///
/// # Errors
///
/// [`LabError::Program`] with the end of its standard error when it does not end with 0.
pub(super) fn output(command: &mut Command) -> Result<Vec<u8>, LabError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(file("running", Path::new(command.get_program())))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(LabError::Program {
        program: words(command),
        status: output.status,
        stderr: tail(&output.stderr, 4000),
    })
}

/// Looks a program up in `PATH`, and where distributions keep those of the administrator.
pub(super) fn find(program: &'static str, package: &'static str) -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or(Missing::Program { program, package })
}

/// Returns the last `limit` bytes as text, cut at a line.
pub(super) fn tail(bytes: &[u8], limit: usize) -> String {
    let start = bytes.len().saturating_sub(limit);
    let text = String::from_utf8_lossy(&bytes[start..]);
    let text = match text.split_once('\n') {
        Some((_, rest)) if start > 0 => rest,
        _ => &text,
    };
    text.trim_end().replace('\r', "")
}

fn words(command: &Command) -> String {
    let mut words = vec![command.get_program()];
    words.extend(command.get_args());
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_starts_at_a_whole_line() {
        assert_eq!(tail(b"first\nsecond\r\nthird\r\n", 12), "third");
        assert_eq!(tail(b"short\n", 14), "short");
    }

    #[test]
    fn failing_program_tells_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("why"), "{text}");
    }
}
