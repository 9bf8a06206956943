//! The architecture trees, one per architecture, all alike.
//!
//! | file | what every tree has in it |
//! | --- | --- |
//! | `vectors` | where each vector begins |
//! | `regs` | [`SavedRegs`](current::regs::SavedRegs): what an entry from anywhere saves, and how the unwinder reads it |
//! | `switch` | the switch between two stacks, and the first frame of a new one |
//! | `call` | a call on another stack |
//! | `local`, `this_cpu` | the architecture's words of the per-CPU block; how a CPU finds it, and `current` |
//! | `tables` | what the CPU reads: descriptor tables, task state segment, vector base |
//! | `entry`, `save` | interrupts, exceptions, system calls; what entries share |
//! | `return_path` | the return of every entry, and where a new stack starts |
//! | `cause`, `fault` | exceptions by number; which of them are about a stack |
//! | `containment` | the end of a thread on its own stack |
//! | `bring_up` | all that a CPU needs before its first interrupt |
//! | `nmi` (PCs) | entries that may interrupt any instruction at all |
//! | `double_fault` (PCs), `overflow` (the others) | how an overflow arrives |
//!
//! What the rest of the library names in them is in `contract`, with its types: the checklist for a
//! new architecture.
//!
//! This module selects one tree and refuses what is half supported.

#[cfg(feature = "switch")]
mod cfi;
mod contract;
#[cfg(all(feature = "entry", any(target_arch = "x86", target_arch = "x86_64")))]
pub mod io_maps;

#[cfg(target_arch = "arm")]
pub mod arm32;
#[cfg(target_arch = "arm")]
pub use arm32 as current;

#[cfg(target_arch = "aarch64")]
pub mod arm64;
#[cfg(target_arch = "aarch64")]
pub use arm64 as current;

#[cfg(target_arch = "riscv64")]
pub mod riscv64;
#[cfg(target_arch = "riscv64")]
pub use riscv64 as current;

#[cfg(target_arch = "x86_64")]
pub mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64 as current;

#[cfg(target_arch = "x86")]
pub mod i386;
#[cfg(target_arch = "x86")]
pub use i386 as current;

#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "x86",
    target_arch = "x86_64"
)))]
compile_error!(
    "kstack has no tree for this architecture: write kstack/src/arch/NAME, as CONTRIBUTING.md has it under \"Porting\""
);

// What an architecture's tree assumes of every target that has its name.
#[cfg(any(windows, target_os = "uefi", target_os = "cygwin", target_vendor = "apple"))]
compile_error!(
    "kstack's trees are for targets with the System V ABI: their assembly passes arguments and keeps registers as that ABI has it; \
     build your kernel for a bare-metal target such as x86_64-unknown-none, whatever its boot loader is built for"
);
#[cfg(not(target_endian = "little"))]
compile_error!("kstack's trees are for little-endian targets: saved registers are laid out so");
#[cfg(all(
    any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "x86_64"),
    not(target_pointer_width = "64")
))]
compile_error!(
    "kstack's 64-bit trees are for targets with 64-bit pointers: a frame record is two of them"
);
#[cfg(all(target_arch = "arm", feature = "switch", not(feature = "entry")))]
compile_error!(
    "on 32-bit Arm the switch makes the next thread current, in a register that entry code exchanges: enable kstack's feature `entry` too"
);
