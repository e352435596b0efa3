//! Gives a libvirt domain the channels it needs, and tells its vsock CID, through `virsh`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use roxmltree::{Document, Node, ParsingOptions};

use crate::protocol::clean;
use crate::setup::{CONTROL_PORT, Channel, GuestName, MAX_CPUS, SetupError, VirtDir};

/// A domain's XML is some hundred KB when it has thousands of channels.
const MAX_OUTPUT: u64 = 16 << 20;
/// Elements and texts that are looked at; 4096 channels have some 50 000.
const MAX_NODES: u32 = 1 << 20;
/// How long libvirt gets for each step.
const STEP_TIME: Duration = Duration::from_secs(60);

/// Why libvirt did not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibvirtError {
    /// `virsh` cannot be run.
    #[error("running {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `virsh` did not come to an end.
    #[error("virsh {command}: no end within {} s", STEP_TIME.as_secs())]
    TimedOut {
        /// Its command.
        command: String,
    },
    /// `virsh` said no.
    #[error("virsh {command}: {words}")]
    Refused {
        /// Its command.
        command: String,
        /// Its own words.
        words: String,
    },
    /// What `virsh` printed makes no sense.
    #[error("virsh {command}: {problem}")]
    Output {
        /// Its command.
        command: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The domain has a channel of the name that leads elsewhere.
    #[error("the domain's channel {channel} leads to {path} instead of {wanted}")]
    Elsewhere {
        /// Name of the channel.
        channel: String,
        /// Where it leads.
        path: String,
        /// Where it should.
        wanted: String,
    },
    /// The channels cannot be written down.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// What attaching did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachReport {
    /// Channels added to the domain's configuration.
    pub added: Vec<String>,
    /// Channels that were in it.
    pub existing: Vec<String>,
    /// What that means for the VM as it is.
    pub live: Live,
}

/// Whether a domain that runs has the channels, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// It does not run.
    NotRunning,
    /// It has them all; so many were added now.
    Complete(usize),
    /// libvirt cannot add them to it, in its own words. It gets them at its next start.
    AtNextStart(String),
}

/// `virsh`, which finds libvirt as it always does (`LIBVIRT_DEFAULT_URI`).
#[derive(Debug, Clone)]
pub struct Libvirt {
    virsh: PathBuf,
}

impl Default for Libvirt {
    fn default() -> Self {
        Self { virsh: "virsh".into() }
    }
}

impl Libvirt {
    /// Uses another program than the `virsh` in `PATH`.
    #[must_use]
    pub fn with_virsh(virsh: impl Into<PathBuf>) -> Self {
        Self { virsh: virsh.into() }
    }

    /// The largest number of vCPUs that a domain can have.
    ///
    /// # Errors
    ///
    /// libvirt does not know the domain, or cannot be asked.
    pub fn cpus(&self, domain: &GuestName) -> Result<u32, LibvirtError> {
        let words = ["vcpucount", "--maximum", domain.as_str()];
        let text = self.run(&words, "")?;
        // Without libvirt telling which configuration counts: a number per line, the largest is meant.
        let cpus = text.split_whitespace().filter_map(|word| word.parse().ok()).max();
        cpus.filter(|cpus| (1..=MAX_CPUS).contains(cpus)).ok_or_else(|| LibvirtError::Output {
            command: words.join(" "),
            problem: format!("{:?} is no number of CPUs", clean(text.trim())),
        })
    }

    /// Whether a domain runs, or is paused.
    ///
    /// # Errors
    ///
    /// As [`cpus`](Self::cpus).
    pub fn is_running(&self, domain: &GuestName) -> Result<bool, LibvirtError> {
        let state = self.run(&["domstate", domain.as_str()], "")?;
        Ok(!matches!(state.trim(), "shut off" | "crashed" | ""))
    }

