//! The architectures that the kernel is built and emulated for, and what differs between them on
//! the outside: the compiler's target, its flags, and the emulator's machine.
//!
//! Each is described once, in [`TABLE`]. An architecture whose kernel is not there yet has its
//! entry all the same, with `supported` off: every command refuses it, and `cargo xtask test`
//! leaves it out. Landing one is turning that line on.
//!
//! ```text
//!            starts as             control channel              ends with a status by
//!   x86_64   ELF, PVH note         second 16550 (0x2f8)         isa-debug-exit, port 0xf4: 2 v + 1
//!   i386     ELF, PVH note         second 16550 (0x2f8)         isa-debug-exit, port 0xf4: 2 v + 1
//!   arm64    flat image, x0 = DTB  semihosting SYS_WRITEC       semihosting SYS_EXIT_EXTENDED: v
//!   arm32    flat image, r2 = DTB  semihosting SYS_WRITEC       semihosting SYS_EXIT_EXTENDED: v
//!   riscv64  ELF, a1 = DTB         16550 on the PCI bus         sifive_test, 0x10_0000: v
//! ```
//!
//! The console is the machine's first serial line on all of them: a 16550 on the PCs and on
//! riscv64, a PL011 on the arms, whose `virt` machine has no second one for the normal world. The
//! statuses are the same everywhere (see `boot::qemu::End`).

use crate::variant::{Target, Variant};
use crate::workspace;

/// One architecture of the reference kernel.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86 without SSE.
    I386,
    /// 64-bit Arm.
    Arm64,
    /// 32-bit Arm, version 7.
    Arm32,
    /// 64-bit RISC-V.
    Riscv64,
}

/// What the emulator is given as the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// The ELF file as it was linked.
    Elf,
    /// The memory image that it describes. For the arms: given an ELF file, their machine passes
    /// neither an initial archive nor the address of the device tree.
    Flat,
}

/// The device through which the kernel talks to xtask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Control {
    /// The machine's second serial line.
    SecondSerial,
    /// A serial line on the PCI bus, for machines that have one serial line only.
    PciSerial,
    /// Semihosting: an instruction by which the CPU asks the debugger to write. It needs no device,
    /// no mapping and no lock, so that an overflow report goes through it in any context.
    Semihosting,
}

/// A machine to emulate.
#[derive(Debug)]
pub(crate) struct Board {
    /// What its CPU is called, or what is special to its kernel.
    pub(crate) name: &'static str,
    /// Build options of the kernel, for an architecture that has them.
    pub(crate) features: &'static [&'static str],
    /// What the compiler adds to the kernel.
    pub(crate) variant: Variant,
    /// The beginnings of the names of the tests that run on it; all of them, if there are none.
    pub(crate) only: &'static [&'static str],
    /// Whether it is left out of a run of everything, and takes `--variant`.
    pub(crate) is_extra: bool,
    /// The emulator's arguments for machine and CPU.
    pub(crate) arguments: &'static [&'static str],
    /// The CPU that the kernel starts on, where that is the firmware's choice and the choice is
    /// made for it.
    pub(crate) first_cpu: Option<u32>,
}

