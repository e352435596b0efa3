//! What is installed beside the binary: completions as a shell runs them, manual pages, the Debian
//! package.

#[path = "../common/mod.rs"]
mod common;
mod machine;
mod services;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use common::{Case, check, success, trace_cmd};
use libtest_mimic::Failed;
use machine::Machine;
use tempfile::TempDir;
use trace_virt::lab::{Missing, requirements};

const BINARY: &str = env!("CARGO_BIN_EXE_trace-cmd");

const CASES: &[Case] = &[
    Case { name: "help_tells_about_topics_and_commands", needs: || Ok(()), test: help },
    Case { name: "bash_completes_what_is_typed", needs: || program("bash", "bash"), test: bash },
    Case { name: "zsh_reads_its_completions", needs: || program("zsh", "zsh"), test: zsh },
    Case { name: "fish_completes_what_is_typed", needs: || program("fish", "fish"), test: fish },
    Case {
        name: "manual_pages_are_formatted_without_warnings",
        needs: || program("groff", "groff"),
        test: pages,
    },
    Case {
        name: "debian_package_has_what_it_should",
        needs: || program("dpkg-deb", "dpkg"),
        test: package,
    },
    Case {
        name: "root_debian_package_is_installed_and_removed",
        needs: || requirements::root().and_then(|()| program("dpkg", "dpkg")),
        test: installation,
    },
    Case {
        name: "root_services_of_the_package_run_under_systemd",
        needs: || {
            common::with_tracefs()?;
            program("dpkg", "dpkg")?;
            Machine::find()
        },
        test: services::services,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn program(program: &'static str, package: &'static str) -> Result<(), Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if found { Ok(()) } else { Err(Missing::Program { program, package }) }
}

fn help() -> Result<(), Failed> {
    let overview = success(trace_cmd().arg("help"))?;
    check(overview.contains("  exit-codes "), || overview.clone())?;
    check(success(trace_cmd().arg("--help"))? == overview, || "two overviews".to_owned())?;
    let topic = success(trace_cmd().args(["help", "exit-codes"]))?;
    check(topic.contains("6   recorded"), || topic.clone())?;
    let of_command = success(trace_cmd().args(["help", "split"]))?;
    check(of_command == success(trace_cmd().args(["split", "--help"]))?, || of_command.clone())?;
    let line = common::complaint(trace_cmd().args(["help", "exit-cods"]))?;
    check(line.contains("did you mean exit-codes?"), || line.clone())
}

/// The words that bash offers, after its own division of a command line into words.
fn offered_by_bash(words: &[&str], virt: &Path) -> Result<Vec<String>, Failed> {
    let script = r#"
        . <("$0" completions bash)
        COMP_WORDS=(trace-cmd "$@") COMP_CWORD=$#
        _trace_cmd "$0"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, BINARY]).args(words).env("TRACE_CMD_VIRT_DIR", virt);
    Ok(success(&mut bash)?.lines().map(str::to_owned).collect())
}

fn bash() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    fs::create_dir(dir.path().join("guest1"))?;
    for (words, expected) in [
        (&["rec"][..], &["record"][..]),
        (&["help", "exit"], &["exit-codes"]),
        (&["record", "--compression", "z"], &["zlib", "zstd"]),
        // Bash takes --compression=z apart, and puts in only what is behind the =.
        (&["record", "--compression", "=", "z"], &["zlib", "zstd"]),
        (&["report", "-O", "fgraph", ":", "tail"], &["tailprint"]),
        (&["record", "-e", "kvm", ":", "kvm_exit", "--dom", "g"], &["guest1"]),
        (&["virt-server", "--doctor", ""], &["guest1"]),
        (&["record", "-o", "x"], &[""]),
    ] {
        let offered = offered_by_bash(words, dir.path())?;
        check(offered == expected, || format!("{words:?}: {offered:?}"))?;
    }
    let commands = offered_by_bash(&["record", "-e", "sched", "bas"], dir.path())?;
    check(commands.iter().any(|name| name == "bash"), || format!("{commands:?}"))
}

fn zsh() -> Result<(), Failed> {
    let script = r#"autoload -Uz compinit && compinit -D -u && eval "$("$0" completions zsh)" && whence -w _trace_cmd"#;
    let said = success(Command::new("zsh").args(["-f", "-c", script, BINARY]))?;
    check(said.contains("function"), || said.clone())
}

fn fish() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    std::os::unix::fs::symlink(BINARY, dir.path().join("trace-cmd"))?;
    let script = format!(
        "set -x PATH {} $PATH; trace-cmd completions fish | source; complete -C 'trace-cmd rec'",
        dir.path().display()
    );
    let said = success(Command::new("fish").args(["--no-config", "-c", &script]))?;
    check(said.starts_with("record\t"), || said.clone())
}