    /// The vsock CID of a domain; none where it has no vsock device, or gets its number only when it starts.
    ///
    /// # Errors
    ///
    /// As [`cpus`](Self::cpus).
    pub fn vsock_cid(&self, domain: &GuestName) -> Result<Option<u32>, LibvirtError> {
        let xml = self.run(&["dumpxml", domain.as_str()], "")?;
        cid_in(&xml).map_err(|problem| LibvirtError::Output {
            command: format!("dumpxml {domain}"),
            problem,
        })
    }

    /// Adds the channels that a domain's configuration lacks, and to the domain itself where it runs and libvirt can do
    /// that. Running it twice changes nothing.
    ///
    /// # Errors
    ///
    /// A channel leads elsewhere, or libvirt refuses: what was added before stays then.
    pub fn attach(
        &self,
        dir: &VirtDir,
        domain: &GuestName,
        cpus: u32,
    ) -> Result<AttachReport, LibvirtError> {
        let channels = dir.libvirt_channels(domain, cpus)?;
        let (missing, existing) = self.compare(domain, &channels, Some("--inactive"))?;
        for channel in &missing {
            self.attach_one(domain, channel, "--config")?;
        }
        let live = if self.is_running(domain)? {
            self.attach_live(domain, &channels)?
        } else {
            Live::NotRunning
        };
        let names = |list: Vec<&Channel>| list.into_iter().map(|c| c.name.clone()).collect();
        Ok(AttachReport { added: names(missing), existing: names(existing), live })
    }

    fn attach_live(&self, domain: &GuestName, channels: &[Channel]) -> Result<Live, LibvirtError> {
        let (missing, _) = self.compare(domain, channels, None)?;
        // Pipes first: they are what libvirt may not be able to add, and then nothing is half there.
        let (control, data): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|channel| channel.name == CONTROL_PORT);
        let mut added = 0;
        for channel in data.into_iter().chain(control) {
            match self.attach_one(domain, channel, "--live") {
                Ok(()) => added += 1,
                Err(LibvirtError::Refused { words, .. }) => return Ok(Live::AtNextStart(words)),
                Err(error) => return Err(error),
            }
        }
        Ok(Live::Complete(added))
    }

    fn attach_one(
        &self,
        domain: &GuestName,
        channel: &Channel,
        which: &str,
    ) -> Result<(), LibvirtError> {
        self.run(&["attach-device", domain.as_str(), "/dev/stdin", which], &channel.xml).map(drop)
    }

    /// The channels that a domain lacks, and those that it has.
    fn compare<'a>(
        &self,
        domain: &GuestName,
        channels: &'a [Channel],
        which: Option<&str>,
    ) -> Result<(Vec<&'a Channel>, Vec<&'a Channel>), LibvirtError> {
        let words: Vec<_> = ["dumpxml", domain.as_str()].into_iter().chain(which).collect();
        let xml = self.run(&words, "")?;
        let there = channels_in(&xml).map_err(|problem| LibvirtError::Output {
            command: format!("dumpxml {domain}"),
            problem,
        })?;
        let (mut missing, mut existing) = (Vec::new(), Vec::new());
        for channel in channels {
            match channel.names().iter().find_map(|name| there.get_key_value(name)) {
                None => missing.push(channel),
                Some((name, path)) if *name == channel.name && *path != channel.path => {
                    return Err(LibvirtError::Elsewhere {
                        channel: channel.name.clone(),
                        path: clean(path),
                        wanted: channel.path.clone(),
                    });
                }
                Some(_) => existing.push(channel),
            }
        }
        Ok((missing, existing))
    }

    /// Runs `virsh` with these words and this input, and returns what it prints.
    fn run(&self, words: &[&str], input: &str) -> Result<String, LibvirtError> {
        let failed = |source| LibvirtError::Run { program: self.virsh.clone(), source };
        let command = words.join(" ");
        let mut child = Command::new(&self.virsh)
            .arg("-q")
            .args(words)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let output = collect(child.stdout.take());
        let errors = collect(child.stderr.take());
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read it says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let success = wait(&mut child).map_err(failed)?;
        let text = |thread: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&thread.join().unwrap_or_default()).into_owned()
        };
        match success {
            Some(true) => Ok(text(output)),
            Some(false) => {
                let words = text(errors);
                let words: Vec<_> =
                    words.lines().map(|line| line.trim_start_matches("error: ")).collect();
                Err(LibvirtError::Refused { command, words: clean(words.join(": ").trim()) })
            }
            None => Err(LibvirtError::TimedOut { command }),
        }
    }
}