/// All that is known about an architecture here.
#[derive(Debug)]
pub(crate) struct Description {
    /// The name used in the catalogue, in paths and in JSON.
    pub(crate) name: &'static str,
    /// Whether the reference kernel runs on it.
    pub(crate) supported: bool,
    /// The compiler's target, of the kernel and of our user programs.
    pub(crate) target: &'static str,
    /// Whether core as it comes with the compiler will do for the target. Not if the target is one
    /// of a system with a C library: its core lacks `memcpy` and keeps no frame pointers.
    pub(crate) own_core_fits: bool,
    /// Code generation flags for the kernel *and* for a locally made core and alloc: the
    /// backtrace walks frame pointers, so a core without them would break its chain; a red zone
    /// would be overwritten by any interrupt that stays on the same stack.
    pub(crate) codegen_flags: &'static [&'static str],
    /// Flags for the kernel alone.
    pub(crate) kernel_flags: &'static [&'static str],
    /// Flags for our own user programs.
    pub(crate) user_flags: &'static [&'static str],
    /// The emulator's program.
    pub(crate) qemu: &'static str,
    /// Where the package has it.
    pub(crate) qemu_program: &'static str,
    /// The machines that the tests run on; everything else uses the first.
    pub(crate) boards: &'static [Board],
    /// What the emulator is given as the kernel.
    pub(crate) form: Form,
    /// The control channel.
    pub(crate) control: Control,
    /// Debian's name for the architecture, for packages that go into the image.
    pub(crate) debian: &'static str,
}

/// The first byte that a kernel writes to the console, a control character that no terminal shows.
/// What comes before it is the firmware's; what was typed before it is lost.
pub(crate) const START_OF_TEXT: u8 = 0x02;

/// Arguments of a `virt` machine, and its virtio devices: a disk with the archive on it, and random
/// bytes.
macro_rules! virt {
    ($($argument:literal),*) => {
        &[
            $($argument,)*
            "-global",
            "virtio-mmio.force-legacy=false",
            "-device",
            "virtio-blk-device,drive=disk",
            "-device",
            "virtio-rng-device",
        ]
    };
}

/// A Cortex-A15 with four or fewer others on the `virt` machine.
const CORTEX_A15: &[&str] = virt!["-M", "virt,highmem=off", "-cpu", "cortex-a15"];

/// The `virt` machine with OpenSBI.
const RV64: &[&str] = virt!["-M", "virt", "-cpu", "rv64", "-bios", "default"];

/// Of Cortex-A15s.
const CORTEX_A15_BOARD: Board = Board {
    name: "cortex-a15",
    features: &[],
    variant: Variant::Usual,
    only: &[],
    is_extra: false,
    arguments: CORTEX_A15,
    first_cpu: None,
};

/// All that the emulator has of 64-bit Arm.
const MAX_ARM64: Board = Board {
    name: "max",
    features: &[],
    variant: Variant::Usual,
    only: &[],
    is_extra: false,
    arguments: virt!["-M", "virt,gic-version=3", "-cpu", "max"],
    first_cpu: None,
};

/// With whatever hart first.
const RV64_BOARD: Board = Board {
    name: "rv64",
    features: &[],
    variant: Variant::Usual,
    only: &[],
    is_extra: false,
    arguments: RV64,
    first_cpu: None,
};

const STATIC: &str = "-Crelocation-model=static";
const FRAME_POINTERS: &str = "-Cforce-frame-pointers=yes";
const USER: &[&str] = &[STATIC, FRAME_POINTERS, "-Cstrip=debuginfo"];

/// ERMS is hidden because `rep stosb` would count one instruction per byte in the counting
/// mode, which makes figures incomparable with Linux's.
const PC: Board = Board {
    name: "max",
    features: &[],
    variant: Variant::Usual,
    only: &[],
    is_extra: false,
    arguments: &[
        "-M",
        "q35",
        "-cpu",
        "max,-erms",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
        "-device",
        "virtio-blk-pci,drive=disk,disable-legacy=on",
        "-device",
        "virtio-rng-pci,disable-legacy=on",
    ],
    first_cpu: None,
};

/// A machine for a kernel with the stack protector, like another one.
const fn protected(board: Board) -> Board {
    Board {
        name: "stack-protector",
        variant: Variant::Protector,
        only: SHOWN_OF_PROTECTOR,
        is_extra: true,
        ..board
    }
}

/// A machine for a kernel with the address sanitizer, like another one.
const fn sanitized(board: Board) -> Board {
    Board {
        name: "address-sanitizer",
        variant: Variant::Sanitizer,
        only: &["h6_"],
        is_extra: true,
        ..board
    }
}

