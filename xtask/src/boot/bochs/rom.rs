//! The option ROM (crate `rom`), built for the kernel's target and put into the form in which
//! firmware looks for it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::build::{image, user};
use crate::setup::Ready;
use crate::{progress, workspace};

/// Where it is linked and shown to the firmware.
pub(super) const ADDRESS: u64 = 0xd_0000;
/// Sizes are counted in blocks of so many bytes.
const BLOCK: usize = 512;

/// Makes a cargo command one for the ROM.
pub(crate) fn target(
    mut cargo: Command,
    arch: Arch,
    ready: &Ready,
    subcommand: &str,
) -> Result<Command> {
    let mut flags = user::flags(arch, ready);
    let script = workspace::root().join("rom/rom.ld");
    flags.push(format!("-Clink-arg=-T{}", script.display()));
    cargo
        .args([subcommand, "-p", "rom", "--release", "--target", arch.target()])
        .arg("--target-dir")
        .arg(workspace::output_for(arch.name())?.join("rom"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    Ok(cargo)
}

/// Builds it.
pub(super) fn build(arch: Arch, ready: &Ready) -> Result<Vec<u8>> {
    let mut cargo = target(ready.toolchain.cargo(), arch, ready, "build")?;
    progress::quiet(cargo.arg("--quiet"))?;
    let path =
        workspace::output_for(arch.name())?.join("rom").join(arch.target()).join("release/rom");
    let file = fs::read(&path).with_context(|| format!("cargo built no {}", path.display()))?;
    whole(image::flat_of_pc(arch, &file)?)
}

/// Fills in the length, and the last byte so that all of them add up to 0.
fn whole(mut rom: Vec<u8>) -> Result<Vec<u8>> {
    ensure!(rom.starts_with(&[0x55, 0xaa]), "the ROM does not begin as one");
    rom.resize((rom.len() + 1).next_multiple_of(BLOCK), 0);
    rom[2] = u8::try_from(rom.len() / BLOCK).context("the ROM is too large")?;
    let sum = rom.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
    *rom.last_mut().context("an empty ROM")? = sum.wrapping_neg();
    Ok(rom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rom_has_its_length_and_adds_up_to_nothing() {
        for bytes in [3, 511, 512, 1000] {
            let mut rom = vec![7; bytes];
            rom[..2].copy_from_slice(&[0x55, 0xaa]);
            let rom = whole(rom).unwrap();
            assert_eq!(rom.len(), usize::from(rom[2]) * BLOCK);
            assert!(rom.len() > bytes, "the last byte is the sum's");
            assert_eq!(rom.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte)), 0);
        }
        assert!(whole(vec![0; 100]).is_err());
    }
}
