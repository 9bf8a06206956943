//! One boot of a PC's kernel in Bochs, which enforces what QEMU's TCG lets pass: canonical
//! addresses in registers, segment limits, AMD's `syscall` in compatibility mode.
//!
//! ```text
//!   memory images   0x1_0000 handoff | 0x10_0000 kernel | 0x400_0000 archive
//!   option ROM      asks the firmware for the memory map, enters the kernel as a PVH loader does (crate `rom`)
//!   serial lines    files, as in QEMU
//!   end             the kernel writes why to port 0xe9, which arrives on standard output, and "Shutdown" to port 0x8900
//! ```
//!
//! The kernel is the one that QEMU boots. Time is counted in instructions, so that a boot is the
//! same each time; Bochs's own status is 1 in any case, and a machine that ended without saying why
//! was reset.
//!
//! Invariant: each memory image lies within one of the emulator's blocks ([`BLOCK`]). The emulator
//! gives out its memory block by block as it is touched, and reads an image to where its first
//! byte's block is.

mod handoff;
mod rom;

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::boot::qemu::{End, Finished, Guard, memory_mib, tied, watched};
use crate::build::image;
use crate::setup::{self, Ready};
use crate::workspace;
pub(crate) use rom::target as rom_target;

/// The largest block that the emulator's memory can have.
const BLOCK: u64 = 8 << 20;
/// Where the archive goes: the beginning of a block.
const ARCHIVE: u64 = 0x400_0000;
/// Where the kernel's lowest segment belongs.
const KERNEL: u64 = 0x10_0000;

/// A boot to be made.
pub(crate) struct Boot<'a> {
    /// The architecture, a PC.
    pub(crate) arch: Arch,
    /// The CPU's model.
    pub(crate) model: &'a str,
    /// The kernel's ELF file.
    pub(crate) kernel: &'a Path,
    /// The cpio archive.
    pub(crate) initramfs: &'a Path,
    /// The kernel's command line.
    pub(crate) command_line: String,
    /// The number of CPUs.
    pub(crate) cpus: u32,
    /// The memory.
    pub(crate) memory: &'a str,
    /// The name of the logs.
    pub(crate) name: String,
    /// How long the control channel may be silent.
    pub(crate) timeout: Duration,
}