/// What another CPU or another first hart may change: all but what programs see, and the sweeps and
/// samples, which are long.
const SHOWN_OF_OTHER_CPUS: &[&str] =
    &["b1_", "b2_", "b4_", "d", "h", "i", "m", "n", "o1_", "o2_", "o3_", "o5_", "s", "t", "x"];

/// What another layout of the kernel's stacks may change.
const SHOWN_OF_OTHER_LAYOUTS: &[&str] =
    &["b1_", "b2_", "b4_", "d", "h", "i", "m", "n", "o", "s", "t", "x"];

/// What is shown of the stack protector in a run of everything.
const SHOWN_OF_PROTECTOR: &[&str] = &["h1_", "s1_", "o1_", "b2_"];

/// Every architecture, in the catalogue's order.
const TABLE: [(Arch, Description); 5] = [
    (
        Arch::X86_64,
        Description {
            name: "x86_64",
            supported: true,
            target: "x86_64-unknown-none",
            own_core_fits: true,
            codegen_flags: &[FRAME_POINTERS, "-Cno-redzone=yes"],
            kernel_flags: &[STATIC, "-Ccode-model=kernel"],
            // The code model stays the target's (`kernel`), because link-time optimisation refuses
            // to mix it with core's; its sign-extended 32-bit addresses reach the low 2 GiB as well
            // as the high ones.
            user_flags: USER,
            qemu: "qemu-system-x86_64",
            qemu_program: "usr/bin/qemu-system-x86_64",
            boards: &[PC, Board { is_extra: false, ..protected(PC) }, sanitized(PC)],
            form: Form::Elf,
            control: Control::SecondSerial,
            debian: "amd64",
        },
    ),
    (
        Arch::I386,
        Description {
            name: "i386",
            supported: true,
            target: "i586-unknown-linux-gnu",
            own_core_fits: false,
            // Without this, each atomic load and store of 64 bits goes through the x87 registers,
            // which in a kernel are the user program's. The compiler warns, for all crates and in
            // all builds, that floating-point results are returned otherwise than the target says,
            // and may refuse it one day. Nothing here returns any. The warning goes away only with
            // all others, which the linter shows all the same.
            //
            // This target has unwind tables by default, in `.eh_frame`, which the kernel does not
            // load; without, the frames are described in `.debug_frame`, as everywhere.
            codegen_flags: &[
                FRAME_POINTERS,
                "-Ctarget-feature=+soft-float",
                "-Cforce-unwind-tables=no",
            ],
            kernel_flags: &[STATIC, "-Awarnings"],
            user_flags: USER,
            qemu: "qemu-system-i386",
            qemu_program: "usr/bin/qemu-system-i386",
            boards: &[PC, protected(PC)],
            form: Form::Elf,
            control: Control::SecondSerial,
            debian: "i386",
        },
    ),
    (
        Arch::Arm64,
        Description {
            name: "arm64",
            supported: true,
            target: "aarch64-unknown-none-softfloat",
            own_core_fits: true,
            codegen_flags: &[FRAME_POINTERS],
            kernel_flags: &[STATIC],
            user_flags: USER,
            qemu: "qemu-system-aarch64",
            qemu_program: "usr/bin/qemu-system-aarch64",
            boards: &[
                MAX_ARM64,
                protected(MAX_ARM64),
                sanitized(MAX_ARM64),
                Board {
                    name: "cortex-a72",
                    features: &[],
                    variant: Variant::Usual,
                    only: SHOWN_OF_OTHER_CPUS,
                    is_extra: false,
                    arguments: virt!["-M", "virt,gic-version=2", "-cpu", "cortex-a72"],
                    first_cpu: None,
                },
            ],
            form: Form::Flat,
            control: Control::Semihosting,
            debian: "arm64",
        },
    ),
    (
        Arch::Arm32,
        Description {
            name: "arm32",
            supported: true,
            target: "armv7a-none-eabi",
            own_core_fits: true,
            codegen_flags: &[FRAME_POINTERS],
            kernel_flags: &[STATIC],
            user_flags: USER,
            qemu: "qemu-system-arm",
            qemu_program: "usr/bin/qemu-system-arm",
            // With all devices in the first GiB, where the kernel's direct map of devices reaches.
            boards: &[
                CORTEX_A15_BOARD,
                // The older layout: `thread_info` at the low end of the stack.
                Board {
                    name: "cortex-a15 thread-info-on-stack",
                    features: &["thread-info-on-stack"],
                    only: SHOWN_OF_OTHER_LAYOUTS,
                    ..CORTEX_A15_BOARD
                },
            ],
            form: Form::Flat,
            control: Control::Semihosting,
            debian: "armhf",
        },
    ),
    (
        Arch::Riscv64,
        Description {
            name: "riscv64",
            supported: true,
            target: "riscv64imac-unknown-none-elf",
            own_core_fits: true,
            codegen_flags: &[FRAME_POINTERS],
            kernel_flags: &[STATIC, "-Ccode-model=medium"],
            user_flags: USER,
            qemu: "qemu-system-riscv64",
            qemu_program: "usr/bin/qemu-system-riscv64",
            boards: &[
                RV64_BOARD,
                protected(RV64_BOARD),
                sanitized(RV64_BOARD),
                Board {
                    name: "rv64-hart-2-first",
                    first_cpu: Some(2),
                    only: SHOWN_OF_OTHER_CPUS,
                    ..RV64_BOARD
                },
            ],
            form: Form::Elf,
            control: Control::PciSerial,
            debian: "riscv64",
        },
    ),
];

