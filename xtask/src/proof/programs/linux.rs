//! A machine with the distribution's kernel and the image that ours is given.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{CPUS, MEMORY};
use crate::arch::Arch;
use crate::boot::qemu::{self, End, Finished};
use crate::{setup, workspace};

/// Boots it and waits for its end.
pub(super) fn boot(arch: Arch, image: &Path, timeout: Duration) -> Result<Finished> {
    let linux = setup::linux(arch)?;
    let emulator = setup::emulator(linux.machine)?;
    let folder = workspace::logs()?;
    let log = |kind: &str| folder.join(format!("{arch}-linux-{}.{kind}.log", std::process::id()));
    let (console, errors) = (log("console"), log("emulator"));
    File::create(&console).with_context(|| format!("cannot write {}", console.display()))?;
    let mut command = qemu::tied(&emulator);
    command
        .args(linux.machine.board().arguments)
        .args(["-display", "none", "-nodefaults", "-no-reboot"])
        .args(["-smp", &CPUS.to_string(), "-m", MEMORY])
        .arg("-kernel")
        .arg(&linux.kernel)
        .arg("-initrd")
        .arg(image)
        // The runner's end is that of the first process, which is a panic.
        .args([
            "-append",
            &format!(
                "console={} rdinit=/kstack/programs/run panic=-1 quiet loglevel=1",
                linux.console
            ),
        ])
        .args(["-chardev", &format!("file,id=console,path={}", qemu::escaped(&console))])
        .args(["-serial", "chardev:console"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&errors)?);
    let mut child = qemu::Guard(
        command.spawn().with_context(|| format!("cannot start {}", emulator.display()))?,
    );
    let (status, _) = qemu::watched(&mut child.0, &console, None, Some(timeout), &mut |_| {})?;
    let complaint = fs::read_to_string(&errors).unwrap_or_default();
    fs::remove_file(&errors)?;
    let end = status.map_or(End::Timeout, End::of);
    Ok(Finished { end, control: console.clone(), console, complaint })
}