/// Reads on the side, so that neither stream can fill up while the other is read.
fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            let _ = stream.take(MAX_OUTPUT).read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Whether it ended well; `None` when it had to be killed.
fn wait(child: &mut Child) -> io::Result<Option<bool>> {
    let end = Instant::now() + STEP_TIME;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A domain's XML, bounded.
fn parse(xml: &str) -> Result<Document<'_>, String> {
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    // What it shows of the text may be anything.
    Document::parse_with_options(xml, options).map_err(|error| clean(&error.to_string()))
}

/// The devices of a kind that a domain has.
fn devices<'a>(document: &'a Document<'a>, kind: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    let domain = document.root_element();
    let devices = domain.children().filter(|node| node.has_tag_name("devices"));
    devices.flat_map(|node| node.children()).filter(move |node| node.has_tag_name(kind))
}

/// The CID of a domain's vsock device.
fn cid_in(xml: &str) -> Result<Option<u32>, String> {
    let document = parse(xml)?;
    let cids = devices(&document, "vsock").flat_map(|vsock| vsock.children());
    let address = cids.filter(|node| node.has_tag_name("cid")).find_map(|c| c.attribute("address"));
    let Some(address) = address else { return Ok(None) };
    // Lower ones are of the hypervisor and the host.
    match address.parse() {
        Ok(cid @ 3..=0xffff_fffe) => Ok(Some(cid)),
        _ => Err(format!("{:?} is no guest's vsock CID", clean(address))),
    }
}