impl Boot<'_> {
    /// Runs the machine to its end, giving each line of the control channel to the caller as it
    /// comes.
    pub(crate) fn run(&self, ready: &Ready, on_line: &mut dyn FnMut(&str)) -> Result<Finished> {
        let emulator = setup::bochs()?;
        let logs = workspace::logs()?;
        let name = format!("{}-{}", self.arch, self.name);
        // Everything is named from here: its configuration has no quotes.
        let folder = workspace::made(logs.join(format!("{name}.bochs")))?;
        let console = logs.join(format!("{name}.console.log"));
        let control = logs.join(format!("{name}.control.log"));
        for path in [&console, &control] {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let mib = memory_mib(self.memory);
        let kernel = fs::read(self.kernel).context("no kernel")?;
        let (entry, start) = handoff::entry_and_start(&kernel)?;
        ensure!(start == KERNEL, "the kernel belongs at {start:#x}");
        let memory = image::flat_of_pc(self.arch, &kernel)?;
        let archive = fs::read(self.initramfs).context("no archive")?;
        ensure!(KERNEL + memory.len() as u64 <= BLOCK, "the kernel is too large for one block");
        ensure!(archive.len() as u64 <= BLOCK, "the archive is too large for one block");
        let line = format!("{} has-cpus={} has-mib={mib}", self.command_line, self.cpus);
        let handoff = handoff::bytes(entry, (ARCHIVE, archive.len() as u64), &line);
        for (file, bytes) in [
            ("kernel", &memory),
            ("archive", &archive),
            ("handoff", &handoff),
            ("rom", &rom::build(self.arch, ready)?),
            ("configuration", &self.configuration(mib, &name).into_bytes()),
            ("commands", &b"c\n".to_vec()),
        ] {
            fs::write(folder.join(file), bytes)?;
        }
        let said = folder.join("output");
        let output = File::create(&said)?;
        let mut command = tied(&emulator);
        command
            .args(["-q", "-f", "configuration", "-rc", "commands"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output);
        let mut child = Guard(command.spawn().context("cannot start Bochs")?);
        let (status, mut lines) =
            watched(&mut child.0, &control, None, Some(self.timeout), on_line)?;
        lines.read(on_line)?;
        lines.finish(on_line);
        let output = fs::read(&said)?;
        let end = if status.is_some() { end_of(&output) } else { End::Timeout };
        let complaint = complaint(&String::from_utf8_lossy(&output));
        Ok(Finished { end, console, control, complaint })
    }

    fn configuration(&self, mib: u64, name: &str) -> String {
        let Boot { model, cpus, .. } = self;
        // 50 million instructions are a second. What Bochs lacks of a model's registers (those of
        // machine checks) reads as 0.
        format!(
            "memory: guest={mib}, host={mib}, block_size={block}\n\
             cpu: model={model}, count={cpus}, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1\n\
             romimage: file=$BXSHARE/BIOS-bochs-latest\n\
             vgaromimage: file=$BXSHARE/VGABIOS-lgpl-latest\n\
             optromimage1: file=rom, address={rom:#x}\n\
             optramimage1: file=handoff, address={handoff:#x}\n\
             optramimage2: file=kernel, address={KERNEL:#x}\n\
             optramimage3: file=archive, address={ARCHIVE:#x}\n\
             display_library: rfb, options=\"timeout=0\"\n\
             com1: enabled=1, mode=file, dev=../{name}.console.log\n\
             com2: enabled=1, mode=file, dev=../{name}.control.log\n\
             port_e9_hack: enabled=1\n\
             clock: sync=none\n\
             sound: waveoutdrv=dummy\n\
             speaker: enabled=0\n\
             panic: action=fatal\n\
             error: action=ignore\n\
             info: action=ignore\n\
             debug: action=ignore\n\
             log: log\n",
            block = BLOCK >> 10,
            rom = rom::ADDRESS,
            handoff = handoff::ADDRESS,
        )
    }
}

/// How the kernel said that it ends: the byte that it wrote last is none that the emulator itself
/// writes.
fn end_of(output: &[u8]) -> End {
    let said = output.iter().rev().find_map(|byte| match byte {
        0x08 => Some(End::Orderly),
        0x10 => Some(End::Report),
        0x18 => Some(End::Panic),
        _ => None,
    });
    said.unwrap_or(End::Reset)
}

/// Why the emulator says that it ends, unless it was asked to.
fn complaint(output: &str) -> String {
    let after = output.split("exiting with the following message:").nth(1);
    let line = after.and_then(|rest| rest.lines().nth(1)).unwrap_or_default();
    if line.contains("hutdown") { String::new() } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_the_kernel_is_how_it_ended() {
        assert_eq!(end_of(b"Bochs\n\x08\nBochs is exiting\n"), End::Orderly);
        assert_eq!(end_of(b"\x10"), End::Report);
        assert_eq!(end_of(b"\x08 \x18\r\n\t"), End::Panic);
        assert_eq!(end_of(b"Bochs is exiting\n"), End::Reset);
    }

    #[test]
    fn a_triple_fault_is_told_and_an_end_that_was_asked_for_is_not() {
        let said = |why| format!("==\nBochs is exiting with the following message:\n{why}\n===\n");
        let fault = "[CPU0  ] exception(): 3rd (14) exception with no resolution";
        assert_eq!(complaint(&said(fault)), fault);
        assert_eq!(complaint(&said("[UNMAP ] Shutdown port: shutdown requested")), "");
        assert_eq!(complaint(""), "");
    }
}
