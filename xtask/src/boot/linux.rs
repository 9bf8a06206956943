//! A machine with the distribution's kernel and the image that ours is given.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};

use super::qemu::{self, End, Finished};
use crate::setup::{self, Linux};
use crate::workspace;

/// A boot to be made.
pub(crate) struct Boot<'a> {
    /// The kernel.
    pub(crate) linux: &'a Linux,
    /// The cpio archive.
    pub(crate) image: &'a Path,
    /// The first program, by its path in the image. Its end is the kernel's panic, which ends the
    /// machine.
    pub(crate) first: &'a str,
    /// The number of CPUs.
    pub(crate) cpus: u32,
    /// The memory, as the emulator writes it.
    pub(crate) memory: &'a str,
    /// Whether time is counted in executed instructions, as for [`qemu::Boot`].
    pub(crate) counting: Option<u32>,
    /// The name of the logs.
    pub(crate) name: String,
    /// How long the console may be silent.
    pub(crate) timeout: Duration,
}

impl Boot<'_> {
    /// Runs the machine to its end, giving each line of the console to the caller as it comes.
    pub(crate) fn run(&self, on_line: &mut dyn FnMut(&str)) -> Result<Finished> {
        let Linux { machine, console: line, kernel, .. } = self.linux;
        let emulator = setup::emulator(*machine)?;
        let folder = workspace::logs()?;
        let log = |kind: &str| folder.join(format!("{}.{kind}.log", self.name));
        let (console, errors) = (log("console"), log("emulator"));
        File::create(&console).with_context(|| format!("cannot write {}", console.display()))?;
        let mut command = qemu::tied(&emulator);
        command
            .args(qemu::machine(machine.board(), &emulator, self.image, self.counting)?)
            .args(["-display", "none", "-nodefaults", "-no-reboot"])
            .args(["-smp", &self.cpus.to_string(), "-m", self.memory])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(self.image)
            .args([
                "-append",
                &format!("console={line} rdinit={} panic=-1 quiet loglevel=1", self.first),
            ])
            .args(["-chardev", &format!("file,id=console,path={}", qemu::escaped(&console))])
            .args(["-serial", "chardev:console"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?);
        let mut child = qemu::Guard(
            command.spawn().with_context(|| format!("cannot start {}", emulator.display()))?,
        );
        let limit = Some(self.timeout);
        let (status, mut lines) = qemu::watched(&mut child.0, &console, None, limit, on_line)?;
        lines.read(on_line)?;
        lines.finish(on_line);
        let complaint = fs::read_to_string(&errors).unwrap_or_default();
        fs::remove_file(&errors)?;
        let end = status.map_or(End::Timeout, End::of);
        Ok(Finished { end, control: console.clone(), console, complaint })
    }
}
