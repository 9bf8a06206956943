//! Set-up: find what the commands need, fetch and make what is missing, say both.
//!
//! Three things come from outside the workspace. The Rust compiler is the user's ([`choice`]);
//! core and alloc for bare-metal targets come with it, or are made from its source ([`sysroot`]).
//! The emulators, the linker ([`tools`]) and the programs for the image ([`userland`]) are packages
//! of one pinned release ([`archive`]), unpacked ([`packages`]) in the user's [`cache`]. So a
//! machine needs a Rust toolchain and Debian's or Ubuntu's package manager, no rights, and a
//! network once. On another system variables name what is there.
//!
//! Invariants: nothing here calls rustup or changes its settings; nothing is written outside the
//! cache and the checkout's `target`; with all in place no process is started that needs a network.
//! What is in the cache is whole: it can be interrupted, damaged or removed at any time, and is
//! mended at the next start.
//!
//! May import what all wings use (`arch`, `jobs`, `progress`, `workspace`); nothing here knows the
//! kernel or its tests.

mod archive;
mod bochs;
mod cache;
mod choice;
mod compilers;
mod hosted;
mod kernel_module;
pub(crate) mod library;
mod linker;
mod linux;
mod packages;
mod programs;
mod ready;
mod second_qemu;
mod sysroot;
mod system;
pub(crate) mod toolchain;
mod tools;
mod userland;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{fmt, fs};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::variant::Variant;
use crate::{jobs, progress, workspace};

use archive::Archive;
pub(crate) use bochs::{bochs, bochs_release};
use cache::{Lock, State, fingerprint};
use choice::Found;
pub(crate) use compilers::of_release as compiler_of;
pub(crate) use hosted::hosted_on_arm64;
pub(crate) use kernel_module::{ModuleTools, module_tools};
pub(crate) use linux::{Linux, linux};
pub(crate) use programs::{mutants, semver_checks};
pub(crate) use ready::Ready;
pub(crate) use second_qemu::{qemu_release, second_emulator};
pub(crate) use sysroot::{OTHER_TARGET, description as target_description};
pub(crate) use system::{System, system, system_without};
pub(crate) use toolchain::{Release, Toolchain, stated as stated_release};
pub(crate) use tools::emulator;

/// Something that is not there yet, or damaged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Missing {
    /// Emulators and linker.
    Tools,
    /// Core and alloc for an architecture, and the source to make them from where `fetched`.
    Core { arch: Arch, fetched: bool },
    /// The busybox of an architecture.
    Busybox(Arch),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Tools => {
                f.write_str("the emulators and the linker, as packages: about 100 MB to download, 430 MB unpacked")
            }
            Missing::Core { arch, fetched } => {
                let target = arch.target();
                write!(f, "core and alloc for {target}: made from their source in about 20 s")?;
                if *fetched { f.write_str(" (to download, once: about 50 MB)") } else { Ok(()) }
            }
            Missing::Busybox(arch) => {
                write!(f, "the static busybox for {arch}: about 11 MB to download, the list of packages included")
            }
        }
    }
}

/// `cargo xtask setup`
///
/// `more` fetches what the tests take of an architecture besides.
pub(crate) fn command(
    archs: &[Arch],
    with_boards: bool,
    more: fn(Arch) -> Result<()>,
) -> Result<ExitCode> {
    progress::set_verbose();
    let mut ready = ensure_all(archs)?;
    for (&arch, ready) in archs.iter().zip(&mut ready) {
        for board in arch.description().boards.iter().filter(|board| !board.is_extra) {
            add_variant(ready, arch, board.variant)?;
        }
    }
    archs.iter().try_for_each(|&arch| more(arch))?;
    if let Some((_, ready)) = archs.iter().zip(&ready).find(|(arch, _)| **arch == Arch::Arm64) {
        hosted::build(ready)?;
    }
    if archs.contains(&Arch::X86_64) {
        // Every run of its tests boots one machine there.
        bochs()?;
    }
    if with_boards {
        bochs()?;
        for &arch in archs {
            second_emulator(arch)?;
        }
    }
    for (&arch, ready) in archs.iter().zip(&ready) {
        let emulator = emulator(arch)?;
        println!("{arch}");
        println!("  compiler  {}", ready.toolchain);
        println!("  linker    {}", ready.linker);
        println!("  emulator  {}", emulator.display());
        println!("            {}", tools::version(&emulator)?);
        println!("  busybox   {}", ready.busybox.display());
    }
    // A machine without packages has neither; of Bochs the tests of x86_64 say so.
    let whole = |state: Result<State>| state.is_ok_and(|state| state == State::Whole);
    let boards = whole(bochs::state()) && whole(second_qemu::state());
    println!("{}", boards_told(boards));
    println!("Ready: {} work without a network from now on.", {
        match (archs.len() == Arch::supported().len(), boards) {
            (true, true) => "all commands",
            (true, false) => "all commands but that one",
            (false, _) => "commands with this --arch",
        }
    });
    Ok(ExitCode::SUCCESS)
}