fn pages() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    success(trace_cmd().args(["man", "-o"]).arg(dir.path()))?;
    let mut seen = 0;
    for section in ["man1", "man5"] {
        for entry in fs::read_dir(dir.path().join(section))? {
            let path = entry?.path();
            // -ww has all warnings; lines in typewriter type may be longer than the page.
            let mut groff = Command::new("groff");
            groff.args(["-man", "-Tutf8", "-K", "utf8", "-ww", "-z"]).arg(&path);
            let output = groff.output()?;
            check(output.status.success() && output.stderr.is_empty(), || {
                format!("{}: {}", path.display(), common::stderr(&output))
            })?;
            seen += 1;
        }
    }
    check(seen > 30, || format!("{seen} pages"))
}

/// Makes the package of the binary under test.
fn make_package(dir: &Path) -> Result<PathBuf, Failed> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.dev/package-deb");
    let mut make = Command::new(script);
    // Compression is what takes time with a binary that is not optimized.
    make.env("DPKG_DEB_COMPRESSOR_TYPE", "none").arg("-o").arg(dir).arg(BINARY);
    let said = success(&mut make)?;
    Ok(PathBuf::from(said.lines().last().unwrap_or_default()))
}

fn package() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let package = make_package(dir.path())?;
    let root = dir.path().join("root");
    success(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root))?;
    for file in [
        "etc/default/trace-cmd",
        "usr/lib/systemd/system/trace-cmd-listen.service",
        "usr/lib/systemd/system/trace-cmd-virt-client.service",
        "usr/lib/systemd/system/trace-cmd-virt-server.service",
        "usr/share/bash-completion/completions/trace-cmd",
        "usr/share/doc/trace-cmd-rs/changelog.Debian.gz",
        "usr/share/doc/trace-cmd-rs/changelog.gz",
        "usr/share/doc/trace-cmd-rs/copyright",
        "usr/share/fish/vendor_completions.d/trace-cmd.fish",
        "usr/share/man/man1/trace-cmd-record.1.gz",
        "usr/share/man/man1/trace-cmd.1.gz",
        "usr/share/man/man5/trace.dat.5.gz",
        "usr/share/zsh/vendor-completions/_trace-cmd",
    ] {
        let size = fs::metadata(root.join(file)).map(|metadata| metadata.len()).unwrap_or(0);
        check(size > 0, || format!("no {file}"))?;
    }
    let ours = success(trace_cmd().arg("--version"))?;
    let installed = success(Command::new(root.join("usr/bin/trace-cmd")).arg("--version"))?;
    check(installed == ours, || installed.clone())?;
    let fields = success(Command::new("dpkg-deb").arg("-f").arg(&package))?;
    let version = format!("Version: {}-1", env!("CARGO_PKG_VERSION"));
    for part in ["Package: trace-cmd-rs", &version, "Conflicts: trace-cmd"] {
        check(fields.contains(part), || fields.clone())?;
    }
    verify_services(&root)
}

/// Installs the package as dpkg does, into a root of its own, and takes it away again.
fn installation() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let package = make_package(dir.path())?;
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("var/lib/dpkg/updates"))?;
    fs::create_dir_all(root.join("var/lib/dpkg/info"))?;
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    let dpkg = || {
        let mut dpkg = Command::new("dpkg");
        // There is no shell in that root, nor a C library.
        dpkg.args(["--force-script-chrootless", "--force-depends", "--force-bad-path"]);
        dpkg.arg("--log=/dev/null").arg(format!("--root={}", root.display()));
        dpkg
    };
    success(dpkg().arg("-i").arg(&package))?;
    let help = success(Command::new(root.join("usr/bin/trace-cmd")).args(["help", "files"]))?;
    check(help.contains("trace.dat"), || help.clone())?;
    check(root.join("etc/default/trace-cmd").is_file(), || "no defaults".to_owned())?;
    success(dpkg().args(["--purge", "trace-cmd-rs"]))?;
    let left = ["usr/bin/trace-cmd", "etc/default/trace-cmd"].map(|file| root.join(file).exists());
    check(left == [false, false], || format!("{left:?}"))
}

/// Has systemd read the services, where it is there.
fn verify_services(root: &Path) -> Result<(), Failed> {
    if program("systemd-analyze", "systemd").is_err() {
        return Ok(());
    }
    for service in ["listen", "virt-server", "virt-client"] {
        let unit = root.join(format!("usr/lib/systemd/system/trace-cmd-{service}.service"));
        // It looks for the program, which is in the package only.
        let text = fs::read_to_string(&unit)?;
        let installed = root.join("usr/bin/trace-cmd");
        fs::write(&unit, text.replace("/usr/bin/trace-cmd", &installed.to_string_lossy()))?;
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&unit);
        let output = verify.output()?;
        let said = common::stderr(&output);
        check(!said.contains(&format!("trace-cmd-{service}")), || said.clone())?;
    }
    Ok(())
}
