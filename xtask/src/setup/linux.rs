//! The distribution's kernel, for what Linux answers: fetched when a command asks it, and by no
//! other.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::archive::{Archive, Edition};
use super::cache::{self, Lock, State};
use super::packages::Packages;
use crate::arch::Arch;

/// Linux for an architecture's programs.
pub(crate) struct Linux {
    /// The machine that it runs on: a 64-bit one has 32-bit programs too.
    pub(crate) machine: Arch,
    /// What it calls its first serial line.
    pub(crate) console: &'static str,
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// Its release, as `uname -r` has it: packages with what belongs to it have it in their names.
    pub(crate) release: String,
}

/// The release that this kernel is compared with: its packages' names begin so.
const BEGIN: &str = "linux-image-6.12.";
/// The names of the kernel and of its release in the folder.
const KERNEL: &str = "vmlinuz";
const RELEASE: &str = "release";

/// The distribution's kernel, fetched if need be.
pub(crate) fn linux(arch: Arch) -> Result<Linux> {
    // There is no kernel for i386 any more: its programs run on the other PC's.
    let (machine, flavour, console) = match arch {
        Arch::X86_64 | Arch::I386 => (Arch::X86_64, "-cloud-amd64", "ttyS0"),
        Arch::Arm64 => (Arch::Arm64, "-cloud-arm64", "ttyAMA0"),
        Arch::Arm32 => (Arch::Arm32, "-armmp", "ttyAMA0"),
        Arch::Riscv64 => (Arch::Riscv64, "-riscv64", "ttyS0"),
    };
    let packages = |name: String| Packages {
        name: format!("linux-{machine}"),
        edition: Edition::Pinned,
        architecture: machine.description().debian.to_owned(),
        sets: vec![vec![name]],
        with_needs: false,
        programs: Vec::new(),
    };
    // The folder has the flavour's name: a newer release of the same is not fetched again.
    let any = packages(format!("{BEGIN}*{flavour}"));
    let folder = any.folder()?;
    // A folder of an earlier version of this command does not say which release it holds.
    let release = || fs::read_to_string(folder.join(RELEASE)).ok();
    if any.state()? != State::Whole || release().is_none() {
        // Looked at again with the lock: another command may have made it meanwhile.
        let lock = Lock::take()?;
        let state = any.state()?;
        if state != State::Whole || release().is_none() {
            cache::say_if_damaged(&folder, &state);
            let archive = Archive::open(&any.architecture, Edition::Pinned)?;
            let newest = newest(archive.named(BEGIN)?, flavour)
                .with_context(|| format!("the archive has no {BEGIN}*{flavour}"))?;
            packages(newest).make_at(&lock, &archive, &folder, keep_kernel)?;
        }
    }
    let release = release().context("the kernel's release is gone again; please try again")?;
    Ok(Linux { machine, console, kernel: folder.join(KERNEL), release })
}

/// The name with the highest third number.
fn newest(names: Vec<String>, flavour: &str) -> Option<String> {
    let number = |name: &String| -> Option<u32> {
        let rest = name.strip_prefix(BEGIN)?.strip_suffix(flavour)?;
        // What is between them is a mark of the distribution's release, and no other flavour.
        if rest.contains('-') { None } else { rest.split('+').next()?.parse().ok() }
    };
    names.into_iter().filter(|name| number(name).is_some()).max_by_key(number)
}

/// Keeps the kernel of a package and the name of its release, and none of its modules.
fn keep_kernel(root: &Path) -> Result<()> {
    let boot = root.join("boot");
    let mut found = None;
    for entry in fs::read_dir(&boot).context("the package holds no /boot")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("vmlinuz-") || name.starts_with("vmlinux-") {
            ensure!(found.is_none(), "the package holds two kernels");
            found = Some(entry.path());
        }
    }
    let kernel = found.context("the package holds no kernel")?;
    let name = kernel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let release = name.split_once('-').map_or("", |(_, release)| release).to_owned();
    let kept = fs::read(kernel)?;
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
    }
    fs::write(root.join(KERNEL), kept)?;
    fs::write(root.join(RELEASE), release)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_a_flavour_is_taken() {
        let names = ["9+deb13-armmp", "117+deb13-armmp", "118+deb13-rt-armmp", "119+deb13-arm64"];
        let names = names.iter().map(|name| format!("{BEGIN}{name}")).collect();
        assert_eq!(newest(names, "-armmp").as_deref(), Some("linux-image-6.12.117+deb13-armmp"));
        assert_eq!(newest(Vec::new(), "-armmp"), None);
    }

    #[test]
    fn the_kernel_alone_is_kept() {
        let root = std::env::temp_dir().join(format!("kstack-linux-{}", std::process::id()));
        fs::create_dir_all(root.join("boot")).unwrap();
        fs::create_dir_all(root.join("usr/lib/modules/6.1")).unwrap();
        fs::write(root.join("boot/config-6.1"), b"y").unwrap();
        assert!(keep_kernel(&root).unwrap_err().to_string().contains("no kernel"));
        fs::write(root.join("boot/vmlinuz-6.1-cloud"), b"MZ").unwrap();
        keep_kernel(&root).unwrap();
        assert_eq!(fs::read(root.join(KERNEL)).unwrap(), b"MZ");
        assert_eq!(fs::read_to_string(root.join(RELEASE)).unwrap(), "6.1-cloud");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
        fs::remove_dir_all(&root).unwrap();
    }
}