/// The virtio channels of a domain and the paths they lead to.
fn channels_in(xml: &str) -> Result<BTreeMap<String, String>, String> {
    let document = parse(xml)?;
    let channels = devices(&document, "channel");
    let named = channels.filter_map(|channel| {
        let child = |tag| channel.children().find(|node| node.has_tag_name(tag));
        let target = child("target").filter(|node| node.attribute("type") == Some("virtio"))?;
        let path = child("source").and_then(|node| node.attribute("path")).unwrap_or_default();
        Some((target.attribute("name")?.to_owned(), path.to_owned()))
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::setup::SetupOptions;

    const DOMAIN: &str = "<domain type='kvm'><name>g</name><devices>
        <channel type='pipe'><source path='V/g/trace-path-cpu0'/><target type='virtio' name='trace-path-cpu0'/></channel>
        <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
        <channel type='pty'><target type='guestfwd' port='4600'/></channel></devices></domain>";

    /// A `virsh` that knows the domain `g`, and notes what is attached to it.
    fn fake(dir: &Path, domain: &str, state: &str) -> Libvirt {
        let (source, virsh) = (dir.join("source"), dir.join("virsh"));
        fs::write(dir.join("g.xml"), domain.replace('V', &dir.to_string_lossy())).unwrap();
        let script = format!(
            "#!/bin/sh\nshift\ncase \"$*\" in\n\
             'dumpxml g'|'dumpxml g --inactive') cat {0}/g.xml ;;\n\
             'domstate g') echo {state} ;;\n\
             'vcpucount --maximum g') echo 2 ;;\n\
             'attach-device g /dev/stdin --live') echo 'error: no way' >&2; exit 1 ;;\n\
             'attach-device g /dev/stdin --config') cat >>{0}/attached ;;\n\
             *) exit 2 ;;\nesac\n",
            dir.display()
        );
        fs::write(&source, script).unwrap();
        // Written by another process: one that is being started by another test would keep it open for writing.
        let status = Command::new("install").args(["-m", "755"]).arg(source).arg(&virsh).status();
        assert!(status.unwrap().success());
        Libvirt::with_virsh(virsh)
    }

    fn guest() -> GuestName {
        GuestName::new("g").unwrap()
    }

    fn set_up(temp: &Path) -> VirtDir {
        let dir = VirtDir::new(temp);
        dir.setup(&guest(), &SetupOptions { cpus: 2, ..Default::default() }).unwrap();
        dir
    }

    #[test]
    fn what_is_missing_is_attached_and_the_rest_left() {
        let temp = tempfile::tempdir().unwrap();
        let libvirt = fake(temp.path(), DOMAIN, "'shut off'");
        let dir = set_up(temp.path());
        assert_eq!(libvirt.cpus(&guest()).unwrap(), 2);
        let report = libvirt.attach(&dir, &guest(), 2).unwrap();
        assert_eq!(report.added, ["agent-ctl-path", "trace-path-cpu1"]);
        assert_eq!(report.existing, ["trace-path-cpu0"]);
        assert_eq!(report.live, Live::NotRunning);
        let attached = fs::read_to_string(temp.path().join("attached")).unwrap();
        assert_eq!(attached.matches("<channel").count(), 2);
    }

    #[test]
    fn what_libvirt_cannot_do_to_a_running_domain_waits() {
        let temp = tempfile::tempdir().unwrap();
        let libvirt = fake(temp.path(), DOMAIN, "running");
        let report = libvirt.attach(&set_up(temp.path()), &guest(), 2).unwrap();
        assert_eq!(report.live, Live::AtNextStart("no way".to_owned()));
    }

    #[test]
    fn channels_that_lead_elsewhere_are_no_match() {
        let temp = tempfile::tempdir().unwrap();
        let libvirt = fake(temp.path(), &DOMAIN.replace("V/", "/other/"), "running");
        let error = libvirt.attach(&set_up(temp.path()), &guest(), 1).unwrap_err();
        assert!(matches!(error, LibvirtError::Elsewhere { .. }), "{error}");
        assert!(!temp.path().join("attached").exists());
    }

    #[test]
    fn the_vsock_cid_of_a_domain_is_a_guests() {
        let temp = tempfile::tempdir().unwrap();
        let vsock = |cid: &str| {
            DOMAIN.replace("</devices>", &format!("<vsock model='virtio'>{cid}</vsock></devices>"))
        };
        let cid = |domain: &str| fake(temp.path(), domain, "running").vsock_cid(&guest());
        assert_eq!(cid(&vsock("<cid auto='yes' address='33'/>")).unwrap(), Some(33));
        assert_eq!(cid(&vsock("<cid auto='yes'/>")).unwrap(), None);
        assert_eq!(cid(DOMAIN).unwrap(), None);
        for bad in ["2", "-1", "4294967295", "x"] {
            let error = cid(&vsock(&format!("<cid address='{bad}'/>"))).unwrap_err();
            assert!(error.to_string().contains("no guest's vsock CID"), "{error}");
        }
    }

    #[test]
    fn output_without_sense_and_a_program_that_is_not_there_are_told() {
        let temp = tempfile::tempdir().unwrap();
        let libvirt = fake(temp.path(), "<domain><devices>", "running");
        let error = libvirt.attach(&set_up(temp.path()), &guest(), 1).unwrap_err();
        assert!(matches!(error, LibvirtError::Output { .. }), "{error}");
        let bomb = "<!DOCTYPE d [<!ENTITY a 'aaaa'>]><domain>&a;</domain>";
        assert!(channels_in(bomb).is_err());
        let error = Libvirt::with_virsh("/nonexistent/virsh").cpus(&guest()).unwrap_err();
        assert!(matches!(error, LibvirtError::Run { .. }), "{error}");
    }
}
