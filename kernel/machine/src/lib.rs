//! The lowest floor of the reference kernel: the machine, as far as it is the same whatever runs on
//! it.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `arch` | one tree per architecture: boot, page tables, interrupt controllers, other CPUs |
//! | `boot_info`, `options`, `initramfs` | what the boot loader tells; the command line; the archive |
//! | `drivers` | one driver for each device, whatever architecture has it |
//! | `dma` | memory for devices; no stack's |
//! | `cpus` | the block of each CPU, sets of CPUs |
//! | `memory` | frames, the heap, allocation that can fail |
//! | `spin`, `fn_cell` | spinning locks; functions that are set at run time |
//! | `log`, `recorder`, `halt` | what the kernel says; how all CPUs end |
//! | `nodes` | which memory is near which CPU |
//! | `mix`, `entropy` | numbers that look random; what cannot be foreseen |
//!
//! It knows no thread and no program. What stands above it is reached through what it is given: the
//! functions that boot code ends in (`arch::any::start`), a slab cache
//! (`memory::heap::serve_from`), a report's port.
#![no_std]

extern crate alloc;

#[macro_use]
pub mod log;
pub mod arch;
pub mod boot_info;
pub mod cpus;
pub mod dma;
pub mod drivers;
pub mod entropy;
pub mod fn_cell;
pub mod halt;
pub mod initramfs;
pub mod memory;
pub mod mix;
pub mod nodes;
pub mod options;
pub mod recorder;
pub mod spin;