/// Whether what one command alone takes is included.
fn boards_told(there: bool) -> String {
    let what = "what `cargo xtask test --boards` takes besides, a second release of QEMU (and Bochs for i386),";
    if there {
        format!("{what} is there.")
    } else {
        format!(
            "{what} is not included: that command fetches it (about 165 MB), or `cargo xtask setup --boards`."
        )
    }
}

/// Makes everything ready for an architecture, fetching and making what is missing.
pub(crate) fn ensure(arch: Arch) -> Result<Ready> {
    let mut ready = ensure_all(&[arch])?;
    ready.pop().context("set-up of one architecture")
}

/// The same for several at once.
pub(crate) fn ensure_all(archs: &[Arch]) -> Result<Vec<Ready>> {
    if !missing(archs)?.is_empty() {
        // Looked at again with the lock: another command may have made it meanwhile.
        let lock = Lock::take()?;
        let missing = missing(archs)?;
        make(&lock, &missing)?;
    }
    archs.iter().map(|&arch| ready(arch)).collect()
}

/// Core and alloc for a variant of the kernel, made if they are not there.
pub(crate) fn add_variant(ready: &mut Ready, arch: Arch, variant: Variant) -> Result<()> {
    if variant == Variant::Usual || ready.sysroot_of(variant).is_some() {
        return Ok(());
    }
    ensure!(arch.has_variant(variant), "the kernel has no variant {} for {arch}", variant.name());
    let toolchain = &ready.toolchain;
    if sysroot::cached(toolchain, arch, variant)?.is_none() {
        choice::library_source(toolchain)?;
        let lock = Lock::take()?;
        if sysroot::cached(toolchain, arch, variant)?.is_none() {
            sysroot::make(&lock, toolchain, arch, variant)?;
        }
    }
    let made = sysroot::cached(toolchain, arch, variant)?;
    ready.variants.push((variant, made.context("core and alloc were made and are gone again")?));
    Ok(())
}

fn ready(arch: Arch) -> Result<Ready> {
    let Found::Ready(toolchain) = choice::find(arch)? else {
        bail!(
            "core and alloc for {} were made and are gone again; please try again",
            arch.target()
        );
    };
    let linker = linker::ready(&toolchain, arch)?;
    fetch_crates(&toolchain)?;
    Ok(Ready { toolchain, linker, busybox: userland::busybox(arch)?, variants: Vec::new() })
}

fn missing(archs: &[Arch]) -> Result<Vec<Missing>> {
    let mut missing = Vec::new();
    if tools::state()? != State::Whole {
        missing.push(Missing::Tools);
    }
    for &arch in archs {
        match choice::find(arch)? {
            Found::Ready(_) => {}
            Found::NeedsSysroot(_) => missing.push(Missing::Core { arch, fetched: false }),
            Found::NeedSource(_) => missing.push(Missing::Core { arch, fetched: true }),
        }
        if userland::state(arch)? != State::Whole {
            missing.push(Missing::Busybox(arch));
        }
    }
    Ok(missing)
}