impl Arch {
    /// The architecture of a command that takes one only, if none is given.
    pub(crate) const USUAL: Arch = Arch::X86_64;

    /// Every architecture that the reference kernel runs on, in the catalogue's order.
    pub(crate) fn supported() -> Vec<Arch> {
        Arch::where_supported(true)
    }

    /// All of the catalogue's architectures.
    pub(crate) fn all() -> impl Iterator<Item = Arch> {
        TABLE.iter().map(|&(arch, _)| arch)
    }

    /// The architectures a command is for: the one that was given, or all that are supported.
    pub(crate) fn chosen(given: Option<Arch>) -> Vec<Arch> {
        given.map_or_else(Arch::supported, |arch| vec![arch])
    }

    /// Reads a name from the command line; refuses what the kernel does not run on.
    pub(crate) fn parse(name: &str) -> Result<Arch, String> {
        let supported = Arch::supported().iter().map(|arch| arch.name()).collect::<Vec<_>>();
        let one_of = supported.join(", ");
        let Some(&(arch, ref known)) = TABLE.iter().find(|(_, known)| known.name == name) else {
            return Err(format!("there is no such architecture here; there is {one_of}"));
        };
        if !known.supported {
            let tree = format!("kernel/machine/src/arch/{name}");
            let why = if workspace::root().join(&tree).is_dir() {
                format!("{tree} is not complete")
            } else {
                format!("there is no {tree}")
            };
            return Err(format!(
                "the kernel does not run on {name} yet ({why}); it runs on {one_of}"
            ));
        }
        Ok(arch)
    }

