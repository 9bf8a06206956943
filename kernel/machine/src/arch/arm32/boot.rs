//! From the first instruction to Rust, for the first CPU and for the others.
//!
//! The board starts a flat image at its first byte, in SVC mode, paging off, r2 = physical address
//! of the device tree. (As an ELF file: r2 = 0, the tree at the start of RAM if it fits there; then
//! there is no initial archive.) We build the smallest page tables that let the kernel run where it
//! is linked, in the long-descriptor format:
//!
//! ```text
//!   virtual                    physical
//!   0x4000_0000 + 1 GiB     -> the same         identity, so that turning paging on does not lose us (TTBR0)
//!   0x8000_0000 + 1 GiB     -> 0                the devices, in the direct map (TTBR1)
//!   0xc000_0000 + 768 MiB   -> 0x4000_0000      RAM, in the direct map
//!   0xf800_0000 + 112 MiB   -> 0x4000_0000      the kernel image
//! ```
//!
//! Then the high half, a boot stack in .bss, and `kernel_main`. The other CPUs come through PSCI,
//! in the same state, to `boot_secondary` with their number in r0, go through the same tables, and
//! continue in `kernel_secondary`, each on its own stack.
//!
//! Long descriptors rather than short ones: 64-bit entries with 4 KiB tables as on the 64-bit
//! machines, privileged execute-never, and two table bases, so that a process's tables hold its own
//! half alone.

use super::layout::{EARLY_TOP, IMAGE, RAM};
use super::paging::{BLOCK, DEVICE, MAIR, NORMAL, TABLE, TTBCR};
use super::{power, semihosting};
use crate::arch::virt::device_tree::Tree;
use crate::boot_info::BootInfo;
use crate::cpus::MAX_CPUS;
use crate::memory::direct;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize};

/// Bytes of the stack the first CPU boots on, until its idle stack is there.
pub const BOOT_STACK_BYTES: usize = 32 * 1024;
/// Bytes of the guard below it.
const BOOT_GUARD_BYTES: usize = 4096;
/// Where the stack begins, counted from the guard's lowest byte.
const BOOT_STACK_TOP: usize = BOOT_GUARD_BYTES + BOOT_STACK_BYTES;

/// Megabytes that one entry of a second-level table maps.
const LARGE_SHIFT: u32 = 21;

