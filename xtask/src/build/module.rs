//! Building a module for the distribution's kernel from one C file.
//!
//! ```text
//!   NAME.c ──clang──> NAME.o ──objtool (x86_64)──> modpost ──> NAME.mod.c ──clang──> NAME.mod.o ──ld──> NAME.ko
//!             the kernel's headers                 versions of the symbols that it takes
//! ```
//!
//! The steps are those of the kernel's own makefiles. Its configuration is of GCC, which has built
//! it: [`CLANG_S_OWN`] takes back what is not so of Clang. The kernel is not touched by that; the
//! code that is measured is its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::setup::ModuleTools;
use crate::{progress, workspace};

/// Read between the kernel's configuration and what depends on the compiler.
const CLANG_S_OWN: &str = "\
#undef CONFIG_CC_IS_GCC
#define CONFIG_CC_IS_CLANG 1
/* Clang names no segment in assembly for an operand that lies in one. */
#undef CONFIG_CC_HAS_NAMED_AS
#undef CONFIG_USE_X86_SEG_SUPPORT
";

/// What the kernel's makefiles pass for every file of C, as far as it is about what the code means.
const C: [&str; 14] = [
    "-std=gnu11",
    "-O2",
    "-fno-strict-aliasing",
    "-fno-strict-overflow",
    "-fno-common",
    "-fshort-wchar",
    "-funsigned-char",
    "-fno-PIE",
    "-fno-asynchronous-unwind-tables",
    "-fno-delete-null-pointer-checks",
    "-fno-stack-protector",
    "-fno-builtin",
    "-fno-jump-tables",
    // Warnings are about the kernel's headers with another compiler than theirs.
    "-w",
];

/// What it takes to build for one architecture.
struct Target {
    /// The kernel's name of the architecture.
    folder: &'static str,
    compiler: &'static [&'static str],
    linker: &'static [&'static str],
    /// Whether the unwinder has tables.
    has_tables: bool,
}

fn target(arch: Arch) -> Result<Target> {
    match arch {
        Arch::X86_64 => Ok(Target {
            folder: "x86",
            compiler: &[
                "--target=x86_64-linux-gnu",
                "-m64",
                "-mno-80387",
                "-mno-mmx",
                "-mno-sse",
                "-mno-sse2",
                "-mno-avx",
                "-mno-red-zone",
                "-mcmodel=kernel",
                "-mstack-alignment=8",
                "-fcf-protection=none",
                "-DCC_USING_FENTRY",
            ],
            linker: &["-m", "elf_x86_64", "-z", "noexecstack"],
            has_tables: true,
        }),
        Arch::Arm64 => Ok(Target {
            folder: "arm64",
            compiler: &[
                "--target=aarch64-linux-gnu",
                "-mlittle-endian",
                "-mgeneral-regs-only",
                "-mno-outline-atomics",
                "-mbranch-protection=none",
                "-fno-omit-frame-pointer",
                "-mno-omit-leaf-frame-pointer",
                "-DKASAN_SHADOW_SCALE_SHIFT=",
            ],
            linker: &["-m", "aarch64elf"],
            has_tables: false,
        }),
        other => bail!("no module is built for {other}"),
    }
}