    /// All that is known about it.
    pub(crate) fn description(self) -> &'static Description {
        const KNOWN: &[(Arch, Description)] = &TABLE;
        // The table is in the order of the enumeration; a test holds it.
        &KNOWN[self as usize].1
    }

    /// The name used in the catalogue, in paths and in JSON.
    pub(crate) fn name(self) -> &'static str {
        self.description().name
    }

    /// Whether it is a PC.
    pub(crate) fn is_pc(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::I386)
    }

    /// The machine that everything but the tests uses.
    pub(crate) fn board(self) -> &'static Board {
        &self.description().boards[0]
    }

    /// The machine for a variant of the kernel.
    pub(crate) fn board_of(self, variant: Variant) -> Option<&'static Board> {
        self.description().boards.iter().find(|board| board.variant == variant)
    }

    /// Whether the kernel is built so for this architecture.
    pub(crate) fn has_variant(self, variant: Variant) -> bool {
        match variant {
            Variant::Usual => true,
            Variant::Protector => self.target_of(variant).is_some(),
            // What the shadow takes fits between the kernel's other parts.
            Variant::Sanitizer => {
                matches!(self, Arch::X86_64 | Arch::Arm64 | Arch::Riscv64)
            }
        }
    }

    /// What the target of a variant has otherwise; `None`: it is the usual one.
    pub(crate) fn target_of(self, variant: Variant) -> Option<Target> {
        match (variant, self) {
            (Variant::Protector, Arch::X86_64) => {
                Some(Target { llvm: "x86_64-unknown-linux-gnu", features: "" })
            }
            (Variant::Protector, Arch::I386) => {
                Some(Target { llvm: "i586-unknown-linux-gnu", features: "" })
            }
            (Variant::Protector, Arch::Arm64) => {
                Some(Target { llvm: "aarch64-unknown-linux-android", features: "+tpidrro-el0" })
            }
            (Variant::Protector, Arch::Riscv64) => {
                Some(Target { llvm: "riscv64-unknown-linux-android", features: "" })
            }
            _ => None,
        }
    }

    /// The name of a variant's target, and of the folders of that name.
    pub(crate) fn target_name(self, variant: Variant) -> String {
        match self.target_of(variant) {
            None => self.target().to_owned(),
            Some(_) => format!("{self}-kstack-{}", variant.name()),
        }
    }

    /// The compiler's target.
    pub(crate) fn target(self) -> &'static str {
        self.description().target
    }

    fn where_supported(wanted: bool) -> Vec<Arch> {
        let matching = TABLE.iter().filter(|(_, known)| known.supported == wanted);
        matching.map(|&(arch, _)| arch).collect()
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    #[test]
    fn every_architecture_is_described_in_its_place() {
        for (place, (arch, known)) in TABLE.iter().enumerate() {
            assert_eq!(*arch as usize, place, "{}", known.name);
            assert_eq!(arch.description().name, known.name);
            // T4 is a row for all architectures: the catalogue knows this one by the same name.
            assert!(catalogue::rows().any(|row| row.id == "T4" && row.applies_to(known.name)));
            assert!(!known.boards.is_empty(), "{}", known.name);
            assert!(known.qemu_program.ends_with(known.qemu), "{}", known.name);
        }
    }

    #[test]
    fn a_supported_architecture_has_its_trees() {
        let supported = Arch::supported();
        assert!(supported.contains(&Arch::USUAL));
        for arch in supported {
            for tree in ["kernel/machine/src/arch", "kstack/src/arch"] {
                let path = workspace::root().join(tree).join(arch.name());
                assert!(path.join("mod.rs").is_file(), "no {}", path.display());
            }
        }
    }

    #[test]
    fn what_the_kernel_does_not_run_on_is_refused_by_name() {
        for arch in Arch::where_supported(true) {
            assert_eq!(Arch::parse(arch.name()), Ok(arch));
        }
        for arch in Arch::where_supported(false) {
            let refusal = Arch::parse(arch.name()).unwrap_err();
            assert!(refusal.contains(arch.name()) && refusal.contains("x86_64"), "{refusal}");
        }
        assert!(Arch::parse("sparc").unwrap_err().contains("x86_64"));
        assert!(Arch::parse("").is_err());
    }

    #[test]
    fn nothing_given_means_all_supported() {
        assert_eq!(Arch::chosen(None), Arch::supported());
        assert_eq!(Arch::chosen(Some(Arch::USUAL)), [Arch::USUAL]);
    }
}