global_asm!(
    ".section .boot.text, \"ax\"",
    ".arm",
    ".globl boot_start",
    "boot_start:",
    "mov r10, r2",
    "bl boot_check_cpu",
    "cpsid aif, #{svc_mode}",
    // First level, low: the second GiB is itself.
    "ldr r0, =boot_level1_low",
    "mov r2, #0",
    "mov r3, #0",
    "strd r2, r3, [r0]",
    "ldr r2, ={ram_block}",
    "strd r2, r3, [r0, #8]",
    // First level, high: a GiB of devices, and a table.
    "ldr r0, =boot_level1_high",
    "ldr r4, ={device_block}",
    "ldr r5, ={no_exec}",
    "strd r4, r5, [r0]",
    "ldr r4, =boot_level2 + {table}",
    "mov r5, #0",
    "strd r4, r5, [r0, #8]",
    // Second level: RAM for the direct map, and again from where the image is.
    "ldr r0, =boot_level2",
    "ldr r4, ={ram_block}",
    "ldr r5, ={no_exec}",
    "mov r1, #0",
    "2:",
    "cmp r1, #{image_entry}",
    "ldreq r4, ={ram_block}",
    "moveq r5, #0",
    "strd r4, r5, [r0], #8",
    "add r4, r4, #{large}",
    "add r1, r1, #1",
    "cmp r1, #512",
    "bne 2b",
    "bl boot_enable_paging",
    "ldr pc, =kernel_entry",

    // Returns if the CPU is one that the kernel runs on, and not in HYP mode. Paging off. Uses r0,
    // r1.
    "boot_check_cpu:",
    "adr r1, boot_in_hyp",
    "mrs r0, cpsr",
    "and r0, r0, #{mode}",
    "cmp r0, #{hyp_mode}",
    "beq boot_refuse",
    // ID_MMFR0: long descriptors from 5 on. ID_PFR1: the generic timer.
    "adr r1, boot_no_long",
    "mrc p15, 0, r0, c0, c1, 4",
    "and r0, r0, #0xf",
    "cmp r0, #5",
    "blo boot_refuse",
    "adr r1, boot_no_timer",
    "mrc p15, 0, r0, c0, c1, 1",
    "tst r0, #0xf0000",
    "beq boot_refuse",
    "bx lr",
    // In: r1 = what is missing. On the serial port, which needs no set-up in an emulator, and by
    // semihosting to the control channel; then the machine ends with the status for a panic.
    // Without semihosting that traps to nowhere.
    "boot_refuse:",
    "mov r5, r1",
    "adr r2, boot_lacks",
    "ldr r3, ={pl011}",
    "2:",
    "ldrb r4, [r2], #1",
    "cmp r4, #0",
    "strbne r4, [r3]",
    "bne 2b",
    "mov r2, r5",
    "3:",
    "ldrb r4, [r2], #1",
    "cmp r4, #0",
    "strbne r4, [r3]",
    "bne 3b",
    "mov r0, #{write_text}",
    "adr r1, boot_lacks",
    "add r1, r1, #3",
    "svc #0x123456",
    "mov r0, #{write_text}",
    "mov r1, r5",
    "svc #0x123456",
    "mov r0, #{exit}",
    "adr r1, boot_panic",
    "svc #0x123456",
    "4:",
    "wfi",
    "b 4b",
    ".ltorg",
    "boot_lacks: .asciz \"\\2\\r\\nkernel panic: this machine lacks what the kernel needs: \"",
    ".balign 4",
    "boot_in_hyp: .asciz \"firmware that enters it in SVC mode, not in HYP mode\\r\\n\"",
    ".balign 4",
    "boot_no_long: .asciz \"page tables of long descriptors (LPAE)\\r\\n\"",
    ".balign 4",
    "boot_no_timer: .asciz \"generic timer\\r\\n\"",
    ".balign 4",
    "boot_panic: .long {application_exit}, {panic}",

    // The other CPUs, from PSCI.
    ".globl boot_secondary",
    "boot_secondary:",
    "cpsid aif, #{svc_mode}",
    "mov r10, r0",
    "bl boot_enable_paging",
    // To the final kernel half while nothing runs in it.
    "ldr r2, ={secondary_tables}",
    "ldr r0, [r2]",
    "ldr r2, ={secondary_user_tables}",
    "ldr r1, [r2]",
    "bl boot_replace_kernel_half",
    "ldr pc, =secondary_entry",

    // In: r0 = the kernel half's root, r1 = that of tables with nothing in them; called from either
    // half. Uses r2, r3. The tables of before map by blocks what the new ones map by pages. A CPU
    // that had both in its TLB could use a mixture, or abort (B3.10.1, break-before-make). So the
    // kernel half is empty in between, and this code, which is linked where it is loaded, runs in
    // the identity map of the other half. A change of TTBR1 wants branch predictions forgotten
    // (B2.2.5).
    ".globl boot_replace_kernel_half",
    "boot_replace_kernel_half:",
    "mrs r2, cpsr",
    "cpsid aif",
    "mov r3, #0",
    "dsb",
    "mcrr p15, 1, r1, r3, c2",
    "isb",
    "mcr p15, 0, r3, c8, c7, 0",
    "dsb",
    "isb",
    "mcrr p15, 1, r0, r3, c2",
    "isb",
    "mcr p15, 0, r3, c7, c5, 6",
    "dsb",
    "isb",
    "msr cpsr_c, r2",
    "bx lr",

    // In: paging off. Out: paging on, with the boot tables; floating point and the cycle counter
    // on. Uses r0, r1.
    "boot_enable_paging:",
    "dsb",
    "ldr r0, ={mair}",
    "mcr p15, 0, r0, c10, c2, 0",
    "ldr r0, ={ttbcr}",
    "mcr p15, 0, r0, c2, c0, 2",
    "mov r1, #0",
    "ldr r0, =boot_level1_low",
    "mcrr p15, 0, r0, r1, c2",
    "ldr r0, =boot_level1_high",
    "mcrr p15, 1, r0, r1, c2",
    "mov r0, #{domain}",
    "mcr p15, 0, r0, c3, c0, 0",
    "isb",
    "mcr p15, 0, r0, c8, c7, 0",
    "mcr p15, 0, r0, c7, c5, 0",
    "mcr p15, 0, r0, c7, c5, 6",
    "dsb",
    "isb",
    // SCTLR: MMU, data cache, branch prediction, instruction cache; no alignment faults, low
    // vectors, exceptions in ARM state.
    "mrc p15, 0, r0, c1, c0, 0",
    "ldr r1, ={sctlr_off}",
    "bic r0, r0, r1",
    "ldr r1, ={sctlr_on}",
    "orr r0, r0, r1",
    "mcr p15, 0, r0, c1, c0, 0",
    "isb",
    // Floating point, for programs: coprocessors 10 and 11, then the unit itself.
    "mrc p15, 0, r0, c1, c0, 2",
    "orr r0, r0, #0xf00000",
    "mcr p15, 0, r0, c1, c0, 2",
    "isb",
    ".fpu neon",
    "mov r0, #0x40000000",
    "vmsr fpexc, r0",
    // The cycle counter: reset, on, counting; programs may read it.
    "mov r0, #5",
    "mcr p15, 0, r0, c9, c12, 0",
    "mov r0, #0x80000000",
    "mcr p15, 0, r0, c9, c12, 1",
    "mov r0, #1",
    "mcr p15, 0, r0, c9, c14, 0",
    "bx lr",
    ".ltorg",

    ".section .boot.data, \"aw\"",
    ".balign 4096",
    "boot_level2: .skip 4096",
    "boot_level1_low: .skip 32",
    "boot_level1_high: .skip 32",

    ".section .text.boot_high, \"ax\"",
    ".arm",
    ".globl kernel_entry",
    "kernel_entry:",
    "ldr sp, ={boot_stack} + {boot_stack_top}",
    "mov r11, #0",
    "mov r0, r10",
    "mov r1, #0",
    "bl {kernel_main}",
    "b .",
    ".globl secondary_entry",
    "secondary_entry:",
    "mov r1, #0",
    "ldr r4, ={secondary_user_tables}",
    "ldr r0, [r4]",
    "dsb",
    "mcrr p15, 0, r0, r1, c2",
    "isb",
    "mcr p15, 0, r1, c8, c7, 0",
    "mcr p15, 0, r1, c7, c5, 6",
    "dsb",
    "isb",
    // A CPU that comes later than it was waited for still has a stack of its own.
    "ldr r4, ={secondary_stacks}",
    "ldr sp, [r4, r10, lsl #{word_shift}]",
    "mov r0, r10",
    "mov r11, #0",
    "bl {kernel_secondary}",
    "b .",
    ".ltorg",
    ".text",
    mode = const kstack::arch::current::regs::MODE,
    hyp_mode = const 0x1a,
    pl011 = const super::serial::PL011 as u32,
    write_text = const semihosting::WRITE_TEXT,
    exit = const semihosting::EXIT,
    application_exit = const power::APPLICATION_EXIT,
    panic = const power::End::Panic as u32,
    svc_mode = const kstack::arch::current::regs::SVC_MODE,
    ram_block = const RAM as u32 | (BLOCK | NORMAL) as u32,
    device_block = const (BLOCK | DEVICE) as u32,
    no_exec = const (super::paging::NO_EXEC >> 32) as u32,
    table = const TABLE as u32,
    image_entry = const (IMAGE + RAM - 0xc000_0000) >> LARGE_SHIFT,
    large = const 1_u32 << LARGE_SHIFT,
    mair = const MAIR,
    ttbcr = const TTBCR,
    domain = const kstack::arch::current::switch::DOMAIN,
    // TE, AFE, TRE, EE, WXN and UWXN, V, A.
    sctlr_off = const 0x7218_2002_u32,
    // I, Z, C, M.
    sctlr_on = const 0x1805_u32,
    boot_stack = sym BOOT_STACK,
    boot_stack_top = const BOOT_STACK_TOP,
    kernel_main = sym crate::arch::any::start::kernel_main,
    kernel_secondary = sym crate::arch::any::start::kernel_secondary,
    secondary_tables = sym SECONDARY_TABLES,
    secondary_user_tables = sym SECONDARY_USER_TABLES,
    secondary_stacks = sym SECONDARY_STACKS,
    word_shift = const size_of::<u32>().trailing_zeros(),
);