/// Builds a module of that name from C and gives its file.
pub(crate) fn build(arch: Arch, tools: &ModuleTools, name: &str, source: &str) -> Result<PathBuf> {
    let target = target(arch)?;
    let folder = workspace::made(workspace::output()?.join("linux-modules").join(arch.name()))?;
    let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
    fs::write(file("c"), source)?;
    let header = folder.join("clang.h");
    fs::write(&header, CLANG_S_OWN)?;
    let compile = |from: &Path, to: &Path| {
        let mut clang = Command::new(&tools.clang);
        clang
            .args(target.compiler)
            .args(C)
            .args(includes(tools, target.folder, &header))
            .args(["-D__KERNEL__", "-DMODULE"])
            .arg(format!("-DKBUILD_MODNAME=\"{name}\""))
            .arg(format!("-DKBUILD_BASENAME=\"{name}\""))
            .arg(format!("-DKBUILD_MODFILE=\"{name}\""))
            .arg(format!("-D__KBUILD_MODNAME=kmod_{name}"))
            .arg("-c")
            .arg(from)
            .arg("-o")
            .arg(to);
        progress::quiet(&mut clang).with_context(|| format!("compiling {}", from.display()))
    };
    compile(&file("c"), &file("o"))?;
    if target.has_tables {
        let mut objtool = Command::new(&tools.objtool);
        objtool
            .args(["--hacks=jump_label", "--hacks=noinstr", "--orc", "--static-call"])
            .args(["--uaccess", "--link", "--module"])
            .arg(file("o"));
        progress::quiet(&mut objtool).context("the unwinder's tables")?;
    }
    // It looks for what the makefiles leave beside an object, and takes names from where it is.
    fs::write(folder.join(format!(".{name}.o.cmd")), "")?;
    fs::write(file("mod"), format!("{name}.o\n"))?;
    fs::write(folder.join("modules.order"), format!("{name}.o\n"))?;
    let mut modpost = Command::new(&tools.modpost);
    modpost
        .current_dir(&folder)
        .args(["-m", "-o", "Module.symvers", "-T", "modules.order", "-i"])
        .arg(tools.own.join("Module.symvers"));
    progress::quiet(&mut modpost).context("the versions of the module's symbols")?;
    compile(&file("mod.c"), &file("mod.o"))?;
    let common = folder.join("module-common.o");
    compile(&tools.common_source, &common)?;
    let mut linker = Command::new(&tools.linker);
    linker
        .arg("-r")
        .args(target.linker)
        .args(["--build-id=sha1", "-T"])
        .arg(tools.own.join("arch").join(target.folder).join("module.lds"))
        .arg("-o")
        .arg(file("ko"))
        .args([file("o"), file("mod.o"), common]);
    progress::quiet(&mut linker).context("linking the module")?;
    Ok(file("ko"))
}

/// The kernel's headers in the order in which its makefiles name them.
fn includes(tools: &ModuleTools, arch: &str, header: &Path) -> Vec<String> {
    let mut arguments = vec!["-nostdinc".to_owned()];
    let ModuleTools { common, own, .. } = tools;
    for (root, folder) in [
        (common, format!("arch/{arch}/include")),
        (own, format!("arch/{arch}/include/generated")),
        (common, "include".to_owned()),
        (own, "include".to_owned()),
        (common, format!("arch/{arch}/include/uapi")),
        (own, format!("arch/{arch}/include/generated/uapi")),
        (common, "include/uapi".to_owned()),
        (own, "include/generated/uapi".to_owned()),
    ] {
        arguments.push(format!("-I{}", root.join(folder).display()));
    }
    let first = |name: &str| common.join("include/linux").join(name);
    for file in [
        first("compiler-version.h"),
        first("kconfig.h"),
        header.to_path_buf(),
        first("compiler_types.h"),
    ] {
        arguments.extend(["-include".to_owned(), file.display().to_string()]);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_s_own_configuration_is_read_before_what_depends_on_it() {
        let tools = ModuleTools {
            clang: PathBuf::new(),
            linker: PathBuf::new(),
            modpost: PathBuf::new(),
            objtool: PathBuf::new(),
            common_source: PathBuf::new(),
            common: PathBuf::from("/c"),
            own: PathBuf::from("/o"),
        };
        let arguments = includes(&tools, "x86", Path::new("/h"));
        let at = |text: &str| arguments.iter().position(|argument| argument == text);
        assert!(at("/c/include/linux/kconfig.h") < at("/h"));
        assert!(at("/h") < at("/c/include/linux/compiler_types.h"));
        assert!(at("-I/c/arch/x86/include") < at("-I/o/include"));
        assert!(at("-I/o/include").is_some());
    }

    #[test]
    fn modules_are_for_architectures_whose_linux_is_measured() {
        assert!(target(Arch::X86_64).is_ok_and(|target| target.has_tables));
        assert!(target(Arch::Arm64).is_ok_and(|target| !target.has_tables));
        assert!(target(Arch::Riscv64).is_err());
    }
}
