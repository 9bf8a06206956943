//! The architectures that the kernel is built and emulated for, and what differs between them on
//! the outside: the compiler's target, its flags, and the emulator's name and machine.

use clap::ValueEnum;

/// One architecture of the reference kernel.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Arch {
    /// 64-bit x86: a q35 PC, booted through the PVH note.
    #[default]
    #[value(name = "x86_64")]
    X86_64,
}

impl Arch {
    /// The name used in the catalogue, in paths and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
        }
    }

    /// The compiler's target.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-unknown-none",
        }
    }

    /// Code generation flags for the kernel *and* for a locally made core and alloc: the
    /// backtrace walks frame pointers, so a core without them would break its chain; a red zone
    /// would be overwritten by any interrupt that stays on the same stack.
    pub(crate) const fn codegen_flags(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => &["-Cforce-frame-pointers=yes", "-Cno-redzone=yes"],
        }
    }

    /// Flags for the kernel alone.
    pub(crate) const fn kernel_flags(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => &["-Crelocation-model=static", "-Ccode-model=kernel"],
        }
    }

    /// Flags for our own user programs. The code model stays the target's (`kernel`), because link-time
    /// optimisation refuses to mix it with core's; its sign-extended 32-bit addresses reach the low
    /// 2 GiB as well as the high ones.
    pub(crate) const fn user_flags(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => {
                &["-Crelocation-model=static", "-Cforce-frame-pointers=yes", "-Cstrip=debuginfo"]
            }
        }
    }

    /// The emulator's program.
    pub(crate) const fn qemu(self) -> &'static str {
        match self {
            Arch::X86_64 => "qemu-system-x86_64",
        }
    }

    /// The package that holds the emulator.
    pub(crate) const fn qemu_package(self) -> &'static str {
        match self {
            Arch::X86_64 => "qemu-system-x86",
        }
    }

    /// Machine, CPU and the device through which the kernel ends the machine with a status.
    ///
    /// ERMS is hidden because `rep stosb` would count one instruction per byte in the counting
    /// mode, which makes figures incomparable with Linux's.
    pub(crate) const fn qemu_machine(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => &[
                "-M",
                "q35",
                "-cpu",
                "max,-erms",
                "-device",
                "isa-debug-exit,iobase=0xf4,iosize=4",
            ],
        }
    }

    /// Debian's name for the architecture, for packages that go into the image.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