#[repr(C, align(4096))]
struct BootStack([core::sync::atomic::AtomicU8; BOOT_STACK_TOP]);

static BOOT_STACK: BootStack =
    BootStack([const { core::sync::atomic::AtomicU8::new(0) }; BOOT_STACK_TOP]);

/// The bounds of the stack that the first CPU boots on.
pub fn boot_stack() -> AddrRange {
    AddrRange::sized(boot_guard().top, ByteSize::new(BOOT_STACK_BYTES))
}

/// What lies below it, and is not mapped once the kernel has tables of its own.
pub fn boot_guard() -> AddrRange {
    AddrRange::sized(Addr::new(&raw const BOOT_STACK as usize), ByteSize::new(BOOT_GUARD_BYTES))
}

static SECONDARY_TABLES: AtomicU32 = AtomicU32::new(0);
static SECONDARY_USER_TABLES: AtomicU32 = AtomicU32::new(0);
static SECONDARY_STACKS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

/// What a CPU will run with when it starts, its number in r0: page tables, the same for all, and a
/// stack of its own. Returns the physical address it starts at.
pub fn prepare_secondary(kernel: u64, user: u64, cpu: usize, stack_top: u64) -> u64 {
    unsafe extern "C" {
        safe static boot_secondary: u8;
    }
    SECONDARY_TABLES.store(kernel as u32, Ordering::SeqCst);
    SECONDARY_USER_TABLES.store(user as u32, Ordering::SeqCst);
    SECONDARY_STACKS[cpu].store(stack_top as u32, Ordering::SeqCst);
    (&raw const boot_secondary) as u64
}

/// Reads the device tree at this physical address, or at the start of RAM. `false` if there is
/// none.
///
/// # Safety
///
/// 1. The boot page tables are active: RAM is in the direct map.
pub unsafe fn read_boot_info(tree: u64, boot: &mut BootInfo) -> bool {
    let at = if tree == 0 { RAM } else { tree };
    // SAFETY: (1) by the caller's promise the direct map is there.
    let Some(tree) = (unsafe { Tree::at(direct::<u8>(at)) }) else { return false };
    super::board::remember(&tree);
    tree.read_into(boot);
    let unused = boot.leave_out_from(EARLY_TOP);
    if unused > 0 {
        log!("{} MiB of memory are out of the direct map's reach and left unused", unused >> 20);
    }
    true
}