fn make(lock: &Lock, missing: &[Missing]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("kstack needs what is not there yet. It goes to {}:", cache::folder()?.display());
    for one in missing {
        eprintln!("  {one}");
    }
    let downloaded = |one: &&Missing| !matches!(one, Missing::Core { fetched: false, .. });
    let from_archive: Vec<&Missing> = missing.iter().filter(downloaded).collect();
    if !from_archive.is_empty()
        && let Err(error) = Archive::check()
    {
        bail!("{error:#}; please provide by hand, then try again:\n\n{}", by_hand(&from_archive)?);
    }
    let mut cores = Vec::new();
    for one in missing {
        match *one {
            Missing::Tools => tools::make(lock)?,
            Missing::Core { arch, .. } => {
                choice::fetch(lock, arch)?;
                cores.push(arch);
            }
            Missing::Busybox(arch) => userland::make(lock, arch)?,
        }
    }
    // Each keeps one CPU busy for half a minute.
    jobs::each(cores, |arch| choice::make(lock, arch)).into_iter().collect()
}

/// What to install where there is no archive to take packages from, and which variables name it.
fn by_hand(missing: &[&Missing]) -> Result<String> {
    let mut text = String::new();
    for one in missing {
        text.push_str(&match one {
            Missing::Tools => {
                let names = Arch::supported().into_iter().map(|arch| arch.description().qemu);
                format!(
                    "  QEMU 11 or newer with {}: {}=FOLDER that has them\n  \
                     LLVM's linker ld.lld: {}=FILE\n",
                    names.collect::<Vec<_>>().join(", "),
                    tools::QEMU,
                    tools::LINKER
                )
            }
            Missing::Core { arch, .. } => format!("  {}\n", choice::by_hand(*arch)?),
            Missing::Busybox(arch) => format!(
                "  a static busybox for {arch}: {}=FOLDER that has it as busybox-{arch}\n",
                userland::BUSYBOX
            ),
        });
    }
    Ok(text)
}

/// The clippy that belongs to the kernel's compiler; only `cargo xtask lint` needs it.
pub(crate) fn clippy(toolchain: &Toolchain) -> Result<PathBuf> {
    let path = toolchain.rustc.with_file_name("cargo-clippy");
    if !path.is_file() {
        bail!(
            "there is no clippy beside {}: `rustup component add clippy`, or the package rust-clippy, has it",
            toolchain.rustc.display()
        );
    }
    Ok(path)
}

/// Downloads the crates that the lock file names, so that builds work offline; done again only when
/// the lock file has changed.
fn fetch_crates(toolchain: &Toolchain) -> Result<()> {
    let mut lock = fs::read(workspace::root().join("Cargo.lock")).unwrap_or_default();
    for folder in library::examples()? {
        lock.extend(fs::read(folder.join("Cargo.lock")).unwrap_or_default());
    }
    let stamp = workspace::output()?.join("fetched");
    let key = format!("{:016x}\n", fingerprint(&lock));
    if fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
        return Ok(());
    }
    let mut cargo = toolchain.cargo();
    cargo.arg("fetch");
    progress::command("Downloading the crates named in Cargo.lock", &mut cargo)?;
    // The examples find the library where it is unpacked.
    library::pack()?;
    for folder in library::examples()? {
        let mut cargo = toolchain.cargo();
        cargo.arg("fetch").current_dir(&folder);
        let name = format!("Downloading the crates of {}", workspace::shown(&folder));
        progress::command(&name, &mut cargo)?;
    }
    fs::write(&stamp, key)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_up_says_whether_what_one_command_alone_takes_is_included() {
        assert!(boards_told(true).ends_with("is there."));
        assert!(boards_told(false).contains("not included"));
        assert!(boards_told(false).contains("setup --boards"));
    }

    #[test]
    fn what_to_do_by_hand_names_every_variable() {
        let core = Missing::Core { arch: Arch::I386, fetched: true };
        let text = by_hand(&[&Missing::Tools, &core, &Missing::Busybox(Arch::Arm32)]).unwrap();
        for part in [
            "KSTACK_QEMU=",
            "KSTACK_LINKER=",
            "KSTACK_BUSYBOX=",
            "busybox-arm32",
            "component add rust-src",
            "qemu-system-riscv64",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
